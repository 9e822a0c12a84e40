"""One thread per client that checks whether its connections are alive, and sends what is due.

If its own tick came late (the process or the machine was suspended, or another thread held the interpreter's
lock for long), the connections are not judged for one interval, in which they read what has arrived.
"""

from __future__ import annotations

import time
from typing import Protocol, Sequence

from .logs import log
from .threads import Died, GuardedThread
from .waiting import Event


class Visited(Protocol):
    """The interface of what a watchdog visits."""

    def visit(self, now: float, judge: bool) -> None:
        """Send what is due at ``now`` (monotonic seconds); if ``judge``, abort a dead connection."""


LATE = 0.5
"""Seconds between two ticks that are never late, however short the ticks are: a busy machine does that."""


class Watchdog:
    """Calls ``visit`` on each connection, every ``tick`` seconds and whenever it is woken."""

    def __init__(self, connections: Sequence[Visited], tick: float, died: Died = lambda error: None) -> None:
        self._connections = connections
        self._tick = tick
        self._wake = Event()
        self.wake = self._wake.set
        """Has everything visited soon. Any thread; does not block."""
        self._stop = Event()
        self.thread = GuardedThread("watchdog", self._run, died)

    def start(self) -> None:
        """Start the thread. Raises ConnectFailed if that is not possible."""
        self.thread.begin()

    def stop(self) -> None:
        """Make no further visits. Does not block; :meth:`join` waits for the thread to end."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the thread to end."""
        self.thread.finish(timeout)

    def _run(self) -> None:
        last, judge_after = time.monotonic(), 0.0
        while not self._stop.is_set():
            self._wake.wait(self._tick)
            self._wake.clear()  # before the visits, so that a wake() during them is not lost
            now = time.monotonic()
            if now - last > max(LATE, 2 * self._tick + 0.1):
                judge_after = now + self._tick
            last = now
            for connection in self._connections:
                try:
                    connection.visit(now, now >= judge_after)
                except BaseException as error:  # one connection's fault must not stop the others' visits
                    log.error("the watchdog failed to visit %s", connection, error=error)
