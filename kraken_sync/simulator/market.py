"""One pair's market: its book, its order flow, its tape, and what subscribers are told of it."""

from __future__ import annotations

import random
from typing import Callable, Dict, List, Optional, Tuple

from . import wire
from .flow import Flow
from .instruments import Instrument
from .level3 import OrderView
from .matching import BUY, Change, Fill, MatchingBook, Order
from .tape import Tape, Trade
from .values import Values

Level = Tuple[int, int]
Part = Tuple[List[Level], List[Level], int]
DEPTHS = (10, 25, 100, 500, 1000)


class View:
    """What a subscriber to one depth has not been told yet.

    A change inside the depth is told as it happens, never netted. A level that comes into scope because
    another left is told right after that; a level that is pushed out of the depth is not told, and ends the
    message, because subscribers cut their book to the depth after each message.
    """

    def __init__(self, book: MatchingBook, depth: int, checksum: Callable[[], int]) -> None:
        self._book = book
        self._checksum = checksum
        self.depth = depth
        self.bids: List[Level] = []
        self.asks: List[Level] = []
        self._parts: List[Part] = []
        self._sizes = {side.name: len(side) for side in book.sides.values()}

    def note(self, change: Change) -> None:
        """A level has changed."""
        before, after = self._sizes[change.side], len(self._book.sides[change.side])
        self._sizes[change.side] = after
        if change.rank >= self.depth:
            return
        entries = self.bids if change.side == BUY else self.asks
        entries.append((change.price, change.total))
        side = self._book.sides[change.side]
        if change.total == 0 and len(side) >= self.depth:
            price = side.price_at(self.depth - 1)
            entries.append((price, side.total(price)))
        if after > before and after > self.depth:
            self._close()

    def _close(self) -> None:
        if self.bids or self.asks:
            self._parts.append((self.bids, self.asks, self._checksum()))
            self.bids, self.asks = [], []

    def take(self) -> List[Part]:
        """What is to be told now, one part per message: (bids, asks, checksum)."""
        self._close()
        told, self._parts = self._parts, []
        return told


class Market:
    """A pair that lives. The owner serialises.

    ``values`` are what its makers follow; with None it has no makers of its own, and no past.
    """

    def __init__(self, pair: Instrument, values: Optional[Values], seed: int, now: float) -> None:
        self.pair = pair
        self.status = "online"
        self.halted = False
        """Whether nothing trades, and no trigger is looked at."""
        self.views: Dict[int, View] = {}
        self.order_views: Dict[int, OrderView] = {}
        self.on_own_fill: Optional[Callable[[Fill, Trade], None]] = None
        """Told when somebody has traded with an order of the account."""
        self.taker_kind = "market"
        """The type of the order that trades now, for the tape."""
        self.trades: List[Trade] = []
        """Trades that subscribers have not been told yet."""
        rng = random.Random(f"{seed}/{pair.symbol}")
        self.book = MatchingBook(self._changed, self._traded)
        self.book.moment = now
        self._flow = Flow(pair, self.book, rng, values) if values is not None else None
        self.tape = Tape(pair, rng, now, past=values is not None)
        self._best = self.best()

    def _changed(self, change: Change, order: Order, event: str) -> None:
        for view in self.views.values():
            view.note(change)
        for order_view in self.order_views.values():
            order_view.note(change, order, event)

    def event(self, now: float) -> None:
        """Let something happen."""
        self.book.moment = now
        if self._flow is not None:
            self._flow.event()

    def follow(self, price: float) -> None:
        """From now on makers stay around this price, in ticks."""
        if self._flow is not None:
            self._flow.follow(price)

    def printed(self, fill: Fill) -> None:
        """A trade has happened that changed nothing in the book."""
        self._traded(fill)

    def _traded(self, fill: Fill) -> None:
        trade = self.tape.add(fill, self.book.moment, self.taker_kind)
        self.trades.append(trade)
        if fill.maker.owner is not None and self.on_own_fill is not None:
            self.on_own_fill(fill, trade)

    def view(self, depth: int) -> View:
        """The view of ``depth``, which from now on notes changes."""
        if depth not in self.views:
            self.views[depth] = View(self.book, depth, self.checksum)
        return self.views[depth]

    def order_view(self, depth: int) -> OrderView:
        """The view of single orders in ``depth`` levels, which from now on notes changes."""
        if depth not in self.order_views:
            self.order_views[depth] = OrderView(self.book, self.pair, depth)
        return self.order_views[depth]

    def best(self) -> Tuple[Level, Level]:
        """Best bid and best ask; zeros for an empty side."""
        bids, asks = self.book.bids.top(1), self.book.asks.top(1)
        return (bids or [(0, 0)])[0], (asks or [(0, 0)])[0]

    def best_changed(self) -> bool:
        """Whether best bid or ask is another than when this was last asked."""
        before, self._best = self._best, self.best()
        return before != self._best

    # -- as text -----------------------------------------------------------------------------

    def checksum(self) -> int:
        """Of the book as it is now."""
        pair = self.pair
        return wire.book_checksum(
            self.book.asks.top(10), self.book.bids.top(10), pair.price_digits, pair.qty_digits
        )

    def book_snapshot(self, depth: int, now: float, checksum: Optional[int] = None) -> str:
        """A snapshot message of the ``book`` channel."""
        bids, asks = self.book.bids.top(depth), self.book.asks.top(depth)
        return self.book_text("snapshot", bids, asks, now, checksum)

    def book_text(
        self,
        kind: str,
        bids: List[Level],
        asks: List[Level],
        now: float,
        checksum: Optional[int] = None,
    ) -> str:
        """A message of the ``book`` channel."""
        price, qty = self.pair.price_digits, self.pair.qty_digits
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self.pair.symbol}",'
            f'"bids":{wire.levels(bids, price, qty)},"asks":{wire.levels(asks, price, qty)},'
            f'"checksum":{self.checksum() if checksum is None else checksum},'
            f'"timestamp":"{wire.timestamp(now)}"}}]}}'
        )

    def ticker(self, kind: str, now: float) -> str:
        """A message of the ``ticker`` channel."""
        bid, ask = self.best()
        return f'{{"channel":"ticker","type":"{kind}","data":[{self.tape.ticker_text(bid, ask, now)}]}}'

    def trade_message(self, kind: str, trades: List[Trade]) -> str:
        """A message of the ``trade`` channel."""
        data = ",".join(map(self.tape.trade_text, trades))
        return f'{{"channel":"trade","type":"{kind}","data":[{data}]}}'

    def ohlc(self, kind: str, interval: int, now: float) -> str:
        """A message of the ``ohlc`` channel: twelve closed candles and the current one, or that one."""
        candles = list(self.tape.candles[interval])[-13 if kind == "snapshot" else -1 :]
        data = ",".join(self.tape.candle_text(candle, interval) for candle in candles)
        return f'{{"channel":"ohlc","type":"{kind}","timestamp":"{wire.timestamp(now, 9)}","data":[{data}]}}'
