"""Faults that were found and mended, each with the test that would have caught it."""

from __future__ import annotations

import gc
import itertools
import logging
import os
import queue
import random
import signal
import socket
import threading
import time
import warnings
import weakref
from decimal import Decimal
from typing import Any, Callable, Dict

import pytest
from conftest import FAST, WAIT, eventually
from kraken_sync.core.book.book.sync import BookSync
from kraken_sync.core.session.session.liveness import Liveness
from kraken_sync.core.session.session.registry import Registry
from raw_server import RawServer, drain, frame, greet

from kraken_sync import (
    BookNotLive,
    BookState,
    ClientClosed,
    ConnectFailed,
    ReplyTimeout,
    SpotWSClient,
    SubscriptionRefused,
    Timing,
    WSState,
)
from kraken_sync.core.session.session import Session
from kraken_sync.core.timing import TokenBucket
from kraken_sync.core.wire.channels import Key, check
from kraken_sync.core.wire.messages import gap_frame
from kraken_sync.io import budget
from kraken_sync.io.condition import Condition
from kraken_sync.io.dial import Target
from kraken_sync.io.streams import Stream
from kraken_sync.io.transport import Transport
from kraken_sync.io.watchdog import Watchdog
from kraken_sync.simulator import Simulator

S = "BTC/USD"
BOOK = {"channel": "book", "symbol": [S]}
TRADE = {"channel": "trade", "symbol": [S]}


def background(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Dict[str, Any]:
    """Run in a thread: its ``value`` or ``error`` appear in the dict, the ``thread`` is in it."""
    result: Dict[str, Any] = {}

    def run() -> None:
        try:
            result["value"] = function(*args, **kwargs)
        except BaseException as error:
            result["error"] = error

    result["thread"] = threading.Thread(target=run, daemon=True)
    result["thread"].start()
    return result


def ack(req_id: int, symbol: str = S) -> bytes:
    return b'{"method":"subscribe","req_id":%d,"result":{"symbol":"%s"},"success":true}' % (
        req_id,
        symbol.encode(),
    )


# -- books ---------------------------------------------------------------------------------------


def test_unsubscribed_book_is_never_live_again(client: SpotWSClient, exchange: Simulator) -> None:
    """A new book of a symbol just left is another one: never the old levels under a LIVE."""
    exchange.faults.ack_delay = 0.1
    old = client.book(S)
    exchange.faults.no_snapshot[S] = 1
    old.unsubscribe()
    exchange.step(300, [S])
    new = client.book(S)

    assert old.state is BookState.CLOSED
    assert new.snapshot().generation == 1
    eventually(
        lambda: [int(level.price * 10) for level in new.bids] == [p for p, _ in exchange.top(S, 10)[0]]
    )


def test_book_closes_before_the_exchange_confirms(client: SpotWSClient, exchange: Simulator) -> None:
    """From unsubscribe on nothing is applied, so the book is CLOSED at once."""
    book = client.book(S)
    exchange.faults.drop_acks = 99
    with pytest.raises(ReplyTimeout):
        client.unsubscribe(BOOK, timeout=0.2)

    assert book.state is BookState.CLOSED


def test_lost_ack_does_not_freeze_a_live_book() -> None:
    """A book that got its snapshot but not its ack goes on taking updates while it asks again."""
    session = Session(Timing())
    session.opened(0.0)
    session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
    session.subscribe_book(check({**BOOK, "depth": 10}))
    session.due(0.0, 0.0, None)
    book = b'{"channel":"book","type":"%s","data":[{"symbol":"BTC/USD","bids":[%s],"asks":[],"checksum":%d}]}'
    session.receive(book % (b"snapshot", b'{"price":100,"qty":1.00000000}', 681636827), 0.1)
    session.due(6.0, 6.0, None)
    session.due(7.0, 7.0, None)
    session.receive(book % (b"update", b'{"price":100,"qty":0.00000000}', 0), 7.1)
    sync = session.book(S)

    assert sync is not None
    assert sync.live
    assert dict(sync.book.bids) == {}


def test_timed_out_book_spares_another_caller(client: SpotWSClient, exchange: Simulator) -> None:
    """Two callers wait for one book; the impatient one gives up, the other gets it."""
    exchange.faults.no_snapshot[S] = 1
    patient = background(client.book, S, timeout=WAIT)
    with pytest.raises(BookNotLive):
        client.book(S, timeout=0.2)
    patient["thread"].join(WAIT)

    assert patient["value"].state is BookState.LIVE


def test_waiting_book_is_told_when_it_is_unsubscribed(client: SpotWSClient, exchange: Simulator) -> None:
    """Whoever waits for a first snapshot without a timeout is let go when it cannot come."""
    exchange.faults.no_snapshot[S] = 1000
    waiting = background(client.book, S, timeout=None)
    eventually(lambda: client.active_public_subscriptions)
    client.unsubscribe(BOOK)
    waiting["thread"].join(WAIT)

    assert isinstance(waiting["error"], BookNotLive)


def test_closed_books_do_not_count_as_holders(client: SpotWSClient) -> None:
    """A book that was closed long ago does not keep another from unsubscribing."""
    first = client.book(S, 10)
    client.unsubscribe(BOOK)
    client.book(S, 25).unsubscribe()
    eventually(lambda: client.active_public_subscriptions == [])

    assert first.state is BookState.CLOSED


def test_unsubscribe_during_backoff(client: SpotWSClient, exchange: Simulator) -> None:
    """A symbol that waits for its next resync can be left at once."""
    client.book(S)
    exchange.faults.bad_snapshot[S] = exchange.faults.bad_checksum[S] = 1000
    exchange.step(100, [S])
    eventually(lambda: client.stats()["mismatched"] >= 3)

    client.unsubscribe(BOOK, timeout=2.0)


def test_resync_backoff_grows_to_the_end() -> None:
    """Waiting for a resync is not being LIVE, so it does not reset the backoff."""
    sync, now, waits = BookSync(S, 10), 1000.0, []
    for _ in range(10):
        waits.append(sync.resync_delay(now))
        now += waits[-1] + 0.1

    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_frames_that_are_gone_do_not_fix_the_depth(client: SpotWSClient) -> None:
    """Once raw frames are unsubscribed, a book may have any depth again."""
    frames = client.subscribe({**BOOK, "depth": 10})
    small = client.book(S)
    frames.unsubscribe()
    large = client.book(S, 25)

    assert len(large.bids) == 25
    assert small.state is BookState.LIVE
    client.subscribe({**BOOK, "depth": 25}).unsubscribe()
    assert len(client.book(S, 100).bids) == 100


def test_stale_readers_keep_the_last_state(client: SpotWSClient, exchange: Simulator) -> None:
    """Asking for more levels empties no view; versions only rise."""
    small = client.book(S)
    before = small.snapshot()
    exchange.faults.ack_delay = 0.3
    growing = background(client.book, S, 100)
    eventually(lambda: small.state is BookState.RESYNCING)

    assert small.stale.bids == before.bids
    growing["thread"].join(WAIT)
    assert small.snapshot().version > before.version


def test_age_is_of_the_book(client: SpotWSClient, exchange: Simulator) -> None:
    """The age of a book that is not live grows, whatever else its connection receives."""
    book, _ = client.book(S), client.book("ETH/USD")
    exchange.faults.bad_snapshot[S] = exchange.faults.bad_checksum[S] = 1000
    exchange.step(100, [S])
    eventually(lambda: book.state is BookState.RESYNCING)
    eventually(lambda: book.age > 0.5)
    exchange.step(100, ["ETH/USD"])

    assert book.age > 0.5
    assert book.stale.snapshot().age > 0.5


def test_wait_until_ends_although_the_book_moves(new_client: Callable[..., SpotWSClient]) -> None:
    """A predicate slower than the feed does not outlast the timeout."""
    with Simulator(rate=2000) as exchange:
        book = new_client(ws_url=exchange.ws_url).book(S)
        pause, started = threading.Event(), time.monotonic()
        with pytest.raises(ReplyTimeout):
            book.wait_until(lambda state: pause.wait(0.05), timeout=0.5)

        assert time.monotonic() - started < 3


# -- who holds what ------------------------------------------------------------------------------


def test_refused_call_spares_a_book_made_meanwhile(client: SpotWSClient, exchange: Simulator) -> None:
    """Undoing a refused subscribe takes back its own part only."""
    client.symbols()
    exchange.faults.ack_delay = 0.2
    exchange.faults.refused.add("ETH/USD")
    refused = background(client.subscribe, {"channel": "book", "symbol": [S, "ETH/USD"]})
    eventually(lambda: len(exchange.requests("subscribe")) == 2)
    book = client.book(S)
    refused["thread"].join(WAIT)
    exchange.faults.ack_delay = 0.0

    assert isinstance(refused["error"], SubscriptionRefused)
    assert client.send_message({"method": "ping"})
    assert book.state is BookState.LIVE


def test_refused_call_leaves_nothing_behind(client: SpotWSClient, exchange: Simulator) -> None:
    """What others let go while a refused call was on its way is let go."""
    first = client.trades(S)
    client.symbols()
    exchange.faults.ack_delay = 0.2
    exchange.faults.refused.add("ETH/USD")
    refused = background(client.subscribe, {"channel": "trade", "symbol": [S, "SOL/USD", "ETH/USD"]})
    eventually(lambda: len(exchange.requests("subscribe")) >= 3)
    first.unsubscribe()
    refused["thread"].join(WAIT)

    eventually(lambda: client.active_public_subscriptions == [])


def test_other_peoples_holds_survive(client: SpotWSClient) -> None:
    """A stream that ends, even twice, and the table of symbols end nobody else's subscription."""
    assert client.messages is not None
    client.send_message({"method": "subscribe", "params": {"channel": "instrument"}})
    client.send_message({"method": "subscribe", "params": TRADE})
    client.symbols("BTC")
    with client.trades(S) as stream:
        stream.unsubscribe()

    assert sorted(one["channel"] for one in client.active_public_subscriptions) == ["instrument", "trade"]


def test_end_spares_a_later_subscription(
    client: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """A subscription made right after the exchange ended one is not taken for that one."""
    logged, go_on = threading.Event(), threading.Event()

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "was ended by" in record.getMessage():
                logged.set()
                go_on.wait(WAIT)

    handler = Slow()
    logging.getLogger("kraken_sync").addHandler(handler)
    try:
        client.trades(S)
        exchange.faults.refused.add(S)
        exchange.cut()
        assert logged.wait(WAIT)
        exchange.faults.refused.clear()
        again = background(client.trades, S)
        eventually(lambda: len(exchange.requests("subscribe")) == 3)
        go_on.set()
        again["thread"].join(WAIT)
        exchange.step(300, [S])
        assert again["value"].get(WAIT)["symbol"] == S
    finally:
        go_on.set()
        logging.getLogger("kraken_sync").removeHandler(handler)


def test_dropped_streams_leave_nothing(client: SpotWSClient, exchange: Simulator) -> None:
    """A stream that nobody holds is gone, and so is every trace of it."""
    client.ticker(S, event_trigger="bbo")
    gone = weakref.ref(client.ticker(S, event_trigger="bbo"))
    for _ in range(50):
        client.ticker(S, event_trigger="bbo")
    exchange.step(50, [S])
    client.send_message({"method": "ping"})
    eventually(lambda: gc.collect() is not None and gone() is None)
    holder = client.ticker(S, event_trigger="bbo")

    assert len(holder._connection._holds.refs(Key("ticker", S))) == 1


def test_dropped_client_in_a_cycle(exchange: Simulator) -> None:
    """A client in a cycle with its owner, which had a stream, is collected and stops by itself."""

    class Strategy:
        def __init__(self) -> None:
            self.client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)
            self.stream = self.client.ticker(S)
            self.client.owner = self  # type: ignore[attr-defined]

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        strategy = Strategy()
        strategy.stream.get(WAIT)
        gone = weakref.ref(strategy.client)
        del strategy
        eventually(lambda: gc.collect() is not None and gone() is None)
        eventually(lambda: any("was not closed" in str(warning.message) for warning in caught))
    eventually(lambda: not exchange.call(lambda: exchange.exchange.peers))


# -- streams -------------------------------------------------------------------------------------


def test_one_of_several_symbols_ends(client: SpotWSClient, exchange: Simulator) -> None:
    """A reader of two symbols is told that one of them has no future."""
    stream, messages = client.subscribe({"channel": "trade", "symbol": [S, "ETH/USD"]}), client.messages
    exchange.faults.refused.add("ETH/USD")
    exchange.cut()
    found = {}
    while len(found) < 2:
        gap = stream.get(WAIT)["data"][0]
        found[gap["symbol"]] = gap

    assert found[S]["until"] is not None
    assert found["ETH/USD"]["until"] is None
    assert found["ETH/USD"]["reason"] == "ended by the exchange: Currency pair not supported ETH/USD"
    while messages.get(WAIT).get("data", [{}])[0].get("until", "") is not None:
        pass


def test_malformed_frames_never_reach_the_reader(client: SpotWSClient, exchange: Simulator) -> None:
    """What cannot be decoded is dropped and counted, in streams as well."""
    messages = client.messages
    stream = client.subscribe({"channel": "ticker", "symbol": [S]})
    stream.get(WAIT)
    exchange.send_text('{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","last":1e999}]}')
    exchange.send_text("CloudFlare WebSocket proxy restarting")
    exchange.send_text('{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","last":5.0}]}')

    assert stream.get(WAIT)["data"][0]["last"] == 5.0
    assert stream.malformed == 1
    while messages.get(WAIT).get("data", [{}])[0].get("last") != 5.0:
        pass
    assert messages.malformed == 2


@pytest.mark.parametrize(
    "text",
    [
        '{"channel":"trade","type":"update","data":[{"symbol":["BTC/USD"]}]}',
        '{"channel":"ohlc","type":"update","data":[{"symbol":"BTC/USD","interval":{}}]}',
        '{"method":"subscribe","success":true,"req_id":1,"result":{"symbol":["x"]}}',
        '{"method":"subscribe","success":false,"req_id":1,"symbol":["x"],"error":"no"}',
        *(
            '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":'
            + price
            + ',"qty":1.0}],"asks":[],"checksum":1}]}'
            for price in ("null", "[]", "{}", "true", '"x"')
        ),
    ],
)
def test_odd_types_are_no_fault_of_ours(client: SpotWSClient, exchange: Simulator, text: str) -> None:
    """Whatever types a frame has, the client lives on and its books are right in the end."""
    book = client.book(S)
    client.trades(S)
    for _ in range(2):
        exchange.send_text(text)
    client.send_message({"method": "ping"})
    eventually(lambda: book.state is BookState.LIVE)

    assert client.state is WSState.CONNECTED
    assert not client.exception_occur


def test_frame_of_two_symbols_comes_once(client: SpotWSClient, exchange: Simulator) -> None:
    """A frame that concerns two symbols of one stream is one frame."""
    stream = client.subscribe({"channel": "trade", "symbol": [S, "ETH/USD"]})
    exchange.send_text(
        '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD"},{"symbol":"ETH/USD"}]}'
    )
    assert len(stream.get(WAIT)["data"]) == 2
    with pytest.raises(queue.Empty):
        stream.get(0.1)


def test_conflated_frames_stay_before_the_gap() -> None:
    """A gap does not let a later frame take an earlier one's place."""
    key = Key("ticker", S)
    stream = Stream("x", lambda frame: frame, policy="conflate", keys=[key])
    stream.put(key, b"1")
    stream.put(key, b"2")
    stream.put_gap(gap_frame("ticker", S, "outage", None, None))
    stream.put(key, b"3")
    stream.put(key, b"4")

    assert [stream.get(0), stream.get(0)["type"], stream.get(0)] == [b"2", "gap", b"4"]


def test_lost_frames_are_told_where_they_were() -> None:
    """The mark of dropped frames keeps its place among gaps; bounds hold for both."""
    stream = Stream("x", lambda frame: frame, maxlen=3, keys=[Key("trade", S)])
    for number in range(5):
        stream.put(None, b"a%d" % number)
    stream.put_gap(gap_frame("trade", S, "outage", None, None))
    for number in range(4):
        stream.put(None, b"b%d" % number)
    entries = []
    while True:
        try:
            entries.append(stream.get(0))
        except queue.Empty:
            break
    shape = [
        entry if isinstance(entry, bytes) else (entry["data"][0]["reason"], entry["data"][0]["dropped"])
        for entry in entries
    ]

    assert sum(one[1] for one in shape if isinstance(one, tuple)) == stream.dropped
    assert shape[0][0] == "slow reader"
    assert [one[0] for one in shape if isinstance(one, tuple)].index("outage") == 1
    assert shape[-1] == b"b3"
    stream.put(None, b"last")
    for _ in range(3000):
        stream.put_gap(gap_frame("trade", S, "outage", None, None))
    assert len(stream._entries) <= 1100
    assert stream.get(0) == b"last"


def test_full_conflating_stream_drops() -> None:
    """More symbols than room: the oldest goes, and is counted."""
    stream = Stream("x", lambda frame: frame, maxlen=2, policy="conflate")
    for number in range(5):
        stream.put(Key("ticker", str(number)), b"%d" % number)

    assert stream.dropped == 3
    assert stream.get(0)["data"][0]["dropped"] == 3
    assert [stream.get(0), stream.get(0)] == [b"3", b"4"]


# -- requests ------------------------------------------------------------------------------------


def test_req_id_waiting_to_be_sent_is_in_use(client: SpotWSClient, exchange: Simulator) -> None:
    """Two requests with one id cannot both be on their way, sent or not."""
    exchange.faults.refuse_connections = 10**6
    exchange.cut()
    eventually(lambda: client.state is WSState.RECONNECTING)
    first = background(client.subscribe, TRADE, 7, timeout=WAIT)
    eventually(lambda: client.stats()["subscriptions"] == 1)
    with pytest.raises(ValueError, match="in use"):
        client.subscribe({"channel": "ticker", "symbol": [S]}, 7)
    exchange.faults.refuse_connections = 0
    first["thread"].join(WAIT)

    assert first["value"].channel == "trade"


def test_req_id_is_free_after_a_timeout(client: SpotWSClient, exchange: Simulator) -> None:
    """An id whose answer never came can be used again."""
    exchange.faults.drop_acks = 1
    with pytest.raises(ReplyTimeout):
        client.subscribe(TRADE, 7, timeout=0.2)
    eventually(lambda: client.stats()["subscriptions"] == 0)

    assert client.subscribe(TRADE, 7).channel == "trade"


def test_replies_are_of_the_own_request(client: SpotWSClient, exchange: Simulator) -> None:
    """A subscribe right after an unsubscribe returns its own reply only, also when it was slowed down."""
    exchange.faults.ack_delay = 0.1
    client.trades(S).unsubscribe()
    reply = client.send_message({"method": "subscribe", "params": TRADE})
    assert (reply["method"], reply["success"]) == ("subscribe", True)
    exchange.faults.message_rate = 1
    reply = client.send_message(
        {"method": "subscribe", "params": {"channel": "trade", "symbol": ["ETH/USD"]}}
    )
    assert (reply["method"], reply["success"]) == ("subscribe", True)


def test_refused_pings_are_answers(client: SpotWSClient, exchange: Simulator) -> None:
    """A ping that is refused for the rate shows that the line works."""
    client.trades("XMR/BTC")
    exchange.faults.message_rate = 0
    eventually(lambda: len(exchange.requests("ping")) >= 3)

    assert exchange.connections == 1


def test_old_spelling_of_the_rate_limit() -> None:
    """``{"Error": "Exceeded msg rate"}`` pauses everything as well."""
    session = Session(Timing())
    session.opened(0.0)
    session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
    session.receive(b'{"Error":"Exceeded msg rate"}', 0.0)
    session.subscribe(check(TRADE))

    assert session.due(0.5, 0.5, None) == []
    assert len(session.due(1.5, 1.5, None)) == 1


def test_expired_wish_is_unsubscribed() -> None:
    """A subscribe whose answer was late may have been taken: leaving it is told to the exchange."""
    registry, bucket, ids = Registry(Timing()), TokenBucket(10, 10), itertools.count(1).__next__
    ask = check(TRADE)
    registry.want(ask, ask.keys()[0], None, None)
    registry.due(0.0, bucket, ids)
    registry.expire(6.0)
    registry.unwant(ask.keys()[0], None, True, 0.0)

    assert [request.method for request in registry.due(6.0, bucket, ids)] == ["unsubscribe"]


def test_third_ping_does_not_postpone_the_verdict() -> None:
    """Two unanswered pings are enough, however often somebody asks for what is due."""
    liveness, now = Liveness(Timing(), 0.0), 0.0
    while liveness.verdict(now, now, False) is None and now < 60:
        now += 0.05
        if liveness.ping_due(now, now, False):
            liveness.pinged(int(now * 100), now)

    assert now < 15.2


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


def test_table_of_symbols_beside_instruments_without_snapshot(client: SpotWSClient) -> None:
    """Reference data without a snapshot do not keep a spelling from being understood."""
    client.instruments(snapshot=False)

    assert client.book("btcusd").symbol == S


def test_table_of_symbols_in_time(client: SpotWSClient, exchange: Simulator) -> None:
    """A caller with little time does not wait for another's table of symbols."""
    exchange.faults.drop_acks = 1000
    slow = background(client.book, "nosuch0", timeout=1.5)
    eventually(lambda: exchange.requests("subscribe"))
    started = time.monotonic()
    with pytest.raises(ReplyTimeout):
        client.book("nosuch1", timeout=0.3)

    assert time.monotonic() - started < 1.2
    slow["thread"].join(WAIT)


# -- life ----------------------------------------------------------------------------------------


def test_start_during_an_outage_spares_the_running_client(new_client: Callable[..., SpotWSClient]) -> None:
    """start() on a client that lost its line does not end what it has."""
    exchange = Simulator(rate=0, heartbeat_interval=0.25).start()
    client = new_client(ws_url=exchange.ws_url)
    book, stream = client.book(S), client.trades(S)
    exchange.stop()
    eventually(lambda: book.state is BookState.STALE)
    with pytest.raises(ConnectFailed):
        client.start(timeout=0.2)

    assert not stream.ended
    assert client.state is WSState.RECONNECTING
    exchange.start()
    book.wait_until(lambda state: state.generation == 2, timeout=WAIT)
    exchange.stop()


def test_impatient_starter_spares_the_patient(exchange: Simulator) -> None:
    """Two threads start one client; the one that gives up does not end the other's try."""
    exchange.faults.refuse_connections = 8
    client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)
    patient = background(client.start, timeout=WAIT)
    with pytest.raises(ConnectFailed):
        client.start(timeout=0.05)
    patient["thread"].join(WAIT)

    assert "error" not in patient
    assert client.state is WSState.CONNECTED
    client.close()


def test_start_that_is_cut_off(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Connected and cut before the greeting is a ConnectFailed, and nothing is left running."""
    exchange.faults.no_status = True
    client = new_client()
    starting = background(client.start, timeout=1.0)
    eventually(lambda: exchange.connections)
    exchange.close_all(1013, "busy")
    starting["thread"].join(WAIT)

    assert isinstance(starting["error"], ConnectFailed)
    assert client.state is WSState.INIT


def test_close_while_the_next_line_begins(exchange: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """close() at the very moment of a new attempt leaves no thread and no connection."""
    taken, go_on, real = threading.Event(), threading.Event(), budget.take

    def late(*args: Any) -> float:
        result = real(*args)
        taken.set()
        go_on.wait(WAIT)
        return result

    monkeypatch.setattr(budget, "take", late)
    client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)
    starting = background(client.start)
    assert taken.wait(WAIT)
    closing = background(client.close, 0.2)
    closing["thread"].join(WAIT)
    go_on.set()
    starting["thread"].join(WAIT)

    assert isinstance(starting["error"], ClientClosed)
    eventually(lambda: not any(t.name.startswith("kraken-sync-io") for t in threading.enumerate()))
    assert exchange.connections == 0


def test_close_during_a_callback_is_quick(new_client: Callable[..., SpotWSClient]) -> None:
    """A callback that closes its own client while another thread does holds nobody up."""
    entered, closing = threading.Event(), threading.Event()

    def handler(message: Any) -> None:
        entered.set()
        closing.wait(WAIT)
        client.close()

    client = new_client(callback=handler)
    client.start()
    assert entered.wait(WAIT)
    started = time.monotonic()
    closing.set()
    client.close()

    assert time.monotonic() - started < 1.0


def test_no_callback_after_close(new_client: Callable[..., SpotWSClient]) -> None:
    """What has piled up for a slow callback is dropped when the client closes."""
    calls, pause = [], threading.Event()

    def handler(message: Any) -> None:
        calls.append(message)
        pause.wait(0.05)

    with Simulator(rate=2000) as exchange:
        client = new_client(ws_url=exchange.ws_url, callback=handler)
        client.subscribe(BOOK)
        eventually(lambda: len(calls) > 5)
        client.close()
        count = len(calls)
        threading.Event().wait(0.3)

    assert len(calls) <= count + 1


def test_exiting_callback(new_client: Callable[..., SpotWSClient]) -> None:
    """A SystemExit in a handler is an error like any other: told, counted, survived."""

    def handler(message: Any) -> None:
        raise SystemExit(3)

    client = new_client(callback=handler)
    client.subscribe(TRADE)
    eventually(lambda: client.stats()["callback_errors"] >= 2)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # that is what is tested
def test_fork_while_a_stream_is_left(client: SpotWSClient, exchange: Simulator) -> None:
    """A forked child that leaves a stream does not unsubscribe the parent's."""
    stream = client.trades(S)
    child = os.fork()
    if child == 0:
        try:
            with stream:
                pass
            repr(client)
            client.gaps()
            client.close()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    exchange.step(300, [S])

    assert stream.get(WAIT)["symbol"] == S
    assert exchange.requests("unsubscribe") == []


def test_kept_errors_do_not_grow() -> None:
    """The error of a client that was given up is raised anew each time."""
    client = SpotWSClient(ws_url="ws://127.0.0.1:9", timing=FAST)
    seen = []
    for _ in range(3):
        with pytest.raises(ConnectFailed) as caught:
            client.start(timeout=0.1)
        seen.append(caught.value)

    assert len({id(error) for error in seen}) == 3


def test_interrupted_send_condemns_the_line() -> None:
    """A Ctrl-C inside a send may have left half a frame: nothing is sent on that line again."""

    def script(sock: socket.socket) -> None:
        greet(sock)
        drain(sock)

    with RawServer(script) as server:
        transport = Transport(Target(f"{server.url}/v2"))
        transport.connect(time.monotonic() + 5)

        class Interrupting:
            def send(self, data: bytes, opcode: int) -> None:
                raise KeyboardInterrupt

        codec, transport._codec = transport._codec, Interrupting()
        with pytest.raises(KeyboardInterrupt):
            transport.exclusively(1.0, lambda: transport.send(b"half", 1.0))
        transport._codec = codec
        with pytest.raises(ConnectionError):
            transport.exclusively(1.0, lambda: transport.send(b"order", 1.0))
        transport.dispose()


def test_dripping_tls_handshake() -> None:
    """A TLS handshake that comes byte by byte ends at the deadline."""

    def script(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(b"\x16\x03\x03\x3f\xff")
        while True:
            sock.sendall(b"\x02")
            threading.Event().wait(0.02)

    with RawServer(script) as server:
        started = time.monotonic()
        with pytest.raises(ConnectFailed):
            Transport(Target(f"wss://127.0.0.1:{server.port}/v2")).connect(started + 0.5)

        assert time.monotonic() - started < 2


def test_watchdog_that_was_late_waits_an_interval() -> None:
    """After a late tick an early wake does not count as the interval for draining."""
    calls: list = []
    done = threading.Event()

    class Checked:
        def check(self, now: float, judge: bool) -> None:
            calls.append((now, judge))
            if len(calls) == 1:
                time.sleep(1.0)  # the watchdog itself is held up
            if len(calls) < 4:
                watchdog.wake()
            else:
                done.set()

    watchdog = Watchdog([Checked()], 0.3)
    watchdog.start()
    watchdog.wake()
    assert done.wait(WAIT)
    watchdog.stop()
    watchdog.join(WAIT)
    late = calls[1][0]

    assert all(not judge for now, judge in calls[1:] if now < late + 0.3)


# -- the second look -----------------------------------------------------------------------------


def true_top(exchange: Simulator, symbol: str) -> list:
    """The exchange's best ten bids and asks, as decimals."""
    pair = exchange.exchange.markets[symbol].pair
    return [
        [
            (Decimal(price).scaleb(-pair.price_digits), Decimal(qty).scaleb(-pair.qty_digits))
            for price, qty in side
        ]
        for side in exchange.top(symbol, 10)
    ]


def shown_top(book: Any) -> list:
    state = book.stale.snapshot(10)
    return [[tuple(level) for level in side] for side in (state.bids, state.asks)]


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


def test_healthy_book_is_not_resubscribed(client: SpotWSClient, exchange: Simulator) -> None:
    """A snapshot that came before a lost ack counts."""
    exchange.faults.drop_acks = 1
    book = client.book(S)
    end = time.monotonic() + 3 * FAST.first_data_timeout
    while time.monotonic() < end:
        exchange.step(50, [S])
        threading.Event().wait(0.05)

    assert book.snapshot().generation == 1
    assert client.gaps() == []
    assert exchange.requests("unsubscribe") == []


def test_old_book_ends_no_new_one(client: SpotWSClient) -> None:
    """Unsubscribing a book that has ended already, or twice, concerns nobody else."""
    first = client.book(S)
    client.unsubscribe(BOOK)
    second = client.book(S)
    first.unsubscribe()
    assert second.state is BookState.LIVE
    second.unsubscribe()
    third = client.book(S)
    second.unsubscribe()

    assert client.send_message({"method": "ping"})
    assert third.state is BookState.LIVE


def test_polled_book_is_one_hold(client: SpotWSClient, exchange: Simulator) -> None:
    """Asking for the book in a loop piles nothing up, and one unsubscribe ends it."""
    for _ in range(50):
        assert client.book(S).best_bid is not None
    client.book(S).unsubscribe()
    eventually(lambda: client.active_public_subscriptions == [])

    assert len(exchange.requests("subscribe")) == 1


def test_frames_gone_while_a_book_is_awaited(client: SpotWSClient, exchange: Simulator) -> None:
    """A book that waited beside raw frames is not taken for raw frames later."""
    exchange.faults.no_snapshot[S] = 1
    frames = client.subscribe({**BOOK, "depth": 10})
    waiting = background(client.book, S, timeout=WAIT)
    eventually(lambda: len(client._engine.lines["public"]._holds._holders.get(Key("book", S), ())) == 1)  # type: ignore[union-attr]
    frames.unsubscribe()
    waiting["thread"].join(WAIT)

    assert len(client.book(S, 25).bids) == 25


def test_watchdog_does_not_spin(client: SpotWSClient) -> None:
    """While another thread holds the line for sending, the watchdog comes back at its next tick."""
    connection: Any = client.trades(S)._connection
    pumps, real = [], connection.pump

    def counted(**how: Any) -> None:
        pumps.append(1)
        real(**how)

    connection.pump = counted
    with connection._transport._send_lock:
        connection._wake_watchdog()
        threading.Event().wait(0.5)

    assert len(pumps) < 100


def test_gap_comes_before_early_data(new_client: Callable[..., SpotWSClient]) -> None:
    """Data that come before their acknowledgement still follow the gap."""

    def script(sock: socket.socket) -> None:
        greet(sock)
        sock.recv(65536)
        data = b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","trade_id":%d}]}'
        if server.accepted == 1:
            sock.sendall(frame(ack(7)) + frame(data % 1))
            threading.Event().wait(0.3)
            sock.close()
        else:
            sock.sendall(frame(data % 9))
            drain(sock)

    with RawServer(script) as server:
        stream = new_client(ws_url=server.url).subscribe(TRADE, 7)

        assert [stream.get(WAIT)["type"] for _ in range(3)] == ["update", "gap", "update"]


def test_instruments_without_snapshot_through_an_outage(client: SpotWSClient, exchange: Simulator) -> None:
    """The table of symbols is had although the outage interrupted a subscription without snapshot."""
    client.instruments(snapshot=False)
    exchange.faults.refuse_connections = 5
    exchange.cut()
    eventually(lambda: client.state is WSState.RECONNECTING)

    assert client.book("btcusd").symbol == S


def test_gaps_push_out_no_frames() -> None:
    """Only frames count against the room for frames."""
    stream = Stream("x", lambda frame: frame, maxlen=2, keys=[Key("trade", S)])
    stream.put(None, b"1")
    stream.put(None, b"2")
    for _ in range(4):
        stream.put_gap(gap_frame("trade", S, "outage", None, None))

    assert [stream.get(0), stream.get(0)] == [b"1", b"2"]
    assert stream.dropped == 0


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


def test_req_id_is_of_the_subscribe() -> None:
    """The caller's id is not spent on an unsubscribe that happens to be due before."""
    registry, bucket, ids = Registry(Timing()), TokenBucket(10, 10), itertools.count(100).__next__
    ask, key = check(TRADE), check(TRADE).keys()[0]
    registry.want(ask, key, None, None)
    registry.due(0.0, bucket, ids)
    registry.answer(100, S, True, "", b"", 0.1)
    registry.unwant(key, None, True, 0.0)
    registry.want(ask, key, None, 77)
    sent = [(one.method, one.req_id) for one in registry.due(0.2, bucket, ids)]
    registry.answer(101, S, True, "", b"", 0.3)
    sent += [(one.method, one.req_id) for one in registry.due(0.4, bucket, ids)]

    assert sent == [("unsubscribe", 101), ("subscribe", 77)]


def test_endless_timeouts(client: SpotWSClient) -> None:
    """Infinity is for ever."""
    assert client.book(S, timeout=float("inf")).best_bid is not None


def test_book_in_backoff_says_so(client: SpotWSClient, exchange: Simulator) -> None:
    """A further caller of a book that waits for its resync is told that."""
    client.book(S)
    exchange.faults.bad_snapshot[S] = exchange.faults.bad_checksum[S] = 1000
    exchange.step(100, [S])
    eventually(lambda: client.stats()["mismatched"] >= 4)
    with pytest.raises(BookNotLive, match="checksum mismatch") as caught:
        client.book(S, 25, timeout=0.3)

    assert caught.value.symbol == S


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # that is what is tested
def test_fork_while_a_stream_is_locked(client: SpotWSClient) -> None:
    """A forked child hangs on no lock that another thread held."""
    stream = client.trades(S)
    locked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with stream._ready, client._life, budget._lock:
            locked.set()
            go_on.wait(WAIT)

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(WAIT)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            stream.unsubscribe()
            client.close()
            SpotWSClient(ws_url="ws://127.0.0.1:9", timing=FAST).start(timeout=0.1)
        except ConnectFailed:
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    go_on.set()
    holder.join(WAIT)

    assert status == 0


@pytest.mark.parametrize("seed", range(6))
def test_chaos_converges(seed: int) -> None:
    """Threads take and leave books while the exchange misbehaves: in the end every book is right,
    nobody's book was closed by another, and when all have left nothing is subscribed any more."""
    rng = random.Random(seed)
    symbols, errors, stop = (S, "ETH/USD"), [], threading.Event()
    with Simulator(seed=seed, rate=300, heartbeat_interval=0.25) as exchange:
        client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)

        def work(number: int) -> None:
            mine = random.Random(f"{seed}/{number}")
            depth = (10, 25, 100, 500)[number]
            while not stop.is_set():
                symbol = mine.choice(symbols)
                try:
                    book = client.book(symbol, depth, timeout=WAIT)
                    book.wait_until(lambda state: mine.random() < 0.3, timeout=WAIT)
                    if mine.random() < 0.7:
                        book.unsubscribe()
                    elif book.state is BookState.CLOSED:
                        errors.append(f"{symbol} at {depth} was closed by somebody else")
                except (BookNotLive, ReplyTimeout, ConnectionError):
                    pass  # the faults below may well lead to these

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        faults = exchange.faults
        for _ in range(25):
            rng.choice(
                [
                    exchange.cut,
                    lambda: faults.bad_checksum.update({rng.choice(symbols): 1}),
                    lambda: faults.skip_update.update({rng.choice(symbols): 1}),
                    lambda: faults.bad_snapshot.update({rng.choice(symbols): 1}),
                    lambda: faults.no_snapshot.update({rng.choice(symbols): 1}),
                    lambda: setattr(faults, "drop_acks", rng.randrange(3)),
                    lambda: setattr(faults, "ack_delay", rng.choice((0.0, 0.05, 0.7))),
                    lambda: setattr(faults, "message_rate", rng.choice((None, None, 3))),
                ]
            )()
            threading.Event().wait(0.1)
        faults.drop_acks, faults.ack_delay, faults.message_rate = 0, 0.0, None
        for counter in (faults.bad_checksum, faults.skip_update, faults.bad_snapshot, faults.no_snapshot):
            counter.clear()
        stop.set()
        for thread in threads:
            thread.join(3 * WAIT)
        assert not any(thread.is_alive() for thread in threads)
        books = [client.book(symbol, 10, timeout=WAIT) for symbol in symbols]
        exchange.rate = 0
        for book in books:
            eventually(lambda book=book: shown_top(book) == true_top(exchange, book.symbol), book.symbol)
            assert book.state is BookState.LIVE
        assert errors == []
        for book in list(client._books.values()):
            book.unsubscribe()
        eventually(lambda: client.stats()["subscriptions"] == 0)
        eventually(
            lambda: not exchange.call(lambda: [feed for p in exchange.exchange.peers for feed in p.feeds])
        )
        client.close()


def test_a_ctrl_c_at_the_worst_moment() -> None:
    """It comes when ``wait()`` is about to take its lock back, and is not hidden by what follows from
    that."""
    condition = Condition()

    def interrupted(state: object) -> None:
        raise KeyboardInterrupt

    condition._acquire_restore = interrupted  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt), condition:
        condition.wait(0.01)
