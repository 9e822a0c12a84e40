"""Cutting frames: every border between two pieces of what arrives leads to the same messages."""

from __future__ import annotations

import random
from typing import List

import pytest
from raw_server import frame

from kraken_sync.core.wire.framing import begins_usual, cut


@pytest.mark.parametrize("size", [0, 1, 2, 125, 126, 127, 255, 256, 65_535])
def test_every_border(size: int) -> None:
    """A frame that is cut anywhere is taken when its rest is there, and what is behind it is kept."""
    first, second = bytes(range(256)) * (size // 256) + bytes(size % 256), b"second"
    stream = frame(first) + frame(second)
    borders = range(len(stream)) if size < 1000 else [*range(10), *range(size - 5, len(stream))]
    for border in borders:
        frames, position = cut(stream[:border], 0)
        assert frames == ([first] if border >= len(frame(first)) else [])
        assert begins_usual(stream[:border], position), "its rest is still to come"
        more, end = cut(stream, position)
        assert [*frames, *more] == [first, second]
        assert end == len(stream)


@pytest.mark.parametrize(
    "unusual",
    [
        frame(b"x" * 65_536),
        frame(b"part", fin=False),
        frame(b"rest", 0),
        frame(b"binary", 2),
        frame(b"", 8),
        frame(b"ping", 9),
        b"\xc1\x01x",  # a reserved bit
        b"\x81\x81abcdx",  # masked
        b"\x81\xfe",  # masked, of more than 125 bytes
    ],
)
def test_what_is_left_to_the_decoder(unusual: bytes) -> None:
    """Nothing but whole, unmasked text in frames of less than 64 KiB is cut out here."""
    before = frame(b"before")
    for end in range(len(unusual) + 1, len(unusual) + 20):
        stream = before + (unusual + frame(b"after"))[:end]
        assert cut(stream, 0) == ([b"before"], len(before))
        assert not begins_usual(stream, len(before))


@pytest.mark.parametrize("seed", range(20))
def test_a_random_walk(seed: int) -> None:
    """Many frames in pieces of any size."""
    chosen = random.Random(seed)
    wanted = [chosen.randbytes(chosen.choice((0, 1, 5, 125, 126, 300, 70))) for _ in range(200)]
    stream = b"".join(map(frame, wanted))
    found: List[bytes] = []
    buffer, position = b"", 0
    while stream:
        size = chosen.randrange(1, 400)
        buffer, stream = buffer[position:] + stream[:size], stream[size:]
        frames, position = cut(buffer, 0)
        found += frames
        assert begins_usual(buffer, position)
    assert found == wanted
    assert position == len(buffer)
