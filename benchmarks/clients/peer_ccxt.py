"""ccxt's ``watch_order_book`` of Kraken, over our certificate; without checksums, with which it fails.

The book is asked for once, which is the cheapest: nobody awaits each change. Messages are counted where ccxt
handles them.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import Any, Dict

from ..feed import SYMBOL
from .common import PATIENCE, context, options, report

MARKET: Dict[str, Any] = {
    "id": "XXBTZUSD",
    "wsId": "XBT/USD",
    "symbol": SYMBOL,
    "base": "BTC",
    "quote": "USD",
    "baseId": "XXBT",
    "quoteId": "ZUSD",
    "type": "spot",
    "spot": True,
    "active": True,
    "precision": {"price": 0.1, "amount": 1e-8},
    "limits": {},
    "info": {},
}


def exchange_of(url: str, ca: str) -> Any:
    """ccxt's Kraken with one market, so that it asks REST for nothing."""
    aiohttp = importlib.import_module("aiohttp")
    tls = context(ca)
    exchange = importlib.import_module("ccxt.pro").kraken({"enableRateLimit": False, "newUpdates": False})
    exchange.options["watchOrderBook"] = {"checksum": False}
    exchange.markets = {SYMBOL: MARKET}
    exchange.markets_by_id = {MARKET["id"]: [MARKET]}
    exchange.symbols = [SYMBOL]
    exchange.options["marketsByWsName"] = {SYMBOL: MARKET}

    async def markets(*args: Any, **kwargs: Any) -> Any:
        return exchange.markets

    exchange.load_markets = markets
    exchange.urls["api"]["ws"] = dict.fromkeys(exchange.urls["api"]["ws"], url)
    exchange.ssl_context = tls
    exchange.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls))
    return exchange


async def measure(url: str, ca: str, count: int) -> None:
    """Measure from the first call, which connects, to all messages applied."""
    exchange = exchange_of(url, ca)
    handle, done = exchange.handle_order_book, asyncio.Event()
    left = count

    def counted(client: Any, message: Any) -> None:
        nonlocal left
        handle(client, message)
        left -= 1
        if not left:
            done.set()

    exchange.handle_order_book = counted
    cpu, wall = time.process_time(), time.perf_counter()
    await exchange.watch_order_book(SYMBOL, 10)
    await asyncio.wait_for(done.wait(), PATIENCE)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    report(cpu=cpu / count * 1e6, wall=wall / count * 1e6)
    await exchange.close()


def main() -> None:
    """Run it."""
    given = options(__doc__)
    asyncio.run(measure(given.url, given.ca, given.count))


if __name__ == "__main__":
    main()
