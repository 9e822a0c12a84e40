"""One price into a file, for cron: it ends by itself, and its exit code tells whether it worked.

*/5 * * * *  /opt/venv/bin/python /opt/prices/cron_prices.py BTC/USD prices.csv
"""

from __future__ import annotations

import os
import sys

from kraken_sync import KrakenError, SpotWSClient


def main(symbol: str, path: str) -> int:
    try:
        with SpotWSClient(ws_url=os.environ.get("WS_URL")) as client:
            book = client.book(symbol, timeout=20).snapshot(1)
    except KrakenError as error:
        print(f"{symbol}: {error}", file=sys.stderr)  # cron mails it
        return 1
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{book.timestamp},{symbol},{book.mid}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) == 3 else __doc__)
