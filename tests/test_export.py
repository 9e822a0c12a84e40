"""Exports: every row and every digit, once."""

from __future__ import annotations

import csv
import json
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any, Dict, List

import pytest
from conftest import FAST, S, eventually
from oracle import best

from kraken_sync.cli.main import main
from kraken_sync.core.wire.record_lines import own, own_line
from kraken_sync.io.tape import Record, Tape
from kraken_sync.recording import Recorder, export, health, plot_health
from kraken_sync.recording.files import LineReader
from kraken_sync.recording.manifest import wall_text_ns
from kraken_sync.simulator import Simulator


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a day with a loss in its middle."""
    path = tmp_path_factory.mktemp("day") / "day.jsonl"
    with Simulator(seed=3, rate=0) as sim, sim.client(timing=FAST) as client, Recorder(client, path):
        client.book(S)
        client.trades(S, snapshot=True)
        client.ohlc(S, 1)
        for number in range(40):
            sim.step(30, S)
            if number == 20:
                sim.cut()
                eventually(lambda: client.gaps())
                client.wait_ready()
        count = len(sim.exchange.requests)
        client.send_message({"method": "ping"})
        eventually(lambda: len(sim.requests()) > count)
    return path


def frames(path: Path, channel: str) -> List[Dict[str, Any]]:
    """The messages of a channel, decoded without the library."""
    found = []
    for line in LineReader(path):
        one = own(line)
        if one is not None and one.header.dir == "rx" and f'"channel":"{channel}"'.encode() in one.frame:
            message = json.loads(one.frame, parse_float=Decimal)
            if "data" in message:
                found.append(message)
    return found


def rows(path: Path) -> List[Dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_trades(day: Path, tmp_path: Path) -> None:
    """Each trade once, although snapshots repeat them; with the exchange's own digits."""
    export(day, tmp_path / "trades.csv")
    seen: Dict[int, Any] = {}
    for message in frames(day, "trade"):
        for trade in message["data"]:
            seen.setdefault(trade["trade_id"], trade)
    found = rows(tmp_path / "trades.csv")

    assert [int(one["trade_id"]) for one in found] == sorted(seen)
    assert [one["price"] for one in found] == [format(seen[n]["price"], "f") for n in sorted(seen)]
    assert [one["qty"] for one in found] == [format(seen[n]["qty"], "f") for n in sorted(seen)]
    assert len(found) > 100


def test_best_and_depth(day: Path, tmp_path: Path) -> None:
    """As a naive book has them, after every message."""
    export(day, tmp_path / "books.csv")
    export(day, tmp_path / "depth.csv", every_ms=1, levels=3)
    bids: Dict[Decimal, Decimal] = {}
    asks: Dict[Decimal, Decimal] = {}
    tops: List[Any] = []
    ladders = []
    for message in frames(day, "book"):
        data = message["data"][0]
        if message["type"] == "snapshot":
            bids, asks = {}, {}
        for side, name in ((bids, "bids"), (asks, "asks")):
            for level in data[name]:
                side[level["price"]] = level["qty"]
                if not level["qty"]:
                    del side[level["price"]]
            for price, _ in best(side, name, len(side))[10:]:
                del side[price]
        top = (*max(bids.items()), *min(asks.items()))
        if not tops or tops[-1] != top:
            tops.append(top)
        ladders.append([*best(asks, "asks", 3), *best(bids, "bids", 3)])
    found = [
        tuple(Decimal(one[name]) for name in ("bid", "bid_qty", "ask", "ask_qty"))
        for one in rows(tmp_path / "books.csv")
    ]
    depth: Dict[str, List[Any]] = {}
    for one in rows(tmp_path / "depth.csv"):
        depth.setdefault(one["received"], []).append((Decimal(one["price"]), Decimal(one["qty"])))

    assert found == tops
    assert all(ladder in ladders for ladder in depth.values())
    assert len(depth) > 10


def test_candles_and_gaps(day: Path, tmp_path: Path) -> None:
    """The last state of each candle; and where something is missing."""
    export(day, tmp_path / "candles.csv")
    export(day, tmp_path / "x.csv", what="gaps")
    last = {one["interval_begin"]: one for message in frames(day, "ohlc") for one in message["data"]}
    found = rows(tmp_path / "candles.csv")

    assert [one["interval_begin"] for one in found] == list(last)
    assert [one["close"] for one in found] == [format(one["close"], "f") for one in last.values()]
    assert {one["channel"] for one in rows(tmp_path / "x.csv")} == {"", "book", "trade", "ohlc"}


def test_a_hole_of_dropped_records(tmp_path: Path) -> None:
    """It is as long as the recorder has noted, and the cause is the disk."""
    tape = Tape(limit=0)
    tape.put("public 1", "rx", b"what the disk was too slow for")
    ((dropped,), _) = tape.take()
    note = json.loads(dropped.content)
    trade = (
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","price":1.0,"qty":1,"trade_id":%d}]}'
    )
    before = Record(note["since_ns"] - 10**9, 0, "public 1", "rx", trade % 1)
    after = Record(note["until_ns"] + 10**9, 0, "public 1", "rx", trade % 2)
    path = tmp_path / "hole.jsonl"
    path.write_bytes(b"".join(own_line(*record) for record in (before, dropped, after)))
    export(path, tmp_path / "x.csv", what="gaps")
    (row,) = rows(tmp_path / "x.csv")
    ((since, until, reason),) = health(path).missing

    times = [wall_text_ns(note["since_ns"]), wall_text_ns(note["until_ns"])]
    assert [row["since"], row["until"], row["reason"]] == [*times, "the disk cannot follow"]
    assert [since, until, reason] == [
        note["since_ns"] / 1e9,
        note["until_ns"] / 1e9,
        "the disk cannot follow",
    ]


def test_sqlite(day: Path, tmp_path: Path) -> None:
    """All tables, in WAL mode; the same recording again, or a part of it, changes nothing."""
    path = tmp_path / "market.sqlite"
    counts = export(day, path)
    database = sqlite3.connect(path)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def content() -> Dict[str, Any]:
        return {name: database.execute(f'SELECT * FROM "{name}"').fetchall() for name in counts}

    first = content()
    part = tmp_path / "part.jsonl"
    part.write_bytes(b"\n".join(list(LineReader(day))[:300]) + b"\n")
    export(day, path)
    export(part, path)

    assert content() == first
    assert len(first["trades"]) == counts["trades"]
    assert all(first.values())
    prices = [one["price"] for message in frames(day, "trade") for one in message["data"]]
    assert first["trades"][-1][4] == format(prices[-1], "f")
    database.close()


def test_parquet(day: Path, tmp_path: Path) -> None:
    """Decimals, and times with nanoseconds."""
    parquet = pytest.importorskip("pyarrow.parquet")
    for name in ("trades", "best", "depth", "candles"):
        export(day, tmp_path / f"{name}.parquet")
        export(day, tmp_path / f"{name}.csv")
        table = parquet.read_table(tmp_path / f"{name}.parquet").to_pydict()
        plain = rows(tmp_path / f"{name}.csv")
        assert len(plain) == len(table["symbol"]) > 0
        for column in table:
            if isinstance(table[column][0], Decimal):
                assert table[column] == [Decimal(one[column]) for one in plain]


def test_a_failed_export_leaves_nothing(day: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was there stays."""
    target = tmp_path / "trades.csv"
    target.write_text("before")

    def interrupted(read: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(day, target, progress=interrupted)
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["trades.csv"]


def test_mistakes(day: Path, tmp_path: Path) -> None:
    """Names that tell nothing, and arguments that make no sense."""
    for name, what, words in (
        ("x.txt", None, "must end in"),
        ("x.csv", None, "does not tell"),
        ("x.csv", "tradez", "one of trades"),
    ):
        with pytest.raises(ValueError, match=words):
            export(day, tmp_path / name, what=what)
    with pytest.raises(ValueError, match="every_ms"):
        export(day, tmp_path / "depth.csv", every_ms=0)
    with pytest.raises(FileNotFoundError):
        export(tmp_path / "nosuch.jsonl", tmp_path / "trades.csv")
    assert list(tmp_path.iterdir()) == []


def test_real_recordings(captures: Path, tmp_path: Path) -> None:
    """Those of others, too."""
    path = captures / "trading-system" / "btcusd_book_d10_20260719T1754Z.jsonl"
    assert export(path, tmp_path / "books.csv")["best"] > 100
    found = health(path)
    assert (len(found.mismatched), found.end - found.begin > 100) == (0, True)


def test_health(day: Path, tmp_path: Path) -> None:
    """The hole is in the figures, and in the picture."""
    found = health(day)
    assert sum(found.rates["book"].values()) == len(frames(day, "book"))
    assert len(found.missing) == 1
    assert found.spreads[S]
    pytest.importorskip("matplotlib")
    axes = plot_health(day).axes
    assert len(axes) == 2
    assert any(type(one).__name__ in ("Rectangle", "Polygon") for one in axes[0].patches)
    with pytest.raises(SystemExit) as done:
        main(["plot", str(day), "--to", str(tmp_path / "health.png")])
    assert done.value.code == 0
    assert (tmp_path / "health.png").stat().st_size > 10_000
