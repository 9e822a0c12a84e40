"""An order book that matches by price and time. Prices and quantities are integers."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from dataclasses import dataclass
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

BUY, SELL = "buy", "sell"
ADD, MODIFY, DELETE = "add", "modify", "delete"


@dataclass(eq=False)
class Order:
    """A resting order."""

    order_id: int
    side: str
    price: int
    left: int
    """What is not filled yet, and visible."""
    moment: float = 0.0
    """When it was put in, or amended last."""
    owner: Any = None
    """The account's order that this stands for; None for the anonymous market."""

    @property
    def name(self) -> str:
        """Its id as subscribers see it."""
        return self.owner.order_id if self.owner is not None else text_id("O", self.order_id)


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
    maker: Order


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
    """Both sides. Tells what happens, at the moment it happens, to ``on_change`` and ``on_fill``.

    The former is called with the change of the level, the order that caused it and ``add``, ``modify`` or
    ``delete``.
    """

    def __init__(
        self, on_change: Callable[[Change, Order, str], None], on_fill: Callable[[Fill], None]
    ) -> None:
        self.sides = {BUY: Side(BUY), SELL: Side(SELL)}
        self.moment = 0.0
        """The time of what happens next, in seconds since the epoch."""
        self._on_change = on_change
        self._on_fill = on_fill
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
        order = self.rest(side, price, qty - sum(fill.qty for fill in fills))
        return order, fills

    def rest(self, side: str, price: int, qty: int, owner: Any = None) -> Order:
        """Queue an order without matching."""
        self._last_id += 1
        order = Order(self._last_id, side, price, qty, self.moment, owner)
        if order.left:
            self._on_change(self.sides[side].append(order), order, ADD)
        return order

    def take(self, side: str, qty: int, limit: Optional[int] = None) -> List[Fill]:
        """Take up to ``qty`` from the other side, best price and oldest order first."""
        fills: List[Fill] = []
        while qty:
            maker = self.next_maker(side, limit)
            if maker is None:
                break
            fills.append(self.fill(side, maker, qty))
            qty -= fills[-1].qty
        return fills

    def next_maker(self, side: str, limit: Optional[int] = None) -> Optional[Order]:
        """The order that a taker of ``side`` meets next, if there is one within ``limit``."""
        other = self.sides[SELL if side == BUY else BUY]
        if not len(other):
            return None
        price = other.price_at(0)
        if limit is not None and not other.crosses(price, limit):
            return None
        return other.queue(price)[0]

    def fill(self, taker: str, maker: Order, qty: int) -> Fill:
        """Trade up to ``qty`` with ``maker``, which is the first in its queue if the market is fair."""
        side, taken = self.sides[maker.side], min(qty, maker.left)
        maker.left -= taken
        if not maker.left:
            side.queue(maker.price).remove(maker)
        self._on_change(side.change(maker.price, -taken), maker, MODIFY if maker.left else DELETE)
        fill = Fill(taker, maker.price, taken, maker)
        self._on_fill(fill)
        return fill

    def cancel(self, order: Order) -> None:
        """Take an order out of the book."""
        side = self.sides[order.side]
        side.queue(order.price).remove(order)
        left, order.left = order.left, 0
        self._on_change(side.change(order.price, -left), order, DELETE)

    def reduce(self, order: Order, left: int) -> None:
        """Lower what is left of an order; it keeps its place in the queue."""
        difference, order.left = order.left - left, left
        self._on_change(self.sides[order.side].change(order.price, -difference), order, MODIFY)


def text_id(first: str, number: int) -> str:
    """A number as an id like the exchange's: three groups of capital letters and digits.

    >>> text_id("O", 1)
    'OAAAAA-AAAAA-AAAAAB'
    """
    digits = ""
    for _ in range(16):
        number, rest = divmod(number, 36)
        digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[rest] + digits
    return f"{first}{digits[:5]}-{digits[5:10]}-{digits[10:]}"
