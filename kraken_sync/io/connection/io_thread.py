"""The thread that keeps one connection up: connect, read, apply, hand on, and again after a loss.

It waits for no reader, sends nothing but the handshake and runs no code of a user.
"""

from __future__ import annotations

import logging
import random
import ssl
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from ...core.session.events import Ended, Gap, Note, Notice
from ...core.timing import retry_delay
from ...core.wire import messages
from ...core.wire.channels import Key
from ...errors import ConnectFailed, ConnectionLost, KrakenError, SubscriptionRefused
from .. import budget
from ..kept_error import fresh_copy
from ..logs import log
from ..streams import Stream
from ..threads import GuardedThread
from ..transport import Transport
from ..walltime import wall_text
from .holders import Refs
from .room import Room
from .tokens import Tokens

MAX_FAULTS = 3
"""After so many faults of our own in a row, give up instead of looping."""
LONGEST_RETRY_AFTER = 600.0
"""Seconds for which an exchange's ``Retry-After`` is obeyed at most."""


class IOThread:
    """Keeps a connection up until :meth:`stop`.

    Args:
        name: ``public``, ``private`` or ``level3``.
        room: the connection's shared state.
        context: TLS settings.
        wake_watchdog: asks for a check soon.
        tokens: where a private connection has its tokens from.
        watched: whether the watchdog lives.
    """

    def __init__(
        self,
        name: str,
        room: Room,
        context: Optional[ssl.SSLContext],
        wake_watchdog: Callable[[], None],
        tokens: Optional[Tokens],
        watched: Callable[[], bool],
    ) -> None:
        self._room = room
        self._context = context
        self._wake_watchdog = wake_watchdog
        self._tokens = tokens
        self._watched = watched
        self.thread = GuardedThread(f"io-{name}", self._run, self._died)

    # -- any thread --------------------------------------------------------------------------

    def start(self) -> None:
        """Start connecting."""
        self.thread.begin()

    def stop(self, deadline: float) -> None:
        """Close for good. Blocks until ``deadline`` (monotonic) at most."""
        room = self._room
        with room.lock:  # so that this thread cannot go on with another transport unseen
            room.stop.set()
            transport = room.transport
        if transport is not None:
            transport.say_goodbye(max(0.0, min(0.2, deadline - time.monotonic())))
        with room.lock:
            if not room.closed:
                room.closed = True
                room.session.close("the client is closed")
                room.lock.notify_all()
            streams = room.holders.all_streams()
        for stream in streams:
            stream.end(room.failure)
        self.thread.finish(max(0.0, deadline - time.monotonic()))

    def give_up(self, error: KrakenError) -> None:
        """End the connection for good, because of ``error``."""
        room = self._room
        with room.lock:
            if room.failure is not None or room.closed:
                return
            room.failure = fresh_copy(error)
            room.stop.set()
            transport, streams = room.transport, room.holders.all_streams()
            room.session.lost(str(error))
            room.lock.notify_all()
        log.error("%s: given up for good: %s", room.endpoint, error)
        if transport is not None:
            transport.abort(str(error))
        for stream in streams:
            stream.end(error)

    def _died(self, error: BaseException) -> None:
        """The thread has ended by a fault: nobody may wait for it."""
        self.give_up(ConnectionLost(f"internal error: the I/O thread died of {error!r}"))

    # -- this thread -------------------------------------------------------------------------

    def _run(self) -> None:
        room, timing = self._room, self._room.timing
        attempt = faults = 0
        while not room.stop.is_set():
            if not self._wait_for_budget():
                return
            with room.lock:
                if room.stop.is_set():
                    return
                transport = room.transport = Transport(room.endpoint, self._context)
            opened_at: Optional[float] = None
            try:
                self._prepare_token(time.monotonic() + timing.connect_timeout)
                transport.connect(time.monotonic() + timing.connect_timeout)
                opened_at = time.monotonic()
                with room.lock:
                    room.session.opened(opened_at)
                self._receive_all(transport)
            except KrakenError as error:
                self._lost(error)
            except BaseException as error:
                faults += 1
                log.error("a fault of kraken_sync itself in the I/O thread of %s", room.endpoint, error=error)
                self._lost(ConnectionLost(f"internal error: {error!r}"), faults >= MAX_FAULTS)
            finally:
                transport.dispose()
            if room.failure is not None:
                return
            if opened_at is not None and time.monotonic() - opened_at >= timing.good_after:
                attempt = faults = 0
            delay = self._retry_delay(attempt)
            attempt += 1
            if not room.stop.is_set():
                log.info("%s: next attempt in %.1f s", room.endpoint, delay)
            room.stop.wait(delay)

    def _prepare_token(self, deadline: float) -> None:
        if self._tokens is None:
            return
        token = self._tokens.unused(deadline)
        with self._room.lock:
            self._room.session.use_token(token, time.monotonic())

    def _receive_all(self, transport: Transport) -> None:
        room = self._room
        session, lock, taps, recv, clock = room.session, room.lock, room.taps, transport.recv, time.monotonic
        refs_of, was_open = room.holders.refs, False
        while True:
            frame = recv()
            with lock:
                received = session.receive(frame, clock())
                keys = received.keys
                refs = [refs_of(key) for key in keys]
                told = self._record(received.notes) if received.notes else ()
                if received.wake and room.waiters:
                    lock.notify_all()
            if received.notes:
                self._tell(told)
                told = ()
            shown = received.frame or frame
            if not received.hidden:
                for tap in taps:
                    tap.put(None, shown)
            if keys:
                _deliver(shown, keys, refs)
            elif not self._watched():  # heartbeats and pongs: about once a second
                self.give_up(ConnectionLost("internal error: the watchdog is dead"))
            if received.pump:
                if session.open and not was_open:
                    was_open = True
                    self._came_up()
                self._wake_watchdog()

    def _came_up(self) -> None:
        room = self._room
        if self._tokens is not None:
            self._tokens.was_used()
        with room.lock:
            room.trouble, room.worked = None, True
            down, room.down_since = room.down_since, None
            wanted = len(room.session.registry.entries)
            if down is not None:
                room.reconnects += 1
            room.lock.notify_all()
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
            return
        now = time.monotonic()
        reason = error.reason if isinstance(error, ConnectionLost) else str(error)
        with room.lock:
            was_open, said = room.session.open, room.session.server_error
            if said:
                reason = f"{reason}; the exchange said: {said}"
                error = ConnectionLost(f"{error}; the exchange said: {said}", reason=reason)
            room.session.lost(reason)
            repeated = str(room.trouble) == str(error)
            room.trouble = fresh_copy(error)  # without the traceback, whose frames hold buffers
            if was_open and room.down_since is None:
                room.down_since = now
            if for_good or error.permanent:
                room.failure = room.trouble
            streams = room.holders.all_streams() if room.failure is not None else []
            room.lock.notify_all()
        log.log(logging.INFO if repeated else logging.WARNING, "%s", error)
        if room.failure is not None:
            log.error("%s: given up for good: %s", room.endpoint, error)
            for stream in [*streams, *room.taps]:
                stream.end(room.failure)

    def _wait_for_budget(self) -> bool:
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
            busy = room.session.system in ("maintenance", "cancel_only") or room.session.server_error
        if busy or (refused is not None and refused.status is not None):
            delay += timing.maintenance_retry  # a floor and the spread: clients must not come back in step
        asked = refused.retry_after if refused is not None else None
        return delay + min(asked or 0.0, LONGEST_RETRY_AFTER)

    # -- telling readers ---------------------------------------------------------------------

    def _record(self, notes: Sequence[Note]) -> Sequence[Tuple[Note, List[Stream]]]:
        """What must be true at the same moment as the books: the ledger of gaps, and who is told what.

        Requires holding the lock.
        """
        room, told = self._room, []
        ended = {note.key: room.holders.forget(note.key) for note in notes if isinstance(note, Ended)}
        for note in notes:
            streams: List[Stream] = []
            if isinstance(note, Gap):
                room.gaps.append({"channel": note.key.channel, **_gap_frame(note)["data"][0]})
                room.gap_count += 1
            if not isinstance(note, Notice):
                streams = ended[note.key] if note.key in ended else room.holders.streams(note.key)
            told.append((note, streams))
        return told

    def _tell(self, told: Sequence[Tuple[Note, List[Stream]]]) -> None:
        for note, streams in told:
            if isinstance(note, Notice):
                log.log(getattr(logging, note.level), "%s: %s", self._room.endpoint, note.text)
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
        for stream in [*streams, *self._room.taps]:
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


def _gap_frame(gap: Gap) -> Dict[str, Any]:
    since, until = wall_text(gap.since), wall_text(gap.until)
    return messages.gap_frame(gap.key.channel, gap.key.symbol, gap.reason, since, until)
