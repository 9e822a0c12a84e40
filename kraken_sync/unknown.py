"""Requests whose outcome is unknown, and what was known when they were sent."""

from __future__ import annotations

from typing import Any, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple

from .core.in_flight import Request
from .errors import OrderOutcomeUnknown


class Unknown(NamedTuple):
    """A request whose outcome is unknown, and what may still tell it."""

    error: OrderOutcomeUnknown
    request: Request
    params: Mapping[str, Any]
    sent_at: Optional[float]
    """When it was sent, by the exchange's clock, in seconds since the epoch."""
    before: FrozenSet[str]
    """The order ids that were known when it was sent."""


class Names(NamedTuple):
    """The ids by which a request names orders."""

    cl_ord_ids: Tuple[str, ...]
    order_ids: Tuple[str, ...]
    userrefs: Tuple[int, ...]


def names_of(params: Mapping[str, Any]) -> Names:
    """Every id in the parameters of a trading request."""
    cl_ord_ids: List[str] = []
    order_ids: List[str] = []
    userrefs: List[int] = []
    orders = params.get("orders")
    for one in [params, *(orders if isinstance(orders, (list, tuple)) else ())]:
        if isinstance(one, str):  # batch_cancel: ids alone
            order_ids.append(one)
            continue
        lists: Any = ((cl_ord_ids, "cl_ord_id"), (order_ids, "order_id"), (userrefs, "order_userref"))
        for found, name in lists:
            value: Any = one.get(name) if isinstance(one, Mapping) else None
            values: Any = value if isinstance(value, (list, tuple)) else [value]
            kind = int if name == "order_userref" else str
            found.extend(each for each in values if isinstance(each, kind))
    return Names(tuple(cl_ord_ids), tuple(order_ids), tuple(userrefs))
