"""The outcomes of requests for the exchange's trading engine, as callers get them."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional

from ..core.html import badge, details
from ..core.orders.order import Order
from ..core.orders.params import names_of
from ..core.session.requests import TradingRequest
from ..core.wire.credentials import permission_for
from ..core.wire.error_texts import PERMISSION_DENIED
from ..core.wire.times import parse_time
from ..errors import OrderOutcomeUnknown, OrderRejected


class Outcome(str, enum.Enum):
    """What became of a request whose reply was lost."""

    __str__ = str.__str__

    LIVE = "live"
    """The order can still trade."""
    FILLED = "filled"
    CANCELED = "canceled"
    """The order was canceled or has expired, possibly after a part was filled."""
    NEVER_ARRIVED = "never arrived"
    """There is no such order and there cannot be one any more: its deadline has passed, or it was
    rejected."""
    STILL_UNKNOWN = "still unknown"
    """The exchange could not be asked, or the order's deadline has not passed yet."""


class Reply(Dict[str, Any]):
    """The exchange's ``result`` for a request: a dict."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return details(("result",), list(self.items()))


@dataclass(frozen=True)
class Reconciled:
    """The result of :meth:`SpotWSClient.reconcile`."""

    outcome: Outcome
    order: Optional[Order]
    """The order's state, if there is such an order."""
    reason: str
    """The evidence for the outcome, or why there is none."""

    def _repr_html_(self) -> str:
        order = self.order
        return details(
            ("reconciled", badge(str(self.outcome))),
            [
                ("order_id", order and order.order_id),
                ("cl_ord_id", order and order.cl_ord_id),
                ("order", order and f"{order.side} {order.symbol}, {order.filled:f} filled"),
                ("evidence", self.reason),
            ],
        )


def rejected(
    method: str, error: str, params: Mapping[str, Any], req_id: Optional[int] = None, hint: str = ""
) -> OrderRejected:
    """Return the error for a refusal in the exchange's words; ``hint`` is a sentence of help."""
    if error.startswith(PERMISSION_DENIED):
        hint = f"The API key needs the permission {permission_for(method)!r}"
    name = params.get("cl_ord_id")
    cl_ord_id = name if isinstance(name, str) else None
    return OrderRejected(method, error, req_id=req_id, cl_ord_id=cl_ord_id, hint=hint)


def outcome_unknown(request: TradingRequest, reason: str) -> OrderOutcomeUnknown:
    """Return the error for a request that may have reached the exchange and has no clear reply."""
    names = names_of(request.params)
    return OrderOutcomeUnknown(
        request.method,
        reason,
        cl_ord_ids=names.cl_ord_ids,
        order_ids=names.order_ids,
        order_userrefs=names.userrefs,
        sent_at=request.our_time,
        deadline=parse_time(request.params.get("deadline")),
    )
