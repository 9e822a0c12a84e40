"""The lines of our own recordings.

A line is ``{"wall_ns":1,"mono_ns":2,"connection":"public 1","dir":"rx","frame":{}}``. The frame stands in it
with its own bytes, or as a JSON string if it is not JSON of one line. ``wall_ns`` is the time in nanoseconds
since the epoch, ``mono_ns`` that of the recording machine's monotonic clock, and ``dir`` is one of
:data:`RECEIVED`, :data:`SENT`, :data:`STATE` and :data:`NOTE`.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple, Optional

import msgspec

RECEIVED, SENT, STATE, NOTE = "rx", "tx", "state", "note"
"""A frame from the exchange; one of the client; what a subscription held when a recording (or a new file of
it) began, as a frame; what happened to a connection or a subscription, or to the recording itself."""
_OWN, _FRAME = b'{"wall_ns":', b',"frame":'
_TOKEN = re.compile(rb"""(\\*["']token\\*["']\s*:\s*\\*["'])[^"'\\]*""")
"""Also within a text in JSON, and cut off in the middle."""
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_text = msgspec.json.Decoder(str).decode
UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)
"""What decoding JSON may raise."""


class Header(msgspec.Struct):
    """What stands before the frame in a line of our own."""

    wall_ns: int
    mono_ns: int
    connection: str
    dir: str


_decode_header = msgspec.json.Decoder(Header).decode


def own_line(wall_ns: int, mono_ns: int, connection: str, direction: str, content: bytes) -> bytes:
    """Return a line of a recording, without tokens.

    >>> own_line(1, 2, "public 1", "rx", b'{"channel":"heartbeat"}')
    b'{"wall_ns":1,"mono_ns":2,"connection":"public 1","dir":"rx","frame":{"channel":"heartbeat"}}\\n'
    """
    if b"token" in content:
        content = _TOKEN.sub(rb"\1hidden", content)
    try:
        _decode_raw(content)
        # A string would be taken for a frame that had to be written as one.
        one_line = b"\n" not in content and b"\r" not in content and not content.startswith(b'"')
    except UNREADABLE:
        one_line = False
    if not one_line:
        content = json.dumps(content.decode("utf-8", "backslashreplace")).encode()
    return b'{"wall_ns":%d,"mono_ns":%d,"connection":"%s","dir":"%s","frame":%s}\n' % (
        wall_ns,
        mono_ns,
        connection.encode(),
        direction.encode(),
        content,
    )


def own_frame(line: bytes) -> Optional[bytes]:
    """Return the frame of a line of our own that was received, quickly; None for any other line."""
    # Each message of a recording passes here, so nothing is decoded but the frame itself, later.
    if not line.startswith(_OWN) or not line.endswith(b"}"):
        return None
    head, _, frame = line.partition(_FRAME)
    return frame[:-1] if head.endswith(b'"dir":"rx"') and frame.startswith(b"{") else None


class OwnLine(NamedTuple):
    """A line of our own recordings."""

    header: Header
    frame: bytes


def own(line: bytes) -> Optional[OwnLine]:
    """Return what is in a line of our own recordings; None if it is not one, or is not whole."""
    if not line.startswith(_OWN) or not line.endswith(b"}"):
        return None
    head, _, frame = line.partition(_FRAME)
    try:
        content = frame[:-1]
        if content.startswith(b'"'):
            content = _decode_text(content).encode()
        return OwnLine(_decode_header(head + b"}"), content)
    except UNREADABLE:
        return None
