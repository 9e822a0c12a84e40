"""python-kraken-sdk's example of a client as a context manager."""

import os
import time

from kraken_sync import SpotWSClient


def on_message(message):
    print(message)


def main():
    with SpotWSClient(
        key=os.environ["KRAKEN_API_KEY"],
        secret=os.environ["KRAKEN_API_SECRET"],
        callback=on_message,
    ) as session:
        session.subscribe(params={"channel": "ticker", "symbol": ["BTC/USD"]})

        while True:
            time.sleep(6)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
