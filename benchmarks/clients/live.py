"""Our client with one live book, and with ``--stream 1`` a drained stream of the same book besides."""

from __future__ import annotations

import time

from kraken_sync import SpotWSClient

from ..feed import SYMBOL
from .common import await_verified, check_exact, context, options, report


def main() -> None:
    """Measure from connected to all messages applied."""
    given = options(__doc__, stream=0)
    client = SpotWSClient(ws_url=given.url, ssl_context=context(given.ca))
    client.start()
    cpu, wall = time.process_time(), time.perf_counter()
    if given.stream:
        params = {"channel": "book", "symbol": [SYMBOL], "depth": 10}
        stream = client.subscribe(params, maxlen=10**7)
        book = client.book(SYMBOL)
        for _ in range(given.count):
            stream.get(30)
        assert not stream.dropped
    else:
        book = client.book(SYMBOL)
    await_verified(client, given.count)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    check_exact(client, given.count)
    assert book.state.name == "LIVE", book
    client.close()
    report(cpu=cpu / given.count * 1e6, wall=wall / given.count * 1e6)


if __name__ == "__main__":
    main()
