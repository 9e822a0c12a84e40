"""Decoding frames and encoding requests.

Source: Kraken, the pages of https://docs.kraken.com/exchange/api-reference/spot-websocket. Frames are decoded
with msgspec: a light envelope tells what a frame is, and only ``book`` frames are decoded completely on the
I/O thread, with their numbers kept as text.
"""

from __future__ import annotations

from collections import abc
from decimal import Decimal
from typing import Any, Callable, Dict, List, Literal, Mapping, Optional, Sequence, Type, TypeVar

import msgspec

from .printable import printable
from .secret import HiddenBytes, Secret

BOOK_PREFIX, LEVEL3_PREFIX = b'{"channel":"book"', b'{"channel":"level3"'
"""How every recorded frame of a book begins; one with another order of keys takes the general way."""

ParseFloat = Callable[[str], Any]


class WireLevel(msgspec.Struct, gc=False):
    """One level of a book frame; each number is text, or an int if it was written without a point."""

    price: Any
    qty: Any


class BookData(msgspec.Struct, gc=False):
    """One element of ``data`` in a book frame; the exchange sends exactly one."""

    symbol: str
    checksum: int
    bids: List[WireLevel]
    asks: List[WireLevel]
    timestamp: str = ""


class BookFrame(msgspec.Struct, gc=False):
    """A book frame."""

    type: Literal["snapshot", "update"]
    data: List[BookData]


class WireOrder(msgspec.Struct, gc=False):
    """One order of a level3 frame. A snapshot's orders have no ``event``; a deleted order may lack the
    numbers.
    """

    order_id: str
    limit_price: Any = None
    order_qty: Any = None
    timestamp: str = ""
    event: Literal["add", "modify", "delete", ""] = ""


class Level3Data(msgspec.Struct, gc=False):
    """One element of ``data`` in a level3 frame; the exchange sends exactly one."""

    symbol: str
    checksum: int
    bids: List[WireOrder]
    asks: List[WireOrder]
    timestamp: str = ""


class Level3Frame(msgspec.Struct, gc=False):
    """A level3 frame."""

    type: Literal["snapshot", "update"]
    data: List[Level3Data]


class Envelope(msgspec.Struct, gc=False):
    """The top-level keys of a frame; ``result`` and ``data`` stay undecoded."""

    channel: Any = None
    type: Any = None
    method: Any = None
    req_id: Any = None
    success: Any = None
    error: Any = None
    Error: Any = None
    """Kraken's FAQ spells the key of ``Exceeded msg rate`` like this."""
    symbol: Any = None
    sequence: Any = None
    time_in: Any = None
    result: msgspec.Raw = msgspec.Raw(b"")
    data: msgspec.Raw = msgspec.Raw(b"")


class Routing(msgspec.Struct, gc=False):
    """The keys of one element of ``data`` that tell its subscription: the symbol and, for candles, the
    interval.
    """

    symbol: Any = None
    interval: Any = None


_Frame = TypeVar("_Frame", BookFrame, Level3Frame)


class MalformedFrame(ValueError):
    """A frame that does not comply with the protocol."""


decode_whole_book = msgspec.json.Decoder(BookFrame, float_hook=str).decode
"""Decodes a book frame that lacks nothing; raises one of :data:`FAULTS` for any other."""
_decode_level3 = msgspec.json.Decoder(Level3Frame, float_hook=str).decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_routing = msgspec.json.Decoder(List[Routing]).decode
_decode_any = msgspec.json.Decoder().decode
_decode_texts = msgspec.json.Decoder(float_hook=str).decode
# Deep nesting raises RecursionError, broken UTF-8 UnicodeDecodeError: a frame may hold anything.
FAULTS = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError)


def decode_book(frame: bytes) -> BookFrame:
    """Decode a book frame; its numbers stay exact. Raises MalformedFrame."""
    try:
        return decode_whole_book(frame)
    except FAULTS as error:
        return _complete(frame, BookFrame, BookData, error)


def decode_level3(frame: bytes) -> Level3Frame:
    """Decode a level3 frame; its numbers stay exact. Raises MalformedFrame."""
    try:
        return _decode_level3(frame)
    except FAULTS as error:
        return _complete(frame, Level3Frame, Level3Data, error)


def _complete(frame: bytes, kind: Type[_Frame], part: Type[msgspec.Struct], error: Exception) -> _Frame:
    """Take a missing side as empty, unless an unknown key beside it may be its garbled name.

    Raises MalformedFrame, because of ``error`` if nothing of this kind is wrong with the frame.
    """
    try:
        message = _decode_texts(frame)
        for item in message["data"]:
            missing = {"bids", "asks"} - set(item)
            unknown = set(item) - set(part.__struct_fields__)
            if missing and unknown:
                name = sorted(unknown)[0]
                raise MalformedFrame(f"a side of the book is missing, and there is {name!r:.40}")
            item.update(dict.fromkeys(missing, ()))
        return msgspec.convert(message, kind)
    except MalformedFrame:
        raise
    except (*FAULTS, LookupError, TypeError, AttributeError):
        raise MalformedFrame(str(error)) from error


def decode_envelope(frame: bytes) -> Envelope:
    """Decode the top-level keys of a frame. Raises MalformedFrame."""
    try:
        return _decode_envelope(frame)
    except FAULTS as error:
        raise MalformedFrame(str(error)) from error


def decode_routing(data: bytes) -> List[Routing]:
    """Decode what tells the subscriptions of a ``data`` array. Raises MalformedFrame."""
    try:
        return _decode_routing(data)
    except FAULTS as error:
        raise MalformedFrame(str(error)) from error


def decode_value(raw: bytes) -> Any:
    """Decode a part of a frame whose numbers need not be exact. Raises MalformedFrame."""
    try:
        return _decode_any(raw)
    except FAULTS as error:
        raise MalformedFrame(str(error)) from error


class FrameDecoder:
    """Decodes frames into the dicts that users see. Any thread may call it.

    Args:
        parse_float: called with the text of every number that has a point or an exponent, as in the
            :mod:`json` module: ``float`` (default), ``decimal.Decimal``, ``str`` or another function.

    Raises:
        TypeError: ``parse_float`` is not callable.
    """

    def __init__(self, parse_float: Optional[ParseFloat] = float) -> None:
        if parse_float is not None and not callable(parse_float):
            raise TypeError(f"parse_float must be callable, such as decimal.Decimal, not {parse_float!r}")
        hook = None if parse_float in (None, float) else parse_float
        self._decode = msgspec.json.Decoder(float_hook=hook).decode

    def __call__(self, frame: bytes) -> Any:
        """Return the frame as a dict. Raises MalformedFrame."""
        try:
            return self._decode(frame)
        except FAULTS as error:
            raise MalformedFrame(str(error)) from error


def encode(message: Mapping[str, Any]) -> bytes:
    """Return a request as JSON text. Decimals are written exactly, in fixed-point digits.

    A :class:`Secret` is written in clear, and the repr of the result does not show it.

    Raises:
        TypeError: a value cannot be written as JSON.
        ValueError: a number is not finite.

    >>> encode({"method": "ping", "req_id": 1}).decode()
    '{"method":"ping","req_id":1}'
    >>> encode({"limit_price": Decimal("0.00000010")}).decode()
    '{"limit_price":0.00000010}'
    """
    return HiddenBytes(msgspec.json.encode(_ready(message)))


def encoded_secret(secret: Secret) -> HiddenBytes:
    """Return a secret as JSON text, which :func:`encode` inserts unchanged and no repr shows."""
    return HiddenBytes(msgspec.json.encode(secret.reveal()))


_AS_THEY_ARE = frozenset((str, bool, int, type(None)))


def _ready(value: Any) -> Any:
    """Return a value for msgspec, which writes a Decimal as a string, or with an exponent."""
    kind = value.__class__
    if kind in _AS_THEY_ARE:
        return value
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} cannot be sent")
        return msgspec.Raw(format(value, "f").encode())
    if isinstance(value, HiddenBytes):
        return msgspec.Raw(value)
    if kind is dict or isinstance(value, abc.Mapping):
        return {
            str(key): item if item.__class__ in _AS_THEY_ARE else _ready(item) for key, item in value.items()
        }
    if isinstance(value, Secret):
        return msgspec.Raw(msgspec.json.encode(value.reveal()))
    if isinstance(value, (list, tuple)):
        return [_ready(item) for item in value]
    # msgspec writes these as null, which the exchange would refuse for another reason.
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise ValueError(f"{value} cannot be sent")
    if isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"{kind.__name__} cannot be sent: {value!r:.80}")


def subscription_request(
    method: str,
    channel: str,
    params: Mapping[str, Any],
    symbols: Optional[Sequence[str]],
    req_id: int,
    named: Mapping[str, Any],
    token: Optional[HiddenBytes] = None,
) -> bytes:
    """Return a subscribe or unsubscribe request.

    ``symbols`` is None for a channel without symbols; ``named`` is what every request of the connection has.
    """
    body: Dict[str, Any] = {"channel": channel, **named}
    if symbols is not None:
        body["symbol"] = list(symbols)
    body.update(params)
    if token is not None:
        body["token"] = token
    return encode({"method": method, "params": body, "req_id": req_id})


def ping_request(req_id: int) -> bytes:
    """Return a JSON ping.

    Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ping; a ping with ``params`` is
    an error.
    """
    return encode({"method": "ping", "req_id": req_id})


def error_text(error: Any) -> str:
    """Return the text of an ``error``, which is a string, or an object if it concerns the connection.

    >>> error_text({"message": "You have reached maximum capacity", "name": "rate error"})
    'You have reached maximum capacity'
    """
    if isinstance(error, Mapping):
        error = error.get("message") or error.get("name") or dict(error)
    return printable(str(error))


def account_snapshot(channel: str, items: Sequence[Mapping[str, Any]], sequence: Any) -> bytes:
    """Return a snapshot of ``executions`` or ``balances`` as the exchange would send it."""
    return encode({"channel": channel, "type": "snapshot", "data": items, "sequence": sequence})


def gap_frame(
    channel: str,
    symbol: Optional[str],
    reason: str,
    since: Optional[str],
    until: Optional[str],
    dropped: int = 0,
) -> Dict[str, Any]:
    """Return the frame that marks a gap in a stream.

    Args:
        channel, symbol: the subscription; ``symbol`` is None for a channel without symbols.
        reason: why something is missing.
        since, until: the time of the gap by this machine's clock (RFC 3339, UTC).
        dropped: the number of frames that were dropped because they were not read in time.
    """
    return {
        "channel": channel,
        "type": "gap",
        "data": [{"symbol": symbol, "reason": reason, "since": since, "until": until, "dropped": dropped}],
    }
