"""One feed for many: readers prove every book themselves, and see whatever is missing, old or dead."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Union

import pytest
import trustme
from conftest import FAST, WAIT, S, eventually, within
from helpers import free_ports, shown_top, true_top

pytest.importorskip("redis")

from redis_server import RedisServer

from kraken_sync import (
    BookNotLive,
    BookState,
    ConnectFailed,
    KrakenError,
    RequestRefused,
    SpotWSClient,
    SubscriptionRefused,
    UnknownSymbol,
)
from kraken_sync.core.wire.channels import Key
from kraken_sync.errors import ConnectionLost
from kraken_sync.shared import Publisher, SharedClient, layout, reading
from kraken_sync.shared.endpoint import RedisEndpoint
from kraken_sync.shared.feed import PublishedFeed
from kraken_sync.shared.layout import Mark, Names
from kraken_sync.shared.line import RedisLine
from kraken_sync.shared.server import connected
from kraken_sync.simulator import Simulator

E = "ETH/USD"
STATUS = b'{"channel":"status","type":"update","data":[{"system": "online"}]}'


@pytest.fixture
def publish(exchange: Simulator, redis: RedisServer) -> Iterator[Callable[..., Publisher]]:
    """Makes publishers in this process, each with a client of its own."""
    made: List[Any] = []

    def make(**options: Any) -> Publisher:
        client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)
        made.append(client)
        publisher = Publisher(client, redis.url, [S, E], **{"depth": 25, **options})
        made.append(publisher)
        return publisher.start()

    yield make
    for one in reversed(made):
        one.close()


@pytest.fixture
def read(redis: RedisServer) -> Iterator[Callable[..., SharedClient]]:
    """Makes readers."""
    made: List[SharedClient] = []

    def make(**options: Any) -> SharedClient:
        made.append(SharedClient(redis.url, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def same(book: Any, exchange: Simulator) -> bool:
    return book.state is BookState.LIVE and shown_top(book) == true_top(exchange, book.symbol)


def test_readers_have_what_the_publisher_has(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """Books, trades, tickers and instruments, for early readers and for late ones."""
    publisher = publish()
    early = read(parse_float=Decimal)
    book, trades = early.book(S, 10), early.trades([S, E])
    assert len(book.bids) == 10
    for _ in range(20):
        exchange.step(40, [S, E])
    late = read()
    books = [book, early.book(E, 25), late.book(S, 25), late.book("eth/usd")]
    for one in books:
        eventually(lambda one=one: same(one, exchange), one.symbol)
    assert late.ticker(S).get(WAIT)["symbol"] == S
    ids = [trades.get(WAIT)["trade_id"] for _ in range(5)]
    assert ids == sorted(ids)
    assert "BTC/USD" in late.symbols("BTC")
    states = book.changes(timeout=WAIT, n=3)
    assert next(states).symbol == S
    exchange.step(5, [S])
    assert next(states).version > 0
    assert early.stats()["mismatched"] == late.stats()["mismatched"] == 0
    assert early.stats()["verified"] > 20
    assert early.gaps() == late.gaps() == []
    assert 0 <= book.age < 5
    assert publisher.in_office
    assert publisher.published > 100


def test_trades_begin_with_the_last_ones(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """With ``snapshot=True`` as at the exchange: the last fifty, and then every further one, each once."""
    exchange.step(400, [S])
    publish(channels=["trade"])
    there = exchange.client(timing=FAST)
    streams = [one.trades(S, snapshot=True) for one in (there, read())]
    ids = [[one.get(WAIT)["trade_id"] for _ in range(50)] for one in streams]
    later = read().trades(S)
    for _ in range(60):
        exchange.trade(S, "buy", 64000, "0.1")
    for one, seen in zip(streams, ids):
        seen += [one.get(WAIT)["trade_id"] for _ in range(60)]
    late = read().trades(S, snapshot=True)
    first = late.get(WAIT)["trade_id"]
    exchange.trade(S, "sell", 63990, "0.2")
    last = first + 50
    assert ids[0] == ids[1] == list(range(last - 110, last))
    assert [late.get(WAIT)["trade_id"] for _ in range(50)] == list(range(first + 1, last + 1))
    assert [later.get(WAIT)["trade_id"] for _ in range(61)] == list(range(last - 60, last + 1))
    there.close()


def test_trades_after_a_gap(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """The publisher's connection is cut: the gap is told once, and what follows begins as asked for."""
    exchange.step(400, [S])
    publish(channels=["trade"])
    client = read()
    new, anew = client.trades(S, gaps=True), client.trades(E, snapshot=True, gaps=True)
    for _ in range(50):
        assert "trade_id" in anew.get(WAIT)
    exchange.cut()
    gap = new.get(WAIT)
    assert gap["type"] == "gap", gap
    assert anew.get(WAIT)["type"] == "gap"
    assert "trade_id" in anew.get(WAIT)
    exchange.trade(S, "buy", 64000, "0.1")
    assert new.get(WAIT)["price"] == 64000
    assert len(client.gaps()) == 2


def test_a_state_that_is_some_seconds_old(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """What a reader begins with is of now all the same, and never for a moment of before."""
    publish(depth=100, channels=["book", "ticker", "ohlc"])
    other, client = read(), read()
    witness = other.book(S, 100)
    for channel in ("ticker", "ohlc"):
        other.subscribe({"channel": channel, "symbol": [S]})
    client.wait_ready()
    for _ in range(5):
        for _ in range(20):
            exchange.step(5, [S])
        eventually(lambda: same(witness, exchange))  # everything is in Redis
        book = client.book(S, 100)
        assert shown_top(book) == true_top(exchange, S)
        book.unsubscribe()
    exchange.trade(S, "buy", "64123.4", "0.1")
    for channel, price in (("ticker", "last"), ("ohlc", "close")):
        eventually(lambda channel=channel, price=price: other.latest(channel, S)[price] == 64123.4)
    with exchange.client(timing=FAST) as there:
        for channel in ("ticker", "ohlc"):
            wanted = {"channel": channel, "symbol": [S], "snapshot": True}
            minute, begun = 0, []
            while minute != time.time() // 60:  # both of the same minute, in which there is no further candle
                minute = int(time.time() // 60)
                begun = [_begun(one, wanted) for one in (there, client)]
            assert begun[0]["type"] == begun[1]["type"] == "snapshot"
            # The time apart, since the exchange's own snapshot is of now.
            last = [{**one["data"][-1], "timestamp": ""} for one in begun]
            assert last[0] == last[1]
            assert len(begun[1]["data"]) == min(60, len(begun[0]["data"]))


def _begun(client: Union[SpotWSClient, SharedClient], wanted: Dict[str, Any]) -> Any:
    first = client.subscribe(wanted).get(WAIT)
    client.unsubscribe(wanted)
    return first


@pytest.mark.slow
def test_a_book_that_trades_contradict(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """The publisher doubts it, so readers do; it is fetched anew, and everything is well again."""
    publish(channels=["book", "trade"])
    client = read()
    book = client.book(S)
    exchange.faults.muted.add(("book", S))
    # The first contradiction has it fetched anew; until the next time that is done, the book is in doubt.
    for words in ("although the symbol trades", "the publisher's book is in doubt"):
        eventually(
            lambda words=words: (
                exchange.trade(S, "buy", 64_000, "0.1")
                or any(words in gap["reason"] for gap in client.gaps())
            )
        )
    exchange.faults.muted.clear()
    exchange.step(20, [S])
    eventually(lambda: same(book, exchange))


def test_few_entries_kept(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """States are written as often as readers need them to begin with what Redis keeps."""
    publish(keep=1)
    book = read().book(S)
    for _ in range(400):
        exchange.step(1, [S])
    eventually(lambda: same(book, exchange))
    late = read()
    assert same(late.book(S), exchange)
    assert late.gaps() == []


def test_what_the_exchange_says_of_itself(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """A maintenance, and the announcement of one, reach readers: no book is LIVE meanwhile."""
    publish()
    client = read()
    book, events = client.book(S), client.events()
    exchange.announce("imminent_5m", advice="stop_new_orders")
    eventually(lambda: client.announcements)
    assert client.announcements[0].urgency == "imminent_5m"
    exchange.set_system("maintenance")
    eventually(lambda: book.state is BookState.STALE)
    with pytest.raises(BookNotLive, match="maintenance"):
        book.snapshot()
    assert {events.get(WAIT)["event"] for _ in range(2)} == {"status"}
    late = read()
    late.start()
    assert late.stats()["system"] == "maintenance"
    exchange.set_system("online")
    eventually(lambda: same(book, exchange))


def test_a_subscription_that_ends_under_the_publisher(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """By the exchange or by the program: readers are told as the exchange tells it, and late ones refused."""
    publisher = publish()
    client = read()
    book, trades, ticker = client.book(S), client.trades(S), client.ticker(S)
    assert ticker.get(WAIT)
    other = client.book(E)
    exchange.end_subscriptions("trade", S)
    exchange.end_subscriptions("book", S)
    publisher._client.unsubscribe({"channel": "ticker", "symbol": [S]})
    for stream in (trades, ticker):
        with pytest.raises(SubscriptionRefused, match="ended by the exchange"):
            while True:
                stream.get(WAIT)
    eventually(lambda: book.state is BookState.CLOSED)
    with pytest.raises(SubscriptionRefused, match="trade:BTC/USD is not published"):
        read().trades(S)
    exchange.step(40, [E])
    eventually(lambda: same(other, exchange))


def test_a_subscription_that_is_made_anew_under_the_publisher(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """What the program unsubscribes and subscribes at once belongs to the publisher no more: readers know."""
    publisher = publish(channels=["book", "trade"])
    client = read()
    book, trades, other = client.book(S), client.trades(S), client.book(E)
    own = publisher._client
    for wanted in ({"channel": "trade"}, {"channel": "book", "depth": 25}):
        own.unsubscribe({**wanted, "symbol": [S]})
        own.subscribe({**wanted, "symbol": [S]})
    with pytest.raises(SubscriptionRefused, match="ended by the exchange"):
        trades.get(WAIT)
    eventually(lambda: book.state is BookState.CLOSED)
    exchange.step(40, [E])
    eventually(lambda: same(other, exchange))


def test_nothing_follows_the_end_of_a_feed() -> None:
    """A message that was on its way when its subscription ended is not published, nor is a gap."""
    feed = PublishedFeed(Key("trade", S), {})
    feed.take(trade(1), False)
    feed.end("why")
    feed.take(trade(2), False)
    feed.interrupt("why not")
    assert [kind for kind, _, _ in feed.writes()] == [layout.FRAMES, layout.ENDED]
    assert feed.state(0.0) is None


def test_the_table_of_pairs_after_many_updates() -> None:
    """A late reader begins with all of it as it is now, in one message, however many updates there were."""

    def message(kind: str, **data: Any) -> bytes:
        return json.dumps({"channel": "instrument", "type": kind, "data": {"assets": [], **data}}).encode()

    def online(symbol: str, number: int) -> Any:
        return {"symbol": symbol, "status": "online", "qty_min": number}

    feed, late = PublishedFeed(Key("instrument"), {}), PublishedFeed(Key("instrument"), {})
    feed.take(message("update", pairs=[online(S, 1)]), False)
    assert feed.state(0.0) is None  # an update alone is no table
    feed.take(message("snapshot", assets=[{"id": "BTC"}], pairs=[online(S, 1), online(E, 2)]), True)
    for number in range(6000):
        feed.take(message("update", pairs=[{"symbol": E, "qty_min": number}]), False)
    feed.take(message("update", assets=[{"id": "NEW"}], pairs=[online("NEW/USD", 3)]), False)
    state = feed.state(0.0)
    assert state is not None
    assert json.loads(state)["data"] == {
        "assets": [{"id": "BTC"}, {"id": "NEW"}],
        "pairs": [online(S, 1), online(E, 5999), online("NEW/USD", 3)],
    }
    assert late.take_all([state])
    assert late.state(0.0) == state
    late.interrupt("a message was lost")
    assert late.state(0.0) is None
    late.take(message("update", pairs=[online(E, 4)]), False)
    state = late.state(0.0)
    assert state is not None
    assert json.loads(state)["data"]["pairs"] == [online(S, 1), online(E, 4), online("NEW/USD", 3)]


def test_another_publisher_with_another_depth(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """A book that it does not publish as before is closed, and says why; it never has wrong levels."""
    first = publish(depth=100)
    client = read()
    book, trades = client.book(S, 100), client.trades(E, gaps=True)
    second = publish(depth=10)
    first.close()
    eventually(lambda: second.in_office)
    eventually(lambda: book.state is BookState.CLOSED)
    with pytest.raises(BookNotLive, match="published with depth=10, not 100"):
        book.snapshot()
    assert trades.get(WAIT)["type"] == "gap"
    new = client.book(S, 10)
    exchange.step(40, [S])
    eventually(lambda: same(new, exchange))


def test_words_of_the_exchange(publish: Callable[..., Publisher], read: Callable[..., SharedClient]) -> None:
    """A pair that does not exist, and a method that is none, are refused as there."""
    publish()
    client = read()
    with pytest.raises(UnknownSymbol, match="'BTC/USDX' is not traded"):
        client.book("BTC/USDX")
    with pytest.raises(UnknownSymbol, match="'XYZ/USD' is not traded"):
        client.subscribe({"channel": "trade", "symbol": ["XYZ/USD"]})
    with pytest.raises(RequestRefused, match="Unsupported event"):
        client.send_message({"method": "foo"})


def test_a_publisher_that_cannot_start(exchange: Simulator, redis: RedisServer) -> None:
    """It leaves nothing behind on the client, and says what ends it."""
    with exchange.client(timing=FAST) as client:
        own = client.ticker(S, event_trigger="bbo")
        with pytest.raises(KrakenError):
            Publisher(client, redis.url, [S, E], depth=25).start()
        assert client.book(S, 100).depth == 100
        own.unsubscribe()
        publisher = Publisher(client, redis.url, [E], channels=["trade"]).start()
        eventually(lambda: publisher.in_office)
    eventually(lambda: publisher.ended)
    assert publisher.trouble == "the client was closed"
    publisher.close()


def test_what_is_not_published(publish: Callable[..., Publisher], read: Callable[..., SharedClient]) -> None:
    """It is told with what there is; and there is no account."""
    publish(channels=["book"])
    client = read()
    with pytest.raises(SubscriptionRefused, match=r"trade:BTC/USD is not published \(there is: book:BTC/USD"):
        client.trades(S)
    with pytest.raises(ValueError, match="published with depth 25, not 100"):
        client.book(S, 100)
    with pytest.raises(SubscriptionRefused, match="published with depth=25, not 10"):
        client.subscribe({"channel": "book", "symbol": [S], "depth": 10})
    for call in (
        lambda: client.add_order(symbol=S, side="buy", order_type="market", order_qty=1),
        lambda: client.rest.time(),
        lambda: client.orders.open,
        lambda: client.level3_book(S),
        lambda: client.request("POST", "/0/private/Balance"),
    ):
        with pytest.raises(KrakenError, match="needs the exchange itself: use a SpotWSClient"):
            call()
    for keep in (0, -5, 2.5, "x", None):
        with pytest.raises(ValueError, match="keep must be a number of entries, 1 or more"):
            publish(keep=keep)


def test_nobody_there(redis: RedisServer, read: Callable[..., SharedClient]) -> None:
    """No publisher, no Redis, a wrong login: each is said."""
    with pytest.raises(ConnectFailed, match="nothing is published as 'kraken'"):
        read().start(1)
    with pytest.raises(ConnectFailed, match="Connection refused|cannot be used"):
        SharedClient("redis://127.0.0.1:9").start(1)
    redis.call("CONFIG", "SET", "requirepass", "secret")
    with pytest.raises(ConnectFailed, match="refuses the login") as caught:
        SharedClient(redis.url.replace("redis://", "redis://:wrong@")).start(1)
    assert "wrong" not in str(caught.value)
    with pytest.raises(ValueError, match="a URL of Redis looks like"):
        SharedClient("http://127.0.0.1")


def over(url: str, exchange: Simulator) -> None:
    """A feed is published and read by this URL."""
    client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)
    with client, Publisher(client, url, [S]), SharedClient(url) as reader:
        book = reader.book(S, 10)
        exchange.step(40, [S])
        eventually(lambda: same(book, exchange))


def test_a_socket_of_this_machine(exchange: Simulator, tmp_path: Path) -> None:
    """``unix://`` names one; it has no host, and what is wrong with it is told."""
    server = RedisServer(tmp_path).start("--unixsocket", str(tmp_path / "redis.sock"))
    try:
        over(f"unix://{tmp_path}/redis.sock", exchange)
    finally:
        server.kill()
    with pytest.raises(ConnectFailed, match=r"Redis at /.*/none\.sock cannot be used: .*No such file"):
        SharedClient(f"unix://{tmp_path}/none.sock").start(1)


def test_tls(exchange: Simulator, tmp_path: Path) -> None:
    """``rediss://`` takes the authority that its URL names, and no certificate that it does not know."""
    authority, port = trustme.CA(), free_ports()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    certificate = authority.issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    own = str(tmp_path / "server.pem")
    files = ["--tls-cert-file", own, "--tls-key-file", own, "--tls-ca-cert-file", str(tmp_path / "ca.pem")]
    server = RedisServer(tmp_path)
    ldd = shutil.which("ldd")
    if ldd is None or b"libssl" not in subprocess.check_output([ldd, server.program]):
        pytest.skip("it is not known that this redis-server was built with TLS")
    server.start("--tls-port", str(port), "--tls-auth-clients", "no", *files)
    try:
        over(f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path}/ca.pem", exchange)
        with within(1), pytest.raises(ConnectFailed, match="(?i)certificate") as caught:
            SharedClient(f"rediss://localhost:{port}/0").start(2 * WAIT)
        assert (caught.value.step, caught.value.permanent) == ("tls", True)
    finally:
        server.kill()


def test_without_redis_py(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is named at once, and not by a thread that dies of it."""
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ImportError, match="this needs redis-py"):
        SharedClient("redis://127.0.0.1")


def test_redis_dies_and_comes_back_empty(
    exchange: Simulator,
    redis: RedisServer,
    publish: Callable[..., Publisher],
    read: Callable[..., SharedClient],
) -> None:
    """Readers are STALE with the cause, and everything heals by itself; so it does after FLUSHALL."""
    publish()
    client = read()
    book = client.book(S)
    trades = client.trades(S)
    redis.kill()
    eventually(lambda: book.state is BookState.STALE)
    with pytest.raises(BookNotLive, match="Redis"):
        book.snapshot()
    exchange.step(50, [S])
    redis.start()
    eventually(lambda: same(book, exchange))
    redis.call("FLUSHALL")
    exchange.step(50, [S])
    eventually(lambda: len(client.gaps()) >= 3)
    eventually(lambda: same(book, exchange))
    assert {gap["channel"] for gap in client.gaps()} == {"book", "trade"}
    assert trades.gaps
    assert client.stats()["mismatched"] == 0


def test_redis_stands_still(
    exchange: Simulator,
    redis: RedisServer,
    publish: Callable[..., Publisher],
    read: Callable[..., SharedClient],
) -> None:
    """A Redis that answers nothing is as good as dead."""
    publish()
    book = read().book(S)
    redis.freeze()
    eventually(lambda: book.state is BookState.STALE)
    redis.go_on()
    exchange.step(20, [S])
    eventually(lambda: same(book, exchange))


def test_a_standby_takes_over(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """One is in office; the other follows within five seconds, and readers begin anew with its books."""
    first = publish()
    second = publish()
    eventually(lambda: second.trouble == "another publisher is in office")
    client = read()
    book = client.book(S)
    first.close()
    ended = time.monotonic()
    eventually(lambda: second.in_office)
    exchange.step(20, [S])
    eventually(lambda: same(book, exchange))
    assert time.monotonic() - ended < 5
    assert any("taken over" in gap["reason"] or "silent" in gap["reason"] for gap in client.gaps())


@pytest.mark.parametrize("where", ["trade:BTC/USD", "pulse"])
def test_the_clock_of_redis_was_put_back(
    exchange: Simulator,
    redis: RedisServer,
    publish: Callable[..., Publisher],
    read: Callable[..., SharedClient],
    where: str,
) -> None:
    """A term is later than all before it, so that Redis takes its entries, and readers do."""
    seconds, _ = redis.call("TIME")
    ahead, names = (int(seconds) + 3600) * 10**6, Names("kraken")
    if where == "pulse":
        redis.call("XADD", names.pulse, "*", "t", ahead, "a", "0", "s", "{}")
    else:
        redis.call("XADD", names.stream(Key("trade", S)), f"{ahead}-5", "k", "frames", "c", "1", "d", "{}")
    publisher = publish(channels=["trade"])
    eventually(lambda: publisher._term == ahead + 1)
    trades = read().trades(S, gaps=True)
    for number in range(3):
        exchange.trade(S, "buy", 64000 + number, "0.1")
    assert [trades.get(WAIT).get("price") for _ in range(3)] == [64000, 64001, 64002]
    assert publisher.in_office


def test_a_book_that_the_publisher_lost(
    exchange: Simulator, publish: Callable[..., Publisher], read: Callable[..., SharedClient]
) -> None:
    """A wrong checksum on the way to the publisher interrupts that book alone."""
    publish()
    client = read()
    book, other = client.book(S), client.book(E)
    exchange.faults.bad_checksum[S] = 1
    exchange.step(5, [S])
    eventually(lambda: any(gap["symbol"] == S for gap in client.gaps()))
    eventually(lambda: same(book, exchange))
    assert other.state is BookState.LIVE
    assert {gap["symbol"] for gap in client.gaps()} == {S}


@pytest.mark.parametrize(
    ("channel", "pattern", "instead"),
    [("ohlc", "interval_begin", "interval_began"), ("book", r'"data":\[(.*)\]', r'"data":[\1,\1]')],
    ids=["candle", "book"],
)
def test_a_message_that_the_publisher_cannot_read(
    exchange: Simulator,
    publish: Callable[..., Publisher],
    read: Callable[..., SharedClient],
    channel: str,
    pattern: str,
    instead: str,
) -> None:
    """A candle without its time, or a book's message with two items, is a gap of that subscription alone."""
    publisher = publish(channels=["book", "ohlc"])
    client = read()
    book, other = client.book(S), client.book(E)
    candles = client.subscribe({"channel": "ohlc", "symbol": [S]})
    head, garbled = f'{{"channel":"{channel}","type":"update"', []

    def garble(text: str) -> str:
        if garbled or not text.startswith(head):
            return text
        garbled.append(re.sub(pattern, instead, text, count=1))
        return garbled[0]

    exchange.faults.garble = garble
    exchange.trade(S, "buy", "64123.4", "0.1")
    exchange.step(5, [S])
    eventually(lambda: any("cannot read a message" in gap["reason"] for gap in client.gaps()))
    exchange.trade(S, "buy", "64123.5", "0.1")
    eventually(lambda: (client.latest("ohlc", S) or {}).get("close") == 64123.5)
    exchange.step(20, [S, E])
    eventually(lambda: same(book, exchange) and same(other, exchange))
    assert {(gap["channel"], gap["symbol"]) for gap in client.gaps()} == {(channel, S)}
    assert bool(candles.gaps) is (channel == "ohlc")
    assert publisher.in_office


def test_what_cannot_be_written_in_time(
    exchange: Simulator,
    redis: RedisServer,
    publish: Callable[..., Publisher],
    read: Callable[..., SharedClient],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While Redis stands still the publisher's own queue is full: dropped, told, and fetched anew."""
    monkeypatch.setattr("kraken_sync.shared.publisher.WAITING", 20)
    publisher = publish()
    client = read()
    book = client.book(S)
    redis.freeze()
    assert publisher._outlet is not None
    eventually(lambda: exchange.step(20, [S]) or publisher._outlet.dropped > 20)
    redis.go_on()
    exchange.step(20, [S])
    eventually(lambda: same(book, exchange))
    assert client.gaps()

    # What has no hole is there for late readers, although the exchange was not asked for anything but books.
    late = read()
    assert late.ticker(S).get(WAIT)["symbol"] == S
    trades = late.trades(S, snapshot=True)
    exchange.trade(S, "buy", "64123.4", "0.1")
    last = trades.get(WAIT)
    ids = [last["trade_id"]]
    while last["price"] != 64123.4:
        last = trades.get(WAIT)
        ids.append(last["trade_id"])
    assert ids == list(range(ids[0], ids[-1] + 1))


PUBLISH = """
import sys, time
from kraken_sync import SpotWSClient
from kraken_sync.shared import Publisher
with SpotWSClient(ws_url=sys.argv[1]) as client, Publisher(client, sys.argv[2], ["BTC/USD"]) as publisher:
    print("publishing", flush=True)
    time.sleep(600)
"""


def test_the_publisher_is_killed_or_frozen(
    exchange: Simulator, redis: RedisServer, read: Callable[..., SharedClient]
) -> None:
    """Within two heartbeats readers know; they go on when somebody publishes again."""

    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, "-c", PUBLISH, exchange.ws_url, redis.url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "publishing\n"
        return process

    process = begin()
    try:
        client = read()
        eventually(lambda: redis.call("EXISTS", Names("kraken").pulse))
        book = client.book(S)
        for end in (signal.SIGSTOP, signal.SIGKILL):
            process.send_signal(end)
            sent = time.monotonic()
            eventually(lambda: book.state is BookState.STALE)
            assert time.monotonic() - sent < 2 * layout.DEAD_AFTER
            with pytest.raises(BookNotLive, match="silent"):
                book.snapshot()
            if end is signal.SIGSTOP:
                process.send_signal(signal.SIGCONT)
            else:
                process.wait()
                process.stdout.close()
                process = begin()
            exchange.step(10, [S])
            eventually(lambda: same(book, exchange))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


READ = """
import sys
from kraken_sync.shared import SharedClient
with SharedClient(sys.argv[1]) as client:
    trades = client.trades("BTC/USD", gaps=True)
    print("reading", flush=True)
    for item in trades:
        print(item.get("trade_id", "gap"), flush=True)
"""


@pytest.mark.slow
def test_a_reader_that_stood_still(
    exchange: Simulator, redis: RedisServer, publish: Callable[..., Publisher]
) -> None:
    """What is still in Redis is read on, without a gap and without a new connection."""
    publish()
    command = [sys.executable, "-c", READ, redis.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stderr is not None
        assert reader.stdout.readline() == "reading\n"
        exchange.trade(S, "buy", 64000, "0.1")
        first = int(reader.stdout.readline())
        reader.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        while time.monotonic() < stopped + layout.DEAD_AFTER + 1:
            exchange.trade(S, "buy", 64000, "0.1")
            time.sleep(0.2)
        reader.send_signal(signal.SIGCONT)
        lines = [reader.stdout.readline().strip() for _ in range(10)]
        reader.kill()
        assert lines == [str(first + number) for number in range(1, 11)]
        assert "lost" not in reader.stderr.read()


# -- the line alone, against entries that a test writes -------------------------------------------


class Scribe:
    """Writes entries of its own into Redis, as a publisher does."""

    def __init__(self, redis: RedisServer) -> None:
        self.redis = connected(redis.url)
        self.names = Names("kraken")
        self.missed: List[Any] = []
        self.line = RedisLine(RedisEndpoint(redis.url, "kraken"), lambda frame: None, self._miss)

    def _miss(self, keys: Any, reason: str) -> None:
        self.missed.append((keys, reason))

    def pulse(self, term: int, age: float = 0.0) -> None:
        self.redis.xadd(self.names.pulse, layout.pulse(term, age, {"system": "online"}))

    def offer(self, **offers: Any) -> None:
        self.redis.hset(self.names.offers, mapping={name: json.dumps(one) for name, one in offers.items()})

    def write(self, key: Key, mark: Mark, *frames: bytes, kind: bytes = layout.FRAMES) -> None:
        fields = layout.entry(kind, layout.joined(list(frames)), len(frames))
        self.redis.xadd(self.names.stream(key), fields, id=str(mark))

    def subscribe(self, key: Key) -> None:
        params = {"channel": key.channel, "symbol": [key.symbol]}
        self.line.send(json.dumps({"method": "subscribe", "req_id": 1, "params": params}).encode(), 1.0)

    def take(self, count: int) -> List[Any]:
        """The next data frames."""
        found: List[bytes] = []
        while len(found) < count:
            found += [
                one for one in self.line.receive() if b'"channel":"trade"' in one and b"result" not in one
            ]
        return found

    def close(self) -> None:
        self.line.dispose()
        self.redis.connection_pool.disconnect()


@pytest.fixture
def scribe(redis: RedisServer) -> Iterator[Scribe]:
    made = Scribe(redis)
    yield made
    made.close()


def trade(number: int) -> bytes:
    return b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","trade_id":%d}]}' % number


def test_holes_and_old_terms(scribe: Scribe) -> None:
    """A hole is told in its place; what is written by a publisher out of office is not passed on."""
    key = Key("trade", S)
    scribe.offer(**{"trade:BTC/USD": {}, "trade:ETH/USD": {}})
    scribe.pulse(10)
    scribe.line.connect(time.monotonic() + WAIT)
    assert scribe.line.receive() == [STATUS]
    scribe.subscribe(key)
    assert b'"success": true' in scribe.line.receive()[0]
    scribe.write(key, Mark(10, 2), trade(1), trade(2))
    assert scribe.take(2) == [trade(1), trade(2)]
    scribe.write(key, Mark(10, 5), trade(5))
    scribe.write(key, Mark(10, 6), trade(6))
    assert scribe.take(2) == [trade(5), trade(6)]
    assert [(keys, reason[:24]) for keys, reason in scribe.missed] == [((key,), "2 messages are no longer")]
    scribe.write(key, Mark(11, 1), trade(7))
    assert scribe.take(1) == [trade(7)]
    assert scribe.missed[1] == ((key,), "another publisher has taken over")
    with pytest.raises(Exception, match="equal or smaller"):
        scribe.write(key, Mark(10, 7), trade(8))
    scribe.write(key, Mark(11, 2), trade(9))
    assert scribe.take(1) == [trade(9)]
    assert len(scribe.missed) == 2


def test_entries_behind_the_end(scribe: Scribe) -> None:
    """What a later publisher writes into the stream of a subscription that has ended is passed over."""
    key, other = Key("trade", S), Key("trade", E)
    scribe.offer(**{"trade:BTC/USD": {}, "trade:ETH/USD": {}})
    scribe.pulse(10)
    scribe.line.connect(time.monotonic() + WAIT)
    scribe.subscribe(key)
    scribe.subscribe(other)
    assert len(scribe.line.receive()) == 3
    scribe.write(key, Mark(10, 1), b"why", kind=layout.ENDED)
    scribe.write(key, Mark(11, 1), trade(1))
    scribe.write(other, Mark(11, 1), trade(2))
    assert scribe.line.receive() == [reading.ended(key)]
    assert scribe.take(1) == [trade(2)]
    assert scribe.missed == [((other,), "another publisher has taken over")]


@pytest.mark.parametrize("lost", [0, 2])
@pytest.mark.parametrize("before", [0, 1], ids=["no trade yet", "trades of a term before"])
def test_the_beginning_of_trades(scribe: Scribe, before: int, lost: int) -> None:
    """What was written after the reader had begun, and is not there any more, is missing; nothing else is."""
    key = Key("trade", S)
    if before:
        scribe.write(key, Mark(50, 7), trade(0))
    scribe.pulse(100)
    scribe.offer(**{"trade:BTC/USD": {}})
    scribe.line.connect(time.monotonic() + 5)
    scribe.subscribe(key)
    scribe.line.receive()
    scribe.write(key, Mark(100, lost + 1), trade(1))
    assert scribe.take(1) == [trade(1)]
    told = [reason for _, reason in scribe.missed]
    assert told == (["2 messages are no longer in Redis (read too late, or lost)"] if lost else [])


def test_a_pong_is_a_proof_from_the_exchange(scribe: Scribe) -> None:
    """It needs a heartbeat whose own proof is younger than the ping."""
    scribe.pulse(10)
    with pytest.raises(ConnectFailed, match="not told yet what it publishes"):
        scribe.line.connect(time.monotonic() + WAIT)
    scribe.offer(**{"trade:BTC/USD": {}})
    scribe.line.connect(time.monotonic() + WAIT)
    assert scribe.line.receive() == [STATUS]
    scribe.line.send(b'{"method":"ping","req_id":4}', 1.0)
    scribe.pulse(10, age=30.0)
    scribe.pulse(9, age=0.0)
    assert scribe.line.receive() == [b'{"channel":"heartbeat"}']
    time.sleep(0.01)  # the ids of Redis count milliseconds
    scribe.pulse(10, age=0.0)
    assert scribe.line.receive() == [b'{"channel":"heartbeat"}', b'{"method":"pong","req_id":4}']


def test_silence(scribe: Scribe) -> None:
    """A publisher that says nothing is dead, though Redis answers."""
    scribe.offer(**{"trade:BTC/USD": {}})
    scribe.pulse(10)
    scribe.line.connect(time.monotonic() + WAIT)
    assert scribe.line.receive() == [STATUS]
    begun = time.monotonic()
    with pytest.raises(ConnectionLost, match="the publisher has been silent"):
        scribe.line.receive()
    assert layout.DEAD_AFTER <= time.monotonic() - begun < layout.DEAD_AFTER + 1
    again = RedisLine(RedisEndpoint(scribe.line._feed.url, "kraken"), lambda frame: None, scribe._miss)
    with pytest.raises(ConnectFailed, match="last heartbeat is"):
        again.connect(time.monotonic() + WAIT)
    again.dispose()


def test_a_state_that_was_changed() -> None:
    """Levels below the tenth are beyond the checksum; the seal covers them."""
    fields = {
        name.encode(): value if isinstance(value, bytes) else value.encode()
        for name, value in layout.state(Mark(1, 2), b"levels").items()
    }
    assert layout.state_of(fields) == (Mark(1, 2), b"levels")
    assert layout.state_of({**fields, b"d": b"other levels"}) is None
    assert layout.state_of({**fields, b"m": b"1-3"}) is None
    assert layout.state_of({}) is None
