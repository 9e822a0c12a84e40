"""SpotWSClient: Kraken's Spot WebSocket API v2 in blocking calls.

This file has every public signature and its documentation; the work is done by the parts that a client
owns. They sit under names that begin with ``_ks_``, because bots subclass the client and have attributes of
their own.
"""

from __future__ import annotations

import inspect
import logging
import ssl
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from .compat import method_of, overridable, params_of
from .core.orders.params import PRIVATE_METHODS, prepared
from .core.orders.rate_limits import TradingRate
from .core.timing import Timing
from .core.wire import channels
from .core.wire.channels import channel_params
from .core.wire.credentials import credentials_of
from .core.wire.error_texts import TOO_FAST
from .core.wire.messages import FrameDecoder, ParseFloat, error_text
from .core.wire.numbers import Number
from .core.wire.secret import Secret
from .errors import OrderOutcomeUnknown, RateLimited, RequestRefused
from .io.connection.connection import Connection
from .io.dial import Endpoint, Proxy
from .io.engine import LEVEL3, PRIVATE, PUBLIC
from .io.nonces import Nonces
from .io.rest import Rest
from .io.streams import Decode, Stream
from .io.waiting import deadline_of
from .market.data import MarketData, Message, Symbols
from .market.history import History
from .market.order_book import OrderBook
from .market.subscription import ItemStream, Subscription
from .market.symbols import SymbolLookup
from .runtime import Runtime, WSState
from .trading.account import Balance, Orders
from .trading.cancels import Cancels
from .trading.dead_mans_switch import DeadMansSwitch
from .trading.desk import TradingDesk
from .trading.order_gate import OrderGate
from .trading.outcomes import Reconciled
from .trading.rate_mirror import RateMirror
from .trading.reconcile import Reconciler
from .trading.sender import Json, OrderSender
from .trading.unresolved import Unresolved

OneOrMany = Union[str, Sequence[str], None]


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
        key: API key. With key and secret given here, ``start()`` opens the private connection, too;
            otherwise the first private call does, with ``KRAKEN_API_KEY`` and ``KRAKEN_API_SECRET`` of the
            environment.
        secret: its secret. Neither appears in any log, repr or error.
        callback: called with every message (a dict), on one background thread, in order. A client with one
            lives until it is closed.
        no_public: do not open the public connection.
        rest_url: where the REST API is, without a path.
        ws_url: where public market data are, such as ``wss://ws.kraken.com``, without ``/v2``.
        auth_ws_url: where private data and trading are.
        level3_ws_url: where the level3 channel is; ``auth_ws_url`` if that alone is given.
        parse_float: what numbers in messages become, as in the :mod:`json` module: ``float``,
            ``decimal.Decimal``, ``str``. Books are always exact decimals.
        ssl_context: TLS settings of your own; the default verifies certificates.
        timing: time limits, for tests and unusual networks.
        nonce_file: a file that processes with the same API key share, so that their nonces rise together.
        order_gate: ``refuse``, ``hold`` or ``open``: what becomes of orders while the feed is down. See
            ``client.order_gate``.
        proxy: an HTTP proxy for everything, ``http://user:password@host:port``. TLS goes through it end to
            end. The proxies of the environment are not used.
        tier: ``starter``, ``intermediate`` or ``pro``, for ``client.trading_rate``; the exchange tells it,
            too.
    """

    WS_URL = "wss://ws.kraken.com"
    AUTH_WS_URL = "wss://ws-auth.kraken.com"
    LEVEL3_WS_URL = "wss://ws-l3.kraken.com"
    REST_URL = "https://api.kraken.com"
    LOG = logging.getLogger("kraken_sync")
    API_V = "/v2"

    def __init__(
        self,
        key: Optional[str] = "",
        secret: Optional[str] = "",
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
        if not isinstance(key, (str, type(None))) or not isinstance(secret, (str, type(None))):
            raise TypeError("key and secret must be strings")
        hidden = Secret(key or ""), Secret(secret or "")
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
        endpoints = {PRIVATE: self._ks_endpoint(auth_ws_url, self.AUTH_WS_URL, through, private=True)}
        level3_ws_url = level3_ws_url or auth_ws_url  # python-kraken-sdk's way to name the level3 host
        if level3_ws_url or not (rest_url or ws_url):  # who names other hosts does not mean the real one
            endpoints[LEVEL3] = self._ks_endpoint(level3_ws_url, self.LEVEL3_WS_URL, through, private=True)
        if not no_public:
            endpoints[PUBLIC] = self._ks_endpoint(ws_url, self.WS_URL, through)
        self._ks_callback = callback
        decode, rate = FrameDecoder(parse_float), TradingRate(tier)
        runtime = self._ks_runtime = Runtime(
            endpoints,
            timing,
            ssl_context,
            decode,
            decode if self._ks_tap_decode is None else self._ks_tap_decode,
            self._ks_handler,
            Rest(rest_url or self.REST_URL, credentials_of(*hidden), Nonces(nonce_file), through),
            rate,
        )
        symbols = SymbolLookup()
        self._ks_market = MarketData(runtime, symbols)
        self._ks_gate = OrderGate(order_gate)
        self._ks_rate = RateMirror(rate, lambda: runtime.connection(PRIVATE))
        self._ks_orders = Orders(lambda timeout: runtime.private("client.orders", timeout))
        self._ks_sender = OrderSender(runtime, self._ks_gate, Unresolved())
        self._ks_desk = TradingDesk(runtime, self._ks_sender, symbols)
        self._ks_cancels = Cancels(self._ks_sender, self._ks_orders)

    _ks_tap_decode: Optional[Decode] = None
    """What frames become for the callback, if not what they become for readers."""

    def _ks_endpoint(
        self, url: Optional[str], default: str, proxy: Optional[Proxy], *, private: bool = False
    ) -> Endpoint:
        if url is not None and not isinstance(url, str):
            raise TypeError(f"a URL must be a string such as {default!r}, not {url!r:.80}")
        Endpoint(url or default)  # complains in the words of what was given
        base = (url or default).rstrip("/")
        endpoint = Endpoint(base if base.endswith(self.API_V) else base + self.API_V, proxy)
        if private and not endpoint.secure and endpoint.host not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError(f"{url!r} would send tokens and orders in clear; use wss://")
        return endpoint

    def _ks_handler(self) -> Optional[Callable[[Any], Any]]:
        """What is called with every message, asked whenever the client starts."""
        overridden = type(self).on_message is not SpotWSClient.on_message
        if not overridden and self._ks_callback is None:
            return None
        return self.on_message  # which holds this client: one that calls back lives until it is closed

    @property
    def _is_auth(self) -> bool:
        """Whether there is an API key; python-kraken-sdk's examples look at it."""
        return self._ks_runtime.rest.credentials is not None

    # -- receiving ---------------------------------------------------------------------------

    def on_message(self, message: Any) -> Any:
        """Called with every message, on the dispatcher thread. Override it, or pass ``callback``."""
        return None if self._ks_callback is None else self._ks_callback(message)

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
        method = method_of(message)
        if method in ("subscribe", "unsubscribe"):
            params = params_of(message)
            if not raw:
                return self._ks_send_subscription(method, params, message.get("req_id"), deadline)
        elif method in PRIVATE_METHODS and not raw:
            return self._ks_desk.send_plain(method, message, deadline)
        elif method in self.private_methods and not raw:
            message = {**message, "params": message.get("params") or {}}
        connection = self._ks_connection_for(message, timeout)
        if raw:
            connection.send_raw(message, deadline)
            return None
        frame, envelope = connection.request(message, deadline)
        if envelope.success is False or envelope.error is not None:
            error = error_text(envelope.error)
            kind = RateLimited if error.startswith(TOO_FAST) else RequestRefused
            raise kind(method, error, req_id=envelope.req_id)
        return self._ks_runtime.decode(frame)

    def _ks_connection_for(self, message: Mapping[str, Any], timeout: Optional[float]) -> Connection:
        """The connection that a message belongs to."""
        params = message.get("params")
        channel = params.get("channel") if isinstance(params, Mapping) else None
        if channel == LEVEL3:
            return self._ks_runtime.private(LEVEL3, timeout, LEVEL3)
        if message.get("method") in self.private_methods or channel in self.private_channel_names:
            return self._ks_runtime.private(str(channel or message.get("method")), timeout)
        return self._ks_runtime.public(timeout)

    def _ks_send_subscription(
        self, method: str, params: Mapping[str, Any], req_id: Any, deadline: Optional[float]
    ) -> Any:
        wanted = channel_params(params, self.public_channel_names, self.private_channel_names)
        if method == "unsubscribe":
            frames = self._ks_market.unsubscribe(wanted, req_id, deadline)
        else:
            frames = self._ks_market.subscribe_frames(wanted, req_id, deadline)
        replies = [self._ks_runtime.decode(frame) for frame in dict.fromkeys(frames)]
        return replies[0] if len(replies) == 1 else (replies or None)

    # -- life --------------------------------------------------------------------------------

    def start(self, timeout: Optional[float] = 10.0) -> None:
        """Connect, and block until the exchange has greeted with its ``status`` message.

        With a key and a secret given as arguments the private connection is opened, too.

        Transient failures are tried again until ``timeout`` (seconds; None for ever). If the client is
        started already this waits until its connection is up, and ends nothing if it is not; a closed client
        is opened again.

        Raises:
            ConnectFailed: no connection in time, with the step that failed.
            CredentialsInvalid, PermissionRefused: the exchange does not give this key a token.
            ClientClosed: it was closed meanwhile.
        """
        self._ks_runtime.start(timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Close everything: streams end, books are CLOSED, no thread is left. Blocks at most ``timeout``.

        May be called twice, from any thread, also from a callback.
        """
        self._ks_runtime.close(timeout)

    def stop(self) -> None:
        """The older name of :meth:`close`."""
        type(self).close(self)

    def async_close(self) -> None:
        """As :meth:`close`; python-kraken-sdk has it for its HTTP session."""
        type(self).close(self)

    def __enter__(self) -> Any:
        # through the class: a subclass may override these, and an instance may have data of these names
        try:
            type(self).start(self)
        except BaseException:
            type(self).close(self)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        type(self).close(self)

    # -- what it is doing --------------------------------------------------------------------

    @property
    def state(self) -> WSState:
        """What the client is doing right now."""
        return self._ks_runtime.state

    @property
    def exception_occur(self) -> bool:
        """Whether a connection was given up for good."""
        return self._ks_runtime.given_up

    def stats(self) -> Dict[str, Any]:
        """What happened so far, as a dict of counters; times are in seconds.

        They are of the public connection; ``private`` and ``level3`` hold those of the others, if there
        are any. After ``close()`` these are the last figures; before the first start there is only ``state``.
        """
        return self._ks_runtime.stats()

    def gaps(self) -> List[Dict[str, Any]]:
        """Everything that was missing from any subscription so far, oldest first.

        Each is a dict of ``channel``, ``symbol``, ``reason``, ``since``, ``until``, ``dropped``.
        """
        return self._ks_runtime.gaps()

    @overridable
    def messages(self) -> Stream:
        """Every frame as it comes, as a bounded queue: iterate it, or ``get(timeout)``.

        It fills from the first time this is looked at, also before ``start()``; reading from it starts
        the client if it is not. Frames are decoded when taken.
        """
        return self._ks_runtime.messages()

    def __repr__(self) -> str:
        runtime = vars(self).get("_ks_runtime")
        if runtime is None:
            return f"<{type(self).__name__}, not made>"  # its constructor has failed
        stats = runtime.stats()
        return (
            f"<{type(self).__name__} {stats['state']} "
            f"{runtime.endpoints.get(PUBLIC, 'no public connection')} "
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
        return list(PRIVATE_METHODS)

    @property
    def active_public_subscriptions(self) -> List[Message]:
        """The confirmed subscriptions, one dict of parameters per symbol.

        Raises:
            ConnectionError: this client has no public connection (``no_public``).
        """
        return self._ks_market.active(PUBLIC)

    @property
    def active_private_subscriptions(self) -> List[Message]:
        """The confirmed private subscriptions, one dict of parameters each (per symbol for ``level3``).

        Raises:
            ConnectionError: there is no API key.
        """
        return self._ks_market.active_private()

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
                up to it.
            ReplyTimeout: no answer in time.
            ConnectFailed: the client was not started and could not connect.
        """
        wanted = channel_params(params, self.public_channel_names, self.private_channel_names)
        return self._ks_market.subscribe(wanted, req_id, deadline_of(timeout), maxlen, policy)

    def unsubscribe(
        self,
        params: Mapping[str, Any],
        req_id: Optional[int] = None,
        *,
        timeout: Optional[float] = 10.0,
    ) -> None:
        """Unsubscribe for everybody, and block until the exchange has confirmed every symbol.

        While the connection is down there is nothing to confirm: it is just not restored.

        Streams of it end, books of it are CLOSED. Parameters other than ``channel``, ``symbol`` and
        ``interval`` need not be repeated.

        Raises:
            SubscriptionRefused: something named is not subscribed; nothing was changed.
            ReplyTimeout: no confirmation in time; it is not restored after a reconnect all the same.
        """
        wanted = channel_params(params, self.public_channel_names, self.private_channel_names)
        self._ks_market.unsubscribe(wanted, req_id, deadline_of(timeout))

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
        return self._ks_items("ticker", symbol, params, gaps, options)

    def trades(
        self, symbol: Symbols, *, snapshot: bool = False, gaps: bool = False, **options: Any
    ) -> ItemStream:
        """Trades, one dict each. ``snapshot=True`` begins with the last 50.

        A further stream of the same symbol begins with what the first one has had of them.
        """
        return self._ks_items("trade", symbol, {"snapshot": snapshot}, gaps, options)

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
        return self._ks_items("ohlc", symbol, params, gaps, options)

    def instruments(self, *, gaps: bool = False, snapshot: bool = True, **options: Any) -> ItemStream:
        """Pairs, one dict each: all of them at first, then those whose reference data change.

        The assets come with ``subscribe({"channel": "instrument"})``.
        """
        return self._ks_items("instrument", None, {"snapshot": snapshot}, gaps, options)

    def executions(self, *, gaps: bool = False, **options: Any) -> ItemStream:
        """Reports of your orders and fills, one dict each. ``client.orders`` is the table they add up to.

        ``options`` are the channel's parameters (``snap_orders``, ``snap_trades``, ``order_status``, ...) and
        ``timeout``, ``maxlen``, ``policy`` of :meth:`subscribe`. Nothing is dropped silently: a reader that
        is too slow gets :class:`StreamOverflow`.
        """
        return self._ks_items("executions", None, {}, gaps, options)

    def balances(self, *, gaps: bool = False, snapshot: bool = True, **options: Any) -> ItemStream:
        """Balances and their changes, one dict each. ``client.balance`` is the table they add up to.

        ``options`` as in :meth:`executions`.
        """
        return self._ks_items("balances", None, {"snapshot": snapshot}, gaps, options)

    def level3(
        self, symbol: Symbols, depth: int = 10, *, gaps: bool = False, snapshot: bool = True, **options: Any
    ) -> ItemStream:
        """Single orders in the best ``depth`` levels (10, 100, 1000): one dict of ``bids`` and ``asks`` each.

        On a connection of its own, with an API key. ``options`` as in :meth:`ticker`. A further stream of
        the same symbol has no snapshot: unsubscribe the first one to get a fresh one.
        """
        return self._ks_items("level3", symbol, {"depth": depth, "snapshot": snapshot}, gaps, options)

    def symbols(self, search: str = "", *, timeout: Optional[float] = 10.0) -> List[str]:
        """The exchange's symbols that have ``search`` in their name, in any case."""
        return self._ks_market.search(search, timeout)

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
        return self._ks_market.book(pair, depth, timeout)

    def _ks_items(
        self,
        channel: str,
        symbol: Optional[Symbols],
        params: Mapping[str, Any],
        gaps: bool,
        options: Dict[str, Any],
    ) -> ItemStream:
        """A stream of items; ``options`` are those of the stream, and further parameters of the channel."""
        how = {name: options.pop(name) for name in ("timeout", "maxlen", "policy") if name in options}
        named = {} if symbol is None else {"symbol": symbol}
        asked = {**options, **named, **params, "channel": channel}
        wanted = channel_params(asked, self.public_channel_names, self.private_channel_names)
        return self._ks_market.items(wanted, gaps=gaps, **how)

    # -- placing and changing orders ---------------------------------------------------------

    def add_order(
        self,
        *,
        symbol: str,
        side: str,
        order_type: str,
        order_qty: Optional[Number] = None,
        limit_price: Optional[Number] = None,
        limit_price_type: Optional[str] = None,
        triggers: Optional[Mapping[str, Any]] = None,
        time_in_force: Optional[str] = None,
        expire_time: Optional[str] = None,
        effective_time: Optional[str] = None,
        deadline: Union[str, float, None] = None,
        cl_ord_id: Optional[str] = None,
        order_userref: Optional[int] = None,
        post_only: Optional[bool] = None,
        reduce_only: Optional[bool] = None,
        margin: Optional[bool] = None,
        display_qty: Optional[Number] = None,
        fee_preference: Optional[str] = None,
        stp_type: Optional[str] = None,
        cash_order_qty: Optional[Number] = None,
        sender_sub_id: Optional[str] = None,
        conditional: Optional[Mapping[str, Any]] = None,
        validate: Optional[bool] = None,
        no_mpp: Optional[bool] = None,
        timeout: Optional[float] = 10.0,
    ) -> Json:
        """Place an order, and block until the exchange has taken or refused it.

        Numbers (Decimal, int, str, float) go out exactly as given, after a check against the pair's grid and
        minimums. The symbol must be the exchange's own (``"BTC/USD"``): for orders nothing is guessed.

        Args:
            symbol: the pair.
            side: ``buy`` or ``sell``.
            order_type: ``limit``, ``market``, ``iceberg``, ``stop-loss``, ``stop-loss-limit``,
                ``take-profit``, ``take-profit-limit``, ``trailing-stop``, ``trailing-stop-limit``,
                ``settle-position``.
            order_qty: in base currency.
            limit_price: in quote currency, for the limit types.
            limit_price_type: ``static``, ``pct`` or ``quote``, for ``trailing-stop-limit``.
            triggers: ``price``, and perhaps ``reference`` (``last``, ``index``) and ``price_type``.
            time_in_force: ``gtc`` (default), ``gtd`` (with ``expire_time``), ``ioc``.
            expire_time: RFC 3339, at most a month ahead.
            effective_time: RFC 3339, for a scheduled order.
            deadline: after it the engine refuses the order: seconds from now (0.5 to 60, by the exchange's
                clock), or RFC 3339; 5 seconds if not given.
            cl_ord_id: your own id; a UUID is made up if neither this nor ``order_userref`` is given.
            order_userref: your own number; excludes ``cl_ord_id``.
            post_only: cancel it instead of taking liquidity.
            reduce_only: only reduce a margin position.
            margin: trade on margin.
            display_qty: the visible part of an iceberg, at least 1/15 of ``order_qty``.
            fee_preference: ``base`` or ``quote``.
            stp_type: against trading with yourself: ``cancel_newest`` (default), ``cancel_oldest``,
                ``cancel_both``.
            cash_order_qty: for market buys, in quote currency instead of ``order_qty``.
            sender_sub_id: institutional accounts.
            conditional: a closing order for each fill: ``order_type``, ``limit_price``, ``trigger_price`` and
                their types.
            validate: check only; nothing is placed.
            no_mpp: deprecated by the exchange: no market price protection.
            timeout: seconds to wait for the reply, None for ever.

        Returns:
            The reply's ``result``: ``order_id`` and the id you gave or were given.

        Raises:
            ValueError, TypeError, UnknownSymbol: before anything is sent, with the nearest valid value.
            OrderRejected: the exchange refused it.
            OrderNotSent: it certainly did not reach the exchange.
            OrderOutcomeUnknown: it was sent and no reply came; see :meth:`reconcile`. Never send it again.
            CredentialsMissing, CredentialsInvalid, PermissionRefused: of the API key; nothing was sent.
        """
        return self._ks_desk.add_order(
            {
                "symbol": symbol,
                "side": side,
                "order_type": order_type,
                "order_qty": order_qty,
                "limit_price": limit_price,
                "limit_price_type": limit_price_type,
                "triggers": triggers,
                "time_in_force": time_in_force,
                "expire_time": expire_time,
                "effective_time": effective_time,
                "deadline": deadline,
                "cl_ord_id": cl_ord_id,
                "order_userref": order_userref,
                "post_only": post_only,
                "reduce_only": reduce_only,
                "margin": margin,
                "display_qty": display_qty,
                "fee_preference": fee_preference,
                "stp_type": stp_type,
                "cash_order_qty": cash_order_qty,
                "sender_sub_id": sender_sub_id,
                "conditional": conditional,
                "validate": validate,
                "no_mpp": no_mpp,
            },
            timeout,
        )

    def amend_order(
        self,
        *,
        order_id: Optional[str] = None,
        cl_ord_id: Optional[str] = None,
        order_qty: Optional[Number] = None,
        limit_price: Optional[Number] = None,
        limit_price_type: Optional[str] = None,
        display_qty: Optional[Number] = None,
        trigger_price: Optional[Number] = None,
        trigger_price_type: Optional[str] = None,
        post_only: Optional[bool] = None,
        deadline: Union[str, float, None] = None,
        symbol: Optional[str] = None,
        timeout: Optional[float] = 10.0,
    ) -> Json:
        """Change an order in place, and block until the exchange has answered.

        Name it by ``order_id`` or ``cl_ord_id``. ``order_qty`` is the new total: below what is filled
        already the rest is canceled. ``symbol`` is needed for pairs that are not crypto only. See
        :meth:`add_order` for the other parameters and for what is raised.

        Returns:
            The reply's ``result``: ``amend_id`` and the id that was used.
        """
        return self._ks_desk.amend_order(
            {
                "order_id": order_id,
                "cl_ord_id": cl_ord_id,
                "order_qty": order_qty,
                "limit_price": limit_price,
                "limit_price_type": limit_price_type,
                "display_qty": display_qty,
                "trigger_price": trigger_price,
                "trigger_price_type": trigger_price_type,
                "post_only": post_only,
                "deadline": deadline,
                "symbol": symbol,
            },
            timeout,
        )

    def edit_order(
        self,
        *,
        order_id: str,
        symbol: str,
        order_qty: Optional[Number] = None,
        limit_price: Optional[Number] = None,
        triggers: Optional[Mapping[str, Any]] = None,
        display_qty: Optional[Number] = None,
        fee_preference: Optional[str] = None,
        post_only: Optional[bool] = None,
        reduce_only: Optional[bool] = None,
        order_userref: Optional[int] = None,
        deadline: Union[str, float, None] = None,
        validate: Optional[bool] = None,
        no_mpp: Optional[bool] = None,
        timeout: Optional[float] = 10.0,
    ) -> Json:
        """Cancel an order and place a changed one instead; :meth:`amend_order` is the better way.

        The exchange refuses it for orders with a ``cl_ord_id``, which this client gives to every order that
        has no ``order_userref``. See :meth:`add_order` for the parameters and for what is raised.

        Returns:
            The reply's ``result``: the new ``order_id`` and ``original_order_id``.
        """
        return self._ks_desk.edit_order(
            {
                "order_id": order_id,
                "symbol": symbol,
                "order_qty": order_qty,
                "limit_price": limit_price,
                "triggers": triggers,
                "display_qty": display_qty,
                "fee_preference": fee_preference,
                "post_only": post_only,
                "reduce_only": reduce_only,
                "order_userref": order_userref,
                "deadline": deadline,
                "validate": validate,
                "no_mpp": no_mpp,
            },
            timeout,
        )

    def batch_add(
        self,
        *,
        symbol: str,
        orders: Sequence[Mapping[str, Any]],
        deadline: Union[str, float, None] = None,
        validate: Optional[bool] = None,
        timeout: Optional[float] = 10.0,
    ) -> List[Json]:
        """Place 2 to 15 orders of one pair with one message.

        ``orders`` are dicts of :meth:`add_order`'s parameters, without ``symbol``, ``deadline``,
        ``validate``. Each gets a ``cl_ord_id`` if it has neither that nor an ``order_userref``. See
        :meth:`add_order` for the rest.

        Returns:
            One entry per order, in their order: ``order_id`` and your ids, or ``error`` in the exchange's
            words if this one alone was refused (for lack of funds, say).
        """
        return self._ks_desk.batch_add(
            {
                "symbol": symbol,
                "orders": orders,
                "deadline": deadline,
                "validate": validate,
            },
            timeout,
        )

    # -- canceling ---------------------------------------------------------------------------

    def cancel_order(
        self,
        *,
        order_id: OneOrMany = None,
        cl_ord_id: OneOrMany = None,
        order_userref: Union[int, Sequence[int], None] = None,
        timeout: Optional[float] = 10.0,
    ) -> Any:
        """Cancel orders, and block until it is known what became of each.

        A cancel may be repeated without harm. If its reply is lost the executions are looked at, and it is
        sent once more; only then is the outcome unknown. An ``order_userref`` may name any number of orders:
        what it did is confirmed from the executions.

        Returns:
            For one id the reply's ``result``. For a list (of one, too), or for ``order_userref``, one entry
            per order: its id, and ``error`` if it was not canceled.

        Raises:
            OrderRejected: the one order cannot be canceled (``EOrder:Unknown order``: it is not open).
            OrderNotSent, OrderOutcomeUnknown: as :meth:`add_order`.
        """
        given = {"order_id": order_id, "cl_ord_id": cl_ord_id, "order_userref": order_userref}
        one = isinstance(order_id, str) or isinstance(cl_ord_id, str)
        return self._ks_cancels.cancel_order(prepared("cancel_order", given), deadline_of(timeout), one=one)

    def cancel_all(self, *, timeout: Optional[float] = 10.0) -> Json:
        """Cancel every open order of the account, triggered or not.

        Returns:
            ``{"count": n}``.

        Raises:
            As :meth:`cancel_order`.
        """
        return self._ks_sender.for_all("cancel_all", {}, deadline_of(timeout))

    def cancel_all_orders_after(self, *, timeout: int, reply_timeout: Optional[float] = 10.0) -> Json:
        """Arm the exchange's dead man's switch: all orders are canceled ``timeout`` seconds from now.

        Every call starts the time anew; 0 disarms. It is for the whole account. :meth:`dead_mans_switch`
        renews it for you. (``timeout`` is the exchange's parameter; ``reply_timeout`` is how long to wait
        for the reply.)

        Returns:
            ``currentTime`` and ``triggerTime``.

        Raises:
            As :meth:`cancel_order`.
        """
        params = prepared("cancel_all_orders_after", {"timeout": timeout})
        return self._ks_sender.for_all("cancel_all_orders_after", params, deadline_of(reply_timeout))

    def batch_cancel(
        self,
        *,
        orders: OneOrMany = None,
        cl_ord_id: OneOrMany = None,
        timeout: Optional[float] = 10.0,
    ) -> List[Json]:
        """Cancel 2 to 50 orders with one message. ``orders`` are order ids.

        The exchange answers only how many it canceled; what became of each is taken from the executions.

        Returns:
            One entry per id: the id, and ``status`` as far as it is known (``canceled``, ``filled``, ... or
            ``unknown``).

        Raises:
            As :meth:`cancel_order`.
        """
        params = prepared("batch_cancel", {"orders": orders, "cl_ord_id": cl_ord_id})
        return self._ks_cancels.batch_cancel(params, deadline_of(timeout))

    # -- after a lost reply, and before trouble ----------------------------------------------

    def reconcile(
        self,
        order: Union[str, int, OrderOutcomeUnknown],
        *,
        deadline: Union[str, float, None] = None,
        timeout: Optional[float] = 30.0,
    ) -> Reconciled:
        """Find out what became of an order whose reply was lost, and block until that is known.

        Asks the executions, then REST (open and closed orders); never sends anything that changes something.

        Args:
            order: the :class:`OrderOutcomeUnknown`, or a ``cl_ord_id``, an ``order_id`` or an
                ``order_userref``. Of a batch, each of ``error.names`` on its own.
            deadline: when the order could be taken at the latest (RFC 3339, or seconds since the epoch), for
                an order that this client did not send.
            timeout: seconds, None for ever. An order that is nowhere is known to be nowhere only after its
                deadline (5 seconds after it was sent, if not said otherwise).

        Returns:
            The outcome (live, filled, canceled, never arrived, still unknown), and the order if there is
            one. For an amend or a cancel it is the state of the order that was to be changed.

        Raises:
            CredentialsMissing: there is no API key.
            ClientClosed: the client is closed.
        """
        return Reconciler(self._ks_runtime, self._ks_sender, order, deadline).run(timeout)

    @overridable
    def unresolved(self) -> List[OrderOutcomeUnknown]:
        """The requests whose outcome is unknown, oldest first.

        :meth:`reconcile` takes them off the list (a batch, once each of its orders is known), and a further
        call that succeeds those of ``cancel_all`` and ``cancel_all_orders_after``.
        """
        return self._ks_sender.unresolved.errors()

    def dead_mans_switch(
        self,
        timeout: int = 60,
        *,
        stuck_after: Optional[float] = None,
        on_failure: Optional[Callable[[str], Any]] = None,
    ) -> DeadMansSwitch:
        """A context manager: if this program dies, the exchange cancels all orders ``timeout`` seconds later.

        Args:
            timeout: whole seconds; it is renewed every third of it. Nothing is armed before ``with``.
            stuck_after: stop renewing when ``feed()`` was not called for so many seconds, for owners that
                may hang.
            on_failure: called with a sentence, on a thread of its own, when renewals fail.
        """
        return DeadMansSwitch(self._ks_runtime, self._ks_sender, timeout, stuck_after, on_failure)

    @overridable
    def order_gate(self) -> OrderGate:
        """What holds back orders while the feed is down. See :class:`OrderGate`."""
        return self._ks_gate

    @overridable
    def trading_rate(self) -> RateMirror:
        """How much of the exchange's trading rate is used up. See :class:`RateMirror`."""
        return self._ks_rate

    # -- the account, and REST ---------------------------------------------------------------

    @overridable
    def orders(self) -> Orders:
        """The account's orders, live. See :class:`Orders`."""
        return self._ks_orders

    @overridable
    def balance(self) -> Balance:
        """The account's balances, live. See :class:`Balance`."""
        runtime = self._ks_runtime

        def held(timeout: Optional[float]) -> Mapping[str, Any]:
            deadline = deadline_of(timeout)
            result = runtime.rest.request("POST", "/0/private/BalanceEx", deadline=deadline)
            return result if isinstance(result, dict) else {}

        return Balance(lambda timeout: runtime.private("client.balance", timeout), held)

    def request(
        self,
        method: str,
        uri: str,
        params: Optional[Mapping[str, Any]] = None,
        timeout: Optional[float] = 10.0,
        *,
        auth: bool = True,
        do_json: bool = False,
        return_raw: bool = False,
        query_str: Optional[str] = None,
        extra_params: Union[str, Mapping[str, Any], None] = None,
    ) -> Any:
        """Send a REST request and return the exchange's ``result``. Blocks up to ``timeout`` seconds in all.

        Private requests go out one after the other, each with a nonce higher than the last. Nothing is ever
        sent twice, but for a request that was refused for its nonce. Needs no started client.

        Args:
            method: ``"GET"``, ``"POST"``, ...
            uri: the path, such as ``"/0/private/Balance"``.
            params: parameters, without the nonce.
            timeout: seconds for everything together, None for ever.
            auth: sign it.
            do_json: send the parameters as JSON instead of a form.
            return_raw: return the ``requests.Response``, for zip exports and the like.
            query_str: added to the query as it stands.
            extra_params: further parameters, as a dict or as JSON text.

        Raises:
            RestRefused: with the exchange's words; ``CredentialsInvalid``, ``PermissionRefused`` and
                ``RateLimited`` for what they name.
            CredentialsMissing: ``auth`` without an API key.
            ReplyTimeout: no complete answer in time; a request that changes something may have been carried
                out.
            ConnectFailed, ConnectionLost: no connection, or none any more.
        """
        runtime = self._ks_runtime
        runtime.guard_fork()
        if auth:
            runtime.need_credentials(f"REST {uri}")
        return runtime.rest.request(
            method,
            uri,
            params,
            deadline=deadline_of(timeout),
            auth=auth,
            do_json=do_json,
            return_raw=return_raw,
            query_str=query_str,
            extra_params=extra_params,
        )

    def get_ws_token(self, timeout: Optional[float] = 10.0) -> Dict[str, Any]:
        """A fresh WebSocket token, as ``{"token": str, "expires": 900}``. Callers at the same time share one.

        The client fetches its own; this is for messages of your own.

        Raises:
            As :meth:`request`.
        """
        runtime = self._ks_runtime
        runtime.guard_fork()
        runtime.need_credentials("get_ws_token()")
        result = runtime.rest.ws_token(deadline_of(timeout))
        token = result["token"]
        return {**result, "token": token.reveal() if isinstance(token, Secret) else token}

    def get_nonce(self) -> str:
        """A nonce higher than every one before it, from the same source as this client's own requests."""
        return str(self._ks_runtime.rest.nonces.next())

    @property
    def return_unique_id(self) -> str:
        """A random id, 32 hexadecimal digits."""
        return uuid.uuid4().hex

    @overridable
    def rest(self) -> History:
        """Public REST: what was before the stream. See :class:`History`."""
        return History(self._ks_runtime.rest.request)
