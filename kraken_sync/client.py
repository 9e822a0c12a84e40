"""SpotWSClient: Kraken's Spot WebSocket API v2 in blocking calls."""

from __future__ import annotations

import inspect
import logging
import ssl
import time
import weakref
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .arguments import INSTRUMENT_OPTIONS, check_params, method_of
from .core import channels
from .core.book import BookState
from .core.channels import Ask
from .core.credentials import credentials_of
from .core.limits import Timing
from .core.messages import FrameDecoder, ParseFloat, error_text
from .core.secret import Secret
from .core.symbols import SymbolTable
from .errors import (
    BookNotLive,
    KrakenError,
    RateLimited,
    ReplyTimeout,
    RequestRefused,
    SubscriptionRefused,
)
from .io.connection import BOOK, FRAMES, Connection
from .io.deadline import deadline_of, time_left
from .io.dial import Proxy, Target
from .io.engine import LEVEL3, PRIVATE, PUBLIC
from .io.holds import BookToken
from .io.nonces import Nonces
from .io.rest import Rest
from .io.streams import DROP_OLDEST, RAISE
from .order_book import OrderBook, book_key
from .order_gate import OrderGate
from .replies import error_of, rejected
from .subscription import ItemStream, Subscription
from .symbol_lookup import SymbolLookup
from .trading import Trading
from .trading_rate import RateMirror

log = logging.getLogger("kraken_sync")

Symbols = Union[str, Sequence[str]]
Message = Dict[str, Any]


class SpotWSClient(Trading):
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
        key: API key. With key and secret given here, ``start()`` opens the private connection, too;
        otherwise the
            first private call does, with ``KRAKEN_API_KEY`` and ``KRAKEN_API_SECRET`` of the environment.
        secret: its secret. Neither appears in any log, repr or error.
        callback: called with every message (a dict), on one background thread, in order.
        no_public: do not open the public connection.
        rest_url: where the REST API is, without a path.
        ws_url: where public market data are, such as ``wss://ws.kraken.com``, without ``/v2``.
        auth_ws_url: where private data and trading are.
        level3_ws_url: where the level3 channel is; must be given if any of the others is.
        parse_float: what numbers in messages become, as in the :mod:`json` module: ``float``,
            ``decimal.Decimal``, ``str``. Books are always exact decimals.
        ssl_context: TLS settings of your own; the default verifies certificates.
        timing: time limits, for tests and unusual networks.
        nonce_file: a file that processes with the same API key share, so that their nonces rise together.
        order_gate: ``refuse``, ``hold`` or ``open``: what becomes of orders while the feed is down. See
            ``client.order_gate``.
        proxy: an HTTP proxy for everything, ``http://user:password@host:port``. TLS goes through it end to
        end.
            The proxies of the environment are not used.
        tier: ``starter``, ``intermediate`` or ``pro``, for ``client.trading_rate``; the exchange tells it,
        too.
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
        nonce_file: Union[str, Path, None] = None,
        order_gate: str = "refuse",
        tier: Optional[str] = None,
        proxy: str = "",
    ) -> None:
        if not isinstance(key, str) or not isinstance(secret, str):
            raise TypeError("key and secret must be strings")
        hidden = Secret(key), Secret(secret)
        through = Proxy(Secret(proxy)) if proxy else None
        key = secret = proxy = ""  # nothing that shows the locals of this frame may show them
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r:.80}")
        for handler in (callback, type(self).on_message):
            if inspect.iscoroutinefunction(handler):
                raise TypeError(
                    f"{handler.__name__} must be a plain function: drop the 'async'. It is called on a "
                    "thread of its own, and may block"
                )
        if not isinstance(timing, Timing):
            raise TypeError(f"timing must be a Timing, not {timing!r:.80}")
        targets = {
            PRIVATE: self._resolve(auth_ws_url, self.AUTH_WS_URL, through, private=True),
        }
        elsewhere = any((rest_url, ws_url, auth_ws_url)) and level3_ws_url is None
        if not elsewhere:  # nobody who named other hosts means the real one here
            targets[LEVEL3] = self._resolve(level3_ws_url, self.LEVEL3_WS_URL, through, private=True)
        if not no_public:
            targets[PUBLIC] = self._resolve(ws_url, self.WS_URL, through)
        rest = Rest(rest_url or self.REST_URL, credentials_of(*hidden), Nonces(nonce_file), through)
        super().__init__(targets, timing, ssl_context, FrameDecoder(parse_float), rest)
        self._unknown = []
        self._order_gate = OrderGate(order_gate)
        self._rate = RateMirror(tier)
        self._callback = callback
        self._books: Dict[Tuple[str, int], OrderBook] = {}
        self._lookup = SymbolLookup()

    def _resolve(
        self, url: Optional[str], default: str, proxy: Optional[Proxy], *, private: bool = False
    ) -> Target:
        if url is not None and not isinstance(url, str):
            raise TypeError(f"a URL must be a string such as {default!r}, not {url!r:.80}")
        Target(url or default)  # complains in the words of what was given
        base = (url or default).rstrip("/")
        target = Target(base if base.endswith(self.API_V) else base + self.API_V, proxy)
        if private and not target.secure and target.host not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError(f"{url!r} would send tokens and orders in clear; use wss://")
        return target

    def _handler(self) -> Optional[Callable[[], Optional[Callable[[Any], Any]]]]:
        overridden = type(self).on_message is not SpotWSClient.on_message
        return weakref.WeakMethod(self.on_message) if overridden or self._callback is not None else None

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
        return self._active(PUBLIC)

    @property
    def active_private_subscriptions(self) -> List[Message]:
        """The confirmed private subscriptions, one dict of parameters each (per symbol for ``level3``).

        Raises:
            ConnectionError: there is no private connection.
        """
        engine = self._engine
        level3 = engine is not None and LEVEL3 in engine.lines
        return self._active(PRIVATE) + (self._active(LEVEL3) if level3 else [])

    def _active(self, kind: str) -> List[Message]:
        engine = self._engine
        if engine is None or kind not in engine.lines:
            raise ConnectionError(f"{kind.capitalize()} connection does not exist!")
        line = engine.lines[kind]
        with line.changed:
            return [
                {
                    "channel": key.channel,
                    **wish.params,
                    **({"symbol": [key.symbol]} if key.symbol is not None else {}),
                }
                for key, wish in line.session.registry.wishes.items()
                if wish.acked_at is not None and wish.was_live
            ]

    # -- receiving ---------------------------------------------------------------------------

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
        policy: Optional[str] = None,
    ) -> Subscription:
        """Subscribe to a channel and block until the exchange has answered for every symbol.

        All or nothing: if any symbol is refused, nothing is changed. Asking for what is live already
        gives a further stream. After a reconnect everything is subscribed again by itself.

        Args:
            params: ``channel``, ``symbol`` (a list; any common spelling) and the channel's parameters.
            req_id: shared by all answers of this request; made up if not given.
            timeout: seconds, None for ever.
            maxlen: how many frames are kept for a slow reader.
            policy: ``drop_oldest``, ``conflate`` (latest per symbol) or ``raise`` when that is full; if not
                given, ``raise`` for private channels and ``drop_oldest`` for the others.

        Returns:
            A stream of the channel's frames (dicts).

        Raises:
            UnknownChannel, UnknownSymbol, ValueError, TypeError: before anything is sent.
            SubscriptionRefused: naming each refused symbol with the exchange's words.
            CredentialsMissing, CredentialsInvalid, PermissionRefused: a private channel, and the key is not
            up to it. ReplyTimeout: no answer in time.
            ConnectFailed: the client was not started and could not connect.
        """
        check_params(params)
        ask = self._check({"method": "subscribe", "params": params})
        stream = self._subscribe(Subscription, ask, req_id, deadline_of(timeout), maxlen, policy)
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

        While the line is down there is nothing to confirm: it is just not restored.

        Streams of it end, books of it are CLOSED. Parameters other than ``channel``, ``symbol`` and
        ``interval`` need not be repeated.

        Raises:
            SubscriptionRefused: something named is not subscribed; nothing was changed.
            ReplyTimeout: no confirmation in time; it is not restored after a reconnect all the same.
        """
        check_params(params)
        ask = self._check({"method": "unsubscribe", "params": params})
        self._unsubscribe(ask, req_id, deadline_of(timeout))

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

        ``options`` are ``timeout``, ``maxlen`` and ``policy`` of :meth:`subscribe`. ``gaps=True`` puts
        gap frames into the loop.
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
        own = {name: options.pop(name) for name in INSTRUMENT_OPTIONS if name in options}
        return self._items("instrument", None, {"snapshot": snapshot, **own}, gaps, options)

    def executions(self, *, gaps: bool = False, **options: Any) -> ItemStream:
        """Reports of your orders and fills, one dict each. ``client.orders`` is the table they add up to.

        ``options`` are the channel's parameters (``snap_orders``, ``snap_trades``, ``order_status``, ...) and
        ``timeout``, ``maxlen``, ``policy`` of :meth:`subscribe`. Nothing is dropped silently: a reader that
        is too slow gets :class:`StreamOverflow`.
        """
        return self._items("executions", None, {}, gaps, options)

    def balances(self, *, gaps: bool = False, snapshot: bool = True, **options: Any) -> ItemStream:
        """Balances and their changes, one dict each. ``client.balance`` is the table they add up to.

        ``options`` as in :meth:`executions`.
        """
        return self._items("balances", None, {"snapshot": snapshot}, gaps, options)

    def level3(
        self, symbol: Symbols, depth: int = 10, *, gaps: bool = False, snapshot: bool = True, **options: Any
    ) -> ItemStream:
        """Single orders in the best ``depth`` levels (10, 100, 1000): one dict of ``bids`` and ``asks`` each.

        On a connection of its own, with an API key. ``options`` as in :meth:`ticker`.
        """
        return self._items("level3", symbol, {"depth": depth, "snapshot": snapshot}, gaps, options)

    def symbols(self, search: str = "", *, timeout: Optional[float] = 10.0) -> List[str]:
        """The exchange's symbols that have ``search`` in their name, in any case."""
        deadline = deadline_of(timeout)
        if not isinstance(search, str):
            raise TypeError(f"search must be a string such as 'BTC', not {search!r:.80}")
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
        deadline, started = deadline_of(timeout), time.monotonic()
        ask = self._check(
            {"method": "subscribe", "params": {"channel": "book", "symbol": pair, "depth": depth}}
        )
        connection = self._public(timeout)
        ask = self._spelled(connection, ask, deadline)
        assert ask.symbols is not None
        symbol = ask.symbols[0]
        token, key = BookToken(), book_key(symbol)
        try:
            self._explained(connection, ask, deadline, token=token, kind=BOOK)
        except ReplyTimeout as error:
            raise self._in_backoff(connection, symbol) or error from error
        subscribed = time.monotonic()
        try:
            with connection.changed:
                sync = connection.session.book(symbol)
                if sync is not None:
                    connection.wait(
                        lambda: (sync.live and sync.book.depth >= depth) or sync.state is BookState.CLOSED,
                        deadline,
                    )
                live = sync is not None and sync.live and sync.book.depth >= depth
                state = sync.state if sync is not None else BookState.CLOSED
                reason = sync.reason if sync is not None else "unsubscribed meanwhile"
                age = connection.session.age(time.monotonic())
            if not live or sync is None:
                now = time.monotonic()
                raise BookNotLive(
                    symbol,
                    str(state),
                    reason,
                    text=f"no verified snapshot of {symbol} within {now - started:.1f} s ({reason}; "
                    f"subscribed {now - subscribed:.1f} s ago, last message {age:.1f} s ago). The symbol "
                    "may be halted; the instrument channel tells its status.",
                )
        except BaseException:
            connection.release([key], None, token)
            raise
        with self._life:
            book = self._books.get((symbol, depth))
            if book is None or book._sync is not sync or book._ended:
                book = self._books[symbol, depth] = OrderBook(self, connection, sync, symbol, depth, token)
                return book
        connection.release([key], None, token)
        return book

    def _in_backoff(self, connection: Connection, symbol: str) -> Optional[BookNotLive]:
        """The better error for a book that others have, and that waits for its next resync."""
        with connection.changed:
            sync = connection.session.book(symbol)
            if sync is None or sync.state is not BookState.RESYNCING:
                return None
            return BookNotLive(symbol, str(sync.state), f"{sync.reason}; waiting for the next resync")

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
            OrderRejected, OrderNotSent, OrderOutcomeUnknown: instead of these, for a trading method. Its
                parameters go out as they are, with the token added: no check, no id, no deadline of ours.
        """
        deadline = deadline_of(timeout)
        if raw:
            if not isinstance(message, dict):
                raise TypeError("The ``message`` must be type dict!")
            self._line_for(message, timeout).send_raw(message, deadline)
            return None
        method = method_of(message)
        if method in ("subscribe", "unsubscribe"):
            return self._send_subscription(message, deadline)
        if method in channels.PRIVATE_METHODS:
            return self._send_trading(method, message, deadline)
        if method in self.private_methods:
            message = {**message, "params": message.get("params") or {}}
        frame, envelope = self._line_for(message, timeout).request(message, deadline)
        if envelope.success is False or envelope.error is not None:
            error = error_text(envelope.error)
            kind = RateLimited if error.startswith("Exceeded msg rate") else RequestRefused
            raise kind(method, error, req_id=envelope.req_id)
        return self._decode(frame)

    def _send_trading(self, method: str, message: Mapping[str, Any], deadline: Optional[float]) -> Any:
        params = dict(message.get("params") or {})
        count = sum(
            len(params[name]) for name in ("order_id", "cl_ord_id") if isinstance(params.get(name), list)
        )
        replies = max(1, count) if method == "cancel_order" else 1
        request = self._trade(method, params, deadline, replies, req_id=message.get("req_id"), plain=True)
        failed = [error for error in map(error_of, request.replies) if error is not None]
        if failed and len(failed) == len(request.replies):
            raise rejected(method, failed[0], params)
        found = [self._decode(reply.frame) for reply in request.replies]
        return found[0] if len(found) == 1 else found

    def _line_for(self, message: Mapping[str, Any], timeout: Optional[float]) -> Connection:
        """The connection that a message belongs to."""
        params = message.get("params")
        channel = params.get("channel") if isinstance(params, Mapping) else None
        if channel == "level3":
            return self._private("level3", timeout, LEVEL3)
        if message.get("method") in self.private_methods or channel in self.private_channel_names:
            return self._private(str(channel or message.get("method")), timeout)
        return self._public(timeout)

    def _line_of(self, ask: Ask, timeout: Optional[float]) -> Connection:
        """The connection that a subscription belongs to."""
        if not ask.channel.private:
            return self._public(timeout)
        name = ask.channel.name
        return self._private(name, timeout, LEVEL3 if name == "level3" else PRIVATE)

    def _send_subscription(self, message: Mapping[str, Any], deadline: Optional[float]) -> Any:
        ask, req_id = self._check(message), message.get("req_id")
        if message["method"] == "unsubscribe":
            frames = self._unsubscribe(ask, req_id, deadline)
        else:
            connection = self._line_of(ask, time_left(deadline))
            ask = self._spelled(connection, ask, deadline)
            call = self._explained(connection, ask, deadline, token=object(), req_id=req_id)
            frames = call.replies
        replies = [self._decode(frame) for frame in dict.fromkeys(frames)]
        return replies[0] if len(replies) == 1 else (replies or None)

    # -- inside ------------------------------------------------------------------------------

    def _check(self, message: Mapping[str, Any]) -> Ask:
        method_of(message)
        params = message.get("params")
        if not isinstance(params, Mapping):
            raise TypeError("The message must contain the ``params`` key with a value as type dict!")
        if not isinstance(params.get("channel"), str):
            raise TypeError(
                "The message must contain the ``params`` key that points to a dictionary "
                "containing the ``channel`` key with a valid string!"
            )
        return channels.check(params, self.public_channel_names, self.private_channel_names)

    def _items(
        self,
        channel: str,
        symbol: Optional[Symbols],
        params: Mapping[str, Any],
        gaps: bool,
        options: Dict[str, Any],
    ) -> ItemStream:
        timeout = options.pop("timeout", 10.0)
        maxlen, policy = options.pop("maxlen", 10_000), options.pop("policy", None)
        named = {} if symbol is None else {"symbol": symbol}
        body = {**options, **named, **params, "channel": channel}
        ask = self._check({"method": "subscribe", "params": body})
        stream = self._subscribe(ItemStream, ask, None, deadline_of(timeout), maxlen, policy, gaps=gaps)
        assert isinstance(stream, ItemStream)
        return stream

    def _subscribe(
        self,
        kind: Callable[..., Subscription],
        ask: Ask,
        req_id: Optional[int],
        deadline: Optional[float],
        maxlen: int,
        policy: Optional[str],
        **extra: Any,
    ) -> Subscription:
        connection = self._line_of(ask, time_left(deadline))
        ask = self._spelled(connection, ask, deadline)
        policy = policy or (RAISE if ask.channel.private else DROP_OLDEST)
        stream = kind(self, connection, ask, self._decode, maxlen, policy, **extra)
        engine = self._engine
        if engine is not None and engine.taps:  # whoever gets every frame wants it without the stream
            stream.token = object()
        self._explained(connection, ask, deadline, stream=stream, token=stream.token, req_id=req_id)
        return stream

    def _unsubscribe(self, ask: Ask, req_id: Optional[int], deadline: Optional[float]) -> List[bytes]:
        connection = self._line_of(ask, time_left(deadline))
        ask = self._spelled(connection, ask, deadline)
        return connection.unsubscribe(ask, deadline, req_id).replies

    def _explained(self, connection: Connection, ask: Ask, deadline: Optional[float], **how: Any) -> Any:
        """Subscribe; a refused symbol comes with the names that may have been meant."""
        try:
            return connection.subscribe(ask, deadline, **{"kind": FRAMES, **how})
        except SubscriptionRefused as error:
            if ask.channel.private:
                raise
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
        if ask.channel.private:  # the table of symbols is on the public side
            if PUBLIC not in self._targets:
                return ask
            connection = self._public(time_left(deadline))
        symbols = self._lookup.spell(connection, ask.symbols, deadline)
        return ask._replace(symbols=symbols)

    def _table(self, connection: Connection, deadline: Optional[float]) -> SymbolTable:
        table = self._lookup.table(connection, deadline)
        if table is None:
            raise KrakenError("the exchange did not send its list of symbols")
        return table
