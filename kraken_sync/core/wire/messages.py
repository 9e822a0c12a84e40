"""Wire text to messages and back. Knows the shape of frames, nothing of connections.

Source: Kraken, "Spot WebSocket v2" reference pages (envelopes of method replies and data messages,
``book``, ``ping``). Frames are decoded with msgspec: a light envelope tells what a frame is, and only
``book`` frames are decoded to the end on the I/O thread, with their numbers kept as text.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Callable, Dict, Iterable, List, Literal, Mapping, Optional, Sequence

import msgspec

from .secret import HiddenBytes, Secret

BOOK_PREFIX = b'{"channel":"book"'
"""How every recorded book frame begins; others spellings take the general way."""

ParseFloat = Callable[[str], Any]


class WireLevel(msgspec.Struct, gc=False):
    """A level of a book frame; each number is text, or an int if it had no point."""

    price: Any
    qty: Any


_ABSENT: Any = msgspec.UNSET


class BookData(msgspec.Struct, gc=False):
    """The single element of ``data`` in a book frame."""

    symbol: str
    checksum: int
    bids: List[WireLevel] = _ABSENT
    asks: List[WireLevel] = _ABSENT
    timestamp: str = ""


class BookFrame(msgspec.Struct, gc=False):
    """A whole book frame."""

    type: Literal["snapshot", "update"]
    data: List[BookData]


class Envelope(msgspec.Struct, gc=False):
    """What a frame says about itself; the rest stays undecoded."""

    channel: Any = None
    type: Any = None
    method: Any = None
    req_id: Any = None
    success: Any = None
    error: Any = None
    Error: Any = None
    """The rate limit's own spelling, seen by users of the older protocol."""
    symbol: Any = None
    sequence: Any = None
    time_in: Any = None
    result: msgspec.Raw = msgspec.Raw(b"")
    data: msgspec.Raw = msgspec.Raw(b"")


class Routing(msgspec.Struct, gc=False):
    """What routes one element of ``data``: its symbol and, for candles, its interval."""

    symbol: Any = None
    interval: Any = None


class MalformedFrame(ValueError):
    """A frame that is not what the protocol allows; it is counted and dropped."""


_decode_book = msgspec.json.Decoder(BookFrame, float_hook=str).decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode
_decode_routing = msgspec.json.Decoder(List[Routing]).decode
_decode_any = msgspec.json.Decoder().decode
_decode_texts = msgspec.json.Decoder(float_hook=str).decode
_FAULTS = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError)


def decode_book(frame: bytes) -> BookFrame:
    """Decode a book frame; numbers stay exact. Raises MalformedFrame."""
    try:
        message = _decode_book(frame)
        for data in message.data:
            if data.bids is _ABSENT or data.asks is _ABSENT:
                _complete(data, frame)
        return message
    except _FAULTS as error:
        raise MalformedFrame(str(error)) from error


def _complete(data: BookData, frame: bytes) -> None:
    """A side is missing. Every recorded frame has both, so another name beside it is this one, garbled."""
    for item in _decode_texts(frame)["data"]:
        unknown = set(item) - set(BookData.__struct_fields__)
        if unknown:
            raise MalformedFrame(f"a side of the book is missing, and there is {sorted(unknown)[0]!r:.40}")
    data.bids = [] if data.bids is _ABSENT else data.bids
    data.asks = [] if data.asks is _ABSENT else data.asks


def decode_envelope(frame: bytes) -> Envelope:
    """Decode what a frame says about itself. Raises MalformedFrame."""
    try:
        return _decode_envelope(frame)
    except _FAULTS as error:
        raise MalformedFrame(str(error)) from error


def decode_routing(data: bytes) -> List[Routing]:
    """Decode the routing keys of a ``data`` array. Raises MalformedFrame."""
    try:
        return _decode_routing(data)
    except _FAULTS as error:
        raise MalformedFrame(str(error)) from error


def decode_value(raw: bytes) -> Any:
    """Decode a piece of a frame that is not shown to users. Raises MalformedFrame."""
    try:
        return _decode_any(raw)
    except _FAULTS as error:
        raise MalformedFrame(str(error)) from error


class FrameDecoder:
    """Turns frames into the dicts that users see.

    Args:
        parse_float: called with the text of every number that has a point or an exponent, as in the
            :mod:`json` module: ``float`` (default), ``decimal.Decimal``, ``str`` or a function.
    """

    def __init__(self, parse_float: Optional[ParseFloat] = float) -> None:
        if parse_float is not None and not callable(parse_float):
            raise TypeError(f"parse_float must be callable, such as decimal.Decimal, not {parse_float!r}")
        hook = None if parse_float in (None, float) else parse_float
        self._decode = msgspec.json.Decoder(float_hook=hook).decode

    def __call__(self, frame: bytes) -> Any:
        """The frame as a dict. Raises MalformedFrame."""
        try:
            return self._decode(frame)
        except _FAULTS as error:
            raise MalformedFrame(str(error)) from error


def encode(message: Mapping[str, Any]) -> bytes:
    """A request as wire text. Decimals go out as the number they are, in fixed-point digits.

    Raises:
        TypeError: if a value cannot be written as JSON.
        ValueError: for a number that is not finite.

    A :class:`Secret` in it goes out as what it is, and the result's repr does not show it.

    >>> encode({"method": "ping", "req_id": 1}).decode()
    '{"method":"ping","req_id":1}'
    >>> encode({"limit_price": Decimal("0.00000010")}).decode()
    '{"limit_price":0.00000010}'
    """
    pieces: List[bytes] = []
    _write(message, pieces.append)
    return HiddenBytes(b"".join(pieces))


def encoded_secret(secret: Secret) -> HiddenBytes:
    """A secret as it stands in a request; :func:`encode` takes the result as it is, and no repr shows it."""
    return HiddenBytes(msgspec.json.encode(secret.reveal()))


def _write(value: Any, out: Callable[[bytes], None]) -> None:
    if isinstance(value, HiddenBytes):
        out(value)
    elif isinstance(value, Decimal):
        if not value.is_finite():
            raise ValueError(f"{value} cannot be sent")
        out(format(value, "f").encode())
    elif isinstance(value, Secret):
        out(msgspec.json.encode(value.reveal()))
    elif isinstance(value, Mapping):
        _write_items(
            b"{}", ((msgspec.json.encode(str(key)) + b":", item) for key, item in value.items()), out
        )
    elif isinstance(value, (list, tuple)):
        _write_items(b"[]", ((b"", item) for item in value), out)
    elif isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        raise ValueError(f"{value} cannot be sent")
    elif value is None or isinstance(value, (str, bool, int, float)):
        out(msgspec.json.encode(value))
    else:
        raise TypeError(f"{type(value).__name__} cannot be sent: {value!r:.80}")


def _write_items(ends: bytes, items: Iterable[Any], out: Callable[[bytes], None]) -> None:
    out(ends[:1])
    for index, (prefix, item) in enumerate(items):
        out(b"," + prefix if index else prefix)
        _write(item, out)
    out(ends[1:])


def subscription_request(
    method: str,
    channel: str,
    params: Mapping[str, Any],
    symbols: Optional[Sequence[str]],
    req_id: int,
    token: Optional[HiddenBytes] = None,
) -> bytes:
    """A subscribe or unsubscribe request; ``symbols`` None for a channel without symbols."""
    body: Dict[str, Any] = {"channel": channel}
    if symbols is not None:
        body["symbol"] = list(symbols)
    body.update(params)
    if token is not None:
        body["token"] = token
    return encode({"method": method, "params": body, "req_id": req_id})


def ping_request(req_id: int) -> bytes:
    """A JSON ping. Source: Kraken, "ping" page; ``params`` must be absent."""
    return encode({"method": "ping", "req_id": req_id})


def error_text(error: Any) -> str:
    """The words of an ``error``, which is a string, or an object at connection level.

    >>> error_text({"message": "You have reached maximum capacity", "name": "rate error"})
    'You have reached maximum capacity'
    """
    if isinstance(error, str):
        return error
    if isinstance(error, Mapping):
        return str(error.get("message") or error.get("name") or dict(error))
    return str(error)


def account_snapshot(channel: str, items: Sequence[Mapping[str, Any]], sequence: Any) -> bytes:
    """A snapshot of ``executions`` or ``balances``, as the exchange would send it."""
    return encode({"channel": channel, "type": "snapshot", "data": items, "sequence": sequence})


def gap_frame(
    channel: str,
    symbol: Optional[str],
    reason: str,
    since: Optional[str],
    until: Optional[str],
    dropped: int = 0,
) -> Dict[str, Any]:
    """The frame that stands in a stream where something is missing.

    ``since`` and ``until`` are RFC 3339 texts in UTC, of this machine's clock.
    """
    return {
        "channel": channel,
        "type": "gap",
        "data": [{"symbol": symbol, "reason": reason, "since": since, "until": until, "dropped": dropped}],
    }
