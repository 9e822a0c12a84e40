"""A client's life: starting, closing, being dropped, being forked; and what it is doing meanwhile."""

from __future__ import annotations

import atexit
import enum
import os
import ssl
import sys
import threading
import time
import warnings
import weakref
from typing import Any, Callable, Dict, List, Optional, Tuple

from .core.timing import Timing
from .core.wire.credentials import Credentials, from_environment
from .core.wire.secret import Secret
from .errors import ClientClosed, CredentialsMissing, ForkedClient
from .io.connection.connection import Connection
from .io.connection.private import PrivateConnection
from .io.deadline import deadline_of
from .io.dial import Target
from .io.engine import PRIVATE, PUBLIC, Engine
from .io.rest import Rest, missing
from .io.streams import Decode, Stream
from .offered import offered

EXIT_TIMEOUT = 1.0
"""Seconds that clients left open may take, together, when the interpreter ends."""

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


class WSState(str, enum.Enum):
    """What a client is doing; the words of python-kraken-sdk."""

    INIT = "INIT"
    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    RECONNECTING = "RECONNECTING"
    CANCELLING = "CANCELLING"
    ERRORHANDLING = "ERRORHANDLING"
    ERROR = "ERROR"
    CLOSED = "CLOSED"


class Messages(Stream):
    """``client.messages``."""

    def __init__(self, owner: Lifecycle, decode: Decode) -> None:
        super().__init__("client.messages", decode)
        self._owner = weakref.ref(owner)

    def get(self, timeout: Optional[float] = None) -> Any:
        """See :meth:`Stream.get`; starts the client if it was never started."""
        owner = self._owner()
        if owner is not None and owner.state is WSState.INIT and not self.ended:
            owner.start()
        return super().get(timeout)


class Lifecycle:
    """What every client has. The running parts are an :class:`Engine`, one from start to close."""

    _engine: Optional[Engine] = None
    _past: Optional[Engine] = None
    _closed = False
    _targets: Dict[str, Target] = {}

    def __init__(
        self,
        targets: Dict[str, Target],
        timing: Timing,
        ssl_context: Optional[ssl.SSLContext],
        decode: Decode,
        rest: Rest,
    ) -> None:
        self._targets = targets
        self._rest = rest
        self._private_from_start = rest.credentials is not None
        self._timing = timing
        self._ssl_context = ssl_context
        self._decode = decode
        self._life = threading.RLock()
        """Held for a moment while starting and closing; never while anything is waited for."""
        self._engine = None
        self._past = None  # what was closed last, for its figures
        self._closed = False
        self._messages: Optional[Stream] = None
        self._origin = _caller()
        self._running: List[Engine] = []
        finalizer = weakref.finalize(self, _abandon, self._running, self._origin)
        finalizer.atexit = False  # the end of the interpreter has its own way, see _at_exit

    def _handler(self) -> Optional[Callable[[Any], Any]]:
        """The callback for every message, if there is one."""
        return None

    def _tap_decoder(self) -> Decode:
        """What makes of a frame what the callback gets. It must not hold the client."""
        return self._decode

    # -- life --------------------------------------------------------------------------------

    def start(self, timeout: Optional[float] = 10.0) -> None:
        """Connect, and block until the exchange has greeted with its ``status`` message.

        With a key and a secret given as arguments the private connection is opened, too.

        Transient failures are tried again until ``timeout`` (seconds; None for ever). If the client is
        started already this waits until its line is up, and ends nothing if it is not; a closed client
        is opened again.

        Raises:
            ConnectFailed: no connection in time, with the step that failed.
            CredentialsInvalid, PermissionRefused: the exchange does not give this key a token.
            ClientClosed: it was closed meanwhile.
        """
        self._guard_fork()
        deadline = deadline_of(timeout)
        with self._life:
            engine = self._engine
            if engine is None:
                engine = self._engine = self._new_engine()
                self._closed = False
            engine.starters += 1
        try:
            if self._private_from_start:
                engine.open(PRIVATE)
            for kind in (PUBLIC, PRIVATE):
                if kind in engine.lines:
                    engine.lines[kind].wait_open(deadline)
        except BaseException:
            if self._gives_up(engine):
                engine.stop(EXIT_TIMEOUT)
                self._rest.reopen()
            raise
        with self._life:
            engine.starters -= 1

    def _gives_up(self, engine: Engine) -> bool:
        """Whether a failed start ends the engine: it never worked, and nobody else waits for it."""
        with self._life:
            engine.starters -= 1
            if engine.starters or engine.worked or self._engine is not engine:
                return False
            self._engine = None
            self._running.remove(engine)
            return True

    def close(self, timeout: float = 2.0) -> None:
        """Close everything: streams end, books are CLOSED, no thread is left. Blocks at most ``timeout``.

        May be called twice, from any thread, also from a callback.
        """
        engine = self._engine
        if engine is not None and engine.pid != os.getpid():
            return  # a forked child: nothing here is ours, and the lock may be held for ever
        with self._life:
            engine, self._engine, self._closed = self._engine, None, True
            self._past = engine or self._past
            if engine in self._running:
                self._running.remove(engine)
        self._rest.close()
        if engine is not None:
            engine.stop(timeout)

    def stop(self) -> None:
        """The older name of :meth:`close`."""
        self.close()

    def async_close(self) -> None:
        """As :meth:`close`; python-kraken-sdk has it for its HTTP session."""
        self.close()

    def __enter__(self) -> Any:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _new_engine(self) -> Engine:
        self._rest.reopen()
        engine = Engine(
            self._targets, self._timing, self._ssl_context, self._handler(), self._tap_decoder(), self._rest
        )
        engine.origin = self._origin
        if self._messages is not None and not self._messages.ended:
            engine.taps.append(self._messages)
        self._running.append(engine)
        _engines.add(engine)
        engine.start()
        return engine

    def _guard_fork(self) -> None:
        engine = self._engine
        if engine is not None and engine.pid != os.getpid():
            raise ForkedClient

    def _line(self, kind: str) -> Optional[Connection]:
        """The connection of this kind, if there is one."""
        engine = self._engine
        return engine.lines.get(kind) if engine is not None else None

    def _public(self, timeout: Optional[float]) -> Connection:
        """The public connection, started if it is not."""
        engine = self._started(timeout)
        if PUBLIC not in engine.lines:
            raise AttributeError("Could not found any connected websocket!")
        return engine.lines[PUBLIC]

    def _private(self, what: str, timeout: Optional[float], kind: str = PRIVATE) -> PrivateConnection:
        """The private (or level3) connection, opened if it is not; blocks until it is up.

        Raises:
            CredentialsMissing: ``what`` needs an API key.
        """
        self._credentials(what)
        if kind not in self._targets:
            raise ValueError("other hosts were given, but not level3_ws_url=, where the level3 channel is")
        deadline = deadline_of(timeout)
        line = self._started(timeout).open(kind)
        if not line.worked:
            line.wait_open(deadline)
        assert isinstance(line, PrivateConnection)
        return line

    def _credentials(self, what: str) -> Credentials:
        """The API key: given to the constructor, or in the environment."""
        if self._rest.credentials is None:
            self._rest.credentials = from_environment(lambda name: Secret(os.environ.get(name, "")))
        if self._rest.credentials is None:
            raise CredentialsMissing(missing(what))
        return self._rest.credentials

    def _started(self, timeout: Optional[float]) -> Engine:
        self._guard_fork()
        engine = self._engine
        if engine is None:
            if self._closed:
                raise ClientClosed
            self.start(timeout)
            engine = self._engine
        if engine is None:
            raise ClientClosed("the client was closed meanwhile")
        return engine

    # -- what it is doing --------------------------------------------------------------------

    @property
    def state(self) -> WSState:
        """What the client is doing right now."""
        engine = self._engine
        if engine is None:
            return WSState.CLOSED if self._closed else WSState.INIT
        states = {connection.state for connection in engine.connections}
        for word in ("ERROR", "CONNECTING", "RECONNECTING", "CONNECTED"):
            if word in states:
                return WSState[word]
        return WSState.INIT

    @property
    def exception_occur(self) -> bool:
        """Whether a connection was given up for good."""
        engine = self._engine
        return engine is not None and any(one.failure is not None for one in engine.connections)

    def stats(self) -> Dict[str, Any]:
        """What happened so far, as a dict of counters; times are in seconds.

        They are of the public connection; ``private`` and ``level3`` hold those of the others, if there
        are any. After ``close()`` these are the last figures; before the first start there is only ``state``.
        """
        engine, totals = self._engine or self._past, {"state": self.state.value}
        if engine is None:
            return totals
        now, lines = time.monotonic(), dict(engine.lines)
        public = lines.pop(PUBLIC, None)
        return {
            **totals,
            **(public.stats(now) if public is not None else {}),
            "callback_errors": engine.dispatcher.errors if engine.dispatcher is not None else 0,
            **{kind: line.stats(now) for kind, line in lines.items()},
        }

    def gaps(self) -> List[Dict[str, Any]]:
        """Everything that was missing from any subscription so far, oldest first.

        Each is a dict of ``channel``, ``symbol``, ``reason``, ``since``, ``until``, ``dropped``.
        """
        engine = self._engine or self._past
        found: List[Dict[str, Any]] = []
        for connection in engine.connections if engine is not None else ():
            with connection.changed:
                found += [dict(gap) for gap in connection.gaps]
        return sorted(found, key=lambda gap: gap["until"] or "")

    def _gaps_after(self, count: int) -> Tuple[List[Dict[str, Any]], int]:
        """The public gaps after the first ``count`` ones, and how many there are in all."""
        engine = self._engine or self._past
        connection = engine.lines.get(PUBLIC) if engine is not None else None
        if connection is None:
            return [], count
        with connection.changed:
            new = connection.gap_count - count
            return [dict(gap) for gap in connection.gaps][-new:] if new else [], count + new

    @offered
    def messages(self) -> Stream:
        """Every frame as it comes, as a bounded queue: iterate it, or ``get(timeout)``.

        It fills from the first time this is looked at, also before ``start()``; reading from it starts
        the client if it is not. Frames are decoded when taken.
        """
        self._guard_fork()
        with self._life:
            engine = self._engine
            if self._messages is None or (self._messages.ended and engine is not None):
                self._messages = Messages(self, self._decode)
                if engine is not None:
                    engine.taps.append(self._messages)
            stream = self._messages
        for connection in engine.connections if engine is not None else ():
            if connection.failure is not None:
                stream.end(connection.failure)
        return stream

    def __repr__(self) -> str:
        stats = Lifecycle.stats(self)
        return (
            f"<{type(self).__name__} {stats['state']} {self._targets.get(PUBLIC, 'no public connection')} "
            f"subscriptions={stats.get('subscriptions', 0)} "
            f"reconnects={stats.get('reconnects', 0)}>"
        )


def _caller() -> str:
    """Where a client was made: the first frame outside this package."""
    package = os.path.dirname(os.path.abspath(__file__))
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package + os.sep):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _abandon(running: List[Engine], origin: str) -> None:
    """A client was dropped. This may run inside any other code, so it takes no lock and waits for nothing."""
    engines = [engine for engine in running if engine.pid == os.getpid()]
    for engine in engines:
        engine.abandoned = True
    if engines:
        _warn(origin)


def _at_exit() -> None:
    """The interpreter ends: stop what was left open, all together within a second."""
    engines = [engine for engine in list(_engines) if engine.running and engine.pid == os.getpid()]
    deadline = time.monotonic() + EXIT_TIMEOUT
    for engine in engines:
        engine.signal()
    for engine in engines:
        engine.stop(max(0.0, deadline - time.monotonic()))
    for engine in engines:
        if not engine.abandoned:
            _warn(engine.origin)


def _warn(origin: str) -> None:
    warnings.warn(
        f"the SpotWSClient made at {origin} was not closed; "
        'use "with SpotWSClient() as client:" or client.close()',
        ResourceWarning,
        stacklevel=3,
    )


atexit.register(_at_exit)
