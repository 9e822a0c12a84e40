"""Faults of the line and of the exchange: noticed in time, told, and repaired without the caller."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from typing import Any, Callable, List

import pytest
from conftest import FAST, PINGING, WAIT, eventually
from facts import fact
from helpers import TRADE, true_top
from raw_server import RawServer, drain, frame, greet

from kraken_sync import (
    BookNotLive,
    BookState,
    ConnectFailed,
    ConnectionLost,
    ReplyTimeout,
    SpotWSClient,
    StreamOverflow,
    SubscriptionRefused,
    Timing,
    WSState,
    set_connection_budget,
)
from kraken_sync.io import budget
from kraken_sync.simulator import Simulator


@pytest.mark.parametrize("fault", ["mute", "half_frame"])
def test_silence_ends_the_connection(client: SpotWSClient, exchange: Simulator, fault: str) -> None:
    """No complete frame for a while: pinged, then given up, then everything comes back."""
    book = client.book("BTC/USD")
    exchange.faults.refuse_connections = 10**6
    started = time.monotonic()
    if fault == "mute":
        exchange.faults.mute = True
    else:
        exchange.half_frame()
    eventually(lambda: book.state is BookState.STALE, "STALE")
    waited = time.monotonic() - started
    eventually(lambda: client.state is WSState.RECONNECTING)
    exchange.faults.refuse_connections = 0
    if fault == "mute":  # of every connection; half a frame is of those that there were
        exchange.faults.mute = False

    assert FAST.stale_after - FAST.ping_interval <= waited <= FAST.stale_after + 2
    book.wait_until(lambda state: state.generation == 2, timeout=WAIT)
    assert "silent for" in client.gaps()[0]["reason"]
    assert exchange.connections == 2


def test_dead_outgoing_side(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Data come in, but no ping is answered: the connection is given up."""
    client = new_client(timing=PINGING)
    client.book("XMR/BTC")
    exchange.faults.drop_pongs = True
    eventually(lambda: exchange.connections == 2)
    exchange.faults.drop_pongs = False
    eventually(lambda: client.gaps())

    assert "pings unanswered" in client.gaps()[0]["reason"]


def test_quiet_pair_is_not_dead(client: SpotWSClient, exchange: Simulator) -> None:
    """A pair without a single change lives on heartbeats, and its book stays LIVE."""
    book = client.book("XMR/BTC")
    end = time.monotonic() + FAST.silence_abort * 1.5
    while time.monotonic() < end:
        assert book.state is BookState.LIVE
        threading.Event().wait(0.1)

    assert exchange.connections == 1
    assert client.stats()["book_messages"] == 1


def test_unsubscribed_connection_is_kept(new_client: Callable[..., SpotWSClient]) -> None:
    """Without any subscription our pings keep the exchange from dropping us."""
    with Simulator(rate=0, idle_timeout=2.0) as exchange:
        client = new_client(ws_url=exchange.ws_url, timing=PINGING)
        client.start()
        eventually(lambda: client.stats()["pings"] >= 4)

        assert exchange.connections == 1
        assert client.send_message({"method": "ping"})["method"] == "pong"


@fact("close codes")
@pytest.mark.parametrize("code", [1000, 1001, 1011, 1012, 1013])
def test_close_codes(client: SpotWSClient, exchange: Simulator, code: int) -> None:
    """Whatever the reason of a close, it is told, and everything wished is restored."""
    stream = client.subscribe(TRADE)
    exchange.close_all(code, "restarting")
    eventually(lambda: client.stats()["reconnects"] == 1)
    gap = stream.get(WAIT)

    assert gap["type"] == "gap"
    assert gap["data"][0]["reason"] == f"closed by the exchange ({code}: restarting)"
    exchange.step(300, ["BTC/USD"])
    assert stream.get(WAIT)["type"] == "update"


@fact("close codes")
def test_a_policy_violation_is_final(client: SpotWSClient, exchange: Simulator) -> None:
    """Close code 1008 says that the exchange does not want this client: it does not come back by itself."""
    stream, book = client.subscribe(TRADE), client.book("BTC/USD")
    exchange.close_all(1008, "go away")

    with pytest.raises(ConnectionLost, match=r"1008: go away") as caught:
        while True:
            stream.get(WAIT)
    assert caught.value.code == 1008
    assert (client.state, book.state, exchange.connections) == ("ERROR", BookState.STALE, 1)
    client.start()  # whoever asks gets another attempt
    assert client.book("BTC/USD").state is BookState.LIVE


@fact("refused upgrades")
@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_a_refusal_that_will_not_change(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, status: int
) -> None:
    """Such a status at the upgrade is final at the first connection; one that has worked tries again."""
    exchange.faults.refuse_status, exchange.faults.refuse_connections = status, 2
    with pytest.raises(ConnectFailed, match=f"HTTP status {status}: ") as caught:
        new_client(ws_url=exchange.ws_url).start()

    assert (caught.value.permanent, exchange.faults.refuse_connections) == (True, 1)
    exchange.faults.refuse_connections = 0
    client = new_client(ws_url=exchange.ws_url)
    client.start()
    exchange.faults.refuse_connections = 2
    exchange.cut()
    eventually(lambda: client.stats()["reconnects"] == 1)
    assert exchange.faults.refuse_connections == 0


def test_exactly_one_gap_per_outage(client: SpotWSClient, exchange: Simulator) -> None:
    """N cuts leave exactly N gaps in every stream, each before the first message after it."""
    stream = client.subscribe(TRADE)
    book = client.book("ETH/USD")
    for outage in range(1, 6):
        exchange.step(200, ["BTC/USD"])
        exchange.cut()
        eventually(lambda outage=outage: client.stats()["reconnects"] == outage)
        book.wait_until(lambda state, n=outage: state.generation == n + 1, timeout=WAIT)
        eventually(lambda: len(client.active_public_subscriptions) == 2)
    exchange.step(200, ["BTC/USD"])
    kinds, last = [], 0
    while kinds.count("gap") < 5 or kinds[-1] == "gap":
        message = stream.get(WAIT)
        kinds.append(message["type"])
        for trade in message["data"]:
            if "trade_id" in trade:
                assert trade["trade_id"] > last
                last = trade["trade_id"]

    assert [kind for kind, before in zip(kinds, ["", *kinds]) if kind != before] == ["update", "gap"] * 5 + [
        "update"
    ]
    assert len(stream.gaps) == 5
    assert len(client.gaps()) == 10


def test_shorthand_keeps_gaps_out_of_the_loop(client: SpotWSClient, exchange: Simulator) -> None:
    """Items only, unless gaps are asked for; they are counted either way."""
    plain, telling = client.trades("BTC/USD"), client.trades("BTC/USD", gaps=True)
    exchange.cut()
    eventually(lambda: plain.gaps and telling.gaps)
    exchange.step(300, ["BTC/USD"])

    assert "trade_id" in plain.get(WAIT)
    assert telling.get(WAIT)["type"] == "gap"
    assert "trade_id" in telling.get(WAIT)


def test_refused_after_a_reconnect(client: SpotWSClient, exchange: Simulator) -> None:
    """A symbol that the exchange refuses on the way back ends its stream and its book, loudly."""
    doge, btc = client.trades("DOGE/USD"), client.trades("BTC/USD")
    book = client.book("DOGE/USD")
    exchange.faults.refused.add("DOGE/USD")
    exchange.cut()
    with pytest.raises(SubscriptionRefused, match="Currency pair not supported DOGE/USD"):
        doge.get(WAIT)
    eventually(lambda: book.state is BookState.CLOSED)
    eventually(lambda: len(client.active_public_subscriptions) == 1)
    exchange.step(300, ["BTC/USD"])

    assert btc.get(WAIT)["symbol"] == "BTC/USD"


def test_subscribe_while_down(client: SpotWSClient, exchange: Simulator) -> None:
    """A call made during an outage waits for its end, and succeeds."""
    exchange.faults.refuse_connections = 5
    exchange.cut()
    eventually(lambda: client.state is WSState.RECONNECTING)

    assert client.book("BTC/USD").state is BookState.LIVE


def test_restarted_exchange(new_client: Callable[..., SpotWSClient]) -> None:
    """The exchange goes away for good and another comes: books are back, nobody touched the client."""
    exchange = Simulator(rate=0, heartbeat_interval=0.25).start()
    client = new_client(ws_url=exchange.ws_url)
    book = client.book("BTC/USD")
    exchange.stop()
    eventually(lambda: book.state is BookState.STALE)
    exchange.start()
    book.wait_until(lambda state: state.generation == 2, timeout=WAIT)
    exchange.stop()


def test_maintenance_is_told(
    client: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A change of the engine's status is logged and shown; books are STALE while nothing can trade."""
    book = client.book("BTC/USD")
    with caplog.at_level(logging.WARNING, "kraken_sync"):
        exchange.set_system("maintenance")
        eventually(lambda: client.stats()["system"] == "maintenance")
        eventually(lambda: any("maintenance" in record.getMessage() for record in caplog.records))
    with pytest.raises(BookNotLive, match="the exchange is in maintenance"):
        _ = book.best_bid
    assert book.stale.best_bid is not None

    exchange.set_system("online")
    eventually(lambda: book.state is BookState.LIVE)


def test_connection_error_object(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """The exchange's error about the connection itself is an object; its words reach the caller."""
    exchange.faults.connection_error = "You have reached maximum capacity for WebSocket connections."
    exchange.faults.no_status = True
    client = new_client()
    timer = threading.Timer(0.3, exchange.cut)
    timer.start()
    with pytest.raises(ConnectFailed, match="reached maximum capacity") as caught:
        client.start(timeout=1.0)
    timer.join()

    assert isinstance(caught.value, ConnectionError)


def test_frames_that_name_nothing_are_gaps_of_everything(client: SpotWSClient, exchange: Simulator) -> None:
    """Books are fetched anew, streams say that something is missing; three in ten seconds end it."""
    book, stream = client.book("BTC/USD"), client.subscribe(TRADE)
    exchange.send_text("CloudFlare WebSocket proxy restarting")
    assert "cannot be read" in stream.get(WAIT)["data"][0]["reason"]
    book.wait_until(lambda state: state.generation == 2, timeout=WAIT)
    exchange.send_text("[" * 5000)
    exchange.step(300, ["BTC/USD"])
    assert [stream.get(WAIT)["type"] for _ in range(2)] == ["gap", "update"]
    assert client.stats()["malformed"] == 2
    assert client.stats()["reconnects"] == 0
    exchange.send_text('{"new":1}')
    eventually(lambda: client.stats()["reconnects"] == 1)

    assert any("malformed" in gap["reason"] for gap in eventually(client.gaps))


@pytest.mark.parametrize(
    "garbled",
    [
        lambda frame: frame[: len(frame) // 2],
        lambda frame: frame.replace('"bids"', '"bidz"'),
        lambda frame: frame.replace('"price"', '"prise"', 1),
        lambda frame: re.sub(r'"checksum":(\d+)', r'"checksum":"\1"', frame),
        lambda frame: re.sub(r'"checksum":\d+', '"checksum":null', frame),
        lambda frame: re.sub(r',"checksum":\d+', "", frame),
        lambda frame: frame.replace('"update"', '"updete"'),
        lambda frame: frame.replace('"book"', '"bopk"'),
        lambda frame: frame.replace('"data"', '"date"'),
        lambda frame: frame.replace('"symbol":"BTC/USD"', '"symbol":7'),
        lambda frame: re.sub(r'"qty":[\d.]+', '"qty":NaN', frame, count=1),
    ],
)
def test_an_unreadable_update_is_never_passed_over(
    client: SpotWSClient, exchange: Simulator, garbled: Callable[[str], str]
) -> None:
    """The update was not applied, so the book is not LIVE until a fresh snapshot; others are not touched."""
    deep, other = client.book("BTC/USD", 100), client.book("ETH/USD")
    before, sent = deep.snapshot(), []

    def garble(frame: str) -> str:
        if not frame.startswith('{"channel":"book","type":"update"') or "BTC/USD" not in frame:
            return frame
        sent.append(garbled(frame))
        assert sent[-1] != frame
        return sent[-1]

    exchange.faults.garble = garble
    while not sent:
        exchange.step(1, ["BTC/USD"])
    exchange.faults.garble = None
    fresh = deep.wait_until(lambda state: state.generation > before.generation, timeout=WAIT)
    assert [[tuple(level) for level in side[:10]] for side in (fresh.bids, fresh.asks)] == true_top(
        exchange, "BTC/USD"
    )
    assert deep.symbol in {gap["symbol"] for gap in client.gaps()}
    if all(word in sent[0] for word in ('"book"', '"BTC/USD"', '"data"')):
        assert other.snapshot().generation == 1


def test_one_symbol_never_ends_the_connection(client: SpotWSClient, exchange: Simulator) -> None:
    """However often its frames cannot be read, other books go on."""
    other = client.book("ETH/USD")
    client.book("BTC/USD")
    for _ in range(6):
        exchange.send_text('{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[]}]}')
    client.send_message({"method": "ping"})
    exchange.step(50, ["ETH/USD"])

    assert other.snapshot().generation == 1
    assert exchange.connections == 1


def test_unknown_messages_are_passed_on(client: SpotWSClient, exchange: Simulator) -> None:
    """What is new to us goes to those who read everything. What names nothing counts as unreadable."""
    messages = client.messages
    for text in (
        '{"channel":"novel","type":"update","data":[1]}',
        '{"new":1}',
        '{"method":"hm","req_id":"x"}',
    ):
        exchange.send_text(text)
        assert messages.get(WAIT) == json.loads(text)

    assert client.stats()["malformed"] == 1, "the one that has neither a channel nor a method"
    assert client.stats()["reconnects"] == 0


def test_slow_reader(client: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """A slow reader loses the oldest, finds a marker with the count in their place, and is warned once."""
    with caplog.at_level(logging.WARNING, "kraken_sync"):
        stream = client.subscribe({"channel": "book", "symbol": ["BTC/USD"]}, maxlen=5)
        for _ in range(100):
            exchange.step(10, ["BTC/USD"])
        client.send_message({"method": "ping"})  # its reply comes after everything sent before
    total = client.stats()["book_messages"]
    first = stream.get(WAIT)
    rest = [stream.get(WAIT) for _ in range(5)]

    assert first["type"] == "gap"
    assert first["data"][0]["symbol"] == "BTC/USD"
    assert first["data"][0]["reason"] == "slow reader"
    assert first["data"][0]["dropped"] == stream.dropped == total - len(rest)
    assert [message["type"] for message in rest] == ["update"] * 5
    client.close()  # which waits for the log's thread
    assert len([record for record in caplog.records if "slow" in record.getMessage()]) == 1


def test_policies(client: SpotWSClient, exchange: Simulator) -> None:
    """``conflate`` keeps the latest of each symbol, ``raise`` makes the loss an error."""
    latest = client.subscribe(
        {"channel": "ticker", "symbol": ["BTC/USD", "ETH/USD"], "event_trigger": "bbo"}, policy="conflate"
    )
    strict = client.subscribe(TRADE, policy="raise", maxlen=2)
    for _ in range(400):
        exchange.step(5, ["BTC/USD", "ETH/USD"])
    eventually(lambda: strict.dropped > 3)
    client.send_message({"method": "ping"})

    assert {latest.get(WAIT)["data"][0]["symbol"] for _ in range(2)} == {"BTC/USD", "ETH/USD"}
    with pytest.raises(StreamOverflow) as caught:
        strict.get(WAIT)
    assert caught.value.dropped == strict.dropped
    assert strict.get(WAIT)["channel"] == "trade"
    with pytest.raises(ValueError, match="policy"):
        client.subscribe(TRADE, policy="drop")


def test_budget(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """The process never makes more attempts than allowed, and says what it waits for."""
    set_connection_budget(3, 3600.0)
    try:
        client = new_client()
        client.start()
        for _ in range(2):
            number = exchange.connections
            exchange.cut()
            eventually(lambda n=number: exchange.connections == n + 1)
            eventually(lambda: client.state is WSState.CONNECTED)
        exchange.cut()
        with pytest.raises(ReplyTimeout, match="there is no connection"):
            client.subscribe(TRADE, timeout=0.5)
        assert exchange.connections == 3
        with pytest.raises(ConnectFailed, match="budget"):
            new_client().start(timeout=0.3)
        assert budget.used("127.0.0.1", int(exchange.ws_url.rpartition(":")[2])) == 3
    finally:
        set_connection_budget()


def test_attempts_are_spaced(new_client: Callable[..., SpotWSClient]) -> None:
    """An exchange that accepts and hangs up at once is not hammered."""
    with RawServer(lambda sock: sock.close()) as server:
        client = new_client(ws_url=server.url, timing=Timing(first_retry=0.2, retry_base=0.2, retry_cap=5.0))
        with pytest.raises(ConnectFailed):
            client.start(timeout=2.0)

        assert server.accepted <= 15


def test_slow_snapshot_is_alive(new_client: Callable[..., SpotWSClient]) -> None:
    """A message that takes longer than the silence limit is no silence while its bytes keep coming."""
    body = b'{"channel":"ticker","type":"snapshot","data":[{"symbol":"BTC/USD","last":1.0}]}'
    padded = body[:-1] + b" " * 120 + body[-1:]

    def script(sock: socket.socket) -> None:
        greet(sock)
        sock.recv(65536)
        ack = b'{"method":"subscribe","req_id":7,"result":{"symbol":"BTC/USD"},"success":true}'
        sock.sendall(frame(ack) + frame(padded)[:50])
        for at in range(50, len(frame(padded)), 8):
            threading.Event().wait(0.08)
            sock.sendall(frame(padded)[at : at + 8])
        drain(sock)

    with RawServer(script) as server:
        timing = Timing(silence_ping=0.5, silence_abort=1.0, first_data_timeout=30, tick=0.02)
        client = new_client(ws_url=server.url, timing=timing)
        stream = client.subscribe({"channel": "ticker", "symbol": ["BTC/USD"]}, req_id=7)

        assert stream.get(WAIT)["type"] == "snapshot"
        assert server.accepted == 1


def test_data_before_the_answer(new_client: Callable[..., SpotWSClient]) -> None:
    """Answers out of order, and data before their answer, are matched all the same."""

    def script(sock: socket.socket) -> None:
        greet(sock)
        sock.recv(65536)
        for text in (
            '{"channel":"trade","type":"update","data":[{"symbol":"ETH/USD","trade_id":1}]}',
            '{"method":"subscribe","req_id":7,"result":{"channel":"trade","symbol":"ETH/USD"},"success":true}',
            '{"error":"Currency pair not supported X/Y","method":"subscribe","req_id":99,"success":false}',
            '{"method":"subscribe","req_id":7,"result":{"channel":"trade","symbol":"BTC/USD"},"success":true}',
        ):
            sock.sendall(frame(text.encode()))
        drain(sock)

    with RawServer(script) as server:
        client = new_client(ws_url=server.url)
        stream = client.subscribe({"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"]}, req_id=7)

        assert stream.get(WAIT)["data"][0]["trade_id"] == 1
        assert client.stats()["late_replies"] == 1


def test_many_threads(client: SpotWSClient, exchange: Simulator) -> None:
    """Many threads subscribe, read and leave at once while the line is cut: nothing hangs or is lost."""
    symbols = [symbol for symbol, market in exchange.exchange.markets.items() if market.pair.activity]
    errors: list = []
    stop = threading.Event()

    def work(number: int) -> None:
        symbol = symbols[number % len(symbols)]
        try:
            while not stop.is_set():
                with client.ticker(symbol, event_trigger="bbo") as stream:
                    stream.get(WAIT)
                book = client.book(symbol)
                book.wait_until(lambda state: True, timeout=WAIT)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        for _ in range(20):
            exchange.step(20)
        number = client.stats()["reconnects"]
        exchange.cut()
        eventually(lambda n=number: client.stats()["reconnects"] > n)
    stop.set()
    for thread in threads:
        thread.join(WAIT)

    assert not any(thread.is_alive() for thread in threads)
    assert errors == []


def test_reader_thread_fault_is_not_silent(
    client: SpotWSClient, exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of our own in the I/O thread ends in an error that everybody is told, not in silence."""
    stream = client.subscribe(TRADE)
    connection: Any = stream._connection

    def broken(frames: List[bytes], now: float) -> Any:
        raise RuntimeError("a bug")

    monkeypatch.setattr(connection._room.session, "receive_run", broken)
    exchange.step(300, ["BTC/USD"])
    eventually(lambda: client.exception_occur)

    assert client.state is WSState.ERROR
    with pytest.raises(ConnectionError, match="internal error"):
        stream.get(WAIT)
    with pytest.raises(ConnectionError, match="internal error"):
        client.book("BTC/USD")
