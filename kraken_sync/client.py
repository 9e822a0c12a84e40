"""SpotWSClient: Kraken's Spot WebSocket API v2 in blocking calls."""

from __future__ import annotations

import enum
import logging
import os
import ssl
import sys
import threading
import time
import warnings
import weakref
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .core import channels
from .core.book import BookState
from .core.channels import Ask
from .core.limits import Timing
from .core.messages import FrameDecoder, ParseFloat, error_text
from .core.symbols import SymbolTable
from .errors import (
    BookNotLive,
    ClientClosed,
    CredentialsMissing,
    ForkedClient,
    KrakenError,
    RateLimited,
    RequestRefused,
    SubscriptionRefused,
)
from .io.connection import BOOK, Connection
from .io.dial import Target
from .io.engine import Engine
from .io.streams import DROP_OLDEST, Stream
from .order_book import OrderBook, book_key
from .subscription import ItemStream, Subscription
from .symbol_lookup import SymbolLookup

log = logging.getLogger("kraken_sync")

Symbols = Union[str, Sequence[str]]
Message = Dict[str, Any]


class WSState(enum.Enum):
    """What a client is doing; the words of python-kraken-sdk."""

    INIT = "INIT"
    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    RECONNECTING = "RECONNECTING"
    CANCELLING = "CANCELLING"
    ERRORHANDLING = "ERRORHANDLING"
    ERROR = "ERROR"
    CLOSED = "CLOSED"


class SpotWSClient:
    """A client for Kraken's Spot WebSocket API v2, for code without an event loop.

    ::

        with SpotWSClient() as client:
            book = client.book("BTC/USD")
            print(book.best_bid, book.best_ask)

    Calls block until they can say what happened, or until their timeout. One background thread receives,
    one watches; both reconnect and restore every subscription on their own. Every member may be used
    from any thread, also from callbacks. The constructor does no I/O; ``start()``, ``with`` or the first
    call connects.

    Args:
        key: API key, for the private side (which this version does not have: it is ignored).
        secret: its secret (ignored, too).
        callback: called with every message (a dict), on one background thread, in order.
        no_public: do not open the public connection.
        rest_url: where the REST API is, without a path.
        ws_url: where public market data are, such as ``wss://ws.kraken.com``, without ``/v2``.
        auth_ws_url: where private data and trading are.
        level3_ws_url: where the level3 channel is.
        parse_float: what numbers in messages become, as in the :mod:`json` module: ``float``,
            ``decimal.Decimal``, ``str``. Books are always exact decimals.
        ssl_context: TLS settings of your own; the default verifies certificates.
        timing: time limits, for tests and unusual networks.
    """

    WS_URL = "wss://ws.kraken.com"
    AUTH_WS_URL = "wss://ws-auth.kraken.com"
    LEVEL3_WS_URL = "wss://ws-l3.kraken.com"
    REST_URL = "https://api.kraken.com"
    API_V = "/v2"

    def __init__(
        self,
        key: str = "",
        secret: str = "",
        callback: Optional[Callable[[Any], Any]] = None,
        *,
        no_public: bool = False,
        rest_url: Optional[str] = None,
        ws_url: Optional[str] = None,
        auth_ws_url: Optional[str] = None,
        level3_ws_url: Optional[str] = None,
        parse_float: Optional[ParseFloat] = float,
        ssl_context: Optional[ssl.SSLContext] = None,
        timing: Timing = Timing(),
    ) -> None:
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r:.80}")
        self._callback = callback
        self._decode = FrameDecoder(parse_float)
        self._timing = timing
        self._ssl_context = ssl_context
        self._target = None if no_public else self._resolve(ws_url, self.WS_URL)
        self._urls = {"rest": rest_url, "auth": auth_ws_url, "level3": level3_ws_url}
        self._life = threading.RLock()
        """Held while starting and closing; never while waiting for the exchange."""
        self._engine: Optional[Engine] = None
        self._closed = False
        self._started_error: Optional[KrakenError] = None
        self._messages: Optional[Stream] = None
        self._books: weakref.WeakValueDictionary[Tuple[str, int], OrderBook]
        self._books = weakref.WeakValueDictionary()
        self._lookup = SymbolLookup()
        self._running: List[Engine] = []
        weakref.finalize(self, _finalize, self._running, _caller())

    def _resolve(self, url: Optional[str], default: str) -> Target:
        base = (url or default).rstrip("/")
        return Target(base if base.endswith(self.API_V) else base + self.API_V)

    # -- life --------------------------------------------------------------------------------

    def start(self, timeout: Optional[float] = 10.0) -> None:
        """Connect, and block until the exchange has greeted with its ``status`` message.

        Transient failures are tried again until ``timeout`` (seconds; None for ever). Does nothing if
        the client is started; opens it again if it was closed.

        Raises:
            ConnectFailed: no connection in time, with the step that failed.
        """
        self._guard_fork()
        deadline = _deadline(timeout)
        with self._life:
            if self._engine is None:
                self._engine = self._new_engine()
                self._closed = False
            engine = self._engine
        try:
            for connection in engine.connections:
                connection.wait_open(deadline)
        except KrakenError:
            with self._life:
                if self._engine is engine:
                    self._stop_engine(1.0)
            raise

    def close(self, timeout: float = 2.0) -> None:
        """Close everything: streams end, books are CLOSED, no thread is left. Blocks at most ``timeout``.

        May be called twice, from any thread, also from a callback.
        """
        if self._engine is not None and self._engine.pid != os.getpid():
            return  # a forked child: nothing here is ours to close
        with self._life:
            self._closed = True
            self._stop_engine(timeout)

    def stop(self) -> None:
        """The older name of :meth:`close`."""
        self.close()

    def __enter__(self) -> SpotWSClient:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _new_engine(self) -> Engine:
        overridden = type(self).on_message is not SpotWSClient.on_message
        handler = weakref.WeakMethod(self.on_message) if overridden or self._callback else None
        engine = Engine(self._target, self._timing, self._ssl_context, handler, self._decode)
        if self._messages is not None and not self._messages.ended:
            engine.taps.append(self._messages)
        self._running.append(engine)
        engine.start()
        return engine

    def _stop_engine(self, timeout: float) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.stop(timeout)
            self._running.remove(engine)

    def _guard_fork(self) -> None:
        engine = self._engine
        if engine is not None and engine.pid != os.getpid():
            raise ForkedClient(
                f"this client belongs to process {engine.pid}; make a new one in the child process"
            )

    def _public(self, timeout: Optional[float]) -> Connection:
        """The public connection, started if it is not."""
        self._guard_fork()
        engine = self._engine
        if engine is None:
            if self._closed:
                raise ClientClosed("the client is closed; start() opens it again")
            self.start(timeout)
            engine = self._engine
        if engine is None:
            raise ClientClosed("the client was closed meanwhile")
        if engine.public is None:
            raise AttributeError("Could not found any connected websocket!")
        return engine.public

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
        """What happened so far, as a dict of counters; times are in seconds."""
        totals: Dict[str, Any] = {"state": self.state.value}
        connection = self._engine.public if self._engine is not None else None
        if connection is None:
            return totals
        with connection.changed:
            session = connection.session
            totals.update(vars(session.counters))
            totals["reconnects"] = connection.reconnects
            totals["gaps"] = len(connection.gaps)
            totals["subscriptions"] = len(session.registry.wishes)
            totals["rtt"] = session.liveness.rtt if session.liveness else None
            totals["last_message_age"] = session.age(time.monotonic()) if session.liveness else None
            totals["system"] = session.system
        engine = self._engine
        dispatcher = engine.dispatcher if engine is not None else None
        totals["callback_errors"] = dispatcher.errors if dispatcher is not None else 0
        return totals

    def gaps(self) -> List[Dict[str, Any]]:
        """Everything that was missing from any subscription so far, oldest first.

        Each is a dict of ``channel``, ``symbol``, ``reason``, ``since``, ``until``, ``dropped``.
        """
        connection = self._engine.public if self._engine is not None else None
        if connection is None:
            return []
        with connection.changed:
            return [dict(gap) for gap in connection.gaps]

    def _gaps_after(self, count: int) -> Tuple[List[Dict[str, Any]], int]:
        """The gaps after the first ``count`` ones, and how many there are in all."""
        connection = self._engine.public if self._engine is not None else None
        if connection is None:
            return [], count
        with connection.changed:
            new = connection.gap_count - count
            return [dict(gap) for gap in connection.gaps][-new:] if new else [], count + new

    def __repr__(self) -> str:
        stats = self.stats()
        return (
            f"<SpotWSClient {stats['state']} {self._target or 'no public connection'} "
            f"subscriptions={stats.get('subscriptions', 0)} "
            f"reconnects={stats.get('reconnects', 0)}>"
        )

    # -- names -------------------------------------------------------------------------------

    @property
    def public_channel_names(self) -> List[str]:
        """The channels accepted as public. Override this to add some."""
        return list(channels.PUBLIC)

    @property
    def private_channel_names(self) -> List[str]:
        """The channels accepted as private. Override this to add some."""
        return list(channels.PRIVATE)

    @property
    def private_methods(self) -> List[str]:
        """The trading methods, which need the private connection."""
        return list(channels.PRIVATE_METHODS)

    @property
    def active_public_subscriptions(self) -> List[Message]:
        """The confirmed subscriptions, one dict of parameters per symbol.

        Raises:
            ConnectionError: there is no public connection.
        """
        engine = self._engine
        if engine is None or engine.public is None:
            raise ConnectionError("Public connection does not exist!")
        with engine.public.changed:
            return [
                {
                    "channel": key.channel,
                    **wish.params,
                    **({"symbol": [key.symbol]} if key.symbol is not None else {}),
                }
                for key, wish in engine.public.session.registry.wishes.items()
                if wish.acked_at is not None and wish.was_live
            ]

    # -- receiving ---------------------------------------------------------------------------

    @property
    def messages(self) -> Stream:
        """Every frame as it comes, as a bounded queue: iterate it, or ``get(timeout)``.

        It fills from the first time this is read; frames are decoded when taken.
        """
        with self._life:
            if self._messages is None or (self._messages.ended and self._engine is not None):
                self._messages = Stream("client.messages", self._decode)
                if self._engine is not None:
                    self._engine.taps.append(self._messages)
            return self._messages

    def on_message(self, message: Any) -> None:
        """Called with every message, on the dispatcher thread. Override it, or pass ``callback``."""
        if self._callback is not None:
            self._callback(message)

    # -- subscribing -------------------------------------------------------------------------

    def subscribe(
        self,
        params: Mapping[str, Any],
        req_id: Optional[int] = None,
        *,
        timeout: Optional[float] = 10.0,
        maxlen: int = 10_000,
        policy: str = DROP_OLDEST,
    ) -> Subscription:
        """Subscribe to a channel and block until the exchange has answered for every symbol.

        All or nothing: if any symbol is refused, nothing is changed. Asking for what is live already
        gives a further stream. After a reconnect everything is subscribed again by itself.

        Args:
            params: ``channel``, ``symbol`` (a list; any common spelling) and the channel's parameters.
            req_id: shared by all answers of this request; made up if not given.
            timeout: seconds, None for ever.
            maxlen: how many frames are kept for a slow reader.
            policy: ``drop_oldest``, ``conflate`` (latest per symbol) or ``raise`` when that is full.

        Returns:
            A stream of the channel's frames (dicts).

        Raises:
            UnknownChannel, UnknownSymbol, ValueError, TypeError: before anything is sent.
            SubscriptionRefused: naming each refused symbol with the exchange's words.
            ReplyTimeout: no answer in time.
            ConnectFailed: the client was not started and could not connect.
        """
        ask = self._check({"method": "subscribe", "params": params})
        stream = self._subscribe(Subscription, ask, req_id, _deadline(timeout), maxlen, policy)
        assert isinstance(stream, Subscription)
        return stream

    def unsubscribe(
        self,
        params: Mapping[str, Any],
        req_id: Optional[int] = None,
        *,
        timeout: Optional[float] = 10.0,
    ) -> None:
        """Unsubscribe for everybody, and block until the exchange has confirmed every symbol.

        Streams of it end, books of it are CLOSED. Parameters other than ``channel``, ``symbol`` and
        ``interval`` need not be repeated.

        Raises:
            SubscriptionRefused: something named is not subscribed; nothing was changed.
            ReplyTimeout: no confirmation in time; it is not restored after a reconnect all the same.
        """
        ask = self._check({"method": "unsubscribe", "params": params})
        self._unsubscribe(ask, req_id, _deadline(timeout))

    def ticker(
        self,
        symbol: Symbols,
        *,
        event_trigger: str = "trades",
        snapshot: bool = True,
        gaps: bool = False,
        **options: Any,
    ) -> ItemStream:
        """Tickers, one dict each: on every trade, or with ``"bbo"`` on every best bid or offer.

        ``options`` are those of :meth:`subscribe`. ``gaps=True`` puts gap frames into the loop.
        """
        params = {"event_trigger": event_trigger, "snapshot": snapshot}
        return self._items("ticker", symbol, params, gaps, options)

    def trades(
        self, symbol: Symbols, *, snapshot: bool = False, gaps: bool = False, **options: Any
    ) -> ItemStream:
        """Trades, one dict each. ``snapshot=True`` begins with the last 50."""
        return self._items("trade", symbol, {"snapshot": snapshot}, gaps, options)

    def ohlc(
        self,
        symbol: Symbols,
        interval: int = 1,
        *,
        snapshot: bool = True,
        gaps: bool = False,
        **options: Any,
    ) -> ItemStream:
        """Candles of ``interval`` minutes, one dict each.

        The current candle is sent with every trade, and nothing at an interval's border: a candle is
        final when one with a later ``interval_begin`` comes.
        """
        params = {"interval": interval, "snapshot": snapshot}
        return self._items("ohlc", symbol, params, gaps, options)

    def instruments(self, *, gaps: bool = False, snapshot: bool = True, **options: Any) -> ItemStream:
        """Pairs, one dict each: all of them at first, then those whose reference data change.

        The assets come with ``subscribe({"channel": "instrument"})``.
        """
        own = {name: options.pop(name) for name in _INSTRUMENT_OPTIONS if name in options}
        return self._items("instrument", None, {"snapshot": snapshot, **own}, gaps, options)

    def symbols(self, search: str = "", *, timeout: Optional[float] = 10.0) -> List[str]:
        """The exchange's symbols that have ``search`` in their name, in any case."""
        deadline = _deadline(timeout)
        table = self._table(self._public(timeout), deadline)
        return table.search(search)

    # -- books -------------------------------------------------------------------------------

    def book(self, pair: str, depth: int = 10, *, timeout: Optional[float] = 10.0) -> OrderBook:
        """A live order book; blocks until its first snapshot is verified.

        Args:
            pair: the symbol, in any common spelling.
            depth: 10, 25, 100, 500 or 1000 levels a side. Several depths of one symbol are views of
                one subscription at the largest of them; asking for a larger one than is live makes
                the book sync again.
            timeout: seconds, None for ever.

        Raises:
            UnknownSymbol, ValueError: before anything is sent.
            SubscriptionRefused: the exchange refused, or frames of another depth are subscribed.
            BookNotLive: no verified snapshot in time.
            ReplyTimeout: no answer in time.
        """
        if not isinstance(pair, str):
            raise TypeError(f"pair must be a string such as 'BTC/USD', not {pair!r:.80}")
        deadline, started = _deadline(timeout), time.monotonic()
        ask = self._check(
            {"method": "subscribe", "params": {"channel": "book", "symbol": pair, "depth": depth}}
        )
        connection = self._public(timeout)
        ask = self._spelled(connection, ask, deadline)
        assert ask.symbols is not None
        symbol = ask.symbols[0]
        self._explained(connection, ask, deadline, keep=BOOK)
        subscribed = time.monotonic()
        with connection.changed:
            sync = connection.session.book(symbol)
            live = sync is not None and connection.wait(
                lambda: sync.live and sync.book.depth >= depth, deadline
            )
            reason = sync.reason if sync is not None else "unsubscribed meanwhile"
            age = connection.session.age(time.monotonic())
        if not live or sync is None:
            if not any(symbol == name for name, _ in self._books):
                connection.release([book_key(symbol)], None, BOOK)
            now = time.monotonic()
            raise BookNotLive(
                symbol,
                str(sync.state if sync is not None else BookState.CLOSED),
                reason,
                text=f"no verified snapshot of {symbol} within {now - started:.1f} s ({reason}; "
                f"subscribed {now - subscribed:.1f} s ago, last message {age:.1f} s ago). The symbol "
                "may be halted; the instrument channel tells its status.",
            )
        with self._life:
            book = self._books.get((symbol, depth))
            if book is None or book._sync is not sync or book._ended:
                book = OrderBook(self, connection, sync, symbol, depth)
                self._books[symbol, depth] = book
            return book

    def _book_ended(self, book: OrderBook) -> None:
        with self._life:
            if self._books.get((book.symbol, book.depth)) is book:
                del self._books[book.symbol, book.depth]
            others = any(symbol == book.symbol for symbol, _ in self._books)
        if not others:
            book._connection.release([book_key(book.symbol)], None, BOOK)

    # -- sending -----------------------------------------------------------------------------

    def send_message(
        self, message: Mapping[str, Any], *, raw: bool = False, timeout: Optional[float] = 10.0
    ) -> Any:
        """Send a request and block until its reply.

        Args:
            message: ``method``, ``params`` and, if you like, ``req_id`` (made up if missing).
            raw: send it exactly as it is and return None at once; the reply comes as a message.
            timeout: seconds, None for ever.

        Returns:
            The reply as a dict. For a subscribe or unsubscribe of several symbols a list of replies,
            and None if nothing had to be sent.

        Raises:
            RequestRefused: the exchange refused, with its words.
            ReplyTimeout: no reply in time.
            ConnectionLost: the connection ended before the reply.
        """
        deadline = _deadline(timeout)
        if raw:
            if not isinstance(message, dict):
                raise TypeError("The ``message`` must be type dict!")
            self._public(timeout).send_raw(message, deadline)
            return None
        method = _method(message)
        if method in ("subscribe", "unsubscribe"):
            return self._send_subscription(message, deadline)
        if method in self.private_methods:
            raise _private(method)
        frame, envelope = self._public(timeout).request(message, deadline)
        if envelope.success is False or envelope.error is not None:
            error = error_text(envelope.error)
            kind = RateLimited if error.startswith("Exceeded msg rate") else RequestRefused
            raise kind(method, error, req_id=envelope.req_id)
        return self._decode(frame)

    def _send_subscription(self, message: Mapping[str, Any], deadline: Optional[float]) -> Any:
        ask, req_id = self._check(message), message.get("req_id")
        if message["method"] == "unsubscribe":
            frames = self._unsubscribe(ask, req_id, deadline)
        else:
            connection = self._public(_left(deadline))
            ask = self._spelled(connection, ask, deadline)
            call = self._explained(connection, ask, deadline, keep=object(), req_id=req_id)
            frames = call.replies
        replies = [self._decode(frame) for frame in dict.fromkeys(frames)]
        return replies[0] if len(replies) == 1 else (replies or None)

    # -- inside ------------------------------------------------------------------------------

    def _check(self, message: Mapping[str, Any]) -> Ask:
        _method(message)
        params = message.get("params")
        if not isinstance(params, Mapping):
            raise TypeError("The message must contain the ``params`` key with a value as type dict!")
        if not isinstance(params.get("channel"), str):
            raise TypeError(
                "The message must contain the ``params`` key that points to a dictionary "
                "containing the ``channel`` key with a valid string!"
            )
        ask = channels.check(params, self.public_channel_names, self.private_channel_names)
        if ask.channel.private:
            raise _private(ask.channel.name)
        return ask

    def _items(
        self,
        channel: str,
        symbol: Optional[Symbols],
        params: Mapping[str, Any],
        gaps: bool,
        options: Dict[str, Any],
    ) -> ItemStream:
        timeout = options.pop("timeout", 10.0)
        maxlen, policy = options.pop("maxlen", 10_000), options.pop("policy", DROP_OLDEST)
        named = {} if symbol is None else {"symbol": symbol}
        body = {"channel": channel, **named, **params, **options}
        ask = self._check({"method": "subscribe", "params": body})
        stream = self._subscribe(ItemStream, ask, None, _deadline(timeout), maxlen, policy, gaps=gaps)
        assert isinstance(stream, ItemStream)
        return stream

    def _subscribe(
        self,
        kind: Callable[..., Subscription],
        ask: Ask,
        req_id: Optional[int],
        deadline: Optional[float],
        maxlen: int,
        policy: str,
        **extra: Any,
    ) -> Subscription:
        connection = self._public(_left(deadline))
        ask = self._spelled(connection, ask, deadline)
        stream = kind(self, connection, ask, self._decode, maxlen, policy, **extra)
        engine = self._engine
        if engine is not None and engine.taps:  # whoever gets every frame wants it without the stream
            stream.hold = object()
        self._explained(connection, ask, deadline, stream=stream, keep=stream.hold, req_id=req_id)
        return stream

    def _unsubscribe(self, ask: Ask, req_id: Optional[int], deadline: Optional[float]) -> List[bytes]:
        connection = self._public(_left(deadline))
        ask = self._spelled(connection, ask, deadline)
        return connection.unsubscribe(ask, deadline, req_id).replies

    def _explained(self, connection: Connection, ask: Ask, deadline: Optional[float], **how: Any) -> Any:
        """Subscribe; a refused symbol comes with the names that may have been meant."""
        try:
            return connection.subscribe(ask, deadline, **how)
        except SubscriptionRefused as error:
            hints = self._lookup.hints(connection, error, deadline)
            if not hints:
                raise
            raise SubscriptionRefused(
                error.channel, error.refused, req_id=error.req_id, hints=hints
            ) from error

    def _spelled(self, connection: Connection, ask: Ask, deadline: Optional[float]) -> Ask:
        """``ask`` with the exchange's own names of its symbols."""
        if ask.symbols is None or not ask.channel.checked:
            return ask
        symbols = self._lookup.spell(connection, ask.symbols, deadline)
        return ask._replace(symbols=symbols)

    def _table(self, connection: Connection, deadline: Optional[float]) -> SymbolTable:
        table = self._lookup.table(connection, deadline)
        if table is None:
            raise KrakenError("the exchange did not send its list of symbols")
        return table


_INSTRUMENT_OPTIONS = ("include_tokenized_assets", "execution_venue")


def _private(what: str) -> Exception:
    """Private channels and trading are not built yet; say so instead of failing somewhere."""
    return CredentialsMissing(
        f"{what} needs the private side, which this version does not have: market data only"
    )


def _method(message: Any) -> str:
    if not isinstance(message, Mapping):
        raise TypeError("The ``message`` must be type dict!")
    method = message.get("method")
    if not isinstance(method, str):
        raise TypeError("The message must contain the ``method`` key with a valid string!")
    return method


def _deadline(timeout: Optional[float]) -> Optional[float]:
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or timeout < 0:
        raise ValueError(f"timeout must be seconds (0 or more) or None, not {timeout!r}")
    return time.monotonic() + timeout


def _left(deadline: Optional[float]) -> Optional[float]:
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _caller() -> str:
    """Where a client was made: the first frame outside this package."""
    package = os.path.dirname(os.path.abspath(__file__))
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _finalize(running: List[Engine], origin: str) -> None:
    """Stop what a collected client, or one left open at exit, has running."""
    engines = [engine for engine in running if engine.pid == os.getpid()]
    for engine in engines:
        engine.stop(1.0)
    if engines:
        warnings.warn(
            f"the SpotWSClient made at {origin} was not closed; "
            'use "with SpotWSClient() as client:" or client.close()',
            ResourceWarning,
            stacklevel=2,
        )
