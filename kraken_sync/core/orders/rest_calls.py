"""Trading requests as REST calls, and REST's answers as WebSocket's results.

Both interfaces reach the same trading engine; only the names differ, and how prices are written that are
relative to the market.

Source: https://docs.kraken.com/api-reference/trading/add-order (the others end in ``amend-order``,
``edit-order``, ``add-order-batch``, ``cancel-order``, ``cancel-all-orders``, ``cancel-all-orders-after`` and
``cancel-order-batch``).
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional

from ..wire.error_texts import NOT_OPEN
from ..wire.numbers import decimal_of
from ..wire.times import parse_time
from .params import LIMIT_TYPES, TRIGGERED_TYPES

Params = Mapping[str, Any]
_ORDER_ID = re.compile(r"[A-Z0-9]{6}-[A-Z0-9]{5}-[A-Z0-9]{6}")
_PLAIN = {
    "order_type": "ordertype",
    "side": "type",
    "order_qty": "volume",
    "display_qty": "displayvol",
    "order_userref": "userref",
    "cl_ord_id": "cl_ord_id",
    "leverage": "leverage",
    "reduce_only": "reduce_only",
    "deadline": "deadline",
    "validate": "validate",
}
"""The parameters of an order that only have another name."""
_FLAGS = {"post_only": "post", "no_mpp": "nompp"}
_FEES = {"base": "fcib", "quote": "fciq"}


class NothingCanceled(Exception):
    """A cancel was answered with a count of 0; the text says so as WebSocket does."""


class UnclearAnswer(Exception):
    """A success that lacks what it must have, so that it does not tell what happened."""


class RestCall(NamedTuple):
    """One private REST request: the last part of its path, and its parameters."""

    endpoint: str
    params: Params
    do_json: bool = False


def rest_calls(method: str, params: Params, order_type: str = "limit") -> Iterator[Optional[RestCall]]:
    """Return the calls of a trading request, one for each expected answer.

    None stands for a call that cannot be made, because what is given has not the form of an order id: REST
    would take it for a userref, which may be another order's.

    Args:
        method: the exchange's name of the method.
        params: the checked parameters.
        order_type: the type of the order that is to be amended or edited, as far as it is known.

    >>> [call.params for call in rest_calls("cancel_order", {"cl_ord_id": ["a", "b"]})]
    [{'cl_ord_id': 'a'}, {'cl_ord_id': 'b'}]
    """
    if method == "cancel_order":
        yield from _cancels(params)
    elif method == "cancel_all":
        yield RestCall("CancelAll", {})
    elif method == "cancel_all_orders_after":
        yield RestCall("CancelAllOrdersAfter", dict(params))
    elif method == "batch_cancel":
        ids = [name for name in params.get("orders", ()) if _ORDER_ID.fullmatch(name)]
        own = list(params.get("cl_ord_id", ()))
        if len(ids) + len(own) == 1:  # which is no batch
            yield RestCall("CancelOrder", {"txid": ids[0]} if ids else {"cl_ord_id": own[0]})
        elif ids or own:
            yield RestCall(
                "CancelOrderBatch", {"orders": ids or None, "cl_ord_ids": own or None}, do_json=True
            )
        else:
            yield None
    elif method == "add_order":
        order = _order(params)
        closing = order.pop("close", {})
        named = {f"close[{name}]": value for name, value in closing.items()}
        yield RestCall("AddOrder", {**_pair(params), **order, **named})
    elif method == "batch_add":
        batch = {name: params[name] for name in ("deadline", "validate") if name in params}
        orders = {**_pair(params), "orders": [_order(one) for one in params["orders"]], **batch}
        yield RestCall("AddOrderBatch", orders, do_json=True)
    elif method == "amend_order":
        yield RestCall("AmendOrder", _amend(params, order_type))
    elif not _ORDER_ID.fullmatch(params["order_id"]):
        yield None
    else:
        edit = _order({"order_type": order_type, **params})
        for name in ("ordertype", "reduce_only"):  # which can only be False here
            edit.pop(name, None)
        yield RestCall("EditOrder", {**_pair(params), "txid": params["order_id"], **edit})


def ws_result(method: str, params: Params, result: Any) -> Any:
    """Return a REST answer's ``result`` as WebSocket would have given it.

    Raises:
        NothingCanceled: a cancel found nothing to cancel.
        UnclearAnswer: what the answer must have is missing.

    >>> ws_result("add_order", {}, {"txid": ["OU22CG-KLAF2-FWUDD7"], "descr": {}})
    {'order_id': 'OU22CG-KLAF2-FWUDD7'}
    >>> ws_result("batch_add", {}, {"orders": [{"txid": "OA"}, {"error": "EOrder:Insufficient funds"}]})
    [{'order_id': 'OA'}, {'error': 'EOrder:Insufficient funds'}]
    """
    found = result if isinstance(result, Mapping) else {}
    if method == "add_order":
        return {"order_id": _txid(found)}
    if method == "batch_add":
        orders = found.get("orders")
        entries: List[Params] = [one for one in orders if isinstance(one, Mapping)] if orders else []
        return [
            {"error": str(one["error"])} if one.get("error") else {"order_id": _txid(one)} for one in entries
        ]
    if method == "amend_order":
        _need(found, "amend_id")
        ids = {name: params[name] for name in ("order_id", "cl_ord_id") if name in params}
        return {"amend_id": found["amend_id"], **ids}
    if method == "edit_order":
        return {"order_id": _txid(found), "original_order_id": params.get("order_id")}
    _need(found, "currentTime" if method == "cancel_all_orders_after" else "count")
    if method == "cancel_order" and found["count"] == 0 and not found.get("pending"):
        raise NothingCanceled(f"{NOT_OPEN[0]} (nothing was canceled)")
    return dict(found)


def _need(found: Params, name: str) -> None:
    if found.get(name) in (None, ""):
        raise UnclearAnswer(f"the answer has no {name}: {dict(found)!r:.200}")


def _txid(answer: Params) -> str:
    txid = answer.get("txid")
    found = txid[0] if isinstance(txid, list) and txid else txid
    return found if isinstance(found, str) else ""  # as WebSocket writes it if nothing was placed


def _cancels(params: Params) -> Iterator[Optional[RestCall]]:
    for name in params.get("order_id", ()):
        yield RestCall("CancelOrder", {"txid": name}) if _ORDER_ID.fullmatch(name) else None
    for name in params.get("cl_ord_id", ()):
        yield RestCall("CancelOrder", {"cl_ord_id": name})
    for userref in params.get("order_userref", ()):
        yield RestCall("CancelOrder", {"txid": userref})


def _order(order: Params) -> Dict[str, Any]:
    found = {rest: order[name] for name, rest in _PLAIN.items() if name in order}
    flags = [flag for name, flag in _FLAGS.items() if order.get(name)]
    if "fee_preference" in order:
        flags.append(_FEES[order["fee_preference"]])
    if "cash_order_qty" in order:
        found["volume"] = order["cash_order_qty"]
        flags.append("viqc")
    if flags:
        found["oflags"] = ",".join(flags)
    if "time_in_force" in order:
        found["timeinforce"] = order["time_in_force"].upper()
    for name, rest in (("effective_time", "starttm"), ("expire_time", "expiretm")):
        if name in order:
            moment = parse_time(order[name])
            found[rest] = order[name] if moment is None else int(moment)
    if "stp_type" in order:
        found["stptype"] = order["stp_type"].replace("_", "-")
    triggers = order.get("triggers", {})
    reference = triggers.get("reference", order.get("trigger"))
    if reference is not None:
        found["trigger"] = reference
    found.update(
        _prices(
            order["order_type"],
            _price(triggers.get("price"), triggers.get("price_type")),
            _price(order.get("limit_price"), order.get("limit_price_type")),
        )
    )
    if "conditional" in order:
        found["close"] = _close(order["conditional"])
    return found


def _close(closing: Params) -> Dict[str, Any]:
    trigger = closing.get("trigger_price", closing.get("stop_price"))
    prices = _prices(
        closing["order_type"],
        _price(trigger, closing.get("trigger_price_type")),
        _price(closing.get("limit_price"), closing.get("limit_price_type")),
    )
    return {"ordertype": closing["order_type"], **prices}


def _prices(order_type: str, trigger: Any, limit: Any) -> Dict[str, Any]:
    """Return ``price`` and ``price2``: of a triggered order the trigger comes first."""
    if order_type.startswith("trailing"):  # always at a distance
        trigger = trigger if str(trigger or "+").startswith(("+", "-")) else f"+{_text(trigger)}"
        if order_type in LIMIT_TYPES and limit is not None and not str(limit).startswith(("+", "-")):
            limit = f"{Decimal(limit):+f}"
    pairs = {"price": trigger, "price2": limit} if order_type in TRIGGERED_TYPES else {"price": limit}
    return {name: value for name, value in pairs.items() if value is not None}


def _price(value: Any, price_type: Optional[str]) -> Any:
    """Return a price as REST takes it: with a sign if it is relative, and ``%`` for percent.

    >>> _price(Decimal("-1.5"), "pct"), _price(Decimal("20"), "quote"), _price(Decimal("20"), None)
    ('-1.5%', '+20', Decimal('20'))
    """
    if value is None or price_type in (None, "static"):
        return value
    return f"{decimal_of('price', value):+f}{'%' if price_type == 'pct' else ''}"


def pair_params(symbol: str) -> Dict[str, Any]:
    """Return the parameters that name a pair; REST must be told if it is a tokenized stock.

    >>> pair_params("AAPLx/USD")
    {'pair': 'AAPLx/USD', 'asset_class': 'tokenized_asset'}
    """
    tokenized = symbol.partition("/")[0].endswith("x")  # as "AAPLx"; all other names are in capitals
    return {"pair": symbol, **({"asset_class": "tokenized_asset"} if tokenized else {})}


def _pair(params: Params) -> Dict[str, Any]:
    return pair_params(params["symbol"]) if "symbol" in params else {}


def _text(value: Any) -> str:
    return format(decimal_of("price", value), "f")


def _amend(params: Params, order_type: str) -> Dict[str, Any]:
    names = ("cl_ord_id", "order_qty", "display_qty", "post_only", "deadline")
    found = {name: params[name] for name in names if name in params}
    found.update(_pair(params))
    if "order_id" in params:
        found["txid"] = params["order_id"]
    # Without a type, prices of trailing orders are a distance; REST takes what has no sign for a price.
    usual = "quote" if order_type.startswith("trailing") else None
    for name in ("limit_price", "trigger_price"):
        if name in params:
            found[name] = _price(params[name], params.get(f"{name}_type", usual))
    return found
