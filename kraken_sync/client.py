"""SpotWSClient: Kraken's Spot WebSocket API v2 in blocking calls."""

from __future__ import annotations

import inspect
import logging
import ssl
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Union

from .arguments import method_of, params_of
from .core.orders.params import PRIVATE_METHODS
from .core.timing import Timing
from .core.wire.credentials import credentials_of
from .core.wire.error_texts import TOO_FAST
from .core.wire.messages import FrameDecoder, ParseFloat, error_text
from .core.wire.secret import Secret
from .errors import RateLimited, RequestRefused
from .io.connection.connection import Connection
from .io.deadline import deadline_of, time_left
from .io.dial import Proxy, Target
from .io.engine import LEVEL3, PRIVATE, PUBLIC
from .io.nonces import Nonces
from .io.rest import Rest
from .trading.replies import error_of, rejected
from .trading_methods import Trading


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
        targets = {
            PRIVATE: self._resolve(auth_ws_url, self.AUTH_WS_URL, through, private=True),
        }
        level3_ws_url = level3_ws_url or auth_ws_url  # python-kraken-sdk's way to name the level3 host
        if level3_ws_url or not (rest_url or ws_url):  # who names other hosts does not mean the real one
            targets[LEVEL3] = self._resolve(level3_ws_url, self.LEVEL3_WS_URL, through, private=True)
        if not no_public:
            targets[PUBLIC] = self._resolve(ws_url, self.WS_URL, through)
        rest = Rest(rest_url or self.REST_URL, credentials_of(*hidden), Nonces(nonce_file), through)
        decode = FrameDecoder(parse_float)
        super().__init__(targets, timing, ssl_context, decode, rest, order_gate=order_gate, tier=tier)
        self._callback = callback

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

    def _handler(self) -> Optional[Callable[[Any], Any]]:
        overridden = type(self).on_message is not SpotWSClient.on_message
        if not overridden and self._callback is None:
            return None
        return self.on_message  # which holds this client: one that calls back lives until it is closed

    @property
    def _is_auth(self) -> bool:
        """Whether there is an API key; python-kraken-sdk's examples look at it."""
        return self._rest.credentials is not None

    # -- receiving ---------------------------------------------------------------------------

    def on_message(self, message: Any) -> Any:
        """Called with every message, on the dispatcher thread. Override it, or pass ``callback``."""
        return None if self._callback is None else self._callback(message)

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
        if raw:
            if method in ("subscribe", "unsubscribe"):
                params_of(message)
            self._line_for(message, timeout).send_raw(message, deadline)
            return None
        if method in ("subscribe", "unsubscribe"):
            return self._send_subscription(message, deadline)
        if method in PRIVATE_METHODS:
            return self._send_trading(method, message, deadline)
        if method in self.private_methods:
            message = {**message, "params": message.get("params") or {}}
        frame, envelope = self._line_for(message, timeout).request(message, deadline)
        if envelope.success is False or envelope.error is not None:
            error = error_text(envelope.error)
            kind = RateLimited if error.startswith(TOO_FAST) else RequestRefused
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
            raise rejected(method, failed[0], params, request.req_id)
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

    def _send_subscription(self, message: Mapping[str, Any], deadline: Optional[float]) -> Any:
        ask, req_id = self._check(params_of(message)), message.get("req_id")
        if message["method"] == "unsubscribe":
            frames = self._unsubscribe(ask, req_id, deadline)
        else:
            connection = self._line_of(ask, time_left(deadline))
            ask = self._spelled(connection, ask, deadline)
            call = self._explained(connection, ask, deadline, holder=object(), req_id=req_id)
            frames = call.replies
        replies = [self._decode(frame) for frame in dict.fromkeys(frames)]
        return replies[0] if len(replies) == 1 else (replies or None)
