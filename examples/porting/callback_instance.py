"""python-kraken-sdk's example of a client with a callback."""

import time

from kraken_sync import SpotWSClient


def on_message(message):
    print(message)


def main():
    client = SpotWSClient(callback=on_message)
    client.start()
    client.subscribe(params={"channel": "ticker", "symbol": ["BTC/USD"]})

    while not client.exception_occur:
        time.sleep(10)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
