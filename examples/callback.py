"""Receive everything in a callback, as with python-kraken-sdk, but without async.

python examples/callback.py BTC/USD
"""

from __future__ import annotations

import argparse
import threading
from typing import Any

from kraken_sync import SpotWSClient


class Client(SpotWSClient):
    """Prints trades; every message comes here, one at a time, on one thread."""

    done = threading.Event()
    left = -1

    def on_message(self, message: Any) -> None:
        if message.get("channel") != "trade":
            return
        for trade in message["data"]:
            print(trade)
            self.left -= 1
            if self.left == 0:
                self.done.set()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbol", nargs="?", default="BTC/USD")
    parser.add_argument("--url", help="another exchange, such as the simulator's ws_url")
    parser.add_argument("--count", type=int, default=-1, help="stop after so many")
    options = parser.parse_args()
    with Client(ws_url=options.url) as client:
        client.left = options.count
        client.subscribe({"channel": "trade", "symbol": [options.symbol], "snapshot": True})
        while not client.done.wait(0.5):
            pass


if __name__ == "__main__":
    main()
