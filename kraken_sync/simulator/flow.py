"""Seeded order flow that keeps a market a market.

Makers quote around the pair's fair price, move their orders with it and fill the holes that it leaves; what
the price has run over is taken or withdrawn; takers come from both sides.
"""

from __future__ import annotations

import math
import random
from typing import List

from .instruments import Instrument
from .matching import BUY, SELL, Fill, MatchingBook, Side
from .values import Values

REPAIRS = 4
"""The largest number of orders that follow the fair price with one event."""


class Flow:
    """Random but repeatable activity in one book."""

    def __init__(self, pair: Instrument, book: MatchingBook, rng: random.Random, values: Values) -> None:
        self._pair = pair
        self._book = book
        self._rng = rng
        self._values = values
        self._base = float(pair.price)
        self._half = max(0.6, pair.step * 0.2)
        self._fill_book()

    @property
    def fair(self) -> float:
        """What the pair is worth, in ticks."""
        return self._base * self._values.ratio(self._pair)

    def follow(self, price: float) -> None:
        """Let the pair be worth this, in ticks; other pairs stay where they are."""
        self._base = price / self._values.ratio(self._pair)

    def event(self) -> None:
        """Let something happen."""
        self._values.happen(self._pair)
        fair = self.fair
        for _ in range(REPAIRS):
            if not self._repair(fair):
                break
        self._close_a_gap()
        self._usual(fair)

    def _close_a_gap(self) -> None:
        """Put an order into a wide gap near the front, where the price has run and left one."""
        side = self._book.sides[BUY if self._rng.random() < 0.5 else SELL]
        at, wide = int(self._rng.random() * 20), 4 * self._pair.step + 2
        if at < len(side) - 1:
            near, far = side.price_at(at), side.price_at(at + 1)
            if abs(far - near) > wide:
                self._book.limit(side.name, (near + far) // 2, self._size())

    # -- makers that follow the fair price ---------------------------------------------------

    def _repair(self, fair: float) -> bool:
        """Move one order of the front towards the fair price, if that is needed."""
        asks, bids = self._book.asks, self._book.bids
        for side, sign in ((asks, 1), (bids, -1)):
            if len(side) and sign * (side.price_at(0) - fair) < 0:  # the price has run over it
                if self._rng.random() < 0.2:
                    self._take(side)
                else:
                    self._withdraw(side, 0)
                return True
        far = 3 * self._half + 1
        for side, sign in ((asks, 1), (bids, -1)):
            if not len(side) or sign * (side.price_at(0) - fair) > far:
                return self._quote(side, sign, fair)
        return False

    def _quote(self, side: Side, sign: int, fair: float) -> bool:
        """Put an order in front of the others; False if there is no room."""
        price = math.floor(fair) + (1 if sign > 0 else 0)
        price += sign * int(self._rng.expovariate(1 / self._half))
        other = self._book.sides[SELL if side.name == BUY else BUY]
        if len(other) and sign * (price - other.price_at(0)) <= 0:
            price = other.price_at(0) + sign  # a maker does not cross
        if price <= 0 or (len(side) and sign * (price - side.price_at(0)) >= 0):
            return False
        self._book.limit(side.name, price, self._size())
        return True

    # -- everything else ---------------------------------------------------------------------

    def _usual(self, fair: float) -> None:
        side = self._book.sides[BUY if self._rng.random() < 0.5 else SELL]
        sign, chance, count = (-1 if side.name == BUY else 1), self._rng.random(), len(side)
        if chance < 0.07:
            self._take(side)
        elif count < self._pair.levels or chance < 0.35:
            self._fill_hole(side, sign)
        elif count > self._pair.levels * 1.05 or chance < 0.45:
            self._withdraw(side, count - 1)  # the worst: too far away by now
        elif chance < 0.8:
            self._withdraw(side, min(count - 1, int(self._rng.expovariate(1 / max(2.0, count * 0.1)))))
        else:
            self._join(side)

    def _fill_hole(self, side: Side, sign: int) -> None:
        """A further level: somewhere in the widest of a few gaps, or at the end."""
        count, step = len(side), self._pair.step
        best = (0, 0)
        if count > 1:
            for _ in range(3):
                at = min(count - 2, int(self._rng.expovariate(1 / max(2.0, count * 0.15))))
                near = side.price_at(at)
                width = sign * (side.price_at(at + 1) - near)
                if width > best[0]:
                    best = (width, near)
        if best[0] > 2 * step + 1 or (best[0] > 1 and count >= self._pair.levels):
            price = best[1] + sign * self._rng.randrange(1, best[0])
        elif count:
            price = side.price_at(count - 1) + sign * (1 + int(self._rng.expovariate(1 / step)))
        else:
            price = int(self.fair) + sign
        if price > 0:
            self._book.limit(side.name, price, self._size())

    def _join(self, side: Side) -> None:
        at = min(len(side) - 1, int(self._rng.expovariate(0.5)))
        self._book.limit(side.name, side.price_at(at), self._size())

    def _withdraw(self, side: Side, at: int) -> None:
        if len(side) < 2:
            return
        queue = side.queue(side.price_at(at))
        market = [order for order in queue if order.owner is None]
        if market:  # the account's own orders are not the market's to cancel
            self._book.cancel(self._rng.choice(market))

    def _take(self, side: Side) -> List[Fill]:
        if len(side) < 3:
            return []
        reach = side.total(side.price_at(0)) + side.total(side.price_at(1))
        qty = min(max(1, self._size() // 3), reach)
        return self._book.take(SELL if side.name == BUY else BUY, qty)

    def _fill_book(self) -> None:
        for name, sign in ((BUY, -1), (SELL, 1)):
            price = self._pair.price
            for _ in range(self._pair.levels):
                price += sign * (1 + int(self._rng.expovariate(1 / self._pair.step)))
                if price > 0:
                    self._book.limit(name, price, self._size())

    def _size(self) -> int:
        return max(1, int(self._pair.qty * self._rng.lognormvariate(-0.5, 1.1)))
