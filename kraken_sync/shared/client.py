"""A client that reads a shared feed instead of connecting to the exchange."""

from __future__ import annotations

import inspect
from typing import Any, Callable, Optional

from ..client import SpotWSClient
from ..core.orders.rate_limits import TradingRate
from ..core.timing import Timing
from ..core.wire.channels import ChannelParams
from ..core.wire.credentials import Credentials
from ..core.wire.messages import FrameDecoder, ParseFloat
from ..core.wire.places import PUBLIC
from ..core.wire.secret import Secret
from ..errors import KrakenError
from ..io.nonces import Nonces
from ..io.rest import Rest
from ..market.data import MarketData
from ..market.symbols import SymbolLookup
from ..runtime import Runtime
from .endpoint import RedisEndpoint
from .layout import text_of
from .line import RedisLine
from .server import redis_module

SHARED = Timing(
    connect_timeout=5.0,
    ping_interval=0.5,
    # A proof passes through the publisher, which asks the exchange, and gives a sign of life, once a second.
    stale_after=5.0,
    first_retry=0.2,
    retry_base=0.2,
    retry_cap=1.0,
    maintenance_retry=0.0,
    permanent_retry=5.0,
)
"""The time limits of a :class:`SharedClient`: Redis may be asked as often as one likes."""


class SharedClient(SpotWSClient):
    """Reads what a :class:`Publisher` in another process, or on another machine, has received.

    ::

        with SharedClient("redis://localhost") as client:
            book = client.book("BTC/USD", depth=25)
            for trade in client.trades("BTC/USD"):
                ...

    All market data are as with :class:`SpotWSClient`: the same methods, streams, books and errors. Every
    message of a book is verified by the exchange's checksum in this process. A book is LIVE only while the
    publisher's own is, its heartbeats come, and everything before them was read; ``age`` is that of the
    exchange's proof. What is missing, wherever it was lost, is a gap.

    There are no orders and no account: they raise KrakenError. No key and no token ever enters Redis.

    Args:
        url: ``redis://user:password@host:6379/0``, ``rediss://...`` for TLS, or ``unix:///path``.
        callback: called with every message; see :class:`SpotWSClient`.
        name: the name of the feed, as the publisher has it.
        parse_float: see :class:`SpotWSClient`.
        timing: all time limits.

    Raises:
        ImportError: redis-py is not installed.
        ValueError: the URL is not one of Redis.
        TypeError: an argument has the wrong type.
    """

    def __init__(
        self,
        url: str,
        callback: Optional[Callable[[Any], Any]] = None,
        *,
        name: str = "kraken",
        parse_float: Optional[ParseFloat] = float,
        timing: Timing = SHARED,
    ) -> None:
        if not isinstance(url, str) or not isinstance(name, str):
            raise TypeError("url and name must be strings, such as 'redis://localhost:6379/0'")
        if callback is not None and (not callable(callback) or inspect.iscoroutinefunction(callback)):
            raise TypeError(f"callback must be a plain function, not {callback!r:.80}")
        if not isinstance(timing, Timing):
            raise TypeError(f"timing must be a Timing, not {timing!r:.80}")
        redis_module()
        endpoint = self._ks_feed = RedisEndpoint(url, name)
        self._ks_callback = callback
        decode, rate, symbols = FrameDecoder(parse_float), TradingRate(None), SymbolLookup()
        runtime = Runtime(
            {PUBLIC: endpoint},
            _refuse,
            timing,
            None,
            decode,
            decode,
            self._ks_handler,
            # It has no use for a key; but a client without one would look for it in the environment.
            Rest("", Credentials(Secret(""), Secret("")), Nonces(None), check=_refuse),
            rate,
            lambda endpoint, context, sending, pinged, missed: RedisLine(endpoint, sending, missed),
        )
        self._ks_assemble(runtime, symbols, SharedMarket(runtime, symbols, endpoint), rate, "refuse")


class SharedMarket(MarketData):
    """The market data of a shared feed, whose books have the depth that is published."""

    def __init__(self, runtime: Runtime, symbols: SymbolLookup, endpoint: RedisEndpoint) -> None:
        super().__init__(runtime, symbols)
        self._endpoint = endpoint

    def offered(self, wanted: ChannelParams) -> ChannelParams:
        """Return the parameters with the depth that is published.

        Raises:
            ValueError: it is smaller than the depth that was asked for.
        """
        (key,) = wanted.keys()
        offer = self._endpoint.offers.get(text_of(key))
        if offer is None:
            return wanted  # it is refused when it is subscribed, with the reason
        if offer["depth"] < wanted.params["depth"]:
            raise ValueError(f"{key} is published with depth {offer['depth']}, not {wanted.params['depth']}")
        return wanted._replace(params={**wanted.params, "depth": offer["depth"]})


def _refuse(what: str, *kinds: str) -> None:
    raise KrakenError(
        f"{what} needs the exchange itself: use a SpotWSClient. A SharedClient has market data only"
    )
