"""Finding out what became of a request whose reply was lost.

First the reply, if it came late; then the executions, whose snapshot has the open orders and the last 50
fills; then REST. That there never was such an order is said only when the engine cannot take it any more:
its deadline has passed on the exchange's clock, and the exchange was asked after that.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Union

from .core.account import Record
from .core.order import CLOSED, OPEN
from .core.times import parse_time
from .errors import ClientClosed, KrakenError, OrderOutcomeUnknown, PermissionRefused
from .io.deadline import deadline_of
from .io.private import PrivateConnection
from .reconciled import Outcome, Reconciled
from .replies import error_of

if TYPE_CHECKING:
    from .trading import Trading, Unknown

MARGIN = 1.0
"""Seconds after the deadline before a missing order counts as missing."""
PAUSE = 0.25
AMBIGUOUS = ("EGeneral:Internal error", "EService:Timeout")

Name = Union[str, int]


class Reconciler:
    """One call of :meth:`Trading.reconcile`."""

    def __init__(
        self, client: Trading, order: Union[Name, OrderOutcomeUnknown], deadline: Union[str, float, None]
    ) -> None:
        self._client = client
        self._name = name = name_of(order)
        self._unknown: Optional[Unknown] = client._unknown.get(name)
        error = self._unknown.error if self._unknown is not None else None
        if isinstance(order, OrderOutcomeUnknown):
            error = order
        self._deadline = error.deadline if error is not None else None
        if deadline is not None:
            self._deadline = parse_time(deadline) if isinstance(deadline, str) else float(deadline)
        self._sent_at = error.sent_at if error is not None else 0.0
        self._names: List[Name] = [name]
        self._why = "nothing was found yet"

    def run(self, timeout: Optional[float]) -> Reconciled:
        """Ask until it is known, or the time is over."""
        ends = deadline_of(timeout)
        while True:
            found = self._attempt(ends)
            if found is not None:
                if self._unknown is not None and found.outcome is not Outcome.STILL_UNKNOWN:
                    self._client._unknown.pop(self._name, None)
                return found
            left = PAUSE if ends is None else min(PAUSE, ends - time.monotonic())
            if left <= 0:
                return Reconciled(Outcome.STILL_UNKNOWN, None, self._why)
            time.sleep(left)

    def _attempt(self, ends: Optional[float]) -> Optional[Reconciled]:
        rejected = self._late_reply()
        if rejected is not None:
            return rejected
        try:
            line = self._client._private(
                "reconcile()", None if ends is None else max(0.0, ends - time.monotonic())
            )
            line.keep_orders()
            asked_at = self._client._server_time(line, ends)
            found = self._in_executions(line) or self._over_rest(line, ends)
        except PermissionRefused as error:
            return Reconciled(Outcome.STILL_UNKNOWN, None, str(error))
        except ClientClosed:
            raise
        except KrakenError as error:
            self._why = f"the exchange could not be asked: {error}"
            return None
        if found is not None:
            return found
        if self._deadline is None:
            self._why = "there is no such order so far, and no deadline after which there cannot be one"
            return None
        if asked_at > self._deadline + MARGIN:
            return Reconciled(
                Outcome.NEVER_ARRIVED,
                None,
                "its deadline has passed, and neither executions nor REST know it",
            )
        self._why = f"there is no such order so far; its deadline is {self._deadline - asked_at:.1f} s ahead"
        return None

    def _late_reply(self) -> Optional[Reconciled]:
        """What a reply that came after all says."""
        unknown = self._unknown
        if unknown is None or not unknown.request.replies:
            return None
        reply = unknown.request.replies[0]
        error = error_of(reply)
        if error is not None:
            if error.startswith(AMBIGUOUS) or unknown.request.method != "add_order":
                return None
            return Reconciled(Outcome.NEVER_ARRIVED, None, f"the exchange rejected it: {error}")
        result = self._client._decode(reply.frame).get("result")
        for entry in result if isinstance(result, list) else [result]:
            if isinstance(entry, dict) and self._name in (entry.get("cl_ord_id"), entry.get("order_userref")):
                if isinstance(entry.get("order_id"), str):
                    self._client._took(entry["order_id"], self._fields(unknown))
                    self._names.append(entry["order_id"])
                elif "error" in entry:
                    reason = f"the exchange rejected it: {entry['error']}"
                    return Reconciled(Outcome.NEVER_ARRIVED, None, reason)
        return None

    def _fields(self, unknown: Unknown) -> Dict[str, Any]:
        orders = unknown.params.get("orders", [unknown.params])
        own = [one for one in orders if self._name in (one.get("cl_ord_id"), one.get("order_userref"))]
        return {"symbol": unknown.params.get("symbol"), **(own[0] if own else {})}

    def _in_executions(self, line: PrivateConnection) -> Optional[Reconciled]:
        with line.changed:
            orders = line.session.account.orders
            if not orders.live:
                return None
            records = [orders.find(name) for name in self._names if isinstance(name, str)]
            if isinstance(self._name, int):
                records += [one for one in orders.with_userref(self._name) if self._since(one.created)]
            return self._told([record for record in records if record is not None], "the executions")

    def _over_rest(self, line: PrivateConnection, ends: Optional[float]) -> Optional[Reconciled]:
        entries: Dict[str, Any] = {}
        asked_at = time.monotonic()
        ids = [name for name in self._names if isinstance(name, str) and _order_id(name)]
        if ids:
            entries.update(_known_only(line, ids, ends))
        named: Dict[str, Any] = (
            {"userref": self._name} if isinstance(self._name, int) else {"cl_ord_id": self._name}
        )
        for endpoint, key in (("OpenOrders", "open"), ("ClosedOrders", "closed")):
            if entries:
                break
            extra = {"start": int(self._sent_at) - 60} if key == "closed" and self._sent_at else {}
            params = {**named, **extra, "trades": True}
            result = self._client._rest.request("POST", f"/0/private/{endpoint}", params, deadline=ends)
            found = result.get(key) if isinstance(result, dict) else None
            for order_id, entry in (found or {}).items():
                if self._meant(entry):
                    entries[order_id] = entry
        now = time.monotonic()
        with line.changed:
            orders = line.session.account.orders
            for order_id, entry in entries.items():
                symbol = self._fields(self._unknown).get("symbol") if self._unknown is not None else None
                orders.settle(order_id, entry, asked_at, now, symbol)
            line.changed.notify_all()
            records = [orders.records[order_id] for order_id in entries]
            return self._told(records, "REST")

    def _meant(self, entry: Any) -> bool:
        """Whether REST's answer is really about the order; it may ignore a filter that it does not know."""
        if not isinstance(entry, dict):
            return False
        if isinstance(self._name, int):
            opened = entry.get("opentm")
            young = not isinstance(opened, (int, float)) or opened >= self._sent_at - 60
            return bool(entry.get("userref") == self._name and young)
        return _plain(str(entry.get("cl_ord_id") or "")) == _plain(str(self._name))

    def _since(self, created: str) -> bool:
        moment = parse_time(created)
        return moment is None or moment >= self._sent_at - 60

    def _told(self, records: List[Record], where: str) -> Optional[Reconciled]:
        """The outcome, if one of these is the order. Called under the lock."""
        for record in reversed(records):
            order = record.order()
            if record.status in OPEN:
                return Reconciled(Outcome.LIVE, order, f"{where} have it open")
            if record.status == "filled":
                return Reconciled(Outcome.FILLED, order, f"{where} have it filled")
            if record.status in CLOSED:
                return Reconciled(Outcome.CANCELED, order, f"{where} have it {record.status}")
        return None


def _known_only(line: PrivateConnection, ids: List[str], ends: Optional[float]) -> Dict[str, Any]:
    try:
        return line.query_orders(ids, ends)
    except PermissionRefused:
        raise
    except KrakenError as error:
        if "EOrder:" in str(error) or "EGeneral:Invalid arguments" in str(error):
            return {}  # no order has this id
        raise


def _order_id(name: str) -> bool:
    """Whether a name has the form of the exchange's order ids, so that REST may be asked for it as one."""
    return [len(part) for part in name.split("-")] == [6, 5, 6]


def _plain(name: str) -> str:
    return name.replace("-", "").lower() if len(name) in (32, 36) else name


def name_of(order: Union[Name, OrderOutcomeUnknown]) -> Name:
    """The name by which an order is looked for."""
    if not isinstance(order, OrderOutcomeUnknown):
        return order
    if len(order.cl_ord_ids) > 1:
        raise ValueError("this was a batch: reconcile each of error.cl_ord_ids")
    name = order.cl_ord_id or order.order_id or order.order_userref
    if name is None:
        raise ValueError(f"{order.method} is about no single order; look at client.orders")
    return name
