"""The state that the parts of one connection share: the session, its lock, and the current transport.

Only this folder uses the session's lock. :class:`~.connection.Connection` serves callers and
:class:`~.io_thread.IOThread` reads; both use the session only with the lock held, and hold it only while they
decide something. Sending, logging, filling streams and calling users' code happen after it is released.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from typing import Any, Deque, Dict, List, Optional

from ...core.orders.rate_limits import TradingRate
from ...core.session.session import Session
from ...core.timing import Timing
from ...core.wire.record_lines import SENT, STATE
from ...errors import ForkedClient, KrakenError
from .. import budget
from ..dial import Endpoint
from ..events import Events
from ..logs import log
from ..tape import Tape, Taps
from ..transport import Transport
from ..waiting import Condition, Event
from .holders import Holders

KEPT_GAPS = 10_000
"""The number of gaps that are kept for :meth:`SpotWSClient.gaps`."""

# For _forked() only: weak, so that a dropped client's connections can be collected.
_all: weakref.WeakSet[Room] = weakref.WeakSet()


class Room:
    """The shared state of one connection.

    Args:
        name: ``public``, ``private`` or ``level3``.
        endpoint: the host to connect to.
        timing: the time limits.
        taps: get every frame.
        private: whether requests need a token.
        rate: the account's rate counters, for the connection over which orders are sent.
        events: is told when the connection is lost, is back, or is given up.
    """

    def __init__(
        self,
        name: str,
        endpoint: Endpoint,
        timing: Timing,
        taps: Taps,
        private: bool,
        rate: Optional[TradingRate],
        events: Events,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.timing = timing
        self.taps = taps
        self.events = events
        self.lock = Condition("session")
        """Guards the session and all attributes below; notified when waiting threads should look again."""
        self.session = Session(
            timing, private, asset_class=endpoint.asset_class, rate=rate, lock_held=self.lock.held
        )
        self.holders = Holders()
        self.waiters = 0
        """The number of threads that wait on the lock; notifying nobody for every frame costs time."""
        self.transport: Optional[Transport] = None
        """The current WebSocket connection, or the current attempt to make one."""
        self.failure: Optional[KrakenError] = None
        """The error because of which the connection was given up for good, or None."""
        self.trouble: Optional[KrakenError] = None
        """The error because of which there is no connection now, or None."""
        self.attempts = self.failed_attempt = self.asked_attempt = 0
        """The numbers of the newest attempt to connect, of that which ended in ``trouble``, and of the first
        one whose end those are to be told who have asked for an attempt."""
        self.closed = False
        self.worked = False
        """Whether the connection was ever open."""
        self.down_since: Optional[float] = None
        """When the last open connection was lost (monotonic seconds); None while there is none missing."""
        self.reconnects = 0
        self.gaps: Deque[Dict[str, Any]] = deque(maxlen=KEPT_GAPS)
        self.gap_count = 0
        """The number of all gaps; ``gaps`` keeps the latest."""
        self.stop = Event()
        """Set when the connection is not to be restored any more."""
        _all.add(self)

    @property
    def state(self) -> str:
        """See :attr:`.connection.Connection.state`."""
        # Without the lock: each test reads one attribute, and no lock may block a repr().
        if self.failure is not None:
            return "ERROR"
        if self.closed:
            return "CLOSED"
        if self.session.open:
            return "CONNECTED"
        if self.transport is None:
            return "INIT"
        return "CONNECTING" if self.down_since is None else "RECONNECTING"

    @property
    def refused(self) -> bool:
        """Whether an attempt that was asked for has ended in an error that seems permanent."""
        seems_permanent = self.trouble is not None and self.trouble.permanent
        return seems_permanent and self.failed_attempt >= self.asked_attempt

    @property
    def line(self) -> str:
        """What recordings call the current connection: its kind and its number."""
        return f"{self.name} {self.attempts}"

    def note_sent(self, frame: bytes) -> None:
        """Have it recorded that a frame is sent now. Any thread; does not block."""
        for tape in self.taps.tapes.all:
            tape.put(self.line, SENT, frame)

    def tell_state(self, tape: Tape) -> None:
        """Put what each live subscription holds on a tape. Any thread.

        The frames that a tape gets after such a record are those that were received after it.
        """
        with self.lock:
            keys = list(self.session.registry.entries)
        for key in keys:  # one after the other, because the I/O thread needs the lock, too
            with self.lock:
                for frame in self.session.subscriptions.state(key):
                    tape.put(self.line, STATE, frame)

    def listen_to(self, other: Room) -> None:
        """Take the trades of another connection as witnesses; see :mod:`kraken_sync.core.session.mute`."""
        self.session.mute.listen_to(other.session.mute)

    def renew_mute(self, now: float) -> None:
        """Subscribe anew what is mute (monotonic seconds); see :mod:`kraken_sync.core.session.mute`."""
        with self.lock:
            message_at = self.transport.message_at if self.transport is not None else None
            told = self.session.renew_mute(now, message_at)
            if told:
                self.lock.notify_all()  # books have stopped or begun to be LIVE
        for text in told:
            log.warning("%s: %s", self.endpoint, text)

    def stats(self, now: float) -> Dict[str, Any]:
        """Return the counters of :meth:`SpotWSClient.stats`; ``now`` is in monotonic seconds."""
        with self.lock:
            session = self.session
            alive = session.liveness  # None before the first connection
            return {
                **vars(session.counters),
                "reconnects": self.reconnects,
                "gaps": self.gap_count,
                "subscriptions": len(session.registry.entries),
                "rtt": alive.rtt if alive is not None else None,
                "last_message_age": session.age(now) if alive is not None else None,
                "system": session.exchange.system,
            }

    def copied_gaps(self) -> List[Dict[str, Any]]:
        """Return copies of the gaps, oldest first."""
        with self.lock:
            return [dict(gap) for gap in self.gaps]  # copies, which callers may change


def _forked() -> None:
    """Make all connections of the parent unusable in a forked child.

    Only the forking thread exists in the child. A lock that another thread of the parent held at that moment
    stays taken for ever, so locks are replaced instead of taken, and waiting calls get an error.
    """
    budget.renew_lock()
    for room in list(_all):
        room.lock = Condition("session")
        room.failure = ForkedClient()
        room.closed = True
        # Not closed: shutting the socket down would end the parent's connection, too.
        room.transport = None
        for stream in [*room.holders.all_streams(), *room.taps.streams, *room.events.streams()]:
            stream.fork(room.failure)


# Windows has no fork.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
