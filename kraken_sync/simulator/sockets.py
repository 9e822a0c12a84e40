"""The WebSocket side of the simulated exchange: an event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import ssl
import threading
import time
from collections import Counter
from http import HTTPStatus
from typing import Any, Callable, Coroutine, Dict, List, Optional, Set, Tuple, TypeVar

from .clock import Clock
from .exchange import Exchange
from .pace import SLICE
from .peers import LEVEL3, PRIVATE, PUBLIC, Peer

try:
    from websockets.asyncio.server import Server, ServerConnection, serve
    from websockets.exceptions import ConnectionClosed
    from websockets.protocol import State
except ImportError as error:  # pragma: no cover
    raise ImportError('the simulator needs websockets: pip install "kraken-sync[simulator]"') from error

log = logging.getLogger("kraken_sync.simulator")

# Its INFO lines about each connection would stand in the log of whoever tests a program of theirs.
_quiet = logging.getLogger("kraken_sync.simulator.websockets")
_quiet.setLevel(logging.WARNING)

PATHS = {
    "/v2": PUBLIC,
    "/auth/v2": PRIVATE,
    "/l3/v2": LEVEL3,
    "/v2/public": PUBLIC,
    "/v2/private": PRIVATE,
    "/auth/v2/private": PRIVATE,
}
"""The Spot WebSocket by paths in place of hosts, and the Unified WebSocket."""
MAX_WAITING = 200_000
PATIENCE = 5.0
"""The longest time in seconds to wait for a client that takes nothing in."""
T = TypeVar("T")


class Line:
    """One connection's way out: texts wait here for the sender."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.waiting: asyncio.Queue[Tuple[str, float]] = asyncio.Queue()
        self.peer: Optional[Peer] = None
        self.stuck = False
        """Whether nothing is sent any more, although the connection stays."""

    def send(self, text: str, delay: float) -> None:
        """Queue a text; ``delay`` seconds pass before it (and all that follows) leaves."""
        if self.waiting.qsize() < MAX_WAITING:
            self.waiting.put_nowait((text, delay))

    def write(self, data: bytes) -> None:
        """Write bytes outside of any framing; nothing once the closing handshake has begun."""
        if self.socket.state is State.OPEN:
            self.socket.transport.write(data)

    def drop(self) -> None:
        """Forget what is queued: the connection has ended."""
        while not self.waiting.empty():
            self.waiting.get_nowait()
            self.waiting.task_done()

    async def run(self) -> None:
        """Send what is queued, for ever."""
        while True:
            text, delay = await self.waiting.get()
            try:
                if delay:
                    await asyncio.sleep(delay)
                if not self.stuck:
                    await self.socket.send(text)
            finally:
                self.waiting.task_done()


class Sockets:
    """Serves an exchange over WebSocket, and lets its market go on.

    Args:
        exchange: lives in the loop's thread while that runs.
        host, port: where to listen; port 0 for any free one.
        context: serves ``wss``.
        rate: returns how many events happen in a second.
        idle_timeout: seconds after which a connection without subscription and requests is closed.
        heartbeat_interval: seconds of silence after which a subscriber gets a heartbeat.
        clock: the exchange's time; with one of its own nothing happens here by itself.
    """

    def __init__(
        self,
        exchange: Exchange,
        host: str,
        port: int,
        context: Optional[ssl.SSLContext],
        rate: Callable[[], float],
        idle_timeout: float,
        heartbeat_interval: float,
        clock: Clock,
    ) -> None:
        self._pid = os.getpid()
        self.port = port
        self.errors: List[Exception] = []
        """Faults of the simulator itself."""
        self.connections = 0
        """How many connections were ever accepted."""
        self.offline: Counter[str] = Counter()
        """The kinds of connections that are refused, and by how many blocks."""
        self._arriving = 0
        self._exchange = exchange
        self._faults = exchange.faults
        self._clock = clock
        self._host = host
        self._ssl = context
        self._rate = rate
        self._idle_timeout = idle_timeout
        self._heartbeat_interval = heartbeat_interval
        self._lines: Dict[ServerConnection, Line] = {}
        self._tasks: Set[asyncio.Future[None]] = set()
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._stopping: Optional[asyncio.Event] = None
        self._thread: Optional[threading.Thread] = None

    @property
    def running(self) -> bool:
        """Whether it serves."""
        return self._thread is not None

    def start(self) -> None:
        """Start serving; raises OSError if the port is taken."""
        ready: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(ready)), name="simulator", daemon=True
        )
        self._thread.start()
        try:
            self.port = ready.result(10)
        except BaseException:
            self._thread = self._loop = None
            raise

    def stop(self) -> None:
        """Stop serving; every connection is cut. No effect in a forked child, which has no such thread."""
        if os.getpid() != self._pid:
            return
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None and self._thread is not None:
            loop.call_soon_threadsafe(stopping.set)
            self._thread.join(5)
            self._thread = self._loop = None

    def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` where the exchange lives, and return its result."""
        loop = self._loop
        if loop is None or threading.current_thread() is self._thread:
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), loop).result(10)

    def each(self, act: Callable[[Line], None]) -> None:
        """Do this with every connection, where the exchange lives."""

        def run() -> None:
            for line in list(self._lines.values()):
                act(line)

        self.call(run)

    def settle(self) -> None:
        """Block until every connection has taken in what was sent to it, or does not do so in time."""
        loop = self._loop
        if loop is not None and threading.current_thread() is not self._thread:
            asyncio.run_coroutine_threadsafe(self._settle(), loop).result()

    async def _settle(self) -> None:
        try:
            await asyncio.wait_for(self._all_taken_in(), PATIENCE)
        except asyncio.TimeoutError:
            pass  # somebody is stuck

    async def _all_taken_in(self) -> None:
        while self._arriving:  # requests that are held up on their way
            await asyncio.sleep(0.005)
        await asyncio.gather(*(self._taken_in(line) for line in list(self._lines.values())))

    async def _taken_in(self, line: Line) -> None:
        # A client answers a ping after it has read everything that was sent before it.
        try:
            await line.waiting.join()
            await (await line.socket.ping())
        except ConnectionClosed:
            pass

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` in the event loop, and hold it until it is done."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- event loop --------------------------------------------------------------------------

    async def _main(self, ready: concurrent.futures.Future[int]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        try:
            server = await serve(
                self._serve,
                self._host,
                self.port,
                ssl=self._ssl,
                process_request=self._admit,
                compression=None,
                ping_interval=None,
                close_timeout=0.5,
                max_size=2**20,
                logger=_quiet,
            )
        except Exception as error:
            ready.set_exception(error)
            return
        port: int = next(iter(server.sockets)).getsockname()[1]
        market = asyncio.ensure_future(self._live())
        ready.set_result(port)
        await self._stopping.wait()
        market.cancel()
        await self._shut(server)

    async def _shut(self, server: Server) -> None:
        for line in list(self._lines.values()):
            line.socket.transport.abort()
        server.close()
        await server.wait_closed()

    def _admit(self, connection: ServerConnection, request: Any) -> Any:
        if self._faults.refuse_connections > 0:
            self._faults.refuse_connections -= 1
            return connection.respond(HTTPStatus(self._faults.refuse_status), "refused\n")
        if request.path not in PATHS:
            return connection.respond(HTTPStatus.NOT_FOUND, "not found\n")
        if self.offline[PATHS[request.path]]:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "offline\n")
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        line = self._lines[socket] = Line(socket)
        assert socket.request is not None
        path = socket.request.path
        peer = line.peer = self._exchange.connect(PATHS[path], line.send, self._clock.now())
        role, peer.unified = peer.role, path.endswith(("/v2/public", "/v2/private"))
        sender = asyncio.ensure_future(line.run())
        try:
            if self._faults.connection_error is not None:
                await asyncio.sleep(SLICE)  # let the error out first
                await socket.close(1013, "")
            async for text in socket:
                if self._faults.request_delay and role != PUBLIC:
                    self._arriving += 1
                    try:  # it arrives even if its sender has gone
                        await asyncio.sleep(self._faults.request_delay)
                    finally:
                        self._arriving -= 1
                self._guarded(self._exchange.receive, peer, str(text), self._clock.now())
        except ConnectionClosed:
            pass
        finally:
            sender.cancel()
            line.drop()
            self._exchange.disconnect(peer)
            del self._lines[socket]

    def _go_on(self, events: int, now: float) -> None:
        self._exchange.happen(events, now)
        self._exchange.publish(now)

    def _guarded(self, act: Callable[..., None], *arguments: Any) -> None:
        """A fault of the simulator itself must not end it, and must not be missed."""
        try:
            act(*arguments)
        except Exception as error:
            self.errors.append(error)
            log.exception("a fault of the simulator")

    async def _live(self) -> None:
        """The market goes on, heartbeats go out, idle connections are closed."""
        owed, last = 0.0, time.monotonic()
        while True:
            await asyncio.sleep(SLICE)
            if self._clock.own:
                continue
            moment, now = time.monotonic(), self._clock.now()
            owed = min(owed + (moment - last) * self._rate(), self._rate())
            last = moment
            events, owed = int(owed), owed - int(owed)
            self._guarded(self._go_on, events, now)
            self._exchange.heartbeat(now, self._heartbeat_interval)
            idle = self._exchange.idle(now, self._idle_timeout)
            for socket, line in list(self._lines.items()):
                if line.peer in idle:
                    self.background(socket.close(1000, "idle"))
