"""The types of what is sent and received, for annotations.

::

    from kraken_sync.types import Trade

    def handle(trade: Trade) -> None:
        print(trade["price"], trade["qty"])
"""

from .core.wire.shapes import (
    Candle,
    ChannelName,
    CountResult,
    Depth,
    EventTrigger,
    FeePreference,
    Gap,
    GapFrame,
    Instrument,
    Interval,
    Num,
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

__all__ = [
    "Candle",
    "ChannelName",
    "CountResult",
    "Depth",
    "EventTrigger",
    "FeePreference",
    "Gap",
    "GapFrame",
    "Instrument",
    "Interval",
    "Num",
    "OrderDepth",
    "OrderResult",
    "OrderType",
    "Policy",
    "PriceType",
    "SelfTradePrevention",
    "Side",
    "SwitchResult",
    "Ticker",
    "TimeInForce",
    "Trade",
    "Via",
]
