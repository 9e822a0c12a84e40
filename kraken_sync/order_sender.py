"""Sends what is for the exchange's trading engine, and says what became of it.

A request ends as its reply, as :class:`OrderNotSent` (certainly nothing reached the exchange) or as
:class:`OrderOutcomeUnknown`. Nothing is sent twice, but for a request that was refused for its token.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from .core.in_flight import Request
from .core.order_params import WITH_DEADLINE
from .core.pair_rules import PairRules, of_asset_pair
from .core.subscriptions import SESSION_ERRORS
from .core.symbols import spelled
from .core.times import parse_time, time_text
from .errors import (
    ConnectFailed,
    ConnectionLost,
    KrakenError,
    OrderNotSent,
    OrderOutcomeUnknown,
    ReplyTimeout,
)
from .io.deadline import time_left
from .io.private import PrivateConnection
from .order_gate import GateShut, OrderGate
from .private_side import PrivateSide
from .replies import AMBIGUOUS, refusal, rejected
from .symbol_lookup import TABLE_LIFETIME, SymbolLookup
from .trading_rate import RateMirror
from .unknown import Unknown, names_of

log = logging.getLogger("kraken_sync")

Json = Dict[str, Any]
ORDER_DEADLINE = 5.0
"""Seconds after which the engine refuses an order that says nothing else; the exchange's own default."""
MAX_UNKNOWN = 10_000
RULES_TIMEOUT = 3.0
"""Seconds for which an order waits for the table of pairs at most; without it the exchange judges alone."""


class OrderSender(PrivateSide):
    """How trading requests leave, and what is remembered of them."""

    _lookup: SymbolLookup
    _unknown: List[Unknown]
    _order_gate: OrderGate
    _rate: RateMirror

    def _trade(
        self,
        method: str,
        params: Mapping[str, Any],
        ends: Optional[float],
        replies: Optional[int] = 1,
        done: Callable[[], bool] = lambda: False,
        *,
        req_id: Optional[int] = None,
        plain: bool = False,
    ) -> Request:
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
            if error is None or not error.startswith(SESSION_ERRORS) or attempt == 2:
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
        replies: Optional[int],
        done: Callable[[], bool],
        plain: bool,
    ) -> Request:
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
        replies: Optional[int],
        done: Callable[[], bool],
        plain: bool,
    ) -> Request:
        method, params = message["method"], message["params"]
        request, sent_at, engine_deadline = Request(method, replies), time.time(), None
        with line.changed:
            before = frozenset(line.session.account.orders.records)
            by_their_clock = line.session.clock.read(time.monotonic())

        def lost(reason: str) -> OrderOutcomeUnknown:
            request.abandoned = True
            names = names_of(params)
            error = OrderOutcomeUnknown(
                method,
                reason,
                cl_ord_ids=names.cl_ord_ids,
                order_ids=names.order_ids,
                order_userrefs=names.userrefs,
                sent_at=sent_at,
                deadline=engine_deadline,
            )
            self._unknown.append(Unknown(error, request, params, by_their_clock, before))
            del self._unknown[:-MAX_UNKNOWN]
            return error

        try:
            if method in WITH_DEADLINE and not plain:
                params = self._with_deadline(line, params, ends)
            if method in WITH_DEADLINE:
                engine_deadline = parse_time(params.get("deadline"))
            line.ask(
                {**message, "params": params},
                request,
                ends,
                done,
                lambda: self._order_gate.check(method, params, line),
            )
        except BaseException as error:
            if not request.sent:
                line.forget(request)
                if isinstance(error, (ConnectionLost, ReplyTimeout)):
                    raise OrderNotSent(method, str(error)) from error
                raise
            unknown = lost(str(error) or type(error).__name__)
            if isinstance(error, KrakenError):
                raise unknown from error
            log.warning("%s", unknown)  # a Ctrl-C, say: the id must not be lost with it
            raise
        finally:
            if request.sent:
                self._rate.charge(method, params, line)
        refused = refusal(request)
        if request.complete and not (refused or "").startswith(AMBIGUOUS):
            return request
        with line.changed:
            if done():
                return request
        if refused and request.complete:
            raise lost(f"the exchange says {refused!r}, which may mean anything")
        if request.lost is not None:
            raise lost(f"the connection ended before the reply: {request.lost}")
        raise lost(f"no reply within {time.monotonic() - request.sent_at:.1f} s")

    def _remembered(self, error: OrderOutcomeUnknown) -> Unknown:
        """What is remembered of a request whose outcome is unknown."""
        return next(one for one in self._unknown if one.error is error)

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

    def _result(self, request: Request, params: Mapping[str, Any]) -> Any:
        """The one reply's ``result``. Raises OrderRejected."""
        error = refusal(request)
        if error is not None:
            raise rejected(request.method, error, params)
        message = self._decode(request.replies[0].frame)
        result = message.get("result")
        if result is None:  # batch_cancel was once answered without one
            result = {"count": message["orders_cancelled"]} if "orders_cancelled" in message else {}
        return result

    def _took(self, order_id: Any, params: Mapping[str, Any]) -> None:
        """An order was acknowledged: it is in ``client.orders`` from now on."""
        engine = self._engine
        line = engine.lines.get("private") if engine is not None else None
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
        engine = self._engine
        line = engine.lines.get("private") if engine is not None else None
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
                self._fetch_rules(ends)
            except KrakenError as error:
                log.warning("orders are not checked before sending: no table of pairs (%s)", error)
        return self._lookup.rules(symbol)

    def _fetch_rules(self, ends: Optional[float]) -> None:
        soon = time.monotonic() + RULES_TIMEOUT
        ends = soon if ends is None else min(soon, ends)
        engine = self._engine
        public = engine.lines.get("public") if engine is not None else None
        if public is not None and public.session.open:
            self._lookup.table(public, ends, fresh=True)
        if self._lookup.age < TABLE_LIFETIME:
            return
        found: Dict[str, PairRules] = {}
        for entry in self.rest.asset_pairs(timeout=time_left(ends)).values():
            name = str(entry.get("wsname", ""))
            symbol = spelled(name) or _modern(name)
            found[symbol] = of_asset_pair(symbol, entry)
        self._lookup.learn(found)


def _modern(name: str) -> str:
    renamed = {"XBT": "BTC", "XDG": "DOGE"}
    return "/".join(renamed.get(code, code) for code in name.split("/"))
