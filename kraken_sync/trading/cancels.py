"""The canceling methods. A cancel may be repeated, and its effect can be seen in the executions."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, Mapping, Optional, Sequence

from ..core.orders.order import CLOSED, UNKNOWN
from ..core.session import account_views
from ..core.session.account_views import Named, status_word
from ..core.session.requests import TradingRequest
from ..core.wire.error_texts import ABOUT_ONE_ORDER, NOT_OPEN
from ..errors import KrakenError, OrderNotSent
from ..io.connection.connection import Connection
from ..io.waiting import sooner, time_left
from ..runtime import Runtime
from .orders import Orders
from .outcomes import rejected
from .reconcile import Reconciler
from .sender import OrderSender
from .unresolved import Unknown

Json = Dict[str, Any]
SEEN_WITHIN = 2.0
"""Seconds to wait until the executions show the effect of a cancel."""


class Cancels:
    """The canceling methods of a client. Any thread.

    Args:
        sender: sends the requests.
        orders: the account's orders, to find those with an ``order_userref``.
        runtime: the client's connections, to ask REST what became of an order.
    """

    def __init__(self, sender: OrderSender, orders: Orders, runtime: Runtime) -> None:
        self._runtime = runtime
        self._sender = sender
        self._orders = orders

    def cancel_order(
        self, params: Mapping[str, Any], deadline: Optional[float], via: Optional[str], *, one: bool
    ) -> Any:
        """Cancel orders; see :meth:`SpotWSClient.cancel_order`. Blocks up to ``deadline`` (monotonic
        seconds).

        Args:
            params: the checked parameters.
            deadline: until when to wait; None to wait for ever.
            via: the way that the caller wants, or None.
            one: whether the caller gave a single id, so that the result is a dict rather than a list.

        Raises:
            OrderRejected: the exchange refused the request, or the single order could not be canceled.
            OrderNotSent, OrderOutcomeUnknown: see :class:`OrderSender`.
        """
        userrefs = params.get("order_userref", [])
        names: List[Named] = [
            (kind, name) for kind in ("order_id", "cl_ord_id") for name in params.get(kind, [])
        ]
        single = one and len(names) == 1 and not userrefs
        try:
            connection = self._sender.connection("cancel_order", deadline, via)
        except OrderNotSent:  # there is none, and never was: REST alone
            if via == "websocket":
                raise
            count = len(names) + len(userrefs)
            alone = self._sender.request("cancel_order", params, deadline, count, via=via)
            self._sender.over_rest(alone)
            return self._from_rest(alone, names, userrefs, single)
        given, replies = tuple(names), len(names)
        for userref in userrefs:
            # Over REST there is nothing to wait for: the exchange finds them.
            waits = connection.open and via != "rest"
            found = self._with_userref(connection, userref, deadline) if waits else []
            # One reply per canceled order, and how many orders have the userref only the exchange knows: this
            # is a guess from the executions, which therefore decide in the end (confirmed, below).
            replies += max(1, len(found))
            names += found
        gone = partial(account_views.all_ended, names=names)
        request, lost = self._sender.send_repeatable(
            "cancel_order",
            params,
            deadline,
            replies,
            via=via,
            confirmed=gone if userrefs and names else None,
            done=gone if names else None,  # of no orders at all it would be true
        )
        # After a lost reply the executions know more than the reply to a repetition.
        if request is None or (lost is not None and names and connection.read(gone)):
            return self._as_seen(connection, names, single)
        # That nothing open has this id is no refusal after a repetition: the first attempt may have done it.
        if lost is not None and (request.refusal or "").startswith(NOT_OPEN):
            return self._after_repeat(connection, names, single, lost, deadline)
        if request.by_rest:
            result = self._from_rest(request, given, userrefs, single)
        else:
            result = self._as_replied(connection, request, names, userrefs, params, single, deadline)
        return result if lost is None else self._corrected(connection, result, deadline)

    def _after_repeat(
        self,
        connection: Connection,
        names: Sequence[Named],
        single: bool,
        lost: Unknown,
        deadline: Optional[float],
    ) -> Any:
        """Find out whether an order that is not open any more was canceled by the first attempt."""
        if self._find_out(connection, names, deadline):
            return self._as_seen(connection, names, single)
        self._sender.unresolved.add(lost)
        raise lost.error

    def _find_out(self, connection: Connection, names: Sequence[Named], deadline: Optional[float]) -> bool:
        """Return whether all of these orders have ended, by the executions or else by REST."""
        # Half of the time at most, so that there is some left to ask REST.
        left = time_left(deadline)
        seen_by = sooner(deadline, SEEN_WITHIN if left is None else min(SEEN_WITHIN, left / 2))
        if self._wait_gone(connection, names, seen_by):
            return True
        for named, status in zip(names, self._statuses(connection, names)):
            if status not in CLOSED:
                # What REST says is entered into the account's orders.
                left = time_left(sooner(deadline, SEEN_WITHIN))
                Reconciler(self._runtime, self._sender, named[1], None).run(left)
        # Not only while the table is up to date: an order that has ended stays ended.
        return all(status in CLOSED for status in self._statuses(connection, names))

    def _with_userref(self, connection: Connection, userref: int, deadline: Optional[float]) -> List[Named]:
        """Return the open orders with this userref, as far as the executions tell."""
        # Half of the time at most: a cancel that waits for the executions must still have time to be
        # sent.
        left = time_left(deadline)
        self._have_executions(None if left is None else sooner(deadline, left / 2))
        return connection.read(lambda session: account_views.open_with_userref(session, userref))

    def _have_executions(self, deadline: Optional[float]) -> None:
        """Wait for the account's orders; without them a cancel is sent all the same."""
        try:
            self._orders.wait_live(time_left(deadline))
        except KrakenError:
            pass  # the API key may lack the permission to see orders, and still be allowed to cancel

    def _statuses(self, connection: Connection, names: Sequence[Named]) -> List[Optional[str]]:
        return connection.read(lambda session: account_views.statuses(session, names))

    def _corrected(self, connection: Connection, result: Any, deadline: Optional[float]) -> Any:
        """Remove errors from a repeated cancel's result for orders that the first attempt has canceled."""
        failed = [one for one in result if "error" in one] if isinstance(result, list) else []
        names: List[Named] = [next(iter(entry.items())) for entry in failed]
        if names:
            self._find_out(connection, names, deadline)
        for entry, status in zip(failed, self._statuses(connection, names)):
            if status == "canceled":
                del entry["error"]
            elif status not in CLOSED:
                entry["error"] += " (the reply to a first attempt was lost: it may have canceled the order)"
        return result

    def _as_seen(
        self, connection: Connection, names: Sequence[Named], single: bool, failed: Sequence[str] = ()
    ) -> Any:
        """Return the result that the executions give; for an order whose end they do not show (yet), that of
        the replies, of which ``failed`` are the errors.

        Raises:
            OrderRejected: a single order was not canceled.
        """
        entries: List[Json] = []
        for (kind, name), status in zip(names, self._statuses(connection, names)):
            if status == "canceled" or (status not in CLOSED and not failed):
                error = {}
            elif status not in CLOSED:
                error = {"error": failed[0]}
            else:  # the exchange's own words for canceling an order that has ended
                error = {"error": f"{NOT_OPEN[0]} (it is {status_word(status)})"}
            entries.append({kind: name, **error})
        if single and "error" in entries[0]:
            raise rejected("cancel_order", entries[0]["error"], dict([names[0]]))
        return entries[0] if single else entries

    def _as_replied(
        self,
        connection: Connection,
        request: TradingRequest,
        names: Sequence[Named],
        userrefs: Sequence[int],
        params: Mapping[str, Any],
        single: bool,
        deadline: Optional[float],
    ) -> Any:
        """Return the result that the replies give. Raises OrderRejected."""
        error = request.refusal
        about_one = (error or "").startswith(ABOUT_ONE_ORDER) and len(names) == 1 and not userrefs
        if error is not None and about_one and not single:
            return [{**dict(names), "error": error}]  # a list in, a list out, whatever its length
        if error is not None:
            raise rejected("cancel_order", error, dict([names[0]]) if single else params, request.req_id)
        replies = self._sender.messages(request)
        if userrefs:
            if names:
                self._wait_gone(connection, names, sooner(deadline, SEEN_WITHIN))
            failed = [str(reply.get("error")) for reply in replies if reply.get("success") is not True]
            seen = self._as_seen(connection, names, False, failed)
            return seen or [reply["result"] for reply in replies if reply.get("result")]
        if single:
            return replies[0].get("result") or dict([names[0]])
        return _matched(names, replies)

    def _from_rest(
        self, request: TradingRequest, names: Sequence[Named], userrefs: Sequence[int], single: bool
    ) -> Any:
        """Return the result of a request that was answered over REST, one answer for each name, in order.

        Raises:
            OrderRejected: the single order could not be canceled.
        """
        asked = [*names, *(("order_userref", userref) for userref in userrefs)]
        entries: List[Json] = []
        for (kind, name), reply in zip(asked, self._sender.messages(request)):
            error = {} if reply.get("success") is True else {"error": str(reply.get("error"))}
            entries.append({kind: name, **error})
        if single and "error" in entries[0]:
            raise rejected("cancel_order", entries[0]["error"], dict(names[:1]))
        return entries[0] if single else entries

    def _wait_gone(self, connection: Connection, names: Sequence[Named], deadline: Optional[float]) -> bool:
        try:
            gone = connection.wait(lambda session: account_views.all_ended(session, names), deadline)
        except KrakenError:  # the client was closed, or the connection given up: nothing more will be seen
            return False
        return bool(gone)

    def batch_cancel(
        self, params: Mapping[str, Any], deadline: Optional[float], via: Optional[str]
    ) -> List[Json]:
        """Cancel 2 to 50 orders; see :meth:`SpotWSClient.batch_cancel`. Blocks up to ``deadline``.

        Args:
            params: the checked parameters.
            deadline: until when to wait (monotonic seconds); None to wait for ever.
            via: the way that the caller wants, or None.

        Raises:
            OrderRejected: the exchange refused the request.
            OrderNotSent, OrderOutcomeUnknown: see :class:`OrderSender`.
        """
        names: List[Named] = [("order_id", name) for name in params.get("orders", [])]
        names += [("cl_ord_id", name) for name in params.get("cl_ord_id", [])]
        try:
            connection = self._sender.connection("batch_cancel", deadline, via)
        except OrderNotSent:  # there is none, and never was: REST alone
            if via == "websocket":
                raise
            alone = self._sender.request("batch_cancel", params, deadline, via=via)
            self._sender.over_rest(alone)
            return self._batch_from_rest(alone, params, names)
        gone = partial(account_views.all_ended, names=names)
        request, lost = self._sender.send_repeatable("batch_cancel", params, deadline, via=via, done=gone)
        # That nothing open has these ids any more may be what the first of two attempts has brought about.
        expected = lost is not None and request is not None and (request.refusal or "").startswith(NOT_OPEN)
        if request is not None and request.replies and not expected:
            self._sender.result(request, params)
        if request is not None and request.by_rest and not expected:
            answered = self._batch_from_rest(request, params, names)
            if not connection.open or all(entry["status"] != UNKNOWN for entry in answered):
                return answered
        # The reply has a count only, so what became of each order is read from the executions. Waiting for
        # an order that they do not know would last until the deadline.
        self._have_executions(sooner(deadline, SEEN_WITHIN))
        known = [name for name, status in zip(names, self._statuses(connection, names)) if status is not None]
        live = connection.read(lambda session: account_views.is_live(session, account_views.order_table))
        if live:
            self._wait_gone(connection, known, deadline)
        # Of a table that is not up to date, only that an order has ended is still true.
        told = [status if live or status in CLOSED else None for status in self._statuses(connection, names)]
        return [{kind: name, "status": status_word(status)} for (kind, name), status in zip(names, told)]

    def _batch_from_rest(
        self, request: TradingRequest, params: Mapping[str, Any], names: Sequence[Named]
    ) -> List[Json]:
        """Return the result of a batch that was answered over REST, of which only a count is known."""
        count = self._sender.result(request, params).get("count")
        word = "canceled" if count == len(names) else UNKNOWN
        return [{kind: name, "status": word} for kind, name in names]


def _matched(names: Sequence[Named], replies: Sequence[Json]) -> List[Json]:
    """Return one entry per order. A reply names its order only if it succeeded."""
    done = [reply["result"] for reply in replies if isinstance(reply.get("result"), dict)]
    errors = [str(reply.get("error")) for reply in replies if reply.get("success") is not True]
    entries: List[Json] = []
    for kind, name in names:
        if any(result.get(kind) == name for result in done):
            entries.append({kind: name})
        else:
            # A failed reply does not say which order it is about: any of the errors may be this order's.
            entries.append({kind: name, "error": errors.pop(0) if errors else "no reply names it"})
    return entries
