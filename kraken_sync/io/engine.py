"""The running parts of a client: its connections, its watchdog, its worker and its dispatcher.

The engine does not refer to the client, so that a client that nothing refers to can be collected although its
threads are running; its finalizer then stops the engine.
"""

from __future__ import annotations

import os
import ssl
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

from ..core.orders.rate_limits import TradingRate
from ..core.timing import Timing
from ..errors import ClientClosed, ConnectionLost
from .connection.connection import Connection
from .connection.settling import Settling
from .connection.switch_alarm import SwitchAlarm
from .connection.tokens import Tokens
from .dial import Endpoint
from .dispatcher import Dispatcher
from .locks import new_lock
from .logs import log
from .rest import Rest
from .streams import Decode, Stream
from .threads import GuardedThread
from .watchdog import Visited, Watchdog
from .worker import Worker

PUBLIC, PRIVATE, LEVEL3 = "public", "private", "level3"


class Engine:
    """The running parts of one client, from :meth:`start` to :meth:`stop`; used once.

    Args:
        endpoints: the host of each kind of connection: ``public``, ``private``, ``level3``.
        timing: the time limits.
        context: the TLS settings.
        handler: the callback for every message, or None; see :class:`Dispatcher`.
        decode: decodes frames for the callback.
        rest: fetches tokens; closed with the engine.
        rate: the account's rate counters.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        timing: Timing,
        context: Optional[ssl.SSLContext],
        handler: Optional[Callable[[Any], Any]],
        decode: Decode,
        rest: Rest,
        rate: TradingRate,
    ) -> None:
        self.pid = os.getpid()
        self.timing = timing
        self.taps: List[Stream] = []
        self.connections: Dict[str, Connection] = {}
        """The connections that exist, by kind."""
        self._endpoints = endpoints
        self._context = context
        self._rest = rest
        self._lock = new_lock("engine")
        # The engine itself comes first: a dropped client is stopped before its connections are looked after.
        self._visited: List[Visited] = [self]
        self._watchdog = Watchdog(self._visited, timing.tick, self._died)
        self._rate = rate
        self._worker: Optional[Worker] = None
        self.abandoned = False
        """Set by the client's finalizer, which must take no lock; the watchdog then stops everything."""
        self.starters = 0
        """The number of calls of ``start()`` that are waiting."""
        self.origin = ""
        """Where the client was made, as ``file:line``."""
        self.running = False
        self.dispatcher: Optional[Dispatcher] = None
        if handler is not None:
            stream = Stream("the callback", decode)
            self.taps.append(stream)
            self.dispatcher = Dispatcher(handler, stream, self._died)

    def start(self) -> None:
        """Start all threads, and let the public connection begin to connect. Does not block.

        Raises:
            ConnectFailed: a thread cannot be started; those that were are stopped.
        """
        self.running = True
        try:
            self._watchdog.start()
            if self.dispatcher is not None:
                self.dispatcher.start()
            if PUBLIC in self._endpoints:
                self.open(PUBLIC)
        except BaseException:
            self.stop(1.0)
            raise

    def open(self, kind: str) -> Connection:
        """Return the connection of this kind; if there is none, begin to connect. Does not block.

        Raises:
            ConnectFailed: its thread cannot be started; the next call tries again.
            ClientClosed: the engine was stopped.
        """
        with self._lock:
            if kind in self.connections:
                return self.connections[kind]
            if not self.running:
                raise ClientClosed("the client was closed meanwhile")
            connection = self._make(kind)
            connection.start()
            # After start(), because callers would wait in vain for a connection without a thread.
            self.connections[kind] = connection
            self._visited.append(connection)
        return connection

    def _make(self, kind: str) -> Connection:
        endpoint, timing, wake = self._endpoints[kind], self.timing, self._watchdog.wake
        if kind == PUBLIC:
            return Connection(kind, endpoint, timing, self._context, self.taps, wake, watched=self._watched)
        # Only private connections need it. Set after it was started, so that a failure is tried again.
        if self._worker is None:
            worker = Worker(self._died)
            worker.start()
            self._worker = worker
        return Connection(
            kind,
            endpoint,
            timing,
            self._context,
            self.taps,
            wake,
            tokens=Tokens(self._rest, self._worker, timing),
            chores=(Settling(self._rest, self._worker, timing), SwitchAlarm()),
            rate=self._rate if kind == PRIVATE else None,
            watched=self._watched,
        )

    @property
    def failed(self) -> bool:
        """Whether all connections have been given up for good."""
        return bool(self.connections) and all(one.failure for one in self.connections.values())

    def retry_now(self) -> None:
        """Connect anew what was given up for good, and at once what pauses before its next attempt."""
        with self._lock:
            given_up = {kind: one for kind, one in self.connections.items() if one.failure is not None}
            for kind, one in given_up.items():
                del self.connections[kind]
                self._visited.remove(one)
        for kind, one in given_up.items():
            one.stop(time.monotonic())  # its thread has ended; an armed switch gives its alarm
            self.open(kind)
        for connection in list(self.connections.values()):
            connection.retry_now()

    def _watched(self) -> bool:
        """Return whether the watchdog's thread is running; asked by the I/O threads."""
        # Each looks after the other: the watchdog after all threads, the I/O threads after the watchdog.
        return not self._watchdog.thread.dead or not self.running

    @property
    def worked(self) -> bool:
        """Whether any connection was ever open."""
        return any(connection.worked for connection in self.connections.values())

    def visit(self, now: float, judge: bool) -> None:
        """Stop the engine if its client was dropped, and check that all threads are running."""
        if self.abandoned:
            self.stop(1.0)
            return
        owners = [self.dispatcher, self._worker, *self.connections.values()]
        dead = [owner.thread for owner in owners if owner is not None and owner.thread.dead]
        if self.running and dead and any(one.failure is None for one in self.connections.values()):
            if any(thread.name.startswith("kraken-sync-io") for thread in dead):
                dead = [one for one in dead if not self._ended_on_purpose(one)]
            for thread in dead:
                self._died(RuntimeError(f"{thread.name} is dead"))

    def _ended_on_purpose(self, thread: GuardedThread) -> bool:
        """Return whether an I/O thread ended because its connection was given up or closed."""
        return any(
            one.thread is thread and (one.failure is not None or one.closed)
            for one in self.connections.values()
        )

    def _died(self, error: BaseException) -> None:
        """Give all connections up because a thread has died: waiting calls are to raise, not to hang."""
        log.critical("a fault of kraken_sync itself, a thread has died: %r", error, error=error)
        lost = ConnectionLost(f"internal error: a thread of this client has died of {error!r}")
        for connection in list(self.connections.values()):
            connection.give_up(lost)
        for tap in self.taps:  # of no connection alone
            tap.end(lost)

    def signal(self) -> None:
        """Tell all threads except those of the connections to end. Does not block."""
        self._watchdog.stop()
        if self.dispatcher is not None:
            self.dispatcher.stop()
        if self._worker is not None:
            self._worker.stop()

    def stop(self, timeout: float) -> None:
        """Stop everything. Blocks up to ``timeout`` seconds. Any thread, also that of a callback."""
        if os.getpid() != self.pid:
            return  # a forked child: the threads and sockets are the parent's
        deadline = time.monotonic() + timeout
        with self._lock:
            self.running = False  # from here on open() makes no connection that would not be stopped
        self.signal()
        self._rest.close()
        for connection in list(self.connections.values()):
            connection.stop(deadline)
        for tap in self.taps:
            tap.end()
        self._watchdog.join(max(0.0, deadline - time.monotonic()))
        for thread in (self._worker, self.dispatcher):
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
