"""The parameters of the trading methods: names, types, allowed values, and what excludes what.

Source: Kraken, the pages of the methods, such as
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/add_order (the others end in ``amend_order``,
``edit_order``, ``cancel_order``, ``cancel_after``, ``batch_add`` and ``batch_cancel``), and the guide "Spot
Client Order Identifiers".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, get_args

from ..wire.channels import nearest
from ..wire.numbers import decimal_of
from ..wire.shapes import OrderType, PriceType
from ..wire.times import parse_time

Params = Mapping[str, Any]

ORDER_TYPES: Tuple[str, ...] = get_args(OrderType)
LIMIT_TYPES = ("limit", "iceberg", "stop-loss-limit", "take-profit-limit", "trailing-stop-limit")
TRIGGERED_TYPES = tuple(name for name in ORDER_TYPES if name.startswith(("stop", "take", "trailing")))
PRICE_TYPES: Tuple[str, ...] = get_args(PriceType)
NUMBER, TEXT, FLAG, WHOLE, IDS, USERREFS = "number", "text", "flag", "whole", "ids", "userrefs"
ANY, DEADLINE = "any", "deadline"
"""The kinds of values; ``ANY`` is checked elsewhere."""
SHORTEST_DEADLINE, LONGEST_DEADLINE = 0.5, 60
"""The limits of ``deadline``, in seconds from now."""

_TRIGGERS: Mapping[str, Any] = {
    "price": NUMBER,
    "reference": ("last", "index"),
    "price_type": PRICE_TYPES,
}
_CONDITIONAL: Mapping[str, Any] = {
    "order_type": tuple(name for name in ORDER_TYPES if name not in ("market", "iceberg", "settle-position")),
    "limit_price": NUMBER,
    "limit_price_type": PRICE_TYPES,
    "trigger_price": NUMBER,
    "trigger_price_type": PRICE_TYPES,
    "stop_price": NUMBER,
}
_ORDER: Mapping[str, Any] = {
    "order_type": ORDER_TYPES,
    "side": ("buy", "sell"),
    "order_qty": NUMBER,
    "limit_price": NUMBER,
    "limit_price_type": PRICE_TYPES,
    "triggers": _TRIGGERS,
    "time_in_force": ("gtc", "gtd", "ioc", "fok"),
    "expire_time": TEXT,
    "effective_time": TEXT,
    "cl_ord_id": TEXT,
    "order_userref": WHOLE,
    "post_only": FLAG,
    "reduce_only": FLAG,
    "margin": FLAG,
    "leverage": NUMBER,
    "display_qty": NUMBER,
    "fee_preference": ("base", "quote"),
    "stp_type": ("cancel_newest", "cancel_oldest", "cancel_both"),
    "cash_order_qty": NUMBER,
    "sender_sub_id": TEXT,
    "conditional": _CONDITIONAL,
    # Deprecated; the exchange takes them with a warning in the reply.
    "no_mpp": FLAG,
    "stop_price": NUMBER,
    "trigger": TEXT,
}
METHODS: Mapping[str, Mapping[str, Any]] = {
    "add_order": {**_ORDER, "symbol": TEXT, "deadline": DEADLINE, "validate": FLAG},
    "amend_order": {
        "order_id": TEXT,
        "cl_ord_id": TEXT,
        "order_qty": NUMBER,
        "limit_price": NUMBER,
        "limit_price_type": PRICE_TYPES,
        "display_qty": NUMBER,
        "trigger_price": NUMBER,
        "trigger_price_type": PRICE_TYPES,
        "post_only": FLAG,
        "deadline": DEADLINE,
        "symbol": TEXT,  # the exchange needs it for non-crypto pairs only
    },
    "edit_order": {
        "order_id": TEXT,
        "symbol": TEXT,
        "order_qty": NUMBER,
        "limit_price": NUMBER,
        "triggers": _TRIGGERS,
        "display_qty": NUMBER,
        "fee_preference": ("base", "quote"),
        "post_only": FLAG,
        "reduce_only": FLAG,
        "order_userref": WHOLE,
        "deadline": DEADLINE,
        "validate": FLAG,
        "no_mpp": FLAG,
    },
    "cancel_order": {"order_id": IDS, "cl_ord_id": IDS, "order_userref": USERREFS},
    "cancel_all": {},
    "cancel_all_orders_after": {"timeout": WHOLE},
    "batch_add": {"symbol": TEXT, "orders": ANY, "deadline": DEADLINE, "validate": FLAG},
    "batch_cancel": {"orders": IDS, "cl_ord_id": IDS},
}
PRIVATE_METHODS = tuple(sorted(METHODS))
ADDING = ("add_order", "amend_order", "edit_order", "batch_add")
"""The methods that place or change orders and take a ``deadline``."""
IDENTIFYING = frozenset(["order_id", "cl_ord_id", "symbol", "deadline", "post_only"])
"""The parameters of an amend that do not change the order."""
BATCH_ADD, BATCH_CANCEL = (2, 15), (2, 50)
"""The smallest and the largest number of orders in a batch."""
_PLAIN: Mapping[str, Tuple[type, str]] = {
    TEXT: (str, "a string"),
    FLAG: (bool, "True or False"),
    WHOLE: (int, "an int"),
}
# A UUID with or without dashes, or up to 18 ASCII characters ("Spot Client Order Identifiers").
_CL_ORD_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{32}|[ -~]{1,18}")


VIA = ("rest", "websocket")
"""The ways by which a caller may want a request to go."""


def prepared(method: str, params: Params, via: Optional[str] = None) -> Dict[str, Any]:
    """Return checked parameters, without those that are None, with numbers as exact decimals.

    Args:
        method: the exchange's name of the method.
        params: the parameters as given.
        via: the way by which the request is to go, which decides about some parameters; None for any.

    Raises:
        TypeError, ValueError: the text names what is wrong and what is allowed.
    """
    if via is not None and via not in VIA:
        raise ValueError(f"via must be 'rest', 'websocket' or None, not {via!r:.80}")
    found = _checked(method, METHODS[method], params)
    for order in _each(found):
        _check_way(order, method, via == "rest")
    if method == "add_order":
        _check_order(found, method)
        _need(found, method, "symbol")
    elif method == "batch_add":
        _need(found, method, "symbol")
        found["orders"] = _batch(found)
    elif method == "amend_order":
        _one_id(found, method)
        changes = set(found) - IDENTIFYING
        if not changes:
            raise ValueError(
                "amend_order changes nothing: give order_qty, limit_price, trigger_price or display_qty"
            )
    elif method == "edit_order":
        _need(found, method, "order_id", "symbol")
    elif method == "cancel_order" and sum(map(bool, found.values())) != 1:
        raise ValueError("cancel_order needs order_id, cl_ord_id or order_userref, and only one of them")
    elif method == "batch_cancel":
        count = len(found.get("orders", [])) + len(found.get("cl_ord_id", []))
        low, high = BATCH_CANCEL
        if not low <= count <= high:
            raise ValueError(f"batch_cancel takes {low} to {high} ids, not {count}; see cancel_order")
    elif method == "cancel_all_orders_after":
        _need(found, method, "timeout")
        if not 0 <= found["timeout"] < 86400:
            raise ValueError(f"timeout must be 0 (disarm) to 86399 seconds, not {found['timeout']}")
    return found


def _each(found: Params) -> List[Params]:
    orders = found.get("orders")
    nested = orders if isinstance(orders, (list, tuple)) else ()
    return [found, *(order for order in nested if isinstance(order, Mapping))]


def _check_way(order: Params, method: str, by_rest: bool) -> None:
    """Check the parameters that only one of the two interfaces has."""

    def given(name: str) -> bool:
        return order.get(name) not in (None, False)

    if not by_rest:
        if given("leverage"):
            raise ValueError('leverage is for via="rest"; over WebSocket give margin=True')
        return
    if given("margin"):
        raise ValueError("over REST give leverage, such as 2, in place of margin=True")
    if given("sender_sub_id"):
        raise ValueError("REST takes no sender_sub_id")
    if method == "edit_order" and given("reduce_only"):
        raise ValueError("REST takes no reduce_only in an edit")
    closing = order.get("conditional")
    for one in (order, closing if isinstance(closing, Mapping) else {}):
        _check_distances(one)


def _check_distances(order: Params) -> None:
    """Check the price types of an order for REST, where prices of trailing orders have no other meaning."""
    if str(order.get("order_type")).startswith("trailing"):
        triggers = order.get("triggers")
        types = [
            order.get("limit_price_type"),
            triggers.get("price_type") if isinstance(triggers, dict) else None,
        ]
        if "static" in types:
            raise ValueError(
                "over REST the prices of a trailing order are distances: give price types pct or quote"
            )


def _checked(what: str, known: Mapping[str, Any], params: Params) -> Dict[str, Any]:
    if not isinstance(params, Mapping):
        raise TypeError(f"{what} must be a dict, not {params!r:.80}")
    if not params.keys() <= known.keys():
        name = next(name for name in params if name not in known)
        close = nearest(str(name), known, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"{what} has no parameter {name!r}.{hint} It takes: {', '.join(sorted(known)) or 'none'}."
        )
    return {name: _value(name, known[name], value) for name, value in params.items() if value is not None}


def _value(name: str, kind: Any, value: Any) -> Any:
    if kind == NUMBER:
        return decimal_of(name, value)
    if isinstance(kind, Mapping):
        return _checked(name, kind, value)
    if isinstance(kind, tuple):
        return _choice(name, kind, value)
    if kind in (IDS, USERREFS):
        return _list(name, kind, value)
    if kind == ANY:
        return value
    if kind == DEADLINE:
        return _deadline(value)
    expected: Any
    expected, words = _PLAIN[kind]
    # Not isinstance(): True is an int, and would be sent as true where the exchange expects a number.
    if type(value) is not expected:
        raise TypeError(f"{name} must be {words}, not {value!r:.80}")
    if name == "cl_ord_id" and not _CL_ORD_ID.fullmatch(value):
        raise ValueError(
            f"cl_ord_id must be a UUID, 32 hex digits or up to 18 ASCII characters, not {value!r:.80}"
        )
    if name == "order_userref" and not -(2**31) <= value < 2**31:
        raise ValueError(f"order_userref must be a signed 32-bit integer, not {value}")
    return value


def _deadline(value: Any) -> Any:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if not SHORTEST_DEADLINE <= value <= LONGEST_DEADLINE:
            raise ValueError(f"deadline must be 0.5 to 60 seconds from now, not {value}")
    elif parse_time(value) is None:
        raise ValueError(f"deadline must be seconds from now or RFC 3339 in UTC, not {value!r:.80}")
    return value


def _choice(name: str, allowed: Tuple[str, ...], value: Any) -> Any:
    if value in allowed:
        return value
    # The exchange writes stop-loss with a hyphen, but cancel_newest with an underscore.
    close = nearest(str(value).lower().replace("_", "-"), allowed, 1) or nearest(
        str(value).lower(), allowed, 1
    )
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"{name}={value!r} is not known.{hint} Choose one of: {', '.join(allowed)}.")


def _list(name: str, kind: str, value: Any) -> Any:
    single = isinstance(value, (str, int))
    if not single and not isinstance(value, (list, tuple, set, frozenset)):
        hint = ", such as result['order_id']" if isinstance(value, Mapping) else ""
        raise TypeError(f"{name} must be an id or a list of ids{hint}, not {value!r:.80}")
    values = [value] if single else list(value)
    wanted = int if kind == USERREFS else str
    if not all(isinstance(one, wanted) and not isinstance(one, bool) and one != "" for one in values):
        words = "integers" if kind == USERREFS else "strings"
        raise TypeError(f"{name} must be a list of {words}, not {value!r:.80}")
    if 0 in values:
        raise ValueError(f"{name}=0 names no order: the exchange reports it for every order that has none")
    # Without repetitions: the exchange answers once per order, and that many replies are waited for.
    return list(dict.fromkeys(values))


def _need(found: Params, what: str, *names: str) -> None:
    missing = [name for name in names if name not in found]
    if missing:
        raise ValueError(f"{what} needs {' and '.join(missing)}")


def _one_id(found: Params, method: str) -> None:
    if ("order_id" in found) == ("cl_ord_id" in found):
        raise ValueError(f"{method} needs order_id or cl_ord_id, and only one of them")


def _check_order(order: Dict[str, Any], what: str) -> None:
    if order.get("order_userref") == 0:  # which the exchange reports for every order that has none
        del order["order_userref"]
    _need(order, what, "order_type", "side")
    kind = order["order_type"]
    if "cl_ord_id" in order and "order_userref" in order:
        raise ValueError("cl_ord_id and order_userref exclude each other; give one of them")
    if "cl_ord_id" in order and "conditional" in order:
        raise ValueError(
            "the exchange takes no cl_ord_id together with conditional; give an order_userref instead, or "
            "neither, so that the client chooses one"
        )
    if ("order_qty" in order) == ("cash_order_qty" in order):
        raise ValueError(f"{what} needs order_qty (in base currency), or cash_order_qty for a market buy")
    if "cash_order_qty" in order and (kind != "market" or order["side"] != "buy"):
        raise ValueError("cash_order_qty is for market buys only; give order_qty")
    if kind in LIMIT_TYPES and "limit_price" not in order:
        raise ValueError(f"a {kind} order needs limit_price")
    if kind not in LIMIT_TYPES and "limit_price" in order:
        raise ValueError(f"a {kind} order takes no limit_price")
    if kind in TRIGGERED_TYPES and "price" not in order.get("triggers", {}):
        raise ValueError(f'a {kind} order needs triggers={{"price": ...}}')
    if kind not in TRIGGERED_TYPES and "triggers" in order:
        raise ValueError(f"a {kind} order takes no triggers")
    if (order.get("time_in_force") == "gtd") != ("expire_time" in order):
        raise ValueError('expire_time and time_in_force="gtd" belong together')
    if order.get("post_only") and kind not in ("limit", "iceberg"):
        raise ValueError(f"post_only is for limit orders, not for {kind}")
    if order.get("time_in_force") == "fok" and kind not in LIMIT_TYPES:
        raise ValueError(f'time_in_force="fok" is for orders with a limit_price, not for {kind}')
    if kind == "iceberg" and "display_qty" not in order:
        raise ValueError("an iceberg order needs display_qty")
    if order.get("reduce_only") and not (order.get("margin") or order.get("leverage")):
        raise ValueError('reduce_only needs margin=True (or leverage, with via="rest")')


def _batch(found: Params) -> Any:
    orders, (low, high) = found.get("orders"), BATCH_ADD
    if not isinstance(orders, (list, tuple)) or not low <= len(orders) <= high:
        raise ValueError(f"orders must be a list of {low} to {high} orders (dicts); for one see add_order")
    checked = []
    for index, order in enumerate(orders):
        what = f"orders[{index}]"
        checked.append(_checked(what, _ORDER, order))
        _check_order(checked[-1], what)
    names = [order["cl_ord_id"] for order in checked if "cl_ord_id" in order]
    if len(set(names)) < len(names):
        raise ValueError("two orders of the batch have the same cl_ord_id")
    return checked


def named_order(params: Params) -> Optional[str]:
    """Return the id by which a request names an existing order, or None."""
    name = params.get("order_id") or params.get("cl_ord_id")
    return name if isinstance(name, str) else None


class Names(NamedTuple):
    """The ids by which a request names orders."""

    cl_ord_ids: Tuple[str, ...]
    order_ids: Tuple[str, ...]
    userrefs: Tuple[int, ...]


def names_of(params: Params) -> Names:
    """Return every id in the parameters of a trading request."""
    cl_ord_ids: List[str] = []
    order_ids: List[str] = []
    userrefs: List[int] = []
    orders = params.get("orders")
    for one in [params, *(orders if isinstance(orders, (list, tuple)) else ())]:
        if isinstance(one, str):  # the orders of batch_cancel are order ids, not dicts
            order_ids.append(one)
            continue
        lists: Any = ((cl_ord_ids, "cl_ord_id"), (order_ids, "order_id"), (userrefs, "order_userref"))
        for found, name in lists:
            value: Any = one.get(name) if isinstance(one, Mapping) else None
            if found is userrefs and isinstance(params.get("order_id"), str):
                continue  # an edit: it is the userref of the order that comes in its place
            values: Any = value if isinstance(value, (list, tuple)) else [value]
            kind = int if name == "order_userref" else str
            found.extend(each for each in values if isinstance(each, kind))
    return Names(tuple(cl_ord_ids), tuple(order_ids), tuple(userrefs))
