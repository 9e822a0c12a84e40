"""The simulated exchange on real sockets.

One thread runs an event loop with the WebSocket server and the market; everything that touches the
exchange runs there. The public methods of :class:`Simulator` may be called from any thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import ssl
import threading
import time
from decimal import Decimal
from http import HTTPStatus
from typing import (
    Any,
    Callable,
    Coroutine,
    Dict,
    Iterable,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypeVar,
    Union,
)

from ..client import SpotWSClient
from .account import AccountOrder
from .credentials import PERMISSIONS, Credentials
from .exchange import Exchange
from .faults import Faults
from .matching import text_id
from .peers import LEVEL3, PRIVATE, PUBLIC, Peer
from .private_rest import PrivateRest
from .rest import RestApi, RestServer

try:
    from websockets.asyncio.server import Server, ServerConnection, serve
    from websockets.exceptions import ConnectionClosed
except ImportError as error:  # pragma: no cover
    raise ImportError('the simulator needs websockets: pip install "kraken-sync[simulator]"') from error

log = logging.getLogger("kraken_sync.simulator")

PATHS = {
    "/v2": PUBLIC,
    "/auth/v2": PRIVATE,
    "/l3/v2": LEVEL3,
    "/v2/public": PUBLIC,
    "/v2/private": PRIVATE,
    "/auth/v2/private": PRIVATE,
}
"""The Spot WebSocket by paths in place of hosts, and the Unified WebSocket."""
SLICE = 0.05
"""Seconds of market that go into one message."""
SYSTEMS = ("online", "maintenance", "cancel_only", "post_only")
MAX_WAITING = 200_000
T = TypeVar("T")


class _Line:
    """One connection's way out: texts wait here for the sender."""

    def __init__(self, socket: ServerConnection) -> None:
        self.socket = socket
        self.waiting: asyncio.Queue[Tuple[str, float]] = asyncio.Queue()
        self.peer: Optional[Peer] = None

    def send(self, text: str, delay: float) -> None:
        """Queue a text; ``delay`` seconds pass before it (and all that follows) leaves."""
        if self.waiting.qsize() < MAX_WAITING:
            self.waiting.put_nowait((text, delay))

    async def run(self) -> None:
        """Send what is queued, for ever."""
        while True:
            text, delay = await self.waiting.get()
            if delay:
                await asyncio.sleep(delay)
            await self.socket.send(text)


ANY = ("", "unspecified")
URGENCIES = ("announced", "reminder_24h", "approaching_30m", "imminent_5m", "final_warning_30s", *ANY)
SERVICES = ("spot_ws", "spot_rest", "spot_fix", "spot_trading", "all", *ANY)
ADVICE = ("continue", "reduce_activity", "cancel_open_orders", "stop_new_orders", "disconnect_and_wait", *ANY)


class Simulator:
    """A local Kraken. Use it as a context manager, or ``start()`` and ``stop()`` it.

    ::

        with Simulator(seed=7) as sim, SpotWSClient(ws_url=sim.ws_url) as client:
            print(client.book("BTC/USD").best_bid)

    Args:
        seed: the same seed gives the same market.
        rate: events a second over all pairs; 0 for a market that only :meth:`step` moves.
        host: where to listen.
        port: WebSocket here and REST at ``port + 1``; 0 for any free ports.
        idle_timeout: seconds after which a connection without subscription and requests is closed.
        heartbeat_interval: seconds of silence after which a subscriber gets a heartbeat.
        ssl_context: serve ``wss``.
        key: the API key of the simulated account, which may do everything.
        secret: its secret.
        tier: ``starter``, ``intermediate`` or ``pro``: how many orders the account may place; None for no
            limit.
        token_prefix: what every WebSocket token begins with, for tests that look for leaks.
    """

    key = "SIMULATED-KEY"
    secret = "c2ltdWxhdGVkIHNlY3JldCBmb3IgdGhlIGtyYWtlbl9zeW5jIHNpbXVsYXRvciwgbm90IGEgcmVhbCBvbmUh"

    def __init__(
        self,
        seed: int = 1,
        *,
        rate: float = 200.0,
        host: str = "127.0.0.1",
        port: int = 0,
        idle_timeout: float = 60.0,
        heartbeat_interval: float = 1.0,
        ssl_context: Optional[ssl.SSLContext] = None,
        key: str = "",
        secret: str = "",
        tier: Optional[str] = "pro",
        token_prefix: str = "",
    ) -> None:
        if rate < 0:
            raise ValueError(f"rate must be 0 or more events a second, not {rate!r}")
        self.seed = seed
        self.rate = rate
        self.faults = Faults()
        self.errors: List[Exception] = []
        """Faults of the simulator itself; there should be none."""
        self.connections = 0
        """How many WebSocket connections were ever accepted."""
        self._host = host
        self._port = port
        self._rest_port = port + 1 if port else 0
        self._idle_timeout = idle_timeout
        self._heartbeat_interval = heartbeat_interval
        self._ssl = ssl_context
        self._lines: Dict[ServerConnection, _Line] = {}
        self._tasks: Set[asyncio.Task[None]] = set()
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._stopping: Optional[asyncio.Event] = None
        self._thread: Optional[threading.Thread] = None
        self._rest: Optional[RestServer] = None
        self.key, self.secret = key or self.key, secret or self.secret
        credentials = Credentials(seed, prefix=token_prefix)
        credentials.add(self.key, self.secret)
        self.exchange = Exchange(seed, time.time(), self.faults, credentials, tier)

    # -- life --------------------------------------------------------------------------------

    def start(self) -> Simulator:
        """Start serving; raises OSError if the port is taken. Starting again uses the same ports."""
        if self._thread is not None:
            return self
        ready: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._main(ready)), name="simulator", daemon=True
        )
        self._thread.start()
        try:
            self._port = ready.result(10)
        except BaseException:
            self._thread = self._loop = None
            raise
        api, private = RestApi(self.exchange), PrivateRest(self.exchange).answer
        try:
            self._rest = RestServer(self._host, self._rest_port, api, private, self.call, self.faults)
        except OSError:
            self.stop()
            raise
        self._rest_port = self._rest.port
        return self

    def stop(self) -> None:
        """Stop serving; every connection is cut."""
        if self._rest is not None:
            self._rest.stop()
            self._rest = None
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None and self._thread is not None:
            loop.call_soon_threadsafe(stopping.set)
            self._thread.join(5)
            self._thread = self._loop = None

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Simulator {self.ws_url if self._thread is not None else 'not running'} seed={self.seed}>"

    # -- addresses ---------------------------------------------------------------------------

    @property
    def ws_url(self) -> str:
        """Public market data."""
        return f"{'wss' if self._ssl else 'ws'}://{self._host}:{self._port}"

    @property
    def auth_ws_url(self) -> str:
        """Private data and trading."""
        return f"{self.ws_url}/auth"

    @property
    def level3_ws_url(self) -> str:
        """The level3 channel."""
        return f"{self.ws_url}/l3"

    @property
    def rest_url(self) -> str:
        """The REST API."""
        return f"http://{self._host}:{self._rest_port}"

    @property
    def options(self) -> Dict[str, str]:
        """The arguments of a client that is to use this exchange for everything: all addresses, and a key."""
        return {
            "key": self.key,
            "secret": self.secret,
            "ws_url": self.ws_url,
            "auth_ws_url": self.auth_ws_url,
            "level3_ws_url": self.level3_ws_url,
            "rest_url": self.rest_url,
        }

    def client(self, **more: Any) -> SpotWSClient:
        """Return a client of this exchange; ``more`` are further arguments, which take precedence."""
        return SpotWSClient(**{**self.options, **more})

    # -- what tests and demos do with it -----------------------------------------------------

    def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` where the exchange lives, and return its result."""
        loop = self._loop
        if loop is None or threading.current_thread() is self._thread:
            return function()

        async def run() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), loop).result(10)

    def step(self, events: int = 1, symbols: Iterable[str] = ()) -> None:
        """Let so many things happen (in these markets) and publish them as one message per book."""
        names = [symbols] if isinstance(symbols, str) else list(symbols)
        unknown = set(names) - set(self.exchange.markets)
        if unknown:
            raise ValueError(f"no such pairs: {', '.join(sorted(unknown))}")

        def run() -> None:
            now = time.time()
            self.exchange.happen(events, now, names)
            self.exchange.publish(now)

        self.call(run)

    def top(self, symbol: str, levels: int) -> Tuple[List[Tuple[int, int]], List[Tuple[int, int]]]:
        """The true (bids, asks), best first, as integers of the smallest unit."""
        book = self.exchange.markets[symbol].book
        return self.call(lambda: (book.bids.top(levels), book.asks.top(levels)))

    def requests(self, method: str = "") -> List[Dict[str, Any]]:
        """The requests received so far (of one method)."""
        return self.call(lambda: [one for one in self.exchange.requests if method in ("", one.get("method"))])

    def add_key(self, key: str, secret: str, permissions: Iterable[str] = PERMISSIONS) -> None:
        """A further API key: some of ``query_funds query_orders modify_orders cancel_orders websockets``."""
        self.call(lambda: self.exchange.credentials.add(key, secret, permissions))

    def revoke_tokens(self) -> None:
        """Every WebSocket token dies, as after an upgrade of the exchange's gateway."""
        self.call(self.exchange.credentials.revoke)

    def orders(self) -> List[Dict[str, Any]]:
        """The ledger: every order the exchange ever took, oldest first, and what became of it."""
        return self.call(
            lambda: [_ledger_order(order) for order in self.exchange.trading.account.orders.values()]
        )

    def balances(self) -> Dict[str, Decimal]:
        """The ledger: the balances of the account."""
        return self.call(lambda: dict(self.exchange.trading.account.balances))

    def fund(self, asset: str, amount: Union[str, Decimal]) -> None:
        """A deposit."""

        def run() -> None:
            now, account = time.time(), self.exchange.trading.account
            reference = text_id("D", len(account.entries))
            account.post(asset, Decimal(amount), Decimal(0), reference, "deposit", now)
            self.exchange.desk.flush(now)

        self.call(run)

    def set_system(self, system: str) -> None:
        """``online``, ``maintenance``, ``cancel_only`` or ``post_only``, told to everybody."""
        if system not in SYSTEMS:
            raise ValueError(f"system must be one of {', '.join(SYSTEMS)}, not {system!r}")
        self.call(lambda: self.exchange.set_system(system, time.time()))

    def announce(
        self,
        urgency: str = "announced",
        services: Sequence[str] = ("spot_ws", "spot_trading"),
        advice: str = "reduce_activity",
        kind: str = "maintenance",
    ) -> None:
        """Announce a ``maintenance`` that is ahead, or an ``emergency``, to everybody; see
        :class:`kraken_sync.Announcement` for the words.

        Raises:
            ValueError: the exchange has no such word.
        """
        for given, known in (
            (urgency, URGENCIES),
            (advice, ADVICE),
            (kind, ("maintenance", "emergency")),
            *((service, SERVICES) for service in services if not service.startswith("futures_")),
        ):
            if given not in known:
                raise ValueError(f"{given!r} is none of {', '.join(known)}")
        told = {"urgency": urgency, "services": list(services), "recommended_action": advice}
        self.call(lambda: self.exchange.announce(time.time(), kind, told))

    def withdraw(self, kind: str = "maintenance") -> None:
        """Announce it no more."""
        self.call(lambda: self.exchange.announce(time.time(), kind, None))

    def set_pair_status(self, symbol: str, status: str) -> None:
        """Change a pair's status, told to ``instrument`` subscribers."""
        self.call(lambda: self.exchange.set_pair_status(symbol, status, time.time()))

    def end_subscriptions(self, channel: str, symbol: Optional[str] = None) -> None:
        """End the subscriptions of a channel (and symbol) without being asked, and say so."""
        self.call(lambda: self.exchange.end_subscriptions(channel, symbol, time.time()))

    def send_text(self, text: str) -> None:
        """Send this text to every connection, whatever it is."""
        self._each(lambda line: line.send(text, 0.0))

    def send_bytes(self, data: bytes) -> None:
        """Write these bytes to every connection, outside of any framing."""
        self._each(lambda line: line.socket.transport.write(data))

    def half_frame(self) -> None:
        """Begin a frame on every connection and never finish it; what follows is its payload."""
        self.faults.mute = True
        self.send_bytes(b'\x81\x7e\x01\x00{"channel":"book","type":"upd')

    def cut(self) -> None:
        """Cut every connection without a close frame."""
        self._each(lambda line: line.socket.transport.abort())

    def close_all(self, code: int = 1001, reason: str = "", role: str = "") -> None:
        """Close every connection, or the ``public`` or ``private`` ones only, with this code and reason."""

        def close(line: _Line) -> None:
            if not role or (line.peer is not None and line.peer.role == role):
                self._background(line.socket.close(code, reason))

        self._each(close)

    def _each(self, act: Callable[[_Line], None]) -> None:
        def run() -> None:
            for line in list(self._lines.values()):
                act(line)

        self.call(run)

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
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
                self._port,
                ssl=self._ssl,
                process_request=self._admit,
                compression=None,
                ping_interval=None,
                close_timeout=0.5,
                max_size=2**20,
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
        if self.faults.refuse_connections > 0:
            self.faults.refuse_connections -= 1
            return connection.respond(HTTPStatus(self.faults.refuse_status), "refused\n")
        if request.path not in PATHS:
            return connection.respond(HTTPStatus.NOT_FOUND, "not found\n")
        return None

    async def _serve(self, socket: ServerConnection) -> None:
        self.connections += 1
        line = self._lines[socket] = _Line(socket)
        assert socket.request is not None
        path = socket.request.path
        peer = line.peer = self.exchange.connect(PATHS[path], line.send, time.time())
        role, peer.unified = peer.role, path.endswith(("/v2/public", "/v2/private"))
        sender = asyncio.ensure_future(line.run())
        try:
            if self.faults.connection_error is not None:
                await asyncio.sleep(SLICE)  # let the error out first
                await socket.close(1013, "")
            async for text in socket:
                if self.faults.request_delay and role != PUBLIC:
                    await asyncio.sleep(self.faults.request_delay)  # it arrives even if its sender has gone
                self._guarded(self.exchange.receive, peer, str(text), time.time())
        except ConnectionClosed:
            pass
        finally:
            sender.cancel()
            self.exchange.disconnect(peer)
            del self._lines[socket]

    def _go_on(self, events: int, now: float) -> None:
        self.exchange.happen(events, now)
        self.exchange.publish(now)

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
            moment, now = time.monotonic(), time.time()
            owed = min(owed + (moment - last) * self.rate, self.rate)
            last = moment
            events, owed = int(owed), owed - int(owed)
            self._guarded(self._go_on, events, now)
            self.exchange.heartbeat(now, self._heartbeat_interval)
            idle = self.exchange.idle(now, self._idle_timeout)
            for socket, line in list(self._lines.items()):
                if line.peer in idle:
                    self._background(socket.close(1000, "idle"))


def _ledger_order(order: AccountOrder) -> Dict[str, Any]:
    return {
        "order_id": order.order_id,
        "cl_ord_id": order.cl_ord_id,
        "order_userref": order.userref,
        "symbol": order.pair.symbol,
        "side": order.side,
        "order_type": order.kind,
        "status": order.status,
        "qty": order.amount(order.qty),
        "filled": order.amount(order.filled),
        "limit_price": None if order.limit is None else order.price(order.limit),
        "average_price": order.average if order.trades else None,
        "cost": order.cost,
        "fee": order.fee,
        "reason": order.reason,
        "exec_ids": [trade.exec_id for trade in order.trades],
    }
