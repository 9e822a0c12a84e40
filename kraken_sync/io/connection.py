"""One connection to the exchange and its successors: transport + session + I/O thread + lock.

The lock guards the session. Whoever holds it decides and lets go; sending, logging, filling streams and
calling happen outside. Sending is ordered by the transport's send lock: what is due is decided *inside*
it, so frames leave in the order in which they were decided.
"""

from __future__ import annotations

import logging
import random
import ssl
import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager
from typing import Any, Callable, Deque, Dict, FrozenSet, Iterator, List, Mapping, Optional, Sequence, Tuple

from ..core import messages
from ..core.channels import Ask, Key
from ..core.limits import Timing, retry_delay
from ..core.session import Ended, Gap, Note, Notice, Request, Session
from ..core.subscriptions import Call
from ..errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    KrakenError,
    ReplyTimeout,
    SubscriptionRefused,
)
from . import budget
from .dial import Target
from .streams import WAIT_SLICE, Stream
from .transport import Transport
from .walltime import wall_text

log = logging.getLogger("kraken_sync")

KEPT_GAPS = 10_000
BOOK = "book"
"""Holds a subscription for the books of its symbol."""
MAX_FAULTS = 3
"""After so many faults of our own in a row, give up instead of looping."""

Streams = Tuple["weakref.ref[Stream]", ...]


class Connection:
    """The line to one host, kept up until :meth:`stop`.

    Args:
        name: ``public`` or ``private``, for thread names and log lines.
        target: where to connect.
        timing: all time limits.
        context: TLS settings.
        taps: streams that get every frame; the list may grow.
        wake_watchdog: asks for a check soon.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        timing: Timing,
        context: Optional[ssl.SSLContext],
        taps: List[Stream],
        wake_watchdog: Callable[[], None],
    ) -> None:
        self.name = name
        self.target = target
        self.timing = timing
        self.session = Session(timing)
        self.changed = threading.Condition()
        """The lock of everything decided here; notified when somebody waiting should look again."""
        self.state = "INIT"
        self.failure: Optional[KrakenError] = None
        """Why it was given up for good."""
        self.trouble: Optional[KrakenError] = None
        """Why it is not connected right now."""
        self.closed = False
        self.gaps: Deque[Dict[str, Any]] = deque(maxlen=KEPT_GAPS)
        self.gap_count = 0
        """How many gaps there were in all; the ledger keeps the latest."""
        self.reconnects = 0
        self._context = context
        self._taps = taps
        self._wake_watchdog = wake_watchdog
        self._waiting = 0
        self._streams: Dict[Key, Streams] = {}
        self._kept: Dict[Key, FrozenSet[object]] = {}
        self._transport: Optional[Transport] = None
        self._stop = threading.Event()
        self._down_since: Optional[float] = None
        self._thread = threading.Thread(target=self._run, name=f"kraken-sync-io-{name}", daemon=True)

    def __repr__(self) -> str:
        return f"<Connection {self.name} {self.target} {self.state}>"

    # -- life --------------------------------------------------------------------------------

    def start(self) -> None:
        """Start connecting."""
        self._thread.start()

    def wait_open(self, deadline: Optional[float]) -> None:
        """Block until requests can go out, at most until ``deadline`` (monotonic).

        Raises:
            ConnectFailed: it could not connect, with the step that failed.
            ClientClosed: it was closed meanwhile.
        """
        started = time.monotonic()
        with self.changed:
            if self.wait(lambda: self.session.open, deadline):
                return
            trouble, transport = self.trouble, self._transport
        if isinstance(trouble, ConnectFailed):
            raise trouble
        if trouble is not None:
            raise ConnectFailed(f"connected, but not greeted: {trouble}", step="status") from trouble
        step = transport.step if transport is not None else "connect"
        what = {
            "resolve": f"cannot resolve {self.target.host} (no DNS answer)",
            "connect": f"{self.target} does not answer",
            "tls": f"{self.target} does not complete the TLS handshake",
            "handshake": f"{self.target} does not send a status message",
        }[step]
        raise ConnectFailed(f"{what} within {time.monotonic() - started:.1f} s. Are you online?", step=step)

    def stop(self, deadline: float) -> None:
        """Close for good. Blocks until ``deadline`` (monotonic) at most. Any thread."""
        self._stop.set()
        transport = self._transport
        if transport is not None:
            transport.say_goodbye(max(0.0, min(0.2, deadline - time.monotonic())))
        with self.changed:
            if not self.closed:
                self.closed = True
                self.state = "CLOSED" if self.failure is None else "ERROR"
                self.session.close("the client is closed", time.monotonic())
                self.changed.notify_all()
            streams = self._all_streams()
        for stream in streams:
            stream.end(self.failure)
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def wait(self, done: Callable[[], bool], deadline: Optional[float]) -> bool:
        """Wait until ``done()``; False once ``deadline`` passed. The caller holds ``changed``.

        Raises:
            ClientClosed: it was closed meanwhile.
            KrakenError: it was given up for good.
        """
        self._waiting += 1
        try:
            while not done():
                if self.failure is not None:
                    raise self.failure
                if self.closed:
                    raise ClientClosed("the client is closed")
                left = WAIT_SLICE if deadline is None else deadline - time.monotonic()
                if left <= 0:
                    return False
                self.changed.wait(min(left, WAIT_SLICE))
            return True
        finally:
            self._waiting -= 1

    # -- requests ----------------------------------------------------------------------------

    def subscribe(
        self,
        ask: Ask,
        deadline: Optional[float],
        *,
        stream: Optional[Stream] = None,
        keep: object = None,
        req_id: Optional[int] = None,
    ) -> Call:
        """Subscribe and wait for every symbol's answer. All or nothing.

        ``stream`` gets the frames. ``keep`` holds the subscription when no stream does: ``BOOK`` for
        books, any object for somebody who gets every frame anyway; see :meth:`release`.

        Raises:
            SubscriptionRefused: naming each refused symbol; what was added is undone.
            ReplyTimeout: no answer in time; what was added is undone.
        """
        keys = ask.keys()
        with self.changed:
            self._check_usable()
            wishes = self.session.registry.wishes
            before = {key: self._kept.get(key, frozenset()) for key in keys if key in wishes}
            call = self.session.subscribe_book(ask) if keep == BOOK else self.session.subscribe(ask, req_id)
            if not call.refused:
                for key in keys:
                    self._hold(key, stream, keep)
        if call.refused:
            raise SubscriptionRefused(ask.channel.name, call.refused, req_id=req_id)
        try:
            self._pump_and_wait(call, deadline, f"subscribe to {ask.channel.name}")
            if call.refused:
                raise SubscriptionRefused(ask.channel.name, call.refused, req_id=req_id)
        except BaseException:
            self._undo(call, keys, before, stream)
            raise
        return call

    def unsubscribe(self, ask: Ask, deadline: Optional[float], req_id: Optional[int] = None) -> Call:
        """End subscriptions for everybody, and wait for the exchange to confirm.

        Raises:
            SubscriptionRefused: something in it is not subscribed; nothing was changed.
            ReplyTimeout: no confirmation in time; it stays unsubscribed here.
        """
        keys = ask.keys()
        with self.changed:
            self._check_usable()
            call = self.session.unsubscribe(keys, req_id)
            ended = [] if call.refused else [s for key in keys for s in self._forget(key)]
            self.changed.notify_all()
        if call.refused:
            raise SubscriptionRefused(ask.channel.name, call.refused, method="unsubscribe", req_id=req_id)
        for key in keys:
            for stream in ended:
                stream.end(None, key)
        self._pump_and_wait(call, deadline, f"unsubscribe from {ask.channel.name}")
        return call

    def release(self, keys: Sequence[Key], stream: Optional[Stream], keep: object) -> None:
        """A stream, and what was given as ``keep``, hold ``keys`` no more.

        What nobody holds is unsubscribed. Does not block.
        """
        with self.changed:
            for key in keys:
                others = self._drop_stream(key, stream)
                kept = self._kept[key] = self._kept.get(key, frozenset()) - {keep}
                if not others and not kept:
                    self._unwant(key)
            self.changed.notify_all()
        self.pump()

    def request(
        self, message: Mapping[str, Any], deadline: Optional[float]
    ) -> Tuple[bytes, messages.Envelope]:
        """Send a request and wait for its reply.

        Raises:
            ReplyTimeout: no reply in time.
            ConnectionLost: the connection ended before the reply came, or before it was sent.
        """
        method, started = str(message.get("method")), time.monotonic()
        messages.encode(message)  # what cannot be sent must raise before anything is expected
        with self._sending(deadline) as transport:
            with self.changed:
                request = self.session.request(method, message.get("req_id"))
            frame = messages.encode({**message, "req_id": request.req_id})
            try:
                transport.send(frame, self._send_timeout(deadline))
            except ConnectionLost:
                with self.changed:
                    self.session.forget(request)
                raise
        try:
            with self.changed:
                answered = self.wait(lambda: request.done, deadline)
        except BaseException:
            self._forget_request(request)
            raise
        if request.reply is not None and request.envelope is not None:
            return request.reply, request.envelope
        if request.lost is not None:
            raise ConnectionLost(
                f"{method} was sent, but the connection ended before the reply: {request.lost}"
            )
        assert not answered
        self._forget_request(request)
        waited = time.monotonic() - started
        raise ReplyTimeout(f"no reply to {method} within {waited:.1f} s", waited=waited)

    def send_raw(self, message: Mapping[str, Any], deadline: Optional[float]) -> None:
        """Send a message as it is and expect nothing."""
        frame = messages.encode(message)
        with self._sending(deadline) as transport:
            transport.send(frame, self._send_timeout(deadline))

    @contextmanager
    def _sending(self, deadline: Optional[float]) -> Iterator[Transport]:
        """The current transport, with its send lock held, once requests can go out."""
        while True:
            with self.changed:
                self._check_usable()
                if not self.wait(lambda: self.session.open, deadline):
                    raise ConnectionLost(
                        f"not sent: there is no connection to {self.target} "
                        f"({self.trouble or 'still connecting'})"
                    )
                transport = self._transport
            assert transport is not None
            left = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            if not transport.send_lock.acquire(timeout=left):
                raise ReplyTimeout("not sent: other messages were in the way for too long")
            try:
                with self.changed:
                    current = self._transport is transport and self.session.open
                if current:
                    yield transport
                    return
            finally:
                transport.send_lock.release()

    def _send_timeout(self, deadline: Optional[float]) -> float:
        if deadline is None:
            return self.timing.send_timeout
        return max(0.01, min(self.timing.send_timeout, deadline - time.monotonic()))

    def _forget_request(self, request: Request) -> None:
        with self.changed:
            self.session.forget(request)

    def _pump_and_wait(self, call: Call, deadline: Optional[float], what: str) -> None:
        started = time.monotonic()
        self.pump()
        with self.changed:
            if self.wait(lambda: call.done, deadline):
                return
            self.session.abandon(call)
            missing = ", ".join(sorted(key.symbol for key in call.waiting if key.symbol))
            trouble = self.trouble
        waited = time.monotonic() - started
        text = f"no answer to {what}{f' for {missing}' if missing else ''} within {waited:.1f} s"
        if call.trouble:
            text += f"; the exchange said {call.trouble!r}, so it was asked again more slowly"
        elif trouble is not None:
            text += f"; there is no connection ({trouble})"
        raise ReplyTimeout(text, waited=waited) from trouble

    def _check_usable(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self.closed:
            raise ClientClosed("the client is closed; start() opens it again")

    # -- who holds what ----------------------------------------------------------------------

    def _hold(self, key: Key, stream: Optional[Stream], keep: object) -> None:
        if keep is not None:
            self._kept[key] = self._kept.get(key, frozenset()) | {keep}
        if stream is not None:
            stream.prime(self.session.primer(key))
            self._streams[key] = (*self._streams.get(key, ()), weakref.ref(stream))

    def _unwant(self, key: Key) -> None:
        self._kept.pop(key, None)
        self.session.registry.unwant(key, None, self.session.open)

    def _drop_stream(self, key: Key, stream: Optional[Stream]) -> bool:
        """Forget ``stream`` and those that were collected; True if there are others."""
        refs = self._streams.pop(key, ())
        left = tuple(ref for ref in refs if ref() is not None and ref() is not stream)
        if left:
            self._streams[key] = left
        return bool(left)

    def _forget(self, key: Key) -> List[Stream]:
        self._kept.pop(key, None)
        refs = self._streams.pop(key, ())
        return [stream for stream in (ref() for ref in refs) if stream is not None]

    def _undo(
        self,
        call: Call,
        keys: Sequence[Key],
        before: Mapping[Key, FrozenSet[object]],
        stream: Optional[Stream],
    ) -> None:
        """Leave everything as it was before a subscribe that did not succeed."""
        with self.changed:
            self.session.abandon(call)
            for key in keys:
                others = self._drop_stream(key, stream)
                self._kept[key] = before.get(key, frozenset())
                if key not in before and not others:
                    self._unwant(key)
        if not self.closed:
            self.pump()

    def _all_streams(self) -> List[Stream]:
        found = (ref() for refs in self._streams.values() for ref in refs)
        return list({id(stream): stream for stream in found if stream is not None}.values())

    # -- sending what is due (any thread) ----------------------------------------------------

    def check(self, now: float, judge: bool) -> None:
        """The watchdog's visit: abort a dead connection, send what is due."""
        transport = self._transport
        if transport is None or self.closed:
            return
        with self.changed:
            verdict = self.session.verdict(now, transport.byte_at, transport.message_at)
        if verdict is not None:
            if judge:
                log.warning("%s: %s; reconnecting", self.target, verdict)
                transport.abort(verdict)
            return
        self.pump()

    def pump(self) -> None:
        """Send everything that is due. If somebody else is sending, the watchdog comes back to it."""
        transport = self._transport
        if transport is None:
            return
        if not transport.send_lock.acquire(blocking=False):
            self._wake_watchdog()
            return
        try:
            transport.send_pong(self.timing.send_timeout)
            while True:
                with self.changed:
                    if self._transport is not transport:
                        return
                    now = time.monotonic()
                    frames = self.session.due(now, transport.byte_at, transport.message_at)
                if not frames:
                    return
                for frame in frames:
                    transport.send(frame, self.timing.send_timeout)
        except ConnectionLost:
            pass  # condemned; the I/O thread notices and everything wished is asked for again
        finally:
            transport.send_lock.release()

    # -- I/O thread --------------------------------------------------------------------------

    def _run(self) -> None:
        attempt = faults = 0
        while not self._stop.is_set():
            if not self._wait_for_budget():
                return
            with self.changed:
                transport = self._transport = Transport(self.target, self._context)
                self.state = "RECONNECTING" if self.reconnects or self._down_since else "CONNECTING"
            opened_at: Optional[float] = None
            try:
                transport.connect(time.monotonic() + self.timing.connect_timeout)
                opened_at = time.monotonic()
                with self.changed:
                    self.session.opened(opened_at)
                self._receive_all(transport)
            except (ConnectFailed, ConnectionLost) as error:
                self._lost(error)
            except Exception as error:
                faults += 1
                log.exception("a fault of kraken_sync itself in the I/O thread of %s", self.target)
                self._lost(ConnectionLost(f"internal error: {error!r}"), faults >= MAX_FAULTS)
            finally:
                transport.dispose()
            if self.failure is not None:
                return
            if opened_at is not None and time.monotonic() - opened_at >= self.timing.good_after:
                attempt = faults = 0
            delay = self._retry_delay(attempt)
            attempt += 1
            if not self._stop.is_set():
                log.info("%s: next attempt in %.1f s", self.target, delay)
            self._stop.wait(delay)

    def _receive_all(self, transport: Transport) -> None:
        session, changed, recv, clock = self.session, self.changed, transport.recv, time.monotonic
        was_open = False
        while True:
            frame = recv()
            with changed:
                received = session.receive(frame, clock())
                if received.notes:
                    self._record(received.notes)
                keys = received.keys
                streams = [self._streams.get(key) for key in keys] if keys else ()
                if received.wake and self._waiting:
                    changed.notify_all()
            if received.notes:
                self._tell(received.notes)
            for tap in self._taps:
                tap.put(None, frame)
            for key, refs in zip(keys, streams):
                for ref in refs or ():
                    stream = ref()
                    if stream is not None:
                        stream.put(key, frame)
            if received.pump:
                if session.open and not was_open:
                    was_open = True
                    self._came_up()
                self._wake_watchdog()

    def _came_up(self) -> None:
        with self.changed:
            self.state, self.trouble = "CONNECTED", None
            down, self._down_since = self._down_since, None
            wished = len(self.session.registry.wishes)
            if down is not None:
                self.reconnects += 1
            self.changed.notify_all()
        if down is None:
            log.info("connected to %s", self.target)
        else:
            seconds = time.monotonic() - down
            log.warning(
                "reconnected to %s after %.1f s; restoring %d subscriptions",
                self.target,
                seconds,
                wished,
            )

    def _lost(self, error: KrakenError, for_good: bool = False) -> None:
        if self._stop.is_set():
            return
        now = time.monotonic()
        reason = getattr(error, "reason", "") or str(error)
        with self.changed:
            was_open, said = self.session.open, self.session.server_error
            if said:
                reason = f"{reason}; the exchange said: {said}"
                error = ConnectionLost(f"{error}; the exchange said: {said}", reason=reason)
            self.session.lost(reason, now)
            self.trouble = error
            self.state = "RECONNECTING" if self.reconnects or was_open else "CONNECTING"
            if was_open or self._down_since is not None:
                self._down_since = self._down_since or now
            if for_good or getattr(error, "permanent", False):
                self.failure, self.state = error, "ERROR"
            streams = self._all_streams() if self.failure is not None else []
            self.changed.notify_all()
        log.warning("%s", error)
        if self.failure is not None:
            log.error("%s: given up for good: %s", self.target, error)
            for stream in [*streams, *self._taps]:
                stream.end(self.failure)

    def _wait_for_budget(self) -> bool:
        while not self._stop.is_set():
            wait = budget.take(self.target.host, self.target.port, time.monotonic())
            if wait <= 0:
                return True
            log.warning(
                "%s: the connection budget is used up (the exchange bans for more); waiting %.0f s",
                self.target,
                wait,
            )
            with self.changed:
                self.trouble = self.trouble or ConnectFailed("the connection budget is used up")
            self._stop.wait(wait)
        return False

    def _retry_delay(self, attempt: int) -> float:
        delay = retry_delay(attempt, self.timing, random.random())
        trouble = self.trouble
        busy = self.session.system in ("maintenance", "cancel_only") or self.session.server_error
        if busy or getattr(trouble, "status", None) is not None:
            delay = max(delay, self.timing.maintenance_retry)
        return max(delay, min(getattr(trouble, "retry_after", None) or 0.0, 600.0))

    def _tell(self, notes: Sequence[Note]) -> None:
        for note in notes:
            if isinstance(note, Notice):
                log.log(getattr(logging, note.level), "%s: %s", self.target, note.text)
            elif isinstance(note, Gap):
                self._tell_gap(note)
            else:
                self._tell_end(note)

    def _record(self, notes: Sequence[Note]) -> None:
        """Enter gaps into the ledger; under the lock, so that it is as new as the books."""
        for note in notes:
            if isinstance(note, Gap):
                self.gaps.append({"channel": note.key.channel, **_gap_frame(note)["data"][0]})
                self.gap_count += 1

    def _tell_gap(self, gap: Gap) -> None:
        key, until, frame = gap.key, gap.until, _gap_frame(gap)
        with self.changed:
            refs = self._streams.get(key, ())
        if until is not None:
            log.warning("%s is live again; %.1f s are missing (%s)", key, until - gap.since, gap.reason)
        for stream in [*(ref() for ref in refs), *self._taps]:
            if stream is not None:
                stream.put_gap(frame)

    def _tell_end(self, ended: Ended) -> None:
        key = ended.key
        log.error("%s was ended by the exchange: %s", key, ended.error)
        with self.changed:
            streams = self._forget(key)
        for stream in streams:
            stream.end(SubscriptionRefused(key.channel, {key.symbol: ended.error}), key)


def _gap_frame(gap: Gap) -> Dict[str, Any]:
    since, until = wall_text(gap.since), wall_text(gap.until)
    return messages.gap_frame(gap.key.channel, gap.key.symbol, gap.reason, since, until)
