"""The exchange's channels as data: names, parameters and allowed values.

Source: Kraken, one page per channel, such as
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ticker (the others end in ``book``,
``trade``, ``ohlc``, ``instrument``, ``executions``, ``balances`` and ``level3``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, get_args

from ...errors import UnknownChannel
from .messages import encode
from .shapes import Depth, Interval, OrderDepth

DEPTHS: Tuple[int, ...] = get_args(Depth)
ORDER_DEPTHS: Tuple[int, ...] = get_args(OrderDepth)
ORDER_DEPTH_COST = {10: 5, 100: 25, 1000: 100}
"""The points that a level3 subscription of each depth costs, for each symbol."""
LEVEL3_POINTS, LEVEL3_SYMBOLS = 200, 200
"""The points per second and the symbols that the exchange allows on one connection. (The pro tier has more
points.)"""
INTERVALS: Tuple[int, ...] = get_args(Interval)


@dataclass(frozen=True)
class Channel:
    """One channel and its parameters."""

    name: str
    symbols: bool = True
    """Whether it is subscribed per symbol."""
    private: bool = False
    """Whether a subscription needs a token."""
    params: Mapping[str, Any] = field(default_factory=dict)
    """The allowed values of each parameter as a tuple, or the type of its value."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Parameters that are always sent, with the exchange's own defaults."""
    unsubscribe: Tuple[str, ...] = ()
    """Parameters that an unsubscribe must repeat."""
    one_of: Tuple[str, ...] = ()
    """Parameters that can have only one value per symbol and connection, because the data do not tell it."""
    assumed: Mapping[str, Any] = field(default_factory=dict)
    """The exchange's defaults for those of ``one_of`` that are not sent."""
    checked: bool = True
    """Whether the parameters are checked; False for a channel that this library does not know."""


_SNAPSHOT: Mapping[str, Any] = {"snapshot": bool}

CHANNELS: Dict[str, Channel] = {
    channel.name: channel
    for channel in (
        Channel(
            "ticker",
            params={**_SNAPSHOT, "event_trigger": ("trades", "bbo")},
            defaults={"event_trigger": "trades", "snapshot": True},
            unsubscribe=("event_trigger",),
            one_of=("event_trigger",),
        ),
        Channel(
            "book",
            params={**_SNAPSHOT, "depth": DEPTHS},
            defaults={"depth": 10, "snapshot": True},
            unsubscribe=("depth",),
            one_of=("depth",),
        ),
        # Snapshots are on by default, except that of trades.
        Channel("trade", params=_SNAPSHOT, defaults={"snapshot": False}),
        Channel(
            "ohlc",
            params={**_SNAPSHOT, "interval": INTERVALS},
            defaults={"interval": 1, "snapshot": True},
            unsubscribe=("interval",),
        ),
        Channel(
            "instrument",
            symbols=False,
            params={**_SNAPSHOT, "include_tokenized_assets": bool, "execution_venue": str},
            defaults={"snapshot": True},
        ),
        Channel(
            "executions",
            symbols=False,
            private=True,
            params={
                **_SNAPSHOT,
                "snap_orders": bool,
                "snap_trades": bool,
                "snapshot_trades": bool,
                "order_status": bool,
                "ratecounter": bool,
                "rebased": bool,
                "users": str,
            },
            defaults={"snap_orders": True},
            one_of=("order_status", "ratecounter", "rebased", "users"),
            assumed={"order_status": True, "ratecounter": False, "rebased": True},
        ),
        Channel(
            "balances",
            symbols=False,
            private=True,
            params={**_SNAPSHOT, "rebased": bool, "users": str},
            defaults={"snapshot": True},
            one_of=("rebased", "users"),
            assumed={"rebased": True},
        ),
        Channel(
            "level3",
            private=True,
            params={**_SNAPSHOT, "depth": ORDER_DEPTHS},
            defaults={"depth": 10, "snapshot": True},
            unsubscribe=("depth",),
            one_of=("depth",),
        ),
    )
}
PUBLIC = tuple(sorted(name for name, channel in CHANNELS.items() if not channel.private))
PRIVATE = tuple(sorted(name for name, channel in CHANNELS.items() if channel.private))
ASSET_CLASS = "spot"
_ELSEWHERE = ("channel", "symbol", "token", "asset_class")
"""Parameters that do not belong to the channel: the connection adds the last two where they are needed."""
AUTOMATIC = ("status", "heartbeat")
"""Channels that the exchange sends without a subscription."""


class Key(NamedTuple):
    """The identity of one subscription, as its data show it."""

    channel: str
    symbol: Optional[str] = None
    interval: Optional[int] = None

    def __str__(self) -> str:
        interval = None if self.interval is None else str(self.interval)
        return "/".join(filter(None, (self.channel, self.symbol, interval)))


class ChannelParams(NamedTuple):
    """The checked ``params`` of a subscription: its channel, its symbols and its parameters."""

    channel: Channel
    symbols: Optional[Tuple[str, ...]]
    params: Mapping[str, Any]

    def keys(self) -> List[Key]:
        """Return one key for each symbol."""
        interval = self.params.get("interval")
        return [Key(self.channel.name, symbol, interval) for symbol in self.symbols or (None,)]


def channel_params(
    params: Mapping[str, Any],
    public: Sequence[str] = PUBLIC,
    private: Sequence[str] = PRIVATE,
) -> ChannelParams:
    """Check the ``params`` of a subscribe or unsubscribe, and fill in the defaults.

    Args:
        params: ``channel``, ``symbol`` and the channel's own parameters.
        public: the accepted names of public channels.
        private: the accepted names of private channels.

    Raises:
        UnknownChannel: there is no such channel; the error has the nearest names.
        TypeError, ValueError: a parameter is wrong; the text names what is allowed.
    """
    if not isinstance(params, Mapping) or "params" in params:
        raise TypeError(
            "The message must contain the ``params`` key with a value as type dict! (Pass the params alone, "
            f"such as {{'channel': 'ticker', 'symbol': ['BTC/USD']}}, not {params!r:.80})"
        )
    name = params.get("channel")
    if not isinstance(name, str) or not name:
        raise TypeError(
            "The message must contain the ``params`` key that points to a dictionary "
            "containing the ``channel`` key with a valid string!"
        )
    channel = _channel(name, public, private)
    given = {key: value for key, value in params.items() if key not in _ELSEWHERE}
    if params.get("asset_class", ASSET_CLASS) != ASSET_CLASS:
        raise ValueError(f"asset_class={params['asset_class']!r:.80}: this client is for spot markets")
    meant = next((key for key in ("symbols", "pair", "pairs") if key in given), None)
    if meant is not None and "symbol" not in params and "symbol" not in channel.params:
        raise ValueError(f"{channel.name} has no parameter {meant!r}. Did you mean 'symbol'?")
    symbols = _symbols(channel, params.get("symbol"))
    if not channel.checked:
        encode(given)  # raises here, in the caller's thread, for what could not be sent later
        return ChannelParams(channel, symbols, given)
    for key, value in given.items():
        _check_value(channel, key, value)
    return ChannelParams(channel, symbols, {**channel.defaults, **given})


V1_NAMES = {"spread": "ticker", "candles": "ohlc", "openOrders": "executions", "ownTrades": "executions"}
"""Channels of the older WebSocket API, and what has taken their place."""


def nearest(word: str, names: Iterable[str], count: int = 2) -> List[str]:
    """Return the names that are most similar to ``word``, best first."""
    from difflib import get_close_matches  # only for the text of an error

    return get_close_matches(word, list(names), n=count, cutoff=0.6)


def _channel(name: Any, public: Sequence[str], private: Sequence[str]) -> Channel:
    if name in AUTOMATIC:
        raise UnknownChannel(name, text=f"{name!r} cannot be subscribed: the exchange sends it on its own.")
    if name in public or name in private:
        known = CHANNELS.get(name)
        if known is not None and known.private == (name in private):
            return known
        return Channel(name, private=name in private, checked=False)
    close = [V1_NAMES[name]] if name in V1_NAMES else nearest(str(name).lower(), [*public, *private], 1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UnknownChannel(
        name,
        close,
        text=f"unknown channel {name!r}.{hint} Public: {', '.join(sorted(public))}. "
        f"Private: {', '.join(sorted(private))}.",
    )


def _symbols(channel: Channel, symbol: Any) -> Optional[Tuple[str, ...]]:
    if symbol is None:
        if channel.symbols and channel.checked:
            raise ValueError(
                f"{channel.name} needs a symbol, such as "
                f'{{"channel": "{channel.name}", "symbol": ["BTC/USD"]}}'
            )
        return None
    if not channel.symbols and channel.checked:
        raise ValueError(f"{channel.name} takes no symbol")
    symbols = [symbol] if isinstance(symbol, str) else symbol
    if not isinstance(symbols, (list, tuple, set, frozenset)) or not all(
        isinstance(one, str) and one.strip() for one in symbols
    ):
        raise TypeError(f"symbol must be a list of strings such as ['BTC/USD'], not {symbol!r:.80}")
    for one in symbols:
        several = [part for part in re.split(r"[,;\s]+", one) if part]
        if len(several) > 1 and all("/" in part for part in several):
            raise ValueError(f"symbol={one!r:.80} is one text; pass a list: {several!r:.80}")
    if not symbols:
        raise ValueError("symbol is an empty list; name at least one, such as ['BTC/USD']")
    return tuple(dict.fromkeys(symbols))


def _check_value(channel: Channel, key: str, value: Any) -> None:
    if key not in channel.params:
        close = nearest(str(key), channel.params, 1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        if nearest(str(key), ("backfill",), 1):
            hint = " client.trades(symbol, backfill=True) has it."
        raise ValueError(
            f"{channel.name} has no parameter {key!r}.{hint} "
            f"It takes: {', '.join(sorted(channel.params)) or 'none'}."
        )
    allowed = channel.params[key]
    if isinstance(allowed, type):
        if not isinstance(value, allowed):
            raise TypeError(f"{key} must be {allowed.__name__}, not {value!r:.80}")
    # The type first: True == 1, and 10.0 == 10.
    elif type(value) is not type(allowed[0]) or value not in allowed:
        words = [repr(one) for one in allowed]
        hint = ""
        if key == "depth" and channel.name == "book" and type(value) is int and 0 < value < DEPTHS[-1]:
            larger = next(depth for depth in DEPTHS if depth > value)
            hint = f" (use {larger} and read book.bids[:{value}])"
        raise ValueError(
            f"{key}={value!r} is not offered by Kraken. Choose {', '.join(words[:-1])} or {words[-1]}{hint}."
        )
