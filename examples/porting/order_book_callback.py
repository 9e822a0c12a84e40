"""python-kraken-sdk's example of an order book with a callback."""

import time

from kraken_sync import SpotOrderBookClient


def my_callback(self: "SpotOrderBookClient", pair: str, message: dict) -> None:
    """This function do not need to be async."""
    print(message)


def main() -> None:
    orderbook: SpotOrderBookClient = SpotOrderBookClient(depth=100, callback=my_callback)
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
