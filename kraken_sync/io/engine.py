"""Everything of a client that runs: its connections, its watchdog, its dispatcher.

The engine knows nothing of the client object, so that a client nobody holds any more can be collected
although its threads are running; its finaliser then stops the engine.
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
        endpoints: where each kind of connection goes: ``public``, ``private``, ``level3``.
        rest: fetches tokens; closed with the engine.
        rate: the account's rate counters.
        handler: see :class:`Dispatcher`.
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
        """The connections there are, by kind."""
        self._endpoints = endpoints
        self._context = context
        self._rest = rest
        self._lock = new_lock("engine")
        self._visited: List[Visited] = [self]
        self._watchdog = Watchdog(self._visited, timing.tick, self._died)
        self._rate = rate
        self._worker: Optional[Worker] = None
        self.abandoned = False
        """Set by a finaliser, which must not lock: the watchdog then stops everything."""
        self.starters = 0
        """How many calls of ``start()`` are waiting."""
        self.origin = ""
        """Where the client was made."""
        self.running = False
        self.dispatcher: Optional[Dispatcher] = None
        if handler is not None:
            stream = Stream("the callback", decode)
            self.taps.append(stream)
            self.dispatcher = Dispatcher(handler, stream, self._died)

    def start(self) -> None:
        """Start all threads; the public connection begins to connect, if there is to be one.

        Raises:
            ConnectFailed: a thread cannot be started; what was begun is stopped.
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
        """The connection of this kind; begins to connect if there is none. Does not block.

        Raises:
            ConnectFailed: its thread cannot be started; the next call tries again.
            ClientClosed: the client was closed meanwhile.
        """
        with self._lock:
            if kind in self.connections:
                return self.connections[kind]
            if not self.running:
                raise ClientClosed("the client was closed meanwhile")
            connection = self._make(kind)
            connection.start()
            # only now, since a connection without a thread would be waited for in vain
            self.connections[kind] = connection
            self._visited.append(connection)
        return connection

    def _make(self, kind: str) -> Connection:
        endpoint, timing, wake = self._endpoints[kind], self.timing, self._watchdog.wake
        if kind == PUBLIC:
            return Connection(kind, endpoint, timing, self._context, self.taps, wake, watched=self._watched)
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

    def _watched(self) -> bool:
        """Whether the watchdog lives; the I/O threads ask."""
        return not self._watchdog.thread.dead or not self.running

    @property
    def worked(self) -> bool:
        """Whether any connection ever was open."""
        return any(connection.worked for connection in self.connections.values())

    def visit(self, now: float, judge: bool) -> None:
        """The watchdog's visit: has the client been dropped? Do the other threads live?"""
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
        """An I/O thread ends when its connection was given up or closed."""
        return any(
            one.thread is thread and (one.failure is not None or one.closed)
            for one in self.connections.values()
        )

    def _died(self, error: BaseException) -> None:
        """A thread has died of a fault of this library: nobody may wait for what it did."""
        log.critical("a fault of kraken_sync itself, a thread has died: %r", error, error=error)
        lost = ConnectionLost(f"internal error: a thread of this client has died of {error!r}")
        for connection in list(self.connections.values()):
            connection.give_up(lost)

    def signal(self) -> None:
        """Let everything begin to end. Does not block."""
        self._watchdog.stop()
        if self.dispatcher is not None:
            self.dispatcher.stop()
        if self._worker is not None:
            self._worker.stop()

    def stop(self, timeout: float) -> None:
        """Stop everything. Blocks up to ``timeout`` seconds. Any thread, also a callback's."""
        if os.getpid() != self.pid:
            return  # a forked child: the threads and sockets are the parent's
        deadline = time.monotonic() + timeout
        with self._lock:
            self.running = False
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
