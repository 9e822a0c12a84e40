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
from ..core.wire.places import PRIVATE, PUBLIC
from ..errors import ClientClosed, ConnectionLost, KrakenError
from .connection.connection import Connection
from .connection.settling import Settling
from .connection.switch_alarm import SwitchAlarm
from .connection.tokens import Tokens
from .dial import Endpoint
from .dispatcher import Dispatcher
from .events import Events
from .locks import new_lock
from .logs import log
from .patched import check_patches
from .rest import Rest
from .streams import Decode, Stream
from .tape import Tapes, Taps
from .transport import MakeTransport
from .watchdog import Visited, Watchdog
from .worker import Worker


class Engine:
    """The running parts of one client, from :meth:`start` to :meth:`stop`; used once.

    Args:
        endpoints: the host of each kind of connection: ``public``, ``private``, ``level3``.
        timing: the time limits.
        context: the TLS settings.
        handler: the callback for every message, or None; see :class:`Dispatcher`.
        decode: decodes frames for the callback.
        rest: fetches tokens; the client's, which closes it.
        rate: the account's rate counters.
        events: is told when a connection is lost, is back, or is given up; the client's.
        tapes: of the client's recorders.
        transport: makes the transports of the public connection.
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
        events: Events,
        tapes: Tapes,
        transport: MakeTransport,
    ) -> None:
        self.pid = os.getpid()
        self.timing = timing
        self.taps = Taps(tapes)
        self.connections: Dict[str, Connection] = {}
        """The connections that exist, by kind."""
        self._endpoints = endpoints
        self._context = context
        self._transport = transport
        self.rest = rest
        self._lock = new_lock("engine")
        # The engine itself comes first: a dropped client is stopped before its connections are looked after.
        self._visited: List[Visited] = [self]
        self._watchdog = Watchdog(self._visited, timing.tick, self._died)
        self._rate = rate
        self._events = events
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
            self.taps.streams.append(stream)
            self.dispatcher = Dispatcher(handler, stream, self._died)

    def start(self) -> None:
        """Start all threads, and let the public connection begin to connect. Does not block.

        Raises:
            ConnectFailed: a thread cannot be started; those that were are stopped. Or the standard library
                was replaced in part.
        """
        check_patches()
        self.running = True
        try:
            self._watchdog.start()
            if self.dispatcher is not None:
                self.dispatcher.start()
            if PUBLIC in self._endpoints:
                self.open(PUBLIC)
        except BaseException:
            self.stop(0.0)  # without waiting: the caller holds a lock
            raise

    def open(self, kind: str) -> Connection:
        """Return the connection of this kind; if there is none, begin to connect. Does not block.

        Raises:
            ConnectFailed: its thread cannot be started; the next call tries again.
            ClientClosed: the engine was stopped.
        """
        with self._lock:
            there = self.connections.get(kind)
            if there is None and self.running:
                there = self._connect(kind)
        if there is None:
            raise ClientClosed("the client was closed meanwhile")
        return there

    def _connect(self, kind: str) -> Connection:
        connection = self._make(kind)
        self._events.failed.discard(kind)
        connection.start()
        for each in self.connections.values():  # all of them, since any may be the first
            connection.listen_to(each)
        # After start(), because callers would wait in vain for a connection without a thread.
        self._visited.append(connection)
        self.connections[kind] = connection
        return connection

    def _make(self, kind: str) -> Connection:
        endpoint, timing, wake = self._endpoints[kind], self.timing, self._watchdog.wake
        if kind == PUBLIC:
            return Connection(
                kind,
                endpoint,
                timing,
                self._context,
                self.taps,
                wake,
                self._events,
                check_watchdog=self._check_watchdog,
                transport=self._transport,
            )
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
            self._events,
            tokens=Tokens(self.rest, self._worker, timing),
            chores=(Settling(self.rest, self._worker, timing), SwitchAlarm(self.rest, self._worker, timing)),
            rate=self._rate if kind == PRIVATE else None,
            check_watchdog=self._check_watchdog,
        )

    @property
    def failure(self) -> Optional[KrakenError]:
        """The error of one of the connections, if all of them have been given up for good."""
        failures = [one.failure for one in list(self.connections.values())]
        return None if None in failures else next(iter(failures), None)

    def _replace_failed(self) -> List[Connection]:
        """Begin anew what was given up for good, and return the old ones. Requires holding the lock."""
        replaced = []
        for kind, old in list(self.connections.items()):
            if self.running and old.failure is not None:
                self._connect(kind)
                self._visited.remove(old)
                replaced.append(old)
        return replaced

    def retry_now(self) -> None:
        """Connect anew what was given up for good, and at once what pauses before its next attempt.

        Does not block.

        Raises:
            ConnectFailed: a thread cannot be started; that connection stays given up.
        """
        with self._lock:
            replaced = self._replace_failed()
        for old in replaced:
            old.stop(time.monotonic())  # its thread ends by itself; an armed switch gives its alarm
        for connection in list(self.connections.values()):
            connection.retry_now()

    def _check_watchdog(self) -> None:
        """Give everything up if the watchdog is dead; called by the I/O threads."""
        # Each looks after the other: the watchdog after all threads, the I/O threads after the watchdog.
        if self._watchdog.thread.dead and self.running:
            self._died(RuntimeError("the watchdog is dead"))

    @property
    def worked(self) -> bool:
        """Whether any connection was ever open."""
        return any(connection.worked for connection in self.connections.values())

    def visit(self, now: float, judge: bool) -> None:
        """Stop the engine if its client was dropped, and check that all threads are running."""
        if self.abandoned:
            self.rest.close()
            self.stop(1.0)
            return
        if not self.running:
            return
        failure = self.failure
        if failure is not None:
            self.end_taps(failure)  # not before: the other connections feed them, too
            if self._events.failed.issuperset(self.connections):  # not before they have told it themselves
                self._events.end(failure)
            return
        connections = list(self.connections.values())
        # In this order: a connection that was given up or closed says so before its thread ends.
        dead = [one.thread for one in connections if one.thread.dead and not (one.failure or one.closed)]
        dead += [one.thread for one in (self.dispatcher, self._worker) if one is not None and one.thread.dead]
        for thread in dead:
            self._died(RuntimeError(f"{thread.name} is dead"))

    def _died(self, error: BaseException) -> None:
        """Give all connections up because a thread has died: waiting calls are to raise, not to hang."""
        log.critical("a fault of kraken_sync itself, a thread has died: %r", error, error=error)
        lost = ConnectionLost(f"internal error: a thread of this client has died of {error!r}")
        for connection in list(self.connections.values()):
            connection.give_up(lost)
        self.end_taps(lost)
        self._events.end(lost)

    def end_taps(self, error: Optional[KrakenError] = None) -> None:
        """End the streams that all connections feed; their readers get ``error``. Any thread."""
        for tap in list(self.taps.streams):
            tap.end(error)

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
        for connection in list(self.connections.values()):
            connection.stop(deadline)
        self.end_taps()
        self._watchdog.join(max(0.0, deadline - time.monotonic()))
        for thread in (self._worker, self.dispatcher):
            if thread is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
