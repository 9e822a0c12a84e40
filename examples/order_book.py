"""Watch what buying one unit of the base currency would cost, and keep going through outages.

python examples/order_book.py BTC/USD

64251.5 to buy 1 at once (spread 0.7, imbalance 0.12)
"""

from __future__ import annotations

import argparse

from kraken_sync import SpotWSClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbol", nargs="?", default="BTC/USD")
    parser.add_argument("--url", help="another exchange, such as the simulator's ws_url")
    parser.add_argument("--count", type=int, help="stop after so many")
    options = parser.parse_args()
    with SpotWSClient(ws_url=options.url) as client:
        book = client.book(options.symbol, depth=100)
        generation = 1
        for number, state in enumerate(book.changes(), 1):
            if state.generation != generation:
                generation = state.generation
                print("-- there was a gap:", client.gaps()[-1]["reason"])
            price, imbalance = state.vwap("buy", 1), state.imbalance()
            print(f"{price} to buy 1 at once (spread {state.spread}, imbalance {imbalance:.2f})")
            if number == options.count:
                break


if __name__ == "__main__":
    main()
