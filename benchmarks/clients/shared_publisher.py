"""Publishes one book, and has its updates sent when it is told to by a line on standard input.

With ``--flood 1`` it reports the messages written a second, from the first update to the last.
"""

from __future__ import annotations

import sys
import time

from kraken_sync import SpotWSClient
from kraken_sync.shared import Publisher

from ..feed import SYMBOL
from .common import PATIENCE, check_exact, context, options, report
from .latency import GO

PAUSE = 0.002
"""Seconds between two looks at the number of messages written."""
SETTLED = 0.2
"""Seconds after which what a publisher begins with is written."""


def throughput(publisher: Publisher, before: int, count: int) -> float:
    """Wait until ``count`` more messages are written, and return how many a second that were."""
    deadline = time.monotonic() + PATIENCE
    began, at_first = 0.0, before
    while (written := publisher.published) < before + count:
        now = time.monotonic()
        assert now < deadline, f"{written - before} messages of {count} were written"
        if not began and written > before:
            began, at_first = now, written
        time.sleep(PAUSE)
    assert written == before + count, f"{written - before} messages instead of {count}"
    return (written - at_first) / max(PAUSE, time.monotonic() - began) if began else count / PAUSE


def main() -> None:
    """Publish until standard input ends."""
    given = options(__doc__, redis="", depth=10, flood=0)
    client = SpotWSClient(ws_url=given.url, ssl_context=context(given.ca))
    publisher = Publisher(client, given.redis, SYMBOL, channels=["book"], depth=given.depth)
    with client, publisher:
        deadline = time.monotonic() + PATIENCE
        while not publisher.in_office:
            assert time.monotonic() < deadline, publisher.trouble
            time.sleep(0.01)
        time.sleep(SETTLED)
        report(ready=True)
        sys.stdin.readline()
        before, cpu = publisher.published, time.process_time()
        client.send_message(GO, raw=True)
        if given.flood:
            rate = throughput(publisher, before, given.count)
            cpu = time.process_time() - cpu
            check_exact(client, given.count + 1)
            report(rate=rate, cpu=cpu / given.count * 1e6)
        sys.stdin.read()


if __name__ == "__main__":
    main()
