"""Recordings prove themselves: counts, wrappings, damage."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from conftest import WAIT, S
from facts import fact

from kraken_sync import SpotWSClient
from kraken_sync.cli.lines import book_item
from kraken_sync.core.wire.messages import encode
from kraken_sync.core.wire.recorded import messages_of
from kraken_sync.recording import verify
from kraken_sync.simulator import Simulator

RECORDING = Path(__file__).parent / "data" / "recording.jsonl"
REAL = [
    ("trading-system/btcusd_book_d10_20260719T1754Z.jsonl", 1376, 1254),
    ("python-kraken-sdk/btcusd_book_d10_20230730.jsonl", 510, 510),
    ("cryptofeed/derived_v2_book_d1000_5pairs_20210417.jsonl", 1609, 1572),
    ("crypto-tracker/btcusd_ethusd_book_d10_20260802_first76.jsonl", 76, 68),
    ("depthcharge/kraken_minagbp_d25_20260816.ndjson", 92, 30),
    ("tickvault/btcusd_book_d10_20260824.jsonl", 8, 4),
    ("keyrock-case-study/ethbtc_book_d10_20260826.jsonl", 4, 2),
]


@fact("depth")
@pytest.mark.parametrize(
    ("name", "messages", "verified"), REAL, ids=[name.split("/")[0] for name, *_ in REAL]
)
def test_real_recordings(captures: Path, name: str, messages: int, verified: int) -> None:
    """Every recording of the real exchange verifies from its text alone, to the last message."""
    report = verify((captures / name).read_bytes().splitlines())

    assert (report.messages, report.verified, report.mismatched) == (messages, verified, 0)
    assert report.book_messages == verified


def test_real_ladders(captures: Path) -> None:
    """A hundred and thirty independent top-ten ladders with the exchange's checksum for each."""
    path = captures / "trading-system" / "btcusd_top10_ladders_with_checksum.jsonl"
    lines = []
    for line in path.read_text("utf-8").splitlines():
        ladder = json.loads(line)
        bids, asks = (
            ",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in ladder[side])
            for side in ("bids", "asks")
        )
        lines.append(
            f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"BTC/USD","bids":[{bids}],'
            f'"asks":[{asks}],"checksum":{ladder["checksum"]}}}]}}'.encode()
        )

    assert verify(lines).verified == len(lines) == 130


def test_lost_zeros(captures: Path) -> None:
    """A recording that went through floats verifies: its own text still shows how many digits there were."""
    path = captures / "python-kraken-sdk" / "btcusd_book_d10_20230730.jsonl"
    lines = [
        json.dumps(json.loads(line), separators=(",", ":")).encode()
        for line in path.read_bytes().splitlines()
    ]

    assert verify(lines).verified == verify(lines, {"BTC/USD": (1, 8)}).verified == 510


def test_given_decimals() -> None:
    """Where no text shows them any more, the caller gives the decimals."""
    text = (
        '{"channel":"book","type":"snapshot","data":[{"symbol":"A/B","bids":[{"price":100,"qty":0.5}],'
        f'"asks":[],"checksum":{zlib.crc32(b"100050000000")}}}]}}'
    )

    assert verify([text.encode()]).mismatched == 1
    assert verify([text.encode()], {"A/B": (1, 8)}).verified == 1


def test_wrappings() -> None:
    """Bare, wrapped as a string, wrapped as an object, sent, foreign: each is taken for what it is."""
    report = verify(RECORDING.read_bytes().splitlines())

    assert report.as_dict()["symbols"] == ["BTC/USD", "SHIB/USD"]
    assert report.mismatched == report.skipped == 0
    assert report.verified == report.book_messages > 60
    assert (report.sent, report.foreign) == (1, 3)
    assert report.messages_per_second > 0


WHOLE = verify(RECORDING.read_bytes())


def wrapped(template: str) -> bytes:
    """The recording with each message of the exchange in another form."""
    lines = RECORDING.read_bytes().splitlines()
    frames = [one.frame.decode() for line in lines for one in messages_of(line) if not one.sent]
    return "\n".join(
        template.replace("TEXT", json.dumps(frame))
        .replace("QUOTED", frame.replace('"', '""'))
        .replace("FRAME", frame)
        for frame in frames
    ).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + wrapped("FRAME"),
        wrapped("FRAME").decode().encode("utf-16"),
        wrapped("FRAME").decode().encode("utf-16-le"),
        wrapped("FRAME").decode().replace("\n", "\r\n").encode("utf-16-be"),
        b"[" + b",\n".join(wrapped("FRAME").splitlines()) + b"]\n",
        wrapped("[FRAME]"),
        wrapped("2026-01-05T10:00:00.123Z FRAME"),
        wrapped("1767607200.5\tFRAME"),
        wrapped("[2026-01-05 10:00:00,123] INFO received: FRAME"),
        wrapped('{"time":1767607200.5,"raw_frame":TEXT}'),
        wrapped('{"channel":"book","received":1.5,"payload":TEXT}'),
        wrapped('{"n":7,"msg":FRAME}'),
        wrapped('{"channel":"kraken","message":FRAME}'),
        wrapped('{"method":"recv","message":FRAME}'),
        wrapped('{"error":"","data":FRAME}'),
        wrapped('{"channel":"book","data":FRAME}'),
        wrapped('{"n":7,"message":TEXT}').replace(b':"{', b':" {'),
        wrapped('2026-01-05T10:00:00Z,"QUOTED",""'),
    ],
    ids=[
        "UTF-8 with a mark",
        "UTF-16 with a mark",
        "UTF-16, little",
        "UTF-16, big, Windows lines",
        "an array",
        "an array a line",
        "after a time",
        "after a number",
        "from a log",
        "raw_frame",
        "beside a channel",
        "as an object",
        "as an object beside a channel",
        "as an object beside a method",
        "as an object beside an error",
        "as data",
        "after a space",
        "CSV",
    ],
)
def test_recordings_as_people_have_them(content: bytes) -> None:
    """Each form verifies to the last message, with the digits of the wire."""
    report = verify(content)

    assert (report.verified, report.mismatched, report.foreign) == (WHOLE.verified, 0, 0)
    assert report.messages == WHOLE.messages


def test_printed_books(exchange: Simulator, client: SpotWSClient) -> None:
    """What ``kraken-sync book --json`` prints are whole books, each with its checksum."""
    lines = []
    for state in client.book(S).changes(timeout=WAIT):
        lines.append(encode(book_item(state, "json")))
        exchange.step(30, [S])
        if len(lines) == 20:
            break
    report = verify(lines)

    assert (report.verified, report.symbols) == (20, [S])


def test_damage_is_named() -> None:
    """One changed digit: the line, both checksums; then silence until the next snapshot."""
    lines = RECORDING.read_bytes().splitlines()
    at = next(
        number
        for number, line in enumerate(lines)
        if b"update" in line and b"BTC/USD" in line and b"frame" not in line and b'"qty":0.0' not in line
    )
    digit = lines[at].index(b'"qty":') + 6
    changed = b"1" if lines[at][digit : digit + 1] != b"1" else b"2"
    lines[at] = lines[at][:digit] + changed + lines[at][digit + 1 :]
    report = verify(lines)

    assert report.mismatched == 1
    assert (report.mismatches[0].line, report.mismatches[0].symbol) == (at + 1, "BTC/USD")
    assert report.mismatches[0].expected != report.mismatches[0].computed
    assert report.skipped > 10
    assert report.verified + report.mismatched + report.skipped == report.book_messages
    snapshot = next(line for line in lines if b'"type":"snapshot"' in line and b"BTC/USD" in line)
    assert verify([*lines, snapshot]).verified == report.verified + 1


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b"5",
        b"null",
        b'"text"',
        b"{",
        b'{"frame":5}',
        b'{"frame":"x"}',
        b'{"frame":null}',
        b'{"channel":"book","type":"update"}',
        b'{"channel":"book","type":"snapshot","data":[{"symbol":"A/B"}]}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'1618677932.1: {"channel":"book"}',
        b'{"\xff":1}',
        b'{"raw_fr\xffme":"{}"}',
    ],
)
def test_foreign_lines(line: bytes) -> None:
    """Whatever stands in a file, it is counted."""
    report = verify([line])

    assert report.foreign == 1
    assert report.verified == report.mismatched == 0


def test_absurd_numbers_are_mismatches() -> None:
    """A number that no book can hold is a mismatch without a computed checksum."""
    data = b'{"symbol":"A/B","bids":[{"price":1e999,"qty":1}],"checksum":1}'
    line = b'{"channel":"book","type":"snapshot","data":[' + data + b"]}"

    assert verify([line]).mismatches[0].computed is None


def test_messages_that_no_book_can_hold() -> None:
    """Numbers that are none, and depths that the exchange does not have, are no reason to stop."""
    order = '{"order_id":"O","limit_price":[1],"order_qty":1.0}'
    data = f'{{"symbol":"A/B","checksum":1,"bids":[{order}],"asks":[]}}'
    level3 = f'{{"channel":"level3","type":"snapshot","data":[{data}]}}'
    ack = '{"method":"subscribe","success":true,"result":{"channel":"book","symbol":"BTC/USD","depth":-1}}'
    lines = RECORDING.read_bytes().splitlines()
    report = verify([level3.encode(), ack.encode(), *lines])

    assert [one.channel for one in report.mismatches][:1] == ["level3"]
    assert report.verified == verify(lines).verified
