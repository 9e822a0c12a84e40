"""When each message is seen, by ``--kind``: ``ours`` (``book.changes()`` in a thread) or ``bare``.

``bare`` is a blocking ``SSLSocket.recv`` and a cut at the frames' lengths. ``--switch`` sets the
interpreter's switch interval, and with ``--busy 1`` the main thread computes without a pause; otherwise it
waits. Writes ``[number of the message, when it was seen]`` to the file ``--seen``, by the monotonic clock,
which all processes share.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any, List, Tuple

from kraken_sync import ReplyTimeout, SpotWSClient

from ..feed import SYMBOL, number_of
from ..frames import client_frame, split_server
from .common import context, options, report
from .receive import connected

SUBSCRIBE = {"method": "subscribe", "params": {"channel": "book", "symbol": [SYMBOL], "depth": 10}}
GO = {"method": "subscribe", "params": {"channel": "trade", "symbol": [SYMBOL], "snapshot": False}}
"""Has the updates sent."""
Seen = List[Tuple[float, Any]]


def bare(url: str, ca: str, last: int) -> List[Tuple[int, float]]:
    """See every message of the feed."""
    sock = connected(url, context(ca))
    for request in (SUBSCRIBE, GO):
        sock.sendall(client_frame(json.dumps(request).encode()))
    seen: Seen = []
    rest, clock = b"", time.monotonic
    while len(seen) < last:
        received = sock.recv(65_536)
        assert received, "the server has left"
        payloads, rest = split_server(rest + received)
        for payload in payloads:
            if payload.startswith(b'{"channel":"book","type":"update"'):
                seen.append((clock(), payload))
    sock.close()
    return [(number_of(payload[-31:-4].decode()), at) for at, payload in seen]


def ours(given: Any) -> List[Tuple[int, float]]:
    """See the states of the book."""
    client = SpotWSClient(ws_url=given.url, ssl_context=context(given.ca))
    client.start()
    seen: Seen = []

    def consume() -> None:
        clock, deadline = time.monotonic, time.monotonic() + given.patience
        book = client.book(SYMBOL, timeout=30)
        client.send_message(GO, raw=True)
        try:
            for state in book.changes(timeout=30):
                seen.append((clock(), state.timestamp))
                if state.version > given.last or seen[-1][0] > deadline:
                    break
        except ReplyTimeout:
            pass  # what has been seen is reported

    consumer = threading.Thread(target=consume)
    consumer.start()
    if given.busy:
        value = 1
        while consumer.is_alive():
            for _ in range(1000):
                value = (value * 1_103_515_245 + 12_345) & 0x7FFF_FFFF
    consumer.join()
    stats = client.stats()
    assert not stats["mismatched"], stats
    assert not stats["gaps"], stats
    if not given.busy or number_of(seen[-1][1]) == given.last:  # a busy one may have run out of time
        assert number_of(seen[-1][1]) == given.last, seen[-1]
        assert stats["verified"] == given.last + 1, stats
    client.close()
    return [(number_of(timestamp), at) for at, timestamp in seen]


def main() -> None:
    """Measure one kind."""
    given = options(__doc__, kind="ours", last=0, switch=0.0, busy=0, patience=60.0, seen="")
    if given.switch:
        sys.setswitchinterval(given.switch)
    seen = bare(given.url, given.ca, given.last) if given.kind == "bare" else ours(given)
    Path(given.seen).write_text(json.dumps([one for one in seen if one[0]]))
    report(states=len(seen))


if __name__ == "__main__":
    main()
