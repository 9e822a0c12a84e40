"""An order book that matches by price and time. Prices and quantities are integers."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from typing import Callable, Deque, Dict, List, Tuple

BUY, SELL = "buy", "sell"


@dataclass
class Order:
    """A resting order."""

    order_id: int
    side: str
    price: int
    left: int
    """What is not filled yet."""


@dataclass(frozen=True)
class Change:
    """A level has a new total; ``rank`` counts from the best price, 0 being the best."""

    side: str
    price: int
    total: int
    rank: int


@dataclass(frozen=True)
class Fill:
    """A trade: ``taker`` is the side that came to the book."""

    taker: str
    price: int
    qty: int


class Side:
    """One side: levels sorted from the best price, each a queue of orders in time order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sign = -1 if name == BUY else 1
        self._keys: List[int] = []  # sign * price, ascending, so that the best comes first
        self._queues: Dict[int, Deque[Order]] = {}
        self._totals: Dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def price_at(self, rank: int) -> int:
        """The price of the level at ``rank``."""
        return self._sign * self._keys[rank]

    def rank_of(self, price: int) -> int:
        """Where ``price`` stands, or would stand."""
        return bisect_left(self._keys, self._sign * price)

    def total(self, price: int) -> int:
        """The quantity at ``price``, 0 if there is none."""
        return self._totals.get(price, 0)

    def queue(self, price: int) -> Deque[Order]:
        """The orders at ``price``, oldest first."""
        return self._queues[price]

    def top(self, count: int) -> List[Tuple[int, int]]:
        """The best levels as (price, total)."""
        prices = [self._sign * key for key in self._keys[:count]]
        return [(price, self._totals[price]) for price in prices]

    def crosses(self, price: int, limit: int) -> bool:
        """Whether ``price`` on this side is acceptable to a taker with ``limit``."""
        return self._sign * price <= self._sign * limit

    def change(self, price: int, difference: int) -> Change:
        """Add to (or take from) a level's total; a level at 0 disappears."""
        rank, total = self.rank_of(price), self._totals.get(price, 0) + difference
        if total == 0:
            del self._totals[price], self._queues[price], self._keys[rank]
        else:
            if price not in self._totals:
                insort(self._keys, self._sign * price)
                self._queues.setdefault(price, deque())
            self._totals[price] = total
        return Change(self.name, price, total, rank)

    def append(self, order: Order) -> Change:
        """Queue an order at its price."""
        change = self.change(order.price, order.left)
        self._queues[order.price].append(order)
        return change


class MatchingBook:
    """Both sides. Tells every change of a level, at the moment it happens, to ``on_change``."""

    def __init__(self, on_change: Callable[[Change], None]) -> None:
        self.sides = {BUY: Side(BUY), SELL: Side(SELL)}
        self._on_change = on_change
        self._last_id = 0

    @property
    def bids(self) -> Side:
        """The buy side."""
        return self.sides[BUY]

    @property
    def asks(self) -> Side:
        """The sell side."""
        return self.sides[SELL]

    def limit(self, side: str, price: int, qty: int) -> Tuple[Order, List[Fill]]:
        """Match what crosses, rest what is left."""
        fills = self.take(side, qty, price)
        self._last_id += 1
        order = Order(self._last_id, side, price, qty - sum(fill.qty for fill in fills))
        if order.left:
            self._on_change(self.sides[side].append(order))
        return order, fills

    def take(self, side: str, qty: int, limit: int | None = None) -> List[Fill]:
        """Take up to ``qty`` from the other side, best price and oldest order first."""
        other = self.sides[SELL if side == BUY else BUY]
        fills: List[Fill] = []
        while qty and len(other):
            price = other.price_at(0)
            if limit is not None and not other.crosses(price, limit):
                break
            order = other.queue(price)[0]
            taken = min(qty, order.left)
            order.left -= taken
            qty -= taken
            if not order.left:
                other.queue(price).popleft()
            self._on_change(other.change(price, -taken))
            fills.append(Fill(side, price, taken))
        return fills

    def cancel(self, order: Order) -> None:
        """Take an order out of the book."""
        side = self.sides[order.side]
        side.queue(order.price).remove(order)
        left, order.left = order.left, 0
        self._on_change(side.change(order.price, -left))
