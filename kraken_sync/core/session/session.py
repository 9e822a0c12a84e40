"""Everything one connection decides, without touching one.

A :class:`Session` outlives its connections. Intent goes in (``subscriptions``, :meth:`Session.expect`),
frames go in (:meth:`Session.receive`), the loss of a connection goes in (:meth:`Session.lost`); out come
the frames to send (:meth:`Session.due`), what a frame means for readers (:class:`Received`) and whether the
connection is dead (:meth:`Session.verdict`).

Nothing in here waits or sends, and ``now`` (monotonic seconds) always comes from the caller. Not
thread-safe: the owner's lock serialises every call, and every entry asserts that it is held.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, List, Mapping, Optional, Tuple

from ..freshness import BookState
from ..orders.params import ADDING
from ..orders.rate_limits import TradingRate
from ..orders.tables import Account
from ..timing import Timing
from ..wire import messages
from ..wire.error_texts import TOKEN_REFUSED, TOO_FAST
from ..wire.messages import Envelope, MalformedFrame
from ..wire.secret import HiddenBytes, Secret
from ..wire.times import ServerClock, time_text
from .budgets import TokenBucket
from .data import DataFrames, gap_over
from .dead_mans_switch import SwitchRenewals
from .events import Counters, Ended, Gap, Note, Notice, Received
from .liveness import Liveness
from .registry import Answer, Registry
from .requests import InFlight, Reply, Request, RequestHeld, TradingRequest, why_closed
from .subscriptions import Subscriptions

REQUESTS_PER_SECOND = 10
REQUESTS_AT_ONCE = 10
MALFORMED_LIMIT = 3
MALFORMED_WINDOW = 10.0
_KEPT_FIELDS = ("symbol", "side", "order_type", "order_qty", "limit_price", "cl_ord_id", "order_userref")
"""What is known of an order from its own request."""

_NOTHING = Received()
_WAKE = Received(wake=True)


class Session:
    """The decisions of one connection and of its successors.

    A ``private`` one sends requests only while it has a token, and keeps the account's tables.

    Args:
        timing: all time limits.
        private: whether it needs a token.
        rate: the account's rate counters, for a connection on which orders are sent.
        lock_held: whether the owner's lock is held by this thread; asserted at every entry.
    """

    def __init__(
        self,
        timing: Timing,
        private: bool = False,
        *,
        rate: Optional[TradingRate] = None,
        lock_held: Callable[[], bool] = lambda: True,
    ) -> None:
        self.timing = timing
        self.private = private
        self.token: Optional[HiddenBytes] = None
        """The token as it is sent, or None while there is none."""
        self.token_at = float("-inf")
        """When the token was set."""
        self.account = Account()
        self.clock = ServerClock()
        self.switch: Optional[SwitchRenewals] = None
        self.registry = Registry(timing)
        self.counters = Counters()
        self.open = False
        """Whether requests can go out: connected, and the ``status`` message has come."""
        self.system = ""
        """``online``, ``maintenance``, ``cancel_only`` or ``post_only``, as last told."""
        self.status: Dict[str, Any] = {}
        """The last ``status`` message's data."""
        self.server_error = ""
        """The last error the exchange sent about the connection as a whole."""
        self.liveness: Optional[Liveness] = None
        self._rate = rate
        self._lock_held = lock_held
        self._last_frame = float("-inf")
        self._bucket = TokenBucket(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)
        self._in_flight = InFlight(self.registry.uses)
        self._malformed: Deque[float] = deque(maxlen=MALFORMED_LIMIT)
        self.data = DataFrames(self.registry, self.account, self.counters, private, rate)
        self.subscriptions = Subscriptions(
            self.registry,
            self.account,
            private,
            self._in_flight.check_free,
            lambda: self.proven_at,
            lock_held,
        )

    # -- requests ----------------------------------------------------------------------------

    def expect(self, request: Request, now: float) -> bytes:
        """Expect replies to a request that is about to be sent; returns its frame. Requires the lock.

        Raises:
            RequestHeld: it may not go out now.
            TypeError, ValueError: its own id cannot be used.
        """
        assert self._lock_held()
        if isinstance(request, TradingRequest):
            self._expect_trading(request, now)
        self._in_flight.add(request, now)
        return messages.encode(
            {"method": request.method, **self._with_token(request.message), "req_id": request.req_id}
        )

    def _expect_trading(self, request: TradingRequest, now: float) -> None:
        held = self.why_not(request)
        if held is not None:
            raise RequestHeld(held)
        request.their_time = self.clock.read(now)
        request.before = frozenset(self.account.orders.records)
        if request.engine_deadline is not None:
            moment = request.our_time if request.their_time is None else request.their_time
            request.params = {**request.params, "deadline": time_text(moment + request.engine_deadline)}
            request.message = {"params": request.params}
        if self._rate is not None:
            self._rate.charge_request(request.method, request.params, now)

    def why_not(self, request: TradingRequest) -> Optional[str]:
        """Why a gated request may not go out now, or None if it may. Requires holding the lock."""
        assert self._lock_held()
        if not request.gated:
            return None
        if request.method in ADDING and not self.open:
            return "there is no connection"
        closed = why_closed(request.method, request.params, self.system)
        orders = self.account.orders
        if closed is None and request.method in ADDING and orders.blind:
            return f"client.orders is {orders.state} ({orders.reason})"
        return closed

    def _with_token(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        params = message.get("params")
        if not self.private or not isinstance(params, Mapping) or "token" in params:
            return message
        return {**message, "params": {**params, "token": self.token}}

    def forget(self, request: Request) -> None:
        """Nobody waits for ``request`` any more; a reply that still comes counts as late. Requires the
        lock."""
        assert self._lock_held()
        self._in_flight.drop(request)

    # -- input -------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """A connection is made; the ``status`` message has not come yet. Requires holding the lock."""
        assert self._lock_held()
        self.liveness = Liveness(self.timing, now, ask_now=self.private)  # orders need the exchange's clock
        self.counters.connections += 1
        self.server_error = ""
        self._malformed.clear()

    def receive(self, frame: bytes, now: float) -> Received:
        """Take one frame. Never raises for what the peer sent. Requires holding the lock."""
        assert self._lock_held()
        counters = self.counters
        counters.messages += 1
        counters.bytes += len(frame)
        if self.liveness is not None:
            self.liveness.frame_at = now
        try:
            if frame.startswith(messages.BOOK_PREFIX):
                return self.data.receive_book(frame, now)
            envelope = messages.decode_envelope(frame)
            if envelope.method is not None:
                return self._reply(envelope, frame, now)
            if envelope.channel is not None:
                return self._data(envelope, frame, now)
            if envelope.error is not None or envelope.Error is not None:
                return self._server_error(envelope, now)
        except MalformedFrame as error:
            return self._malformed_frame(frame, str(error), now)
        return _NOTHING

    def lost(self, reason: str) -> None:
        """The connection is gone. Requests fail, wishes stay, books are STALE. Requires holding the lock."""
        assert self._lock_held()
        self._last_frame = self.proven_at
        self.open = False
        self.liveness = None
        self.token = None
        self._in_flight.lost(reason)
        self.registry.lost(self._last_frame, reason)

    def close(self, reason: str) -> None:
        """There will be no further connection. Requires holding the lock."""
        self.lost(reason)
        for entry in self.registry.entries.values():
            entry.close(reason, self._last_frame)
        for table in (self.account.orders, self.account.balances):
            table.leave(BookState.CLOSED, reason, self._last_frame)

    # -- output ------------------------------------------------------------------------------

    def due(self, now: float, byte_at: float, message_at: Optional[float]) -> List[bytes]:
        """The frames that should be sent now; they count as sent. Requires holding the lock."""
        assert self._lock_held()
        if not self.open or self.liveness is None:
            return []
        self.registry.expire(now)
        for entry in self.registry.entries.values():
            if entry.overdue(now, self.timing):
                entry.mute += 1
                if entry.was_fed:
                    entry.lapse(entry.acked_at or now, "acknowledged, but no data")
                self.counters.resyncs += 1
                entry.renew(now)
        frames = []
        if self.ready:
            frames = [
                messages.subscription_request(*request, token=self.token)
                for request in self.registry.due(now, self._bucket, self._in_flight.new_id)
            ]
            frames += self._renewal(now)
        life_at = self.liveness.life_at(now, byte_at, message_at)
        if self.liveness.ping_due(now, life_at, self.registry.confirmed):
            req_id = self._in_flight.new_id()
            self.liveness.pinged(req_id, now)
            self.counters.pings += 1
            frames.append(messages.ping_request(req_id))
        return frames

    def _renewal(self, now: float) -> List[bytes]:
        switch = self.switch
        if switch is None:
            return []
        switch.look()
        if not switch.due(now):
            return []
        request = Request("cancel_all_orders_after", {"params": {"timeout": switch.timeout}})
        frame = self.expect(request, now)
        switch.asked(request, now)
        return [frame]

    @property
    def ready(self) -> bool:
        """Whether requests can go out."""
        return self.open and (self.token is not None or not self.private)

    @property
    def wants_token(self) -> bool:
        """Whether the exchange has refused the token and another one is needed."""
        return self.private and self.open and self.token is None

    def use_token(self, token: Secret, now: float) -> None:
        """Go on with this token. Requires holding the lock."""
        assert self._lock_held()
        self.token, self.token_at = messages.encoded_secret(token), now

    def _token_refused(self, sent_at: Optional[float]) -> None:
        if sent_at is None or sent_at >= self.token_at:
            self.token = None

    def verdict(self, now: float, byte_at: float, message_at: Optional[float]) -> Optional[str]:
        """Why the connection must be given up, or None. Requires holding the lock."""
        assert self._lock_held()
        if self.liveness is None:
            return None
        if not self.open:
            waited = now - self.liveness.opened_at
            return "no status message" if waited > self.timing.connect_timeout else None
        if len(self._malformed) == MALFORMED_LIMIT and now - self._malformed[0] < MALFORMED_WINDOW:
            return f"{MALFORMED_LIMIT} malformed frames within {MALFORMED_WINDOW:g} s"
        life_at = self.liveness.life_at(now, byte_at, message_at)
        return self.liveness.verdict(now, life_at, self.registry.confirmed)

    def silent(self, now: float) -> bool:
        """Whether the connection is silent for longer than a live one can be."""
        return self.liveness is None or now - self.liveness.frame_at > self.timing.silence_abort

    @property
    def proven_at(self) -> float:
        """When the last frame of any kind came, which proves that nothing was left out."""
        return self._last_frame if self.liveness is None else self.liveness.frame_at

    def age(self, now: float) -> float:
        """Seconds since the last frame of any kind."""
        return now - self.proven_at

    # -- frames ------------------------------------------------------------------------------

    def _data(self, envelope: Envelope, frame: bytes, now: float) -> Received:
        if envelope.channel == "heartbeat":
            return _NOTHING
        if envelope.channel == "status":
            return self._status(envelope)
        return self.data.receive(envelope, frame, now)

    def _status(self, envelope: Envelope) -> Received:
        data = messages.decode_value(bytes(envelope.data))
        first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
        before, self.system = self.system, str(first.get("system", ""))
        self.status = first
        self.open = self.liveness is not None
        notes: Tuple[Note, ...] = ()
        if before and before != self.system:
            notes = (Notice("WARNING", f"the exchange is now {self.system!r} (was {before!r})"),)
        return Received(notes=notes, wake=True, pump=True)

    def _reply(self, envelope: Envelope, frame: bytes, now: float) -> Received:
        req_id = envelope.req_id
        failed = envelope.success is False or envelope.error is not None
        error = messages.error_text(envelope.error) if failed else ""
        if error.startswith(TOO_FAST):
            self._bucket.pause(now + 1.0)
        if envelope.method in ("pong", "ping") and self.liveness and self.liveness.ponged(req_id, now):
            self.clock.heard(envelope.time_in, now - (self.liveness.rtt or 0.0), now)
            return _WAKE
        request = self._in_flight.find(req_id)
        if self.private and error.startswith(TOKEN_REFUSED):
            self._token_refused(request.sent_at if request else self.registry.sent_at(req_id))
        if request is not None:
            return self._replied(request, Reply(frame, envelope), error, now)
        success, symbol = envelope.success is True, envelope.symbol
        if success and bytes(envelope.result).startswith(b"{"):
            result = messages.decode_value(bytes(envelope.result))
            symbol = result.get("symbol")
            if isinstance(result.get("maxratecount"), int) and self._rate is not None:
                self._rate.told_threshold(result["maxratecount"])
        symbol = symbol if isinstance(symbol, str) else None
        answers = self.registry.answer(req_id, symbol, success, error, frame, now)
        if answers is None:
            self.counters.late_replies += 1
            return _WAKE
        return self._answered(answers, now)

    def _replied(self, request: Request, reply: Reply, error: str, now: float) -> Received:
        self.clock.heard(reply.envelope.time_in, request.sent_at, now)
        self._in_flight.replied(request, reply, error)
        if isinstance(request, TradingRequest) and request.placed and not error:
            self._placed(request, reply, now)
        if not request.abandoned:
            return _WAKE
        self.counters.late_replies += 1
        words = f"refused: {error}" if error else "it was carried out"
        text = f"the reply to {request.method} came after {now - request.sent_at:.1f} s: {words}"
        return Received(notes=(Notice("WARNING", text),), wake=True)

    def _placed(self, request: TradingRequest, reply: Reply, now: float) -> None:
        """Orders were acknowledged: they are in the account's table from this moment on."""
        raw = bytes(reply.envelope.result)
        result = messages.decode_value(raw) if raw else None
        results = result if isinstance(result, list) else [result]
        for params, entry in zip(request.placed, results):
            order_id = entry.get("order_id") if isinstance(entry, dict) else None
            if not isinstance(order_id, str) or not order_id or entry.get("error"):
                continue
            fields = {name: params[name] for name in _KEPT_FIELDS if name in params}
            self.account.orders.acknowledged(order_id, fields, now)
            if self._rate is not None:
                names = (order_id, params.get("cl_ord_id"))
                self._rate.placed(str(params.get("symbol", "")), names, now)

    def _answered(self, answers: List[Answer], now: float) -> Received:
        notes: List[Note] = []
        for answer in answers:
            entry = answer.entry
            if answer.result == "live" and entry.sync is None:
                notes.extend(gap_over(entry, now))
            elif answer.result == "refused" and entry.was_live:
                since = entry.gap[0] if entry.gap is not None else now
                reason = f"ended by the exchange: {answer.error}"
                notes += [Gap(entry.key, reason, since, None), Ended(entry.key, answer.error)]
            elif answer.result == "retry" and answer.error:
                notes.append(Notice("WARNING", f"{entry.key}: {answer.error}; asking again later"))
        hidden = bool(answers) and all(
            answer.entry.internal and answer.entry.sync is None for answer in answers
        )
        return Received(notes=tuple(notes), wake=True, pump=True, hidden=hidden)

    def _server_error(self, envelope: Envelope, now: float) -> Received:
        self.server_error = messages.error_text(envelope.error or envelope.Error)
        self._bucket.pause(now + 1.0)
        return Received(notes=(Notice("WARNING", f"the exchange says: {self.server_error:.200}"),))

    def _malformed_frame(self, frame: bytes, why: str, now: float) -> Received:
        self.counters.malformed += 1
        self._malformed.append(now)
        text = f"malformed frame dropped ({why:.100}): {frame[:200]!r}"
        return Received(notes=(Notice("WARNING", text),))
