"""Print tickers.

python examples/ticker.py BTC/USD ETH/USD

BTC/USD  bid 64250.8  ask 64251.5  last 64250.4
"""

from __future__ import annotations

import argparse

from kraken_sync import SpotWSClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbols", nargs="*", default=["BTC/USD"])
    parser.add_argument("--url", help="another exchange, such as the simulator's ws_url")
    parser.add_argument("--count", type=int, help="stop after so many")
    options = parser.parse_args()
    with SpotWSClient(ws_url=options.url) as client:
        for number, ticker in enumerate(client.ticker(options.symbols, event_trigger="bbo"), 1):
            print(f"{ticker['symbol']}  bid {ticker['bid']}  ask {ticker['ask']}  last {ticker['last']}")
            if number == options.count:
                break


if __name__ == "__main__":
    main()
