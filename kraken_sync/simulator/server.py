"""The simulated exchange as its users see it.

Everything that touches the exchange runs in the thread of :mod:`.sockets`. The public methods of
:class:`Simulator` may be called from any thread.
"""

from __future__ import annotations

import ssl
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from decimal import Decimal
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
    Union,
)

from ..client import SpotWSClient
from .announcing import announcement
from .clock import Clock, Start
from .credentials import PERMISSIONS, Credentials
from .exchange import Exchange
from .faults import Faults
from .ledger import order_entry
from .matching import text_id
from .outages import ROLES, Outages
from .pace import Pace
from .private_rest import PrivateRest
from .rest import RestApi, RestServer
from .script import Number, fill, print_trade, set_price
from .serving import Serving
from .settling import Clients
from .sockets import Sockets

SYSTEMS = ("online", "maintenance", "cancel_only", "post_only")
T = TypeVar("T")


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
        start_time: None for this machine's time. Otherwise the exchange's clock stands at this time (RFC 3339
            text, seconds since the epoch, or a datetime) until :meth:`run` or :meth:`step` moves it. Nothing
            happens by itself then, and the methods that make something happen return when every client has
            taken it in, so that the same seed and the same calls are the same run.
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
        start_time: Start = None,
    ) -> None:
        if not 0 <= rate < 1e9:
            raise ValueError(f"rate must be 0 or more events a second, not {rate!r}")
        self.seed = seed
        self.rate = rate
        self.faults = Faults()
        self._clock = Clock(start_time)
        self._clients = Clients()
        self.key, self.secret = key or self.key, secret or self.secret
        credentials = Credentials(seed, prefix=token_prefix)
        credentials.add(self.key, self.secret)
        self.exchange = Exchange(seed, self._clock.now(), self.faults, credentials, tier)
        self._sockets = Sockets(
            self.exchange,
            host,
            port,
            ssl_context,
            lambda: self.rate,
            idle_timeout,
            heartbeat_interval,
            self._clock,
        )
        self._outages = Outages(self._sockets, self._clients, self._clock, self.settle)
        self._host = host
        self._pace = Pace(self.exchange, self._clock)
        self._serving = Serving(
            self._sockets, host, port + 1 if port else 0, self._rest, secure=ssl_context is not None
        )

    # -- life --------------------------------------------------------------------------------

    def start(self) -> Simulator:
        """Start serving; raises OSError if the port is taken. Starting again uses the same ports."""
        if not self._sockets.running:
            self._serving.start()
        return self

    def stop(self) -> None:
        """Stop serving; every connection is cut."""
        self._serving.stop()

    def _rest(self, port: int) -> RestServer:
        clock = self._clock.now
        api, private = RestApi(self.exchange, clock), PrivateRest(self.exchange, clock).answer
        return RestServer(self._host, port, api, private, self.call, self.faults)

    @property
    def errors(self) -> List[Exception]:
        """Faults of the simulator itself; there should be none."""
        return self._sockets.errors

    @property
    def connections(self) -> int:
        """How many WebSocket connections were ever accepted."""
        return self._sockets.connections

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def __repr__(self) -> str:
        return f"<Simulator {self.ws_url if self._sockets.running else 'not running'} seed={self.seed}>"

    # -- addresses ---------------------------------------------------------------------------

    @property
    def ws_url(self) -> str:
        """Public market data."""
        return self._serving.ws_url

    @property
    def auth_ws_url(self) -> str:
        """Private data and trading."""
        return self._serving.auth_ws_url

    @property
    def level3_ws_url(self) -> str:
        """The level3 channel."""
        return self._serving.level3_ws_url

    @property
    def rest_url(self) -> str:
        """The REST API."""
        return self._serving.rest_url

    @property
    def options(self) -> Dict[str, str]:
        """The arguments of a client that is to use this exchange for everything: all addresses, and a key."""
        return self._serving.options(self.key, self.secret)

    def client(self, **more: Any) -> SpotWSClient:
        """Return a client of this exchange; ``more`` are further arguments, which take precedence."""
        client = SpotWSClient(**{**self.options, **more})
        self._clients.add(client)
        return client

    # -- what tests and demos do with it -----------------------------------------------------

    def call(self, function: Callable[[], T]) -> T:
        """Run ``function`` where the exchange lives, and return its result."""
        return self._sockets.call(function)

    def step(self, events: int = 1, symbols: Iterable[str] = ()) -> None:
        """Let so many things happen (in these markets) and publish them as one message per book."""
        if events < 0:
            raise ValueError(f"events must be 0 or more, not {events!r}")
        names = [symbols] if isinstance(symbols, str) else list(symbols)
        unknown = set(names) - set(self.exchange.markets)
        if unknown:
            raise ValueError(f"no such pairs: {', '.join(sorted(unknown))}")

        self._make(lambda: self._pace.step(events, names))

    def run(self, seconds: float) -> None:
        """Let time pass, with ``rate`` events a second, orders that expire, and candles that end.

        With a clock of its own (``start_time``) it takes as long as the events take to compute, so with
        ``rate=0`` only a moment; otherwise it blocks for so long.
        """
        if not 0 <= seconds < 1e9:
            raise ValueError(f"seconds must be 0 or more, not {seconds!r}")
        if not self._clock.own:
            time.sleep(seconds)
            self.settle()
            return
        for moment in self._pace.moments(seconds, self.rate):
            self.call(moment)
        self.settle()
        self._clients.read_clock()

    @property
    def now(self) -> datetime:
        """The exchange's time."""
        return datetime.fromtimestamp(self._clock.now(), timezone.utc)

    def settle(self) -> None:
        """Block until every connected client has taken in everything that was sent, and the clients that
        :meth:`client` has made are complete again: connections, subscriptions, books, tables.

        It waits ten seconds at most. With ``start_time``, every method that makes something happen does this
        by itself.
        """
        offline = self._outages.offline
        self._clients.wait_ready(whole=self.exchange.system == "online" and not offline, offline=offline)
        self._sockets.settle()

    def _make(self, function: Callable[[], T]) -> T:
        """Run a function that makes something happen; with a clock of its own, until it has arrived."""
        result = self.call(function)
        if self._clock.own:
            self.settle()
        return result

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
            lambda: [order_entry(order) for order in self.exchange.trading.account.orders.values()]
        )

    def balances(self) -> Dict[str, Decimal]:
        """The ledger: the balances of the account."""
        return self.call(lambda: dict(self.exchange.trading.account.balances))

    def fund(self, asset: str, amount: Union[str, Decimal]) -> None:
        """A deposit."""

        def run() -> None:
            now, account = self._clock.now(), self.exchange.trading.account
            reference = text_id("D", len(account.entries))
            account.post(asset, Decimal(amount), Decimal(0), reference, "deposit", now)
            self.exchange.desk.flush(now)

        self._make(run)

    # -- what tests make happen --------------------------------------------------------------

    def set_price(self, symbol: str, bid: Number, ask: Number) -> None:
        """Move a market: its best prices are these now, and its makers stay around them.

        Orders of the account that the price has run over are filled, at their own prices.
        """
        self._make(lambda: set_price(self.exchange, symbol, bid, ask, self._clock.now()))

    def trade(self, symbol: str, side: str, price: Number, qty: Number) -> None:
        """Print a trade of two strangers; ``side`` is the taker's.

        It is the last price, which triggers look at, and part of candles and tickers. The book stays as it
        is, and no order of the account takes part; for that see :meth:`fill`.
        """
        self._make(lambda: print_trade(self.exchange, symbol, side, price, qty, self._clock.now()))

    def fill(self, order: Any, qty: Optional[Number] = None) -> None:
        """Fill an order that rests in the book, or ``qty`` of it, at its price, whatever stands before it.

        Args:
            order: an ``order_id`` or ``cl_ord_id``, what ``add_order()`` returned, or an order of
                ``client.orders``.
            qty: in base currency; None for all that is left.

        Raises:
            ValueError: there is no such order, or it cannot be filled.
        """
        self._make(lambda: fill(self.exchange, order, qty, self._clock.now()))

    def reject_next(self, error: str, count: int = 1) -> None:
        """Refuse the next trading requests, over WebSocket or REST, in these words, such as
        ``EOrder:Insufficient funds``; nothing of them is carried out.
        """
        self.call(lambda: self.faults.rejections.extend([error] * count))

    def offline(self, *kinds: str) -> ContextManager[None]:
        """In this block there are no connections of these kinds (``public``, ``private``, ``level3``), or
        none at all; those that exist are cut.
        """
        return self._outages.without(kinds)

    @contextmanager
    def maintenance(self, system: str = "maintenance") -> Iterator[None]:
        """In this block the exchange has this status (``maintenance``, ``cancel_only`` or ``post_only``)."""
        before = self.exchange.system
        self.set_system(system)
        try:
            yield
        finally:
            self.set_system(before)

    def set_system(self, system: str) -> None:
        """``online``, ``maintenance``, ``cancel_only`` or ``post_only``, told to everybody."""
        if system not in SYSTEMS:
            raise ValueError(f"system must be one of {', '.join(SYSTEMS)}, not {system!r}")
        self._make(lambda: self.exchange.set_system(system, self._clock.now()))

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
        told = announcement(urgency, services, advice, kind)
        self._make(lambda: self.exchange.announce(self._clock.now(), kind, told))

    def withdraw(self, kind: str = "maintenance") -> None:
        """Announce it no more."""
        self._make(lambda: self.exchange.announce(self._clock.now(), kind, None))

    def set_pair_status(self, symbol: str, status: str) -> None:
        """Change a pair's status, told to ``instrument`` subscribers."""
        self._make(lambda: self.exchange.set_pair_status(symbol, status, self._clock.now()))

    def end_subscriptions(self, channel: str, symbol: Optional[str] = None) -> None:
        """End the subscriptions of a channel (and symbol) without being asked, and say so."""
        self._make(lambda: self.exchange.end_subscriptions(channel, symbol, self._clock.now()))

    def send_text(self, text: str) -> None:
        """Send this text to every connection, whatever it is."""
        self._sockets.each(lambda line: line.send(text, 0.0))
        if self._clock.own:
            self.settle()

    def send_bytes(self, data: bytes) -> None:
        """Write these bytes to every connection, outside of any framing."""
        self._sockets.each(lambda line: line.write(data))

    def half_frame(self) -> None:
        """Begin a frame on every connection and never finish it: nothing more is sent on them."""
        self._outages.stick()

    def cut(self) -> None:
        """Cut every connection without a close frame."""
        self._outages.cut()

    def close_all(self, code: int = 1001, reason: str = "", role: str = "") -> None:
        """Close every connection, or the ``public`` or ``private`` ones only, with this code and reason."""
        self._outages.close(code, reason, {role} if role else ROLES)
