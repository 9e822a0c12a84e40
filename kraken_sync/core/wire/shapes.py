"""The types of what is sent and received, for type checkers: allowed words, and the keys of messages.

``Num`` stands for the numbers of messages: floats by default, or what ``parse_float`` of the client returns.

Source: Kraken, the pages of the channels and methods, such as
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ticker.
"""

from __future__ import annotations

from typing import Any, Dict, List, Literal, Optional, TypedDict

Num = Any
"""A float, or what ``parse_float`` of the client returns."""

ChannelName = Literal["ticker", "book", "trade", "ohlc", "instrument", "executions", "balances", "level3"]
Depth = Literal[10, 25, 100, 500, 1000]
"""The depths of ``book``, in levels a side."""
OrderDepth = Literal[10, 100, 1000]
"""The depths of ``level3``, in levels a side."""
Interval = Literal[1, 5, 15, 30, 60, 240, 1440, 10080, 21600]
"""The lengths of candles, in minutes."""
EventTrigger = Literal["trades", "bbo"]
Policy = Literal["drop_oldest", "conflate", "raise"]

Side = Literal["buy", "sell"]
OrderType = Literal[
    "limit",
    "market",
    "iceberg",
    "stop-loss",
    "stop-loss-limit",
    "take-profit",
    "take-profit-limit",
    "trailing-stop",
    "trailing-stop-limit",
    "settle-position",
]
PriceType = Literal["static", "pct", "quote"]
TimeInForce = Literal["gtc", "gtd", "ioc", "fok"]
FeePreference = Literal["base", "quote"]
SelfTradePrevention = Literal["cancel_newest", "cancel_oldest", "cancel_both"]
Via = Literal["websocket", "rest"]


class _Ticker(TypedDict):
    symbol: str
    bid: Num
    bid_qty: Num
    ask: Num
    ask_qty: Num
    last: Num
    volume: Num
    vwap: Num
    low: Num
    high: Num
    change: Num
    change_pct: Num


class Ticker(_Ticker, total=False):
    """An item of ``ticker``."""

    timestamp: str
    """RFC 3339, UTC; recordings from 2024 do not have it."""


class _Trade(TypedDict):
    symbol: str
    side: Side
    price: Num
    qty: Num
    ord_type: str
    trade_id: int
    timestamp: str


class Trade(_Trade, total=False):
    """An item of ``trade``."""

    backfilled: bool
    """True if it came from REST, for a gap."""


class Candle(TypedDict):
    """An item of ``ohlc``."""

    symbol: str
    open: Num
    high: Num
    low: Num
    close: Num
    vwap: Num
    trades: int
    volume: Num
    interval_begin: str
    interval: int
    timestamp: str


class Instrument(TypedDict, total=False):
    """An item of ``instrument``: a pair."""

    symbol: str
    base: str
    quote: str
    status: str
    price_precision: int
    price_increment: Num
    tick_size: Num
    qty_precision: int
    qty_increment: Num
    qty_min: Num
    cost_precision: int
    cost_min: Num
    marginable: bool
    has_index: bool
    margin_initial: Num
    position_limit_long: int
    position_limit_short: int


class Gap(TypedDict):
    """What was missing."""

    channel: str
    symbol: Optional[str]
    reason: str
    since: Optional[str]
    """RFC 3339, UTC, by this machine's clock."""
    until: Optional[str]
    dropped: int
    """The number of messages that were lost because they were not read in time."""


class GapFrame(TypedDict):
    """A message of a stream that tells where something is missing."""

    channel: str
    type: Literal["gap"]
    data: List[Dict[str, Any]]


class _OrderResult(TypedDict):
    order_id: str
    """Not with ``validate=True``, since nothing is placed then."""


class OrderResult(_OrderResult, total=False):
    """The result of a method that places or changes one order."""

    cl_ord_id: str
    order_userref: int
    amend_id: str
    original_order_id: str
    validated: bool
    """Only with ``validate=True``: whether the exchange would take it."""
    placed: bool
    """Only with ``validate=True``: False."""
    warnings: List[str]
    error: str
    status: str


class CountResult(TypedDict):
    """The result of ``cancel_all``."""

    count: int


class SwitchResult(TypedDict, total=False):
    """The result of ``cancel_all_orders_after``."""

    currentTime: str
    triggerTime: str
