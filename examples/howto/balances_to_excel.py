"""Balances and open orders as a workbook; pip install "kraken-sync[pandas]" openpyxl."""

from __future__ import annotations

import os
import sys

import pandas

from kraken_sync import SpotWSClient


def main(path: str = "account.xlsx") -> None:
    places = {name.lower(): os.environ.get(name) for name in ("WS_URL", "AUTH_WS_URL", "REST_URL")}
    with SpotWSClient(**places) as client:  # the key is in KRAKEN_API_KEY and KRAKEN_API_SECRET
        orders = client.orders.to_frame()
        for name in ("created", "updated"):  # Excel knows no time zones: these are UTC
            orders[name] = orders[name].dt.tz_localize(None)
        with pandas.ExcelWriter(path) as workbook:
            client.balance.to_frame().to_excel(workbook, sheet_name="balances")
            orders.to_excel(workbook, sheet_name="orders")
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
