"""A real market as a paper order meets it.

The levels of the real book stand in a matching book as orders of strangers. What a paper order takes of them
is used up until the level is gone, so that the same liquidity is not traded with twice. A paper order that
rests is filled, at its own price, in two cases: the other side of the real book reaches its price, by so much
as stands there; or somebody really trades at a worse price, or at its price after everything that stood there
before it.
"""

from __future__ import annotations

from typing import Dict, List, Sequence, Tuple

from ..simulator.market import Market
from ..simulator.matching import BUY, SELL, Fill, Order

Level = Tuple[int, int]
"""A price and a quantity, as integers of the smallest unit."""


class _Side:
    """The strangers of one side."""

    def __init__(self) -> None:
        self.real: Dict[int, int] = {}
        """The real book, by price."""
        self.orders: Dict[int, Order] = {}
        """What stands for it in the matching book."""
        self.shown: Dict[int, int] = {}
        """What was left of each order when it was last set."""
        self.used: Dict[int, int] = {}
        """What paper orders have taken of each level."""


class PaperMarket:
    """Keeps one market of the paper exchange as the real one is. One thread at a time.

    Args:
        market: an empty market.
    """

    def __init__(self, market: Market) -> None:
        self.market = market
        self._sides = {BUY: _Side(), SELL: _Side()}
        self._ahead: Dict[Order, int] = {}
        """What stands before each paper order at its price, as far as it is still there."""

    def mirror(self, bids: Sequence[Level], asks: Sequence[Level]) -> None:
        """Take over a new state of the real book, best levels first."""
        book = self.market.book
        new = {BUY: dict(bids), SELL: dict(asks)}
        self._look_at_queues()
        for name, side in self._sides.items():
            for price, order in list(side.orders.items()):
                side.used[price] = side.used.get(price, 0) + side.shown[price] - order.left
                if new[name].get(price) != side.real.get(price) or order.left != side.shown[price]:
                    if order.left:
                        book.cancel(order)
                    del side.orders[price], side.shown[price]
            side.used = {price: qty for price, qty in side.used.items() if qty and price in new[name]}
            side.real = new[name]
        # Only after both sides: before that, the old bids may stand above the new asks.
        for name, side in self._sides.items():
            for price, qty in side.real.items():
                if price not in side.orders:
                    self._show(name, side, price, qty)
        for order, ahead in self._ahead.items():
            self._ahead[order] = min(ahead, self._sides[order.side].real.get(order.price, 0))

    def _show(self, name: str, side: _Side, price: int, qty: int) -> None:
        """Put a level into the matching book; paper orders that it reaches are filled first."""
        book = self.market.book
        left = qty - side.used.get(price, 0)
        while left > 0:
            maker = book.next_maker(name, price)
            if maker is None or maker.owner is None:
                break
            filled = book.fill(name, maker, left).qty
            side.used[price] = side.used.get(price, 0) + filled
            left -= filled
        if left > 0:
            side.orders[price] = book.rest(name, price, left)
            side.shown[price] = left

    def traded(self, taker: str, price: int, qty: int) -> None:
        """Take over a real trade: the last price, and what it means for paper orders that rest."""
        book, maker_side = self.market.book, SELL if taker == BUY else BUY
        self._look_at_queues()
        self.market.printed(Fill(taker, price, qty, Order(0, maker_side, price, 0, book.moment)))
        for order in self._resting(maker_side):
            better = order.price > price if maker_side == BUY else order.price < price
            if not better and order.price != price:
                continue
            if not better:
                before = min(self._ahead.get(order, 0), qty)
                self._ahead[order] = self._ahead.get(order, 0) - before
                qty -= before
            if qty <= 0:
                break
            qty -= book.fill(taker, order, qty).qty

    def _look_at_queues(self) -> None:
        """Note what stands before paper orders that have come to rest since the last time."""
        resting = [order for side in (BUY, SELL) for order in self._resting(side)]
        self._ahead = {
            order: self._ahead.get(order, self._sides[order.side].real.get(order.price, 0))
            for order in resting
        }

    def _resting(self, name: str) -> List[Order]:
        """The paper orders of one side that rest, the first to trade first."""
        side = self.market.book.sides[name]
        found = [order for price, _ in side.top(len(side)) for order in side.queue(price)]
        return [order for order in found if order.owner is not None and order.left]
