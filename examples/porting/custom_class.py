"""python-kraken-sdk's example of a class of one's own: without ``async``, ``await`` and the event loop."""

import time

from kraken_sync import SpotWSClient


class Client(SpotWSClient):
    def on_message(self, message):
        print(message)


def main():
    client = Client()  # unauthenticated

    # open the websocket connections
    client.start()

    # subscribe to the desired feeds:
    client.subscribe(params={"channel": "ticker", "symbol": ["BTC/USD"]})
    # from now on the on_message function receives the ticker feed

    while not client.exception_occur:
        time.sleep(6)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
