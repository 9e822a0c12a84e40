"""What the parts of one connection share: the session, the lock that guards it, and what is true right now.

This folder is the one room of the session's lock. :class:`~.connection.Connection` answers callers,
:class:`~.io_thread.IOThread` reads; both touch the session only with the lock held. Whoever holds it
decides and lets go: sending, logging, filling streams and calling happen outside.
"""

from __future__ import annotations

import os
import weakref
from collections import deque
from typing import Any, Deque, Dict, List, Optional

from ...core.orders.rate_limits import TradingRate
from ...core.session.session import Session
from ...core.timing import Timing
from ...errors import ForkedClient, KrakenError
from .. import budget
from ..dial import Endpoint
from ..streams import Stream
from ..transport import Transport
from ..waiting import Condition, Event
from .holders import Holders

KEPT_GAPS = 10_000

_all: weakref.WeakSet[Room] = weakref.WeakSet()


class Room:
    """The shared state of one connection.

    Args:
        endpoint: where to connect.
        timing: all time limits.
        taps: streams that get every frame; the list may grow.
        private: whether a token is needed.
        rate: the account's rate counters, for the connection that orders take.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        timing: Timing,
        taps: List[Stream],
        private: bool,
        rate: Optional[TradingRate],
    ) -> None:
        self.endpoint = endpoint
        self.timing = timing
        self.taps = taps
        self.lock = Condition("session")
        """Guards the session and everything below; notified when somebody waiting should look again."""
        self.session = Session(timing, private, rate=rate, lock_held=self.lock.held)
        self.holders = Holders()
        self.waiters = 0
        """How many threads wait on the lock."""
        self.transport: Optional[Transport] = None
        """The WebSocket connection there is, or the attempt to have one."""
        self.failure: Optional[KrakenError] = None
        """Why it was given up for good."""
        self.trouble: Optional[KrakenError] = None
        """Why it is not connected right now."""
        self.closed = False
        self.worked = False
        """Whether it was ever open."""
        self.down_since: Optional[float] = None
        """Since when what once worked is down (monotonic)."""
        self.reconnects = 0
        self.gaps: Deque[Dict[str, Any]] = deque(maxlen=KEPT_GAPS)
        self.gap_count = 0
        """How many gaps there were in all; ``gaps`` keeps the latest."""
        self.stop = Event()
        """Set when nothing more is to be tried."""
        _all.add(self)

    def stats(self, now: float) -> Dict[str, Any]:
        """Counters and times, for people."""
        with self.lock:
            session = self.session
            alive = session.liveness
            return {
                **vars(session.counters),
                "reconnects": self.reconnects,
                "gaps": self.gap_count,
                "subscriptions": len(session.registry.entries),
                "rtt": alive.rtt if alive is not None else None,
                "last_message_age": session.age(now) if alive is not None else None,
                "system": session.system,
            }

    def copied_gaps(self) -> List[Dict[str, Any]]:
        """The ledger of gaps, oldest first."""
        with self.lock:
            return [dict(gap) for gap in self.gaps]


def _forked() -> None:
    """In a forked child: the threads and sockets are the parent's, and a lock may be held for ever."""
    budget.renew_lock()
    for room in list(_all):
        room.lock = Condition("session")
        room.failure = ForkedClient()
        room.closed = True
        room.transport = None
        for stream in [*room.holders.all_streams(), *room.taps]:
            stream.fork(room.failure)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
