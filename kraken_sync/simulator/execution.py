"""How the simulated exchange carries orders out: one account's orders in the seeded markets.

It decides everything at once, in the order in which things happen. Reports and ledger entries go to
``told_report`` and ``told_entry`` as they happen.
"""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from . import reports
from .account import MAKER_FEE, OPEN, TAKER_FEE, Account, AccountOrder, Entry, Trade
from .account import reserved as reserved_by
from .instruments import Instrument
from .intake import TRAILING, conditional_params, new_order, offset_price, trailing_trigger
from .market import Market
from .matching import BUY, Fill, text_id
from .refusal import Refusal
from .tape import Trade as TapeTrade

FUNDS = {
    "USD": "250000",
    "EUR": "50000",
    "GBP": "20000",
    "BTC": "5",
    "ETH": "80",
    "SOL": "500",
    "USDT": "10000",
}


class Execution:
    """The life of the account's orders, from acceptance to their end. Times are seconds since the epoch."""

    def __init__(
        self,
        markets: Dict[str, Market],
        seed: int,
        told_report: Callable[[reports.Report], None],
        told_entry: Callable[[Entry], None],
        funds: Mapping[str, str],
    ) -> None:
        self.account = Account(funds, told_entry)
        self.system = "online"
        self.cancel_at: Optional[float] = None
        """When the dead man's switch fires."""
        self.markets = markets
        self._told = told_report
        self._rng = random.Random(f"orders/{seed}")
        self._now = 0.0
        self._waiting: List[AccountOrder] = []
        """Closing orders that fills have created; placed at the next tick, outside of any matching."""
        for market in markets.values():
            self.watch(market)

    def watch(self, market: Market) -> None:
        """Take part in a market."""
        market.on_own_fill = self._maker_filled

    # -- time --------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """What time and the market's trades have brought: triggers, expiries, the dead man's switch."""
        self.begin(now)
        halted = [order for order in self._waiting if self._halted(order)]
        waiting, self._waiting = [order for order in self._waiting if not self._halted(order)], halted
        for closing in waiting:
            try:
                self._check_funds(closing, [])
            except Refusal:
                continue
            self._accept(closing)
        if self.cancel_at is not None and now >= self.cancel_at and self.system != "maintenance":
            self.cancel_at = None
            for order in self.account.open_orders():
                self._end(order, "canceled", "CancelAllOrdersAfter Timeout")
        if self.system != "online":
            return  # no triggers, no new orders: nothing is matched
        for order in self.account.open_orders():
            if order.expires is not None and now >= order.expires:
                self._end(order, "expired", "Expired")
            elif self._halted(order):
                continue
            elif order.status == "pending_new" and now >= (order.effective or 0):
                self._go_live(order)
            elif order.trigger is not None and not order.triggered and order.status != "pending_new":
                self._look_at_trigger(order)

    def _halted(self, order: AccountOrder) -> bool:
        return self.markets[order.pair.symbol].halted

    def _look_at_trigger(self, order: AccountOrder) -> None:
        last, sell = self._last(order.pair), order.side == "sell"
        if order.kind in TRAILING:
            order.peak = max(order.peak or last, last) if sell else min(order.peak or last, last)
            order.trigger = trailing_trigger(order, order.peak)
        assert order.trigger is not None
        falls = sell == (not order.kind.startswith("take-profit"))
        if not (last <= order.trigger if falls else last >= order.trigger):
            return
        order.triggered = True
        if order.kind == "trailing-stop-limit":
            order.limit = offset_price(order, last)
        self._told(
            {**reports.sparse(order, "status", self._now), "triggers": reports.triggers(order, self._now)}
        )
        self._match(order)

    # -- an order's life ---------------------------------------------------------------------

    def begin(self, now: float) -> None:
        """What happens next happens now."""
        self._now = now
        for market in self.markets.values():
            market.book.moment = now

    def _check_funds(
        self, order: AccountOrder, before: Sequence[Any], instead_of: Optional[AccountOrder] = None
    ) -> None:
        order.ask = self._worst(order.pair)
        asset, amount = reserved_by(order)
        planned = sum(
            (reserved_by(one)[1] for one in before if is_order(one) and reserved_by(one)[0] == asset),
            Decimal(0),
        )
        freed = reserved_by(instead_of)[1] if instead_of is not None else Decimal(0)
        if amount > self.account.free(asset) + freed - planned:
            raise Refusal("EOrder:Insufficient funds")

    def _accept(self, order: AccountOrder) -> None:
        self.account.orders[order.order_id] = order
        self._told(reports.full(order, "pending_new", self._now))
        if order.effective is None or order.effective <= self._now:
            self._go_live(order)

    def _go_live(self, order: AccountOrder) -> None:
        if order.params.get("post_only") and order.limit is not None and self._would_take(order, order.limit):
            self._end(order, "canceled", "Post only order")
            return
        order.status = "new"
        self._told(reports.sparse(order, "new", self._now))
        if order.trigger is None:
            self._match(order)

    def _match(self, order: AccountOrder) -> None:
        """Take what the order may take; rest or end what is left."""
        market = self.markets[order.pair.symbol]
        if str(order.params.get("time_in_force")).lower() == "fok" and not self._fillable(order):
            self._end(order, "canceled", "Fill or kill")
            return
        while order.open and order.left:
            if self.system != "online" or market.halted:
                break
            maker = market.book.next_maker(order.side, order.limit)
            if maker is None:
                break
            if maker.owner is not None:
                if not self._self_trade(order, maker.owner):
                    return
                continue
            qty = min(order.left, self._affordable(order, maker.price))
            if not qty:
                if order.spent(maker.price):
                    order.qty = order.filled
                    self._complete(order)
                else:
                    self._end(order, "canceled", "Insufficient funds")
                return
            market.taker_kind = "limit" if order.limit is not None else "market"
            fill = market.book.fill(order.side, maker, qty)
            market.taker_kind = "market"
            self._filled(order, fill, market.tape.trades[-1].trade_id, maker=False)
        if not order.open or not order.left:
            return
        ioc = str(order.params.get("time_in_force", "gtc")).lower() == "ioc"
        if order.limit is None or ioc:
            self._end(order, "canceled", "Immediate or cancel" if ioc else "Insufficient liquidity")
            return
        self._rest(order)

    def _fillable(self, order: AccountOrder) -> bool:
        """Whether the other side has enough at the order's price or better, at this moment."""
        side = self.markets[order.pair.symbol].book.sides["sell" if order.side == BUY else BUY]
        assert order.limit is not None
        prices = [price for price, _ in side.top(len(side)) if side.crosses(price, order.limit)]
        others = [one.left for price in prices for one in side.queue(price) if one.owner is None]
        return sum(others) >= order.left  # its own account's orders are not traded with

    def _rest(self, order: AccountOrder) -> None:
        shown = min(order.left, order.display or order.left)
        assert order.limit is not None
        order.resting = self.markets[order.pair.symbol].book.rest(order.side, order.limit, shown, order)

    def _self_trade(self, taker: AccountOrder, maker: AccountOrder) -> bool:
        """Self-trade prevention; False if the taker is gone."""
        rule = str(taker.params.get("stp_type", "cancel_newest")).replace("-", "_")
        if rule in ("cancel_oldest", "cancel_both"):
            self._end(maker, "expired", "Self trade prevention")
        if rule in ("cancel_newest", "cancel_both"):
            self._end(taker, "expired", "Self trade prevention")
            return False
        return True

    def _affordable(self, order: AccountOrder, price: int) -> int:
        """How much of it the account can pay for at this price, with what no other order has reserved."""
        asset, own = reserved_by(order)
        have = self.account.free(asset) + own
        if order.side == "sell":
            return int(have.scaleb(order.pair.qty_digits))
        have /= 1 + TAKER_FEE
        if order.cash is not None:
            have = min(have, order.cash - order.cost)
        return max(0, int(have.scaleb(order.pair.price_digits + order.pair.qty_digits) / price))

    def _maker_filled(self, fill: Fill, trade: TapeTrade) -> None:
        order: AccountOrder = fill.maker.owner
        self._filled(order, fill, trade.trade_id, maker=True)
        if order.open and order.resting is not None and not order.resting.left:
            self._rest(order)  # the next slice of an iceberg
            report = reports.sparse(order, "iceberg_refill", self._now)
            report["display_qty_remain"] = order.amount(order.resting.left)
            self._told(report)

    def _filled(self, order: AccountOrder, fill: Fill, trade_id: int, *, maker: bool) -> None:
        cost = order.money(fill.price * fill.qty)
        fee = (cost * (MAKER_FEE if maker else TAKER_FEE)).quantize(cost)
        trade = Trade(
            self._id("T"),
            trade_id,
            fill.price,
            fill.qty,
            cost,
            fee,
            maker,
            self._now,
        )
        order.trades.append(trade)
        order.status = "partially_filled"
        self._told(reports.trade(order, trade, with_totals=True))
        sign = 1 if order.side == BUY else -1
        post = self.account.post
        post(
            order.pair.base,
            sign * order.amount(fill.qty),
            Decimal(0),
            trade.exec_id,
            "trade",
            self._now,
        )
        post(order.pair.quote, -sign * cost, fee, trade.exec_id, "trade", self._now)
        if not order.left:
            self._complete(order)
        self._close_position(order, trade)

    def _complete(self, order: AccountOrder) -> None:
        order.status, order.closed = "filled", self._now
        self._told(reports.totals(order, "filled", self._now))

    def _close_position(self, order: AccountOrder, trade: Trade) -> None:
        params = conditional_params(order, order.amount(trade.qty))
        if params is None:
            return
        try:
            closing = new_order(params, order.pair, self._id("O"), self._last(order.pair), self._now)
        except Refusal:
            return
        closing.parent = order.order_id
        self._waiting.append(closing)

    def _end(self, order: AccountOrder, status: str, reason: str) -> None:
        resting, order.resting = order.resting, None
        if resting is not None and resting.left:
            self.markets[order.pair.symbol].book.cancel(resting)
        order.status, order.reason, order.closed = status, reason, self._now
        self._told(reports.totals(order, status, self._now))

    def _move(self, order: AccountOrder, before: int) -> None:
        """After an amend: keep the place in the queue if only the quantity fell."""
        resting = order.resting
        if resting is None:
            return
        book = self.markets[order.pair.symbol].book
        shown = min(order.left, order.display or order.left)
        if resting.price == order.limit and order.qty <= before:
            if shown < resting.left:
                book.reduce(resting, shown)
            return
        if resting.left:
            book.cancel(resting)
        order.resting = None
        self._match(order)

    # -- small things ------------------------------------------------------------------------

    def _would_take(self, order: AccountOrder, limit: int) -> bool:
        return self.markets[order.pair.symbol].book.next_maker(order.side, limit) is not None

    def _last(self, pair: Instrument) -> int:
        return self.markets[pair.symbol].tape.last

    def _worst(self, pair: Instrument) -> int:
        best = self.markets[pair.symbol].best()[1][0]
        return best or self._last(pair)

    def _id(self, first: str) -> str:
        return text_id(first, self._rng.randrange(36**16))


def is_order(one: Any) -> bool:
    """Whether ``one`` is an order, and open."""
    return isinstance(one, AccountOrder) and one.status in OPEN
