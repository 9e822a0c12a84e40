"""Write trades to a CSV file, with a row for everything that was missed.

python examples/trades_to_csv.py trades.csv BTC/USD ETH/USD
"""

from __future__ import annotations

import argparse
import csv
from decimal import Decimal

from kraken_sync import SpotWSClient

FIELDS = ["timestamp", "symbol", "side", "price", "qty", "trade_id", "gap"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("symbols", nargs="*", default=["BTC/USD"])
    parser.add_argument("--url", help="another exchange, such as the simulator's ws_url")
    parser.add_argument("--count", type=int, help="stop after so many")
    options = parser.parse_args()
    with (
        open(options.file, "w", newline="") as file,
        SpotWSClient(ws_url=options.url, parse_float=Decimal) as client,
    ):
        writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
        writer.writeheader()
        for number, item in enumerate(client.trades(options.symbols, snapshot=True, gaps=True), 1):
            if item.get("type") == "gap":
                gap = item["data"][0]
                item = {"symbol": gap["symbol"], "timestamp": gap["until"], "gap": f"since {gap['since']}"}
            writer.writerow(item)
            file.flush()
            if number == options.count:
                break


if __name__ == "__main__":
    main()
