"""From the parameters of a trading request to an order, with the exchange's refusals.

Source: Kraken, "add_order" and "batch_add" pages, "Spot Error Messages". The order of the checks is not
documented.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Dict, Mapping, Optional

from . import wire
from .account import AccountOrder
from .instruments import Instrument
from .refusal import Refusal

Params = Mapping[str, Any]
LIMITS = ("limit", "iceberg", "stop-loss-limit", "take-profit-limit", "trailing-stop-limit")
TRIGGERED = (
    "stop-loss",
    "stop-loss-limit",
    "take-profit",
    "take-profit-limit",
    "trailing-stop",
    "trailing-stop-limit",
)
TRAILING = ("trailing-stop", "trailing-stop-limit")
KINDS = ("limit", "market", "iceberg", *TRIGGERED, "settle-position")
NUMBERS = ("order_qty", "limit_price", "display_qty", "cash_order_qty", "trigger_price")
FIELDS = frozenset(
    "order_type side order_qty symbol limit_price limit_price_type triggers time_in_force expire_time "
    "effective_time deadline cl_ord_id order_userref post_only reduce_only margin display_qty fee_preference "
    "stp_type cash_order_qty validate sender_sub_id conditional no_mpp stop_price trigger token".split()
)
_CL_ORD_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}|[ -~]{1,18}")


def arguments(detail: str) -> Refusal:
    """The refusal of a request that makes no sense."""
    return Refusal(f"EGeneral:Invalid arguments:{detail}")


def check_fields(params: Params, known: Any, method: str) -> None:
    """Refuse unknown fields and numbers that are none."""
    for name, value in params.items():
        if name not in known:
            raise Refusal(f"Unsupported field: '{name}' for the given msg type: {method}")
        if name in NUMBERS and (isinstance(value, bool) or not isinstance(value, (int, Decimal))):
            raise Refusal(f"{name.capitalize()} field must be a number_float")


def price_units(value: Any, pair: Instrument) -> int:
    """A price as an integer, which must be on the grid."""
    scaled = Decimal(value).scaleb(pair.price_digits)
    if scaled != int(scaled):
        raise Refusal("EOrder:Tick size check failed")
    if scaled <= 0:
        raise Refusal("EOrder:Invalid price")
    return int(scaled)


def qty_units(value: Any, pair: Instrument, name: str = "order_qty") -> int:
    """A quantity as an integer, which must be on the grid."""
    scaled = Decimal(value).scaleb(pair.qty_digits)
    if scaled != int(scaled) or scaled < 0:
        raise arguments(name)
    return int(scaled)


def check_ids(params: Params) -> None:
    """The client's own ids."""
    cl_ord_id, userref = params.get("cl_ord_id"), params.get("order_userref")
    if cl_ord_id is not None and userref is not None:
        raise arguments("cl_ord_id and order_userref are mutually exclusive")
    if cl_ord_id is not None and not (isinstance(cl_ord_id, str) and _CL_ORD_ID.fullmatch(cl_ord_id)):
        raise arguments("cl_ord_id")
    if cl_ord_id is not None and params.get("conditional") is not None:
        raise arguments("cl_ord_id and conditional are mutually exclusive")
    if userref is not None and (type(userref) is not int or not -(2**31) <= userref < 2**31):
        raise arguments("order_userref")


def check_deadline(params: Params, now: float) -> None:
    """Past its deadline a request is refused; the deadline must be 0.5 to 60 s ahead."""
    text = params.get("deadline")
    if text is None:
        return
    try:
        deadline = wire.moment(text)
    except (ValueError, TypeError, AttributeError):
        raise arguments("deadline") from None
    if deadline > now + 60.5:
        raise arguments("deadline")
    if deadline < now:
        raise Refusal("EService:Deadline elapsed")


def new_order(
    params: Params,
    pair: Instrument,
    order_id: str,
    last: int,
    now: float,
    method: str = "add_order",
    worst: int = 0,
) -> AccountOrder:
    """A checked order. ``last`` is the last trade's price, ``worst`` what a market order costs about."""
    check_fields(params, FIELDS, method)
    kind, side = params.get("order_type"), params.get("side")
    if kind not in KINDS:
        raise arguments("order_type")
    if side not in ("buy", "sell"):
        raise arguments("side")
    check_ids(params)
    check_deadline(params, now)
    _check_options(params, kind)
    order = AccountOrder(order_id, pair, side, kind, 0, dict(params), now)
    _set_prices(order, params, last)
    _set_qty(order, params, worst or last)
    _set_times(order, params, now)
    return order


def _check_options(params: Params, kind: str) -> None:
    if str(params.get("time_in_force", "gtc")).lower() not in ("gtc", "gtd", "ioc", "fok"):
        raise arguments("time_in_force")
    if str(params.get("time_in_force")).lower() == "fok" and kind not in LIMITS:
        raise arguments("time_in_force")
    if params.get("post_only") and kind not in ("limit", "iceberg"):
        raise arguments("post_only order option is only available when ordertype = limit")
    if params.get("no_mpp") and kind != "market":
        raise arguments("no_mpp order option is only available when ordertype = market")
    stp = str(params.get("stp_type", "cancel_newest")).replace("-", "_")
    if stp not in ("cancel_newest", "cancel_oldest", "cancel_both"):
        raise arguments("stp_type")
    if params.get("fee_preference", "quote") not in ("base", "quote"):
        raise arguments("fee_preference")
    if params.get("reduce_only") and not params.get("margin"):
        raise arguments("reduce_only")
    if params.get("reduce_only"):
        raise Refusal("EOrder:Reduce only:No position exists")
    if params.get("margin") or kind == "settle-position":
        raise Refusal("EOrder:Cannot open position")  # no simulated pair is marginable
    for name in ("post_only", "reduce_only", "margin", "validate", "no_mpp"):
        if not isinstance(params.get(name) or False, bool):
            raise arguments(name)
    if not isinstance(params.get("sender_sub_id") or "", str):
        raise arguments("sender_sub_id")


def _set_prices(order: AccountOrder, params: Params, last: int) -> None:
    pair, kind = order.pair, order.kind
    if kind in TRIGGERED:
        triggers = params.get("triggers")
        if not isinstance(triggers, Mapping) or triggers.get("price") is None:
            raise arguments("triggers")
        if triggers.get("reference", "last") not in ("last", "index"):
            raise arguments("triggers.reference")
        order.trigger = _trigger(order, triggers, last)
    if kind in LIMITS:
        if params.get("limit_price") is None:
            raise arguments("limit_price")
        if kind == "trailing-stop-limit":
            order.limit = offset_price(order, last)
        else:
            order.limit = price_units(params["limit_price"], pair)
    elif params.get("limit_price") is not None:
        raise arguments("limit_price")
    if params.get("limit_price_type", "static") != "static" and kind != "trailing-stop-limit":
        raise arguments("limit_price_type")


def _trigger(order: AccountOrder, triggers: Params, last: int) -> int:
    value, kind = triggers["price"], triggers.get("price_type")
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        raise Refusal("Triggers.price field must be a number_float")
    if order.kind in TRAILING:
        if (kind or "quote") not in ("pct", "quote") or value <= 0:
            raise arguments("triggers.price_type")
        order.peak = last
        return trailing_trigger(order, last)
    if (kind or "static") == "static":
        return price_units(value, order.pair)
    if kind not in ("pct", "quote"):
        raise arguments("triggers.price_type")
    return last + _distance(value, kind, order.pair, last)


def _distance(value: Any, kind: str, pair: Instrument, last: int) -> int:
    if kind == "pct":
        return int(Decimal(last) * Decimal(value) / 100)
    return int(Decimal(value).scaleb(pair.price_digits))


def trailing_trigger(order: AccountOrder, peak: int) -> int:
    """Where a trailing order triggers, for the best price so far."""
    triggers = order.params["triggers"]
    distance = _distance(triggers["price"], triggers.get("price_type") or "quote", order.pair, peak)
    return peak - distance if order.side == "sell" else peak + distance


def offset_price(order: AccountOrder, last: int) -> int:
    """The limit of a trailing-stop-limit order, an offset from its trigger."""
    kind, value = order.params.get("limit_price_type", "quote"), order.params["limit_price"]
    if kind == "static":
        return price_units(value, order.pair)
    return (order.trigger or last) + _distance(value, kind, order.pair, last)


def _set_qty(order: AccountOrder, params: Params, last: int) -> None:
    pair, cash = order.pair, params.get("cash_order_qty")
    if cash is not None:
        if order.kind != "market" or order.side != "buy" or params.get("order_qty") is not None:
            raise arguments("cash_order_qty")
        order.qty = int(Decimal(cash).scaleb(pair.price_digits + pair.qty_digits) / last)
    elif params.get("order_qty") is None:
        raise arguments("order_qty")
    else:
        order.qty = qty_units(params["order_qty"], pair)
    check_minimum(order, last)
    if params.get("display_qty") is not None:
        order.display = qty_units(params["display_qty"], pair, "display_qty")
        if order.kind != "iceberg" or not order.qty <= order.display * 15 <= order.qty * 15:
            raise arguments("display_qty")
    elif order.kind == "iceberg":
        raise arguments("display_qty")


def check_minimum(order: AccountOrder, last: int) -> None:
    """The pair's smallest quantity and cost."""
    if order.qty < order.pair.qty_min:
        raise Refusal("EOrder:Order minimum not met")
    if order.money((order.limit or last) * order.qty) < Decimal(order.pair.cost_min):
        raise Refusal("EOrder:Cost minimum not met")


def _set_times(order: AccountOrder, params: Params, now: float) -> None:
    gtd = str(params.get("time_in_force", "gtc")).lower() == "gtd"
    if gtd != (params.get("expire_time") is not None):
        raise arguments("expire_time")
    try:
        order.expires = wire.moment(params["expire_time"]) if gtd else None
        effective = params.get("effective_time")
        order.effective = wire.moment(effective) if effective is not None else None
    except (ValueError, TypeError, AttributeError):
        raise arguments("expire_time" if gtd else "effective_time") from None
    if order.expires is not None and not now < order.expires < now + 31 * 86400:
        raise arguments("expire_time")


def conditional_params(order: AccountOrder, qty: Decimal) -> Optional[Dict[str, Any]]:
    """The parameters of the closing order that a fill of ``order`` creates."""
    template = order.params.get("conditional")
    if not isinstance(template, Mapping) or template.get("order_type") is None:
        return None
    params: Dict[str, Any] = {
        "symbol": order.pair.symbol,
        "side": "sell" if order.side == "buy" else "buy",
        "order_type": template.get("order_type"),
        "order_qty": qty,
    }
    for name in ("limit_price", "limit_price_type"):
        if template.get(name) is not None:
            params[name] = template[name]
    if template.get("trigger_price") is not None:
        params["triggers"] = {"price": template["trigger_price"]}
        if template.get("trigger_price_type") is not None:
            params["triggers"]["price_type"] = template["trigger_price_type"]
    return params
