"""The trading engine of the simulated exchange: one account's orders in the seeded markets.

It decides everything at once, in the order in which requests come. Reports and ledger entries go to
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
from .intake import (
    TRAILING,
    TRIGGERED,
    arguments,
    check_deadline,
    check_fields,
    check_minimum,
    conditional_params,
    new_order,
    offset_price,
    pair_of,
    price_units,
    qty_units,
    trailing_trigger,
)
from .market import Market
from .matching import BUY, Fill, text_id
from .rate_counter import RateCounters, age_cost
from .refusal import Refusal
from .tape import Trade as TapeTrade

Params = Mapping[str, Any]
FUNDS = {
    "USD": "250000",
    "EUR": "50000",
    "GBP": "20000",
    "BTC": "5",
    "ETH": "80",
    "SOL": "500",
    "USDT": "10000",
}
_AMEND = frozenset(
    "order_id cl_ord_id order_qty limit_price limit_price_type display_qty trigger_price trigger_price_type "
    "post_only deadline symbol token".split()
)
_EDIT = frozenset(
    "order_id symbol order_qty limit_price triggers display_qty fee_preference post_only reduce_only "
    "order_userref deadline validate price stop_price trigger no_mpp token".split()
)


class Trading:
    """The account's orders. ``now`` is seconds since the epoch."""

    def __init__(
        self,
        markets: Dict[str, Market],
        seed: int,
        tier: Optional[str],
        told_report: Callable[[reports.Report], None],
        told_entry: Callable[[Entry], None],
    ) -> None:
        self.account = Account(FUNDS, told_entry)
        self.counters = RateCounters(tier)
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
            market.on_own_fill = self._maker_filled

    # -- requests ----------------------------------------------------------------------------

    def add(self, params: Params, now: float) -> Dict[str, Any]:
        """``add_order``."""
        self.begin(now)
        order = self._prepare(params, now, 1)
        if not params.get("validate"):
            self._accept(order)
        return self._ids(order, validate=bool(params.get("validate")))

    def batch_add(self, params: Params, now: float) -> List[Dict[str, Any]]:
        """``batch_add``: one bad order refuses all; one without funds only itself."""
        self.begin(now)
        orders = params.get("orders")
        if not isinstance(orders, list) or not 2 <= len(orders) <= 15:
            raise arguments("orders")
        check_deadline(params, now)
        common = {"symbol": params.get("symbol"), "validate": params.get("validate", False)}
        prepared: List[Any] = []
        for one in orders:
            if not isinstance(one, Mapping) or {"symbol", "token", "deadline", "validate"} & set(one):
                raise arguments("orders")
            try:
                prepared.append(self._prepare({**one, **common}, now, 0.5, prepared))
            except Refusal as refusal:
                if str(refusal) != "EOrder:Insufficient funds":
                    raise
                ids = {k: one[k] for k in ("cl_ord_id", "order_userref") if one.get(k) is not None}
                prepared.append({"error": str(refusal), **ids})
        results = []
        for order in prepared:
            if isinstance(order, AccountOrder):
                if not common["validate"]:
                    self._accept(order)
                order = self._ids(order, validate=common["validate"])
            results.append(order)
        return results

    def amend(self, params: Params, now: float) -> Dict[str, Any]:
        """``amend_order``: in place."""
        self.begin(now)
        self._gate(add=True)
        check_fields(params, _AMEND, "amend_order")
        check_deadline(params, now)
        for name in ("order_id", "cl_ord_id"):
            if not isinstance(params.get(name, ""), str):
                raise arguments(name)
        order = self._find(params)
        pair = order.pair
        self._check_pair(pair, params)
        qty = qty_units(params["order_qty"], pair) if params.get("order_qty") is not None else order.qty
        limit = order.limit
        if params.get("limit_price") is not None:
            if order.limit is None:
                raise arguments("limit_price")
            limit = price_units(params["limit_price"], pair)
        age = now - (order.amended or order.moment)
        ends = qty <= order.filled
        self._charge(pair, age_cost("cancel", age) if ends else 1 + age_cost("amend", age), now)
        trigger, display = order.trigger, order.display
        if params.get("trigger_price") is not None:
            if order.kind not in TRIGGERED or order.kind in TRAILING or order.triggered:
                raise arguments("trigger_price")
            trigger = price_units(params["trigger_price"], pair)
        if params.get("display_qty") is not None:
            display = qty_units(params["display_qty"], pair, "display_qty")
            if order.kind != "iceberg" or (qty - order.filled) > display * 15:
                raise arguments("display_qty")
        post_only = params.get("post_only") or order.params.get("post_only")
        if post_only and limit is not None and self._would_take(order, limit):
            raise Refusal("EOrder:Post only order")
        before, was = order.qty, (order.qty, order.limit, order.trigger)
        asset, _ = reserved_by(order)
        order.qty, order.limit, order.trigger = max(qty, order.filled), limit, trigger
        try:
            if not ends:
                check_minimum(order, self._last(pair))
                if self.account.free(asset) < 0:  # with what the amended order reserves
                    raise Refusal("EOrder:Insufficient funds")
        except Refusal:
            order.qty, order.limit, order.trigger = was
            raise
        order.display, order.amended = display, now
        self._told(reports.amended(order, now))
        if qty <= order.filled:
            self._end(order, "canceled", "User requested")
        else:
            self._move(order, before)
        ids = {name: params[name] for name in ("order_id", "cl_ord_id") if params.get(name) is not None}
        return {"amend_id": self._id("T"), **ids}

    def edit(self, params: Params, now: float) -> Dict[str, Any]:
        """``edit_order``: cancel and replace."""
        self.begin(now)
        self._gate(add=True)
        check_fields(params, _EDIT, "edit_order")
        check_deadline(params, now)
        old = self._find({"order_id": params.get("order_id")})
        if params.get("symbol") != old.pair.symbol:
            raise Refusal("EQuery:Unknown asset pair")
        if not isinstance(params.get("order_id"), str):
            raise arguments("order_id")
        if old.triggered or old.params.get("conditional") or old.cl_ord_id is not None:
            raise Refusal("EOrder:Invalid order")
        self._charge(old.pair, 1 + age_cost("edit", now - (old.amended or old.moment)), now)
        changed = {
            name: value for name, value in params.items() if name not in ("token", "order_id", "validate")
        }
        inherited = {name: old.params[name] for name in old.params if name not in ("deadline", "token")}
        changed = {**inherited, "validate": False, **changed}
        changed.setdefault("order_qty", old.amount(old.qty))
        order = new_order(changed, self._id("O"), self._last(old.pair), now, "edit_order")
        if order.qty < old.filled:
            raise Refusal("EOrder:Invalid order")
        if params.get("validate"):
            return {"original_order_id": old.order_id}
        self._check_pair(old.pair, changed)
        self._check_funds(order, [], instead_of=old)
        self._end(old, "canceled", "User requested")
        self._accept(order)
        return {"order_id": order.order_id, "original_order_id": old.order_id}

    def cancel_targets(self, params: Params) -> List[Params]:
        """One set of parameters for each reply of a ``cancel_order``."""
        check_fields(params, ("order_id", "cl_ord_id", "order_userref", "token"), "cancel_order")
        for name, kind in (("order_id", str), ("cl_ord_id", str), ("order_userref", int)):
            values = params.get(name, [])
            if not isinstance(values, list) or not all(type(one) is kind for one in values):
                raise arguments(name)
        targets: List[Params] = [{"order_id": one} for one in params.get("order_id", [])]
        targets += [{"cl_ord_id": one} for one in params.get("cl_ord_id", [])]
        for userref in params.get("order_userref", []):
            matching = [
                order for order in self.account.open_orders() if order.params.get("order_userref") == userref
            ]
            targets += [{"order_userref": userref, "of": order} for order in matching] or [
                {"order_userref": userref}
            ]
        if not targets:
            raise arguments("order_id")
        return targets

    def cancel(self, target: Params, now: float) -> Dict[str, Any]:
        """Cancel one order of :meth:`cancel_targets`."""
        self.begin(now)
        self._gate(add=False)
        order = target.get("of") or self._find(target)
        if not order.open:
            raise Refusal("EOrder:Unknown order")
        self._charge_cancel(order, now)
        self._end(order, "canceled", "User requested")
        return {name: value for name, value in target.items() if name != "of"}

    def cancel_all(self, params: Params, now: float, reason: str = "User requested") -> Dict[str, Any]:
        """``cancel_all``."""
        self.begin(now)
        self._gate(add=False)
        orders = self.account.open_orders()
        for order in orders:
            self._end(order, "canceled", reason)
        return {"count": len(orders)}

    def batch_cancel(self, params: Params, now: float) -> Dict[str, Any]:
        """``batch_cancel``."""
        self.begin(now)
        self._gate(add=False)
        check_fields(params, ("orders", "cl_ord_id", "token"), "batch_cancel")
        ids, own = params.get("orders", []), params.get("cl_ord_id", [])
        if (
            not all(isinstance(one, list) and all(isinstance(x, str) for x in one) for one in (ids, own))
            or not 2 <= len(ids) + len(own) <= 50
        ):
            raise arguments("orders")
        count = 0
        for order in self.account.open_orders():
            userref = str(order.userref) if order.userref else None
            if order.order_id in ids or userref in ids or order.cl_ord_id in own:
                self._charge_cancel(order, now)
                self._end(order, "canceled", "User requested")
                count += 1
        return {"count": count}

    def cancel_after(self, params: Params, now: float) -> Optional[float]:
        """``cancel_all_orders_after``; returns when it will fire."""
        timeout = params.get("timeout")
        if type(timeout) is not int or not 0 <= timeout < 86400:
            raise arguments("timeout")
        self.cancel_at = now + timeout if timeout else None
        return self.cancel_at

    # -- time --------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """What time and the market's trades have brought: triggers, expiries, the dead man's switch."""
        self.begin(now)
        while self._waiting:
            closing = self._waiting.pop(0)
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
            elif order.status == "pending_new" and now >= (order.effective or 0):
                self._go_live(order)
            elif order.trigger is not None and not order.triggered and order.status != "pending_new":
                self._look_at_trigger(order)

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

    def _prepare(self, params: Params, now: float, cost: float, before: Sequence[Any] = ()) -> AccountOrder:
        self._gate(add=True, post_only=bool(params.get("post_only")))
        pair = pair_of(params.get("symbol"))
        self._check_pair(pair, params)
        self._charge(pair, cost, now)
        order = new_order(params, self._id("O"), self._last(pair), now, worst=self._worst(pair))
        mine = [one for one in [*self.account.open_orders(), *before] if _is_order(one) and one.pair is pair]
        if self.counters.limited and len(mine) >= self.counters.most_open:
            raise Refusal("EOrder:Orders limit exceeded")
        taken = {one.cl_ord_id for one in [*self.account.open_orders(), *before] if _is_order(one)}
        if order.cl_ord_id is not None and order.cl_ord_id in taken:
            raise arguments("cl_ord_id")
        closing = conditional_params(order, order.amount(order.qty))
        if closing is not None:
            new_order(closing, "", self._last(pair), now)  # refused here, not when the first fill comes
        elif params.get("conditional") is not None:
            raise arguments("conditional")
        self._check_funds(order, before)
        return order

    def _check_pair(self, pair: Instrument, params: Params) -> None:
        status = self.markets[pair.symbol].status
        if status in ("cancel_only", "maintenance", "delisted", "work_in_progress"):
            raise Refusal("EService:Market in cancel_only mode")
        if (status == "post_only" and not params.get("post_only")) or (
            status == "limit_only" and params.get("order_type") == "market"
        ):
            raise Refusal(f"EService:Market in {status} mode")

    def _check_funds(
        self, order: AccountOrder, before: Sequence[Any], instead_of: Optional[AccountOrder] = None
    ) -> None:
        order.ask = self._worst(order.pair)
        asset, amount = reserved_by(order)
        planned = sum(
            (reserved_by(one)[1] for one in before if _is_order(one) and reserved_by(one)[0] == asset),
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
        while order.open and order.left:
            if self.system != "online":
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
        """How much of it the account can pay for at this price, by its balance."""
        if order.side == "sell":
            have = self.account.balances.get(order.pair.base, Decimal(0))
            return int(have.scaleb(order.pair.qty_digits))
        have = self.account.balances.get(order.pair.quote, Decimal(0)) / (1 + TAKER_FEE)
        cash = order.params.get("cash_order_qty")
        if cash is not None:
            have = min(have, Decimal(cash) - order.cost)
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
            order.status, order.closed = "filled", self._now
            self._told(reports.totals(order, "filled", self._now))
        self._close_position(order, trade)

    def _close_position(self, order: AccountOrder, trade: Trade) -> None:
        params = conditional_params(order, order.amount(trade.qty))
        if params is None:
            return
        try:
            closing = new_order(params, self._id("O"), self._last(order.pair), self._now)
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

    def _gate(self, *, add: bool, post_only: bool = False) -> None:
        if self.system == "maintenance":
            raise Refusal("EService:Unavailable")
        if add and self.system == "cancel_only":
            raise Refusal("EService:Market in cancel_only mode")
        if add and self.system == "post_only" and not post_only:
            raise Refusal("EService:Market in post_only mode")

    def _charge(self, pair: Instrument, cost: float, now: float) -> None:
        if not self.counters.charge(pair.symbol, cost, now):
            raise Refusal("EOrder:Rate limit exceeded")

    def _charge_cancel(self, order: AccountOrder, now: float) -> None:
        cost = age_cost("cancel", now - (order.amended or order.moment))
        self.counters.charge(order.pair.symbol, cost, now, refusable=False)

    def _find(self, params: Params) -> AccountOrder:
        found: Optional[AccountOrder] = None
        if params.get("order_id") is not None:
            found = self.account.orders.get(str(params["order_id"]))
        elif params.get("cl_ord_id") is not None:
            found = next(
                (one for one in self.account.open_orders() if one.cl_ord_id == params["cl_ord_id"]), None
            )
        elif params.get("order_userref") is None:
            raise arguments("order_id")
        if found is None or not found.open:
            raise Refusal("EOrder:Unknown order")
        return found

    def _would_take(self, order: AccountOrder, limit: int) -> bool:
        return self.markets[order.pair.symbol].book.next_maker(order.side, limit) is not None

    def _last(self, pair: Instrument) -> int:
        return self.markets[pair.symbol].tape.last

    def _worst(self, pair: Instrument) -> int:
        best = self.markets[pair.symbol].best()[1][0]
        return best or self._last(pair)

    def _id(self, first: str) -> str:
        return text_id(first, self._rng.randrange(36**16))

    def _ids(self, order: AccountOrder, *, validate: bool) -> Dict[str, Any]:
        result = {} if validate else {"order_id": order.order_id}
        for name in ("cl_ord_id", "order_userref"):
            if order.params.get(name) is not None:
                result[name] = order.params[name]
        return result


def _is_order(one: Any) -> bool:
    return isinstance(one, AccountOrder) and one.status in OPEN
