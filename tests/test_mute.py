"""Mute subscriptions are noticed by what else is known of their symbol, and renewed ever more slowly."""

from __future__ import annotations

import json
from typing import Any, Callable, List, Optional

import pytest
from conftest import WAIT, S, eventually
from helpers import BOOK, TRADE, levels

from kraken_sync import BookNotLive, BookState, SpotWSClient, Timing
from kraken_sync.core.book.checksum import book_checksum
from kraken_sync.core.session import book_views
from kraken_sync.core.session.book_views import View
from kraken_sync.core.session.events import Gap
from kraken_sync.core.session.session import Session
from kraken_sync.core.wire.channels import Key, channel_params
from kraken_sync.simulator import Simulator

OHLC = {"channel": "ohlc", "symbol": [S], "interval": 1}


class Line:
    """A session with an exchange that acknowledges everything, and says what a test says."""

    def __init__(self) -> None:
        self.session = Session(Timing())
        self.gaps = 0
        self.session.opened(0.0)
        self.say({"channel": "status", "type": "update", "data": [{"system": "online"}]}, 0.0)
        self.asked: List[str] = []

    def say(self, message: Any, now: float) -> None:
        notes = self.session.receive(json.dumps(message).encode(), now).notes
        self.gaps += sum(isinstance(note, Gap) for note in notes)

    def want(self, now: float, **wanted: Any) -> None:
        params = channel_params(wanted)
        if params.channel.name == "book":
            self.session.subscriptions.subscribe_book(params)
        else:
            self.session.subscriptions.subscribe(params)
        self.pump(now)

    def pump(self, now: float) -> None:
        """Answer all requests that are due."""
        while True:
            frames = [json.loads(frame) for frame in self.session.due(now, now, None)]
            frames = [frame for frame in frames if frame["method"] != "ping"]
            if not frames:
                return
            for frame in frames:
                self.asked.append(f"{frame['method']} {frame['params']['channel']}")
                for symbol in frame["params"]["symbol"]:
                    result = {"channel": frame["params"]["channel"], "symbol": symbol}
                    reply = {"method": frame["method"], "success": True, "result": result}
                    self.say({**reply, "req_id": frame["req_id"]}, now)

    def book(self, now: float, kind: str = "snapshot", price: int = 100) -> None:
        level, checksum = f'{{"price":{price},"qty":1}}', book_checksum({}, {price: 1})
        data = f'{{"symbol":"{S}","bids":[{level}],"asks":[],"checksum":{checksum}}}'
        self.session.receive(f'{{"channel":"book","type":"{kind}","data":[{data}]}}'.encode(), now)

    def trade(self, now: float) -> None:
        self.say({"channel": "trade", "type": "update", "data": [{"symbol": S}]}, now)

    def candle(self, now: float, kind: str = "update") -> None:
        self.say({"channel": "ohlc", "type": kind, "data": [{"symbol": S, "interval": 1}]}, now)

    def watch(
        self, start: float, stop: float, each: Callable[[float], None] = lambda now: None
    ) -> List[float]:
        """Let the watchdog look every fifth of a second; return when something was renewed."""
        renewed = []
        for step in range(int(start * 5) + 1, int(stop * 5) + 1):
            now = step / 5
            each(now)
            before = self.session.counters.resyncs
            self.session.renew_mute(now)
            renewed += [now] * (self.session.counters.resyncs - before)
            self.pump(now)
        return renewed

    @property
    def state(self) -> Optional[BookState]:
        sync = self.session.subscriptions.book(Key("book", S))
        return sync.state if sync is not None else None


@pytest.fixture
def line() -> Line:
    line = Line()
    line.want(0.0, **BOOK, depth=10)
    line.want(0.0, **TRADE)
    line.book(0.1)
    return line


def test_a_quiet_symbol_is_not_mute(line: Line) -> None:
    """Silence alone proves nothing: the book of a pair that does not trade stays LIVE."""
    assert line.watch(0, 3600) == []
    assert line.state is BookState.LIVE


def test_a_book_that_misses_trades_is_mute(line: Line) -> None:
    """Its symbol trades, and the book tells nothing: it is not LIVE until a fresh snapshot has come."""
    (renewed,) = line.watch(10, 17, line.trade)

    assert 15 <= renewed <= 17
    assert line.state is BookState.RESYNCING
    assert line.asked[-2:] == ["unsubscribe book", "subscribe book"]
    line.book(16.1)
    assert line.state is BookState.LIVE


def test_renewals_become_rarer(line: Line) -> None:
    """If only snapshots come, each renewal waits longer; an update that came shows that all is well again."""

    def each(now: float) -> None:
        line.trade(now)
        if line.state is BookState.RESYNCING:
            line.book(now)

    renewed = line.watch(10, 310, each)
    pauses = [later - earlier for earlier, later in zip(renewed, renewed[1:])]

    assert all(later >= earlier - 0.5 for earlier, later in zip(pauses, pauses[1:]))
    assert 55 < pauses[-1] < 70
    line.book(310.1)
    line.book(312, "update")
    (again,) = line.watch(320, 330, line.trade)
    assert 325 <= again < 327


def test_a_contradicted_book_is_not_live_until_an_update(line: Line) -> None:
    """After a renewal that brought a snapshot alone, trades put it in doubt again."""
    sync = line.session.subscriptions.book(Key("book", S))
    assert sync is not None
    shown = []

    def each(now: float) -> None:
        line.trade(now)
        if line.state is BookState.RESYNCING:
            line.book(now)
        status = book_views.status(line.session, View(sync, ended=False), 0.0)
        shown.append(status.state is BookState.LIVE)

    line.watch(10, 310, each)
    assert sum(shown) < len(shown) / 8
    line.book(310.5, "update")
    line.session.renew_mute(310.6)
    assert book_views.status(line.session, View(sync, ended=False), 0.0).state is BookState.LIVE


def test_a_snapshot_before_its_acknowledgement(line: Line) -> None:
    """It is no update, so the renewals become rarer all the same."""
    entry = next(one for key, one in line.session.registry.entries.items() if key.channel == "book")
    line.watch(10, 17, line.trade)
    line.book(17.0)
    entry.acked_at = 17.1
    line.session.renew_mute(17.2)

    assert entry.mute == 1


def test_a_message_in_flight_may_be_what_is_missing() -> None:
    """The snapshot of a deep book over a slow link takes its time."""
    line = Line()
    line.want(0.0, **BOOK, depth=1000)
    assert line.session.renew_mute(30.0, message_at=0.5) == []
    assert line.session.counters.resyncs == 0


def test_one_trade_that_was_told_late_is_no_contradiction(line: Line) -> None:
    """Two are needed: one message may have been held up."""
    line.book(100, "update")
    line.trade(102.3)
    assert line.watch(100, 130) == []
    line.trade(130)
    assert len(line.watch(130, 132)) == 1


def test_a_channel_that_is_new_to_us_is_left_alone() -> None:
    """Its data may name no symbol, or it may have no snapshot."""
    line = Line()
    wanted = channel_params({"channel": "news", "symbol": [S], "snapshot": True}, ("news",))
    line.session.subscriptions.subscribe(wanted)
    line.pump(0.0)
    assert line.watch(0, 100) == []


@pytest.mark.parametrize("ahead", [0.0, 1.5])
def test_a_book_that_told_the_trade_is_not_mute(line: Line, ahead: float) -> None:
    """Its update may have come a moment before the trade; after that the pair may be quiet for hours."""
    line.book(100 - ahead, "update")
    line.trade(100)

    assert line.watch(100, 1000) == []


@pytest.mark.parametrize("first", [True, False], ids=["never fed", "fed before"])
def test_candles_that_miss_trades_are_mute(first: bool) -> None:
    """The same for candles, of which a snapshot may rightly be missing."""
    line = Line()
    line.want(0.0, **{**OHLC, "snapshot": not first})
    line.want(0.0, **TRADE)
    if not first:
        line.candle(0.1)

    assert len(line.watch(10, 17, line.trade)) == 1
    assert line.asked[-1] == "subscribe ohlc"
    assert line.gaps == 1


def test_trades_that_miss_candles_are_mute() -> None:
    """Each candle update tells of a trade."""
    line = Line()
    line.want(0.0, **TRADE)
    line.want(0.0, **OHLC)

    assert len(line.watch(10, 17, line.candle)) == 1
    assert line.asked[-1] == "subscribe trade"


def test_an_asked_for_snapshot_is_asked_for_again() -> None:
    """Also of candles and trades, but rarely: where nothing has traded, the exchange has none to send."""
    line = Line()
    line.want(0.0, **OHLC)
    line.watch(0, 2000)

    assert 7 < line.asked.count("subscribe ohlc") < 11


def test_max_age(line: Line) -> None:
    """A caller who does not trust a quiet book says how old its last message may be."""
    line.session.subscriptions.limit_age(channel_params(BOOK).keys()[0], 30.0)
    renewed = line.watch(10, 200, lambda now: line.book(now) if line.state is BookState.RESYNCING else None)

    assert 30 < renewed[0] < 30.5
    assert len(renewed) == 6  # a snapshot in time is an answer, so there is no reason to become slower


def test_a_mute_book_comes_back_with_the_truth(client: SpotWSClient, exchange: Simulator) -> None:
    """The whole way: mute after its snapshot, noticed by trades, told as a gap, verified again."""
    exchange.faults.muted.add(("book", S))
    book, frames = client.book(S), client.subscribe(BOOK)
    client.trades(S)
    for _ in range(20):
        exchange.step(5, [S])
    eventually(lambda: exchange.step(5, [S]) or book.stale.snapshot().generation > 1)
    exchange.faults.muted.clear()
    eventually(lambda: exchange.step(1, [S]) or (book.state is BookState.LIVE and levels(book, exchange, 10)))

    assert "although the symbol trades" in frames.gaps[0]["reason"]


def test_max_age_of_a_reader(client: SpotWSClient, exchange: Simulator) -> None:
    """It is a limit of one reader; others of the same book go on."""
    patient, strict = client.book(S), client.book(S, max_age=0.3)
    assert client.book(S, max_age=0.3) is strict is not patient
    eventually(lambda: strict.stale.snapshot().generation > 1)  # fetched anew
    eventually(lambda: strict.state is BookState.STALE and patient.state is BookState.LIVE)
    with pytest.raises(BookNotLive, match=r"no message for .* \(max_age is 0.3\)"):
        strict.snapshot()

    with pytest.raises(ValueError, match="max_age must be a positive number"):
        client.book(S, max_age=0)


def test_an_end_without_being_asked(client: SpotWSClient, exchange: Simulator) -> None:
    """The exchange unsubscribes by itself: the book is CLOSED, and what waits for it is told."""
    book, stream = client.book(S), client.ticker(S)
    other = client.book("ETH/USD")
    exchange.end_subscriptions("book", S)

    with pytest.raises(BookNotLive, match="unsubscribed without being asked"):
        book.wait_until(lambda state: False, timeout=WAIT)
    assert book.state is BookState.CLOSED
    assert other.state is BookState.LIVE
    exchange.end_subscriptions("ticker", S)
    with pytest.raises(Exception, match="ticker/BTC/USD was ended by the exchange"):
        while True:
            stream.get(timeout=WAIT)
    assert client.book(S).state is BookState.LIVE  # it can be subscribed again


def test_an_error_that_answers_nothing_is_told(
    client: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be about anything, so the log has it."""
    client.start()
    exchange.send_text(
        '{"method":"subscribe","success":false,"error":"Currency pair not supported","symbol":"A/B"}'
    )

    eventually(lambda: "Currency pair not supported" in caplog.text)
