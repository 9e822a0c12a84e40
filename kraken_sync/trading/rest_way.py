"""REST as a second way for trading requests: for those that a caller sends that way (``via="rest"``), and for
cancels and the dead man's switch while there is no private WebSocket connection.

What reaches the exchange is the same, and so are the outcomes: a reply, "not sent" or "unknown". Nothing is
sent twice, except requests whose repetition has no further effect.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from functools import partial
from typing import Any, Callable, Mapping, Optional

from ..core.orders.rest_calls import NothingCanceled, UnclearAnswer, rest_calls, ws_result
from ..core.session import account_views
from ..core.session.requests import Reply, TradingRequest
from ..core.wire.error_texts import ABOUT_THE_ORDER, NOT_OPEN
from ..core.wire.messages import decode_envelope, encode
from ..core.wire.places import PRIVATE
from ..errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    KrakenError,
    OrderNotSent,
    OrderOutcomeUnknown,
    ReplyTimeout,
    RequestRefused,
)
from ..io.connection.connection import Connection
from ..io.logs import log
from ..io.waiting import sooner
from ..runtime import Runtime
from .order_gate import GateShut, OrderGate

REPEATABLE = ("cancel_order", "cancel_all", "cancel_all_orders_after", "batch_cancel")
"""The methods that go by REST by themselves while there is no connection."""
PATIENCE = 5.0
"""Seconds for one request over REST, unless the caller wants this way; the connection may be back after
that."""
REMEMBERED = 10_000
"""The largest number of orders whose type is remembered."""


class RestWay:
    """Sends requests over REST, and answers them as if the replies had come over WebSocket. Any thread.

    Args:
        runtime: the client's connections, and its REST.
        gate: may hold back orders.
        outcome_unknown: keeps a request as unresolved, and returns the error for it.
    """

    def __init__(
        self,
        runtime: Runtime,
        gate: OrderGate,
        outcome_unknown: Callable[[TradingRequest, str], OrderOutcomeUnknown],
    ) -> None:
        self._runtime = runtime
        self._rest = runtime.rest
        self._gate = gate
        self._outcome_unknown = outcome_unknown
        self._types: OrderedDict[str, str] = OrderedDict()
        """The types of the orders that were placed this way, by ``order_id`` and ``cl_ord_id``."""

    def order_type(self, name: str, deadline: Optional[float]) -> str:
        """Return the type of an order that the executions do not know. Blocks for a REST request.

        Raises:
            ValueError: REST does not tell it.
        """
        found = self._types.get(name)
        if found is not None:
            return found
        try:
            entries = self._rest.query_orders([name], sooner(deadline, PATIENCE))
            return str(entries[name]["descr"]["ordertype"])
        except (KrakenError, LookupError, TypeError) as error:
            raise ValueError(
                f"the order's type is not known here, and REST does not tell it ({error})"
            ) from error

    def send(self, request: TradingRequest) -> None:
        """Send a request over REST because its caller wants that, once the order gate is open.

        Raises as :meth:`go`.
        """
        self._runtime.guard_fork()
        if self._runtime.closed:
            raise ClientClosed
        policy = self._gate.policy
        self._gate.apply(request)
        while True:
            if request.gated:
                there = self._runtime.connection(PRIVATE)
                self._gate.pass_through(request, there, lambda: self._runtime.closed)
            try:
                self.go(request)
                return
            except GateShut as shut:  # since it was asked
                if policy != "hold":
                    raise OrderNotSent(request.method, shut.reason) from None

    def go(self, request: TradingRequest) -> None:
        """Send a request over REST; it gets the replies that it would have over WebSocket.

        Blocks up to the request's ``deadline``.

        Raises:
            GateShut: it may not be sent now.
            OrderNotSent: nothing of it reached the exchange.
            OrderOutcomeUnknown: some of it may have reached the exchange, and there was no clear answer.
        """
        self._runtime.guard_fork()
        self._runtime.need_credentials(request.method)
        connection = self._runtime.connection(PRIVATE)
        if request.engine_deadline is not None and (connection is None or connection.clock().moment is None):
            told, request.our_time = self.time(request.deadline), time.time()
            # It has whole seconds; within them this machine's clock is the best guess.
            request.their_time = None if told is None else min(max(told, request.our_time), told + 1.0)
        if connection is None:
            request.before = frozenset(self._types)
            request.take_deadline()
        else:
            going = partial(account_views.going_elsewhere, request=request, now=time.monotonic())
            held = connection.change(going)
            if held is not None:
                raise GateShut(request.method, held)
        try:
            self._answer(request, connection)
        except OrderOutcomeUnknown as error:
            raise self._outcome_unknown(request, error.reason) from error
        except UnclearAnswer as unclear:
            raise self._outcome_unknown(request, str(unclear)) from None
        except (KrakenError, ValueError, TypeError):
            raise  # nothing was sent
        except BaseException as error:  # a Ctrl-C: the log keeps the order's id
            log.warning("%s", self._outcome_unknown(request, str(error) or type(error).__name__))
            raise
        if connection is not None:
            answered = partial(account_views.answered_elsewhere, request=request, now=time.monotonic())
            connection.change(answered)

    def _answer(self, request: TradingRequest, connection: Optional[Connection]) -> None:
        """Send the request, and enter the replies into it."""
        wanted = request.via == "rest"
        calls = list(rest_calls(request.method, request.params, request.order_type))
        request.sent_at, failure = time.monotonic(), ""
        for number, call in enumerate(calls):
            if call is None or failure:
                error = failure or f"{NOT_OPEN[0]} (it has not the form of an order id)"
                self._reply(request, {"success": False, "error": error})
                continue
            try:
                result = self._rest.request(
                    "POST",
                    f"/0/private/{call.endpoint}",
                    call.params,
                    deadline=request.deadline if wanted else sooner(request.deadline, PATIENCE),
                    do_json=call.do_json,
                    allowed=partial(self._leaves, request, connection, first=not number),
                )
                request.sent = request.by_rest = True
                answer = ws_result(request.method, request.params, result)
            except OrderOutcomeUnknown:
                request.sent = request.by_rest = True
                raise
            except GateShut as shut:
                if not number:
                    raise
                failure = str(shut)
                self._reply(request, {"success": False, "error": failure})
            except NothingCanceled as nothing:
                self._reply(request, {"success": False, "error": str(nothing)})
            except KrakenError as error:
                text = error.error if isinstance(error, RequestRefused) else ""
                # If the caller wants this way, its refusal is the answer. Otherwise what is wrong with REST
                # may not be wrong with WebSocket.
                if text and (wanted or text.startswith(ABOUT_THE_ORDER)):
                    self._reply(request, {"success": False, "error": text})
                elif number:
                    failure = f"not sent: {error}"  # unlike those before it
                    self._reply(request, {"success": False, "error": failure})
                elif wanted and not isinstance(
                    error, (ConnectFailed, ConnectionLost, ReplyTimeout, ClientClosed)
                ):
                    raise  # a missing or a wrong key
                else:
                    lack = "no reply over WebSocket" if request.other_way else "no connection"
                    why = str(error) if wanted else f"there is {lack}, and REST says: {error}"
                    raise OrderNotSent(request.method, why) from error
            else:
                self._reply(request, {"success": True, "result": answer})
                self._remember(request, answer)
        log.info("%s went by REST", request.method)
        request.by_rest = True

    def _leaves(self, request: TradingRequest, connection: Optional[Connection], first: bool) -> None:
        """Look at the gate once more right before the bytes leave: it may have shut while other requests were
        answered. Runs on a REST thread.
        """
        self._gate.check(request, connection)
        if connection is not None and first:  # both ways share the exchange's counters
            connection.change(partial(account_views.charge, request=request, now=time.monotonic()))

    def _remember(self, request: TradingRequest, answer: Any) -> None:
        """Note the orders that a request has placed."""
        for order, entry in zip(request.placed, answer if isinstance(answer, list) else [answer]):
            for name in (entry.get("order_id"), order.get("cl_ord_id")):
                if isinstance(name, str) and name:
                    self._types[name] = order.get("order_type", request.order_type)
        while len(self._types) > REMEMBERED:
            self._types.popitem(last=False)

    def time(self, deadline: Optional[float]) -> Optional[float]:
        """Return the exchange's time (seconds since the epoch, cut off); None if REST does not tell it."""
        soon = sooner(deadline, PATIENCE)
        try:
            answer = self._rest.request("GET", "/0/public/Time", deadline=soon, auth=False)
            return float(answer["unixtime"])
        except (KrakenError, LookupError, TypeError, ValueError):
            return None

    def _reply(self, request: TradingRequest, message: Mapping[str, Any]) -> None:
        frame = encode({"method": request.method, **message})
        request.replies.append(Reply(frame, decode_envelope(frame)))
