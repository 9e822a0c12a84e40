"""A client whose market data are real and whose account is not."""

from __future__ import annotations

import weakref
from decimal import Decimal
from typing import Any, Dict, List, Mapping, Optional, TypeVar, Union
from urllib.parse import urlsplit

from ..client import SpotWSClient
from ..core.timing import Timing
from ..core.wire.printable import without_login
from ..errors import ClientClosed, KrakenError, OrderNotSent, UnknownSymbol
from ..io.waiting import deadline_of, time_left
from .data import PaperData
from .exchange import PaperExchange
from .follower import Follower

TRADING_HOSTS = ("auth", "l3", "futures")
"""What is in the names of Kraken's hosts that take orders or tokens."""
LARGEST = 20
"""The number of digits before the point that a balance may have."""
BALANCES: Mapping[str, str] = {"USD": "10000"}
_PLACES = frozenset(
    "key secret api_key api_secret token auth_ws_url level3_ws_url rest_url otp endpoint nonce_file "
    "no_public".split()
)
Number = Union[int, str, float, Decimal]


Self = TypeVar("Self", bound="PaperClient")


class PaperClient(SpotWSClient):
    """A :class:`SpotWSClient` for paper trading: Kraken's real prices, and a simulated account.

    ::

        with PaperClient({"USD": 10_000}) as client:
            print(client.book("BTC/USD").best_ask)
            client.add_order(order_type="market", side="buy", order_qty="0.01", symbol="BTC/USD")
            print(client.balance["BTC"])

    A program for ``SpotWSClient`` runs on it unchanged, and all of its parts are there: live orders and
    balances, order gate, dead man's switch, ``reconcile()``, REST. No key is needed, and none can be given.
    Kraken is asked for public market data only, over connections that take no orders. Everything private goes
    to an exchange in this process, on loopback, whatever the environment holds. Of REST only what is public
    is passed on to Kraken.

    Orders are filled as the real market allows. One that takes trades with the real book, level by level, at
    its prices (fee 0.40 %); what it has taken is gone until that level is. One that rests is filled at its
    price (fee 0.25 %) when the other side of the book reaches it, when trades happen at a worse price, or
    when they happen at its price after everything that stood there before it. Stops trigger by the last real
    trade. Orders of a pair are refused while its real book is not live (``EService:Market in cancel_only
    mode``). Your orders do not move the market.

    The first order of a pair waits until its book is known. There is no margin, ``level3`` or deposit.
    The account lives as long as this object, across :meth:`close` and :meth:`start`.

    Needs ``pip install "kraken-sync[simulator]"``.

    Args:
        balances: the money to begin with, by asset (``BTC``, not ``XBT``); ``{"USD": 10000}`` if not given.
        ws_url: other public market data, such as those of a :class:`kraken_sync.replay.Replay`.
        public_rest_url: the REST host for public requests; Kraken's by default.
        tier: ``starter``, ``intermediate`` or ``pro``: how many orders the account may place.
        timing: the time limits.
        **options: further arguments of :class:`SpotWSClient`, except for keys and addresses.

    Raises:
        TypeError: a key or a private address was given.
        ValueError: ``ws_url`` is a host that takes orders, or a balance is not a number.
    """

    _ks_make_market = PaperData

    def __init__(
        self,
        balances: Optional[Mapping[str, Number]] = None,
        *,
        ws_url: Optional[str] = None,
        public_rest_url: Optional[str] = None,
        tier: str = "pro",
        timing: Timing = Timing(),
        **options: Any,
    ) -> None:
        for name in options:
            if name in _PLACES:
                raise TypeError(f"PaperClient takes no {name}: it has no way to a real account")
        url = ws_url or self.WS_URL
        host = urlsplit(url).hostname or ""
        if host.endswith("kraken.com") and any(word in host for word in TRADING_HOSTS):
            raise ValueError(f"{without_login(url)!r} takes orders; ws_url is for public market data")
        funds = _funds(BALANCES if balances is None else balances)
        sources: List[SpotWSClient] = []  # not through self, which is to be collected when it is dropped
        exchange = self._ks_exchange = PaperExchange(
            funds, tier, lambda path, params: sources[0].request("GET", path, params, auth=False)
        )
        exchange.start()
        try:
            # Another client, because the books of paper orders and those of the caller may differ in their
            # depths.
            account: Any = {**exchange.options, "ws_url": url}
            source = self._ks_source = SpotWSClient(
                auth_ws_url=account["auth_ws_url"],
                level3_ws_url=account["level3_ws_url"],
                ws_url=url,
                rest_url=public_rest_url or self.REST_URL,
                timing=timing,
                parse_float=Decimal,
                proxy=options.get("proxy"),
                ssl_context=options.get("ssl_context"),
                ca_file=options.get("ca_file"),
            )
            sources.append(source)
            self._ks_follower = Follower(source, exchange)
            super().__init__(
                **account,
                timing=timing,
                tier=tier,
                **{**options, "proxy": self._ks_proxies(options.get("proxy"))},
            )
            # It has no use for a key; but a client without one would look for it in the environment.
            source._ks_runtime.rest.credentials = self._ks_runtime.rest.credentials
        except BaseException:
            exchange.stop()
            raise
        self._ks_stop_exchange = weakref.finalize(self, _stop, exchange, self._ks_follower)

    def start(self: Self, timeout: Optional[float] = 10.0) -> Self:
        """Connect; see :meth:`SpotWSClient.start`."""
        deadline = deadline_of(timeout)
        self._ks_exchange.start()
        super().start(timeout)
        self._ks_source.start(time_left(deadline))
        self._ks_follower.start(time_left(deadline))
        return self

    def close(self, timeout: Optional[float] = 2.0) -> None:
        """Close everything; see :meth:`SpotWSClient.close`. The paper account stays."""
        super().close(timeout)
        self._ks_follower.stop(2.0 if timeout is None else timeout)
        self._ks_exchange.stop()

    def add_order(self, *args: Any, **params: Any) -> Any:
        """Place an order in the paper account; see :meth:`SpotWSClient.add_order`."""
        return super().add_order(*args, **self._ks_ready("add_order", params))

    def batch_add(self, *args: Any, **params: Any) -> Any:
        """Place orders in the paper account; see :meth:`SpotWSClient.batch_add`."""
        return super().batch_add(*args, **self._ks_ready("batch_add", params))

    def send_message(
        self, message: Mapping[str, Any], *, raw: bool = False, timeout: Optional[float] = 10.0
    ) -> Any:
        """Send a request; see :meth:`SpotWSClient.send_message`."""
        params = message.get("params") if isinstance(message, Mapping) else None
        if isinstance(params, Mapping) and message.get("method") in ("add_order", "batch_add"):
            timeout = self._ks_ready(message["method"], {**params, "timeout": timeout})["timeout"]
        return super().send_message(message, raw=raw, timeout=timeout)

    def _ks_ready(self, method: str, params: Dict[str, Any]) -> Dict[str, Any]:
        """Have the real book of an order's pair; return the parameters, with what is left of the time."""
        symbol, deadline = params.get("symbol"), deadline_of(params.get("timeout", 10.0))
        if not isinstance(symbol, str):
            return params
        if (
            not self._ks_follower.running and self.state.value != "CLOSED"
        ):  # whatever else has started the client
            type(self).start(self, time_left(deadline))
        try:
            self._ks_follower.have(symbol, time_left(deadline))
        except (UnknownSymbol, ClientClosed):
            raise
        except KrakenError as error:
            raise OrderNotSent(method, f"the real book of {symbol} is not there: {error}") from error
        return {**params, "timeout": time_left(deadline)}

    @staticmethod
    def _ks_proxies(proxy: Any) -> Any:
        """The proxies for the public connection alone: a proxy does not reach this machine's own servers."""
        if isinstance(proxy, str) and proxy:
            return {"https": proxy}
        if isinstance(proxy, Mapping):
            return {"https" if name == "all" else name: url for name, url in proxy.items() if name != "http"}
        return proxy

    def __repr__(self) -> str:
        return super().__repr__().replace("SpotWSClient", "PaperClient", 1)


def _stop(exchange: PaperExchange, follower: Follower) -> None:
    follower.stop(0.0)
    exchange.stop()


def _funds(balances: Any) -> Dict[str, str]:
    if not isinstance(balances, Mapping):
        # Its value is not shown: it may be what SpotWSClient has in this place, an API key.
        raise ValueError(f"balances are like {{'USD': 10000}}, not a {type(balances).__name__}")
    return {asset: _amount(asset, amount) for asset, amount in balances.items()}


def _amount(asset: Any, amount: Any) -> str:
    try:
        number = Decimal(str(amount))
    except ArithmeticError:
        number = Decimal(-1)
    known = isinstance(asset, str) and asset == asset.upper() and asset not in ("XBT", "XDG")
    if not known or not number.is_finite() or number < 0 or number.adjusted() > LARGEST:
        raise ValueError(
            f"balances are like {{'USD': 10000, 'BTC': 1}}, with the names of WebSocket API v2, not "
            f"{{{asset!r}: {amount!r}}}"
        )
    return format(number, "f")
