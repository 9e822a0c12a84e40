"""Sends what is for the exchange's trading engine, and says what became of it.

A request ends as its reply, as :class:`OrderNotSent` (certainly nothing reached the exchange) or as
:class:`OrderOutcomeUnknown`. Nothing is sent twice, but for a request that was refused for its token, and for
what does the same twice as once (cancels, the dead man's switch).
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..core.orders.params import ADDING
from ..core.session.requests import RequestHeld, TradingRequest
from ..core.wire.error_texts import AMBIGUOUS, TOKEN_REFUSED
from ..core.wire.times import Clock
from ..errors import (
    ConnectFailed,
    ConnectionLost,
    KrakenError,
    OrderNotSent,
    OrderOutcomeUnknown,
    ReplyTimeout,
)
from ..io.connection.connection import Connection
from ..io.waiting import time_left
from ..runtime import Runtime
from .order_gate import GateShut, OrderGate
from .outcomes import outcome_unknown, rejected
from .unresolved import Unknown, Unresolved

log = logging.getLogger("kraken_sync")

Json = Dict[str, Any]
ORDER_DEADLINE = 5.0
"""Seconds after which the engine refuses an order that says nothing else; the exchange's own default."""
PATIENCE = 5.0
"""Seconds after which what may be repeated is repeated, for a caller without a deadline."""
PAUSE = 0.05
"""Seconds before what may be repeated, and could not be sent, is tried again."""


class OrderSender:
    """How the trading requests of one client leave, and what is remembered of them. Any thread.

    Args:
        runtime: the client's connections.
        gate: holds back orders.
        unresolved: the requests whose outcome is unknown.
    """

    def __init__(self, runtime: Runtime, gate: OrderGate, unresolved: Unresolved) -> None:
        self._runtime = runtime
        self._gate = gate
        self.unresolved = unresolved

    def request(
        self,
        method: str,
        params: Mapping[str, Any],
        deadline: Optional[float],
        replies: int = 1,
        *,
        placed: Sequence[Mapping[str, Any]] = (),
        confirmed: Optional[Callable[[Any], bool]] = None,
    ) -> TradingRequest:
        """A request with a deadline of the engine, if it adds or changes orders; not sent yet."""
        engine_deadline = None
        if method in ADDING:
            given = params.get("deadline", ORDER_DEADLINE)
            engine_deadline = None if isinstance(given, str) else float(given)
        return TradingRequest(
            method,
            params,
            replies,
            deadline=deadline,
            engine_deadline=engine_deadline,
            placed=placed,
            confirmed=confirmed,
            our_time=time.time(),
        )

    def connection(self, method: str, deadline: Optional[float]) -> Connection:
        """The private connection, keeping the account's orders from now on.

        Raises:
            OrderNotSent: there is none.
        """
        try:
            connection = self._runtime.private(method, time_left(deadline))
        except (ConnectFailed, ConnectionLost, ReplyTimeout) as error:
            raise OrderNotSent(method, str(error)) from error
        connection.keep_orders()
        return connection

    def send(self, request: TradingRequest) -> TradingRequest:
        """Send a request and wait for its replies; the request that was answered.

        Raises:
            OrderNotSent, OrderOutcomeUnknown: see the module.
        """
        connection = self.connection(request.method, request.deadline)
        self._let_through(request, connection)
        error = request.refusal
        if error is None or not error.startswith(TOKEN_REFUSED):
            return request
        # the token had died, so nothing was done: have a new one, and ask once more
        try:
            connection.renew_token(request.deadline)
        except KrakenError as failure:
            raise OrderNotSent(request.method, f"{error}, and no new token: {failure}") from failure
        request = request.anew()
        self._let_through(request, connection)
        return request

    def _let_through(self, request: TradingRequest, connection: Connection) -> None:
        """Send it when the order gate is open; it is asked again at the last moment."""
        policy = self._gate.policy
        request.gated = policy != "open"
        while True:
            if request.gated:
                self._gate.pass_through(request, connection)
            try:
                self._send_once(request, connection)
                return
            except (GateShut, RequestHeld) as shut:
                if policy != "hold":
                    reason = shut.reason if isinstance(shut, GateShut) else str(shut)
                    raise OrderNotSent(request.method, reason) from None

    def _send_once(self, request: TradingRequest, connection: Connection) -> None:
        method = request.method
        try:
            if request.engine_deadline is not None:
                self._have_clock(connection, request.deadline)
            connection.send(request, partial(self._gate.check_books, request))
        except BaseException as error:
            if not request.sent:
                connection.forget(request)
                if isinstance(error, (ConnectionLost, ReplyTimeout)):
                    raise OrderNotSent(method, str(error)) from error
                raise
            unknown = self.outcome_unknown(request, str(error) or type(error).__name__)
            if isinstance(error, KrakenError):
                raise unknown from error
            log.warning("%s", unknown)  # a Ctrl-C, say: the id must not be lost with it
            raise
        refused = request.refusal
        if request.complete and not (refused or "").startswith(AMBIGUOUS):
            return
        if request.confirmed is not None and connection.read(request.confirmed):
            connection.forget(request)
            return
        if refused and request.complete:
            reason = f"the exchange says {refused!r}, which may mean anything"
        elif request.lost is not None:
            reason = f"the connection ended before the reply: {request.lost}"
        else:
            reason = f"no reply within {time.monotonic() - request.sent_at:.1f} s"
        raise self.outcome_unknown(request, reason)

    def _have_clock(self, connection: Connection, deadline: Optional[float]) -> None:
        """Have the exchange's clock read once, for the engine's deadline."""
        try:
            self.server_time(connection, deadline)
        except (ConnectionLost, ReplyTimeout) as error:
            raise ConnectionLost(f"the exchange's clock could not be read: {error}", sent=False) from error

    def server_time(
        self, connection: Connection, deadline: Optional[float], doubt: float = float("inf")
    ) -> Clock:
        """The exchange's clock, as its last replies had it; it is asked if it may be wrong by more than
        ``doubt`` seconds."""
        clock = connection.clock()
        if clock.moment is None or clock.doubt > doubt:
            connection.request({"method": "ping"}, deadline)
            clock = connection.clock()
        return clock if clock.moment is not None else clock._replace(moment=time.time())

    def outcome_unknown(self, request: TradingRequest, reason: str) -> OrderOutcomeUnknown:
        """Remember the request, and return the error for it."""
        request.abandoned = True
        error = outcome_unknown(request, reason)
        self.unresolved.add(Unknown(error, request))
        return error

    # -- what has the same effect twice as once ----------------------------------------------

    def send_repeatable(
        self,
        method: str,
        params: Mapping[str, Any],
        deadline: Optional[float],
        replies: int = 1,
        *,
        confirmed: Optional[Callable[[Any], bool]] = None,
        done: Optional[Callable[[Any], bool]] = None,
    ) -> Tuple[Optional[TradingRequest], Optional[Unknown]]:
        """Send what has the same effect twice as once: if the reply is lost, it is asked again.

        ``confirmed(session)`` ends the first attempt; ``done(session)`` tells, after it, that the second one
        is not needed.

        Returns:
            The request that was answered (None if none was, but it is done), and the first one if its
            reply was lost.
        """
        while True:
            now = time.monotonic()
            halfway = now + PATIENCE if deadline is None else (now + deadline) / 2
            request = self.request(method, params, halfway, replies, confirmed=confirmed)
            try:
                return self.send(request), None
            except OrderNotSent as error:  # that was no attempt yet
                lacks_line = isinstance(error.__cause__, (ConnectFailed, ConnectionLost, ReplyTimeout))
                if not lacks_line or (deadline is not None and deadline - time.monotonic() < PAUSE):
                    raise
                time.sleep(PAUSE)
            except OrderOutcomeUnknown as error:
                lost = error
                break
        first = self.unresolved.find(lost, "")
        assert first is not None
        answered = None
        connection = self._runtime.connection("private")
        if done is None or connection is None or not connection.read(done):
            try:
                answered = self.send(self.request(method, params, deadline, replies, confirmed=done))
            except OrderNotSent:
                raise lost from None
            except OrderOutcomeUnknown:
                self.unresolved.resolve(first)  # the second one stands for both
                raise
        self.unresolved.resolve(first)
        return answered, first

    def for_all(self, method: str, params: Mapping[str, Any], deadline: Optional[float]) -> Json:
        """The ``result`` of what is for all orders, and which a later one stands for as well."""
        request, _ = self.send_repeatable(method, params, deadline)
        assert request is not None
        result = self.result(request, params)
        self.unresolved.resolve_method(method)
        return result

    # -- replies -----------------------------------------------------------------------------

    def result(self, request: TradingRequest, params: Mapping[str, Any]) -> Json:
        """The one reply's ``result``. Raises OrderRejected."""
        error = request.refusal
        if error is not None:
            raise rejected(request.method, error, params, request.req_id)
        message = self.messages(request)[0]
        result = message.get("result")
        if isinstance(result, dict):
            return result
        # batch_cancel was once answered without one
        return {"count": message["orders_cancelled"]} if "orders_cancelled" in message else {}

    def messages(self, request: TradingRequest) -> List[Json]:
        """The replies as users see them."""
        return [self._runtime.decode(reply.frame) for reply in request.replies]
