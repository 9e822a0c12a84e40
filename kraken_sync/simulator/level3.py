"""The order-by-order view of a book: the ``level3`` channel.

Source: Kraken, "level3" page and "Spot Level 3 Market Data": every visible order in the best ``depth``
levels; ``add``, ``modify``, ``delete`` as they happen; when a level leaves, all orders of the level that
comes into scope are added with their original times; when an insert pushes a level out, nothing is sent for
it.
"""

from __future__ import annotations

import zlib
from typing import Dict, List, Tuple

from .instruments import Instrument
from .matching import ADD, BUY, SELL, Change, MatchingBook, Order
from .wire import number, timestamp


class OrderView:
    """What a subscriber to one depth has not been told yet."""

    def __init__(self, book: MatchingBook, pair: Instrument, depth: int) -> None:
        self._book = book
        self._pair = pair
        self.depth = depth
        self._events: Dict[str, List[str]] = {BUY: [], SELL: []}
        self._parts: List[Tuple[Dict[str, List[str]], int]] = []
        self._sizes = {side.name: len(side) for side in book.sides.values()}

    def note(self, change: Change, order: Order, event: str) -> None:
        """An order has come, changed or gone."""
        before, after = self._sizes[change.side], len(self._book.sides[change.side])
        self._sizes[change.side] = after
        if change.rank >= self.depth:
            return
        self._events[change.side].append(self._text(order, event))
        side = self._book.sides[change.side]
        if change.total == 0 and len(side) >= self.depth:
            for other in side.queue(side.price_at(self.depth - 1)):
                self._events[change.side].append(self._text(other, ADD))
        if after > before and after > self.depth:
            self._close()  # subscribers cut their book after each message

    def _close(self) -> None:
        if self._events[BUY] or self._events[SELL]:
            self._parts.append((self._events, self.checksum()))
            self._events = {BUY: [], SELL: []}

    def take(self, now: float) -> List[str]:
        """Update messages of everything since the last ones."""
        self._close()
        parts, self._parts = self._parts, []
        return [self._message("update", events, now, checksum) for events, checksum in parts]

    def snapshot(self, now: float) -> str:
        """All orders in the depth."""
        orders: Dict[str, List[str]] = {}
        for name, side in self._book.sides.items():
            prices = [price for price, _ in side.top(self.depth)]
            orders[name] = [self._text(order) for price in prices for order in side.queue(price)]
        return self._message("snapshot", orders, now, self.checksum())

    def checksum(self) -> int:
        """CRC32 over all orders of ten levels a side, asks first, each level in the order of its queue."""
        text = ""
        for name in (SELL, BUY):
            side = self._book.sides[name]
            for price, _ in side.top(10):
                for order in side.queue(price):
                    for value, digits in (
                        (order.price, self._pair.price_digits),
                        (order.left, self._pair.qty_digits),
                    ):
                        text += number(value, digits).replace(".", "").lstrip("0")
        return zlib.crc32(text.encode("ascii"))

    def _message(self, kind: str, sides: Dict[str, List[str]], now: float, checksum: int) -> str:
        return (
            f'{{"channel":"level3","type":"{kind}","data":[{{"checksum":{checksum},'
            f'"timestamp":"{timestamp(now, 9)}","symbol":"{self._pair.symbol}",'
            f'"bids":[{",".join(sides[BUY])}],"asks":[{",".join(sides[SELL])}]}}]}}'
        )

    def _text(self, order: Order, event: str = "") -> str:
        named = f'"event":"{event}",' if event else ""
        return (
            f'{{{named}"order_id":"{order.name}",'
            f'"limit_price":{number(order.price, self._pair.price_digits)},'
            f'"order_qty":{number(order.left, self._pair.qty_digits)},'
            f'"timestamp":"{timestamp(order.moment, 9)}"}}'
        )
