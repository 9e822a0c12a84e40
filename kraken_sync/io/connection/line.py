"""The line to one host: transport + session + I/O thread + lock, kept up until it is stopped.

The lock guards the session. Whoever holds it decides and lets go; sending, logging, filling streams and
calling happen outside. Sending is ordered by the transport's send lock: what is due is decided *inside*
it, so frames leave in the order in which they were decided.
"""

from __future__ import annotations

import logging
import os
import random
import ssl
import threading
import time
import weakref
from collections import deque
from functools import partial
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Tuple

from ...core.session.events import Ended, Gap, Note, Notice
from ...core.session.session import Session
from ...core.timing import Timing, retry_delay
from ...core.wire import messages
from ...core.wire.channels import Key
from ...errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    ForkedClient,
    KrakenError,
    SubscriptionRefused,
    again,
)
from .. import budget
from ..condition import Condition, Event
from ..dial import Target
from ..holders import Holds, Refs
from ..streams import Stream
from ..transport import Transport
from ..walltime import wall_text

log = logging.getLogger("kraken_sync")

KEPT_GAPS = 10_000
MAX_FAULTS = 3
"""After so many faults of our own in a row, give up instead of looping."""

_all: weakref.WeakSet[Line] = weakref.WeakSet()


class Line:
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
        private: bool = False,
    ) -> None:
        self.name = name
        self.target = target
        self.timing = timing
        self.session = Session(timing, private)
        self.changed = Condition()
        """The lock of everything decided here; notified when somebody waiting should look again."""
        self.failure: Optional[KrakenError] = None
        """Why it was given up for good."""
        self.trouble: Optional[KrakenError] = None
        """Why it is not connected right now."""
        self.closed = False
        self.worked = False
        """Whether it was ever open."""
        self.gaps: Deque[Dict[str, Any]] = deque(maxlen=KEPT_GAPS)
        self.gap_count = 0
        """How many gaps there were in all; the ledger keeps the latest."""
        self.reconnects = 0
        self._context = context
        self._taps = taps
        self._wake_watchdog = wake_watchdog
        self._waiting = 0
        self._holds = Holds()
        self._transport: Optional[Transport] = None
        self._stop = Event()
        self._down_since: Optional[float] = None
        self._thread = threading.Thread(target=self._run, name=f"kraken-sync-io-{name}", daemon=True)
        _all.add(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.target} {self.state}>"

    @property
    def state(self) -> str:
        """``INIT``, ``CONNECTING``, ``CONNECTED``, ``RECONNECTING``, ``ERROR`` or ``CLOSED``."""
        if self.failure is not None:
            return "ERROR"
        if self.closed:
            return "CLOSED"
        if self.session.open:
            return "CONNECTED"
        if self._transport is None:
            return "INIT"
        return "CONNECTING" if self._down_since is None else "RECONNECTING"

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
            raise again(trouble)
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
        with self.changed:  # so that the I/O thread cannot go on with another transport unseen
            self._stop.set()
            transport = self._transport
        if transport is not None:
            transport.say_goodbye(max(0.0, min(0.2, deadline - time.monotonic())))
        with self.changed:
            if not self.closed:
                self.closed = True
                self.session.close("the client is closed")
                self.changed.notify_all()
            streams = self._holds.all_streams()
        for stream in streams:
            stream.end(self.failure)
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    def stats(self, now: float) -> Dict[str, Any]:
        """Counters and times, for people."""
        with self.changed:
            session = self.session
            alive = session.liveness
            return {
                **vars(session.counters),
                "reconnects": self.reconnects,
                "gaps": self.gap_count,
                "subscriptions": len(session.registry.wishes),
                "rtt": alive.rtt if alive is not None else None,
                "last_message_age": session.age(now) if alive is not None else None,
                "system": session.system,
            }

    def wait(self, done: Callable[[], bool], deadline: Optional[float]) -> bool:
        """Wait until ``done()``; False once ``deadline`` passed. The caller holds ``changed``.

        Raises:
            ClientClosed: it was closed meanwhile.
            KrakenError: it was given up for good.
        """

        def over() -> bool:
            if done():
                return True
            self.check_usable()
            return False

        self._waiting += 1
        try:
            return self.changed.wait_until(over, deadline)
        finally:
            self._waiting -= 1

    def check_usable(self) -> None:
        """Raise what ended this line, if it has ended."""
        if self.failure is not None:
            raise again(self.failure)
        if self.closed:
            raise ClientClosed

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
        self.pump(wake=False)

    def pump(self, *, wake: bool = True) -> None:
        """Send everything that is due. If somebody else is sending, the watchdog comes back to it."""
        transport = self._transport
        if transport is None:
            return
        if not transport.exclusively(0.0, partial(self._send_due, transport)) and wake:
            self._wake_watchdog()

    def _send_due(self, transport: Transport) -> bool:
        try:
            transport.send_pong(self.timing.send_timeout)
            while True:
                with self.changed:
                    if self._transport is not transport:
                        return True
                    now = time.monotonic()
                    frames = self.session.due(now, transport.byte_at, transport.message_at)
                if not frames:
                    return True
                for frame in frames:
                    transport.send(frame, self.timing.send_timeout)
        except ConnectionLost:
            return True  # condemned; the I/O thread notices and everything wished is asked for again

    # -- I/O thread --------------------------------------------------------------------------

    def _run(self) -> None:
        attempt = faults = 0
        while not self._stop.is_set():
            if not self._wait_for_budget():
                return
            with self.changed:
                if self._stop.is_set():
                    return
                transport = self._transport = Transport(self.target, self._context)
            opened_at: Optional[float] = None
            try:
                self._prepare(time.monotonic() + self.timing.connect_timeout)
                transport.connect(time.monotonic() + self.timing.connect_timeout)
                opened_at = time.monotonic()
                with self.changed:
                    self.session.opened(opened_at)
                self._receive_all(transport)
            except KrakenError as error:
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

    def _prepare(self, deadline: float) -> None:
        """What must be had before connecting. Blocks until ``deadline`` (monotonic) at most."""

    def give_up(self, error: KrakenError) -> None:
        """End this line for good, because of ``error``. Any thread."""
        with self.changed:
            if self.failure is not None or self.closed:
                return
            self.failure = error
            self._stop.set()
            transport, streams = self._transport, self._holds.all_streams()
            self.session.lost(str(error))
            self.changed.notify_all()
        log.error("%s: given up for good: %s", self.target, error)
        if transport is not None:
            transport.abort(str(error))
        for stream in streams:
            stream.end(error)

    def _receive_all(self, transport: Transport) -> None:
        session, changed, recv, clock = self.session, self.changed, transport.recv, time.monotonic
        refs_of, was_open = self._holds.refs, False
        while True:
            frame = recv()
            with changed:
                received = session.receive(frame, clock())
                keys = received.keys
                refs = [refs_of(key) for key in keys]
                told = self._record(received.notes) if received.notes else ()
                if received.wake and self._waiting:
                    changed.notify_all()
            if received.notes:
                self._tell(told)
                told = ()
            shown = received.frame or frame
            if not received.hidden:
                for tap in self._taps:
                    tap.put(None, shown)
            if keys:
                _deliver(shown, keys, refs)
            if received.pump:
                if session.open and not was_open:
                    was_open = True
                    self._came_up()
                self._wake_watchdog()

    def _came_up(self) -> None:
        with self.changed:
            self.trouble, self.worked = None, True
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
        reason = error.reason if isinstance(error, ConnectionLost) else str(error)
        with self.changed:
            was_open, said = self.session.open, self.session.server_error
            if said:
                reason = f"{reason}; the exchange said: {said}"
                error = ConnectionLost(f"{error}; the exchange said: {said}", reason=reason)
            self.session.lost(reason)
            repeated = str(self.trouble) == str(error)
            self.trouble = error
            if was_open and self._down_since is None:
                self._down_since = now
            if for_good or error.permanent:
                self.failure = error
            streams = self._holds.all_streams() if self.failure is not None else []
            self.changed.notify_all()
        log.log(logging.INFO if repeated else logging.WARNING, "%s", error)
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
        refused = self.trouble if isinstance(self.trouble, ConnectFailed) else None
        busy = self.session.system in ("maintenance", "cancel_only") or self.session.server_error
        if busy or (refused is not None and refused.status is not None):
            delay = max(delay, self.timing.maintenance_retry)
        asked = refused.retry_after if refused is not None else None
        return max(delay, min(asked or 0.0, 600.0))

    def _record(self, notes: Sequence[Note]) -> Sequence[Tuple[Note, List[Stream]]]:
        """What must be true at the same moment as the books: the ledger of gaps, and who is told what."""
        told = []
        ended = {note.key: self._holds.forget(note.key) for note in notes if isinstance(note, Ended)}
        for note in notes:
            streams: List[Stream] = []
            if isinstance(note, Gap):
                self.gaps.append({"channel": note.key.channel, **_gap_frame(note)["data"][0]})
                self.gap_count += 1
            if not isinstance(note, Notice):
                streams = ended[note.key] if note.key in ended else self._holds.streams(note.key)
            told.append((note, streams))
        return told

    def _tell(self, told: Sequence[Tuple[Note, List[Stream]]]) -> None:
        for note, streams in told:
            if isinstance(note, Notice):
                log.log(getattr(logging, note.level), "%s: %s", self.target, note.text)
            elif isinstance(note, Gap):
                self._tell_gap(note, streams)
            else:
                text = f"{note.key} was ended by the exchange: {note.error}"
                log.error("%s", text)
                for stream in streams:
                    refused = {note.key.symbol: note.error}
                    stream.end(SubscriptionRefused(note.key.channel, refused, text=text), note.key)

    def _tell_gap(self, gap: Gap, streams: Sequence[Stream]) -> None:
        frame = _gap_frame(gap)
        if gap.until is not None:
            missing = gap.until - gap.since
            log.warning("%s is live again; %.1f s are missing (%s)", gap.key, missing, gap.reason)
        for stream in [*streams, *self._taps]:
            stream.put_gap(frame)


def _deliver(frame: bytes, keys: Sequence[Key], refs: Sequence[Refs]) -> None:
    """Give a frame to each stream once. (A function of its own: no stream may live on in a local.)"""
    given = set()
    for key, some in zip(keys, refs):
        for ref in some:
            stream = ref()
            if stream is not None and ref not in given:
                given.add(ref)
                stream.put(key, frame)


def _forked() -> None:
    """In a forked child: the threads and sockets are the parent's, and a lock may be held for ever."""
    budget.renew_lock()
    for line in list(_all):
        line.changed = Condition()
        line.failure = ForkedClient()
        line.closed = True
        line._transport = None
        for stream in [*line._holds.all_streams(), *line._taps]:
            stream.fork(line.failure)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _gap_frame(gap: Gap) -> Dict[str, Any]:
    since, until = wall_text(gap.since), wall_text(gap.until)
    return messages.gap_frame(gap.key.channel, gap.key.symbol, gap.reason, since, until)
