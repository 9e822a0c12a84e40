"""The thread that connects, reads frames, applies them and delivers them, and reconnects after a loss.

It never waits for a reader, sends nothing except the handshake, and runs no user's code.

Source for reconnecting: https://docs.kraken.com/exchange/guides/websockets/introduction.
"""

from __future__ import annotations

import logging
import random
import ssl
import time
from typing import Callable, Optional, Sequence

from ...core.timing import retry_delay
from ...core.wire.channels import Key
from ...core.wire.record_lines import RECEIVED
from ...errors import ConnectFailed, ConnectionLost, KrakenError
from .. import budget
from ..kept_error import fresh_copy
from ..logs import log
from ..threads import GuardedThread
from ..transport import MakeTransport, Transport, over_websocket
from ..waiting import Event
from .holders import deliver
from .room import Room
from .telling import Telling
from .tokens import Tokens

MAX_FAULTS = 3
"""Errors of this library in a row after which the connection is given up; a loop would help nobody."""
POLICY_VIOLATION = 1008
"""The close code after which the connection is given up, as Kraken's own SDK does."""
LONGEST_RETRY_AFTER = 900.0
"""The longest ``Retry-After`` that is obeyed, in seconds: as long as a temporary lockout, its longest ban."""


class IOThread:
    """Keeps one connection up until :meth:`stop` or :meth:`give_up`.

    Args:
        room: the connection's shared state.
        context: the TLS settings.
        wake_watchdog: makes the watchdog visit soon; does not block.
        tokens: the source of WebSocket tokens, for a private connection.
        check_watchdog: called about once per second; acts if the watchdog's thread is dead.
        transport: makes the transport of each attempt to connect.
    """

    def __init__(
        self,
        room: Room,
        context: Optional[ssl.SSLContext],
        wake_watchdog: Callable[[], None],
        tokens: Optional[Tokens],
        check_watchdog: Callable[[], None],
        transport: MakeTransport = over_websocket,
    ) -> None:
        self._name, self._room = room.name, room
        self._transport = transport
        self._context = context
        self._wake_watchdog = wake_watchdog
        self._tokens = tokens
        self._check_watchdog = check_watchdog
        self._hurry = Event()
        self._telling = Telling(room)
        self.thread = GuardedThread(f"io-{room.name}", self._run, self._died)

    # -- any thread --------------------------------------------------------------------------

    def start(self) -> None:
        """Start connecting. Does not block. Raises ConnectFailed if the thread cannot be started."""
        self.thread.begin()

    def stop(self, deadline: float) -> None:
        """Close the connection for good. Blocks at most until ``deadline`` (monotonic seconds)."""
        room = self._room
        # Under the lock, as _run() checks the event and makes its next transport under it: either this call
        # sees that transport and aborts it, or _run() sees the event and makes none.
        with room.lock:
            room.stop.set()
            self._hurry.set()
            transport = room.transport
        # The close frame is a courtesy: 0.2 s at most, so that a peer that takes no data does not use up the
        # time for ending the thread.
        if transport is not None:
            transport.say_goodbye(max(0.0, min(0.2, deadline - time.monotonic())))
        with room.lock:
            if not room.closed:
                if room.session.open:
                    self._telling.note({"note": "closed"})
                room.closed = True
                room.session.close("the client is closed")
                room.lock.notify_all()
            streams = room.holders.all_streams()
        # Not under the lock: the end of a stream wakes its readers, who may ask the session next.
        for stream in streams:
            stream.end(room.failure)
        self.thread.finish(max(0.0, deadline - time.monotonic()))

    def drop(self, reason: str) -> None:
        """End the current connection, which is then restored. Any thread; does not block."""
        transport = self._room.transport
        if transport is not None:
            transport.abort(reason)

    def give_up(self, error: KrakenError) -> None:
        """End the connection for good because of ``error``. Any thread; does not block."""
        room = self._room
        with room.lock:
            if room.failure is not None or room.closed:
                return  # the first error stays, and an error after a close is a consequence of it
            room.failure = fresh_copy(error)
            room.stop.set()
            self._hurry.set()
            transport, streams = room.transport, room.holders.all_streams()
            if room.session.open:
                self._telling.note({"note": "lost", "reason": str(error)})
            room.session.lost(str(error))
            room.lock.notify_all()
        log.error("%s: given up for good: %s", room.endpoint, error)
        room.events.gave_up(self._name, str(error))
        if transport is not None:
            transport.abort(str(error))
        for stream in streams:
            stream.end(error)

    def retry_now(self) -> None:
        """End the pause before the next attempt. Does not block; no effect while the connection is open."""
        with self._room.lock:
            if self._room.session.open:
                return
            # Not the one under way: it began before whatever the caller has changed.
            self._room.asked_attempt = self._room.attempts + 1
            self._hurry.set()

    def _died(self, error: BaseException) -> None:
        """Give the connection up, because its thread ended by an exception: nobody may wait for it."""
        self.give_up(ConnectionLost(f"internal error: the I/O thread died of {error!r}"))

    # -- this thread -------------------------------------------------------------------------

    def _run(self) -> None:
        room, timing = self._room, self._room.timing
        attempt = faults = 0
        while not room.stop.is_set():
            if room.endpoint.limited and not self._wait_for_budget():
                return
            with room.lock:
                if room.stop.is_set():
                    return
                room.attempts += 1
                transport = room.transport = self._transport(
                    room.endpoint, self._context, room.note_sent, self._wake_watchdog, self._missed
                )
            opened_at: Optional[float] = None
            try:
                # Each has a full limit of its own: a slow REST host must not make the connect fail.
                self._prepare_token(transport, time.monotonic() + timing.connect_timeout)
                transport.connect(time.monotonic() + timing.connect_timeout)
                opened_at = time.monotonic()
                with room.lock:
                    room.session.opened(opened_at)
                self._receive_all(transport)
            except KrakenError as error:
                self._lost(error)
            # An error of this library, perhaps triggered by one message: a new connection is a fresh start.
            except BaseException as error:
                faults += 1
                log.error("a fault of kraken_sync itself in the I/O thread of %s", room.endpoint, error=error)
                self._lost(ConnectionLost(f"internal error: {error!r}"), faults >= MAX_FAULTS)
            finally:
                transport.dispose()
            if room.failure is not None:
                return
            # Only a connection that lasted resets the backoff: a peer that accepts every connection and ends
            # it at once would otherwise be asked once per second without end.
            if opened_at is not None and time.monotonic() - opened_at >= timing.good_after:
                attempt = faults = 0
            delay = self._retry_delay(attempt)
            attempt += 1
            if not room.stop.is_set():
                log.info("%s: next attempt in %.1f s", room.endpoint, delay)
            self._hurry.wait(delay)
            self._hurry.clear()

    def _prepare_token(self, transport: Transport, deadline: float) -> None:
        if self._tokens is None:
            return
        transport.step = "token"
        token = self._tokens.unused(deadline)
        with self._room.lock:
            self._room.session.use_token(token, time.monotonic())

    def _receive_all(self, transport: Transport) -> None:
        room, was_open = self._room, False
        session, lock, taps, holders = room.session, room.lock, room.taps, room.holders
        while True:
            frames = transport.receive()
            while frames:
                with lock:
                    # Whatever has arrived is one batch: the lock, the clock, the streams and the readers are
                    # dealt with once for all of it, and not once for each frame.
                    run = session.receive_run(frames, time.monotonic())
                    taken, frames = frames[: len(run)], frames[len(run) :]
                    last = run[-1]
                    # Under the lock, so that Room.tell_state() can tell which frames a state includes.
                    for tape in taps.tapes.all:
                        tape.put_all(room.line, RECEIVED, taken)
                    # Addressed under the lock, delivered without it: a stream subscribed after these frames
                    # were applied must not get them, since it starts with what the session held then.
                    plain = len(run) if last.plain else len(run) - 1
                    parcels = holders.address(run[:plain], taken)
                    rest = holders.address(run[plain:], taken[plain:])
                    told = self._telling.record(last.notes)
                    if room.waiters and any(received.wake for received in run):
                        lock.notify_all()
                if plain:
                    deliver(parcels, taps.streams, run[:plain], taken)
                if last.plain:
                    continue
                # Before the frame itself, so that a gap frame stands before the snapshot that ends the gap.
                self._telling.tell(told)
                deliver(rest, taps.streams, run[plain:], taken[plain:])
                parcels, rest, told = {}, {}, []  # their streams must not be kept alive until the next frame
                # Checked with heartbeats and pongs only, about once per second. Without the watchdog nobody
                # would notice a connection that has gone silent.
                if not last.keys:
                    self._check_watchdog()
                if last.pump:
                    if session.open and not was_open:
                        was_open = True
                        self._came_up()
                    self._wake_watchdog()

    def _missed(self, keys: Sequence[Key], reason: str) -> None:
        """Take over from the transport that messages of these subscriptions are missing."""
        room = self._room
        with room.lock:
            session = room.session
            since, now = session.proven_at, time.monotonic()
            notes = session.data.missed(list(keys), reason, since, now, at_once=True)
            told = self._telling.record(notes)
            room.lock.notify_all()
        log.warning("%s: %s: %s", room.endpoint, ", ".join(map(str, keys)), reason)
        self._telling.tell(told)
        self._wake_watchdog()

    def _came_up(self) -> None:
        room = self._room
        if self._tokens is not None:
            self._tokens.was_used()  # only now: a token that was never used may serve the next attempt
        with room.lock:
            if not room.stop.is_set():
                self._hurry.clear()  # it was for this attempt, not for one after the next loss
            room.trouble, room.worked = None, True
            down, room.down_since = room.down_since, None
            wanted = len(room.session.registry.entries)
            if down is not None:
                room.reconnects += 1
            room.lock.notify_all()
        # The first connect is expected. A loss and its end are both warnings, so that a log that shows the
        # one also shows the other.
        room.events.came_up(self._name)
        self._telling.note({"note": "open", "endpoint": str(room.endpoint)})
        if down is None:
            log.info("connected to %s", room.endpoint)
            return
        log.warning(
            "reconnected to %s after %.1f s; restoring %d subscriptions",
            room.endpoint,
            time.monotonic() - down,
            wanted,
        )

    def _lost(self, error: KrakenError, for_good: bool = False) -> None:
        room = self._room
        if room.stop.is_set():
            return  # closed on purpose: what recv() raised is the abort's own error
        now = time.monotonic()
        reason = error.reason if isinstance(error, ConnectionLost) else str(error)
        with room.lock:
            if room.failure is not None:
                return  # given up meanwhile by another thread, which tells it
            was_open, said = room.session.open, room.session.server_error
            # The exchange explains some refusals with a JSON error and then closes the connection; that error
            # says more than the close (such as "reached maximum capacity for WebSocket connections").
            code = error.code if isinstance(error, ConnectionLost) else None
            if said:
                reason = f"{reason}; the exchange said: {said}"
                error = ConnectionLost(f"{error}; the exchange said: {said}", code=code, reason=reason)
            room.session.lost(reason)
            repeated = str(room.trouble) == str(error)
            room.failed_attempt = room.attempts
            room.trouble = fresh_copy(error)  # without the traceback, whose frames hold buffers
            new = was_open and room.down_since is None
            if new:
                room.down_since = now
            # Before it has worked, a wrong certificate or key is the user's to mend. Later it may pass.
            if for_good or code == POLICY_VIOLATION or (error.permanent and not room.worked):
                room.failure = room.trouble
            streams = room.holders.all_streams() if room.failure is not None else []
            room.lock.notify_all()
        # An outage is one warning, not one per attempt.
        level = logging.ERROR if error.permanent else logging.WARNING
        log.log(logging.INFO if repeated else level, "%s", error)
        if was_open:
            self._telling.note({"note": "lost", "reason": reason})
        if new:
            room.events.lost(self._name, reason)
        if room.failure is not None:
            log.error("%s: given up for good: %s", room.endpoint, error)
            room.events.gave_up(self._name, str(error))
            for stream in streams:
                stream.end(room.failure)

    def _wait_for_budget(self) -> bool:
        """Wait until one more connection attempt is allowed; False if the connection is to stop."""
        room, endpoint = self._room, self._room.endpoint
        while not room.stop.is_set():
            wait = budget.take(endpoint.host, endpoint.port, time.monotonic())
            if wait <= 0:
                return True
            log.warning(
                "%s: the connection budget is used up (the exchange bans for more); waiting %.0f s",
                endpoint,
                wait,
            )
            with room.lock:
                room.trouble = room.trouble or ConnectFailed("the connection budget is used up")
            room.stop.wait(wait)
        return False

    def _retry_delay(self, attempt: int) -> float:
        room, timing = self._room, self._room.timing
        delay = retry_delay(attempt, timing, random.random())
        refused = room.trouble if isinstance(room.trouble, ConnectFailed) else None
        with room.lock:
            busy = room.session.exchange.system in ("maintenance", "cancel_only") or room.session.server_error
        # After maintenance, or a refusal by HTTP status, the exchange asks for one attempt per 5 s at most.
        # This is added to the random delay, not its minimum, so that clients do not come back in step.
        if busy or (refused is not None and refused.status is not None):
            delay += timing.maintenance_retry
        if room.trouble is not None and room.trouble.permanent:
            delay += timing.permanent_retry
        asked = refused.retry_after if refused is not None else None
        return delay + min(asked or 0.0, LONGEST_RETRY_AFTER)
