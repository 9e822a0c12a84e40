"""Seeded order flow that keeps a book alive: makers come and go, takers trade."""

from __future__ import annotations

import random
from typing import List

from .instruments import Instrument
from .matching import BUY, SELL, Fill, MatchingBook, Side


class Flow:
    """Random but repeatable activity in one book."""

    def __init__(self, pair: Instrument, book: MatchingBook, rng: random.Random) -> None:
        self._pair = pair
        self._book = book
        self._rng = rng
        self._fill_book()

    def event(self) -> List[Fill]:
        """Something happens; returns the trades it led to."""
        side = self._book.sides[BUY if self._rng.random() < 0.5 else SELL]
        chance = self._rng.random()
        if len(side) < max(2, self._pair.levels // 2) or chance < 0.36:
            return self._make(side)
        if chance < 0.78:
            self._leave(side)
        elif chance < 0.84:
            return self._make(side) + self._make(side, at=side.price_at(0))
        elif chance < 0.88 and len(side) > 3:
            self._leave(side, at=0)
        else:
            return self._trade(side)
        return []

    def _fill_book(self) -> None:
        for name, sign in ((BUY, -1), (SELL, 1)):
            price = self._pair.price
            for _ in range(self._pair.levels):
                price += sign * (1 + int(self._rng.expovariate(1 / self._pair.step)))
                if price > 0:
                    self._book.limit(name, price, self._size())

    def _size(self) -> int:
        return max(1, int(self._pair.qty * self._rng.lognormvariate(-0.5, 1.1)))

    def _make(self, side: Side, at: int | None = None) -> List[Fill]:
        sign = -1 if side.name == BUY else 1
        if at is None:
            best = side.price_at(0) if len(side) else self._pair.price
            inside = 2 if self._rng.random() < 0.5 else 0
            deep = self._rng.expovariate(1 / (self._pair.step * max(3, self._pair.levels * 0.12)))
            at = best + sign * (int(deep) - inside)
            other = self._book.sides[SELL if side.name == BUY else BUY]
            if len(other) and not sign * (at - other.price_at(0)) > 0:
                at = other.price_at(0) + sign  # a maker does not cross
        if at <= 0:
            return []
        _, fills = self._book.limit(side.name, at, self._size())
        return fills

    def _leave(self, side: Side, at: int | None = None) -> None:
        if len(side) < 2:
            return
        if at is None:
            at = int(self._rng.expovariate(1 / max(2.0, self._pair.levels * 0.12)))
        queue = side.queue(side.price_at(min(at, len(side) - 1)))
        market = [order for order in queue if order.owner is None]
        if market:  # the account's own orders are not the market's to cancel
            self._book.cancel(self._rng.choice(market))

    def _trade(self, side: Side) -> List[Fill]:
        if len(side) < 3:
            return []
        reach = side.total(side.price_at(0)) + side.total(side.price_at(1))
        qty = min(max(1, self._size() // 3), reach)
        return self._book.take(SELL if side.name == BUY else BUY, qty)
