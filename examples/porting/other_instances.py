"""python-kraken-sdk's example of connecting to other Kraken instances."""

import os
import time

from kraken_sync import SpotWSClient


def main():
    client_auth = SpotWSClient(
        key=os.environ["KRAKEN_API_KEY"],
        secret=os.environ["KRAKEN_API_SECRET"],
        rest_url=os.environ.get("REST_URL", "https://api.vip.uat.lobster.kraken.com"),
        ws_url=os.environ.get("WS_URL", "wss://ws.vip.uat.lobster.kraken.com"),
        auth_ws_url=os.environ.get("AUTH_WS_URL", "wss://ws-auth.vip.uat.lobster.kraken.com"),
    )
    client_auth.start()
    print(client_auth.state)
    print(client_auth.get_ws_token()["expires"])

    while not client_auth.exception_occur:
        time.sleep(6)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
