"""Gaps in a stream of trades are filled from REST: every trade once, in order, or a gap says otherwise."""

from __future__ import annotations

import queue
import random
from decimal import Decimal
from typing import Any, Callable, Dict, List

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, WAIT, S, eventually

from kraken_sync import ClientClosed, SpotWSClient, StreamOverflow
from kraken_sync.core.backfill import TradeTape, rest_trades
from kraken_sync.core.wire.times import time_text
from kraken_sync.market import backfill
from kraken_sync.simulator import Simulator

BEGAN = 1767607200.0


def trade(number: int) -> Dict[str, Any]:
    return {"trade_id": number, "timestamp": time_text(BEGAN + number, 6)}


@pytest.mark.parametrize("seed", range(40))
def test_random_walk(seed: int) -> None:
    """Trades, gaps and answers of a REST that lags, in any order: nothing twice, and nothing missing."""
    rng, tape, got, now = random.Random(seed), TradeTape(S), [], 0.0
    exchange, shown, lag = 0, 0, rng.randrange(6)
    step = 1 if seed % 2 else 3  # ids need not be without holes of their own
    connected = True
    for _ in range(300):
        now += 1.0
        what = rng.random()
        if what < 0.6:
            exchange += 1
            if connected:
                shown = exchange
                got += tape.came(trade(exchange * step), now)
        elif what < 0.7:
            connected = not connected
            if connected:
                tape.missed(time_text(BEGAN + shown * step, 6) if shown else None, now)
                if rng.random() < 0.5:  # the exchange's snapshot, with trades that came before
                    for number in range(max(1, exchange - 3), exchange + 1):
                        got += tape.came(trade(number * step), now)
        elif tape.not_before <= now:
            known = [trade(number * step) for number in range(1, exchange + 1 - lag)]
            since = [one for one in known if one["timestamp"] > time_text(tape.since, 6)]
            got += tape.answered(since[: rng.choice((2, 1000))], now)
    if not connected:
        tape.missed(time_text(BEGAN + shown * step, 6) if shown else None, now)
    for _ in range(400):  # all is well at last
        exchange, now = exchange + 1, now + 1.0
        got += tape.came(trade(exchange * step), now)
        if tape.not_before <= now:
            known = [trade(number * step) for number in range(1, exchange + 1)]
            got += tape.answered([one for one in known if one["timestamp"] > time_text(tape.since, 6)], now)

    ids = [one["trade_id"] for one in got]
    assert ids == sorted(set(ids))
    assert ids == list(range(ids[0], exchange * step + 1, step))
    assert not tape.open


def test_what_rest_never_has_is_given_up() -> None:
    """After a while, and not before; what was held back comes then."""
    tape = TradeTape(S)
    assert tape.came(trade(1), 0.0) == [trade(1)]
    tape.missed(None, 1.0)
    assert tape.came(trade(5), 2.0) == []
    assert tape.answered([trade(1)], 3.0) == []
    assert tape.given_up(30.0, 60.0) is None
    assert tape.given_up(61.0, 60.0) == [trade(5)]
    assert tape.came(trade(6), 62.0) == [trade(6)]


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
    """They are left out, and so count as missing."""
    good = ["1.5", "0.5", BEGAN, "s", "m", "", 3]
    assert [one["trade_id"] for one in rest_trades(S, [row, good])] == [3]


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


@pytest.mark.parametrize("lag", [0.0, 0.8])
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

    assert [one["trade_id"] for one in drain(stream, exchange, len(wanted))][-20:] == wanted[-20:]


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
