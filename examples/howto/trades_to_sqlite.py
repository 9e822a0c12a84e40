"""Trades into SQLite, each once: gaps of the connection are filled from REST, and what cannot be is noted.

python trades_to_sqlite.py trades.sqlite [BTC/USD]
"""

from __future__ import annotations

import os
import sqlite3
import sys
from decimal import Decimal

from kraken_sync import SpotWSClient

TABLES = """
create table if not exists trades (symbol text, trade_id integer, side text, price text, qty text, time text,
                                   primary key (symbol, trade_id));
create table if not exists gaps (symbol text, since text, until text, reason text);
"""


def main(path: str, symbol: str = "BTC/USD", count: int = 0) -> None:
    database = sqlite3.connect(path)
    database.executescript(TABLES)
    client = SpotWSClient(
        ws_url=os.environ.get("WS_URL"),
        rest_url=os.environ.get("REST_URL"),
        parse_float=Decimal,
    )
    with client:
        trades = client.trades(symbol, snapshot=True, gaps=True, backfill=True)
        for number, trade in enumerate(trades, 1):
            with database:  # a transaction: a crash leaves no half of one
                if trade.get("type") == "gap":
                    for gap in trade["data"]:
                        values = (symbol, gap["since"], gap["until"], gap["reason"])
                        database.execute("insert into gaps values (?, ?, ?, ?)", values)
                else:
                    names = ("symbol", "trade_id", "side", "price", "qty", "timestamp")
                    values = tuple(str(trade[name]) if name != "trade_id" else trade[name] for name in names)
                    database.execute("insert or ignore into trades values (?, ?, ?, ?, ?, ?)", values)
            if number == count:
                break
    print(database.execute("select count(*) from trades").fetchone()[0], "trades")
    database.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], *sys.argv[2:3], *map(int, sys.argv[3:4]))
    except KeyboardInterrupt:
        pass  # the usual end
