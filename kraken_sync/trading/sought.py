"""Which order is looked for: its names, and what cannot be it although it has one of them."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from ..core.orders.record import Record
from ..core.session.account_views import Known
from ..core.wire.times import parse_time
from ..errors import KrakenError
from ..io.rest import Rest
from .unresolved import Name, Unknown

EARLIER = 2.0
"""An order that was created more than this many seconds before the request was sent is another order."""
ADDS = ("add_order", "batch_add")


class SoughtOrder:
    """The order that a request with an unknown outcome was about.

    Args:
        name: its name.
        unknown: the request, if this client sent it.
        method: the request's method.
    """

    def __init__(self, name: Name, unknown: Optional[Unknown], method: str) -> None:
        self.name = name
        self.names: List[Name] = [name]
        """The name, and what else it is found to be called."""
        self._unknown = unknown
        self._adds = method in ADDS

    def is_record(self, record: Record) -> bool:
        """Return whether a record of the executions has one of the names."""
        plain = [_plain(name) for name in self.names if isinstance(name, str)]
        fields = record.fields
        named = record.order_id in self.names or _plain(str(fields.get("cl_ord_id") or "")) in plain
        return named or fields.get("order_userref") == self.name

    def is_evidence(self, known: Known) -> bool:
        """Return whether an order with the name is certainly the sought one, and was reported."""
        # An acknowledged order without a report may have ended in a gap: its pending_new is no evidence.
        if known.doubtful:
            return False
        order_id = known.order.order_id
        if self._unknown is not None and not known.created and order_id not in self.names:
            return False
        return not self._another(order_id, parse_time(known.created))

    def earlier(self, created: Optional[float]) -> bool:
        """Return whether an order that was created at this time existed before the request was sent."""
        sent_at = self._unknown.request.their_time if self._unknown is not None else None
        return sent_at is not None and created is not None and created < sent_at - EARLIER

    def over_rest(self, rest: Rest, deadline: Optional[float]) -> Dict[str, Any]:
        """Return REST's entries for the order by ``order_id``; open ones before closed ones. Blocks."""
        entries: Dict[str, Any] = {}
        ids = [name for name in self.names if isinstance(name, str) and _order_id(name)]
        if ids:
            entries.update(_known_only(rest, ids, deadline))
        named: Dict[str, Any] = (
            {"userref": self.name} if isinstance(self.name, int) else {"cl_ord_id": self.name}
        )
        # Open orders first: that an order can still trade is the more urgent answer.
        for endpoint, key in (("OpenOrders", "open"), ("ClosedOrders", "closed")):
            if entries:
                break
            params = {**named, "trades": True}
            result = rest.request("POST", f"/0/private/{endpoint}", params, deadline=deadline)
            found = result.get(key) if isinstance(result, dict) else None
            for order_id, entry in (found or {}).items():
                if self._is_entry(order_id, entry):
                    entries[order_id] = entry
        return entries

    def _is_entry(self, order_id: str, entry: Any) -> bool:
        """Return whether REST's entry is about the order; REST may ignore a filter that it does not know."""
        if not isinstance(entry, dict):
            return False
        opened = entry.get("opentm")
        if self._another(order_id, float(opened) if isinstance(opened, (int, float)) else None):
            return False
        if isinstance(self.name, int):
            return bool(entry.get("userref") == self.name)
        return _plain(str(entry.get("cl_ord_id") or "")) == _plain(str(self.name))

    def _another(self, order_id: str, created: Optional[float]) -> bool:
        """Return whether an order with the name existed before the lost one was sent."""
        unknown = self._unknown
        if unknown is None or not self._adds or order_id in self.names:
            return False
        return order_id in unknown.request.before or self.earlier(created)


def _known_only(rest: Rest, ids: List[str], deadline: Optional[float]) -> Dict[str, Any]:
    try:
        return rest.query_orders(ids, deadline)
    except KrakenError as error:
        if "EOrder:" in str(error) or "EGeneral:Invalid arguments" in str(error):
            return {}  # the name only looks like an order id: no order has it
        raise


def _order_id(name: str) -> bool:
    """Return whether a name has the form of the exchange's order ids: REST refuses a query for any other."""
    return [len(part) for part in name.split("-")] == [6, 5, 6]


def _plain(name: str) -> str:
    # The exchange accepts a UUID with or without dashes, and may write it the other way.
    return name.replace("-", "").lower() if len(name) in (32, 36) else name
