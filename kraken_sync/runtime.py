"""The life of a client: starting, closing, being dropped without a close, being forked; and its state.

The client and all of its streams and books refer to its :class:`Runtime`, but no thread does. So when nothing
refers to it any more, it is collected, and its finalizer stops the threads. The threads and connections are
parts of an :class:`Engine`, of which there is one from each start to the next close.
"""

from __future__ import annotations

import os
import ssl
import time
import weakref
from typing import Any, Callable, Dict, List, Mapping, Optional

from .core.client_state import WSState
from .core.orders.rate_limits import TradingRate
from .core.session.readiness import why_not_ready
from .core.timing import Timing
from .core.wire.credentials import from_environment
from .core.wire.places import PRIVATE, PUBLIC, REST
from .core.wire.secret import Secret
from .errors import ClientClosed, ConnectFailed, CredentialsMissing, ForkedClient, ReplyTimeout
from .io.connection.connection import Connection
from .io.crowd import caller, crowd
from .io.dial import Endpoint
from .io.engine import Engine
from .io.events import Events
from .io.locks import new_rlock
from .io.logs import log
from .io.rest import Rest, missing
from .io.streams import Decode, Stream
from .io.tape import Tapes
from .io.transport import MakeTransport, over_websocket
from .io.unclosed import EXIT_TIMEOUT, LOG_TIMEOUT, abandon, engines
from .io.waiting import deadline_of, time_left

LONGEST = 86400.0
"""Seconds for which ``close(None)`` waits for the threads."""

Handler = Callable[[Any], Any]


class Messages(Stream):
    """The stream :attr:`SpotWSClient.messages`."""

    # The runtime refers to this stream, so a strong reference back would be a cycle, and a dropped client
    # would run until the garbage collector finds it.
    def __init__(self, runtime: Runtime, decode: Decode) -> None:
        super().__init__("client.messages", decode)
        self._runtime = weakref.ref(runtime)

    def get(self, timeout: Optional[float] = None) -> Any:
        """Return the next message; see :meth:`Stream.get`. Starts the client if it was never started."""
        runtime = self._runtime()
        if runtime is not None and runtime.state is WSState.INIT and not self.ended:
            runtime.start()
        return super().get(timeout)


class Runtime:
    """The life of one client, and its connections. Any thread may use it.

    Args:
        endpoints: the host of each kind of connection.
        check: raises if a kind of request may not be used; see :meth:`Places.check`.
        timing: the time limits.
        context: the TLS settings.
        decode: decodes frames for streams.
        tap_decode: decodes frames for the callback.
        handler: returns the callback for every message, or None; called at each start, and held weakly.
        rest: sends REST requests, and fetches tokens.
        rate: the account's rate counters.
        transport: makes the transports of the public connection.
    """

    def __init__(
        self,
        endpoints: Mapping[str, Endpoint],
        check: Callable[..., None],
        timing: Timing,
        context: Optional[ssl.SSLContext],
        decode: Decode,
        tap_decode: Decode,
        handler: Callable[[], Optional[Handler]],
        rest: Rest,
        rate: TradingRate,
        transport: MakeTransport = over_websocket,
    ) -> None:
        self.endpoints, self._transport, self._check = endpoints, transport, check
        self.rest, self.decode = rest, decode
        self._private_from_start = PRIVATE in endpoints and rest.credentials is not None
        self.timing = timing
        self._context = context
        self._tap_decode = tap_decode
        self._handler = weakref.WeakMethod(handler)
        self._rate = rate
        self._events = Events()
        self._life = new_rlock("life")
        """Held for moments while starting and closing; never while waiting for anything."""
        self._engine: Optional[Engine] = None
        self._past: Optional[Engine] = None  # the engine that was closed last, for stats() and gaps()
        self._closed = False
        self._messages: Optional[Stream] = None
        self.tapes = Tapes()
        """Get what is received and sent, for recorders."""
        self._origin = caller()
        # A list of its own, because the finalizer must not refer to the object that is to be collected.
        self._running: List[Engine] = []
        finalizer = weakref.finalize(self, abandon, self._running, self._origin)
        self.owner: Optional[weakref.ref[Any]] = None
        """The client that has it."""
        finalizer.atexit = False  # see io/unclosed.py for the end of the interpreter

    # -- life --------------------------------------------------------------------------------

    def start(self, timeout: Optional[float] = 10.0) -> None:
        """Connect, and block until the connections are open; see :meth:`SpotWSClient.start`."""
        self.guard_fork()
        deadline = deadline_of(timeout)
        self._drop_failed()
        with self._life:
            known = engine = self._engine
            if engine is None:
                engine = self._engine = self._new_engine()
                self._closed = False
            # Two threads may start the client at once: the failure of the one with the shorter timeout must
            # not end the engine for which the other one waits.
            engine.starters += 1
        try:
            if known is None:
                crowd.joined(self)
            if known is not None:
                known.retry_now()
            if self._private_from_start:
                engine.open(PRIVATE)
            # level3 is left out: it is opened by its first subscription, which waits for it.
            for kind in (PUBLIC, PRIVATE):
                if kind in engine.connections:
                    engine.connections[kind].wait_open(deadline)
        except BaseException as error:
            # Without one of its threads a new engine is of no use, whatever worked meanwhile.
            lacks_thread = known is None and isinstance(error, ConnectFailed) and error.step == "thread"
            if self._gives_up(engine, even_if_worked=lacks_thread):
                engine.stop(EXIT_TIMEOUT)
            raise
        with self._life:
            engine.starters -= 1

    def _drop_failed(self) -> None:
        """Stop an engine of which nothing works any more, so that another one is made."""
        with self._life:
            failed = self._engine if self._engine is not None and self._engine.failure else None
            if failed is not None:
                self._engine, self._past = None, failed
                self._running.remove(failed)
        if failed is not None:
            failed.stop(EXIT_TIMEOUT)

    def _gives_up(self, engine: Engine, even_if_worked: bool) -> bool:
        """Return whether a failed start ends the engine: it never worked, and nobody else waits for it."""
        with self._life:
            engine.starters -= 1
            worked = engine.worked and not even_if_worked
            if engine.starters or worked or self._engine is not engine:
                return False
            self._engine = None
            self._running.remove(engine)
            return True

    def close(self, timeout: Optional[float] = 2.0) -> None:
        """Close all connections and stop all threads; see :meth:`SpotWSClient.close`."""
        deadline_of(timeout)  # before anything is closed, refuse what is no timeout
        engine = self._engine
        if engine is not None and engine.pid != os.getpid():
            return  # a forked child: the threads are the parent's, and the lock may be held for ever
        with self._life:
            engine, self._engine, self._closed = self._engine, None, True
            self._past = engine or self._past
            if engine in self._running:
                self._running.remove(engine)
            # Both with the lock, so that they cannot be after another thread's start().
            self.rest.close()
            self._events.end()
        # Without the lock: ending this waits for threads, which may be waiting for it.
        if engine is not None:
            engine.stop(LONGEST if timeout is None else min(timeout, LONGEST))
            log.debug("the client made at %s is closed", self._origin)
        log.flush(LOG_TIMEOUT)

    def _new_engine(self) -> Engine:
        self.rest.reopen()
        handler = self._handler()
        engine = Engine(
            self.endpoints,
            self.timing,
            self._context,
            handler() if handler is not None else None,
            self._tap_decode,
            self.rest,
            self._rate,
            self._events,
            self.tapes,
            self._transport,
        )
        engine.origin = self._origin
        if self._messages is not None and not self._messages.ended:
            engine.taps.streams.append(self._messages)
        engine.start()
        self._running.append(engine)
        engines.add(engine)
        return engine

    def guard_fork(self) -> None:
        """Raise ForkedClient in a process that was forked after the client was started."""
        engine = self._engine
        if engine is not None and engine.pid != os.getpid():
            raise ForkedClient

    # -- connections -------------------------------------------------------------------------

    def connection(self, kind: str) -> Optional[Connection]:
        """Return the connection of this kind, or None if there is none. Does not block.

        Raises:
            ForkedClient: it belongs to the parent process.
        """
        self.guard_fork()
        engine = self._engine
        return engine.connections.get(kind) if engine is not None else None

    def public(self, timeout: Optional[float]) -> Connection:
        """Return the public connection; starts the client if that was never done.

        Raises:
            AttributeError: the client has no public connection, with the text of python-kraken-sdk.
            ClientClosed, ConnectFailed: see :meth:`start`.
        """
        engine = self._started(timeout)
        if PUBLIC not in engine.connections:
            raise AttributeError("Could not found any connected websocket!")
        return engine.connections[PUBLIC]

    def private(self, what: str, timeout: Optional[float], kind: str = PRIVATE) -> Connection:
        """Return the private (or level3) connection; opens it if needed, and blocks until it was once up.

        Raises:
            CredentialsMissing: there is no API key, which ``what`` needs.
            ExchangeMismatch: the client was given other hosts, and none for this.
            ClientClosed, ConnectFailed: see :meth:`start`.
        """
        self.need_credentials(what)
        self._check(what, kind, REST)  # tokens come from REST
        deadline = deadline_of(timeout)
        engine = self._started(timeout)
        connection = engine.connections.get(kind) or engine.open(kind)
        # A connection that was up before is being restored: the caller's own wait covers that, and a
        # subscription can be noted meanwhile.
        if not connection.worked:
            connection.wait_open(deadline)
        return connection

    def need_credentials(self, what: str) -> None:
        """Take the API key from the environment unless the constructor was given one.

        Raises:
            CredentialsMissing: there is no API key, which ``what`` needs.
        """
        if self.rest.credentials is None:
            self.rest.credentials = from_environment(lambda name: Secret(os.environ.get(name, "")))
        if self.rest.credentials is None:
            raise CredentialsMissing(missing(what))

    def _started(self, timeout: Optional[float]) -> Engine:
        """Return the engine; starts the client if it was never started, but not after a close."""
        self.guard_fork()
        if self._engine is None and not self._closed:
            self.start(timeout)
        engine = self._engine
        if engine is None:
            raise ClientClosed
        return engine

    def wait_ready(self, private: bool, timeout: Optional[float]) -> None:
        """Block until everything that is wished is there; see :meth:`SpotWSClient.wait_ready`."""
        deadline = deadline_of(timeout)
        self.start(timeout)
        if private:
            self.private("wait_ready(private=True)", time_left(deadline)).keep_orders()

        def missing(session: Any) -> Optional[str]:
            return why_not_ready(session, time.monotonic())

        while True:
            for connection in self.connections:
                if not connection.wait(lambda session: missing(session) is None, deadline):
                    why = connection.read(missing) or "something was missing until now"
                    raise ReplyTimeout(f"the client is not ready: {why}")
            # While one connection was waited for, another may have lost something.
            if all(connection.read(missing) is None for connection in self.connections):
                return

    # -- what it is doing --------------------------------------------------------------------

    @property
    def state(self) -> WSState:
        """What the client is doing now; see :attr:`SpotWSClient.state`."""
        if self._engine is None:
            return WSState.CLOSED if self._closed else WSState.INIT
        states = {connection.state for connection in self.connections}
        for word in ("ERROR", "CONNECTING", "RECONNECTING", "CONNECTED"):
            if word in states:
                return WSState[word]
        return WSState.INIT

    @property
    def place(self) -> str:
        """Where the public connection goes, without any login; empty without one."""
        public = self.endpoints.get(PUBLIC)
        return "" if public is None else public.place

    def leave(self, timeout: float) -> None:
        """Close the client, by its own ``close()`` if it still exists; see :meth:`SpotWSClient.close`."""
        owner = self.owner() if self.owner is not None else None
        if owner is None:
            self.close(timeout)
        else:
            type(owner).close(owner, timeout)

    @property
    def running(self) -> bool:
        """Whether the client is started, in this process."""
        engine = self._engine
        return engine is not None and engine.running and engine.pid == os.getpid()

    @property
    def closed(self) -> bool:
        """Whether the client is closed, and not started again."""
        return self._closed and self._engine is None

    @property
    def given_up(self) -> bool:
        """Whether a connection was given up for good, so that it is not retried."""
        return self._engine is not None and any(each.failure is not None for each in self.connections)

    @property
    def connections(self) -> List[Connection]:
        """The connections that exist, or existed until the client was closed."""
        engine = self._engine or self._past
        return list(engine.connections.values()) if engine is not None else []

    @property
    def has_taps(self) -> bool:
        """Whether something gets every frame: a callback or ``client.messages``."""
        engine = self._engine
        return engine is not None and bool(engine.taps.streams)

    def stats(self) -> Dict[str, Any]:
        """Return counters; see :meth:`SpotWSClient.stats`."""
        engine, totals = self._engine or self._past, {"state": self.state.value}
        if engine is None:
            return totals
        now, connections = time.monotonic(), dict(engine.connections)
        public = connections.pop(PUBLIC, None)
        return {
            **totals,
            **(public.stats(now) if public is not None else {}),
            "callback_errors": engine.dispatcher.errors if engine.dispatcher is not None else 0,
            **{kind: connection.stats(now) for kind, connection in connections.items()},
        }

    def gaps(self) -> List[Dict[str, Any]]:
        """Return the gaps of all connections; see :meth:`SpotWSClient.gaps`."""
        found = [gap for connection in self.connections for gap in connection.gaps()]
        return sorted(found, key=lambda gap: gap["until"] or "")

    def events(self) -> Stream:
        """Return a new stream of what happens to the connections; see :meth:`SpotWSClient.events`."""
        self.guard_fork()
        stream = self._events.open(self.decode, self)
        with self._life:
            engine = self._engine
            if self._closed or (engine is not None and engine.failure is not None):
                stream.end(engine.failure if engine is not None else None)
        return stream

    def messages(self) -> Stream:
        """Return the stream of all messages, made on first use; see :attr:`SpotWSClient.messages`."""
        self.guard_fork()
        with self._life:
            engine = self._engine
            if self._messages is None or (self._messages.ended and engine is not None):
                self._messages = Messages(self, self.decode)
                if engine is not None:
                    engine.taps.streams.append(self._messages)
            stream = self._messages
        # If everything was given up before it existed, nobody else ends it.
        if engine is not None and engine.failure is not None:
            stream.end(engine.failure)
        return stream
