"""One connection of a client, kept up until it is stopped, and the blocking calls over it.

Facades have two ways in: :meth:`Connection.read` and :meth:`Connection.wait`. Both run a function of this
library on the session, with its lock held, and give back what that returns; callers never see the lock or
the session, and no code of theirs runs under it.

What is due (subscriptions, pings, renewals) is sent by the watchdog's thread, requests by the thread that
makes them. Both hold the transport's send lock, and what is sent is decided inside it, so frames leave in
the order in which they were decided.
"""

from __future__ import annotations

import ssl
import time
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, TypeVar

from ...core.orders.params import ADDING
from ...core.orders.rate_limits import TradingRate
from ...core.session.requests import Reply, Request, TradingRequest
from ...core.session.session import Session
from ...core.timing import Timing
from ...core.wire import messages
from ...core.wire.channels import channel_params
from ...core.wire.times import Clock
from ...errors import ClientClosed, ConnectFailed, ConnectionLost, KrakenError, ReplyTimeout
from ..dial import Endpoint
from ..kept_error import fresh_copy
from ..logs import log
from ..streams import Stream
from ..transport import Transport
from ..waiting import LEAST_FOR_A_LOCK, lock_timeout, run_locked
from .chores import Chore
from .io_thread import IOThread
from .outbox import Outbox
from .room import Room
from .subscriptions import SubscriptionCalls
from .tokens import Tokens

Value = TypeVar("Value")
_EXECUTIONS = channel_params({"channel": "executions"})


class Connection:
    """A connection to one host. Any thread, unless said otherwise.

    Args:
        name: ``public``, ``private`` or ``level3``, for thread names and log lines.
        endpoint: where to connect.
        timing: all time limits.
        context: TLS settings.
        taps: streams that get every frame; the list may grow.
        wake_watchdog: asks for a check soon.
        tokens: where a private connection has its tokens from.
        chores: what else is looked after at each visit of the watchdog.
        rate: the account's rate counters, for the connection that orders take.
        watched: whether the watchdog lives.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        timing: Timing,
        context: Optional[ssl.SSLContext],
        taps: List[Stream],
        wake_watchdog: Callable[[], None],
        tokens: Optional[Tokens] = None,
        chores: Sequence[Chore] = (),
        rate: Optional[TradingRate] = None,
        watched: Callable[[], bool] = lambda: True,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.timing = timing
        self._wake_watchdog = wake_watchdog
        self._room = Room(endpoint, timing, taps, tokens is not None, rate)
        self._tokens = tokens
        self._chores = chores
        self._keeps_orders = False
        self._io = IOThread(name, self._room, context, wake_watchdog, tokens, watched)
        self._outbox = Outbox(self._room)
        self.give_up, self.thread = self._io.give_up, self._io.thread
        """Ends this connection for good, because of an error."""
        self.subscriptions = SubscriptionCalls(self._room, self.wait, self.check_usable, wake_watchdog)

    def __repr__(self) -> str:
        return f"<Connection {self.name} {self.endpoint} {self.state}>"

    @property
    def state(self) -> str:
        """``INIT``, ``CONNECTING``, ``CONNECTED``, ``RECONNECTING``, ``ERROR`` or ``CLOSED``."""
        room = self._room
        if room.failure is not None:
            return "ERROR"
        if room.closed:
            return "CLOSED"
        if room.session.open:
            return "CONNECTED"
        if room.transport is None:
            return "INIT"
        return "CONNECTING" if room.down_since is None else "RECONNECTING"

    @property
    def open(self) -> bool:
        """Whether the exchange has greeted on the connection there is now."""
        return self._room.session.open

    @property
    def worked(self) -> bool:
        """Whether it was ever open."""
        return self._room.worked

    @property
    def closed(self) -> bool:
        """Whether it was closed for good."""
        return self._room.closed

    @property
    def failure(self) -> Optional[KrakenError]:
        """Why it was given up for good, if it was."""
        return self._room.failure

    # -- the two ways in ---------------------------------------------------------------------

    def read(self, question: Callable[[Session], Value], deadline: Optional[float] = None) -> Value:
        """``question(session)``, with the session's lock held. Never give it code of a user.

        Raises:
            ReplyTimeout: the lock could not be had before ``deadline`` (monotonic).
        """
        room = self._room
        if deadline is None:
            with room.lock:
                return question(room.session)
        answer: List[Value] = []

        def ask() -> bool:
            answer.append(question(room.session))
            return True

        if not run_locked(room.lock, lock_timeout(deadline, LEAST_FOR_A_LOCK), ask):
            raise ReplyTimeout(f"{self.endpoint} was busy for too long")
        return answer[0]

    def change(self, order: Callable[[Session], Value], deadline: Optional[float] = None) -> Value:
        """As :meth:`read`, for what changes something: whoever waits looks again, and what is due is sent."""
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

        It is asked with the session's lock held, whenever something has changed. Never give it code of a
        user.

        Raises:
            ClientClosed: the connection was closed meanwhile.
            KrakenError: it was given up for good.
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
            room.waiters += 1
            try:
                return room.lock.wait_until(answered, deadline)
            finally:
                room.waiters -= 1

        run_locked(room.lock, lock_timeout(deadline, LEAST_FOR_A_LOCK), wait)
        return answer[0] if answer else None

    def check_usable(self) -> None:
        """Raise what ended the connection for good, if it has ended."""
        room = self._room
        if room.failure is not None:
            raise fresh_copy(room.failure)
        if room.closed:
            raise ClientClosed

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start connecting. Does not block."""
        self._io.start()

    def wait_open(self, deadline: Optional[float]) -> None:
        """Block until requests can go out, at most until ``deadline`` (monotonic).

        Raises:
            ConnectFailed: it could not connect, with the step that failed.
            ClientClosed: it was closed meanwhile.
        """
        started, room = time.monotonic(), self._room
        if self.wait(lambda session: session.open, deadline):
            return
        trouble, transport = room.trouble, room.transport
        if isinstance(trouble, ConnectFailed):
            raise fresh_copy(trouble)
        if trouble is not None:
            raise ConnectFailed(f"connected, but not greeted: {trouble}", step="status") from trouble
        step = transport.step if transport is not None else "connect"
        what = {
            "resolve": f"cannot resolve {self.endpoint.host} (no DNS answer)",
            "connect": f"{self.endpoint} does not answer",
            "tls": f"{self.endpoint} does not complete the TLS handshake",
            "handshake": f"{self.endpoint} does not send a status message",
        }[step]
        raise ConnectFailed(f"{what} within {time.monotonic() - started:.1f} s. Are you online?", step=step)

    def stop(self, deadline: float) -> None:
        """Close for good. Blocks until ``deadline`` (monotonic) at most."""
        for chore in self._chores:
            chore.stopping(self)
        self._io.stop(deadline)

    def stats(self, now: float) -> Dict[str, Any]:
        """Counters and times, for people."""
        return self._room.stats(now)

    def gaps(self) -> List[Dict[str, Any]]:
        """What was missing so far, oldest first."""
        return self._room.copied_gaps()

    # -- the watchdog's visit ----------------------------------------------------------------

    def visit(self, now: float, judge: bool) -> None:
        """Abort a dead connection, if ``judge``; send what is due. The watchdog's thread only."""
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
            self._outbox.send_due()
        elif judge:
            log.warning("%s: %s; reconnecting", self.endpoint, verdict)
            transport.abort(verdict)

    def clock(self) -> Clock:
        """The exchange's clock, as it is known here."""
        with self._room.lock:
            clock = self._room.session.clock
            return Clock(clock.read(time.monotonic()), clock.doubt)

    def keep_orders(self) -> None:
        """Keep the account's orders up to date from now on, if the key may see them. Does not block."""
        room = self._room
        with room.lock:
            if _EXECUTIONS.keys()[0] in room.session.registry.entries:
                return  # somebody has it
            if self._keeps_orders and not room.session.account.orders.generation:
                return  # it was refused
            self._keeps_orders = True
        self.subscriptions.keep(_EXECUTIONS)
        self._outbox.send_due()  # at once, so that it is asked for before the order that needs it

    # -- requests ----------------------------------------------------------------------------

    def request(self, message: Mapping[str, Any], deadline: Optional[float]) -> Reply:
        """Send a request and wait for its reply.

        Raises:
            ReplyTimeout: no reply in time.
            ConnectionLost: the connection ended before the reply came, or before it was sent.
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

        ``allowed()`` is asked right before it leaves, and raises if it may not. Whatever this raises,
        ``request.sent`` tells whether any part of it may have left.

        Raises:
            RequestHeld: the session does not let it out now.
            ConnectionLost, ReplyTimeout: it was not sent, or only in part.
        """
        messages.encode(request.message)  # what cannot be sent must raise before anything is expected
        room, deadline = self._room, request.deadline

        def send(transport: Transport) -> None:
            if deadline is not None and time.monotonic() >= deadline:
                raise ReplyTimeout("the time was over before it could be sent")
            allowed()
            with room.lock:
                frame = room.session.expect(request, time.monotonic())
            request.sent = True
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
        """Why a gated request may not go out now, or None if it may."""
        room = self._room
        with room.lock:
            if request.gated and request.method in ADDING and not room.session.open:
                return f"there is no connection to {self.endpoint} ({room.trouble or 'connecting'})"
            return room.session.why_not(request)

    def forget(self, request: Request) -> None:
        """Nobody is interested in ``request`` any more."""
        with self._room.lock:
            self._room.session.forget(request)

    def send_raw(self, message: Mapping[str, Any], deadline: Optional[float]) -> None:
        """Send a message as it is and expect nothing."""
        frame = messages.encode(message)
        self._send_over(deadline, lambda transport: transport.send(frame, self._send_timeout(deadline)))

    def _send_over(self, deadline: Optional[float], send: Callable[[Transport], None]) -> None:
        """``send(transport)``, with its send lock held, once requests can go out."""
        room = self._room
        while True:
            self.check_usable()
            if not self.wait(lambda session: session.ready, deadline):
                raise ConnectionLost(
                    f"there is no connection to {self.endpoint} ({room.trouble or 'still connecting'})",
                    sent=False,
                )
            transport = room.transport
            assert transport is not None
            sent = transport.exclusively(
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
        """Have another token than the one that was refused. Blocks until ``deadline`` (monotonic) at most.

        Raises:
            KrakenError: there is none to be had.
        """
        if self._tokens is not None:
            self._tokens.renew(self, deadline)
