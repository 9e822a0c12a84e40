"""Finds the messages in recordings, in the forms in which people make them.

A message is taken over with its own text, because the digits of its numbers count in the checksum.
"""

from __future__ import annotations

import codecs
from typing import Any, Dict, Iterator, List, NamedTuple, Optional

import msgspec

from .channels import AUTOMATIC, CHANNELS

FORMS = (
    "A recording has one message of the exchange a line: plain, after a time or other text, or as a value of "
    "an object (under frame, raw_frame or any other name, as text or as an object). It may also be a JSON "
    "array of these, or what 'kraken-sync book --json' prints. UTF-8 and UTF-16 are read."
)
_SENT = ("tx", "out", "outgoing", "send", "sent", "request")
"""Values of ``dir`` or ``direction`` that mark a message which the client sent."""
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class _Object(msgspec.Struct):
    """What tells a message, a level-2 book, and an object that contains a message from one another."""

    channel: Any = None
    method: Any = None
    error: Any = None
    symbol: Any = None
    checksum: Any = None
    dir: Any = None
    direction: Any = None
    params: Any = None
    success: Any = None
    data: msgspec.Raw = msgspec.Raw(b"")

    @property
    def is_message(self) -> bool:
        return not (self.channel is None and self.method is None and self.error is None)

    @property
    def is_whole(self) -> bool:
        """Whether it certainly is a message itself, not an object with such keys that contains one."""
        if self.channel in CHANNELS or self.channel in AUTOMATIC:
            data = bytes(self.data)
            return self.channel == "heartbeat" or data.startswith(b"[") or b'"pairs"' in data
        return self.method is not None and (self.success is not None or self.params is not None)

    @property
    def is_sent(self) -> bool:
        return self.params is not None or self.dir in _SENT or self.direction in _SENT  # no reply has params


_decode_object = msgspec.json.Decoder(_Object).decode
_decode_array = msgspec.json.Decoder(List[msgspec.Raw]).decode
_decode_members = msgspec.json.Decoder(Dict[str, msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_UNREADABLE = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class Found(NamedTuple):
    """A message of a recording, and whether the client sent it."""

    frame: bytes
    sent: bool


def lines_of(content: bytes) -> List[bytes]:
    """Return the lines of a file, or if it is a JSON array, its elements.

    >>> lines_of(b'[{"a":1},\\n {"b":2}]'), lines_of("x\\ny".encode("utf-16"))
    ([b'{"a":1}', b'{"b":2}'], [b'x', b'y'])
    """
    text = _utf8(content)
    if text.lstrip().startswith(b"["):
        try:
            return [bytes(element) for element in _decode_array(text)]
        except _UNREADABLE:
            pass  # a file of lines, each of which is an array
    return text.splitlines()


def _utf8(content: bytes) -> bytes:
    for mark, encoding in _BOMS:
        if content.startswith(mark):
            return content.decode(encoding, "replace").encode()
    # Without a mark: JSON begins with an ASCII character, so the other byte of the first pair is 0.
    if b"\0" in content[:2]:
        return content.decode("utf-16-be" if content[:1] == b"\0" else "utf-16-le", "replace").encode()
    return content


def messages_of(line: bytes) -> Iterator[Found]:
    """Return the messages in a line; none if there are none.

    >>> list(messages_of(b'2026-01-05T10:00:00Z {"channel":"heartbeat"}'))
    [Found(frame=b'{"channel":"heartbeat"}', sent=False)]
    >>> list(messages_of(b'{"dir":"tx","raw_frame":"{\\\\"method\\\\":\\\\"ping\\\\"}"}'))
    [Found(frame=b'{"method":"ping"}', sent=True)]
    """
    for text in _objects(line.strip()):
        found = _message(text)
        if found is not None:
            yield found


def _objects(line: bytes) -> List[bytes]:
    if line.startswith(b"["):
        try:
            return [bytes(element) for element in _decode_array(line)]
        except _UNREADABLE:
            pass  # perhaps a time in brackets
    if line.startswith(b"{"):
        return [line]
    start, end = line.find(b"{"), line.rfind(b"}")
    text = line[start : end + 1] if 0 <= start < end else b""
    if text.startswith(b'{""'):  # a field of CSV, in which quotes are doubled
        text = text.replace(b'""', b'"')
    return [text] if text else []


def _message(text: bytes) -> Optional[Found]:
    try:
        outer = _decode_object(text)
    except _UNREADABLE:
        return None
    if outer.is_whole and b'"frame"' not in text:
        return Found(text, outer.is_sent)
    try:
        members = _decode_members(text)
    except _UNREADABLE:
        return None
    for member in members.values():
        inner = _inner(bytes(member))
        if inner is not None:
            return Found(inner, outer.is_sent or _decode_object(inner).is_sent)
    if outer.is_message:
        return Found(text, outer.is_sent)
    # A whole book, such as "kraken-sync book --json" prints: a snapshot's data without what is around them.
    if isinstance(outer.symbol, str) and isinstance(outer.checksum, int):
        return Found(b'{"channel":"book","type":"snapshot","data":[' + text + b"]}", False)
    return None


def _inner(member: bytes) -> Optional[bytes]:
    """Return the message that a value of an object is, as text or as an object; None if it is none."""
    try:
        text = _decode_text(member).encode() if member.startswith(b'"') else member
        if text.lstrip().startswith(b"{") and _decode_object(text).is_message:
            return text
    except _UNREADABLE:
        pass
    return None
