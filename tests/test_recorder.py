"""Recorders: everything is in the file, or the file says what is not, whatever happens to the disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
from conftest import CANARY_TOKEN, FAR, WAIT, S, eventually

from kraken_sync import OrderBook, SpotWSClient
from kraken_sync.core.wire.record_lines import own, own_line
from kraken_sync.io.tape import Record, Tape, Tapes
from kraken_sync.recording import Recorder, export, health, verify_archive, verify_file
from kraken_sync.recording.files import CHUNK, LineReader, Sink, compressor
from kraken_sync.recording.writer import DAY_NS, Writer
from kraken_sync.replay import Replay
from kraken_sync.simulator import Simulator

ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def lines(path: Path) -> List[bytes]:
    return list(LineReader(path))


def told(path: Path) -> List[Tuple[str, str, Any]]:
    """Direction, connection and content of each record."""
    found = []
    for line in lines(path):
        one = own(line)
        assert one is not None, line
        found.append((one.header.dir, one.header.connection, json.loads(one.frame)))
    return found


def step(exchange: Simulator, count: int) -> None:
    """So many messages of the book."""
    for _ in range(count):
        exchange.step(3, S)


def top(book: OrderBook) -> Any:
    """The book as :meth:`Simulator.top` has the exchange's."""
    bids, asks = (
        [(int(price.scaleb(1)), int(qty.scaleb(8))) for price, qty in side] for side in (book.bids, book.asks)
    )
    return bids, asks


@pytest.mark.parametrize("ending", ENDINGS)
def test_everything_is_recorded(
    client: SpotWSClient, exchange: Simulator, tmp_path: Path, ending: str
) -> None:
    """Every frame with its own bytes, in both directions; books are verified; the manifest has the counts."""
    path = tmp_path / f"day{ending}"
    with Recorder(client, path) as recorder:
        book = client.book(S)
        messages = client.messages
        client.subscribe({"channel": "trade", "symbol": [S]})
        step(exchange, 50)
        eventually(lambda: top(book) == exchange.top(S, 10))
        version, verified = book.snapshot().checksum, client.stats()["verified"]
    seen = [messages.get(0) for _ in range(20)]
    records = told(path)
    frames = [content for direction, _, content in records if direction == "rx"]
    sent = [content["method"] for direction, _, content in records if direction == "tx"]
    report = verify_file(path)
    (entry,) = map(json.loads, (tmp_path / "day.manifest.jsonl").read_text().splitlines())

    assert all(json.loads(json.dumps(one)) in frames for one in seen)
    assert sent.count("subscribe") == 2
    assert (report.mismatched, report.skipped, report.cut, report.foreign) == (0, 0, "", 0)
    assert report.verified == verified > 50
    assert version in [one["data"][0].get("checksum") for one in frames if one.get("channel") == "book"]
    assert (entry["file"], entry["received"], entry["book_messages"]) == (
        path.name,
        report.messages,
        report.book_messages,
    )
    assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert entry["channels"]["book"] == [S]
    assert (recorder.dropped, recorder.files) == (0, [path])
    assert recorder.records == entry["records"] == len(records)


def test_what_was_there_before(client: SpotWSClient, exchange: Simulator, tmp_path: Path) -> None:
    """A recorder that comes late knows the books, in their depth, and verifies from the first message on."""
    book = client.book(S, 25)
    step(exchange, 10)
    with Recorder(client, tmp_path / "late.jsonl"):
        step(exchange, 20)
        eventually(lambda: client.stats()["verified"] > 25)
        assert book.snapshot()
    report = verify_file(tmp_path / "late.jsonl")
    states = [one for direction, _, one in told(tmp_path / "late.jsonl") if direction == "state"]

    assert (report.skipped, report.mismatched) == (0, 0)
    assert report.verified >= 15
    assert states[0]["result"]["depth"] == 25
    assert states[1]["type"] == "snapshot"


def test_across_restarts(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, tmp_path: Path
) -> None:
    """Begun before the client, and going on when that is closed and started again."""
    client = new_client()
    with Recorder(client, tmp_path / "all.jsonl") as recorder:
        for _ in range(2):
            client.start()
            client.book(S)
            exchange.step(5, S)
            client.close()
        assert "recording" in repr(recorder)
    notes = [one["note"] for direction, _, one in told(tmp_path / "all.jsonl") if direction == "note"]

    assert notes == ["file", "open", "closed", "open", "closed"]
    assert verify_file(tmp_path / "all.jsonl").mismatched == 0
    recorder.close()  # again
    assert "closed" in repr(recorder)


@pytest.mark.parametrize("private", [False, True])
def test_private_connections_and_tokens(
    trader: SpotWSClient, exchange: Simulator, tmp_path: Path, private: bool
) -> None:
    """Orders are recorded only if that was asked for; tokens never."""
    path = tmp_path / "mine.jsonl"
    with Recorder(trader, path, private=private):
        trader.level3_book(S)
        placed = trader.add_order(**FAR)
        trader.orders.wait_open(placed["order_id"])
    text = path.read_text("utf-8")

    assert (placed["order_id"] in text) is private
    assert '"level3' in text
    assert CANARY_TOKEN not in text
    assert '"token":"hidden"' in text


def test_a_gap_is_noted(client: SpotWSClient, exchange: Simulator, tmp_path: Path) -> None:
    """Where the connection was lost, and what each subscription misses."""
    with Recorder(client, tmp_path / "cut.jsonl"):
        client.book(S)
        exchange.cut()
        eventually(lambda: client.gaps())
    report = verify_file(tmp_path / "cut.jsonl")
    (entry,) = map(json.loads, (tmp_path / "cut.manifest.jsonl").read_text().splitlines())

    assert [gap["note"] for gap in report.gaps] == ["lost", "gap"]
    assert report.gaps[1]["symbol"] == S
    assert entry["gap_count"] == 2


def test_a_frame_that_is_no_json(client: SpotWSClient, exchange: Simulator, tmp_path: Path) -> None:
    """It is kept as text, and the lines stay lines."""
    with Recorder(client, tmp_path / "odd.jsonl"):
        exchange.send_text('{"half":\n "a line\\')
        exchange.send_text('{"two":\n"lines"}')
        eventually(lambda: client.stats()["malformed"] >= 2)
    contents = [own(line) for line in lines(tmp_path / "odd.jsonl")]

    assert None not in contents
    assert {b'{"half":\n "a line\\', b'{"two":\n"lines"}'} <= {one.frame for one in contents if one}


# -- files -----------------------------------------------------------------------------------


def records_of(count: int, begin: int = DAY_NS, apart: int = 10**9) -> List[Record]:
    frame = b'{"channel":"heartbeat"}'
    return [Record(begin + n * apart, n, "public 1", "rx", frame) for n in range(count)]


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_cut(tmp_path: Path, ending: str) -> None:
    """A file that ends at whatever byte is read up to its last whole line, and said to be cut."""
    writer = Writer(tmp_path / f"whole{ending}", None, False, lambda: None)
    for record in records_of(12):
        writer.write([record])
        writer.flush()
    writer.end()
    whole = (tmp_path / f"whole{ending}").read_bytes()
    expected = lines(tmp_path / f"whole{ending}")
    assert len(expected) == 13
    cut = tmp_path / f"cut{ending}"
    counts = []
    for size in range(len(whole)):
        cut.write_bytes(whole[:size])
        reader = LineReader(cut)
        found = list(reader)
        assert found == expected[: len(found)]
        # A plain file that ends with a line end cannot be told from a whole one.
        assert reader.cut or (ending == ".jsonl" and whole[:size][-1:] in (b"\n", b"")) or size == 0
        counts.append(len(found))

    assert counts == sorted(counts)
    assert set(counts) >= set(range(2, 12))


def test_numbered_files(tmp_path: Path) -> None:
    """Another file at midnight UTC and at the size; every record is in exactly one, in order."""
    begun: List[None] = []
    writer = Writer(tmp_path / "x.jsonl", 20_000, True, lambda: begun.append(None))
    writer._day = 1  # the test's day, not today
    given = records_of(3000, DAY_NS, 60 * 10**9)  # two days and two hours
    for start in range(0, 3000, 100):
        writer.write(given[start : start + 100])
    writer.end()
    found = [
        one.header.wall_ns
        for path in writer.files
        for one in map(own, lines(path))
        if one is not None and one.header.dir == "rx"
    ]

    assert found == [one.wall_ns for one in given]
    assert len(writer.files) > 3
    assert len(begun) == len(writer.files) - 1
    assert [path.name[-12:] for path in writer.files[:2]] == ["000001.jsonl", "000002.jsonl"]
    assert writer.records == 3000 + len(writer.files)
    again = Writer(tmp_path / "x.jsonl", 20_000, True, lambda: None)  # a recorder that is started again
    assert int(again.files[0].name[-12:-6]) == len(writer.files) + 1
    again.end()
    assert not verify_archive(tmp_path).faults


class Disk:
    """A file on a disk that can be full, or slow."""

    def __init__(self, file: Any) -> None:
        self.file = file
        self.full = False
        self.may_write = threading.Event()
        self.may_write.set()

    def write(self, data: bytes) -> int:
        assert self.may_write.wait(WAIT)
        if self.full:
            # A part of it still fits.
            if len(data) > 10:
                return int(self.file.write(data[:10]))
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self.file.write(data))

    @property
    def closed(self) -> bool:
        return bool(self.file.closed)

    def fileno(self) -> int:
        return int(self.file.fileno())

    def close(self) -> None:
        self.file.close()


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> List[Disk]:
    """The disks under all files that are recorded to."""
    made: List[Disk] = []
    before = Sink.__init__

    def begin(self: Sink, path: Any) -> None:
        before(self, path)
        made.append(Disk(self._file))
        self._file = made[-1]

    monkeypatch.setattr(Sink, "__init__", begin)
    return made


def test_a_full_disk(
    client: SpotWSClient,
    exchange: Simulator,
    tmp_path: Path,
    disks: List[Disk],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told, and when there is room again, the file goes on at the same byte."""
    with Recorder(client, tmp_path / "full.jsonl") as recorder:
        client.book(S)
        disks[0].full = True
        step(exchange, 10)
        eventually(lambda: recorder.error)
        step(exchange, 10)
        disks[0].full = False
        eventually(lambda: recorder.error is None)
        step(exchange, 10)
        eventually(lambda: client.stats()["verified"] >= 28)
    report = verify_file(tmp_path / "full.jsonl")

    assert "cannot be written: [Errno 28]" in caplog.text
    assert "the recording goes on" in caplog.text
    assert (report.mismatched, report.skipped, report.foreign, recorder.dropped) == (0, 0, 0, 0)
    assert report.verified >= 28
    assert verify_archive(tmp_path).proven


def test_a_disk_that_stays_full(client: SpotWSClient, tmp_path: Path, disks: List[Disk]) -> None:
    """close() says that the rest is missing."""
    recorder = Recorder(client, tmp_path / "full.jsonl")
    disks[0].full = True
    client.book(S)
    with pytest.raises(OSError, match="No space left"):
        recorder.close()


def test_a_disk_that_cannot_follow(
    client: SpotWSClient,
    exchange: Simulator,
    tmp_path: Path,
    disks: List[Disk],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The client does not wait: records are dropped, logged and noted; then books are known again."""
    with Recorder(client, tmp_path / "slow.jsonl", _limit=60_000) as recorder:
        book = client.book(S)
        eventually(lambda: recorder.records > 3)
        disks[0].may_write.clear()
        before = client.stats()["verified"]
        step(exchange, 200)
        eventually(lambda: client.stats()["verified"] >= before + 190)  # although nothing can be written
        assert recorder.dropped > 0
        disks[0].may_write.set()
        eventually(lambda: "cannot follow" in caplog.text)
        for _ in range(4):
            written = recorder.records
            step(exchange, 5)
            eventually(lambda written=written: recorder.records > written)
        assert str(book.state) == "LIVE"
    report = verify_file(tmp_path / "slow.jsonl")
    dropped = [gap for gap in report.gaps if gap["note"] == "dropped"]

    assert sum(gap["records"] for gap in dropped) == recorder.dropped
    assert report.mismatched == 0
    assert report.verified > 20
    assert lines(tmp_path / "slow.jsonl")[-1].count(b'"dir":"rx"') == 1  # it went on after the hole


def test_a_killed_recorder(tmp_path: Path) -> None:
    """SIGKILL: everything up to a moment before is there, verified, and the end is said to be missing."""
    path = tmp_path / "killed.jsonl.gz"
    command = [sys.executable, "-m", "kraken_sync", "record", str(path), S, "--simulated"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: path.exists() and len(lines(path)) > 200)
        read = len(lines(path))
    finally:
        process.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        process.wait(WAIT)
    report = verify_file(path)
    found = verify_archive(tmp_path)

    assert report.cut == "its end is missing"
    assert report.verified + report.sent > read * 0.5
    assert report.mismatched == 0
    assert (found.proven, found.files[0].listed) == (True, False)


# -- archives --------------------------------------------------------------------------------


@pytest.fixture
def archive(client: SpotWSClient, exchange: Simulator, tmp_path: Path) -> Path:
    """An archive of some files."""
    folder = tmp_path / "archive"
    folder.mkdir()
    with Recorder(client, folder / "day.jsonl", max_bytes=10_000):
        client.book(S)
        for _ in range(4):
            step(exchange, 20)
            count = len(list(folder.iterdir()))
            eventually(lambda count=count: step(exchange, 2) or len(list(folder.iterdir())) > count)
    assert verify_archive(folder).proven
    return folder


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_the_manifest(folder: Path) -> None:
    path = folder / "day.manifest.jsonl"
    path.write_text(path.read_text().replace('"received": ', '"received": 1', 1))


def remove_an_entry(folder: Path) -> None:
    path = folder / "day.manifest.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


TAMPERINGS: Dict[str, Callable[[Path], None]] = {
    "does not follow": remove_an_entry,
    "manifest says": change_the_manifest,
    "SHA-256": lambda folder: change_a_byte(sorted(folder.glob("day-*.jsonl"))[1]),
    "is missing": lambda folder: sorted(folder.glob("day-*.jsonl"))[1].unlink(),
}


@pytest.mark.parametrize("words", TAMPERINGS)
def test_an_archive_that_was_changed(archive: Path, words: str) -> None:
    """Whatever was changed, it is not proven, and the report says why."""
    TAMPERINGS[words](archive)
    found = verify_archive(archive)

    assert not found.proven
    assert words in json.dumps(found.as_dict())


def test_a_book_goes_on_in_the_next_file(archive: Path) -> None:
    """The files of an archive are one recording; each can be verified alone, too."""
    found = verify_archive(archive)
    assert len(found.files) > 2
    assert sum(one.report.skipped for one in found.files) == 0
    for path in archive.glob("day-*.jsonl"):
        alone = verify_file(path)
        assert (alone.mismatched, alone.cut) == (0, "")


def test_the_file_after_a_missing_one(archive: Path) -> None:
    """It is not blamed for what is missing before it."""
    for missing in sorted(archive.glob("day-*.jsonl"))[:-1]:
        content = missing.read_bytes()
        missing.unlink()
        found = {one.file: one.faults for one in verify_archive(archive).files if one.faults}
        assert found == {missing.name: ["it is missing"]}
        missing.write_bytes(content)


def test_the_file_of_a_killed_recorder_among_others(
    archive: Path, client: SpotWSClient, exchange: Simulator
) -> None:
    """It is judged where it belongs, before those of the recorder that was started after it."""
    manifest = archive / "day.manifest.jsonl"
    *listed, killed = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(listed))
    with Recorder(client, archive / "day.jsonl", max_bytes=10_000) as recorder:
        eventually(lambda: step(exchange, 2) or len(recorder.files) > 2)
    found = verify_archive(archive)
    name = json.loads(killed)["file"]

    assert [one.file for one in found.files] == sorted(path.name for path in archive.glob("day-*.jsonl"))
    assert (found.proven, found.unlisted) == (True, [name])
    assert [one.report.skipped for one in found.files if one.file == name] == [0]


def test_a_name_that_is_used_again(client: SpotWSClient, exchange: Simulator, tmp_path: Path) -> None:
    """The new file is listed, too, and compared with its own entry."""
    path, moved = tmp_path / "btc.jsonl", tmp_path / "elsewhere"
    client.book(S)
    for _ in range(2):
        if path.exists():
            path.rename(moved)
        with Recorder(client, path) as recorder:
            eventually(lambda recorder=recorder: step(exchange, 2) or recorder.records > 5)
    found = verify_archive(tmp_path)

    assert (tmp_path / "btc.manifest.jsonl").read_text().count("\n") == 2
    assert (found.proven, [one.file for one in found.files], found.unlisted) == (True, ["btc.jsonl"], [])
    moved.replace(path)
    assert "SHA-256" in str(verify_archive(tmp_path).files[0].faults)


# -- mistakes --------------------------------------------------------------------------------


def test_mistakes(client: SpotWSClient, tmp_path: Path) -> None:
    """What cannot be recorded is said at once."""
    there = tmp_path / "there.jsonl"
    there.write_text("precious")
    with pytest.raises(FileExistsError, match="never overwritten"):
        Recorder(client, there)
    assert there.read_text() == "precious"
    with pytest.raises(FileNotFoundError):
        Recorder(client, tmp_path / "no" / "such.jsonl")
    with pytest.raises(ValueError, match="max_bytes"):
        Recorder(client, tmp_path / "a.jsonl", max_bytes=0)
    with pytest.raises(TypeError, match="SpotWSClient"):
        Recorder("BTC/USD", tmp_path / "a.jsonl")
    with pytest.raises(NotADirectoryError):
        verify_archive(there)
    assert client._ks_runtime.tapes.all == ()
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no recordings" in verify_archive(empty).faults[0]


# -- what else can go wrong ------------------------------------------------------------------


def test_a_manifest_that_cannot_be_written(
    client: SpotWSClient, exchange: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is finished; its entry is written when there is room again, once."""
    failures = [OSError(errno.ENOSPC, "No space left on device")] * 3
    fsync = os.fsync

    def full(number: int) -> None:
        fsync(number)
        if failures and os.readlink(f"/proc/self/fd/{number}").endswith("manifest.jsonl"):
            raise failures.pop()

    monkeypatch.setattr(os, "fsync", full)
    with Recorder(client, tmp_path / "x.jsonl", max_bytes=3000) as recorder:
        client.book(S)
        eventually(lambda: step(exchange, 2) or len(recorder.files) > 3)
        eventually(lambda: recorder.error is None)
    assert not failures
    assert verify_archive(tmp_path).proven
    assert all(one.listed for one in verify_archive(tmp_path).files)


@pytest.mark.parametrize(("missing", "unlisted"), [(1, 0), (2, 1), (100, 1)])
def test_a_manifest_that_was_cut(
    client: SpotWSClient, exchange: Simulator, tmp_path: Path, missing: int, unlisted: int
) -> None:
    """The next recorder goes on after the last whole entry; only one file is not listed."""
    manifest = tmp_path / "x.manifest.jsonl"
    client.book(S)
    for number in range(3):
        with Recorder(client, tmp_path / "x.jsonl", daily=True) as recorder:
            eventually(lambda recorder=recorder: step(exchange, 2) or recorder.records > 5)
        if number == 1:
            manifest.write_bytes(manifest.read_bytes()[:-missing])
            before = verify_archive(tmp_path)
    after = verify_archive(tmp_path)

    assert (before.proven, len(before.unlisted)) == (True, unlisted)
    assert (after.proven, after.faults, after.unlisted) == (True, [], before.unlisted)
    assert len(after.files) == 3


def test_clocks_that_are_set_back(tmp_path: Path) -> None:
    """Around midnight, too: every record once, in the order in which it came."""
    frame = b'{"channel":"heartbeat"}'
    writer = Writer(tmp_path / "x.jsonl", None, True, lambda: None)
    writer._day = 1
    given = [Record(day * DAY_NS, n, "public 1", "rx", frame) for n, day in enumerate([1, 2, 1, 2, 9**5, 1])]
    writer.write(list(given))
    writer.end()
    found = [one.header.mono_ns for path in writer.files for one in map(own, lines(path)) if one]

    assert [number for number in found if number < 10] == [0, 1, 2, 3, 4, 5]
    assert len(writer.files) == 3


def test_recorders_that_end_while_others_go_on() -> None:
    """A change of the recorders makes no other one miss a frame."""
    tapes, tape = Tapes(), Tape()
    others = [Tape(), Tape()]
    for one in (others[0], tape, others[1]):
        tapes.add(one)
    seen = []
    for one in tapes.all:
        tapes.remove(others[0])
        seen.append(one)
    assert seen == [others[0], tape, others[1]]
    assert tapes.all == (tape, others[1])


@pytest.mark.parametrize(
    "frame",
    [
        b'{"method":"subscribe","success":true,"result":{"channel":"bo\xffok"}}',
        b'{"channel":"trade","type":"update","data":[{"symbol":"B\xffC","qty":1}]}',
        b'{"channel":"trade","type":"update","data":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'"a text that is whole"',
        b"\x00",
    ],
)
def test_odd_frames(tmp_path: Path, frame: bytes) -> None:
    """They end nothing: not the recorder, nor who reads what it wrote."""
    path = tmp_path / "odd.jsonl"
    writer = Writer(path, None, False, lambda: None)
    good = b'{"channel":"trade","type":"update","data":[{"symbol":"A/B","trade_id":1,"price":1.5,"qty":2}]}'
    writer.write([Record(n, n, "public 1", "rx", text) for n, text in enumerate([good, frame, good])])
    writer.end()
    assert verify_file(path).messages >= 2
    assert export(path, tmp_path / "trades.csv") == {"trades": 1}
    assert Replay(path).messages >= 2
    assert health(path).rates["trade"]


@pytest.mark.parametrize("ending", [".jsonl.gz", ".jsonl.zst"])
@pytest.mark.parametrize("chunk", [997, CHUNK])
def test_damage_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, chunk: int) -> None:
    """All whole lines before it are read, however the file is read, and from all its parts."""
    monkeypatch.setattr("kraken_sync.recording.files.CHUNK", chunk)
    path = tmp_path / f"x{ending}"
    made = compressor(path)
    first = made.add(b"a first part\n") + made.end()
    writer = Writer(path, None, False, lambda: None)
    for record in records_of(3000):
        writer.write([record])
        if record.mono_ns % 300 == 0:
            writer.flush()
    content = first + path.read_bytes()
    path.write_bytes(content)
    reader = LineReader(path)
    whole = len(list(reader))
    assert (reader.cut, whole > 2400) == ("its end is missing", True)
    for tail in (b"\xff" * 64, bytes(4096)):
        path.write_bytes(content + tail)
        reader = LineReader(path)
        assert len(list(reader)) == whole
        assert reader.cut
    path.write_bytes(b"")
    reader = LineReader(path)
    assert (list(reader), reader.cut) == ([], "its end is missing")
    writer.abandon()


@pytest.mark.parametrize(
    "text",
    [
        '{"params":{"token":"SECRET"}}',
        '{"params": {"token" : "SECRET", "x": 1}}',
        '{"error":"cannot read {\\"token\\":\\"SECRET\\"}"}',
        '{"params":{"token":"SECRET',
    ],
)
def test_tokens_in_odd_places(text: str) -> None:
    """They are hidden there, too."""
    assert b"SECRET" not in own_line(1, 2, "public 1", "tx", text.encode())
