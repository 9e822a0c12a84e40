"""One process receives, others calculate: what is sent between them are values, never a client or a book."""

from __future__ import annotations

import multiprocessing
import os
from typing import Any

from kraken_sync import SpotWSClient


def calculate(snapshots: Any, results: Any) -> None:
    """Runs in a process of its own."""
    for snapshot in iter(snapshots.get, None):
        results.put((snapshot.symbol, snapshot.imbalance(5)))


def main(count: int = 3) -> None:
    # "spawn" works everywhere, also on Windows. With "fork", start the workers before the client.
    context = multiprocessing.get_context("spawn")
    snapshots, results = context.Queue(maxsize=100), context.Queue()
    worker = context.Process(target=calculate, args=(snapshots, results), daemon=True)
    worker.start()
    with SpotWSClient(ws_url=os.environ.get("WS_URL")) as client:
        for snapshot in client.book("BTC/USD").changes(n=count, seconds=30):
            snapshots.put(snapshot)
            print(*results.get(timeout=30))
    snapshots.put(None)
    worker.join()


if __name__ == "__main__":
    main()
