"""The other half of python-kraken-sdk's first example: a client with an API key, beside one without."""

import os
import time

from kraken_sync import SpotWSClient


class Client(SpotWSClient):
    def on_message(self, message):
        print(message)


def main():
    client = Client()  # unauthenticated
    client_auth = Client(  # authenticated
        key=os.environ["KRAKEN_API_KEY"],
        secret=os.environ["KRAKEN_API_SECRET"],
    )

    # open the websocket connections
    client.start()
    client_auth.start()

    client.subscribe(params={"channel": "ticker", "symbol": ["BTC/USD"]})
    client_auth.subscribe(params={"channel": "executions"})

    while not client.exception_occur:
        time.sleep(6)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
