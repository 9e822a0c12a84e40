"""The eight trading methods of the simulated exchange: what it accepts, refuses, and answers."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from . import reports
from .account import AccountOrder, Entry
from .account import reserved as reserved_by
from .execution import FUNDS, Execution, is_order
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
    price_units,
    qty_units,
)
from .market import Market
from .rate_counter import RateCounters, age_cost
from .refusal import Refusal

Params = Mapping[str, Any]
_AMEND = frozenset(
    "order_id cl_ord_id order_qty limit_price limit_price_type display_qty trigger_price trigger_price_type "
    "post_only deadline symbol token".split()
)
_EDIT = frozenset(
    "order_id symbol order_qty limit_price triggers display_qty fee_preference post_only reduce_only "
    "order_userref deadline validate price stop_price trigger no_mpp token".split()
)


class Trading(Execution):
    """The account's orders, by request. ``now`` is seconds since the epoch."""

    def __init__(
        self,
        markets: Dict[str, Market],
        seed: int,
        tier: Optional[str],
        told_report: Callable[[reports.Report], None],
        told_entry: Callable[[Entry], None],
        funds: Mapping[str, str] = FUNDS,
    ) -> None:
        super().__init__(markets, seed, told_report, told_entry, funds)
        self.counters = RateCounters(tier)
        self.gone_text: Callable[[], str] = lambda: "EOrder:Invalid order"
        """Returns what an order that is not open is answered with."""

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
        order = new_order(changed, old.pair, self._id("O"), self._last(old.pair), now, "edit_order")
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
        if sum(bool(params.get(name)) for name in ("order_id", "cl_ord_id", "order_userref")) > 1:
            raise arguments("order_id, cl_ord_id and order_userref are mutually exclusive")
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
            raise Refusal(self.gone_text())
        self._charge_cancel(order, now)
        self._end(order, "canceled", "User requested")
        return {name: value for name, value in target.items() if name != "of"}

    def cancel_all(self, params: Params, now: float, reason: str = "User requested") -> Dict[str, Any]:
        """``cancel_all``."""
        self.begin(now)
        self._gate(add=False)
        orders = self.account.open_orders()
        for symbol in {order.pair.symbol for order in orders}:
            self.counters.charge(symbol, 1, now, refusable=False)
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
        self.counters.charge("", 1, now, refusable=False)
        self.cancel_at = now + timeout if timeout else None
        return self.cancel_at

    # -- checks ------------------------------------------------------------------------------

    def _prepare(self, params: Params, now: float, cost: float, before: Sequence[Any] = ()) -> AccountOrder:
        self._gate(add=True, post_only=bool(params.get("post_only")))
        market = self.markets.get(str(params.get("symbol")))
        if market is None:
            raise Refusal("EQuery:Unknown asset pair")
        pair = market.pair
        self._check_pair(pair, params)
        self._charge(pair, cost, now)
        order = new_order(params, pair, self._id("O"), self._last(pair), now, worst=self._worst(pair))
        mine = [one for one in [*self.account.open_orders(), *before] if is_order(one) and one.pair is pair]
        if self.counters.limited and len(mine) >= self.counters.most_open:
            raise Refusal("EOrder:Orders limit exceeded")
        taken = {one.cl_ord_id for one in [*self.account.open_orders(), *before] if is_order(one)}
        if order.cl_ord_id is not None and order.cl_ord_id in taken:
            raise arguments("cl_ord_id")
        closing = conditional_params(order, order.amount(order.qty))
        if closing is not None:
            new_order(closing, pair, "", self._last(pair), now)  # refused here, not when the first fill comes
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
            raise Refusal(self.gone_text())
        return found

    def _ids(self, order: AccountOrder, *, validate: bool) -> Dict[str, Any]:
        if validate:
            return {"order_id": ""}
        result = {"order_id": order.order_id}
        for name in ("cl_ord_id", "order_userref"):
            if order.params.get(name) is not None:
                result[name] = order.params[name]
        return result
