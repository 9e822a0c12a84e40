"""The blocking facade over a real socket."""

from __future__ import annotations

import gc
import queue
from decimal import Decimal
from typing import Any, Callable

import pytest
from conftest import WAIT, S
from helpers import TRADE

from kraken_sync import ClientClosed, SpotWSClient, SubscriptionRefused, UnknownChannel
from kraken_sync.simulator import Simulator


@pytest.mark.parametrize("url", ["https://ws.kraken.com", "ws.kraken.com", "wss://"])
def test_bad_url(url: str) -> None:
    """A URL that is none is told when the client is made."""
    with pytest.raises(ValueError, match="not a WebSocket URL"):
        SpotWSClient(ws_url=url)


def test_all_public_channels(client: SpotWSClient, exchange: Simulator) -> None:
    """Every channel delivers its snapshot and its updates, as the exchange's own dicts."""
    for params in (
        {"channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "bbo"},
        {"channel": "book", "symbol": ["BTC/USD"], "depth": 25},
        {"channel": "trade", "symbol": ["BTC/USD"], "snapshot": True},
        {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 5},
    ):
        stream = client.subscribe(params)
        assert stream.get(WAIT)["type"] == "snapshot"
        for _ in range(40):
            exchange.step(5, ["BTC/USD"])
        update = stream.get(WAIT)
        assert update["type"] == "update"
        assert update["channel"] == params["channel"]
        assert update["data"][0]["symbol"] == "BTC/USD"
    instruments = client.subscribe({"channel": "instrument"})
    assert {pair["symbol"] for pair in instruments.get(WAIT)["data"]["pairs"]} == set(
        exchange.exchange.markets
    )
    exchange.set_pair_status("DOGE/USD", "cancel_only")
    assert instruments.get(WAIT)["data"]["pairs"][0]["status"] == "cancel_only"


def test_shorthands(client: SpotWSClient, exchange: Simulator) -> None:
    """The shorthands yield items one by one."""
    trades = client.trades(["BTC/USD", "ETH/USD"], snapshot=True)
    candles = client.ohlc("BTC/USD", 15)
    ticker = client.ticker("btc-usd")
    instruments = client.instruments()

    assert [trades.get(WAIT)["symbol"] for _ in range(100)].count("BTC/USD") == 50
    assert candles.get(WAIT)["interval"] == 15
    assert ticker.get(WAIT)["symbol"] == "BTC/USD"
    assert instruments.get(WAIT)["symbol"] == "BTC/USD"
    for _ in range(100):
        exchange.step(5, ["BTC/USD"])
    assert trades.get(WAIT)["trade_id"] > 0


def test_parse_float(new_client: Callable[..., SpotWSClient]) -> None:
    """Numbers of messages are floats unless asked otherwise."""
    assert isinstance(new_client().trades("BTC/USD", snapshot=True).get(WAIT)["price"], float)
    exact = new_client(parse_float=Decimal).ticker("SHIB/USD").get(WAIT)
    assert format(exact["bid"], "f").startswith("0.0000")
    assert new_client(parse_float=str).ticker("SHIB/USD").get(WAIT)["bid_qty"].count(".") == 1


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (["x"], "The ``message`` must be type dict!"),
        ({}, "The message must contain the ``method`` key with a valid string!"),
        ({"method": 5}, "The message must contain the ``method`` key with a valid string!"),
        ({"method": "subscribe"}, "The message must contain the ``params`` key with a value as type dict!"),
        (
            {"method": "unsubscribe", "params": {"channel": 1}},
            "The message must contain the ``params`` key that points to a dictionary containing the "
            "``channel`` key with a valid string!",
        ),
    ],
)
def test_argument_checks(client: SpotWSClient, message: Any, text: str) -> None:
    """The texts are those of python-kraken-sdk, where a user may match them."""
    with pytest.raises(TypeError) as caught:
        client.send_message(message)

    assert str(caught.value) == text


def test_ignored_result_costs_nothing(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Ported code subscribes, drops the result, and reads everything in its callback."""
    received: queue.Queue[Any] = queue.Queue()
    client = new_client(callback=received.put)
    client.subscribe(TRADE)
    gc.collect()
    with client.trades("BTC/USD"):
        pass
    exchange.step(300, ["BTC/USD"])
    kinds = []
    while "trade" not in kinds:
        kinds.append(received.get(timeout=WAIT).get("channel"))

    assert kinds[0] == "status"
    assert exchange.requests("unsubscribe") == []


def test_messages(client: SpotWSClient) -> None:
    """Every frame, as a queue."""
    messages = client.messages
    client.subscribe(TRADE)

    assert messages.get(WAIT)["method"] == "subscribe"
    with pytest.raises(queue.Empty):
        while True:
            messages.get(0.01)
    client.close()
    with pytest.raises(ClientClosed):
        while True:
            messages.get(WAIT)


def test_unknown_channel_names_the_nearest(client: SpotWSClient) -> None:
    """Typos in channels are told locally."""
    with pytest.raises(UnknownChannel, match="Did you mean 'ticker'"):
        client.subscribe({"channel": "tickers", "symbol": ["BTC/USD"]})


def test_own_channel(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Overriding the names lets a new channel through to the exchange, which then decides."""

    class Client(SpotWSClient):
        @property
        def public_channel_names(self) -> list:
            return [*super().public_channel_names, "spread"]

    client = new_client(Client)
    with pytest.raises(SubscriptionRefused, match="Subscription name invalid"):
        client.subscribe({"channel": "spread", "symbol": ["BTC/USD"], "levels": [1, {"a": 2}]})
    with pytest.raises(TypeError, match="object cannot be sent"):
        client.subscribe({"channel": "spread", "symbol": ["BTC/USD"], "levels": object()})
    sent = [one["params"] for one in exchange.requests("subscribe")]
    assert {"channel": "spread", "symbol": ["BTC/USD"], "levels": [1, {"a": 2}]} in sent
    assert client.book("BTC/USD").best_bid is not None


def test_no_public() -> None:
    """Without a public connection there is nothing to subscribe to."""
    client = SpotWSClient(no_public=True)
    with pytest.raises(ConnectionError, match="Public connection does not exist!"):
        client.active_public_subscriptions
    client.start()
    with pytest.raises(AttributeError, match="Could not found any connected websocket!"):
        client.subscribe(TRADE)
    client.close()


def test_bad_timeouts(client: SpotWSClient) -> None:
    """A timeout is seconds or None."""
    for timeout in (-1, "5", True):
        with pytest.raises(ValueError, match="timeout must be seconds"):
            client.subscribe(TRADE, timeout=timeout)


def test_symbols(client: SpotWSClient, exchange: Simulator) -> None:
    """The exchange's symbols can be searched."""
    assert client.symbols("btc") == ["BTC/EUR", "BTC/USD", "ETH/BTC", "XMR/BTC"]
    assert "CONNECTED" in repr(client)


def test_endless_timeouts(client: SpotWSClient) -> None:
    """Infinity is for ever."""
    assert client.book(S, timeout=float("inf")).best_bid is not None
