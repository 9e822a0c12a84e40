"""Requests whose outcome is unknown, and what was known when they were sent."""

from __future__ import annotations

import time
from typing import Any, FrozenSet, List, Mapping, NamedTuple, Optional, Set, Tuple, Union

from ..core.session.requests import Request
from ..core.wire.times import parse_time
from ..errors import OrderOutcomeUnknown


class TradingRequest(Request):
    """A request for the exchange's trading engine, and what was known when it was sent.

    Args:
        params: as they are sent, without the token.
        their_time: the exchange's time, in seconds since the epoch, if it is known.
        before: the order ids that were known.
    """

    def __init__(
        self,
        method: str,
        params: Mapping[str, Any],
        replies: int,
        their_time: Optional[float],
        before: FrozenSet[str],
    ) -> None:
        super().__init__(method, replies)
        self.params = params
        self.our_time = time.time()
        self.their_time = their_time
        self.before = before
        self.settled: Set[Union[str, int]] = set()
        """The names of which the outcome is known after all."""

    def unknown(self, reason: str) -> OrderOutcomeUnknown:
        """The error that says so of it."""
        names = names_of(self.params)
        return OrderOutcomeUnknown(
            self.method,
            reason,
            cl_ord_ids=names.cl_ord_ids,
            order_ids=names.order_ids,
            order_userrefs=names.userrefs,
            sent_at=self.our_time,
            deadline=parse_time(self.params.get("deadline")),
        )


class Unknown(NamedTuple):
    """A request whose outcome is unknown."""

    error: OrderOutcomeUnknown
    request: TradingRequest


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
