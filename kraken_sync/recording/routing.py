"""To which subscriptions a recorded frame belongs, told from its first bytes."""

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional

import msgspec

from ..core.wire.channels import Key
from ..core.wire.record_lines import UNREADABLE

_HEAD = re.compile(rb'\{"channel":"(\w+)","type":"(snapshot|update)"')
_SYMBOL = re.compile(rb'"symbol":"([^"\\]+)"')
_INTERVAL = re.compile(rb'"interval":(\d+)')
_TIME = re.compile(rb'"(?:timestamp|time_out)":"([^"]+)"')
SERVED = ("book", "level3", "trade", "ticker", "ohlc", "instrument")
"""The channels that a replay serves."""


class Part(NamedTuple):
    """A message, or the part of one that belongs to one key."""

    key: Key
    snapshot: bool
    frame: bytes


class _Item(msgspec.Struct):
    symbol: Optional[str] = None
    interval: Optional[int] = None


class _Message(msgspec.Struct):
    channel: Optional[str] = None
    type: Optional[str] = None
    data: msgspec.Raw = msgspec.Raw(b"[]")


class _Result(msgspec.Struct):
    channel: Optional[str] = None
    symbol: Optional[str] = None
    interval: Optional[int] = None
    depth: Optional[int] = None


class _Reply(msgspec.Struct):
    method: Optional[str] = None
    success: Optional[bool] = None
    result: Optional[_Result] = None


class Acknowledged(NamedTuple):
    """A subscription that the exchange has made, or ended."""

    method: str
    """``subscribe`` or ``unsubscribe``."""
    key: Key
    depth: Optional[int]


_reply = msgspec.json.Decoder(_Reply).decode
_decode = msgspec.json.Decoder(_Message).decode
_items = msgspec.json.Decoder(List[msgspec.Raw]).decode
_item = msgspec.json.Decoder(_Item).decode


def parts_of(frame: bytes) -> List[Part]:
    """Return the parts of a message of market data; none for anything else.

    >>> parts_of(b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","qty":1}]}')[0].key
    Key(channel='trade', symbol='BTC/USD', interval=None)
    >>> parts_of(b'{"channel":"heartbeat"}')
    []
    """
    head = _HEAD.match(frame)
    if head is None:
        return _slowly(frame)
    channel = head[1].decode()
    if channel not in SERVED:
        return []
    snapshot = head[2] == b"snapshot"
    if channel == "instrument":
        return [Part(Key(channel), snapshot, frame)]
    symbol = _SYMBOL.search(frame)
    if symbol is None:
        return []
    # Only these may have items of several symbols, or intervals, in one message.
    if channel not in ("book", "level3") and frame.count(b'"symbol":') > 1:
        return _split(channel, frame)
    interval = _INTERVAL.search(frame) if channel == "ohlc" else None
    name = symbol[1].decode("utf-8", "replace")
    key = Key(channel, name, int(interval[1]) if interval else None)
    return [Part(key, snapshot, frame)]


def _slowly(frame: bytes) -> List[Part]:
    """The same for a message whose keys are in another order, or have spaces."""
    try:
        message = _decode(frame)
    except UNREADABLE:
        return []
    if message.channel not in SERVED or message.type not in ("snapshot", "update"):
        return []
    if message.channel == "instrument":
        return [Part(Key("instrument"), message.type == "snapshot", frame)]
    return _split(message.channel, frame)


def _split(channel: str, frame: bytes) -> List[Part]:
    try:
        message = _decode(frame)
        by_key: Dict[Key, List[bytes]] = {}
        for raw in _items(message.data):
            item = _item(raw)
            by_key.setdefault(Key(channel, item.symbol, item.interval), []).append(bytes(raw))
    except UNREADABLE:
        return []
    if len(by_key) == 1:
        return [Part(key, message.type == "snapshot", frame) for key in by_key]
    return [
        Part(key, message.type == "snapshot", message_of(channel, message.type or "update", items))
        for key, items in by_key.items()
    ]


def acknowledged(frame: bytes) -> Optional[Acknowledged]:
    """Return what the reply to a subscribe or unsubscribe has made or ended; None for anything else.

    >>> acknowledged(b'{"method":"subscribe","success":true,"result":{"channel":"ticker","symbol":"A/B"}}')
    Acknowledged(method='subscribe', key=Key(channel='ticker', symbol='A/B', interval=None), depth=None)
    """
    if b'subscribe"' not in frame[:400]:
        return None
    try:
        reply = _reply(frame)
    except UNREADABLE:
        return None
    result = reply.result
    if reply.method not in ("subscribe", "unsubscribe") or not reply.success:
        return None
    if result is None or result.channel is None:
        return None
    return Acknowledged(reply.method, Key(result.channel, result.symbol, result.interval), result.depth)


def items_of(frame: bytes) -> List[bytes]:
    """Return the items of a message's ``data``; none if they cannot be read."""
    try:
        return [bytes(raw) for raw in _items(_decode(frame).data)]
    except UNREADABLE:
        return []


def message_of(channel: str, kind: str, items: List[bytes]) -> bytes:
    """Return a message with these items."""
    return b'{"channel":"%s","type":"%s","data":[%s]}' % (channel.encode(), kind.encode(), b",".join(items))


def time_in(frame: bytes) -> Optional[str]:
    """Return a time of the exchange that a message has; None if it has none."""
    found = _TIME.search(frame)
    return found[1].decode("ascii", "replace") if found else None
