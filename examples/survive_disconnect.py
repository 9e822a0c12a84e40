"""Cut the line under a running client and watch it come back. Needs nothing but this file.

python examples/survive_disconnect.py

LIVE, generation 1
BTC/USD is STALE (the peer closed the connection, for 0.0 s). book.stale reads ...
LIVE, generation 2, after a gap of 5.4 s
"""

from __future__ import annotations

from datetime import datetime

from kraken_sync import BookNotLive, SpotWSClient
from kraken_sync.simulator import Simulator


def main() -> None:
    with Simulator() as exchange, SpotWSClient(ws_url=exchange.ws_url) as client:
        book = client.book("BTC/USD")
        print(f"{book.state}, generation {book.snapshot().generation}")
        exchange.faults.refuse_connections = 1  # so that there is time to look
        exchange.cut()
        while True:
            try:
                book.snapshot()
            except BookNotLive as error:
                print(error)
                break
        state = book.wait_until(lambda state: state.generation == 2, timeout=30)
        since, until = (datetime.fromisoformat(client.gaps()[0][name][:-1]) for name in ("since", "until"))
        gap = (until - since).total_seconds()
        print(f"{state.state}, generation {state.generation}, after a gap of {gap:.1f} s")


if __name__ == "__main__":
    main()
