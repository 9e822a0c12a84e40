"""ccxt (pro) against ``kraken-sync simulate``: prints one JSON object of what it saw.

``python ccxt_peer.py WS_URL AUTH_WS_URL REST_URL KEY SECRET [UPDATES]``; with UPDATES only public data.
"""

from __future__ import annotations

import asyncio
import json
import sys

import ccxt.pro

WS_URL, AUTH_WS_URL, REST_URL, KEY, SECRET = sys.argv[1:6]
UPDATES = int(sys.argv[6]) if len(sys.argv) > 6 else None


async def main() -> dict:
    """Markets, order book, trades, balance; an order placed and canceled."""
    exchange = ccxt.pro.kraken({"apiKey": KEY, "secret": SECRET})
    exchange.urls["api"].update(
        public=REST_URL,
        private=REST_URL,
        ws={
            "public": WS_URL,
            "publicV2": f"{WS_URL}/v2",
            "private": AUTH_WS_URL,
            "privateV2": f"{AUTH_WS_URL}/v2",
        },
    )
    try:
        seen: dict = {"markets": len(await exchange.load_markets())}
        book: dict = {}
        for _ in range(UPDATES or 300):
            book = await exchange.watch_order_book("BTC/USD", 10)
        seen["crossed"] = book["bids"][0][0] >= book["asks"][0][0]
        seen["levels"] = [len(book["bids"]), len(book["asks"])]
        trades = await exchange.watch_trades("BTC/USD")
        seen["trade"] = [trades[-1]["side"], trades[-1]["price"] > 0]
        if UPDATES:
            return seen
        balance = await exchange.watch_balance()
        seen["balance"] = balance["total"]["BTC"]
        placed = await exchange.create_order_ws("BTC/USD", "limit", "sell", 0.01, 90000)
        seen["placed"] = placed["id"]
        orders = await exchange.fetch_open_orders("BTC/USD")
        seen["open"] = [order["id"] for order in orders]
        await exchange.cancel_order_ws(placed["id"])
        seen["open_after"] = len(await exchange.fetch_open_orders("BTC/USD"))
        return seen
    finally:
        await exchange.close()


print(json.dumps(asyncio.run(asyncio.wait_for(main(), 100))))
