"""The book paths of other libraries, fed directly, without sockets."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
import time
from decimal import Decimal
from typing import Any, Dict, Mapping, Sequence, Tuple

from ..measure import Absent

Digits = Mapping[str, Tuple[int, int]]
"""The digits of price and quantity of each symbol."""


def sdk(
    snapshots: Sequence[bytes], updates: Sequence[bytes], depth: int, digits: Digits
) -> Tuple[float, float]:
    """Seconds of python-kraken-sdk for the snapshots and for the updates, all of which verify."""
    if importlib.util.find_spec("kraken") is None:
        raise Absent("not installed")
    return asyncio.run(_sdk(snapshots, updates, depth, digits))


async def _sdk(
    snapshots: Sequence[bytes], updates: Sequence[bytes], depth: int, digits: Digits
) -> Tuple[float, float]:
    wrong = 0

    def told(pair: str, message: Dict[str, Any]) -> None:
        nonlocal wrong
        wrong += "error" in message

    async def nothing(pairs: Any) -> None:
        """In place of a new subscription after a mismatch."""

    client = importlib.import_module("kraken.spot").SpotOrderBookClient(depth=depth, callback=told)
    client.add_book = client.remove_book = nothing
    client._SpotOrderBookClient__market.get_asset_pairs = lambda pair: {
        pair: {"pair_decimals": digits[pair][0], "lot_decimals": digits[pair][1]}
    }
    started = time.perf_counter()
    for frame in snapshots:
        await client.on_message(json.loads(frame))
    between = time.perf_counter()
    for frame in updates:
        await client.on_message(json.loads(frame))
    ended = time.perf_counter()
    await client.close()
    if wrong:
        raise Absent(f"failed: {wrong} of {len(updates)} do not verify")
    return between - started, ended - between


def order_book(snapshots: Sequence[bytes], updates: Sequence[bytes], depth: int) -> Tuple[float, float]:
    """Seconds of order_book, written in C, with yapic.json, which reads numbers as exact decimals."""
    if importlib.util.find_spec("order_book") is None or importlib.util.find_spec("yapic") is None:
        raise Absent("not installed")
    make = importlib.import_module("order_book").OrderBook
    loads = importlib.import_module("yapic.json").loads
    books: Dict[str, Any] = {}
    wrong = 0
    started = time.perf_counter()
    for frame in snapshots:
        (data,) = loads(frame, parse_float=Decimal)["data"]
        book = books[data["symbol"]] = make(max_depth=depth, checksum_format="KRAKEN")
        book.bids = {level["price"]: level["qty"] for level in data["bids"]}
        book.asks = {level["price"]: level["qty"] for level in data["asks"]}
        wrong += book.checksum() != data["checksum"]
    between = time.perf_counter()
    for frame in updates:
        (data,) = loads(frame, parse_float=Decimal)["data"]
        book = books[data["symbol"]]
        for name, side in (("bids", book.bids), ("asks", book.asks)):
            entries = data[name]
            if not entries:
                continue
            for level in entries:
                price, qty = level["price"], level["qty"]
                if qty:
                    side[price] = qty
                elif price in side:
                    del side[price]
            side.truncate()
        wrong += book.checksum() != data["checksum"]
    ended = time.perf_counter()
    if wrong:
        raise Absent(f"failed: {wrong} of {len(updates)} do not verify")
    return between - started, ended - between
