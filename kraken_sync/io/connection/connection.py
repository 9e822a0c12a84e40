"""One connection of a client, which is restored until it is stopped, and the blocking calls over it.

Callers reach the session through :meth:`Connection.read` and :meth:`Connection.wait`, which run a function of
this library on it with its lock held, and return what that returns. No user's code runs under the lock.

The watchdog's thread sends what is due (subscriptions, pings, renewals); the calling thread sends its own
requests. Both decide what to send while they hold the send lock, so frames leave in the order of decisions.
"""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import Any, Callable, List, Mapping, Optional, Sequence, TypeVar

from ...core.orders.rate_limits import TradingRate
from ...core.session.requests import Reply, Request, TradingRequest
from ...core.session.session import NO_CONNECTION, Session
from ...core.timing import Timing
from ...core.wire import messages
from ...core.wire.channels import channel_params
from ...core.wire.times import Clock
from ...errors import ClientClosed, ConnectFailed, ConnectionLost, KrakenError, ReplyTimeout
from ..dial import Endpoint, unanswered
from ..events import Events
from ..kept_error import fresh_copy
from ..logs import log
from ..tape import Taps
from ..transport import MakeTransport, Transport, over_websocket
from ..waiting import LEAST_FOR_A_LOCK, lock_timeout, run_locked
from .chores import Chore
from .io_thread import IOThread
from .outbox import Outbox
from .room import Room
from .subscriptions import SubscriptionCalls
from .tokens import Tokens

Value = TypeVar("Value")
_EXECUTIONS = channel_params({"channel": "executions"})
(_EXECUTIONS_KEY,) = _EXECUTIONS.keys()


class Connection:
    """A connection to one host. Any thread may use it, unless a method says otherwise.

    Args:
        name: ``public``, ``private`` or ``level3``, for thread names and log lines.
        endpoint: the host to connect to.
        timing: the time limits.
        context: the TLS settings.
        taps: get every frame.
        wake_watchdog: makes the watchdog visit soon; does not block.
        events: is told when the connection is lost, is back, or is given up.
        tokens: the source of WebSocket tokens, for a private connection.
        chores: what else is done at each visit of the watchdog.
        rate: the account's rate counters, for the connection over which orders are sent.
        check_watchdog: acts if the watchdog's thread is dead.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        timing: Timing,
        context: Optional[ssl.SSLContext],
        taps: Taps,
        wake_watchdog: Callable[[], None],
        events: Events,
        tokens: Optional[Tokens] = None,
        chores: Sequence[Chore] = (),
        rate: Optional[TradingRate] = None,
        check_watchdog: Callable[[], None] = lambda: None,
        transport: MakeTransport = over_websocket,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.timing = timing
        self._wake_watchdog = wake_watchdog
        self._room = Room(name, endpoint, timing, taps, tokens is not None, rate, events)
        self._tokens = tokens
        self._chores = chores
        self._keeps_orders = False
        self._io = IOThread(self._room, context, wake_watchdog, tokens, check_watchdog, transport)
        self._outbox = Outbox(self._room)
        self.thread, self.give_up, self.retry_now = self._io.thread, self._io.give_up, self._io.retry_now
        """``give_up(error)`` ends this connection for good, ``retry_now()`` ends a pause between attempts."""
        self.drop = self._io.drop
        self.tell_state = self._room.tell_state
        self.stats, self.gaps = self._room.stats, self._room.copied_gaps
        """The counters of :meth:`SpotWSClient.stats`, and the gaps so far, oldest first."""
        self.subscriptions = SubscriptionCalls(self._room, self.wait, self.check_usable, wake_watchdog)

    def __repr__(self) -> str:
        return f"<Connection {self.name} {self.endpoint} {self.state}>"

    @property
    def state(self) -> str:
        """``INIT``, ``CONNECTING``, ``CONNECTED``, ``RECONNECTING``, ``ERROR`` or ``CLOSED``."""
        return self._room.state

    @property
    def open(self) -> bool:
        """Whether the current connection is up: the exchange's ``status`` message has arrived."""
        return self._room.session.open

    @property
    def worked(self) -> bool:
        """Whether the connection was ever open."""
        return self._room.worked

    @property
    def closed(self) -> bool:
        """Whether the connection was closed on purpose."""
        return self._room.closed

    @property
    def failure(self) -> Optional[KrakenError]:
        """The error because of which the connection was given up for good, or None."""
        return self._room.failure

    # -- the two ways in ---------------------------------------------------------------------

    def read(self, question: Callable[[Session], Value], deadline: Optional[float] = None) -> Value:
        """Return ``question(session)``, called with the session's lock held; never pass it a user's code.

        Raises:
            ReplyTimeout: the lock was not available before ``deadline`` (monotonic seconds).
        """
        room = self._room
        if deadline is None:  # the watchdog and readers: the lock is held for moments only
            with room.lock:
                return question(room.session)
        answer: List[Value] = []  # apart from run_locked()'s None, since None may be the answer

        def ask() -> bool:
            answer.append(question(room.session))
            return True

        if not run_locked(room.lock, lock_timeout(deadline, LEAST_FOR_A_LOCK), ask):
            raise ReplyTimeout(f"{self.endpoint} was busy for too long")
        return answer[0]

    def change(self, order: Callable[[Session], Value], deadline: Optional[float] = None) -> Value:
        """As :meth:`read`, for a change: waiting threads look again, and what is due then is sent."""
        room = self._room

        def told(session: Session) -> Value:
            result = order(session)
            room.lock.notify_all()
            return result

        result = self.read(told, deadline)
        self._wake_watchdog()
        return result

    def wait(
        self, question: Callable[[Session], Optional[Value]], deadline: Optional[float]
    ) -> Optional[Value]:
        """Wait until ``question(session)`` is neither None nor False, and return it; None after ``deadline``.

        It is called with the session's lock held whenever something has changed; never pass it a user's code.

        Raises:
            ClientClosed: the connection was closed.
            KrakenError: the connection was given up for good.
        """
        room = self._room
        answer: List[Value] = []

        def answered() -> bool:
            found = question(room.session)
            if found is None or found is False:
                self.check_usable()
                return False
            answer.append(found)
            return True

        def wait() -> bool:
            room.waiters += 1  # under the lock; while it is 0 the I/O thread saves the notification
            try:
                return room.lock.wait_until(answered, deadline)
            finally:
                room.waiters -= 1

        run_locked(room.lock, lock_timeout(deadline, LEAST_FOR_A_LOCK), wait)
        return answer[0] if answer else None

    def check_usable(self) -> None:
        """Raise the error that ended the connection for good, or ClientClosed, if it has ended."""
        room = self._room
        if room.failure is not None:
            raise fresh_copy(room.failure)
        if room.closed:
            raise ClientClosed

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start connecting. Does not block. Raises ConnectFailed if its thread cannot be started."""
        self._io.start()

    def wait_open(self, deadline: Optional[float]) -> None:
        """Block until the connection is open, at most until ``deadline`` (monotonic seconds).

        Raises:
            ConnectFailed: it could not connect; ``step`` tells what failed. Other KrakenErrors are permanent.
            ClientClosed: the connection was closed.
        """
        started, room = time.monotonic(), self._room
        self.wait(lambda session: session.open or room.refused, deadline)
        if room.session.open:
            return
        trouble, transport = room.trouble, room.transport
        if isinstance(trouble, ConnectFailed) or (trouble is not None and trouble.permanent):
            raise fresh_copy(trouble)
        if trouble is not None:  # the handshake worked, and then the connection ended
            raise ConnectFailed(f"connected, but not greeted: {trouble}", step="status") from trouble
        step = transport.step if transport is not None else "connect"
        what = unanswered(self.endpoint, step)
        raise ConnectFailed(f"{what} within {time.monotonic() - started:.1f} s. Are you online?", step=step)

    def listen_to(self, other: Connection) -> None:
        """Take the trades of another connection of the client as witnesses, too."""
        self._room.listen_to(other._room)

    def stop(self, deadline: float) -> None:
        """Close the connection for good. Blocks at most until ``deadline`` (monotonic seconds)."""
        for chore in self._chores:
            chore.stopping(self)
        self._io.stop(deadline)

    # -- the watchdog's visit ----------------------------------------------------------------

    def visit(self, now: float, judge: bool) -> None:
        """Send what is due; if ``judge``, abort a dead connection. Called by the watchdog's thread only."""
        room = self._room
        if self._tokens is not None:
            self._tokens.visit(self, now)
        for chore in self._chores:
            chore.visit(self, now)
        transport = room.transport
        if transport is None or room.closed:
            return
        with room.lock:
            verdict = room.session.verdict(now, transport.byte_at, transport.message_at, late=not judge)
        if verdict is None:
            if judge:
                room.renew_mute(now)
            self._outbox.send_due()
        # Not judged after a late tick: what has arrived meanwhile may not have been read yet.
        elif judge:
            log.warning("%s: %s; reconnecting", self.endpoint, verdict)
            transport.abort(verdict)

    def clock(self) -> Clock:
        """Return what is known of the exchange's clock at this moment."""
        with self._room.lock:
            clock = self._room.session.clock
            return Clock(clock.read(time.monotonic()), clock.doubt)

    def keep_orders(self) -> None:
        """Keep the account's orders up to date from now on, if the API key may see them. Does not block."""
        room = self._room
        with room.lock:
            if _EXECUTIONS_KEY in room.session.registry.entries:
                return  # it is subscribed already
            if self._keeps_orders and not room.session.account.orders.generation:
                return  # the exchange has refused it before, and would again with every order
            self._keeps_orders = True
        self.subscriptions.keep(_EXECUTIONS)
        self._outbox.send_due()  # now, so that it leaves before the order whose reports it is to bring

    # -- requests ----------------------------------------------------------------------------

    def request(self, message: Mapping[str, Any], deadline: Optional[float]) -> Reply:
        """Send a request, and wait for its reply until ``deadline`` (monotonic seconds).

        Raises:
            ReplyTimeout: there was no reply in time.
            ConnectionLost: the connection ended before the reply arrived, or before the request was sent.
        """
        rest = {name: value for name, value in message.items() if name not in ("method", "req_id")}
        own_id = message.get("req_id")
        request = Request(str(message.get("method")), rest, deadline=deadline, own_id=own_id)
        started = time.monotonic()
        try:
            self.send(request)
        finally:
            self.forget(request)
        if request.replies:
            return request.replies[0]
        if request.lost is not None:
            raise ConnectionLost(
                f"{request.method} was sent, but the connection ended before the reply: {request.lost}"
            )
        waited = time.monotonic() - started
        raise ReplyTimeout(f"no reply to {request.method} within {waited:.1f} s", waited=waited)

    def send(self, request: Request, allowed: Callable[[], None] = lambda: None) -> None:
        """Send a request, and wait until it is done, its effect is seen, or its deadline has passed.

        ``allowed()`` is called right before sending, and raises to prevent it. Whatever this method raises,
        ``request.sent`` tells whether any part of the request may have been sent.

        Raises:
            RequestHeld: the session does not let the request out now.
            ConnectionLost, ReplyTimeout: the request was not sent, or only a part of it.
        """
        if not isinstance(request, TradingRequest):  # the desk has checked what these have
            messages.encode(request.message)  # raises for what JSON cannot hold, before a reply is expected
        room, deadline = self._room, request.deadline

        def send(transport: Transport) -> None:
            if deadline is not None and time.monotonic() >= deadline:
                raise ReplyTimeout("the time was over before it could be sent")
            allowed()
            with room.lock:  # the reply is expected before the frame leaves, since it may come at once
                frame = room.session.expect(request, time.monotonic())
            request.sent = True  # before sending: a Ctrl-C inside must not make it look unsent
            try:
                transport.send(frame, self._send_timeout(deadline))
            except ConnectionLost as error:
                request.sent = error.sent
                raise

        self._send_over(deadline, send)
        confirmed = request.confirmed if isinstance(request, TradingRequest) else None
        self.wait(
            lambda session: request.done or (confirmed is not None and confirmed(session)),
            deadline,
        )

    def why_not(self, request: TradingRequest) -> Optional[str]:
        """Return why a gated request may not be sent now, or None if it may."""
        room = self._room
        with room.lock:
            why = room.session.why_not(request)
            if why == NO_CONNECTION:
                why = f"{why} to {self.endpoint} ({room.trouble or 'connecting'})"
        return why

    def forget(self, request: Request) -> None:
        """Expect no more replies to ``request``."""
        with self._room.lock:
            self._room.session.forget(request)

    def send_raw(self, message: Mapping[str, Any], deadline: Optional[float]) -> None:
        """Send a message as it is, without expecting a reply."""
        frame = messages.encode(message)
        self._send_over(deadline, lambda transport: transport.send(frame, self._send_timeout(deadline)))

    def _send_over(self, deadline: Optional[float], send: Callable[[Transport], None]) -> None:
        """Call ``send(transport)`` with the send lock held, once requests can be sent."""
        room = self._room
        while True:  # again if the connection was replaced while this thread waited for the send lock
            self.check_usable()
            # Looked at without the lock first, since it is looked at again right before sending.
            if not (room.session.ready or self.wait(lambda session: session.ready, deadline)):
                raise ConnectionLost(
                    f"there is no connection to {self.endpoint} ({room.trouble or 'still connecting'})",
                    sent=False,
                )
            transport = room.transport
            assert transport is not None
            sent = transport.exclusively(  # None: not available in time; False: it has been replaced
                lock_timeout(deadline), partial(self._send_if_current, transport, send)
            )
            if sent is None:
                raise ReplyTimeout("other messages were in the way for too long")
            if sent:
                return

    def _send_if_current(self, transport: Transport, send: Callable[[Transport], None]) -> bool:
        room = self._room
        with room.lock:
            current = room.transport is transport and room.session.ready
        if current:
            send(transport)
        return current

    def _send_timeout(self, deadline: Optional[float]) -> float:
        if deadline is None:
            return self.timing.send_timeout
        return max(0.01, min(self.timing.send_timeout, deadline - time.monotonic()))

    def renew_token(self, deadline: Optional[float]) -> None:
        """Replace a token that was refused. Blocks at most until ``deadline`` (monotonic seconds).

        Raises:
            KrakenError: no token could be fetched.
        """
        if self._tokens is not None:
            self._tokens.renew(self, deadline)
