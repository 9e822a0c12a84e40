"""Bytes to objects and back: digits are kept, nonsense is told."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from kraken_sync.core.session.session import Session
from kraken_sync.core.timing import Timing
from kraken_sync.core.wire.messages import FrameDecoder, MalformedFrame, decode_envelope, encode, error_text


def test_encode_keeps_digits() -> None:
    """Numbers go out as they were given; a decimal never gets an exponent."""
    message = {
        "a": Decimal("0.00000010"),
        "b": "0.10",
        "c": 1.5,
        "d": 7,
        "e": [True, None],
        "f": {"g": "é\n"},
    }

    assert (
        encode(message)
        == b'{"a":0.00000010,"b":"0.10","c":1.5,"d":7,"e":[true,null],"f":{"g":"\xc3\xa9\\n"}}'
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Decimal("NaN")])
def test_encode_refuses_what_is_no_number(value: object) -> None:
    """NaN and infinity are not JSON."""
    with pytest.raises(ValueError):
        encode({"a": value})


@pytest.mark.parametrize("value", [object(), b"x", {1, 2}])
def test_encode_refuses_what_is_no_json(value: object) -> None:
    """Anything else is a TypeError that names it."""
    with pytest.raises(TypeError, match=type(value).__name__):
        encode({"a": value})


def test_parse_float() -> None:
    """Numbers of messages are what the caller wants them to be."""
    frame = b'{"price":0.10000000,"n":18125794168470749634}'

    assert FrameDecoder()(frame) == {"price": 0.1, "n": 18125794168470749634}
    assert str(FrameDecoder(Decimal)(frame)["price"]) == "0.10000000"
    assert FrameDecoder(str)(frame)["price"] == "0.10000000"
    with pytest.raises(TypeError, match="parse_float"):
        FrameDecoder("Decimal")


@pytest.mark.parametrize(
    "frame",
    [b"", b"CloudFlare WebSocket proxy restarting", b"[" * 200_000, b'{"a":NaN}', b"\xff", b"[]", b"5"],
)
def test_malformed(frame: bytes) -> None:
    """What is no message raises one error, whatever is wrong with it."""
    with pytest.raises(MalformedFrame):
        decode_envelope(frame)


def test_error_objects() -> None:
    """Connection errors are objects, not texts."""
    assert error_text({"name": "rate error", "message": ""}) == "rate error"
    assert error_text("EGeneral:x") == "EGeneral:x"


def test_real_messages_are_understood(captures: Path) -> None:
    """Every recorded v2 message is decoded and taken without complaint."""
    decode, session = FrameDecoder(Decimal), Session(Timing())
    session.opened(0.0)
    files = [
        captures / "single-messages" / "v2_messages.jsonl",
        *(captures / "kraken-async-rs").glob("*.jsonl"),
    ]
    count = 0
    for path in files:
        for line in path.read_bytes().splitlines():
            if not line.strip():
                continue
            assert isinstance(decode(line), (dict, list)), path
            assert json.loads(line) is not None
            session.receive(line, 1.0)
            count += 1

    assert count > 50
    assert session.counters.malformed == 0
