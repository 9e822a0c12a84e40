"""Finds out what became of a request whose reply was lost.

The sources are the executions (their snapshot has the open orders and the last 50 fills), then REST, and the
reply if it came late.

That an order never arrived is said only from evidence that cannot lag behind. Its deadline has passed on the
exchange's clock, even if the reading of that clock is wrong by as much as it can be. And either the
executions were received without a hole from before it was sent until after that, and do not have it; or REST
does not know it, although it was asked so long after that as REST may be behind (``Timing.rest_lag``). An
order that had the same name before is never taken for the lost one (:mod:`.sought`).

While there is no private connection, REST alone is asked, also for the time.
"""

from __future__ import annotations

import time
from functools import partial
from math import inf
from typing import List, Optional, Tuple, Union

from ..core.orders.order import CLOSED, OPEN, Order
from ..core.orders.params import IDENTIFYING
from ..core.orders.record import Record, orders_of_rest
from ..core.session import account_views
from ..core.wire.error_texts import AMBIGUOUS
from ..core.wire.numbers import decimal_of
from ..core.wire.places import PRIVATE
from ..core.wire.times import parse_time
from ..errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    CredentialsMissing,
    ExchangeMismatch,
    KrakenError,
    OrderOutcomeUnknown,
    PermissionRefused,
    RateLimited,
    ReplyTimeout,
)
from ..io.connection.connection import Connection
from ..io.rest import patience
from ..io.waiting import deadline_of
from ..runtime import Runtime
from .outcomes import Outcome, Reconciled
from .sender import OrderSender
from .sought import ADDS, SoughtOrder, moment_of, name_of
from .unresolved import Name, Unknown

MARGIN = 1.0
"""Seconds after the deadline before an order that is not found counts as never arrived."""
PAUSE = 0.25
"""Seconds between two attempts."""
LINE_PATIENCE = 2.0
"""Seconds (but no more than half of the time) to wait for a private connection before REST alone is asked."""
MUCH_DOUBT = 0.25
"""If the reading of the exchange's clock may be wrong by more seconds than this, it is renewed."""


class Reconciler:
    """One call of :meth:`SpotWSClient.reconcile`.

    Args:
        runtime: the client's connections.
        sender: has the requests whose outcome is unknown.
        order: the error of the request, or a name of the order.
        deadline: the last moment at which the engine could take the order (RFC 3339 or seconds since the
            epoch), for an order that this client did not send.
    """

    def __init__(
        self,
        runtime: Runtime,
        sender: OrderSender,
        order: Union[Name, OrderOutcomeUnknown],
        deadline: Union[str, float, None],
    ) -> None:
        self._runtime = runtime
        self._sender = sender
        self._name = name = name_of(order)
        self._unknown = sender.unresolved.find(order, name)
        error = self._unknown.error if self._unknown is not None else None
        if isinstance(order, OrderOutcomeUnknown):
            error = order
        self._method = error.method if error is not None else "add_order"
        self._deadline = error.deadline if error is not None else None
        if deadline is not None:
            self._deadline = moment_of(deadline)
        self._sought = SoughtOrder(name, self._unknown, self._method)
        self._exists = False
        """Whether REST has ever known it, or it was acknowledged: then it has arrived."""
        self._seen_until: Optional[int] = None
        """How many snapshots of the executions, which have no hole, there were before they were fetched anew:
        the last reports may be missing."""
        self._asked_for_line = False
        self._rest_time: Optional[float] = None
        """The exchange's time by REST, less the monotonic time, if it was asked."""
        self._why = "nothing was found yet"
        self._rest_not_before = 0.0
        self._rest_pause = 0.5
        self._last_question = False
        self._line_until = 0.0

    def run(self, timeout: Optional[float]) -> Reconciled:
        """Ask until the outcome is known or ``timeout`` seconds are over (None: until it is
        known). Blocks.
        """
        until = deadline_of(timeout)
        patience_left = LINE_PATIENCE if timeout is None else min(LINE_PATIENCE, timeout / 2)
        self._line_until = time.monotonic() + patience_left
        while True:
            found = self._attempt(until)
            if found is not None:
                if self._unknown is not None and found.outcome is not Outcome.STILL_UNKNOWN:
                    self._sender.unresolved.settle(self._unknown, self._name)
                return found
            left = PAUSE if until is None else min(PAUSE, until - time.monotonic())
            if left <= 0:
                return Reconciled(Outcome.STILL_UNKNOWN, None, self._why)
            time.sleep(left)

    def _attempt(self, until: Optional[float]) -> Optional[Reconciled]:
        # First, because a late reply may tell the order_id, by which the order is found without doubt.
        rejected = self._late_reply()
        try:
            connection = self._line()
            left, how_far = self._time_until_deadline(connection, until)
            passed = left < 0
            found = self._in_executions(connection) if connection is not None else None
            asked_rest = found is None and time.monotonic() >= self._rest_not_before
            if asked_rest:
                found = self._over_rest(connection, until)
                # OpenOrders and ClosedOrders count against the REST counter of the API key: ask less and
                # less often.
                self._rest_pause = min(30.0, 2 * self._rest_pause)
                self._rest_not_before = time.monotonic() + self._rest_pause
        except RateLimited as error:
            self._rest_not_before = time.monotonic() + patience(error)
            self._why = f"the exchange could not be asked: {error}"
            return None
        except PermissionRefused as error:  # asking again cannot help
            return Reconciled(Outcome.STILL_UNKNOWN, None, str(error))
        except (ClientClosed, CredentialsMissing, ExchangeMismatch):
            raise
        except KrakenError as error:
            if until is None or time.monotonic() < until:
                self._why = f"the exchange could not be asked: {error}"
            return None
        if found is not None:
            lagged = -left >= self._runtime.timing.rest_lag
            return self._judged(found, connection, passed and (lagged or not asked_rest), how_far)
        if rejected is not None:
            return Reconciled(Outcome.NEVER_ARRIVED, None, f"the exchange rejected it: {rejected}")
        if self._deadline is None:
            self._why = (
                "there is no such order so far, and no deadline is known after which there cannot be one: "
                "pass deadline="
            )
            return None
        if not passed:
            self._why = f"there is no such order so far; {how_far}"
            return None
        if self._exists:
            return None
        watched = self._unknown.request.watched if self._unknown is not None else None
        if connection is not None and self._seen_until is not None:
            lacks = partial(
                account_views.lacks_order, meant=self._sought.could_be, generation=self._seen_until
            )
            if not connection.read(lacks):
                return None
            reason = (
                "its deadline has passed, and the executions, which have no hole since it was sent, lack it"
            )
            return Reconciled(Outcome.NEVER_ARRIVED, None, reason)
        if (
            connection is not None
            and not self._sought.may_end_at_once
            and self._all_seen(connection, watched, time.monotonic() + left, until)
        ):
            # A hole shows with the next report only, so a fresh snapshot must lack it, too.
            why = "an order is looked for"
            anew = partial(account_views.resync_orders, reason=why, now=time.monotonic())
            self._seen_until = connection.change(anew)
            return None
        lag = self._runtime.timing.rest_lag
        if -left < lag:
            self._why = (
                f"REST does not know it so far, but may be {lag:g} s behind: ask {lag + left:.0f} s later"
            )
        elif not asked_rest:  # the last answer was too early, so one more question decides
            if not self._last_question:
                self._last_question, self._rest_not_before = True, 0.0
        else:
            words = (
                "neither executions nor REST know it" if connection is not None else "REST does not know it"
            )
            reason = f"its deadline has passed {-left:.0f} s ago, and {words}"
            return Reconciled(Outcome.NEVER_ARRIVED, None, reason)
        return None

    def _line(self) -> Optional[Connection]:
        """Return the private connection, which keeps the account's orders from now on; None after a while
        without one.
        """
        connection = self._runtime.connection(PRIVATE)
        if connection is None or not (connection.worked or connection.failure):
            if self._asked_for_line:
                return None  # each further attempt would open connections in vain
            self._asked_for_line = True
            try:
                connection = self._runtime.private(
                    "reconcile()", max(0.0, self._line_until - time.monotonic())
                )
            except (ConnectFailed, ConnectionLost, ReplyTimeout, PermissionRefused, ExchangeMismatch):
                return None
        connection.keep_orders()
        if connection.open:
            return connection
        if time.monotonic() < self._line_until:
            raise ConnectionLost("there is no private connection")
        return None

    def _all_seen(
        self,
        connection: Connection,
        watched: Optional[Tuple[object, int, int]],
        moment: float,
        until: Optional[float],
    ) -> bool:
        """Return whether every report until ``moment`` (monotonic) was received since ``watched``."""
        if watched is None or connection.read(account_views.unbroken_orders) != watched:
            return False
        try:  # the answer comes after every report that the exchange has sent before
            connection.request({"method": "ping"}, until)
        except (ConnectionLost, ReplyTimeout):
            return False
        return connection.read(partial(account_views.watched_since, watched=watched, moment=moment))

    def _time_until_deadline(
        self, connection: Optional[Connection], until: Optional[float]
    ) -> Tuple[float, str]:
        """Return the seconds until the engine certainly cannot take the request any more (negative after
        that), and the same in words.
        """
        if connection is not None or self._rest_time is None:
            clock = self._sender.server_time(connection, until, MUCH_DOUBT)
            if clock.moment is None:
                raise ConnectionLost("the exchange's time is not known")
            moment, doubt = clock.moment, clock.doubt
            if connection is None:
                self._rest_time = moment - time.monotonic()
        else:  # asking REST once is enough
            moment, doubt = self._rest_time + time.monotonic(), 0.0
        if self._deadline is None:
            return inf, "it has no deadline"
        # Every doubt counts against "passed": the worst answer would be "never arrived" of an order that is
        # then filled.
        left = self._deadline + MARGIN + doubt - moment
        return left, f"its deadline is {left:.1f} s ahead" if left > 0 else "REST may be behind"

    def _judged(
        self, found: Reconciled, connection: Optional[Connection], passed: bool, how_far: str
    ) -> Optional[Reconciled]:
        """For an amend or an edit: return the outcome if it has had its effect or cannot have it any more."""
        # An edit cancels its order and places another one, with a new order_id that only the lost reply told.
        if self._method == "edit_order" and found.outcome is Outcome.CANCELED and self._unknown is not None:
            return self._replacement(connection, self._unknown, found) or (
                Reconciled(
                    Outcome.STILL_UNKNOWN,
                    found.order,
                    "the order is canceled, and which one replaces it cannot be told; look at client.orders",
                )
                if passed
                else None
            )
        if self._method not in ("amend_order", "edit_order") or found.outcome is not Outcome.LIVE:
            return found
        if passed or self._has_effect(found):
            return found
        self._why = f"the order is live and not changed so far; {how_far}"
        return None

    def _has_effect(self, found: Reconciled) -> bool:
        """Return whether the order now is what the amend asked for; False if that cannot be told."""
        if self._unknown is None or found.order is None or self._method != "amend_order":
            return False
        seen = {"order_qty": found.order.qty, "limit_price": found.order.limit_price}
        wanted = {
            name: value for name, value in self._unknown.request.params.items() if name not in IDENTIFYING
        }
        return bool(wanted) and all(
            name in seen and seen[name] == decimal_of(name, value) for name, value in wanted.items()
        )

    def _replacement(
        self, connection: Optional[Connection], unknown: Unknown, found: Reconciled
    ) -> Optional[Reconciled]:
        """Return the outcome of the one order that came since and is what the edit asked for, else None."""
        wanted, old = unknown.request.params, found.order
        if old is None or connection is None:
            return None
        fits = {
            "symbol": old.symbol,
            "side": old.side,
            "order_type": old.order_type,
            "order_qty": wanted.get("order_qty", old.qty),
            "limit_price": wanted.get("limit_price", old.limit_price),
        }
        userref = wanted.get("order_userref", old.order_userref)

        def replaces(record: Record) -> bool:
            return (
                record.order_id not in unknown.request.before
                and all(record.fields.get(name) == value for name, value in fits.items())
                and not record.fields.get("cl_ord_id")  # the exchange does not edit orders that have one
                and record.order().order_userref == userref
                and not self._sought.earlier(parse_time(record.created))
            )

        found_now = connection.read(lambda session: account_views.known_orders(session, replaces)) or []
        orders = [known.order for known in found_now]
        return self._told(orders, "the executions") if len(orders) == 1 else None

    def _late_reply(self) -> Optional[str]:
        """Use a reply that came late: note the order's id, or return the error if it was rejected."""
        unknown = self._unknown
        if unknown is None or not unknown.request.replies:
            return None
        reply = unknown.request.replies[0]
        result = self._runtime.decode(reply.frame).get("result")
        for entry in result if isinstance(result, list) else [result]:
            if isinstance(entry, dict) and self._name in (entry.get("cl_ord_id"), entry.get("order_userref")):
                order_id = entry.get("order_id")
                if isinstance(order_id, str) and order_id:
                    self._exists = True
                    if order_id not in self._sought.names:
                        self._sought.names.append(order_id)
                    return None
                if order_id is None and "error" in entry:
                    return str(entry["error"])
        # For an amend or edit the order exists whatever the reply says, so a refusal does not decide.
        error = reply.error
        if error is None or error.startswith(AMBIGUOUS) or self._method not in ADDS:
            return None
        return error

    def _in_executions(self, connection: Connection) -> Optional[Reconciled]:
        found = connection.read(lambda session: account_views.known_orders(session, self._sought.is_record))
        orders = [known.order for known in found or [] if self._sought.is_evidence(known)]
        return self._told(orders, "the executions")

    def _over_rest(self, connection: Optional[Connection], until: Optional[float]) -> Optional[Reconciled]:
        # Before the first request: reports that come while REST is asked are newer than its answer.
        asked_at = time.monotonic()
        entries = self._sought.over_rest(self._runtime.rest, until)
        if not entries:
            return None
        self._exists = True
        # REST has another name for the pair, so the symbol is taken from the request.
        symbol = self._unknown.request.params.get("symbol") if self._unknown is not None else None
        if connection is None:
            found = self._told(orders_of_rest(entries, asked_at, symbol), "REST")
            if found is not None and found.outcome is Outcome.LIVE:
                lag = self._runtime.timing.rest_lag
                reason = f"REST has it open, may be {lag:g} s behind, and there is no connection to ask"
                return Reconciled(found.outcome, found.order, reason)
            return found
        orders = connection.change(
            lambda session: account_views.settle_orders(session, entries, asked_at, time.monotonic(), symbol)
        )
        found = self._told(orders, "REST")
        if found is None:
            # The executions must know every open order. If they do not know this one, they have missed
            # something, or REST is behind: a fresh snapshot decides.
            self._why = "REST has it open, and the executions do not know it"
            connection.change(partial(account_views.resync_orders, reason=self._why, now=time.monotonic()))
        return found

    def _told(self, orders: List[Order], where: str) -> Optional[Reconciled]:
        """Return the outcome that an order's state means, or None if it means none."""
        # An order_userref need not be unique, so several orders may be meant; a cl_ord_id finds the latest.
        if len(orders) > 1 and isinstance(self._name, int):
            ids = ", ".join(order.order_id for order in orders[:5])
            reason = f"{len(orders)} orders have this order_userref since then: {ids}"
            return Reconciled(Outcome.STILL_UNKNOWN, None, reason)
        # The latest order first; a status of "unknown" decides nothing.
        for order in reversed(orders):
            if order.status in OPEN:
                return Reconciled(Outcome.LIVE, order, f"{where} have it open")
            if order.status == "filled":
                return Reconciled(Outcome.FILLED, order, f"{where} have it filled")
            if order.status in CLOSED:
                return Reconciled(Outcome.CANCELED, order, f"{where} have it {order.status}")
        return None
