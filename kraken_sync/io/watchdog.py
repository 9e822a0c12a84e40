"""One thread per client that checks its connections: alive? anything due?

It distrusts itself first: if its own tick came late (a stopped process, a closed lid, a long hold of the
interpreter's lock), the connections get one interval to read what has piled up before they are judged.
"""

from __future__ import annotations

import time
from typing import Protocol, Sequence

from .logs import log
from .threads import Died, GuardedThread
from .waiting import Event


class Visited(Protocol):
    """What a watchdog looks after."""

    def visit(self, now: float, judge: bool) -> None:
        """Send what is due; if ``judge``, abort a dead connection."""


class Watchdog:
    """Calls ``visit`` on each connection, at every tick and whenever it is woken."""

    def __init__(self, connections: Sequence[Visited], tick: float, died: Died = lambda error: None) -> None:
        self._connections = connections
        self._tick = tick
        self._wake = Event()
        self.wake = self._wake.set
        """Has everything checked now. Any thread; does not block."""
        self._stop = Event()
        self.thread = GuardedThread("watchdog", self._run, died)

    def start(self) -> None:
        """Start checking."""
        self.thread.begin()

    def stop(self) -> None:
        """Stop checking; :meth:`join` waits for it."""
        self._stop.set()
        self._wake.set()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end."""
        self.thread.finish(timeout)

    def _run(self) -> None:
        last, judge_after = time.monotonic(), 0.0
        while not self._stop.is_set():
            self._wake.wait(self._tick)
            self._wake.clear()
            now = time.monotonic()
            if now - last > 2 * self._tick + 0.1:
                judge_after = now + self._tick
            last = now
            for connection in self._connections:
                try:
                    connection.visit(now, now >= judge_after)
                except BaseException as error:
                    log.error("the watchdog failed to visit %s", connection, error=error)
