"""Sends what is for the exchange's trading engine, and says what became of it.

A request ends as its reply, as :class:`OrderNotSent` (certainly nothing reached the exchange) or as
:class:`OrderOutcomeUnknown`. Nothing is sent twice, but for a request
that was refused for its token, and for what does the same twice as once (cancels, the dead man's switch).
"""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .core.orders.pair_rules import PairRules
from .core.orders.params import ADDING
from .core.wire.error_texts import AMBIGUOUS, TOKEN_REFUSED
from .core.wire.times import time_text
from .errors import (
    ConnectFailed,
    ConnectionLost,
    KrakenError,
    OrderNotSent,
    OrderOutcomeUnknown,
    ReplyTimeout,
)
from .io.connection.private import PrivateConnection
from .io.deadline import sooner, time_left
from .io.engine import PRIVATE, PUBLIC
from .market.history import History
from .market.symbols import TABLE_LIFETIME
from .subscribing import Subscribing
from .trading.order_gate import GateShut, OrderGate
from .trading.rate_mirror import RateMirror
from .trading.replies import refusal, rejected
from .trading.unknown import TradingRequest, Unknown

log = logging.getLogger("kraken_sync")

Json = Dict[str, Any]
ORDER_DEADLINE = 5.0
"""Seconds after which the engine refuses an order that says nothing else; the exchange's own default."""
MAX_UNKNOWN = 10_000
PATIENCE = 5.0
"""Seconds after which what may be repeated is repeated, for who would wait for ever."""
PAUSE = 0.05
"""Seconds before what may be repeated, and could not be sent, is tried again."""
RULES_TIMEOUT = 3.0
"""Seconds for which an order waits for the table of pairs at most; without it the exchange judges alone."""


class OrderSender(Subscribing):
    """How trading requests leave, and what is remembered of them."""

    def __init__(self, *base: Any, order_gate: str, tier: Optional[str]) -> None:
        super().__init__(*base)
        self._unknown: List[Unknown] = []
        self._order_gate = OrderGate(order_gate)
        self._rate = RateMirror(tier)

    def _private(self, what: str, timeout: Optional[float], kind: str = PRIVATE) -> PrivateConnection:
        line = super()._private(what, timeout, kind)
        self._rate.watch(line.session)
        return line

    def _trade(
        self,
        method: str,
        params: Mapping[str, Any],
        ends: Optional[float],
        replies: int = 1,
        done: Callable[[], bool] = lambda: False,
        *,
        req_id: Optional[int] = None,
        plain: bool = False,
    ) -> TradingRequest:
        """Send a trading request and wait for its replies; ``ends`` is a monotonic deadline.

        ``plain`` parameters get no deadline of ours.

        Raises:
            OrderNotSent, OrderOutcomeUnknown: see the module.
        """
        line = self._trading_line(method, ends)
        message: Json = {"method": method, "params": params}
        if req_id is not None:
            message["req_id"] = req_id
        for attempt in (1, 2):
            request = self._let_through(line, message, ends, replies, done, plain)
            error = refusal(request)
            if error is None or not error.startswith(TOKEN_REFUSED) or attempt == 2:
                break
            # the token had died, so nothing was done: have a new one, and ask once more
            try:
                line.renew_token(ends)
            except KrakenError as failure:
                raise OrderNotSent(method, f"{error}, and no new token: {failure}") from failure
        return request

    def _let_through(
        self,
        line: PrivateConnection,
        message: Json,
        ends: Optional[float],
        replies: int,
        done: Callable[[], bool],
        plain: bool,
    ) -> TradingRequest:
        """Send it when the order gate is open; it is asked again at the last moment."""
        gate, method, params = self._order_gate, message["method"], message["params"]
        while True:
            gate.pass_through(method, params, line, ends)
            try:
                return self._send_once(line, message, ends, replies, done, plain)
            except GateShut as shut:
                if gate.policy != "hold":
                    raise OrderNotSent(method, shut.reason) from None

    def _trading_line(self, method: str, ends: Optional[float]) -> PrivateConnection:
        try:
            line = self._private(method, time_left(ends))
        except (ConnectFailed, ConnectionLost, ReplyTimeout) as error:
            raise OrderNotSent(method, str(error)) from error
        line.keep_orders()
        return line

    def _send_once(
        self,
        line: PrivateConnection,
        message: Dict[str, Any],
        ends: Optional[float],
        replies: int,
        done: Callable[[], bool],
        plain: bool,
    ) -> TradingRequest:
        method = message["method"]
        with line.changed:
            session = line.session
            their_time = session.clock.read(time.monotonic())
            before = frozenset(session.account.orders.records)
        request = TradingRequest(method, message["params"], replies, their_time, before)
        try:
            if method in ADDING and not plain:
                request.params = self._with_deadline(line, request.params, ends)
            line.ask(
                {**message, "params": request.params},
                request,
                ends,
                done,
                lambda: self._order_gate.check(method, request.params, line),
            )
        except BaseException as error:
            if not request.sent:
                line.forget(request)
                if isinstance(error, (ConnectionLost, ReplyTimeout)):
                    raise OrderNotSent(method, str(error)) from error
                raise
            unknown = self._outcome_unknown(request, str(error) or type(error).__name__)
            if isinstance(error, KrakenError):
                raise unknown from error
            log.warning("%s", unknown)  # a Ctrl-C, say: the id must not be lost with it
            raise
        finally:
            if request.sent:
                self._rate.charge(method, request.params)
        refused = refusal(request)
        if request.complete and not (refused or "").startswith(AMBIGUOUS):
            return request
        with line.changed:
            confirmed = done()
        if confirmed:
            line.forget(request)
            return request
        if refused and request.complete:
            reason = f"the exchange says {refused!r}, which may mean anything"
        elif request.lost is not None:
            reason = f"the connection ended before the reply: {request.lost}"
        else:
            reason = f"no reply within {time.monotonic() - request.sent_at:.1f} s"
        raise self._outcome_unknown(request, reason)

    def _outcome_unknown(self, request: TradingRequest, reason: str) -> OrderOutcomeUnknown:
        """Remember the request, and return the error for it."""
        request.abandoned = True
        error = request.unknown(reason)
        self._unknown.append(Unknown(error, request))
        del self._unknown[:-MAX_UNKNOWN]
        return error

    def _trade_twice(
        self,
        method: str,
        params: Mapping[str, Any],
        ends: Optional[float],
        replies: int = 1,
        *,
        confirmed: Callable[[], bool] = lambda: False,
        done: Callable[[], bool] = lambda: False,
    ) -> Tuple[Optional[TradingRequest], Optional[Unknown]]:
        """As :meth:`_trade`, for what has the same effect twice as once: if the reply is lost, ask again.

        ``confirmed()`` ends the first attempt; ``done()`` tells, after it, that the second one is not needed.

        Returns:
            The request that was answered (None if none was, but it is done), and the first one if its
            reply was lost.
        """
        while True:
            now = time.monotonic()
            halfway = now + PATIENCE if ends is None else (now + ends) / 2
            try:
                return self._trade(method, params, halfway, replies, confirmed), None
            except OrderNotSent as error:  # that was no attempt yet
                lacks_line = isinstance(error.__cause__, (ConnectFailed, ConnectionLost, ReplyTimeout))
                if not lacks_line or (ends is not None and ends - time.monotonic() < PAUSE):
                    raise
                time.sleep(PAUSE)
            except OrderOutcomeUnknown as error:
                lost = error
                break
        first = next(one for one in self._unknown if one.error is lost)
        request = None
        if not done():
            try:
                request = self._trade(method, params, ends, replies, done)
            except OrderNotSent:
                raise lost from None
            except OrderOutcomeUnknown:
                self._known_again(lost)  # the second one stands for both
                raise
        self._known_again(lost)
        return request, first

    def _repeatable(self, method: str, params: Mapping[str, Any], ends: Optional[float]) -> Json:
        """The ``result`` of what is for all orders, and which a later one stands for as well."""
        request, _ = self._trade_twice(method, params, ends)
        assert request is not None
        result = self._result(request, params)
        self._unknown = [one for one in self._unknown if one.error.method != method]
        return result

    def _settled(self, unknown: Unknown, name: Union[str, int]) -> None:
        """The outcome is known for one of the names that a request was about."""
        unknown.request.settled.add(name)
        if unknown.request.settled.issuperset(unknown.error.names):
            self._known_again(unknown.error)

    def _known_again(self, error: OrderOutcomeUnknown) -> None:
        """The outcome of a request is known after all."""
        self._unknown = [one for one in self._unknown if one.error is not error]

    def _with_deadline(
        self, line: PrivateConnection, params: Mapping[str, Any], ends: Optional[float]
    ) -> Dict[str, Any]:
        """``params`` with the engine's deadline as the exchange's clock has it."""
        given = params.get("deadline", ORDER_DEADLINE)
        if isinstance(given, str):
            return dict(params)
        try:
            now = self._server_time(line, ends)
        except (ConnectionLost, ReplyTimeout) as error:
            raise ConnectionLost(f"the exchange's clock could not be read: {error}", sent=False) from error
        return {**params, "deadline": time_text(now + float(given))}

    def _server_time(self, line: PrivateConnection, deadline: Optional[float]) -> float:
        """The exchange's time in seconds since the epoch, as its last replies had it; asks if there is
        none."""
        with line.changed:
            known = line.session.clock.known
        if not known:
            line.request({"method": "ping"}, deadline)
        with line.changed:
            moment = line.session.clock.read(time.monotonic())
        return time.time() if moment is None else moment

    def _result(self, request: TradingRequest, params: Mapping[str, Any]) -> Json:
        """The one reply's ``result``. Raises OrderRejected."""
        error = refusal(request)
        if error is not None:
            raise rejected(request.method, error, params, request.req_id)
        message = self._decode(request.replies[0].frame)
        result = message.get("result")
        if isinstance(result, dict):
            return result
        # batch_cancel was once answered without one
        return {"count": message["orders_cancelled"]} if "orders_cancelled" in message else {}

    def _placed(self, request: TradingRequest, params: Mapping[str, Any]) -> Json:
        """The ``result`` for a placed order, with the ids that were sent. Raises OrderRejected."""
        result = self._result(request, params)
        if not isinstance(result.get("order_id"), str) and not params.get("validate"):
            raise self._outcome_unknown(request, f"the reply names no order: {result!r:.200}")
        ids = {name: params[name] for name in ("cl_ord_id", "order_userref") if name in params}
        self._took(result.get("order_id"), params)
        return {**ids, **result}

    def _took(self, order_id: Any, params: Mapping[str, Any]) -> None:
        """An order was acknowledged: it is in ``client.orders`` from now on."""
        line = self._line(PRIVATE)
        if not isinstance(order_id, str) or line is None or params.get("validate"):
            return
        kept = ("symbol", "side", "order_type", "order_qty", "limit_price", "cl_ord_id", "order_userref")
        fields = {name: params[name] for name in kept if name in params}
        with line.changed:
            line.session.account.orders.acknowledged(order_id, fields, time.monotonic())
            line.changed.notify_all()
        self._rate.placed(str(params.get("symbol", "")), order_id, params.get("cl_ord_id"))

    def _known(self, name: Optional[str]) -> Any:
        """The order of this id, as far as it is known here."""
        line = self._line(PRIVATE)
        if name is None or line is None:
            return None
        with line.changed:
            record = line.session.account.orders.find(name)
            return record.order() if record is not None and record.fields.get("symbol") else None

    def _check_numbers(self, symbol: str, orders: Sequence[Mapping[str, Any]], ends: Optional[float]) -> None:
        rules = self._rules(symbol, ends)
        for index, order in enumerate(orders):
            if rules is None:
                return
            try:
                rules.check(order)
            except ValueError as error:
                if len(orders) == 1:
                    raise
                raise ValueError(f"orders[{index}]: {error}") from None

    def _rules(self, symbol: str, ends: Optional[float]) -> Optional[PairRules]:
        """The pair's rules; None if they cannot be had, and the exchange must judge.

        Raises:
            UnknownSymbol: the exchange has no such pair.
        """
        if self._lookup.age > TABLE_LIFETIME:
            try:
                self._lookup.refresh(
                    self._line(PUBLIC),
                    lambda timeout: History(self).asset_pairs(timeout=timeout),
                    sooner(ends, RULES_TIMEOUT),
                )
            except KrakenError as error:
                log.warning("orders are not checked before sending: no table of pairs (%s)", error)
        return self._lookup.rules(symbol)
