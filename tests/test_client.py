"""The blocking facade over a real socket."""

from __future__ import annotations

import gc
import logging
import queue
import threading
import time
import warnings
import weakref
from decimal import Decimal
from typing import Any, Callable

import pytest
from conftest import FAST, WAIT, eventually

from kraken_sync import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    CredentialsMissing,
    RateLimited,
    ReplyTimeout,
    RequestRefused,
    SpotWSClient,
    SubscriptionRefused,
    UnknownChannel,
    WSState,
)
from kraken_sync.simulator import Simulator

BTC = {"channel": "trade", "symbol": ["BTC/USD"]}


def test_life(new_client: Callable[..., SpotWSClient]) -> None:
    """Made, started, used, closed, started again: the state tells each."""
    client = new_client()
    assert client.state is WSState.INIT
    client.start()
    client.start()
    assert client.state is WSState.CONNECTED
    client.close()
    client.close()
    assert client.state is WSState.CLOSED
    with pytest.raises(ClientClosed):
        client.subscribe(BTC)
    client.start()
    assert client.send_message({"method": "ping"})["method"] == "pong"
    client.stop()
    assert not client.exception_occur


def test_first_call_starts(new_client: Callable[..., SpotWSClient]) -> None:
    """Nobody has to call start()."""
    assert new_client().book("BTC/USD").best_bid is not None


def test_nobody_there() -> None:
    """No exchange: the call says so within its timeout, and leaves nothing running."""
    client = SpotWSClient(ws_url="ws://127.0.0.1:9", timing=FAST)
    started = time.monotonic()
    with pytest.raises(ConnectFailed, match=r"127.0.0.1:9.*refused") as caught:
        client.start(timeout=0.5)

    assert caught.value.step == "connect"
    assert time.monotonic() - started < 3
    assert client.state is WSState.INIT


def test_no_name() -> None:
    """A name that does not resolve is named."""
    client = SpotWSClient(ws_url="wss://nosuchhost.invalid", timing=FAST)
    with pytest.raises(ConnectFailed, match="cannot resolve nosuchhost.invalid") as caught:
        client.start(timeout=0.5)

    assert caught.value.step == "resolve"


def test_no_status(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Connected but not greeted is not connected."""
    exchange.faults.no_status = True
    with pytest.raises(ConnectFailed, match="status message"):
        new_client().start(timeout=0.5)


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


def test_several_intervals_of_one_symbol(client: SpotWSClient, exchange: Simulator) -> None:
    """Candles of several intervals are told apart, also after a reconnect, also when one is left."""
    one, five = client.ohlc("BTC/USD", 1), client.ohlc("BTC/USD", 5)
    exchange.cut()
    eventually(lambda: client.stats()["reconnects"] == 1)
    eventually(lambda: len(client.active_public_subscriptions) == 2)
    client.unsubscribe({"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 1})
    exchange.step(300, ["BTC/USD"])

    assert {item["interval"] for item in one} == {1}
    five_items = [five.get(WAIT) for _ in range(27)]
    assert {item["interval"] for item in five_items} == {5}


def test_parse_float(new_client: Callable[..., SpotWSClient]) -> None:
    """Numbers of messages are floats unless asked otherwise."""
    assert isinstance(new_client().trades("BTC/USD", snapshot=True).get(WAIT)["price"], float)
    exact = new_client(parse_float=Decimal).ticker("SHIB/USD").get(WAIT)
    assert format(exact["bid"], "f").startswith("0.0000")
    assert new_client(parse_float=str).ticker("SHIB/USD").get(WAIT)["bid_qty"].count(".") == 1


def unsubscribed(exchange: Simulator, channel: str) -> list[list[str]]:
    """The symbols of each unsubscribe of a channel that arrived.

    A refusal looks symbols up in the instrument channel, which comes and goes beside the test's own.
    """
    every = [one["params"] for one in exchange.requests("unsubscribe")]
    return [params["symbol"] for params in every if params["channel"] == channel]


def test_refusal_is_atomic(client: SpotWSClient, exchange: Simulator) -> None:
    """One refused symbol: the call fails, what it added is undone, what was live before stays."""
    before = client.trades("BTC/USD")
    exchange.faults.refused.add("DOGE/USD")
    with pytest.raises(SubscriptionRefused) as caught:
        client.trades(["BTC/USD", "ETH/USD", "DOGE/USD"])

    assert caught.value.refused == {"DOGE/USD": "Currency pair not supported DOGE/USD"}
    left = eventually(lambda: unsubscribed(exchange, "trade"))
    assert left == [["ETH/USD"]]
    assert [one["symbol"] for one in client.active_public_subscriptions] == [["BTC/USD"]]
    exchange.step(300, ["BTC/USD"])
    assert before.get(WAIT)["symbol"] == "BTC/USD"


def test_refusal_spares_what_is_held_by_nobody(client: SpotWSClient, exchange: Simulator) -> None:
    """A live subscription whose stream was dropped survives another call's refusal."""
    client.subscribe(BTC)
    gc.collect()
    exchange.faults.refused.add("DOGE/USD")
    with pytest.raises(SubscriptionRefused):
        client.subscribe({"channel": "trade", "symbol": ["BTC/USD", "DOGE/USD"]})

    assert [one["symbol"] for one in client.active_public_subscriptions] == [["BTC/USD"]]
    assert unsubscribed(exchange, "trade") == []


def test_one_req_id_for_all_answers(client: SpotWSClient, exchange: Simulator) -> None:
    """A request of several symbols has one req_id, and each symbol its own answer with it."""
    replies = client.send_message(
        {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"]}, "req_id": 7}
    )

    assert [reply["req_id"] for reply in replies] == [7, 7]
    assert [reply["result"]["symbol"] for reply in replies] == ["BTC/USD", "ETH/USD"]
    assert len(exchange.requests("subscribe")) == 1


def test_many_symbols_go_in_one_request(client: SpotWSClient, exchange: Simulator) -> None:
    """Symbols are batched, so that no message rate is exceeded."""
    client.subscribe({"channel": "trade", "symbol": list(exchange.exchange.markets)})

    assert len(exchange.requests("subscribe")) == 1


def test_send_message(client: SpotWSClient, exchange: Simulator) -> None:
    """Requests are answered with the reply, or raise the exchange's refusal."""
    reply = client.send_message({"method": "ping", "req_id": 101})
    assert (reply["method"], reply["req_id"]) == ("pong", 101)
    with pytest.raises(RequestRefused, match="Unsupported event") as caught:
        client.send_message({"method": "dance"})
    assert caught.value.method == "dance"
    assert client.send_message({"method": "ping", "req_id": 5}, raw=True) is None
    with pytest.raises(CredentialsMissing):
        client.send_message({"method": "add_order", "params": {}})
    with pytest.raises(CredentialsMissing):
        client.subscribe({"channel": "executions"})
    reply = client.send_message({"method": "subscribe", "params": BTC})
    assert reply["result"]["symbol"] == "BTC/USD"
    assert client.send_message({"method": "subscribe", "params": BTC}) is None
    reply = client.send_message({"method": "unsubscribe", "params": BTC})
    assert reply["success"]


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


def test_req_id_in_use(client: SpotWSClient, exchange: Simulator) -> None:
    """A req_id that waits for its answer cannot be used again."""
    exchange.faults.drop_pongs = True
    waiter = threading.Thread(
        target=lambda: pytest.raises(
            ReplyTimeout, client.send_message, {"method": "ping", "req_id": 9}, timeout=1.0
        )
    )
    waiter.start()
    eventually(lambda: [one for one in exchange.requests("ping") if one.get("req_id") == 9])
    with pytest.raises(ValueError, match="req_id 9 is in use"):
        client.send_message({"method": "ping", "req_id": 9})
    with pytest.raises(TypeError, match="req_id must be an int"):
        client.subscribe(BTC, req_id="7")  # type: ignore[arg-type]
    waiter.join(WAIT)


def test_lost_reply(client: SpotWSClient, exchange: Simulator) -> None:
    """A request whose connection ends says so at once, not at its timeout."""
    exchange.faults.drop_pongs = True
    threading.Timer(0.2, exchange.cut).start()
    started = time.monotonic()
    with pytest.raises(ConnectionLost, match="ended before the reply"):
        client.send_message({"method": "ping"}, timeout=WAIT)

    assert time.monotonic() - started < 3


def test_no_ack_leaves_no_ghost(client: SpotWSClient, exchange: Simulator) -> None:
    """No answer in time: the call says so and the wish is withdrawn."""
    exchange.faults.drop_acks = 1000
    with pytest.raises(ReplyTimeout, match="no answer to subscribe to trade for BTC/USD within 0.3 s"):
        client.subscribe(BTC, timeout=0.3)
    exchange.faults.drop_acks = 0

    assert client.active_public_subscriptions == []
    eventually(lambda: exchange.requests("unsubscribe"))
    assert client.subscribe(BTC).channel == "trade"


def test_missing_ack_is_asked_for_again(client: SpotWSClient, exchange: Simulator) -> None:
    """A lost answer costs a moment, not the subscription."""
    exchange.faults.drop_acks = 1
    stream = client.subscribe(BTC)
    exchange.step(300, ["BTC/USD"])

    assert stream.get(WAIT)["channel"] == "trade"


def test_late_ack(client: SpotWSClient, exchange: Simulator) -> None:
    """An answer that comes after its request was repeated does no harm."""
    exchange.faults.ack_delay = 0.8
    stream = client.subscribe({"channel": "ticker", "symbol": ["BTC/USD"]})

    assert stream.get(WAIT)["type"] == "snapshot"
    assert len(client.active_public_subscriptions) == 1


def test_rate_limit_loses_no_subscription(client: SpotWSClient, exchange: Simulator) -> None:
    """Told to slow down, the client does, and every subscription is made in the end."""
    exchange.faults.message_rate = 2
    streams = [client.trades(symbol) for symbol in ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "ADA/USD")]

    assert len(client.active_public_subscriptions) == len(streams)


def test_rate_limited_request(client: SpotWSClient, exchange: Simulator) -> None:
    """A plain request that is refused for its rate raises an error of its own."""
    exchange.faults.message_rate = 0
    with pytest.raises(RateLimited, match="Exceeded msg rate"):
        client.send_message({"method": "ping"})


def test_unsubscribe(client: SpotWSClient, exchange: Simulator) -> None:
    """Unsubscribing ends every stream of it; what is not subscribed is refused."""
    first, second = client.subscribe(BTC), client.subscribe(BTC)
    client.unsubscribe(BTC)

    assert list(first) == list(second) == []
    assert client.active_public_subscriptions == []
    with pytest.raises(SubscriptionRefused, match="Subscription Not Found"):
        client.unsubscribe(BTC)


def test_further_streams_share_the_subscription(client: SpotWSClient, exchange: Simulator) -> None:
    """Asking again gives a further stream, brought up to date; the last to leave ends it all."""
    first = client.ticker("BTC/USD")
    first.get(WAIT)
    with client.ticker("BTC/USD") as second:
        assert second.get(WAIT)["symbol"] == "BTC/USD"
    assert len(exchange.requests("subscribe")) == 1
    assert exchange.requests("unsubscribe") == []
    first.unsubscribe()
    eventually(lambda: exchange.requests("unsubscribe"))
    assert list(first) == []


def test_ignored_result_costs_nothing(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Ported code subscribes, drops the result, and reads everything in its callback."""
    received: queue.Queue[Any] = queue.Queue()
    client = new_client(callback=received.put)
    client.subscribe(BTC)
    gc.collect()
    with client.trades("BTC/USD"):
        pass
    exchange.step(300, ["BTC/USD"])
    kinds = []
    while "trade" not in kinds:
        kinds.append(received.get(timeout=WAIT).get("channel"))

    assert kinds[0] == "status"
    assert exchange.requests("unsubscribe") == []


def test_on_message_override(new_client: Callable[..., SpotWSClient]) -> None:
    """A subclass receives every message on the dispatcher thread, and may call the client from there."""
    done: queue.Queue[Any] = queue.Queue()

    class Client(SpotWSClient):
        def on_message(self, message: Any) -> None:
            if message.get("channel") == "status":
                done.put((threading.current_thread().name, self.send_message({"method": "ping"})["method"]))

    new_client(Client).start()

    assert done.get(timeout=WAIT) == ("kraken-sync-dispatcher", "pong")


def test_failing_callback(
    new_client: Callable[..., SpotWSClient], caplog: pytest.LogCaptureFixture, exchange: Simulator
) -> None:
    """A bug in a handler is told once with its place, counted, and stops nothing."""

    def on_trade(message: Any) -> None:
        raise KeyError("px")

    with caplog.at_level(logging.ERROR, "kraken_sync"):
        client = new_client(callback=on_trade)
        client.subscribe(BTC)
        eventually(lambda: client.stats()["callback_errors"] >= 2)

    errors = [record.getMessage() for record in caplog.records]
    assert len(errors) == 1
    assert "your handler on_message raised KeyError('px')" in errors[0]
    assert "test_client.py" in errors[0]
    assert exchange.connections == 1


def test_close_from_a_callback(new_client: Callable[..., SpotWSClient]) -> None:
    """A handler may close its own client."""
    started, closed = threading.Event(), threading.Event()

    def handler(message: Any) -> None:
        started.wait(WAIT)
        client.close()
        closed.set()

    client = new_client(callback=handler)
    client.start()
    started.set()

    assert closed.wait(WAIT)
    assert client.state is WSState.CLOSED


def test_messages(client: SpotWSClient) -> None:
    """Every frame, as a queue."""
    messages = client.messages
    client.subscribe(BTC)

    assert messages.get(WAIT)["method"] == "subscribe"
    with pytest.raises(queue.Empty):
        while True:
            messages.get(0.01)
    client.close()
    with pytest.raises(ClientClosed):
        while True:
            messages.get(WAIT)


def test_streams_end_on_close(client: SpotWSClient) -> None:
    """Whoever iterates is let go when the client closes."""
    stream = client.trades("BTC/USD")
    threading.Timer(0.1, client.close).start()

    assert list(stream) == []


def test_close_is_quick_in_every_state(exchange: Simulator) -> None:
    """Connected, mute, in backoff, dialling: close() returns within two seconds."""
    for prepare in ("connected", "mute", "backoff", "black hole"):
        url = exchange.ws_url if prepare != "black hole" else "ws://127.255.255.254:9"
        client = SpotWSClient(ws_url=url, timing=FAST)
        if prepare != "black hole":
            client.start()
            client.book("BTC/USD")
        else:
            thread = threading.Thread(
                target=lambda c=client: pytest.raises((ClientClosed, ConnectFailed), c.start)
            )
            thread.start()
        exchange.faults.mute = prepare == "mute"
        if prepare == "backoff":
            exchange.faults.refuse_connections = 10**6
            exchange.cut()
            eventually(lambda c=client: c.state is WSState.RECONNECTING)
        started = time.monotonic()
        client.close()
        assert time.monotonic() - started < 2.0, prepare
        if prepare == "black hole":
            thread.join(WAIT)
        exchange.faults.mute, exchange.faults.refuse_connections = False, 0


def test_fifty_lives(exchange: Simulator) -> None:
    """Starting and closing leaves nothing behind."""
    before = threading.active_count()
    for _ in range(50):
        with SpotWSClient(ws_url=exchange.ws_url, timing=FAST) as client:
            client.send_message({"method": "ping"})

    assert threading.active_count() <= before


def test_collected_client_stops(exchange: Simulator) -> None:
    """A client nobody holds any more stops, and says that it was not closed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)
        client.start()
        gone = weakref.ref(client)
        del client
        eventually(lambda: gc.collect() is not None and gone() is None)
        eventually(lambda: caught)

    assert [warning.category for warning in caught] == [ResourceWarning]
    assert "test_client.py" in str(caught[0].message)


def test_a_client_that_calls_back_lives_until_it_is_closed(exchange: Simulator) -> None:
    """As python-kraken-sdk's does: many scripts make it in a function and keep nothing."""
    received: queue.Queue[Any] = queue.Queue()

    def made() -> weakref.ref[SpotWSClient]:
        client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST, callback=received.put)
        client.subscribe(BTC)
        return weakref.ref(client)

    alive = made()
    gc.collect()
    exchange.step(300, ["BTC/USD"])
    while received.get(timeout=WAIT).get("channel") != "trade":
        pass
    client = alive()
    assert client is not None
    client.close()


def test_stream_keeps_its_client(exchange: Simulator) -> None:
    """A stream or a book that is held keeps its client working."""
    trades = SpotWSClient(ws_url=exchange.ws_url, timing=FAST).trades("BTC/USD")
    book = SpotWSClient(ws_url=exchange.ws_url, timing=FAST).book("BTC/USD")
    gc.collect()
    exchange.step(300, ["BTC/USD"])

    assert trades.get(WAIT)["symbol"] == "BTC/USD"
    assert book.best_bid is not None
    trades._owner.close()
    book._owner.close()


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
    with pytest.raises(SubscriptionRefused, match="Unsupported event"):
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
        client.subscribe(BTC)
    client.close()


def test_bad_timeouts(client: SpotWSClient) -> None:
    """A timeout is seconds or None."""
    for timeout in (-1, "5", True):
        with pytest.raises(ValueError, match="timeout must be seconds"):
            client.subscribe(BTC, timeout=timeout)  # type: ignore[arg-type]


def test_symbols(client: SpotWSClient, exchange: Simulator) -> None:
    """The exchange's symbols can be searched."""
    assert client.symbols("btc") == ["BTC/EUR", "BTC/USD", "ETH/BTC", "XMR/BTC"]
    assert "CONNECTED" in repr(client)
