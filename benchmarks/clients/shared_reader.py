"""Reads a shared book, by ``--kind``; reports when it is ready, and then its figures.

``ours`` sees the states of ``book.changes()``, and writes ``[number of the message, when it was seen]`` to
the file ``--seen``, by the monotonic clock, which all processes share. ``bare`` is a loop of XREAD on the
same streams, which does nothing with the entries. Both count their CPU from the first update to the last.
``late`` opens a book of ``--depth``, and reports in how many seconds it had it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, List, Tuple

from kraken_sync import BookState
from kraken_sync.core.wire.channels import Key
from kraken_sync.shared import SharedClient
from kraken_sync.shared.layout import Names
from kraken_sync.shared.line import BLOCK, MOST

from ..feed import SYMBOL, number_of, stamp
from .common import PATIENCE, check_exact, options, report


def ours(given: Any) -> float:
    """See the states of the book up to the last message, and return the CPU that it took."""
    seen: List[Tuple[float, Any]] = []
    clock, cpu = time.monotonic, 0.0
    with SharedClient(given.url) as client:
        book = client.book(SYMBOL, timeout=30)
        assert client.stats()["verified"] == 1, "the updates have begun"
        report(ready=True)
        for state in book.changes(timeout=30):
            seen.append((clock(), state.timestamp))
            if not cpu and number_of(state.timestamp):
                cpu = time.process_time()
            if state.version > given.count:
                break
        cpu = time.process_time() - cpu
        assert number_of(seen[-1][1]) == given.count, seen[-1]
        check_exact(client, given.count + 1)  # no mismatch, no gap, no reconnect
    numbered = ((number_of(timestamp), at) for at, timestamp in seen)
    Path(given.seen).write_text(json.dumps([one for one in numbered if one[0]]))
    return cpu


def bare(given: Any) -> float:
    """Read the entries up to the last message, and return the CPU that it took."""
    import redis

    names = Names("kraken")
    book, pulse = names.stream(Key("book", SYMBOL)).encode(), names.pulse.encode()
    server: Any = redis.Redis.from_url(given.url)
    cursors: Any = {book: b"0", pulse: b"$"}  # before the updates there is a state only
    report(ready=True)
    cpu, end = 0.0, f'"{stamp(given.count)}"}}]}}'.encode()
    deadline = time.monotonic() + PATIENCE
    while True:
        for stream, entries in dict(server.xread(cursors, count=MOST, block=BLOCK)).items():
            cursors[stream] = entries[-1][0]
            if stream == book:
                cpu = cpu or time.process_time()
                if entries[-1][1][b"d"].endswith(end):
                    return time.process_time() - cpu
        assert time.monotonic() < deadline, cursors


def late(given: Any) -> float:
    """Have a book as soon as possible."""
    client = SharedClient(given.url)
    began = time.perf_counter()
    with client:
        book = client.book(SYMBOL, given.depth)
        took = time.perf_counter() - began
        assert book.state is BookState.LIVE, book
        assert len(book.bids) == len(book.asks) == given.depth, book
        assert not client.stats()["mismatched"], client.stats()
    return took


def main() -> None:
    """Measure one kind."""
    given = options(__doc__, kind="ours", seen="", depth=10)
    if given.kind == "late":
        report(took=late(given))
    else:
        report(cpu=bare(given) if given.kind == "bare" else ours(given))


if __name__ == "__main__":
    main()
