"""Gaps in a stream of trades are filled from REST: every trade once, in order, or a gap says otherwise."""

from __future__ import annotations

import queue
import random
import time
from decimal import Decimal
from typing import Any, Callable, Dict, List, Sequence

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, WAIT, S, eventually, some_slow

from kraken_sync import ClientClosed, ExchangeMismatch, SpotWSClient, StreamOverflow
from kraken_sync.core.backfill import TradeTape, rest_trades
from kraken_sync.core.wire.times import parse_time, time_text
from kraken_sync.market import backfill
from kraken_sync.simulator import Simulator

BEGAN = 1767607200.0


def trade(number: int) -> Dict[str, Any]:
    return {"trade_id": number, "timestamp": time_text(BEGAN + number, 6)}


def told(tape: TradeTape, act: Callable[[], Any]) -> List[int]:
    """The ids of what a reader gets by this; gap frames are strings."""
    before = len(GOT[tape])
    act()
    return [one if isinstance(one, str) else one["trade_id"] for one in GOT[tape][before:]]


GOT: Dict[TradeTape, List[Any]] = {}


def new_tape() -> TradeTape:
    got: List[Any] = []
    tape = TradeTape(S, got.append)
    GOT[tape] = got
    return tape


@pytest.mark.parametrize("seed", some_slow(60, range(20)))
def test_random_walk(seed: int) -> None:
    """Trades, gaps, interrupts and answers of a REST that lags, in any order: nothing twice, and nothing
    missing; a gap frame stands where trades were missing."""
    rng, tape, now = random.Random(seed), new_tape(), 0.0
    got = GOT[tape]
    exchange, shown, lag = 0, 0, rng.randrange(6)
    step = 1 if seed % 2 else 3  # ids need not be without holes of their own
    connected, missing = True, []

    def asked(known: int) -> None:
        rows = [trade(number * step) for number in range(1, known + 1)]
        rows = [one for one in rows if (parse_time(one["timestamp"]) or 0) * 1e9 > tape.since]
        size = rng.choice((2, 5, 1000))
        page = None
        if len(rows) > size:
            page = int((parse_time(rows[size - 1]["timestamp"]) or 0) * 1e9)
        tape.answered(rows[:size], now, page)

    def gap() -> None:
        mark = f"gap {len(missing)}"
        missing.append((mark, shown * step, exchange * step))
        tape.missed(BEGAN + shown * step, now, mark)

    for _ in range(300):
        now += 1.0
        what = rng.random()
        if what < 0.6:
            exchange += 1
            if connected:
                shown = exchange
                tape.came(trade(exchange * step), now)
        elif what < 0.7:
            connected = not connected
            if connected:
                gap()
                if rng.random() < 0.5:  # the exchange's snapshot, with trades that came before
                    for number in range(max(1, exchange - 3), exchange + 1):
                        tape.came(trade(number * step), now)
                    shown = exchange
        elif tape.not_before <= now:
            asked(exchange - lag)
    if not connected:
        gap()
    for _ in range(400):  # all is well at last
        exchange, now = exchange + 1, now + 1.0
        tape.came(trade(exchange * step), now)
        if tape.not_before <= now:
            asked(exchange)

    ids = [one["trade_id"] for one in got if not isinstance(one, str)]
    assert ids == sorted(set(ids))
    assert ids == list(range(ids[0], exchange * step + 1, step))
    assert ids[0] == step or missing[0][1] == 0
    assert not tape.open
    for mark, before, after in missing:
        at = got.index(mark)
        assert all(isinstance(one, str) or one["trade_id"] <= after for one in got[:at])
        assert all(isinstance(one, str) or one["trade_id"] > before for one in got[at:])


def test_what_rest_never_has_is_given_up() -> None:
    """A while after the first trade that is held back; each hole has its own while."""
    tape = new_tape()
    assert told(tape, lambda: tape.came(trade(1), 0.0)) == [1]
    tape.missed(None, 1.0)
    assert told(tape, lambda: tape.came(trade(5), 100.0)) == []
    assert tape.wakes(60.0) == 160.0
    tape.answered([trade(1)], 101.0)
    tape.missed(None, 150.0, "second")
    assert told(tape, lambda: tape.came(trade(10), 155.0)) == []
    assert told(tape, lambda: tape.give_up("lost")) == ["lost", 5, "second"]
    assert tape.wakes(60.0) == 215.0
    assert told(tape, tape.give_up) == [10]
    assert told(tape, lambda: tape.came(trade(11), 162.0)) == [11]


def test_when_rest_is_asked() -> None:
    """At once, then less and less often, whatever comes; for a minute after a gap without a trade."""
    tape, asked = new_tape(), []
    tape.came(trade(1), 0.0)
    tape.missed(None, 0.0)
    for tenth in range(2000):
        now = tenth / 10
        if tape.not_before <= now:
            asked.append(now)
            tape.answered([trade(1)], now)
    assert asked[:4] == [0.0, 0.5, 1.5, 3.5]
    assert 60 <= asked[-1] < 70
    tape.came(trade(5), 200.0)
    assert tape.not_before == 200.0
    tape.again(200.0, patience=900.0)
    for number in range(6, 50):
        tape.came(trade(number), 201.0)
    tape.missed(None, 202.0)
    assert tape.not_before == 1100.0


def test_before_any_trade_was_read() -> None:
    """REST's trades from before the stream began are not told, and none that waits is lost."""
    tape = new_tape()
    tape.missed(BEGAN + 10, 0.0)
    tape.came(trade(12), 0.0)
    tape.came(trade(13), 0.0)
    rows = [trade(9), trade(10), trade(11), trade(14)]  # REST lacks some of what has come
    assert told(tape, lambda: tape.answered(rows, 1.0)) == [10, 11, 12, 13, 14]
    assert not tape.open


def test_many_trades_in_one_second() -> None:
    """The pages of REST are followed by its own position."""
    tape, rows = new_tape(), [{**trade(1), "trade_id": number} for number in range(1, 5001)]
    tape.came(rows[0], 0.0)
    tape.missed(None, 0.0)
    tape.came({**trade(1), "trade_id": 5001}, 0.0)
    position = 0
    while tape.open:
        position += 1000
        tape.answered(rows[position - 1000 : position], float(position), position)
        assert not tape.open or tape.since == position
    assert [one["trade_id"] for one in GOT[tape]] == list(range(1, 5002))


@pytest.mark.parametrize(
    "row",
    [
        None,
        [],
        ["1", "1", 1.0, "b", "l", ""],
        ["x", "1", 1.0, "b", "l", "", 1],
        ["1", "1", 1.0, "?", "l", "", 1],
    ],
)
def test_rows_that_are_none(row: Any) -> None:
    """They and what comes after them count as missing."""
    good = ["1.5", "0.5", BEGAN, "s", "m", "", 3]
    assert [one["trade_id"] for one in rest_trades(S, [good, row, good])] == [3]


def drain(stream: Any, exchange: Simulator, wanted: int) -> List[Dict[str, Any]]:
    """Read until the exchange's last ``wanted`` trades are there."""
    got: List[Dict[str, Any]] = []

    def caught_up() -> bool:
        try:
            while True:
                got.append(stream.get(0.2))
        except queue.Empty:
            return bool(got) and got[-1].get("trade_id") == ids(exchange)[-1] and len(got) >= wanted

    eventually(caught_up, "the last trade")
    return got


def ids(exchange: Simulator) -> List[int]:
    tape = exchange.exchange.markets[S].tape
    return exchange.call(lambda: [one.trade_id for one in tape.trades])


@pytest.mark.parametrize("lag", [pytest.param(0.0, marks=pytest.mark.slow), 0.8])
def test_cuts(new_client: Callable[..., SpotWSClient], exchange: Simulator, lag: float) -> None:
    """Trades that happened while the line was down are there, marked, in their place, and none twice."""
    client = new_client(parse_float=Decimal)
    stream, before = client.trades(S, backfill=True), ids(exchange)[-1]
    exchange.faults.rest_lag = lag
    for number in range(4):
        exchange.step(80, [S])
        exchange.faults.refuse_connections = 3
        exchange.cut()
        exchange.step(120, [S])
        eventually(lambda: len(client.gaps()) > number)  # noqa: B023
        exchange.step(80, [S])
    wanted = [one for one in ids(exchange) if one > before]
    got = drain(stream, exchange, len(wanted))

    assert [one["trade_id"] for one in got] == wanted
    filled = [one for one in got if one.get("backfilled")]
    assert 0 < len(filled) < len(got)
    live = next(one for one in got if not one.get("backfilled"))
    assert set(filled[0]) - set(live) == {"backfilled"}
    assert {type(one[name]) for one in got for name in ("price", "qty")} == {Decimal}
    assert len(stream.gaps) == 4


def test_a_slow_reader(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """What was dropped because it was not read in time is filled in, too; "raise" still raises."""
    client = new_client()
    stream, before = client.trades(S, backfill=True, maxlen=2), ids(exchange)[-1]
    strict = client.trades(S, backfill=True, maxlen=2, policy="raise")
    for _ in range(12):
        exchange.step(60, [S])
    eventually(lambda: stream.dropped > 2)
    wanted = [one for one in ids(exchange) if one > before]
    with pytest.raises(StreamOverflow):
        drain(strict, exchange, 1)

    assert [one["trade_id"] for one in drain(stream, exchange, len(wanted))] == wanted


def test_rest_is_down(client: SpotWSClient, exchange: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the end the trades after the gap come, and a gap frame before them says that some are missing."""
    monkeypatch.setattr(backfill, "PATIENCE", 1.0)
    stream = client.trades(S, backfill=True, gaps=True)
    exchange.step(80, [S])
    first = stream.get(WAIT)
    exchange.faults.rest_lag = 1e6
    exchange.cut()
    exchange.step(80, [S])
    eventually(lambda: client.stats()["reconnects"] and client.active_public_subscriptions)
    exchange.step(80, [S])
    got = drain(stream, exchange, 1)
    gaps = [one for one in got if one.get("type") == "gap"]

    assert first["trade_id"]
    assert [one["data"][0]["reason"] for one in gaps][1:] == ["REST does not have all trades"]
    assert [one["reason"] for one in stream.gaps][1:] == ["REST does not have all trades"]
    at = got.index(gaps[1])
    assert got[at - 1] is gaps[0] or got[at - 1]["trade_id"] < got[at + 1]["trade_id"] - 1


def test_the_end(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Trades that are held back when the client is closed come before the end."""
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET)
    stream = client.trades(S, backfill=True)
    exchange.step(80, [S])
    assert stream.get(WAIT)
    exchange.faults.rest_lag = 1e6
    exchange.cut()
    exchange.step(80, [S])
    eventually(lambda: client.stats()["reconnects"] and client.active_public_subscriptions)
    exchange.step(80, [S])
    with pytest.raises(queue.Empty):
        while True:
            stream.get(0.5)
    client.close()
    assert [one["trade_id"] for one in stream] == ids(exchange)[-1:] or stream.gaps[-1]["reason"].startswith(
        "REST"
    )
    with pytest.raises(ClientClosed):
        stream.get(0)


def cut(client: SpotWSClient, exchange: Simulator, missed: int, symbols: Sequence[str] = (S,)) -> None:
    """An outage in which that many events happen."""
    had = client.stats()["reconnects"]
    exchange.faults.refuse_connections = 2
    exchange.cut()
    exchange.step(missed, list(symbols))
    eventually(lambda: client.stats()["reconnects"] > had and client.active_public_subscriptions)


def test_a_reader_that_polls(client: SpotWSClient, exchange: Simulator) -> None:
    """REST may take longer than a read waits; its answer is there for a later one."""
    stream, before = client.trades(S, backfill=True), ids(exchange)[-1]
    exchange.step(80, [S])
    got = [stream.get(WAIT)]
    exchange.faults.public_rest_delay = 0.3
    cut(client, exchange, 120)
    exchange.step(80, [S])

    def caught_up() -> bool:
        try:
            while True:
                got.append(stream.get(0.01))
        except queue.Empty:
            return bool(got[-1]["trade_id"] == ids(exchange)[-1])

    eventually(caught_up)
    assert [one["trade_id"] for one in got] == [one for one in ids(exchange) if one > before]


def test_an_interrupted_reader(client: SpotWSClient, exchange: Simulator) -> None:
    """What a Ctrl-C takes from the queue is filled in from REST."""
    stream, before = client.trades(S, backfill=True), ids(exchange)[-1]
    exchange.step(80, [S])
    got = [stream.get(WAIT)]
    cut(client, exchange, 120)
    exchange.step(80, [S])
    tape = stream._tapes[S]
    tell, left = tape._tell, [5]

    def interrupted(trade: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        tell(trade)

    tape._tell = interrupted
    with pytest.raises(KeyboardInterrupt):
        while True:
            got.append(stream.get(WAIT))
    wanted = [one for one in ids(exchange) if one > before]
    exchange.step(80, [S])
    got += drain(stream, exchange, 1)
    assert [one["trade_id"] for one in got][: len(wanted)] == wanted


def test_rest_hangs(client: SpotWSClient, exchange: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trades are not held back for longer because there are several symbols to ask for."""
    monkeypatch.setattr(backfill, "PATIENCE", 0.5)
    symbols = [S, "ETH/USD", "SOL/USD"]
    stream = client.trades(symbols, backfill=True)
    exchange.step(300, symbols)
    with pytest.raises(queue.Empty):
        while True:
            stream.get(0.3)
    exchange.faults.public_rest_delay = 30.0
    cut(client, exchange, 300, symbols)
    exchange.step(300, symbols)
    started, traded = time.monotonic(), set()
    with pytest.raises(queue.Empty):
        while True:
            traded.add(stream.get(2.0)["symbol"])
    assert time.monotonic() - started < 6
    assert len(traded) > 1
    assert {gap["symbol"] for gap in stream.gaps if gap["reason"].startswith("REST")} == traded


def test_what_has_no_backfill(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Said at the call, not at the first gap."""
    client = new_client()
    for call in (client.ohlc, client.ticker):
        with pytest.raises(TypeError, match="has no argument 'backfill'"):
            call(S, backfill=True)
    with pytest.raises(ValueError, match="client.trades"):
        client.subscribe({"channel": "trade", "symbol": S, "backfill": True})
    with pytest.raises(TypeError, match="True or False"):
        client.trades(S, backfill="no")
    with pytest.raises(ValueError, match="conflate"):
        client.trades(S, backfill=True, policy="conflate")
    elsewhere = SpotWSClient(ws_url=exchange.ws_url)
    with elsewhere, pytest.raises(ExchangeMismatch):
        elsewhere.trades(S, backfill=True)


def test_back_off(client: SpotWSClient, exchange: Simulator) -> None:
    """A lockout is heeded, however many trades come."""
    stream = client.trades(S, backfill=True)
    exchange.step(80, [S])
    assert stream.get(WAIT)
    exchange.faults.public_rest_errors = ["EGeneral:Temporary lockout"] * 100
    cut(client, exchange, 20)
    for _ in range(10):
        exchange.step(40, [S])
        with pytest.raises(queue.Empty):
            while True:
                stream.get(0.1)
    assert len(exchange.faults.public_rest_errors) == 99
