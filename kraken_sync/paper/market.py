"""A real market as a paper order meets it.

The levels of the real book stand in a matching book as orders of strangers. What a paper order takes of them
is used up until the level is gone, so that the same liquidity is not traded with twice. A paper order that
rests is filled, at its own price, in two cases: the other side of the real book reaches its price, by so much
as stands there; or somebody really trades at a worse price, or at its price after everything that stood there
before it.
"""

from __future__ import annotations

from collections import deque
from typing import Deque, Dict, List, Optional, Sequence, Tuple

from ..simulator.market import Market
from ..simulator.matching import BUY, SELL, Fill, Order

HALTED = ("cancel_only", "maintenance", "delisted", "work_in_progress", "post_only")
"""The statuses of pairs in which nothing trades."""
Level = Tuple[int, int]
"""A price and a quantity, as integers of the smallest unit."""


class RealMarket(Market):
    """A market whose last price is that of real trades; what paper orders do prints nothing."""

    def _traded(self, fill: Fill) -> None:
        last = self.tape.last
        super()._traded(fill)
        self.tape.last = last

    def printed(self, fill: Fill) -> None:
        """A real trade has happened."""
        super()._traded(fill)


class _Side:
    """The strangers of one side."""

    def __init__(self) -> None:
        self.real: Dict[int, int] = {}
        """The real book, by price, and what was last seen of levels that are too far away to be shown."""
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
        depth: the number of levels a side in the real book; fewer are all that there are.
    """

    def __init__(self, market: RealMarket, depth: int) -> None:
        self.market = market
        self._depth = depth
        self._sides = {BUY: _Side(), SELL: _Side()}
        self._ahead: Dict[Order, int] = {}
        """What stands before each paper order at its price, as far as it is still there."""
        self._waiting: Deque[Fill] = deque(maxlen=1000)
        """Real trades that came while the book was not known."""
        market.halted = True

    def lose(self) -> None:
        """The real book is not known from here on: nothing is filled, and nothing triggers."""
        self.market.halted, self.market.status = True, "cancel_only"
        for side in self._sides.values():
            self._take_out(side, list(side.orders))

    def mirror(self, bids: Sequence[Level], asks: Sequence[Level], status: str = "online") -> None:
        """Take over a new state of the real book, best levels first, and the status of the pair."""
        self.market.status, self.market.halted = status, status in HALTED
        new = {BUY: dict(bids), SELL: dict(asks)}
        self._look_at_queues()
        for order, ahead in self._ahead.items():
            # As it was in the state before: a trade that has made it smaller may be told only now.
            self._ahead[order] = min(ahead, self._sides[order.side].real.get(order.price, 0))
        for name, side in self._sides.items():
            changed = [
                price
                for price, order in side.orders.items()
                if new[name].get(price) != side.real.get(price) or order.left != side.shown[price]
            ]
            self._take_out(side, changed)
            hidden = {price: qty for price, qty in side.real.items() if self._hidden(name, new[name], price)}
            side.real = {**hidden, **new[name]}
            side.used = {price: qty for price, qty in side.used.items() if qty and price in side.real}
        # Only after both sides: before that, the old bids may stand above the new asks.
        for name, side in self._sides.items():
            for price, qty in new[name].items():
                if price not in side.orders and not self.market.halted:
                    self._show(name, side, price, qty)
        while self._waiting and not self.market.halted:
            self.market.printed(self._waiting.popleft())

    def _hidden(self, name: str, shown: Dict[int, int], price: int) -> bool:
        """Whether a level is worse than all that are shown, so that it may still be there."""
        if len(shown) < self._depth or price in shown:
            return False
        return price < min(shown) if name == BUY else price > max(shown)

    def _take_out(self, side: _Side, prices: Sequence[int]) -> None:
        for price in prices:
            order = side.orders.pop(price)
            side.used[price] = side.used.get(price, 0) + side.shown.pop(price) - order.left
            if order.left:
                self.market.book.cancel(order)

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
        maker_side = SELL if taker == BUY else BUY
        trade = Fill(taker, price, qty, Order(0, maker_side, price, 0, self.market.book.moment))
        if self.market.halted:
            self._waiting.append(trade)
            return
        self._look_at_queues()
        self.market.printed(trade)
        # What stood before and was traded with. The same strangers stand before all orders of a price.
        gone = 0
        while qty > 0:
            order = self._next_of(maker_side, price)
            if order is None:
                break
            if order.price == price:
                before = min(max(0, self._ahead.get(order, 0) - gone), qty)
                gone, qty = gone + before, qty - before
            if qty > 0:
                qty -= self.market.book.fill(taker, order, qty).qty
                self._look_at_queues()  # an iceberg has another slice
        for order in self._ahead:
            if order.side == maker_side and order.price == price:
                self._ahead[order] = max(0, self._ahead[order] - gone)

    def _next_of(self, side: str, price: int) -> Optional[Order]:
        """The paper order that a trade at ``price`` meets next."""
        for order in self._resting(side):
            if order.price == price or (order.price > price) == (side == BUY):
                return order
        return None

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
