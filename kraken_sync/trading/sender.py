"""Sends requests for the exchange's trading engine and determines their outcome.

A request ends with its reply, with :class:`OrderNotSent` (it certainly did not reach the exchange) or with
:class:`OrderOutcomeUnknown`. Nothing is sent twice, with two exceptions: a request that was refused because
of its token, and requests whose repetition has no further effect (cancels, the dead man's switch).
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..core.orders.params import ADDING
from ..core.session.requests import RequestHeld, TradingRequest
from ..core.wire.error_texts import AMBIGUOUS, NOT_OPEN, TOKEN_REFUSED
from ..core.wire.places import PRIVATE
from ..core.wire.times import Clock
from ..errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    KrakenError,
    OrderNotSent,
    OrderOutcomeUnknown,
    ReplyTimeout,
)
from ..io.connection.connection import Connection
from ..io.logs import log
from ..io.waiting import time_left
from ..runtime import Runtime
from .order_gate import GateShut, OrderGate
from .outcomes import Reply, outcome_unknown, rejected
from .rest_way import REPEATABLE, RestWay
from .unresolved import Unknown, Unresolved

Json = Dict[str, Any]
ORDER_DEADLINE = 5.0
"""Seconds after which the engine refuses an order without a ``deadline``, as by the exchange's own default
(https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/add_order)."""
PATIENCE = 5.0
"""Seconds after which a repeatable request is repeated, for a caller without a deadline."""
FIRST_CONNECT = 0.5
"""Seconds for which a request that may go by REST waits for a connection that was never up."""
PAUSE = 0.05
"""Seconds before a repeatable request that could not be sent is tried again."""


class OrderSender:
    """Sends the trading requests of one client, and keeps those whose outcome is unknown. Any thread.

    Args:
        runtime: the client's connections.
        gate: may hold back orders.
        unresolved: where requests with an unknown outcome are kept.
    """

    def __init__(self, runtime: Runtime, gate: OrderGate, unresolved: Unresolved) -> None:
        self._runtime = runtime
        self._gate = gate
        self.unresolved = unresolved
        self._rest_way = RestWay(runtime, gate, self.outcome_unknown)

    def request(
        self,
        method: str,
        params: Mapping[str, Any],
        deadline: Optional[float],
        replies: int = 1,
        *,
        placed: Sequence[Mapping[str, Any]] = (),
        confirmed: Optional[Callable[[Any], bool]] = None,
        via: Optional[str] = None,
    ) -> TradingRequest:
        """Return an unsent request; one that adds or changes orders gets a deadline for the engine.

        Args:
            method: the exchange's name of the method.
            params: the checked parameters.
            deadline: until when the caller waits (monotonic seconds); None to wait for ever.
            replies: how many replies to expect.
            placed, confirmed, via: see :class:`TradingRequest`.
        """
        engine_deadline = None
        if method in ADDING:
            # Always explicit, although the exchange has a default: only with a deadline that is known
            # here can reconcile() ever say that an order never arrived.
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
            via=via,
            our_time=time.time(),
        )

    def connection(self, method: str, deadline: Optional[float], via: Optional[str] = None) -> Connection:
        """Return the private connection, which keeps the account's orders from now on.

        Blocks until it is up, if it never was; for a method that may go by REST, half a second at most. With
        ``via="rest"`` it is returned if there is one.

        Raises:
            OrderNotSent: there is no connection within ``deadline`` (monotonic seconds).
        """
        timeout, by_rest = time_left(deadline), method in REPEATABLE and via is None
        there = self._runtime.connection(PRIVATE)
        if via == "rest":
            if there is None:
                raise OrderNotSent(method, "there is no connection")
            return there
        if by_rest:
            if there is not None and not there.worked:
                return there  # an earlier call has waited for it
            timeout = FIRST_CONNECT if timeout is None else min(FIRST_CONNECT, timeout)
        try:
            connection = self._runtime.private(method, timeout)
        except (ConnectFailed, ConnectionLost, ReplyTimeout) as error:
            there = self._runtime.connection(PRIVATE)
            if not by_rest or there is None:
                raise OrderNotSent(method, str(error)) from error
            return there
        connection.keep_orders()
        return connection

    def send(self, request: TradingRequest) -> TradingRequest:
        """Send a request, wait for its replies, and return the request that was answered.

        Blocks up to the request's ``deadline``. The result may be a copy of ``request``, if that was refused
        for its token and sent again.

        Raises:
            OrderNotSent: nothing of it reached the exchange.
            OrderOutcomeUnknown: some of it may have reached the exchange, and there was no clear reply.
        """
        if request.via == "rest":
            self._rest_way.send(request)
            return request
        may_go_by_rest = request.repeatable and request.via is None
        try:
            connection = self.connection(request.method, request.deadline, request.via)
        except OrderNotSent:
            if not may_go_by_rest:
                raise
            self.over_rest(request)
            return request
        if may_go_by_rest and (not connection.open or request.other_way) and self._went_by_rest(request):
            return request
        self._let_through(request, connection)
        error = request.refusal
        if error is None or not error.startswith(TOKEN_REFUSED):
            return request
        # Tokens sometimes end before their time, after an upgrade of the exchange's gateway for example. The
        # refusal proves that the engine has not seen the request, so it can be sent again.
        try:
            connection.renew_token(request.deadline)
        except KrakenError as failure:
            raise OrderNotSent(request.method, f"{error}, and no new token: {failure}") from failure
        request = request.anew()
        self._let_through(request, connection)
        return request

    def _went_by_rest(self, request: TradingRequest) -> bool:
        try:
            self.over_rest(request)
            return True
        except OrderNotSent as error:
            log.warning("%s; waiting for the connection", error)
            return False

    def over_rest(self, request: TradingRequest) -> None:
        """Send a request over REST; see :meth:`RestWay.go`."""
        self._rest_way.go(request)

    def order_type(self, method: str, name: str, deadline: Optional[float]) -> str:
        """Return the type of an order that the executions do not know. Blocks for a REST request.

        Raises:
            OrderNotSent: REST does not tell it.
        """
        try:
            return self._rest_way.order_type(name, deadline)
        except ValueError as error:
            raise OrderNotSent(method, str(error)) from error

    def _let_through(self, request: TradingRequest, connection: Connection) -> None:
        """Send the request once the order gate is open."""
        policy = self._gate.policy
        self._gate.apply(request)
        while True:
            if request.gated:
                self._gate.pass_through(request, connection)
            try:
                # The gate may have shut since: it is asked again immediately before the bytes are sent.
                self._send_once(request, connection)
                return
            except (GateShut, RequestHeld) as shut:
                if policy != "hold":
                    reason = shut.reason if isinstance(shut, GateShut) else str(shut)
                    raise OrderNotSent(request.method, reason) from None

    def _send_once(self, request: TradingRequest, connection: Connection) -> None:
        method = request.method
        # BaseException, because a Ctrl-C may come at any moment, and whether an order exists must be known
        # then as well. Only request.sent tells whether a byte may have left.
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
            log.warning("%s", unknown)  # not raised, since the Ctrl-C is: the log keeps the order's id
            raise
        # Whoever waited may have been woken by the effect (confirmed), by the reply, by the loss of the
        # connection or by the deadline; several may be true. A clear reply decides before anything else.
        errors = [reply.error or "" for reply in request.replies]
        unclear = any(reply.unclear for reply in request.replies)
        ambiguous = [error for error in errors if error.startswith(AMBIGUOUS)]
        if request.complete and not unclear and not ambiguous:
            return
        if request.confirmed is not None and connection.read(request.confirmed):
            connection.forget(request)
            return
        if ambiguous:
            reason = f"the exchange says {ambiguous[0]!r}, which may mean anything"
        elif unclear:
            reason = "the reply says neither that it succeeded nor that it failed"
        elif request.lost is not None:
            reason = f"the connection ended before the reply: {request.lost}"
        else:
            reason = f"no reply within {time.monotonic() - request.sent_at:.1f} s"
        raise self.outcome_unknown(request, reason)

    def _have_clock(self, connection: Connection, deadline: Optional[float]) -> None:
        """Have the exchange's clock read, which the engine's deadline is counted by."""
        try:
            self.server_time(connection, deadline)
        except (ConnectionLost, ReplyTimeout) as error:
            raise ConnectionLost(f"the exchange's clock could not be read: {error}", sent=False) from error

    def server_time(
        self, connection: Optional[Connection], deadline: Optional[float], doubt: float = float("inf")
    ) -> Clock:
        """Return a reading of the exchange's clock; blocks for one ping if there is none that is good enough.

        Args:
            connection: the connection to ask on; None to ask REST, whose time has whole seconds and is early.
            deadline: until when to wait (monotonic seconds).
            doubt: by how many seconds the reading may be wrong without being renewed.

        Raises:
            ConnectionLost, ReplyTimeout: the exchange could not be asked.
        """
        if connection is None:
            return Clock(self._rest_way.time(deadline), 0.0)
        clock = connection.clock()
        if clock.moment is None or clock.doubt > doubt:
            connection.request({"method": "ping"}, deadline)
            clock = connection.clock()
        return clock if clock.moment is not None else clock._replace(moment=time.time())

    def outcome_unknown(self, request: TradingRequest, reason: str) -> OrderOutcomeUnknown:
        """Keep the request as unresolved, and return the error for it."""
        # It stays in flight, so that a late reply is still recognised, entered into client.orders and
        # logged.
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
        via: Optional[str] = None,
        confirmed: Optional[Callable[[Any], bool]] = None,
        done: Optional[Callable[[Any], bool]] = None,
    ) -> Tuple[Optional[TradingRequest], Optional[Unknown]]:
        """Send a request whose repetition has no further effect; if its reply is lost, send it once more.

        Args:
            method, params, deadline, replies, via: see :meth:`request`.
            confirmed: tells, given the session, that the effect of the first attempt can be seen.
            done: tells, given the session, that the second attempt is not needed or has had its effect.

        Returns:
            The request that was answered (None if none was, but the effect can be seen), and the first
            attempt if its reply was lost.

        Raises:
            OrderNotSent: no attempt reached the exchange.
            OrderOutcomeUnknown: no reply to the first attempt, and to the second one none, or a refusal that
                says nothing about the first.
        """
        while True:
            now = time.monotonic()
            # The first attempt gets half of the time, so that there is some left for the second.
            halfway = now + PATIENCE if deadline is None else (now + deadline) / 2
            request = self.request(method, params, halfway, replies, confirmed=confirmed, via=via)
            request.repeatable = True
            try:
                return self.send(request), None
            except OrderNotSent as error:  # nothing was sent, so this was no attempt
                passes = (ConnectFailed, ConnectionLost, ReplyTimeout, GateShut)
                may_pass = isinstance(error.__cause__, passes)
                if not may_pass or (deadline is not None and deadline - time.monotonic() < PAUSE):
                    raise
                time.sleep(PAUSE)
            except OrderOutcomeUnknown as error:
                lost = error
                break
        first = self.unresolved.find(lost, "") or Unknown(
            lost, request
        )  # resolved meanwhile, by another call
        answered = None
        connection = self._runtime.connection("private")
        if done is None or connection is None or not connection.read(done):
            again = self.request(method, params, deadline, replies, confirmed=done, via=via)
            # The way on which there was no reply may be dead without anybody knowing it yet.
            again.repeatable, again.other_way = True, not request.by_rest
            try:
                answered = self.send(again)
            except (OrderNotSent, ClientClosed):
                # The second attempt is not the news: the first one may have had its effect.
                raise lost from None
            except OrderOutcomeUnknown:
                self.unresolved.resolve(first)  # one entry is enough; the second attempt is the one kept
                raise
        refusal = answered.refusal if answered is not None else None
        if refusal is not None and not refusal.startswith(NOT_OPEN):
            # It says why the second attempt had no effect, and nothing about the first one.
            if done is None or connection is None or not connection.read(done):
                self.unresolved.resolve(first)
                reason = f"{lost.reason}; the request was repeated, and refused: {refusal}"
                raise self.outcome_unknown(first.request, reason)
            answered = None
        self.unresolved.resolve(first)
        return answered, first

    def for_all(
        self, method: str, params: Mapping[str, Any], deadline: Optional[float], via: Optional[str] = None
    ) -> Json:
        """Send a method that concerns all orders, and return its ``result``.

        Its success also resolves earlier calls of the method whose outcome was unknown. Raises as
        :meth:`send_repeatable`, and OrderRejected.
        """
        request, _ = self.send_repeatable(method, params, deadline, via=via)
        assert request is not None
        result = self.result(request, params)
        self.unresolved.resolve_method(method)
        return result

    # -- replies -----------------------------------------------------------------------------

    def result(self, request: TradingRequest, params: Mapping[str, Any]) -> Json:
        """Return the ``result`` of a request's only reply. Raises OrderRejected."""
        error = request.refusal
        if error is not None:
            raise rejected(request.method, error, params, request.req_id)
        message = self.messages(request)[0]
        result = message.get("result")
        if isinstance(result, dict):
            return Reply(result)
        # The page of batch_cancel documents result.count; the recorded reply (2024-05) has no result, but
        # orders_cancelled at the top.
        return Reply({"count": message["orders_cancelled"]} if "orders_cancelled" in message else {})

    def messages(self, request: TradingRequest) -> List[Json]:
        """Return the replies as users see them."""
        return [self._runtime.decode(reply.frame) for reply in request.replies]
