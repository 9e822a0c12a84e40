"""Subscriptions: asked for, answered, refused, repeated, left."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import socket
import threading
from typing import Any, Callable

import pytest
from conftest import FAST, WAIT, S, eventually
from facts import fact
from helpers import TRADE, ack, background, shown_top, true_top
from raw_server import RawServer, frame, greet

from kraken_sync import BookState, ReplyTimeout, SpotWSClient, SubscriptionRefused, Timing
from kraken_sync.core.session.budgets import TokenBucket
from kraken_sync.core.session.registry import Registry
from kraken_sync.core.wire.channels import channel_params
from kraken_sync.io.logs import log
from kraken_sync.simulator import Simulator


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
    client.subscribe(TRADE)
    gc.collect()
    exchange.faults.refused.add("DOGE/USD")
    with pytest.raises(SubscriptionRefused):
        client.subscribe({"channel": "trade", "symbol": ["BTC/USD", "DOGE/USD"]})

    assert [one["symbol"] for one in client.active_public_subscriptions] == [["BTC/USD"]]
    assert unsubscribed(exchange, "trade") == []


def test_many_symbols_go_in_one_request(client: SpotWSClient, exchange: Simulator) -> None:
    """Symbols are batched, so that no message rate is exceeded."""
    client.subscribe({"channel": "trade", "symbol": list(exchange.exchange.markets)})

    assert len(exchange.requests("subscribe")) == 1


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


def test_no_ack_leaves_no_ghost(client: SpotWSClient, exchange: Simulator) -> None:
    """No answer in time: the call says so and the entry is withdrawn."""
    exchange.faults.drop_acks = 1000
    with pytest.raises(ReplyTimeout, match="no answer to subscribe to trade for BTC/USD within 0.3 s"):
        client.subscribe(TRADE, timeout=0.3)
    exchange.faults.drop_acks = 0

    assert client.active_public_subscriptions == []
    eventually(lambda: exchange.requests("unsubscribe"))
    assert client.subscribe(TRADE).channel == "trade"


def test_missing_ack_is_asked_for_again(client: SpotWSClient, exchange: Simulator) -> None:
    """A lost answer costs a moment, not the subscription."""
    exchange.faults.drop_acks = 1
    stream = client.subscribe(TRADE)
    exchange.step(300, ["BTC/USD"])

    assert stream.get(WAIT)["channel"] == "trade"


def test_late_ack(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """An answer that comes after its request was repeated does no harm."""
    client = new_client(timing=dataclasses.replace(FAST, ack_timeout=0.2, first_data_timeout=0.2))
    exchange.faults.ack_delay = 0.32
    stream = client.subscribe({"channel": "ticker", "symbol": ["BTC/USD"]})

    assert stream.get(WAIT)["type"] == "snapshot"
    assert len(client.active_public_subscriptions) == 1


def test_rate_limit_loses_no_subscription(client: SpotWSClient, exchange: Simulator) -> None:
    """Told to slow down, the client does, and every subscription is made in the end."""
    exchange.faults.message_rate = 2
    streams = [client.trades(symbol) for symbol in ("BTC/USD", "ETH/USD", "SOL/USD", "XRP/USD", "ADA/USD")]

    assert len(client.active_public_subscriptions) == len(streams)


def test_unsubscribe(client: SpotWSClient, exchange: Simulator) -> None:
    """Unsubscribing ends every stream of it; what is not subscribed is refused."""
    first, second = client.subscribe(TRADE), client.subscribe(TRADE)
    client.unsubscribe(TRADE)

    assert list(first) == list(second) == []
    assert client.active_public_subscriptions == []
    with pytest.raises(SubscriptionRefused, match="Subscription Not Found"):
        client.unsubscribe(TRADE)


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


def test_expired_wish_is_unsubscribed() -> None:
    """A subscribe whose answer was late may have been taken: leaving it is told to the exchange."""
    registry, bucket, ids = Registry(Timing()), TokenBucket(10, 10), itertools.count(1).__next__
    ask = channel_params(TRADE)
    registry.want(ask, ask.keys()[0], None, None)
    registry.due(0.0, bucket, ids)
    registry.expire(6.0)
    registry.unwant(ask.keys()[0], None, 0.0)

    assert [request.method for request in registry.due(6.0, bucket, ids)] == ["unsubscribe"]


def test_req_id_is_of_the_subscribe() -> None:
    """The caller's id is not spent on an unsubscribe that happens to be due before."""
    registry, bucket, ids = Registry(Timing()), TokenBucket(10, 10), itertools.count(100).__next__
    ask, key = channel_params(TRADE), channel_params(TRADE).keys()[0]
    registry.want(ask, key, None, None)
    registry.due(0.0, bucket, ids)
    registry.answer(100, S, True, "", b"", 0.1)
    registry.unwant(key, None, 0.0)
    registry.want(ask, key, None, 77)
    sent = [(one.method, one.req_id) for one in registry.due(0.2, bucket, ids)]
    registry.answer(101, S, True, "", b"", 0.3)
    sent += [(one.method, one.req_id) for one in registry.due(0.4, bucket, ids)]

    assert sent == [("unsubscribe", 101), ("subscribe", 77)]


def test_empty_trade_snapshot_is_no_silence(new_client: Callable[..., SpotWSClient]) -> None:
    """A pair in which nothing ever traded has nothing to send, and is not subscribed again and again."""
    requests = []

    def script(sock: socket.socket) -> None:
        greet(sock)
        requests.append(sock.recv(65536))
        sock.sendall(frame(ack(7)) + frame(b'{"channel":"trade","type":"snapshot","data":[]}'))
        while True:
            requests.append(sock.recv(65536))

    with RawServer(script) as server:
        timing = Timing(
            first_data_timeout=0.1, tick=0.02, ping_interval=30, silence_ping=30, silence_abort=60
        )
        client = new_client(ws_url=server.url, timing=timing)
        client.subscribe({**TRADE, "snapshot": True}, 7)
        threading.Event().wait(0.6)

        assert len(requests) == 1


@fact("level3 limits")
@pytest.mark.parametrize(("depth", "at_once"), [(10, 40), (100, 8), (1000, 2)])
def test_level3_is_subscribed_within_its_points(depth: int, at_once: int) -> None:
    """200 points a second: the deeper, the fewer symbols at once; other channels do not wait for them."""
    registry, bucket, ids = Registry(Timing()), TokenBucket(100, 100), itertools.count(1).__next__
    symbols = [f"A{number}/USD" for number in range(200)]
    ask = channel_params({"channel": "level3", "symbol": symbols, "depth": depth})
    keys = ask.keys()
    for key in keys:
        registry.want(ask, key, None, None)
    other = channel_params({"channel": "executions"})
    registry.want(other, other.keys()[0], None, None)

    counts = []
    for second in range(3):
        requests = registry.due(100.0 + second, bucket, ids)
        counts.append([sum(len(one.symbols or []) for one in requests), len(requests)])
    assert counts == [[at_once, 2], [at_once, 1], [at_once, 1]]


@fact("level3 limits")
def test_level3_has_a_limit_of_symbols(trader: SpotWSClient, exchange: Simulator) -> None:
    """More than the exchange takes on one connection is refused here; what it takes is paced, and works."""
    pairs = list(exchange.exchange.markets)
    stream = trader.level3(pairs, depth=100, timeout=WAIT)
    assert set(stream.symbols) == set(pairs)
    with pytest.raises(SubscriptionRefused, match="200 level3 symbols per connection"):
        trader.subscribe({"channel": "level3", "symbol": [f"A{number}/USD" for number in range(201)]})


def test_end_spares_a_later_subscription(
    client: SpotWSClient, exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A subscription made right after the exchange ended one is not taken for that one."""
    told, go_on, real = threading.Event(), threading.Event(), log.error

    def held(message: str, *args: Any, **kwargs: Any) -> None:
        """Hold the I/O thread between the end in the session and that of the streams."""
        if any("was ended by" in str(one) for one in args):
            told.set()
            go_on.wait(WAIT)
        real(message, *args, **kwargs)

    monkeypatch.setattr(log, "error", held)
    client.trades(S)
    exchange.faults.refused.add(S)
    exchange.cut()
    assert told.wait(WAIT)
    exchange.faults.refused.clear()
    again = background(client.trades, S)
    eventually(lambda: len(exchange.requests("subscribe")) == 3)
    go_on.set()
    again["thread"].join(WAIT)
    exchange.step(300, [S])
    assert again["value"].get(WAIT)["symbol"] == S


def test_rate_limit_after_a_lost_ack_freezes_nothing(client: SpotWSClient, exchange: Simulator) -> None:
    """Subscribed without our knowing and refused on the second ask: data are still taken."""
    book, stream = client.book(S), client.subscribe(TRADE)
    exchange.faults.drop_acks, exchange.faults.message_rate = 2, 2
    exchange.cut()
    eventually(lambda: book.state is BookState.LIVE and book.snapshot().generation == 2)
    for _ in range(20):
        exchange.step(50, [S])
        threading.Event().wait(0.05)
        eventually(lambda: book.state is not BookState.LIVE or shown_top(book) == true_top(exchange, S))
    exchange.faults.message_rate = None
    eventually(lambda: len(client.active_public_subscriptions) == 2)
    last = 0
    while stream._entries:
        message = stream.get(0)
        if message["type"] == "gap":
            last = 0
            continue
        for trade in message["data"]:
            assert last in (0, trade["trade_id"] - 1)
            last = trade["trade_id"]


def test_second_unsubscribe_confirms_nothing(client: SpotWSClient, exchange: Simulator) -> None:
    """Each waits for the exchange's own confirmation."""
    client.trades(S)
    exchange.faults.drop_acks = 1000
    first = background(client.unsubscribe, TRADE, timeout=0.3)
    eventually(lambda: exchange.requests("unsubscribe"))
    with pytest.raises(ReplyTimeout):
        client.unsubscribe(TRADE, timeout=0.1)
    first["thread"].join(WAIT)

    assert isinstance(first["error"], ReplyTimeout)


def test_one_id_for_symbols_that_need_requests_of_their_own(
    client: SpotWSClient, exchange: Simulator
) -> None:
    """Books of two depths are unsubscribed with two requests; the caller's id is for both."""
    exchange.faults.ack_delay = 0.05
    small, large = client.book("BTC/USD", 10), client.book("ETH/USD", 100)
    client.unsubscribe({"channel": "book", "symbol": ["BTC/USD", "ETH/USD"]}, 5, timeout=WAIT)
    eventually(lambda: client.stats()["subscriptions"] == 0)

    assert [request["req_id"] for request in exchange.requests("unsubscribe")] == [5, 5]
    assert (str(small.state), str(large.state)) == ("CLOSED", "CLOSED")
