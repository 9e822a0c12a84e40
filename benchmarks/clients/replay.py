"""Our client with one live book of a recording that is replayed at full speed. (Without TLS.)"""

from __future__ import annotations

import argparse
import time

from kraken_sync import SpotWSClient

from ..feed import SYMBOL
from .common import await_verified, check_exact, report


def main() -> None:
    """Measure from the subscribe, with which it begins to play, to the last message."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ws", required=True)
    parser.add_argument("--rest", required=True)
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    with SpotWSClient(ws_url=given.ws, rest_url=given.rest) as client:
        started = time.perf_counter()
        book = client.book(SYMBOL)
        await_verified(client, given.count, pause=0.002)
        seconds = time.perf_counter() - started
        check_exact(client, given.count)
        book.unsubscribe()
    report(wall=seconds / given.count * 1e6)


if __name__ == "__main__":
    main()
