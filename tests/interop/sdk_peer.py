"""python-kraken-sdk against ``kraken-sync simulate``: prints one JSON object of what it saw.

``python sdk_peer.py books|channels|client WS_URL AUTH_WS_URL REST_URL KEY SECRET [UPDATES SYMBOL...]``
"""

from __future__ import annotations

import asyncio
import builtins
import json
import sys
import time
from collections import Counter
from typing import Any, Callable

import kraken.base_api
import kraken.spot.websocket
from kraken.spot import SpotOrderBookClient, SpotWSClient

WS_URL, AUTH_WS_URL, REST_URL, KEY, SECRET = sys.argv[2:7]
kraken.spot.websocket.SpotWSClientBase.WS_URL = WS_URL
kraken.spot.websocket.SpotWSClientBase.AUTH_WS_URL = AUTH_WS_URL
kraken.base_api.SpotClient.URL = REST_URL
out, builtins.print = builtins.print, lambda *args, **kwargs: None  # the SDK prints every message
UPDATES = int(sys.argv[7]) if len(sys.argv) > 7 else 3000
SYMBOLS = sys.argv[8:] or ["BTC/USD", "ETH/USD", "SOL/USD", "ETH/BTC", "BTC/EUR", "DOGE/USD", "ADA/USD"]
"""Without SHIB/USD: its quantities have 17 digits, and the SDK puts them through floats."""


async def books() -> dict:
    """Its book client, until it has seen thousands of updates."""
    seen: Counter = Counter()
    done = asyncio.Event()

    class Books(SpotOrderBookClient):
        async def on_book_update(self, pair: str, message: dict) -> None:
            if "error" in message:
                seen["error"] += 1
            else:
                seen["updates"] += 1
                seen["invalid"] += not self.get(pair)["valid"]
                if not self.get(pair)["valid"]:
                    seen[f"invalid {pair}"] += 1
            if seen["updates"] >= UPDATES:
                done.set()

    client = Books(depth=10)
    await client.start()
    await client.add_book(pairs=SYMBOLS)
    try:
        await asyncio.wait_for(done.wait(), 60)
    except asyncio.TimeoutError:
        pass  # what was seen so far tells
    await client.close()
    return dict(seen)


async def channels() -> dict:
    """Its WebSocket client on every public channel."""
    return await client(trades=False)


async def client(trades: bool = True) -> dict:
    """Its WebSocket client: every public channel, executions, an order placed, amended, canceled."""
    messages: list = []
    news = asyncio.Event()

    class Client(SpotWSClient):
        async def on_message(self, message: dict) -> None:
            messages.append(message)
            news.set()

    async def until(found: Callable[[dict], Any], what: str) -> dict:
        ends = time.monotonic() + 40
        while True:
            for message in list(messages):
                if found(message):
                    return message
            if time.monotonic() > ends:
                raise TimeoutError(what)
            news.clear()
            try:
                await asyncio.wait_for(news.wait(), 1)
            except asyncio.TimeoutError:
                pass

    one = Client(key=KEY, secret=SECRET, rest_url=REST_URL)
    await one.start()
    for channel, options in {
        "ticker": {},
        "book": {"depth": 10},
        "trade": {"snapshot": True},
        "ohlc": {"interval": 5},
    }.items():
        await one.subscribe(params={"channel": channel, "symbol": ["BTC/USD"], **options})
    await one.subscribe(params={"channel": "instrument"})
    snapshots = ["ticker", "book", "trade", "ohlc", "instrument"]
    if trades:
        await one.subscribe(params={"channel": "executions"})
        snapshots.append("executions")
    seen = {}
    for channel in snapshots:
        message = await until(
            lambda m, c=channel: m.get("channel") == c and m.get("type") == "snapshot", channel
        )
        seen[channel] = message["type"]
    for channel in ("ticker", "book", "trade", "ohlc"):
        await until(lambda m, c=channel: m.get("channel") == c and m.get("type") == "update", channel)

    if not trades:
        await one.close()
        return seen

    async def ask(method: str, params: dict, req_id: int) -> dict:
        await one.send_message({"method": method, "params": params, "req_id": req_id})
        return await until(lambda m: m.get("req_id") == req_id and m.get("method") == method, method)

    order = {
        "order_type": "limit",
        "side": "sell",
        "order_qty": 0.01,
        "symbol": "BTC/USD",
        "limit_price": 90000.0,
    }
    placed = await ask("add_order", order, 101)
    order_id = placed["result"]["order_id"]
    amended = await ask("amend_order", {"order_id": order_id, "order_qty": 0.02}, 102)
    canceled = await ask("cancel_order", {"order_id": [order_id]}, 103)
    seen["replies"] = [reply["success"] for reply in (placed, amended, canceled)]

    def told(kind: str) -> Callable[[dict], Any]:
        return lambda m: (
            m.get("channel") == "executions"
            and any(item.get("order_id") == order_id and item["exec_type"] == kind for item in m["data"])
        )

    seen["told"] = []
    for kind in ("pending_new", "new", "amended", "canceled"):
        await until(told(kind), kind)
        seen["told"].append(kind)
    await one.close()
    return seen


out(json.dumps(asyncio.run({"books": books, "channels": channels, "client": client}[sys.argv[1]]())))
