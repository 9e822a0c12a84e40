"""python-kraken-sdk's example of an order book as a class of one's own."""

import time
from typing import Any

from kraken_sync import SpotOrderBookClient


class OrderBook(SpotOrderBookClient):
    def on_book_update(self: "OrderBook", pair: str, message: list) -> None:
        """This function must be overloaded to get the recent updates."""
        book: dict[str, Any] = self.get(pair=pair)
        bid: list[tuple[str, str]] = list(book["bid"].items())
        ask: list[tuple[str, str]] = list(book["ask"].items())

        print("Bid     Volume               Ask     Volume")
        for level in range(self.depth):
            print(f"{bid[level][0]} ({bid[level][1]}) {ask[level][0]} ({ask[level][1]})")


def main() -> None:
    orderbook: OrderBook = OrderBook(depth=10)
    orderbook.start()

    orderbook.add_book(
        pairs=["XBT/USD"]  # we can also subscribe to more currency pairs
    )

    while not orderbook.exception_occur:
        time.sleep(10)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
