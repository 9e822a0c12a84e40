"""Serves a replay over WebSocket: an event loop in a thread of its own, and the pace of the recording."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
from http import HTTPStatus
from typing import Any, Callable, Dict, List, Optional, Set, TypeVar

from ..recording.source import Moment, Source
from .exchange import LEVEL3, PRIVATE, PUBLIC, Member, ReplayedExchange

try:
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed
    from websockets.protocol import State
except ImportError as error:  # pragma: no cover
    raise ImportError('a replay needs websockets: pip install "kraken-sync[simulator]"') from error

log = logging.getLogger("kraken_sync.replay")
_quiet = logging.getLogger("kraken_sync.replay.websockets")
_quiet.setLevel(logging.WARNING)

PATHS = {"/v2": PUBLIC, "/auth/v2": PRIVATE, "/l3/v2": LEVEL3}
HEARTBEAT = 1.0
"""Seconds between two heartbeats."""
LONGEST_SILENCE = 10.0
"""Seconds of a recording in which nothing came, such as an outage, after which it goes on at once."""
BATCH = 200
"""The number of moments between two looks at the connections."""
HIGH_WATER = 2**18
"""The number of bytes that may wait for a connection before the recording waits, too."""
SLOWEST = 30.0
"""Seconds after which a connection that takes nothing is cut."""
RETURN = 10.0
"""Seconds that cut connections have to come back, at full speed."""
FULL_SPEED = float("inf")
NORMAL = 1000
"""The close code for the end of a recording."""
T = TypeVar("T")


def text_frame(payload: bytes) -> bytes:
    """Return an unmasked text frame, as servers send it (RFC 6455, section 5.2)."""
    size = len(payload)
    if size < 126:
        return b"\x81%c%b" % (size, payload)
    if size < 2**16:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), payload)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), payload)


class _Line:
    """A connection: frames wait here until they are written together."""

    # Whole frames are written past websockets' own send(), which costs more than all the rest together.
    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.waiting: List[bytes] = []

    def put(self, text: bytes) -> None:
        self.waiting.append(text_frame(text))

    def cut(self) -> None:
        self.flush()
        self.socket.transport.close()

    def flush(self) -> None:
        if self.waiting:
            data, self.waiting = b"".join(self.waiting), []
            # After the closing handshake has begun nothing may follow, and the transport refuses it.
            if self.socket.state is State.OPEN and not self.socket.transport.is_closing():
                self.socket.transport.write(data)

    @property
    def full(self) -> bool:
        transport = self.socket.transport
        return not transport.is_closing() and transport.get_write_buffer_size() > HIGH_WATER


class ReplayServer:
    """Plays a source to whoever connects.

    Args:
        exchange: lives in the thread of the event loop while that runs.
        source: what is played.
        host, port: where to listen; port 0 for any free one.
        speed: how many times as fast as it was recorded; infinity for as fast as it can be taken.
        paused: wait for :meth:`play`, instead of for the first subscription.
    """

    def __init__(
        self, exchange: ReplayedExchange, source: Source, host: str, port: int, speed: float, paused: bool
    ) -> None:
        self.port = port
        self.speed = speed
        self.errors: List[BaseException] = []
        """Faults of the replay itself."""
        self.finished = threading.Event()
        """Set when everything was handed over to the connections."""
        self.over = threading.Event()
        """Set then, and when it is stopped before."""
        self.played = 0
        """The number of moments so far."""
        self.position = 0
        """The time of the last of them, in nanoseconds since the epoch."""
        self._exchange, self._source, self._host = exchange, source, host
        self._paused = paused
        self._lines: Dict[ServerConnection, _Line] = {}
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._going: Optional[asyncio.Event] = None
        self._stopping: Optional[asyncio.Event] = None
        self._closing: Set[asyncio.Future[None]] = set()
        self._thread: Optional[threading.Thread] = None

    # -- any thread --------------------------------------------------------------------------

    def start(self) -> None:
        """Start serving. Raises OSError if the port is taken."""
        ready: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(ready)), name="replay", daemon=True
        )
        self._thread.start()
        self.port = ready.result(10)

    def stop(self, code: int = 1001) -> None:
        """Stop serving; every connection is closed with this code, with 1000 once it has taken everything."""
        self.over.set()
        loop, thread = self._loop, self._thread
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(self._begin_to_stop, code)
            thread.join(SLOWEST if code == NORMAL else 5)
        self._loop = self._thread = None

    def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` where the exchange lives, and return its result."""
        loop = self._loop
        if loop is None:
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), loop).result(10)

    def play(self) -> None:
        """Go on, or begin."""
        self.call(self._running(self._going).set)

    def pause(self) -> None:
        """Let nothing more happen until :meth:`play`."""
        self.call(self._running(self._going).clear)

    @staticmethod
    def _running(event: Optional[asyncio.Event]) -> asyncio.Event:
        if event is None:
            raise RuntimeError("the replay was not started")
        return event

    # -- event loop --------------------------------------------------------------------------

    async def _main(self, ready: concurrent.futures.Future[int]) -> None:
        # Made here, because on Python 3.9 an event belongs to the loop that is current when it is made.
        going, stopping = self._going, self._stopping = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        if not self._paused:
            self._exchange.on_subscribed = going.set
        try:
            server = await serve(
                self._serve,
                self._host,
                self.port,
                process_request=self._admit,
                compression=None,
                ping_interval=None,
                close_timeout=SLOWEST,
                max_size=2**20,
                logger=_quiet,
            )
        except Exception as error:
            ready.set_exception(error)
            return
        tasks = [
            asyncio.ensure_future(self._guarded(work)) for work in (lambda: self._run(going), self._beat)
        ]
        ready.set_result(next(iter(server.sockets)).getsockname()[1])
        await stopping.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*self._closing)
        server.close()
        await server.wait_closed()

    def _begin_to_stop(self, code: int) -> None:
        for line in self._lines.values():
            line.flush()
            if code != NORMAL:
                line.socket.transport.close()
                continue
            closing = asyncio.ensure_future(line.socket.close(code, "the recording is over"))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        self._running(self._stopping).set()

    async def _guarded(self, work: Callable[[], Any]) -> None:
        try:
            await work()
        except asyncio.CancelledError:
            raise
        except Exception as error:
            self.errors.append(error)
            log.exception("a fault of the replay")
            self.finished.set()
            self.over.set()

    def _admit(self, connection: ServerConnection, request: Any) -> Any:
        if request.path not in PATHS:
            return connection.respond(HTTPStatus.NOT_FOUND, "not found\n")
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        line = self._lines[socket] = _Line(socket)
        member = Member(PATHS[socket.request.path], line.put, line.cut)
        self._exchange.join(member)
        line.flush()
        try:
            async for text in socket:
                self._exchange.receive(member, str(text))
                line.flush()
        except ConnectionClosed:
            pass
        finally:
            self._exchange.leave(member)
            self._lines.pop(socket, None)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT)
            self._exchange.beat()
            for line in list(self._lines.values()):
                line.flush()

    async def _run(self, going: asyncio.Event) -> None:
        await going.wait()
        clock = asyncio.get_running_loop().time
        before: Optional[int] = None
        due = clock()
        since_flush = 0
        for moment in self._source:
            if before is not None and self.speed != FULL_SPEED:
                silence = min((moment.at - before) / 1e9, LONGEST_SILENCE)
                due += silence / self.speed
                if due - clock() > 0.001:
                    await self._flush()
                    since_flush = 0
                    await asyncio.sleep(max(0.0, due - clock()))
            if not going.is_set():  # it was paused during the silence
                due = await self._resumed(going)
            before = moment.at
            await self._happen(moment)
            since_flush += 1
            if since_flush >= BATCH:
                await self._flush()
                since_flush = 0
            if not going.is_set():
                due = await self._resumed(going)
        await self._flush()
        self.finished.set()
        self.over.set()

    async def _resumed(self, going: asyncio.Event) -> float:
        """Wait until it may go on, and return the time at which it does."""
        await self._flush()
        while not going.is_set():
            await going.wait()
        return asyncio.get_running_loop().time()

    async def _happen(self, moment: Moment) -> None:
        exchange = self._exchange
        subscribed = exchange.subscriptions if self.speed == FULL_SPEED else 0
        if exchange.play(moment) and subscribed:
            await self._flush()
            # At the recorded pace the clients have the time that the outage took; here they need some.
            until = asyncio.get_running_loop().time() + RETURN
            while exchange.subscriptions < subscribed and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(0.01)
        self.played += 1
        self.position = moment.at

    async def _flush(self) -> None:
        """Write everything, and wait until the connections have taken most of it."""
        lines = list(self._lines.values())
        for line in lines:
            line.flush()
        await asyncio.sleep(0)
        until = asyncio.get_running_loop().time() + SLOWEST
        while any(line.full for line in lines):
            await asyncio.sleep(0.0005)
            if asyncio.get_running_loop().time() > until:
                for line in lines:
                    if line.full:
                        log.warning("a connection that takes nothing is cut")
                        line.socket.transport.abort()
