"""The REST answers that clients ask for first."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any, Dict, Mapping

from ..core.book.book import Book
from ..core.wire.channels import Key
from ..core.wire.numbers import fixed
from ..simulator.wire import timestamp
from .exchange import ReplayedExchange
from .feeds import BookFeed

Params = Dict[str, str]


class ReplayedRest:
    """Answers REST requests from what was recorded.

    Args:
        exchange: what is played.
    """

    def __init__(self, exchange: ReplayedExchange) -> None:
        self._exchange = exchange

    def answer(self, path: str, params: Params) -> Dict[str, Any]:
        """Return the JSON envelope for a public request."""
        name = path.rpartition("/")[2]
        instruments, now = self._exchange.instruments, time.time()
        result: Any = None
        if name == "Time":
            result = {"unixtime": int(now), "rfc1123": formatdate(now, usegmt=True)}
        elif name == "SystemStatus":
            result = {"status": "online", "timestamp": timestamp(now, 0)[:19] + "Z"}
        elif name == "Assets":
            result = instruments.assets()
        elif name == "AssetPairs" and params.get("aclass_base") == "tokenized_asset":
            result = {}
        elif name == "AssetPairs":
            result = instruments.asset_pairs(params.get("pair", ""))
        elif name == "Depth":
            result = self._depth(params.get("pair", ""), params.get("count", "100"))
        else:
            return {"error": ["EGeneral:Unknown method"]}
        return (
            {"error": [], "result": result}
            if result is not None
            else {"error": ["EQuery:Unknown asset pair"]}
        )

    def private(self, path: str, headers: Mapping[str, str], body: bytes) -> Dict[str, Any]:
        """Return the envelope for a signed request: a token for level3, and nothing else."""
        if path.endswith("/GetWebSocketsToken"):
            return {"error": [], "result": {"token": "replay", "expires": 900}}
        return {"error": ["EGeneral:Feature disabled"]}

    def _depth(self, name: str, count: str) -> Any:
        symbol = self._exchange.instruments.find(name)
        feed = self._exchange.feeds.get(Key("book", symbol))
        if not isinstance(feed, BookFeed) or not feed.valid or not isinstance(feed.book, Book):
            return None
        book, now = feed.book, int(time.time())
        levels = max(1, min(500, int(count) if count.isdigit() else 100))
        asks, bids = book.top(levels)
        return {
            name: {
                side: [
                    [fixed(price, book.price_decimals), fixed(qty, book.qty_decimals), now]
                    for price, qty in rows
                ]
                for side, rows in (("asks", asks), ("bids", bids))
            }
        }
