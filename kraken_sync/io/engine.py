"""Everything of a client that runs: its connections, its watchdog, its dispatcher.

The engine knows nothing of the client object, so that a client nobody holds any more can be collected
although its threads are running; its finaliser then stops the engine.
"""

from __future__ import annotations

import os
import ssl
import time
from typing import Any, Callable, List, Optional

from ..core.limits import Timing
from .connection import Connection
from .dial import Target
from .dispatcher import Dispatcher
from .streams import Decode, Stream
from .watchdog import Checked, Watchdog


class Engine:
    """The running parts of one client, from :meth:`start` to :meth:`stop`; used once."""

    def __init__(
        self,
        public: Optional[Target],
        timing: Timing,
        context: Optional[ssl.SSLContext],
        handler: Optional[Callable[[], Optional[Callable[[Any], Any]]]],
        decode: Decode,
    ) -> None:
        self.pid = os.getpid()
        self.timing = timing
        self.taps: List[Stream] = []
        self.connections: List[Connection] = []
        self._checked: List[Checked] = [self]
        self._watchdog = Watchdog(self._checked, timing.tick)
        self.abandoned = False
        """Set by a finaliser, which must not lock: the watchdog then stops everything."""
        self.starters = 0
        """How many calls of ``start()`` are waiting."""
        self.origin = ""
        """Where the client was made."""
        self.running = False
        self.public: Optional[Connection] = None
        if public is not None:
            self.public = self._connection("public", public, context)
        self.dispatcher: Optional[Dispatcher] = None
        if handler is not None:
            stream = Stream("the callback", decode)
            self.taps.append(stream)
            self.dispatcher = Dispatcher(handler, stream)

    def _connection(self, name: str, target: Target, context: Optional[ssl.SSLContext]) -> Connection:
        connection = Connection(name, target, self.timing, context, self.taps, self._watchdog.wake)
        self.connections.append(connection)
        self._checked.append(connection)
        return connection

    def start(self) -> None:
        """Start all threads; the connections begin to connect."""
        self.running = True
        self._watchdog.start()
        if self.dispatcher is not None:
            self.dispatcher.start()
        for connection in self.connections:
            connection.start()

    @property
    def worked(self) -> bool:
        """Whether any connection ever was open."""
        return any(connection.worked for connection in self.connections)

    def check(self, now: float, judge: bool) -> None:
        """The watchdog's visit: has the client been dropped?"""
        if self.abandoned:
            self.stop(1.0)

    def signal(self) -> None:
        """Let everything begin to end. Does not block."""
        self._watchdog.stop()
        if self.dispatcher is not None:
            self.dispatcher.stop()

    def stop(self, timeout: float) -> None:
        """Stop everything. Blocks up to ``timeout`` seconds. Any thread, also a callback's."""
        if os.getpid() != self.pid:
            return  # a forked child: the threads and sockets are the parent's
        deadline, self.running = time.monotonic() + timeout, False
        self.signal()
        for connection in self.connections:
            connection.stop(deadline)
        for tap in self.taps:
            tap.end()
        self._watchdog.join(max(0.0, deadline - time.monotonic()))
        if self.dispatcher is not None:
            self.dispatcher.join(max(0.0, deadline - time.monotonic()))
