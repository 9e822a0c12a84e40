"""Which order is looked for: its names, and what cannot be it although it has one of them."""

from __future__ import annotations

from math import inf
from typing import Any, Dict, List, Mapping, Optional, Union

from ..core.orders.params import TRIGGERED_TYPES
from ..core.orders.record import Record
from ..core.session.account_views import Known
from ..core.wire.times import parse_time
from ..errors import KrakenError, OrderOutcomeUnknown
from ..io.rest import Rest
from .unresolved import Name, Unknown

EARLIER = 2.0
"""An order that was created more than this many seconds before the request was sent is another order."""
ADDS = ("add_order", "batch_add")
EARLIEST = 1e9
"""Seconds since the epoch; anything smaller is no moment at which this library was used."""


def moment_of(deadline: Union[str, float]) -> float:
    """Return a deadline in seconds since the epoch.

    Raises:
        ValueError: it is no moment; a small number is the time from now that ``add_order`` takes.
    """
    moment = parse_time(deadline) if isinstance(deadline, str) else float(deadline)
    if moment is None or not EARLIEST <= moment < inf:
        raise ValueError(
            f"deadline={deadline!r:.80}: give the moment (RFC 3339, or seconds since the epoch) after which "
            "the engine cannot take the order any more, such as time.time() + 5"
        )
    return moment


def name_of(order: Union[Name, OrderOutcomeUnknown]) -> Name:
    """Return the name by which an order is looked for.

    Raises:
        TypeError: it is neither an OrderOutcomeUnknown nor an id.
        ValueError: the error is about several orders, or about none in particular.
    """
    if not isinstance(order, OrderOutcomeUnknown):
        if isinstance(order, bool) or not isinstance(order, (str, int)):
            raise TypeError(f"reconcile() takes an OrderOutcomeUnknown or an id, not {order!r:.80}")
        if not order:
            raise ValueError(f"reconcile() takes the id of an order, and no order has {order!r}")
        return order
    if len(order.names) > 1:
        raise ValueError(f"{order.method} was about several orders: reconcile each of error.names")
    if not order.names:
        raise ValueError(f"{order.method} is about no single order: call it again, that does no harm")
    return order.names[0]


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
        self._asked = _asked(name, unknown) if unknown is not None and self._adds else {}
        """What was asked for, if an order was to be placed."""

    @property
    def may_end_at_once(self) -> bool:
        """Whether it may be canceled in the moment in which it arrives, so that it is in no list of open
        orders and has no fills.
        """
        order = self._asked
        waits = order.get("order_type") == "limit" or order.get("order_type") in TRIGGERED_TYPES
        at_once = order.get("time_in_force") in ("ioc", "fok") or order.get("post_only")
        return bool(order) and (not waits or bool(at_once))

    def is_record(self, record: Record) -> bool:
        """Return whether a record of the executions has one of the names."""
        plain = [_plain(name) for name in self.names if isinstance(name, str)]
        fields = record.fields
        named = record.order_id in self.names or _plain(str(fields.get("cl_ord_id") or "")) in plain
        return named or fields.get("order_userref") == self.name

    def could_be(self, record: Record) -> bool:
        """Return whether a record has one of the names, and is not certainly another order."""
        fields = record.fields
        return self.is_record(record) and not self._another(
            record.order_id, parse_time(record.created), fields.get("side"), fields.get("symbol")
        )

    def is_evidence(self, known: Known) -> bool:
        """Return whether an order with the name is certainly the sought one, and was reported."""
        # An acknowledged order without a report may have ended in a gap: its pending_new is no evidence.
        if known.doubtful:
            return False
        order_id = known.order.order_id
        if self._unknown is not None and not known.created and order_id not in self.names:
            return False
        order = known.order
        return not self._another(order_id, parse_time(known.created), order.side, order.symbol)

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
        opened, described = entry.get("opentm"), entry.get("descr")
        side = described.get("type") if isinstance(described, dict) else None
        if self._another(order_id, float(opened) if isinstance(opened, (int, float)) else None, side):
            return False
        if isinstance(self.name, int):
            return bool(entry.get("userref") == self.name)
        return _plain(str(entry.get("cl_ord_id") or "")) == _plain(str(self.name))

    def _another(
        self, order_id: str, created: Optional[float], side: Optional[str], symbol: Optional[str] = None
    ) -> bool:
        """Return whether an order with the name is not the one that was asked for: it existed before that was
        sent, or differs in what cannot be amended.
        """
        unknown = self._unknown
        if unknown is None or not self._adds or order_id in self.names:
            return False
        asked = self._asked
        differs = (side and asked.get("side") != side) or (symbol and asked.get("symbol") != symbol)
        return bool(asked and differs) or order_id in unknown.request.before or self.earlier(created)


def _asked(name: Name, unknown: Unknown) -> Mapping[str, Any]:
    """Return the parameters of the order with this name among those that a request was to place."""
    params = unknown.request.params
    orders = params.get("orders")
    for order in orders if isinstance(orders, (list, tuple)) else [params]:
        if name in (order.get("cl_ord_id"), order.get("order_userref")):
            return {"symbol": params.get("symbol"), **order}
    return {}


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
