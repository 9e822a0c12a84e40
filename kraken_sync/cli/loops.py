"""What a command does until it is time to stop: it prints lines, or it draws a screen."""

from __future__ import annotations

import queue
import time
from collections import deque
from decimal import Decimal
from typing import Any, Deque, Dict, List, Mapping, Union

from ..market.order_book import OrderBook
from ..market.subscription import ItemStream
from .feed import Feed, terminable
from .plain import number

PAST = 60
"""The number of values that are kept for a sparkline."""
TAPE = 200
"""The number of trades that are kept for the tape."""


def print_items(feed: Feed, stream: ItemStream[Any], channel: str) -> None:
    """Print the items of a stream, and its gaps, until it is time to stop."""
    printed = feed.lines(channel)
    while not feed.over():
        try:
            item = stream.get(feed.wait())
        except queue.Empty:
            continue
        if item.get("type") == "gap":
            for gap in item["data"]:
                printed.gap({"channel": item["channel"], **gap})
        else:
            printed.item(item)
        feed.counted()


class Silence:
    """A stream of nothing."""

    def get(self, timeout: float) -> Any:
        """Wait so many seconds. Raises queue.Empty."""
        time.sleep(timeout)
        raise queue.Empty


def show(
    feed: Feed, view: Any, stream: Union[ItemStream[Any], Silence], take: Any, look: Any = lambda: None
) -> None:
    """Show a view on the live screen until it is time to stop; ``take`` gets the items of the stream."""
    from .screen import REFRESH, Screen

    with terminable(), Screen(feed.client, view) as screen:
        while not feed.over():
            until = time.monotonic() + feed.wait(REFRESH)
            while time.monotonic() < until:
                try:
                    take(stream.get(max(0.0, until - time.monotonic())))
                except queue.Empty:
                    break
            look()
            screen.draw()


def show_rows(feed: Feed, stream: ItemStream[Any], view: Any, value: str, time_of: str = "") -> None:
    """Show one row a symbol, with a sparkline of ``value``: one for each item, or each ``time_of``."""
    latest: Dict[str, Mapping[str, Any]] = {}
    past: Dict[str, Deque[Any]] = {}

    def take(item: Mapping[str, Any]) -> None:
        if item.get("type") == "gap":
            return  # the footer tells it
        symbol = item["symbol"]
        before, latest[symbol] = latest.get(symbol), item
        values = past.setdefault(symbol, deque(maxlen=PAST))
        if values and before is not None and time_of and before.get(time_of) == item.get(time_of):
            values.pop()
        figure = number(item.get(value))
        if figure is not None:
            values.append(figure)

    show(feed, lambda width, height, glyphs: view(latest, past, width, glyphs), stream, take)


class Middles:
    """The middles of books, looked at about once a second."""

    def __init__(self, books: List[OrderBook]) -> None:
        self._books = books
        self._next = 0.0
        self.seen: Dict[str, Deque[Decimal]] = {one.symbol: deque(maxlen=PAST) for one in books}

    def look(self) -> None:
        """Note the middles, if a second has passed."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + 1.0
        for one in self._books:
            mid = one.stale.mid
            if mid is not None:
                self.seen[one.symbol].append(mid)
