"""Our client with ``--symbols`` ticker subscriptions on which nothing comes but heartbeats."""

from __future__ import annotations

import time

from kraken_sync import SpotWSClient

from ..feed import names
from .common import context, options, report


def main() -> None:
    """Measure the share of a core over ``--seconds``."""
    given = options(__doc__, symbols=200, seconds=10.0)
    with SpotWSClient(ws_url=given.url, ssl_context=context(given.ca)) as client:
        params = {"channel": "ticker", "symbol": names(given.symbols), "snapshot": False}
        stream = client.subscribe(params, timeout=60)
        time.sleep(min(2.0, given.seconds))
        before = client.stats()["messages"]
        cpu, wall = time.process_time(), time.perf_counter()
        time.sleep(given.seconds)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        stats = client.stats()
        assert stats["subscriptions"] >= given.symbols, stats
        assert not stats["reconnects"], stats
        assert stats["messages"] - before <= 3 * given.seconds + 3, stats
        stream.unsubscribe()
    report(share=cpu / wall * 100)


if __name__ == "__main__":
    main()
