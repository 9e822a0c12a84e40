"""The decisions about one connection, made without touching a socket.

A :class:`Session` outlives its connections. Its input is what callers want (``subscriptions``,
:meth:`Session.expect`), the frames (:meth:`Session.receive_run`) and the loss of a connection
(:meth:`Session.lost`). Its output is the frames to send (:meth:`Session.due`), what a frame means for readers
(:class:`Received`) and whether the connection is dead (:meth:`Session.verdict`).

The session never waits and never sends; ``now`` (monotonic seconds) always comes from the caller. It is not
thread-safe: the owner's lock serialises all calls, and methods that change it assert that the lock is held.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Callable, Deque, List, Optional, Sequence

from ..freshness import BookState
from ..orders.params import ADDING
from ..orders.rate_limits import TradingRate
from ..orders.tables import Account
from ..timing import Timing
from ..wire import messages
from ..wire.error_texts import TOKEN_REFUSED, TOO_FAST
from ..wire.messages import Envelope, MalformedFrame
from ..wire.secret import HiddenBytes, Secret
from ..wire.times import ServerClock
from .budgets import TokenBucket
from .data import DataFrames
from .dead_mans_switch import SwitchRenewals
from .events import Counters, Notice, Received
from .exchange_status import ExchangeStatus
from .liveness import Liveness
from .mute import MuteWatch
from .registry import Registry
from .replies import Replies
from .requests import InFlight, Reply, Request, RequestHeld, TradingRequest, why_closed
from .subscriptions import Subscriptions
from .unreadable import concerned

REQUESTS_PER_SECOND = 10  # the exchange publishes no number; nautilus_trader's adapter uses 10 to 20
REQUESTS_AT_ONCE = 10  # a burst of 25 subscribes had its first 15 accepted (xchange-stream issue 502)
NO_CONNECTION = "there is no connection"
MALFORMED_LIMIT = 3  # one or two are dropped: an edge restart sends a line that is not JSON
MALFORMED_WINDOW = 10.0

_NOTHING = Received()
_WAKE = Received(wake=True)


class Session:
    """The decisions about one connection and about those that replace it.

    A private session sends requests only while it has a token, and keeps the account's tables.

    Args:
        timing: all time limits.
        private: whether requests need a token.
        asset_class: what every request about a market must name, or None; see :class:`.dial.Endpoint`.
        rate: the account's rate counters, for a connection on which orders are sent.
        lock_held: tells whether this thread holds the owner's lock; asserted by methods that change the
            session.
    """

    def __init__(
        self,
        timing: Timing,
        private: bool = False,
        *,
        asset_class: Optional[str] = None,
        rate: Optional[TradingRate] = None,
        lock_held: Callable[[], bool] = lambda: True,
    ) -> None:
        self.timing = timing
        self.private = private
        self.token: Optional[HiddenBytes] = None
        """The token as JSON text, or None while there is none."""
        self.token_at = self.token_refused_at = float("-inf")
        """When the token was set (monotonic seconds)."""
        self.account = Account()
        self.clock = ServerClock()
        self.switch: Optional[SwitchRenewals] = None
        self.registry = Registry(timing)
        self.counters = Counters()
        self.open = False
        """Whether the connection is up and its ``status`` message has arrived."""
        self.exchange = ExchangeStatus()
        self.server_error = ""
        """The last error that concerned the connection as a whole, in the exchange's words."""
        self.liveness: Optional[Liveness] = None
        self._named = {} if asset_class is None else {"asset_class": asset_class}
        self._rate = rate
        self._lock_held = lock_held
        self._proven_at = float("-inf")
        self._bucket = TokenBucket(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)
        self._in_flight = InFlight(self.registry.uses)
        self._malformed: Deque[float] = deque(maxlen=MALFORMED_LIMIT)
        self.mute = MuteWatch(self.registry, self.counters, timing)
        self.data = DataFrames(self.registry, self.account, self.counters, self.mute, private, rate)
        self.replies = Replies(self.registry, self._in_flight, self.account, self.clock, self.counters, rate)
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
        """Register a request that is about to be sent, and return its frame. Requires holding the lock.

        Raises:
            RequestHeld: the request may not be sent now.
            TypeError, ValueError: the caller's own ``req_id`` cannot be used.
        """
        assert self._lock_held()
        if isinstance(request, TradingRequest):
            self.prepare(request, now)
        self._in_flight.add(request, now)
        if isinstance(request, TradingRequest):
            self.charge(request, now)
        return messages.encode(
            {"method": request.method, **self._with_token(request.message), "req_id": request.req_id}
        )

    def charge(self, request: TradingRequest, now: float) -> None:
        """Charge the rate counters for a request that is being sent. Requires holding the lock."""
        assert self._lock_held()
        # only what is really sent is charged, and before its reply, as the exchange charges on receipt
        if self._rate is not None:
            # Looked up for the one method that needs them: there may be thousands of orders.
            pairs = self.account.orders.open_pairs if request.method == "cancel_all" else ()
            self._rate.charge_request(request.method, request.params, now, pairs)

    def prepare(self, request: TradingRequest, now: float) -> None:
        """Note in a request what is known before it is sent. Raises RequestHeld if it may not be sent now."""
        held = self.why_not(request)
        if held is not None:
            raise RequestHeld(held)
        told = self.clock.read(now)
        request.their_time = told if told is not None else request.their_time
        request.before = frozenset(self.account.orders.records)  # reconcile() never takes one of these
        request.watched = self.account.orders.unbroken
        request.take_deadline()

    def why_not(self, request: TradingRequest) -> Optional[str]:
        """Return why a gated request may not be sent now, or None if it may. Requires holding the lock."""
        assert self._lock_held()
        if not request.gated:
            return None
        needs_line = request.method in ADDING and request.via != "rest"
        if not self.open:  # and so the exchange's status is not known
            return NO_CONNECTION if needs_line else None
        announced = self.exchange.announcements if request.heeds_announcements else ()
        closed = why_closed(request.method, request.params, self.exchange.system, announced)
        orders = self.account.orders
        if closed is None and needs_line and orders.blind:
            return f"client.orders is {orders.state} ({orders.reason})"
        return closed

    def _with_token(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        # Added only now: a request that was held back must not carry a token that has been replaced since.
        params = message.get("params")
        if not self.private or not isinstance(params, Mapping) or "token" in params:
            return message
        return {**message, "params": {**self._named, **params, "token": self.token}}

    def forget(self, request: Request) -> None:
        """Stop waiting for ``request``; a later reply counts as late. Requires holding the lock."""
        assert self._lock_held()
        self._in_flight.drop(request)

    # -- input -------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """Start a connection, whose ``status`` message has not arrived yet. Requires holding the lock."""
        assert self._lock_held()
        self.liveness = Liveness(self.timing, now, ask_now=self.private)  # orders need the exchange's clock
        self.counters.connections += 1
        self.server_error = ""
        self._malformed.clear()

    def receive(self, frame: bytes, now: float) -> Received:
        """Process one frame. Never raises because of what the exchange sent. Requires holding the lock."""
        return self.receive_run([frame], now)[0]

    def receive_run(self, frames: Sequence[bytes], now: float) -> List[Received]:
        """As :meth:`receive`, for frames that came together, up to the first that is not plain."""
        assert self._lock_held()
        if self.liveness is not None:
            self.liveness.frame_at = now
        run: List[Received] = []
        receive_book = self.data.receive_book
        for frame in frames:
            try:
                if frame.startswith(messages.BOOK_PREFIX):
                    received = receive_book(frame, now)  # most frames are these: they are decoded only once
                else:
                    received = self._receive(frame, now)
            except MalformedFrame as error:
                received = self._unreadable(frame, str(error), now)
            run.append(received)
            if not received.plain:
                break
        self.counters.messages += len(run)
        self.counters.bytes += sum(map(len, frames[: len(run)]))
        return run

    def _receive(self, frame: bytes, now: float) -> Received:
        if frame.startswith(messages.LEVEL3_PREFIX):
            return self.data.receive_level3(frame, now)
        envelope = messages.decode_envelope(frame)
        if envelope.method is not None:
            return self._reply(envelope, frame, now)
        if envelope.channel is not None:
            return self._data(envelope, frame, now)
        if envelope.error is not None or envelope.Error is not None:
            return self._server_error(envelope, now)
        raise MalformedFrame("it has neither a channel nor a method")

    def lost(self, reason: str) -> None:
        """End the connection: requests fail, subscriptions stay wanted. Requires holding the lock."""
        assert self._lock_held()
        self._proven_at = self.proven_at  # first: proven_at reads liveness, which is dropped below
        self.open = False
        self.liveness = None
        self.token = None
        self._in_flight.lost(reason)
        self.registry.lost(self._proven_at, reason)

    def close(self, reason: str) -> None:
        """End for good: books and tables become CLOSED. Requires holding the lock."""
        self.lost(reason)
        for entry in self.registry.entries.values():
            entry.close(reason, self._proven_at)
        # Tables outlive their entries, so that they can be read (as stale) after an unsubscribe.
        for table in (self.account.orders, self.account.balances):
            table.leave(BookState.CLOSED, reason, self._proven_at)

    # -- output ------------------------------------------------------------------------------

    def renew_mute(self, now: float, message_at: Optional[float] = None) -> List[str]:
        """Subscribe anew what is mute, and return what to log (see :mod:`.mute`). Requires the lock.

        ``message_at`` is when a message began that has not arrived yet, or None: what seems to be missing may
        be in it, so nothing is judged meanwhile.
        """
        assert self._lock_held()
        return self.mute.renew(now) if self.open and message_at is None else []

    def due(self, now: float, byte_at: float, message_at: Optional[float]) -> List[bytes]:
        """Return the frames to send now, which count as sent from here on. Requires holding the lock.

        Args:
            now, byte_at, message_at: see :meth:`Liveness.life_at`.
        """
        assert self._lock_held()
        if not self.open or self.liveness is None:
            return []
        self.registry.expire(now)
        # Pings need no token, so they are sent even while a private connection waits for one.
        frames = []
        if self.ready:
            frames = [
                messages.subscription_request(*request, named=self._named, token=self.token)
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
        """Whether requests can be sent: the connection is up and, if it is private, has a token."""
        return self.open and (self.token is not None or not self.private)

    @property
    def wants_token(self) -> bool:
        """Whether the connection is up and needs a token."""
        return self.private and self.open and self.token is None

    def use_token(self, token: Secret, now: float) -> None:
        """Use this token from now on. Requires holding the lock."""
        assert self._lock_held()
        self.token, self.token_at = messages.encoded_secret(token), now

    def _token_refused(self, sent_at: Optional[float], now: float) -> None:
        if sent_at is None or sent_at >= self.token_at:  # not for a request sent with the token before
            self.token, self.token_refused_at = None, now

    def verdict(
        self, now: float, byte_at: float, message_at: Optional[float], late: bool = False
    ) -> Optional[str]:
        """Return why the connection must be given up, or None. Requires holding the lock.

        ``late`` says that this process was held up: nothing is proven until the exchange is heard anew.
        """
        assert self._lock_held()
        if self.liveness is None:
            return None
        if late:
            self.liveness.distrust(now)
        # Before the status message nothing can be subscribed, so there are no heartbeats to miss.
        if not self.open:
            waited = now - self.liveness.opened_at
            return "no status message" if waited > self.timing.connect_timeout else None
        if len(self._malformed) == MALFORMED_LIMIT and now - self._malformed[0] < MALFORMED_WINDOW:
            return f"{MALFORMED_LIMIT} malformed frames within {MALFORMED_WINDOW:g} s"
        return self.liveness.verdict(now, byte_at, message_at, self.registry.confirmed)

    def stale(self, now: float) -> bool:
        """Return whether the last proof is older than a live connection allows."""
        return self.liveness is None or self.liveness.stale(now)

    @property
    def proven_at(self) -> float:
        """The moment up to which everything was received (monotonic seconds); see :class:`Liveness`."""
        return self._proven_at if self.liveness is None else self.liveness.proven_at

    def age(self, now: float) -> float:
        """Return the seconds since :attr:`proven_at`."""
        return now - self.proven_at

    # -- frames ------------------------------------------------------------------------------

    def _data(self, envelope: Envelope, frame: bytes, now: float) -> Received:
        if not isinstance(envelope.channel, str):
            raise MalformedFrame("its channel is no text")
        if envelope.channel == "heartbeat":
            return _NOTHING
        if envelope.channel == "status":
            return self._status(envelope, now)
        return self.data.receive(envelope, frame, now)

    def _status(self, envelope: Envelope, now: float) -> Received:
        data = messages.decode_value(bytes(envelope.data))
        notes = self.exchange.told(data, not self.open, now)
        self.open = self.liveness is not None  # status is the first frame of every connection
        return Received(notes=notes, wake=True, pump=True)

    def _reply(self, envelope: Envelope, frame: bytes, now: float) -> Received:
        req_id = envelope.req_id
        failed = envelope.success is False or envelope.error is not None
        error = messages.error_text(envelope.error) if failed else ""
        if error.startswith(TOO_FAST):
            self._slow_down(now)
        if envelope.method in ("pong", "ping") and self.liveness and self.liveness.ponged(req_id, now):
            self.clock.heard(envelope.time_in, now - (self.liveness.rtt or 0.0), now)
            return _WAKE
        # Requests come before subscriptions: raw messages may carry ids that the registry knows, too.
        request = self._in_flight.find(req_id)
        if self.private and error.startswith(TOKEN_REFUSED):
            self._token_refused(request.sent_at if request else self.registry.sent_at(req_id), now)
        if request is not None:
            if request.method == "ping" and not error and self.liveness is not None:
                self.liveness.proved(request.sent_at)
            return self.replies.to_request(request, Reply(frame, envelope), error, now)
        return self.replies.to_subscription(envelope, frame, error, now)

    def _slow_down(self, now: float) -> None:
        self._bucket.pause(now + 1.0)
        if self.liveness is not None:
            self.liveness.spare(now)

    def _server_error(self, envelope: Envelope, now: float) -> Received:
        self.server_error = messages.error_text(envelope.error or envelope.Error)
        self._slow_down(now)
        return Received(notes=(Notice("WARNING", f"the exchange says: {self.server_error:.200}"),))

    def _unreadable(self, frame: bytes, why: str, now: float) -> Received:
        """Treat a frame that cannot be read as a gap in what it names; if it names nothing, in everything."""
        self.counters.malformed += 1
        entries = self.registry.entries
        keys = concerned(frame, entries)
        if keys is None:
            self._malformed.append(now)  # one subscription alone never ends the connection
            keys = list(entries)
        notice = Notice("WARNING", f"a frame cannot be read ({why:.100}): {frame[:200]!r}")
        notes = self.data.missed(keys, f"a message cannot be read: {why:.100}", self.proven_at, now)
        return Received(notes=(notice, *notes), wake=True, pump=True)
