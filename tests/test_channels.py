"""Bad arguments are told before anything is sent, with what was probably meant."""

from __future__ import annotations

import pytest

from kraken_sync.core.wire.channels import DEPTHS, INTERVALS, Key, channel_params
from kraken_sync.errors import UnknownChannel


@pytest.mark.parametrize(
    ("params", "error", "words"),
    [
        ({"channel": "tickers"}, UnknownChannel, "Did you mean 'ticker'? Public: book, instrument"),
        ({"channel": "xyzzy"}, UnknownChannel, "Private: balances, executions, level3."),
        ({"channel": "heartbeat"}, UnknownChannel, "on its own"),
        ({"channel": "ticker"}, ValueError, "needs a symbol"),
        ({"channel": "ticker", "symbol": []}, ValueError, "empty list"),
        ({"channel": "ticker", "symbol": 5}, TypeError, "list of strings"),
        ({"channel": "ticker", "symbol": ["BTC/USD", None]}, TypeError, "list of strings"),
        ({"channel": "instrument", "symbol": ["BTC/USD"]}, ValueError, "no symbol"),
        (
            {"channel": "book", "symbol": "BTC/USD", "depth": 50},
            ValueError,
            "Choose 10, 25, 100, 500 or 1000",
        ),
        (
            {"channel": "book", "symbol": "BTC/USD", "depth": 50},
            ValueError,
            "use 100 and read book.bids[:50]",
        ),
        ({"channel": "book", "symbol": "BTC/USD", "depth": True}, ValueError, "Choose 10"),
        ({"channel": "book", "symbol": "BTC/USD", "dept": 10}, ValueError, "Did you mean 'depth'?"),
        ({"channel": "ohlc", "symbol": "BTC/USD", "interval": 2}, ValueError, "Choose 1, 5, 15"),
        (
            {"channel": "ticker", "symbol": "BTC/USD", "event_trigger": "bbos"},
            ValueError,
            "'trades' or 'bbo'",
        ),
        ({"channel": "trade", "symbol": "BTC/USD", "snapshot": "yes"}, TypeError, "must be bool"),
    ],
)
def test_refusals(params: dict, error: type, words: str) -> None:
    """Each text names what is allowed."""
    with pytest.raises(error) as caught:
        channel_params(params)

    assert words in str(caught.value)


def test_names_of_the_older_api() -> None:
    """The channels of WebSocket API v1 that have another name in v2 are translated in the hint."""
    for old, new in (("openOrders", "executions"), ("spread", "ticker"), ("candles", "ohlc")):
        with pytest.raises(UnknownChannel, match=f"Did you mean '{new}'"):
            channel_params({"channel": old, "symbol": ["BTC/USD"]})


@pytest.mark.parametrize("depth", DEPTHS)
def test_all_depths(depth: int) -> None:
    """The exchange's five depths are accepted."""
    assert channel_params({"channel": "book", "symbol": "A/B", "depth": depth}).params["depth"] == depth


@pytest.mark.parametrize("interval", INTERVALS)
def test_all_intervals(interval: int) -> None:
    """The exchange's nine intervals are accepted, and told apart."""
    ask = channel_params({"channel": "ohlc", "symbol": ["A/B", "C/D", "A/B"], "interval": interval})

    assert ask.keys() == [Key("ohlc", "A/B", interval), Key("ohlc", "C/D", interval)]


def test_defaults_are_sent() -> None:
    """What is not given is sent with the exchange's own default, so that nobody depends on it."""
    assert channel_params({"channel": "trade", "symbol": "A/B"}).params == {"snapshot": False}
    assert channel_params({"channel": "ticker", "symbol": "A/B"}).params == {
        "event_trigger": "trades",
        "snapshot": True,
    }


def test_channel_of_the_users() -> None:
    """A channel that only the user knows is passed on as it is."""
    ask = channel_params({"channel": "spread", "symbol": "A/B", "x": 1}, public=["spread"])

    assert (ask.channel.checked, ask.symbols, ask.params) == (False, ("A/B",), {"x": 1})
