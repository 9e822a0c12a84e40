"""The client for Kraken's Spot WebSocket API v2, in blocking calls.

This module has the public signatures and their documentation; the work is done by the parts that a client
owns. The names of these parts begin with ``_ks_``, because users subclass the client and give it attributes
of their own.
"""

from __future__ import annotations

import inspect
import logging
import ssl
import uuid
import weakref
from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    List,
    Literal,
    Mapping,
    Optional,
    Sequence,
    TypeVar,
    Union,
    cast,
    overload,
)

from .compat import method_of, overridable, params_of
from .core.arguments import speaking
from .core.awaiting import Blocking
from .core.client_state import WSState
from .core.copying import refuse_copy
from .core.orders.params import PRIVATE_METHODS, prepared
from .core.orders.rate_limits import TradingRate
from .core.session.account_views import announced
from .core.timing import Timing
from .core.wire import channels
from .core.wire.announcements import Announcement
from .core.wire.channels import channel_params
from .core.wire.credentials import credentials_of
from .core.wire.error_texts import TOO_FAST
from .core.wire.messages import FrameDecoder, ParseFloat, error_text
from .core.wire.numbers import Number
from .core.wire.places import ENDPOINTS, LEVEL3, PRIVATE, PUBLIC, REST, full_url, places
from .core.wire.printable import without_login
from .core.wire.secret import Secret
from .core.wire.shapes import (
    Candle,
    ChannelName,
    CountResult,
    Depth,
    EventTrigger,
    FeePreference,
    Interval,
    OrderDepth,
    OrderResult,
    OrderType,
    Policy,
    PriceType,
    SelfTradePrevention,
    Side,
    SwitchResult,
    Ticker,
    TimeInForce,
    Trade,
    Via,
)
from .errors import OrderOutcomeUnknown, RateLimited, RequestRefused
from .io.connection.connection import Connection
from .io.dial import Endpoint, default_context
from .io.logs import log
from .io.nonces import Nonces
from .io.proxies import Proxies, secret_urls
from .io.rest import Rest
from .io.streams import Decode, Stream
from .io.waiting import deadline_of
from .market.client_view import client_html
from .market.collected import Collected
from .market.collecting import check_end, collect
from .market.data import MarketData, Message, Symbols
from .market.gaps import Gaps
from .market.history import History
from .market.level3_book import Level3Book
from .market.order_book import OrderBook
from .market.subscription import ItemStream, Subscription
from .market.symbols import SymbolLookup
from .runtime import Runtime
from .trading.balance import Balance
from .trading.cancels import Cancels
from .trading.dead_mans_switch import DeadMansSwitch
from .trading.desk import TradingDesk
from .trading.order_gate import OrderGate
from .trading.orders import Orders
from .trading.outcomes import Reconciled
from .trading.rate_mirror import RateMirror
from .trading.reconcile import Reconciler
from .trading.sender import OrderSender
from .trading.unresolved import Unresolved

Self = TypeVar("Self", bound="SpotWSClient")
OneOrMany = Union[str, Sequence[str], None]


class SpotWSClient:
    """A client for Kraken's Spot WebSocket API v2, for code without an event loop.

    ::

        with SpotWSClient() as client:
            book = client.book("BTC/USD")
            print(book.best_bid, book.best_ask)

    A call blocks until its outcome is known or its timeout has passed. Background threads receive the
    messages, watch the connections, reconnect, and restore every subscription. Every member may be used
    from any thread, also from a callback. The constructor does no I/O and does not block; ``start()``, a
    ``with`` statement or the first call that needs a connection connects.

    All timeouts are in seconds; None waits for ever, and anything that is not a number of 0 or more raises
    ValueError. Besides the errors listed with each method, every call that uses a connection raises
    :class:`ClientClosed` if the client is closed before or during the call, :class:`ForkedClient` in a
    process that was forked after the client was started, and the error that ended the connection if it was
    given up for good (such as :class:`CredentialsInvalid`). A call for public data of a client that was made
    with ``no_public=True`` raises AttributeError, as in python-kraken-sdk.

    Source: https://docs.kraken.com/exchange/guides/websockets/introduction.

    Args:
        key: the API key. If ``key`` and ``secret`` are given here, ``start()`` opens the private connection,
            too. Otherwise the first private call opens it, with ``KRAKEN_API_KEY`` and ``KRAKEN_API_SECRET``
            from the environment.
        secret: the secret of the API key. Neither of the two appears in any log, repr or error.
        callback: a function that is called with every message (a dict), see :meth:`on_message`. A client
            with a callback lives until it is closed, even if nothing refers to it.
        no_public: True to open no public connection; the default is False.
        rest_url: the base URL of the REST API, without a path; the default is ``https://api.kraken.com``.
        ws_url: the URL for public market data; the default is ``wss://ws.kraken.com``. ``/v2`` (with
            ``endpoint="uws"``, ``/v2/public`` or ``/v2/private``) is appended to the URLs that lack it.
        auth_ws_url: the URL for private data and trading; the default is ``wss://ws-auth.kraken.com``.
        level3_ws_url: the URL for the ``level3`` channel; the default is ``wss://ws-l3.kraken.com``.
            If one of the four URLs is not Kraken's, nothing private and no REST request goes to Kraken's
            own: for these the URL must be given, too.
        parse_float: called with the text of every number in a message that has a decimal point or an
            exponent, as in the :mod:`json` module: ``float`` (default), ``decimal.Decimal``, ``str`` or
            another function. Books, orders and balances are always exact decimals.
        ssl_context: the TLS settings of WebSocket and REST; the default verifies certificates.
        timing: the time limits of the connections; the defaults suit the real exchange.
        nonce_file: the path of a file that processes with the same API key share, so that their nonces
            increase together; the default is None. Its directory must exist. Not available on Windows.
        order_gate: ``refuse`` (default), ``hold`` or ``open``: what happens to orders while the client's
            data are not up to date. See :attr:`order_gate`.
        tier: ``starter``, ``intermediate`` or ``pro``, the account's tier for :attr:`trading_rate` until the
            exchange has told it. The default is the lowest tier.
        proxy: the proxy for all connections, ``http://user:password@host:port``, or with the extra
            ``socks``, ``socks5h://host:port``; or a dict of URLs by scheme, as requests has it. TLS passes
            through it encrypted. The default is that of the environment (``https_proxy``, ``all_proxy``,
            ``no_proxy``) or of the system's settings, read when the client is made; False is none. This
            machine (``127.0.0.1``, ``localhost``) is never reached through a proxy of the environment.
        otp: the password of a key with two-factor authentication, or a function that returns the current
            one; it is called for each signed request, on a thread of the client's.
        endpoint: ``spot`` (default), or ``uws`` for Kraken's Unified WebSocket, which is planned to have Spot
            from early 2027 on: one host (``wss://uws.kraken.com``) for public and private data, and
            ``asset_class: spot`` in each request. level3 stays where it is. See
            https://docs.kraken.com/exchange/api-reference/unified-websocket.
        ca_file: a file with certificates, in PEM format, that are trusted in addition to the usual ones: the
            certificate authority of a company's firewall, for example.

    Raises:
        TypeError: an argument has the wrong type, or a callback is a coroutine function.
        ValueError: a URL, ``proxy``, ``ca_file``, ``order_gate``, ``tier`` or ``nonce_file`` is not valid, or
            a URL would send tokens or signed requests unencrypted to another machine.
        ConnectFailed: with ``ca_file``, a file that ``REQUESTS_CA_BUNDLE`` names cannot be read.
        CredentialsMissing: only one of ``key`` and ``secret`` was given.
        CredentialsInvalid: ``key`` or ``secret`` has characters that no API key has.
    """

    WS_URL = "wss://ws.kraken.com"
    AUTH_WS_URL = "wss://ws-auth.kraken.com"
    LEVEL3_WS_URL = "wss://ws-l3.kraken.com"
    UNIFIED_WS_URL = "wss://uws.kraken.com"
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
        proxy: Union[str, Mapping[str, str], bool, None] = None,
        ca_file: Union[str, Path, None] = None,
        otp: Union[str, Callable[[], str], None] = None,
        endpoint: str = "spot",
    ) -> None:
        if not isinstance(key, (str, type(None))) or not isinstance(secret, (str, type(None))):
            raise TypeError("key and secret must be strings")
        hidden = Secret(key or ""), Secret(secret or "")
        if not (
            otp is None or isinstance(otp, str) or (callable(otp) and not inspect.iscoroutinefunction(otp))
        ):
            raise TypeError("otp must be a string, or a plain function that returns one")
        own_otp = Secret(otp).reveal if isinstance(otp, str) else otp
        try:
            hidden_proxy = secret_urls(proxy)
        finally:
            proxy = None
        # Crash reporters and debuggers record the locals of every frame of a traceback, and much below can
        # raise, so the plain texts are removed from this frame first.
        key = secret = ""
        otp = None
        proxies = Proxies(hidden_proxy)
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
        if ca_file is not None:
            if ssl_context is not None:
                raise ValueError("give ssl_context or ca_file, not both")
            ssl_context = default_context(ca_file)
        if ssl_context is not None and ssl_context.verify_mode is ssl.CERT_NONE:
            log.warning(
                "ssl_context does not verify certificates: whoever is in between can read and change "
                "everything, API keys and orders included"
            )
        given = {PUBLIC: ws_url, PRIVATE: auth_ws_url, LEVEL3: level3_ws_url, REST: rest_url}
        for url in given.values():
            if not isinstance(url, (str, type(None))):
                raise TypeError(f"a URL must be a string such as {self.WS_URL!r}, not {url!r:.80}")
        if endpoint not in ENDPOINTS:
            raise ValueError(f"endpoint must be one of {', '.join(ENDPOINTS)}, not {endpoint!r:.80}")
        unified = endpoint == "uws"
        chosen = places(
            given,
            {
                PUBLIC: self.UNIFIED_WS_URL if unified else self.WS_URL,
                PRIVATE: self.UNIFIED_WS_URL if unified else self.AUTH_WS_URL,
                LEVEL3: self.LEVEL3_WS_URL,
                REST: self.REST_URL,
            },
        )
        endpoints = {
            kind: self._ks_endpoint(chosen.urls[kind], kind, endpoint, proxies)
            for kind in (PRIVATE, LEVEL3, PUBLIC)
            if kind in chosen.urls and not (kind == PUBLIC and no_public)
        }
        self._ks_callback = callback
        decode, rate = FrameDecoder(parse_float), TradingRate(tier)
        runtime = Runtime(
            endpoints,
            chosen.check,
            timing,
            ssl_context,
            decode,
            decode if self._ks_tap_decode is None else self._ks_tap_decode,
            self._ks_handler,
            Rest(
                chosen.urls.get(REST, ""),
                credentials_of(*hidden),
                Nonces(nonce_file),
                proxies.choose(chosen.urls.get(REST, "")),
                ssl_context,
                lambda what: chosen.check(what, REST),
                own_otp,
            ),
            rate,
        )
        symbols = SymbolLookup()
        self._ks_assemble(runtime, symbols, self._ks_make_market(runtime, symbols), rate, order_gate)

    def _ks_assemble(
        self, runtime: Runtime, symbols: SymbolLookup, market: MarketData, rate: TradingRate, order_gate: str
    ) -> None:
        """Put the parts together."""
        self._ks_runtime, self._ks_market = runtime, market
        runtime.owner = weakref.ref(self)
        self._ks_gate = OrderGate(order_gate)
        self._ks_rate = RateMirror(rate, lambda: runtime.connection(PRIVATE))
        self._ks_orders = Orders(lambda timeout: runtime.private("client.orders", timeout))
        self._ks_sender = OrderSender(runtime, self._ks_gate, Unresolved())
        self._ks_desk = TradingDesk(runtime, self._ks_sender, symbols)
        self._ks_cancels = Cancels(self._ks_sender, self._ks_orders, runtime)

    __reduce__ = refuse_copy("make another one where it is needed")
    __await__, __aenter__, __aexit__ = Blocking.__await__, Blocking.__aenter__, Blocking.__aexit__

    _ks_make_market = MarketData
    """Makes what subscribes to the market's channels."""

    _ks_tap_decode: Optional[Decode] = None
    """Decodes frames for the callback, if they are decoded differently from those for streams."""

    def _ks_endpoint(self, url: str, kind: str, endpoint: str, proxies: Proxies) -> Endpoint:
        Endpoint(url)  # raises first, with the URL as the user wrote it, without "/v2"
        found = Endpoint(full_url(url, kind, endpoint), proxies.choose(url))
        if kind != PUBLIC and not found.secure and found.host not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError(f"{without_login(url)!r} would send tokens and orders in clear; use wss://")
        return found

    def _ks_handler(self) -> Optional[Callable[[Any], Any]]:
        """Return the function to call with every message, or None; called whenever the client starts."""
        overridden = type(self).on_message is not SpotWSClient.on_message
        if not overridden and self._ks_callback is None:
            return None
        # The bound method refers to this client, so the dispatcher's thread keeps a client with a callback
        # alive until it is closed.
        return self.on_message

    @property
    def _is_auth(self) -> bool:
        """Whether the client has an API key; the examples of python-kraken-sdk read this name."""
        return self._ks_runtime.rest.credentials is not None

    # -- receiving ---------------------------------------------------------------------------

    def on_message(self, message: Any) -> Any:
        """Called with every message; override it in a subclass, or pass ``callback`` to the constructor.

        It is called on one background thread, with one message after the other, in the order of their
        arrival. It may block and may call any method of the client. If it is slower than the feed, the
        oldest waiting messages are dropped and a gap message (``"type": "gap"``) takes their place. An
        exception that it raises is logged, and the next message is delivered all the same.

        Args:
            message: the message as a dict. Replies, heartbeats and status messages are included; messages of
                subscriptions that the client made for its own use are not.
        """
        return None if self._ks_callback is None else self._ks_callback(message)

    # -- sending -----------------------------------------------------------------------------

    def send_message(
        self, message: Mapping[str, Any], *, raw: bool = False, timeout: Optional[float] = 10.0
    ) -> Any:
        """Send a request of any method and block until its reply has arrived.

        The request is sent over the connection that its channel or method belongs to, which is opened if
        needed. A subscription made this way is restored after a reconnect like any other. The parameters of
        a trading method are sent without a check, a ``cl_ord_id`` or a ``deadline`` added by the client; only
        the token is added. May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket.

        Args:
            message: a dict of ``method``, ``params`` (for methods that have any) and optionally ``req_id``,
                an int; without it the client chooses one.
            raw: True to send the message exactly as it is and to return None without waiting for a reply;
                replies then arrive as messages. The default is False.
            timeout: seconds to wait, for the connection and for the reply together; None for ever.

        Returns:
            The reply as a dict. For a subscribe, unsubscribe or cancel of several symbols or orders, a list
            of replies. None if nothing had to be sent, or with ``raw``.

        Raises:
            TypeError: ``message`` is not a dict, or ``method`` or ``params`` is missing.
            UnknownChannel, ValueError: a subscription is not valid; nothing was sent.
            UnknownSymbol: the exchange has no such symbol; the error has the nearest names.
            RequestRefused: the exchange refused the request (SubscriptionRefused for a subscription).
            RateLimited: the exchange refused the request because of too many messages.
            ReplyTimeout: no reply came in time.
            ConnectionLost: there was no connection in time, or it ended before the reply.
            ConnectFailed: the client was not started yet and could not connect.
            OrderRejected, OrderNotSent, OrderOutcomeUnknown: for a trading method, in place of the errors
                above from RequestRefused on; see :meth:`add_order`.
            CredentialsMissing, CredentialsInvalid, PermissionRefused: a private request, and the client has
                no API key, or one that the exchange does not accept for it.
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
        """Return the connection that a message belongs to, opening it if needed."""
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

    def start(self: Self, timeout: Optional[float] = 10.0) -> Self:
        """Connect, and block until the exchange's ``status`` message has arrived on each connection.

        The public connection is opened, and the private one, too, if the constructor was given an API key.
        Transient failures are retried until ``timeout`` has passed. If the client is already started, the
        call waits until its connections are up, and a failure ends nothing. A closed client is opened again.
        May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status.

        Args:
            timeout: seconds to wait for all connections together; None for ever.

        Returns:
            The client itself.

        Raises:
            ConnectFailed: there was no connection in time; its attribute ``step`` names the step that failed.
            CredentialsInvalid, PermissionRefused: the exchange refuses to issue a WebSocket token for this
                API key.
            ClientClosed: the client was closed during the call.
            ForkedClient: the client was started in the parent process.
        """
        self._ks_runtime.start(timeout)
        return self

    def wait_ready(self, *, private: bool = False, timeout: Optional[float] = 10.0) -> None:
        """Block until everything that was asked for is there: every connection up, every subscription
        acknowledged, every book LIVE, every table up to date.

        Starts the client if needed. It says so of the moment at which it returns; what comes later is told
        by the books, the streams and :meth:`events`. May be called from any thread.

        Args:
            private: True to wait for the private connection and :attr:`orders` as well, whether or not
                anything has needed them so far.
            timeout: seconds to wait for all of it together; None for ever.

        Raises:
            ReplyTimeout: something is missing; the text names it.
            The errors of :meth:`start`, and CredentialsMissing with ``private``.
        """
        self._ks_runtime.wait_ready(private, timeout)

    def close(self, timeout: Optional[float] = 2.0) -> None:
        """Close all connections and stop all background threads.

        Streams end once their remaining messages are read, books become CLOSED, and calls that wait in other
        threads raise :class:`ClientClosed`. Subscriptions are forgotten. Calling it again has no effect. May
        be called from any thread, also from a callback. :meth:`start` opens the client again.

        Args:
            timeout: the number of seconds to block at most, for the closing handshake and for the threads to
                end. A thread that has not ended by then ends on its own. Log records that are still to be
                handled may take up to 0.5 seconds more.
        """
        self._ks_runtime.close(timeout)

    def stop(self) -> None:
        """Close the client; the name that older releases of python-kraken-sdk have for :meth:`close`."""
        type(self).close(self)

    def async_close(self) -> None:
        """Close the client, as :meth:`close` does. It is no coroutine; python-kraken-sdk has the name."""
        type(self).close(self)

    def __enter__(self: Self) -> Self:
        # Looked up on the class, so that overriding start() and close() works, but an attribute of an
        # instance that happens to be named "start" does not break the with statement.
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
        """What the client is doing now, as a :class:`WSState`.

        With several connections it is the first of ERROR, CONNECTING, RECONNECTING and CONNECTED that is true
        of any of them. Does not block. May be read from any thread.
        """
        return self._ks_runtime.state

    @property
    def exception_occur(self) -> bool:
        """Whether a connection was given up for good, so that it is not retried. Does not block."""
        return self._ks_runtime.given_up

    def stats(self) -> Dict[str, Any]:
        """Return counters of what has happened since the start.

        May be called from any thread; does not wait for the network. After :meth:`close` the last figures
        are returned; before the first start there is only ``state``.

        Returns:
            A dict with the figures of the public connection, and under ``private`` and ``level3`` a dict of
            the same form for each of these connections that exists. The counters are ``connections``,
            ``reconnects``, ``messages``, ``bytes``, ``book_messages``, ``verified`` and ``mismatched``
            (checksums), ``malformed``, ``late_replies``, ``resyncs``, ``pings``, ``gaps`` and
            ``subscriptions``. ``rtt`` (the round-trip time of the last ping) and ``last_message_age`` are in
            seconds, or None; ``system`` is the exchange's system status; ``callback_errors`` counts the
            exceptions raised by the callback.
        """
        return self._ks_runtime.stats()

    def gaps(self) -> Gaps:
        """Return what was missing from any subscription so far, oldest first.

        May be called from any thread; does not wait for the network.

        Returns:
            A list of dicts with ``channel``, ``symbol`` (None for a channel without symbols), ``reason``,
            ``since`` and ``until`` (RFC 3339 in UTC by this machine's clock, or None), and ``dropped``, the
            number of messages lost because they were not read in time. The latest 10,000 gaps of each
            connection are kept. ``to_frame()`` of it is a pandas DataFrame.
        """
        return Gaps(self._ks_runtime.gaps())

    @overridable
    def messages(self) -> Stream:
        """A stream of every message received, as dicts, for code that routes messages itself.

        Iterate over it, or call ``get(timeout)``, with the timeout in seconds (None for ever). Messages are
        collected from the first access to this attribute on, which may be before :meth:`start`; reading from
        the stream starts the client if it was never started. At most 10,000 messages wait to be read; when
        more arrive, the oldest are dropped, and a gap message (``"type": "gap"``) takes their place. May be
        used from any thread; each message goes to one reader. A subclass may have an attribute of this name.

        Raises:
            ForkedClient: the client was started in the parent process.
        """
        return self._ks_runtime.messages()

    def __repr__(self) -> str:
        runtime = vars(self).get("_ks_runtime")
        if runtime is None:
            # The constructor has raised, and something (a debugger, pytest) shows the incomplete object.
            return f"<{type(self).__name__}, not made>"
        stats = runtime.stats()
        return (
            f"<{type(self).__name__} {stats['state']} "
            f"{runtime.endpoints.get(PUBLIC, 'no public connection')} "
            f"subscriptions={stats.get('subscriptions', 0)} "
            f"reconnects={stats.get('reconnects', 0)}>"
        )

    def _repr_html_(self) -> str:
        runtime = vars(self).get("_ks_runtime")
        return repr(self) if runtime is None else client_html(type(self).__name__, runtime)

    # -- names -------------------------------------------------------------------------------

    @property
    def public_channel_names(self) -> List[str]:
        """The names of the channels accepted as public; override it to add some.

        The parameters of an added channel are sent without a check.
        """
        return list(channels.PUBLIC)

    @property
    def private_channel_names(self) -> List[str]:
        """The names of the channels accepted as private; override it to add some.

        The parameters of an added channel are sent without a check, with the token added.
        """
        return list(channels.PRIVATE)

    @property
    def private_methods(self) -> List[str]:
        """The names of the trading methods, which are sent over the private connection."""
        return list(PRIVATE_METHODS)

    @property
    def active_public_subscriptions(self) -> List[Message]:
        """The confirmed public subscriptions, as a list of dicts of parameters, one per symbol.

        Does not wait for the network. May be read from any thread.

        Raises:
            ConnectionError: the client has no public connection (``no_public=True``).
        """
        return self._ks_market.active(PUBLIC)

    @property
    def active_private_subscriptions(self) -> List[Message]:
        """The confirmed private subscriptions, as a list of dicts of parameters.

        There is one for each channel, and one for each symbol of ``level3``. Does not wait for the network.
        May be read from any thread.

        Raises:
            ConnectionError: the client has no API key.
        """
        return self._ks_market.active_private()

    # -- subscribing -------------------------------------------------------------------------

    @speaking
    def subscribe(
        self,
        params: Mapping[str, Any],
        req_id: Optional[int] = None,
        *,
        timeout: Optional[float] = 10.0,
        maxlen: int = 10_000,
        policy: Optional[Policy] = None,
    ) -> Subscription:
        """Subscribe to a channel and block until the exchange has replied for every symbol.

        If any symbol is refused, the call raises and changes nothing, for the other symbols either.
        Subscribing to something that is subscribed already returns a further stream of it. After a reconnect
        everything is subscribed again, and a gap frame in the stream tells the time in which messages are
        missing. May be called from any thread.

        Source: the channel's page, such as
        https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ticker.

        Args:
            params: a dict of ``channel``, ``symbol`` (a string or a list of strings, in any common spelling;
                left out for channels without symbols) and the channel's other parameters. The token of a
                private channel is added.
            req_id: the id of this request, an int that all of its replies carry; without it the client
                chooses one.
            timeout: seconds to wait, for the connection and the replies together; None for ever.
            maxlen: the number of frames that may wait in the stream to be read.
            policy: what a full stream does. ``drop_oldest`` drops the oldest frames and leaves a gap frame in
                their place, ``conflate`` keeps only the latest frame of each symbol, ``raise`` makes the next
                read raise :class:`StreamOverflow`. The default is ``raise`` for private channels and
                ``drop_oldest`` for the others.

        Returns:
            A stream of the channel's frames as dicts. Its ``unsubscribe()`` ends it, as does leaving a
            ``with`` block. If nothing refers to it any more, frames are no longer buffered for it, but the
            exchange goes on sending them until :meth:`unsubscribe` is called.

        Raises:
            UnknownChannel: there is no such channel; nothing was sent.
            UnknownSymbol: the exchange has no such symbol; the error has the nearest names.
            TypeError, ValueError: a parameter is not valid; nothing was sent.
            SubscriptionRefused: the exchange refused; ``refused`` has each refused symbol with the
                exchange's text.
            CredentialsMissing, CredentialsInvalid, PermissionRefused: the channel is private, and the client
                has no API key, a wrong one, or one without the permission.
            ReplyTimeout: the exchange did not reply in time; the subscription is undone.
            ConnectFailed: there was no connection yet, and none could be made in time.
        """
        wanted = channel_params(params, self.public_channel_names, self.private_channel_names)
        return self._ks_market.subscribe(wanted, req_id, deadline_of(timeout), maxlen, policy)

    @speaking
    def unsubscribe(
        self,
        params: Mapping[str, Any],
        req_id: Optional[int] = None,
        *,
        timeout: Optional[float] = 10.0,
    ) -> None:
        """End a subscription for all of its users, and block until the exchange has confirmed it.

        All streams of the subscription end, and its books become CLOSED. While the connection is down, the
        call returns at once, and the subscription is not restored. May be called from any thread.

        Args:
            params: a dict of ``channel``, ``symbol`` (a string or a list of strings), and for ``ohlc``
                ``interval``. Other parameters need not be repeated.
            req_id: the id of this request; without it the client chooses one.
            timeout: seconds to wait; None for ever.

        Raises:
            UnknownChannel, TypeError, ValueError: ``params`` is not valid; nothing was sent.
            SubscriptionRefused: one of the symbols is not subscribed; nothing was changed.
            ReplyTimeout: the exchange did not confirm in time. The subscription has ended for this client
                all the same, and the request to the exchange is repeated in the background.
        """
        wanted = channel_params(params, self.public_channel_names, self.private_channel_names)
        self._ks_market.unsubscribe(wanted, req_id, deadline_of(timeout))

    @overload
    def ticker(
        self,
        symbol: Symbols,
        *,
        event_trigger: EventTrigger = ...,
        snapshot: bool = ...,
        gaps: Literal[False] = ...,
        maxlen: int = ...,
        policy: Optional[Policy] = ...,
        timeout: Optional[float] = ...,
    ) -> ItemStream[Ticker]: ...

    @overload
    def ticker(
        self,
        symbol: Symbols,
        *,
        event_trigger: EventTrigger = ...,
        snapshot: bool = ...,
        gaps: bool,
        maxlen: int = ...,
        policy: Optional[Policy] = ...,
        timeout: Optional[float] = ...,
    ) -> ItemStream[Any]: ...

    @speaking
    def ticker(
        self,
        symbol: Symbols,
        *,
        event_trigger: EventTrigger = "trades",
        snapshot: bool = True,
        gaps: bool = False,
        maxlen: int = 10_000,
        policy: Optional[Policy] = None,
        timeout: Optional[float] = 10.0,
    ) -> ItemStream[Any]:
        """Subscribe to ``ticker``, and return a stream of tickers, one dict per symbol and change.

        Blocks until the exchange has replied, at most ``timeout`` seconds (10 by default). May be called
        from any thread. Each ticker has the best bid and offer, the last price, and figures of 24 hours.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ticker.

        Args:
            symbol: a symbol or a list of symbols, in any common spelling.
            event_trigger: ``trades`` (default) to get a ticker with every trade, ``bbo`` with every change of
                the best bid or offer. A symbol can be subscribed with only one of the two at a time.
            snapshot: whether the stream begins with the current ticker.
            gaps: whether gap frames (``"type": "gap"``) are among the items.
            maxlen, policy, timeout: see :meth:`subscribe`.

        Raises:
            The errors of :meth:`subscribe`.
        """
        params = {"event_trigger": event_trigger, "snapshot": snapshot}
        options = {"maxlen": maxlen, "policy": policy, "timeout": timeout}
        return self._ks_items("ticker", symbol, params, gaps, options)

    @overload
    def trades(
        self,
        symbol: Symbols,
        *,
        snapshot: bool = ...,
        gaps: Literal[False] = ...,
        backfill: bool = ...,
        maxlen: int = ...,
        policy: Optional[Policy] = ...,
        timeout: Optional[float] = ...,
    ) -> ItemStream[Trade]: ...

    @overload
    def trades(
        self,
        symbol: Symbols,
        *,
        snapshot: bool = ...,
        gaps: bool,
        backfill: bool = ...,
        maxlen: int = ...,
        policy: Optional[Policy] = ...,
        timeout: Optional[float] = ...,
    ) -> ItemStream[Any]: ...

    @speaking
    def trades(
        self,
        symbol: Symbols,
        *,
        snapshot: bool = False,
        gaps: bool = False,
        backfill: bool = False,
        maxlen: int = 10_000,
        policy: Optional[Policy] = None,
        timeout: Optional[float] = 10.0,
    ) -> ItemStream[Any]:
        """Subscribe to ``trade``, and return a stream of trades, one dict each.

        Blocks until the exchange has replied, at most ``timeout`` seconds (10 by default). May be called
        from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade.

        Args:
            symbol: a symbol or a list of symbols, in any common spelling.
            snapshot: whether the stream begins with the last 50 trades. For a symbol that is subscribed
                already, it begins with the snapshot that the earlier subscription received, if any.
            backfill: True to fill gaps with the trades that REST has of them, at their place, in order, each
                once, and with ``"backfilled": True``. REST is asked in the background while the stream is
                read. The trades after a gap are held back until those before them are there, a minute at
                most; what REST does not have then is a gap of its own in ``stream.gaps``, with the reason
                "REST does not have all trades". The gap that was filled stays there, too.
            gaps, maxlen, policy, timeout: see :meth:`ticker`.

        Raises:
            ValueError: ``backfill`` with ``policy="conflate"``.
            ExchangeMismatch: ``backfill``, and the client has no ``rest_url`` of the exchange that it uses.
            The errors of :meth:`subscribe`.
        """
        options = {"maxlen": maxlen, "policy": policy, "timeout": timeout, "backfill": backfill}
        return self._ks_items("trade", symbol, {"snapshot": snapshot}, gaps, options)

    @overload
    def ohlc(
        self,
        symbol: Symbols,
        interval: Interval = ...,
        *,
        snapshot: bool = ...,
        gaps: Literal[False] = ...,
        maxlen: int = ...,
        policy: Optional[Policy] = ...,
        timeout: Optional[float] = ...,
    ) -> ItemStream[Candle]: ...

    @overload
    def ohlc(
        self,
        symbol: Symbols,
        interval: Interval = ...,
        *,
        snapshot: bool = ...,
        gaps: bool,
        maxlen: int = ...,
        policy: Optional[Policy] = ...,
        timeout: Optional[float] = ...,
    ) -> ItemStream[Any]: ...

    @speaking
    def ohlc(
        self,
        symbol: Symbols,
        interval: Interval = 1,
        *,
        snapshot: bool = True,
        gaps: bool = False,
        maxlen: int = 10_000,
        policy: Optional[Policy] = None,
        timeout: Optional[float] = 10.0,
    ) -> ItemStream[Any]:
        """Subscribe to ``ohlc``, and return a stream of candles, one dict each.

        The exchange sends the current candle with every trade, and nothing when an interval ends: a candle
        is final when one with a later ``interval_begin`` arrives. Blocks until the exchange has replied, at
        most ``timeout`` seconds (10 by default). May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ohlc.

        Args:
            symbol: a symbol or a list of symbols, in any common spelling.
            interval: the length of a candle in minutes: 1, 5, 15, 30, 60, 240, 1440, 10080 or 21600.
            snapshot: whether the stream begins with the recent candles.
            gaps, maxlen, policy, timeout: see :meth:`ticker`.

        Raises:
            The errors of :meth:`subscribe`.
        """
        params = {"interval": interval, "snapshot": snapshot}
        options = {"maxlen": maxlen, "policy": policy, "timeout": timeout}
        return self._ks_items("ohlc", symbol, params, gaps, options)

    @speaking
    def instruments(self, *, gaps: bool = False, snapshot: bool = True, **options: Any) -> ItemStream[Any]:
        """Subscribe to ``instrument``, and return a stream of pairs, one dict each.

        The stream begins with all pairs of the exchange; after that it has those whose reference data
        change. The assets are only in the frames of ``subscribe({"channel": "instrument"})``. Blocks until
        the exchange has replied, at most ``timeout`` seconds (10 by default). May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/instrument.

        Args:
            gaps, options: see :meth:`ticker`.
            snapshot: False to leave out the pairs at the beginning.

        Raises:
            The errors of :meth:`subscribe`.
        """
        return self._ks_items("instrument", None, {"snapshot": snapshot}, gaps, options)

    @speaking
    def executions(self, *, gaps: bool = False, **options: Any) -> ItemStream[Any]:
        """Subscribe to ``executions``, and return a stream of the account's order events, one dict each.

        The events are reports of orders and fills; :attr:`orders` is the table that they add up to. Unless
        ``policy`` says otherwise, a read raises :class:`StreamOverflow` if events were dropped because they
        were not read in time. Blocks until the exchange has replied, at most ``timeout`` seconds (10 by
        default). May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/executions.

        Args:
            gaps: whether gap frames (``"type": "gap"``) are among the items.
            options: the channel's parameters (``snap_orders``, ``snap_trades``, ``order_status``,
                ``ratecounter``), and ``timeout``, ``maxlen`` and ``policy`` of :meth:`subscribe`.

        Raises:
            The errors of :meth:`subscribe`, among them those of a private channel.
        """
        return self._ks_items("executions", None, {}, gaps, options)

    @speaking
    def balances(self, *, gaps: bool = False, snapshot: bool = True, **options: Any) -> ItemStream[Any]:
        """Subscribe to ``balances``, and return a stream of balances and their changes, one dict each.

        :attr:`balance` is the table that they add up to. Unless ``policy`` says otherwise, a read raises
        :class:`StreamOverflow` if items were dropped because they were not read in time. Blocks until the
        exchange has replied, at most ``timeout`` seconds (10 by default). May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/balances.

        Args:
            gaps: whether gap frames (``"type": "gap"``) are among the items.
            snapshot: whether the stream begins with the current balances.
            options: the channel's parameters, and ``timeout``, ``maxlen`` and ``policy`` of
                :meth:`subscribe`.

        Raises:
            The errors of :meth:`subscribe`, among them those of a private channel.
        """
        return self._ks_items("balances", None, {"snapshot": snapshot}, gaps, options)

    @speaking
    def level3(
        self,
        symbol: Symbols,
        depth: OrderDepth = 10,
        *,
        gaps: bool = False,
        snapshot: bool = True,
        **options: Any,
    ) -> ItemStream[Any]:
        """Subscribe to ``level3``, and return a stream of the single orders of an order book.

        Each item is a dict of ``bids`` and ``asks`` of one symbol, verified by the exchange's checksum;
        :meth:`level3_book` is the book that they add up to. The channel has a connection of its own
        and needs an API key. Blocks until the exchange has replied, at most ``timeout`` seconds (10 by
        default). May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/level3.

        Args:
            symbol: a symbol or a list of symbols, in any common spelling.
            depth: the number of price levels on each side: 10, 100 or 1000.
            snapshot: whether the stream begins with all orders in these levels. Without it, nothing is
                verified.
            gaps, options: see :meth:`ticker`.

        Raises:
            ValueError: another value of ``depth``.
            ExchangeMismatch: other hosts were given to the constructor, but neither ``level3_ws_url`` nor
                ``auth_ws_url``, which is used in its place.
            The errors of :meth:`subscribe`, among them those of a private channel.
        """
        return self._ks_items("level3", symbol, {"depth": depth, "snapshot": snapshot}, gaps, options)

    @speaking
    def collect(
        self,
        channel: ChannelName,
        symbol: Optional[Symbols] = None,
        *,
        n: Optional[int] = None,
        seconds: Optional[float] = None,
        progress: bool = False,
        timeout: Optional[float] = 10.0,
        **params: Any,
    ) -> Collected:
        """Subscribe to a channel, and return the next ``n`` items of it, or those of ``seconds``.

        ::

            trades = client.collect("trade", "BTC/USD", n=1000, seconds=600, progress=True)
            trades.to_frame().price.resample("1min").ohlc()

        Blocks until there are ``n`` items or ``seconds`` have passed, whichever comes first, after it has
        subscribed. Then the stream is ended. May be called from any thread.

        Args:
            channel: such as ``trade``, ``ticker``, ``ohlc`` or ``instrument``.
            symbol: a symbol or a list of symbols, in any common spelling; None for a channel without symbols.
            n: the number of items.
            seconds: for how long.
            progress: True to show a bar, which needs tqdm.
            timeout: seconds to wait for the exchange's answer to the subscription; None for ever.
            params: the channel's parameters, such as ``interval`` or ``snapshot``.

        Returns:
            A list of dicts, with ``gaps`` (what is missing in between) and ``to_frame()``.

        Raises:
            ValueError: neither ``n`` nor ``seconds`` is given, or one of them is not valid.
            ImportError: tqdm is not installed.
            The errors of :meth:`subscribe`, and those that end a stream.
        """
        check_end(n, seconds)
        options = {"timeout": timeout, **params}
        with self._ks_items(channel, symbol, {}, True, options) as stream:
            return collect(stream, n, seconds, progress)

    @overload
    def latest(self, channel: Literal["ticker"], symbol: str, *, stale: bool = ...) -> Optional[Ticker]: ...

    @overload
    def latest(self, channel: Literal["trade"], symbol: str, *, stale: bool = ...) -> Optional[Trade]: ...

    @overload
    def latest(
        self, channel: Literal["ohlc"], symbol: str, *, interval: Interval = ..., stale: bool = ...
    ) -> Optional[Candle]: ...

    @speaking
    def latest(self, channel: str, symbol: str, *, interval: Interval = 1, stale: bool = False) -> Any:
        """Return the last item of a subscribed channel, without taking it from any stream.

        Never blocks. May be called from any thread, also while nobody reads the streams.

        Args:
            channel: ``ticker``, ``trade`` or ``ohlc``.
            symbol: a symbol, in any spelling that the client has met before.
            interval: of the candle, for ``ohlc``.
            stale: True to get the last item also while something may be missing after it.

        Returns:
            A dict; None if there is none yet, or if it is not what the exchange said last: while the
            connection is down, for example.

        Raises:
            ValueError: it is another channel, or it is not subscribed for this symbol.
        """
        return self._ks_market.latest(channel, symbol, interval, stale)

    @speaking
    def symbols(self, search: str = "", *, timeout: Optional[float] = 10.0) -> List[str]:
        """Return the exchange's symbols whose name contains ``search``, without regard to case.

        The list is fetched from the ``instrument`` channel on first use and then kept. May be called from
        any thread.

        Args:
            search: a part of a name, such as ``BTC``; the default returns all symbols.
            timeout: seconds to wait for the connection and for the list; None for ever. For the list the
                call waits 5 seconds at most.

        Raises:
            TypeError: ``search`` is not a string.
            ConnectFailed: there was no connection yet, and none could be made in time.
            KrakenError: the exchange did not send its list in time.
        """
        return self._ks_market.search(search, timeout)

    @speaking
    def book(
        self,
        pair: str,
        depth: Depth = 10,
        *,
        max_age: Optional[float] = None,
        timeout: Optional[float] = 10.0,
    ) -> OrderBook:
        """Return a live order book; blocks until its first snapshot has been received and verified.

        The book is updated in the background, and every update is verified by the exchange's checksum, until
        its ``unsubscribe()`` is called or the client is closed. May be called from any thread; callers that
        ask for the same arguments share one book.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book.

        Args:
            pair: the symbol, in any common spelling.
            depth: the number of price levels on each side: 10, 25, 100, 500 or 1000. Books of one symbol
                with several depths share one subscription with the largest of them; asking for a larger
                depth than is subscribed fetches a new snapshot for all of them.
            max_age: seconds after its last message (at least 1) at which the book becomes STALE and is
                fetched anew, which all readers of the symbol see as RESYNCING for a moment; None for never.
                A quiet symbol has no messages for minutes, and needs none: its book is proven current all
                the same (see :attr:`OrderBook.age`). Use this only if you do not trust that.
            timeout: seconds to wait, for the connection, the reply and the snapshot together; None for ever.

        Raises:
            UnknownSymbol: the exchange has no such symbol; the error has the nearest names.
            TypeError, ValueError: ``pair`` is not a string, ``depth`` is not one of the above, or ``max_age``
                is not positive.
            SubscriptionRefused: the exchange refused, or a stream of another depth is subscribed.
            BookNotLive: there was no verified snapshot in time.
            ReplyTimeout: the exchange did not reply in time.
            ConnectFailed: there was no connection yet, and none could be made in time.
        """
        book: OrderBook = self._ks_market.book("book", pair, depth, max_age, timeout)
        return book

    @speaking
    def level3_book(
        self,
        pair: str,
        depth: OrderDepth = 10,
        *,
        max_age: Optional[float] = None,
        timeout: Optional[float] = 10.0,
    ) -> Level3Book:
        """Return a live book of single orders; blocks until its first snapshot was received and verified.

        It has every visible order of its price levels in the order in which they trade, so that it tells how
        much is ahead of an order. Every update is verified by the exchange's checksum, as for :meth:`book`.
        The channel has a connection of its own and needs an API key. The exchange takes 200 symbols on it,
        and 40, 8 or 2 new ones a second at depth 10, 100 or 1000; the client keeps to that. May be called
        from any thread; callers that ask for the same arguments share one book.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/level3.

        Args:
            pair: the symbol, in any common spelling.
            depth: the number of price levels on each side: 10, 100 or 1000.
            max_age, timeout: see :meth:`book`.

        Raises:
            The errors of :meth:`book`.
            CredentialsMissing, CredentialsInvalid, PermissionRefused: the client has no API key, a wrong one,
                or one without the permission "WebSocket interface - On".
            ExchangeMismatch: other hosts were given to the constructor, but neither ``level3_ws_url`` nor
                ``auth_ws_url``, which is used in its place.
        """
        book: Level3Book = self._ks_market.book("level3", pair, depth, max_age, timeout)
        return book

    def _ks_items(
        self,
        channel: str,
        symbol: Optional[Symbols],
        params: Mapping[str, Any],
        gaps: bool,
        options: Dict[str, Any],
    ) -> ItemStream[Any]:
        """Return a stream of items; ``options`` has arguments of subscribe() and the channel's parameters."""
        names = ("timeout", "maxlen", "policy", "backfill")
        how = {name: options.pop(name) for name in names if name in options}
        named = {} if symbol is None else {"symbol": symbol}
        asked = {**options, **named, **params, "channel": channel}
        wanted = channel_params(asked, self.public_channel_names, self.private_channel_names)
        return self._ks_market.items(wanted, gaps=gaps, **how)

    # -- placing and changing orders ---------------------------------------------------------

    @speaking
    def add_order(
        self,
        *,
        symbol: str,
        side: Side,
        order_type: OrderType,
        order_qty: Optional[Number] = None,
        limit_price: Optional[Number] = None,
        limit_price_type: Optional[PriceType] = None,
        triggers: Optional[Mapping[str, Any]] = None,
        time_in_force: Optional[TimeInForce] = None,
        expire_time: Optional[str] = None,
        effective_time: Optional[str] = None,
        deadline: Union[str, float, None] = None,
        cl_ord_id: Optional[str] = None,
        order_userref: Optional[int] = None,
        post_only: Optional[bool] = None,
        reduce_only: Optional[bool] = None,
        margin: Optional[bool] = None,
        leverage: Optional[Number] = None,
        display_qty: Optional[Number] = None,
        fee_preference: Optional[FeePreference] = None,
        stp_type: Optional[SelfTradePrevention] = None,
        cash_order_qty: Optional[Number] = None,
        sender_sub_id: Optional[str] = None,
        conditional: Optional[Mapping[str, Any]] = None,
        validate: Optional[bool] = None,
        no_mpp: Optional[bool] = None,
        via: Optional[Via] = None,
        timeout: Optional[float] = 10.0,
    ) -> OrderResult:
        """Place an order, and block until the exchange has accepted or rejected it.

        An order is sent once and never repeated by the client. Numbers may be Decimal, int, str or float and
        are sent exactly as given, after a check against the price increment, the quantity increment and the
        minimums of the pair. The rules of the pairs are fetched before the first order and then every hour,
        which takes 3 seconds at most; without them only the exchange checks. Parameters that are None are
        not sent. May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/add_order; for the ids
        Kraken's guide "Spot Client Order Identifiers".

        Args:
            symbol: the pair, spelled exactly as the exchange does (``"BTC/USD"``, not ``"XBT/USD"``).
            side: ``buy`` or ``sell``.
            order_type: ``limit``, ``market``, ``iceberg``, ``stop-loss``, ``stop-loss-limit``,
                ``take-profit``, ``take-profit-limit``, ``trailing-stop``, ``trailing-stop-limit`` or
                ``settle-position``.
            order_qty: the quantity in base currency.
            limit_price: the limit price in quote currency, or an offset according to ``limit_price_type``;
                required for the order types with a limit.
            limit_price_type: for ``trailing-stop-limit``: ``static`` (a price), ``pct`` (an offset in
                percent) or ``quote`` (an offset in quote currency; the exchange's default).
            triggers: for the stop, take-profit and trailing types, a dict of ``price``, and optionally
                ``reference`` (``last``, the default, or ``index``) and ``price_type`` (``static``, the
                default, ``pct`` or ``quote``).
            time_in_force: ``gtc`` (default), ``gtd`` (with ``expire_time``) or ``ioc``.
            expire_time: when a ``gtd`` order expires, as RFC 3339 text, at most a month ahead.
            effective_time: when a scheduled order starts, as RFC 3339 text.
            deadline: when the engine stops accepting the order: a number of seconds from now (0.5 to 60,
                measured by the exchange's clock) or RFC 3339 text. The default, which is always sent, is 5
                seconds from now.
            cl_ord_id: the client's own id: a UUID, 32 hexadecimal digits, or up to 18 ASCII characters. It
                must be unique among the open orders. If neither this nor ``order_userref`` is given, the
                client generates a UUID.
            order_userref: the client's own number, a 32-bit int, which need not be unique. It cannot be
                combined with ``cl_ord_id``. 0 is none: the exchange reports it for orders that have none.
            post_only: True to have a limit order canceled if it would take liquidity.
            reduce_only: True to only reduce a margin position, never open one.
            margin: True to trade on margin, over WebSocket.
            leverage: the leverage of a margin order, such as 2, over REST (``via="rest"``), where it takes
                the place of ``margin``.
            display_qty: the visible quantity of an iceberg order, at least 1/15 of ``order_qty``.
            fee_preference: the currency of the fee: ``base`` or ``quote``.
            stp_type: which order self-trade prevention cancels: ``cancel_newest`` (default),
                ``cancel_oldest`` or ``cancel_both``.
            cash_order_qty: for a market buy, the amount in quote currency in place of ``order_qty``.
            sender_sub_id: the sub-account within which self-trade prevention applies, for institutional
                accounts.
            conditional: a closing order to be placed for each fill, as a dict of ``order_type``,
                ``limit_price``, ``limit_price_type``, ``trigger_price`` and ``trigger_price_type``. Kraken's
                documentation and its SDK disagree on whether WebSocket takes the price types; REST takes
                relative prices.
            validate: True to have the order checked by the exchange but not placed.
            no_mpp: True to switch off market price protection; deprecated by the exchange.
            via: ``rest`` to send the order over REST, which does not need the private WebSocket connection:
                the order gate then does not require that connection or :attr:`orders`, but still the books
                given to it, and the exchange's status while that is known. The outcomes are the same. The
                default, and ``websocket``, is WebSocket.
            timeout: seconds to wait, for the connection, the order gate and the reply together; None for
                ever.

        Returns:
            The reply's ``result``, a dict of ``order_id`` (not with ``validate``) and the ``cl_ord_id`` or
            ``order_userref`` that was sent.

        Raises:
            TypeError, ValueError: a parameter is not valid; nothing was sent.
            UnknownSymbol: it is another spelling of a pair; nothing was sent.
            OrderRejected: the exchange rejected the order, with its text in ``error``.
            OrderNotSent: the order certainly did not reach the exchange: there was no connection in time, or
                the order gate (:attr:`order_gate`) refused it.
            OrderOutcomeUnknown: the order was sent and there was no clear reply. Call :meth:`reconcile`, and
                do not send the order again.
            CredentialsMissing, CredentialsInvalid, PermissionRefused: the client has no API key, or one that
                gets no WebSocket token; nothing was sent.
        """
        return cast(
            OrderResult,
            self._ks_desk.add_order(
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
                    "leverage": leverage,
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
                via,
            ),
        )

    @speaking
    def amend_order(
        self,
        *,
        order_id: Optional[str] = None,
        cl_ord_id: Optional[str] = None,
        order_qty: Optional[Number] = None,
        limit_price: Optional[Number] = None,
        limit_price_type: Optional[PriceType] = None,
        display_qty: Optional[Number] = None,
        trigger_price: Optional[Number] = None,
        trigger_price_type: Optional[PriceType] = None,
        post_only: Optional[bool] = None,
        deadline: Union[str, float, None] = None,
        symbol: Optional[str] = None,
        via: Optional[Via] = None,
        timeout: Optional[float] = 10.0,
    ) -> OrderResult:
        """Amend an order in place, and block until the exchange has replied.

        The order keeps its ids, its fills and, where possible, its place in the queue. Parameters that are
        not given stay as they are; at least one must change. May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/amend_order; Kraken's guide
        "Spot Atomic Amends".

        Args:
            order_id: the exchange's id of the order; give this or ``cl_ord_id``.
            cl_ord_id: the client's id of the order.
            order_qty: the new total quantity in base currency. If it is below the filled quantity, the rest
                of the order is canceled.
            limit_price: the new limit price.
            limit_price_type: see :meth:`add_order`.
            display_qty: the new visible quantity of an iceberg order, at least 1/15 of the remaining
                quantity.
            trigger_price: the new trigger price.
            trigger_price_type: ``static`` (default), ``pct`` or ``quote``.
            post_only: True to have the amend rejected if the order would take liquidity at its new price.
            deadline: see :meth:`add_order`.
            symbol: the pair; the exchange needs it only for pairs that are not crypto pairs. With it, or if
                :attr:`orders` knows the order, the numbers are checked before sending.
            via, timeout: see :meth:`add_order`.

        Returns:
            The reply's ``result``, a dict of ``amend_id`` and the ``order_id`` or ``cl_ord_id`` given.

        Raises:
            The errors of :meth:`add_order`. :meth:`reconcile` after OrderOutcomeUnknown tells whether the
            order was amended.
        """
        return cast(
            OrderResult,
            self._ks_desk.amend_order(
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
                via,
            ),
        )

    @speaking
    def edit_order(
        self,
        *,
        order_id: str,
        symbol: str,
        order_qty: Optional[Number] = None,
        limit_price: Optional[Number] = None,
        triggers: Optional[Mapping[str, Any]] = None,
        display_qty: Optional[Number] = None,
        fee_preference: Optional[FeePreference] = None,
        post_only: Optional[bool] = None,
        reduce_only: Optional[bool] = None,
        order_userref: Optional[int] = None,
        deadline: Union[str, float, None] = None,
        validate: Optional[bool] = None,
        no_mpp: Optional[bool] = None,
        via: Optional[Via] = None,
        timeout: Optional[float] = 10.0,
    ) -> OrderResult:
        """Cancel an order and place a changed one in its place; block until the exchange has replied.

        The new order has a new ``order_id`` and loses the place in the queue; fills stay with the old order.
        Prefer :meth:`amend_order`. The exchange does not edit orders that have a ``cl_ord_id``, which this
        client gives to every order without an ``order_userref``. May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/edit_order.

        Args:
            order_id: the exchange's id of the order to replace.
            symbol: the pair of the order.
            order_userref: the number of the new order.
            via, timeout: see :meth:`add_order`.

        The other parameters are those of the new order; see :meth:`add_order`.

        Returns:
            The reply's ``result``, a dict of the new ``order_id`` and ``original_order_id``.

        Raises:
            ValueError: the order is known to have a ``cl_ord_id``; nothing was sent.
            The errors of :meth:`add_order`.
        """
        return cast(
            OrderResult,
            self._ks_desk.edit_order(
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
                via,
            ),
        )

    @speaking
    def batch_add(
        self,
        *,
        symbol: str,
        orders: Sequence[Mapping[str, Any]],
        deadline: Union[str, float, None] = None,
        validate: Optional[bool] = None,
        via: Optional[Via] = None,
        timeout: Optional[float] = 10.0,
    ) -> List[OrderResult]:
        """Place 2 to 15 orders of one pair with one message, and block until the exchange has replied.

        An order that fails the exchange's validation rejects the whole batch; one that fails in the engine,
        for lack of funds for example, rejects only itself. May be called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/batch_add.

        Args:
            symbol: the pair of all orders.
            orders: a list of dicts of the parameters of :meth:`add_order`, without ``symbol``, ``deadline``,
                ``validate`` and ``timeout``. An order with neither a ``cl_ord_id`` nor an ``order_userref``
                gets a generated ``cl_ord_id``.
            deadline, validate, via, timeout: for the whole batch; see :meth:`add_order`.

        Returns:
            A list with one dict per order, in the order given. Each has the ``order_id`` and the order's own
            ids; one that alone was rejected has its own ids and ``error``, the exchange's text.

        Raises:
            OrderRejected: the whole batch was rejected.
            The other errors of :meth:`add_order`. After OrderOutcomeUnknown call :meth:`reconcile` with each
            of ``error.names``.
        """
        return cast(
            List[OrderResult],
            self._ks_desk.batch_add(
                {
                    "symbol": symbol,
                    "orders": orders,
                    "deadline": deadline,
                    "validate": validate,
                },
                timeout,
                via,
            ),
        )

    # -- canceling ---------------------------------------------------------------------------

    @speaking
    def cancel_order(
        self,
        *,
        order_id: OneOrMany = None,
        cl_ord_id: OneOrMany = None,
        order_userref: Union[int, Sequence[int], None] = None,
        via: Optional[Via] = None,
        timeout: Optional[float] = 10.0,
    ) -> Any:
        """Cancel orders, and block until it is known what became of each.

        Canceling twice has the same effect as once. So if the reply is lost, the ``executions`` channel is
        consulted and the request is sent once more; only if that is not answered either is the outcome
        unknown. An ``order_userref`` may name any number of orders, so its effect is read from the
        executions. The order gate lets cancels pass, except while the exchange is in maintenance. May be
        called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/cancel_order.

        Args:
            order_id: the exchange's id of an order, or a list of ids.
            cl_ord_id: the client's id of an order, or a list of ids.
            order_userref: the number of orders, an int, or a list of numbers.
            via: ``rest`` or ``websocket`` to send it (and a repetition) this way only. The default is
                WebSocket, and REST while there is no private connection and for a repetition.
            timeout: seconds to wait for the connection and all replies together; None for ever.

        Returns:
            For a single id, the reply's ``result``, a dict of that id. For a list, even of one id, or for
            ``order_userref``, a list with one dict per order: its id, and ``error`` if it was not canceled.

        Raises:
            TypeError, ValueError: no id was given, or one is not valid; nothing was sent.
            OrderRejected: the exchange refused the request, or the single order cannot be canceled
                (``EOrder:Invalid order``: it is not open).
            OrderNotSent: the request certainly did not reach the exchange.
            OrderOutcomeUnknown: the request was sent, and there was no clear reply.
            CredentialsMissing, CredentialsInvalid, PermissionRefused: the client has no API key, or one that
                gets no WebSocket token; nothing was sent.
        """
        given = {"order_id": order_id, "cl_ord_id": cl_ord_id, "order_userref": order_userref}
        one = isinstance(order_id, str) or isinstance(cl_ord_id, str)
        params = prepared("cancel_order", given, via)
        return self._ks_cancels.cancel_order(params, deadline_of(timeout), via, one=one)

    @speaking
    def cancel_all(self, *, via: Optional[Via] = None, timeout: Optional[float] = 10.0) -> CountResult:
        """Cancel all open orders of the account, including those that have not been triggered.

        Blocks until the exchange has replied. If the reply is lost, the request is sent once more. May be
        called from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/cancel_all.

        Args:
            via: see :meth:`cancel_order`.
            timeout: seconds to wait for the connection and the replies together; None for ever.

        Returns:
            A dict of ``count``, the number of orders canceled, which may be 0.

        Raises:
            The errors of :meth:`cancel_order`.
        """
        return cast(
            CountResult,
            self._ks_sender.for_all("cancel_all", prepared("cancel_all", {}, via), deadline_of(timeout), via),
        )

    @speaking
    def cancel_all_orders_after(
        self, *, timeout: int, via: Optional[Via] = None, reply_timeout: Optional[float] = 10.0
    ) -> SwitchResult:
        """Arm the exchange's dead man's switch, which cancels all orders ``timeout`` seconds from now.

        Every call starts the time anew. The switch is for the whole account, and it also fires when the
        exchange's engine returns from downtime. :meth:`dead_mans_switch` renews it in the background. Blocks
        until the exchange has replied; if the reply is lost, the request is sent once more. May be called
        from any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/cancel_after.

        Args:
            timeout: the exchange's parameter: whole seconds until the cancellation, 1 to 86399, or 0 to
                disarm the switch.
            via: see :meth:`cancel_order`.
            reply_timeout: seconds to wait for the connection and the replies together; None for ever.

        Returns:
            The reply's ``result``, a dict of ``currentTime`` and ``triggerTime`` (RFC 3339 text).

        Raises:
            TypeError, ValueError: ``timeout`` is not a whole number in that range; nothing was sent.
            The errors of :meth:`cancel_order`.
        """
        params = prepared("cancel_all_orders_after", {"timeout": timeout}, via)
        result = self._ks_sender.for_all("cancel_all_orders_after", params, deadline_of(reply_timeout), via)
        return cast(SwitchResult, result)

    @speaking
    def batch_cancel(
        self,
        *,
        orders: OneOrMany = None,
        cl_ord_id: OneOrMany = None,
        via: Optional[Via] = None,
        timeout: Optional[float] = 10.0,
    ) -> List[OrderResult]:
        """Cancel 2 to 50 orders with one message, and block until it is known what became of each.

        The exchange's reply has only the number of canceled orders, so the state of each order is read from
        the ``executions`` channel. If the reply is lost, the request is sent once more. May be called from
        any thread.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/batch_cancel.

        Args:
            orders: a list of the exchange's order ids.
            cl_ord_id: a list of the client's order ids.
            via: see :meth:`cancel_order`.
            timeout: seconds to wait for the connection, the replies and the executions together; None for
                ever.

        Returns:
            A list with one dict per id: the id, and ``status``, such as ``canceled`` or ``filled``;
            ``unknown`` if the executions do not tell.

        Raises:
            TypeError, ValueError: there are fewer than 2 or more than 50 ids; nothing was sent.
            The errors of :meth:`cancel_order`.
        """
        params = prepared("batch_cancel", {"orders": orders, "cl_ord_id": cl_ord_id}, via)
        return cast(List[OrderResult], self._ks_cancels.batch_cancel(params, deadline_of(timeout), via))

    # -- after a lost reply, and before trouble ----------------------------------------------

    @speaking
    def reconcile(
        self,
        order: Union[str, int, OrderOutcomeUnknown, None] = None,
        *,
        order_userref: Optional[int] = None,
        deadline: Union[str, float, None] = None,
        timeout: Optional[float] = 30.0,
    ) -> Reconciled:
        """Find out what became of a request whose reply was lost, and block until that is known.

        The ``executions`` channel is consulted, then the REST endpoints QueryOrders, OpenOrders and
        ClosedOrders. Nothing is sent that changes an order. That an order never arrived can be certain only
        after its deadline (5 seconds after it was sent, unless it was given another). If the executions were
        interrupted since then, only REST is left, which may be a minute behind (``Timing.rest_lag``): after
        an outage ``timeout`` should be longer than that. May be called from any thread.

        Args:
            order: the :class:`OrderOutcomeUnknown`, or the order's ``cl_ord_id``, ``order_id`` (str) or
                ``order_userref`` (int). For a batch, call it with each of ``error.names``.
            order_userref: the order's ``order_userref``, in place of ``order``.
            deadline: for an order that this client did not send, the last moment at which the engine could
                accept it: RFC 3339 text or seconds since the epoch. The default is the deadline that the
                request was sent with.
            timeout: seconds to wait; None until the outcome is known.

        Returns:
            A :class:`Reconciled` with the outcome (``LIVE``, ``FILLED``, ``CANCELED``, ``NEVER_ARRIVED`` or
            ``STILL_UNKNOWN``), the order's state if there is such an order, and the evidence as text. For an
            amend or a cancel it is the state of the order that was to be changed.

        Raises:
            CredentialsMissing: the client has no API key.
            ClientClosed: the client was closed during the call.
        """
        name = order if order is not None else order_userref
        if name is None or (order is not None and order_userref is not None):
            raise TypeError("reconcile() takes one of order and order_userref")
        return Reconciler(self._ks_runtime, self._ks_sender, name, deadline).run(timeout)

    @overridable
    def unresolved(self) -> List[OrderOutcomeUnknown]:
        """The requests whose outcome is unknown, as a list of :class:`OrderOutcomeUnknown`, oldest first.

        A request leaves the list when :meth:`reconcile` has found its outcome (a batch, when that is known
        of each of its orders). Those of ``cancel_all`` and ``cancel_all_orders_after`` leave it when a later
        call of the same method succeeds. Does not block. May be read from any thread. A subclass may have an
        attribute of this name.
        """
        return self._ks_sender.unresolved.errors()

    @speaking
    def dead_mans_switch(
        self,
        timeout: int = 60,
        *,
        stuck_after: Optional[float] = None,
        on_failure: Optional[Callable[[str], Any]] = None,
    ) -> DeadMansSwitch:
        """Return a context manager that keeps the exchange's dead man's switch armed.

        If this program ends or loses its connection, the exchange cancels all orders of the account
        ``timeout`` seconds after the last renewal. Entering the ``with`` block arms the switch, leaving it
        disarms it, unless it is left by an exception; each blocks 10 seconds at most. This call itself does
        not block. May be called from any thread. See :class:`DeadMansSwitch`.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/cancel_after.

        Args:
            timeout: whole seconds, 3 to 86399. The switch is renewed in the background every third of this.
            stuck_after: seconds without a call of ``feed()`` on the result after which it is not renewed any
                more, for programs that may hang; None (default) to renew it always.
            on_failure: called with a text, on a thread of its own, when the switch is not being renewed, and
                when a maintenance of :attr:`announcements` is near, in which it may cancel all orders.

        Raises:
            ValueError: ``timeout`` or ``stuck_after`` is out of range.
        """
        return DeadMansSwitch(self._ks_runtime, self._ks_sender, timeout, stuck_after, on_failure)

    @overridable
    def announcements(self) -> List[Announcement]:
        """The maintenances that the exchange announces, and emergencies that go on, as a list of
        :class:`Announcement`.

        Each connection logs each once as WARNING. When one is near and the exchange advises to place no new
        orders, the order gate is shut, and an armed dead man's switch tells its owner. The ``status``
        messages themselves are in :attr:`messages` and in callbacks. Empty while the client is not
        connected: nothing is known then. Does not block. May be read from any thread. A subclass may have an
        attribute of this name.
        """
        told: List[Announcement] = []
        for connection in self._ks_runtime.connections:  # each is told of all of them
            if connection.closed or connection.failure is not None:
                continue
            told += [one for one in connection.read(announced) if one not in told]
        return told

    def events(self) -> Stream:
        """Return a stream of what happens to the connections, from now on, for logs and alarms.

        Each event is a dict with ``event``, ``connection`` (``public``, ``private`` or ``level3``) and
        ``since``, a time as the exchange writes times:

        * ``lost``: a connection that was open is lost; with ``reason``, and ``until``, which is None;
        * ``restored``: it is back; with ``until``, and the ``reason`` of the loss;
        * ``failed``: it was given up for good, until :meth:`start` is called; with ``reason``;
        * ``status``: the exchange is in another state, or announces something else; with ``status``, the data
          of its message.

        Iterate over it, or call ``get(timeout)``, with the timeout in seconds (None for ever). It ends when
        the client is closed, and with the error when all connections are given up. On a closed client it has
        ended at once. Each call returns a stream of its own, which may be read from any thread. Does not
        start the client and does not block.

        Raises:
            ForkedClient: the client was started in the parent process.
        """
        return self._ks_runtime.events()

    @overridable
    def order_gate(self) -> OrderGate:
        """The :class:`OrderGate`, which refuses or holds orders while the data are not up to date.

        Does not block. May be used from any thread. A subclass may have an attribute of this name.
        """
        return self._ks_gate

    @overridable
    def trading_rate(self) -> RateMirror:
        """The :class:`RateMirror`, which tells how much of the exchange's trading rate is used.

        Does not block. May be used from any thread. A subclass may have an attribute of this name.

        Source: Kraken's guide "Spot Trading Limits".
        """
        return self._ks_rate

    # -- the account, and REST ---------------------------------------------------------------

    @overridable
    def orders(self) -> Orders:
        """The account's orders, a mapping that the ``executions`` channel keeps up to date.

        See :class:`Orders`. Getting the attribute does not block; the first read of the mapping subscribes
        and waits for the snapshot. May be used from any thread. A subclass may have an attribute of this
        name.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/executions.
        """
        return self._ks_orders

    @overridable
    def balance(self) -> Balance:
        """The account's balances, a mapping that the ``balances`` channel keeps up to date.

        See :class:`Balance`. Getting the attribute does not block; the first read of the mapping subscribes
        and waits for the snapshot. May be used from any thread. A subclass may have an attribute of this
        name.

        Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/balances.
        """
        runtime = self._ks_runtime

        def held(timeout: Optional[float]) -> Mapping[str, Any]:
            deadline = deadline_of(timeout)
            result = runtime.rest.request("POST", "/0/private/BalanceEx", deadline=deadline)
            return result if isinstance(result, dict) else {}

        return Balance(lambda timeout: runtime.private("client.balance", timeout), held)

    @speaking
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
        """Send a REST request, block until the answer is complete, and return the exchange's ``result``.

        Private requests are sent one after the other, each with a higher nonce than the one before. A
        request is repeated, once, only if it was refused because of its nonce, or if the connection ended
        and the endpoint only reads. The client need not be started. May be
        called from any thread.

        Source: Kraken's guide "Spot REST Authentication", and for the errors
        https://docs.kraken.com/exchange/guides/general/errors.

        Args:
            method: the HTTP method, such as ``"GET"`` or ``"POST"``.
            uri: the path, such as ``"/0/private/Balance"``.
            params: the parameters, without the nonce.
            timeout: seconds for everything together, including waiting for other requests; None for ever.
            auth: True (default) to sign the request; False for public endpoints.
            do_json: True to send the parameters as JSON; the default is a form.
            return_raw: True to return the ``requests.Response``, for endpoints that answer with a file.
            query_str: text that is added to the query string as it is.
            extra_params: further parameters, as a dict or as JSON text.

        Returns:
            What the exchange has under ``result``, or the response with ``return_raw``.

        Raises:
            RestRefused: the exchange refused the request; ``errors`` has its texts.
            CredentialsInvalid, PermissionRefused, RateLimited: the exchange refused the request for this
                reason.
            CredentialsMissing: the request is to be signed, and the client has no API key.
            ConnectFailed: no connection could be made; nothing was sent.
            ConnectionLost: the connection ended before the answer was complete.
            ReplyTimeout: the answer was not complete in time. After this and after ConnectionLost, a request
                that changes something may have been carried out.
            OrderOutcomeUnknown: in place of these two, for a request that places or changes orders, if any
                part of it may have been sent; see :meth:`reconcile`.
            ClientClosed: the client was closed; :meth:`start` allows requests again.
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
        """Fetch a WebSocket token by REST, and block until it is there.

        The client fetches the tokens for its own requests; this one is for messages sent in other ways.
        Calls from several threads at the same time share one request. May be called from any thread.

        Source: Kraken's guide "Spot Websockets Authentication".

        Args:
            timeout: seconds to wait; None for ever.

        Returns:
            A dict of ``token`` (str) and ``expires``, the number of seconds (900) within which the token must
            be used for the first time.

        Raises:
            The errors of :meth:`request`.
        """
        runtime = self._ks_runtime
        runtime.guard_fork()
        runtime.need_credentials("get_ws_token()")
        result = runtime.rest.ws_token(deadline_of(timeout)).result
        token = result["token"]
        return {**result, "token": token.reveal() if isinstance(token, Secret) else token}

    def get_nonce(self) -> str:
        """Return a nonce for a REST request that is sent in another way, as decimal text.

        It is higher than every nonce before it, also those of this client's own requests, and counts units
        of 10 nanoseconds since the epoch. Waits for private requests that are under way. May be called from
        any thread.

        Source: Kraken's guide "Spot REST Authentication".
        """
        return str(self._ks_runtime.rest.nonces.next())

    @property
    def return_unique_id(self) -> str:
        """A new random id on every access, 32 hexadecimal digits, which is a valid ``cl_ord_id``."""
        return uuid.uuid4().hex

    @overridable
    def rest(self) -> History:
        """The public REST endpoints for history and reference data, as a :class:`History`.

        Getting the attribute does not block. May be used from any thread. A subclass may have an attribute of
        this name.
        """
        return History(self._ks_runtime.rest.request)
