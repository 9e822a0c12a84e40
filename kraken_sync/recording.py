"""Verifies recordings with the same decoding, books and checksums as a live connection.

A recording is a text file with one message of the WebSocket API per line. A line may also be an object that
has the message under ``"frame"``, as a string or as an object (whose text is used unchanged), beside other
keys; ``"dir": "tx"`` marks messages that the client sent. Other lines are counted as foreign.

Source for the checksums: Kraken's guide on the v2 book checksum.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

import msgspec

from .core.book.book import Book, smallest_depth
from .core.wire import messages
from .core.wire.channels import DEPTHS
from .core.wire.messages import BookData, MalformedFrame

Decimals = Mapping[str, Tuple[int, int]]


class _Line(msgspec.Struct):
    """A line of a recording: a message, or an object that contains one."""

    # Raw, not a decoded object: decoding and encoding again would change the digits of numbers, on which the
    # checksum depends.

    frame: msgspec.Raw = msgspec.Raw(b"")
    dir: Any = None
    channel: Any = None
    method: Any = None
    error: Any = None


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_text = msgspec.json.Decoder(str).decode


class Recorded(NamedTuple):
    """A received message and its line number in the file."""

    line: int
    frame: bytes


class Mismatch(NamedTuple):
    """A checksum that did not match."""

    line: int
    symbol: str
    expected: int
    computed: Optional[int]
    """None if the message had numbers that a book cannot hold."""


@dataclass
class Report:
    """The result of a verification."""

    messages: int = 0
    """Messages received from the exchange."""
    book_messages: int = 0
    verified: int = 0
    mismatched: int = 0
    skipped: int = 0
    """Book messages that could not be checked, because there was no snapshot yet since the last mismatch."""
    sent: int = 0
    """Messages that the client of the recording sent."""
    foreign: int = 0
    """Lines that are not messages."""
    symbols: List[str] = field(default_factory=list)
    mismatches: List[Mismatch] = field(default_factory=list)
    seconds: float = 0.0
    """The time spent on decoding, applying and verifying, without reading the file."""

    @property
    def messages_per_second(self) -> float:
        """The number of messages decoded, applied and verified per second; 0 if no time was measured."""
        return self.messages / self.seconds if self.seconds else 0.0

    def as_dict(self) -> Dict[str, Any]:
        """Return the report as a dict that can be encoded as JSON."""
        return {
            "messages": self.messages,
            "book_messages": self.book_messages,
            "verified": self.verified,
            "mismatched": self.mismatched,
            "skipped": self.skipped,
            "sent": self.sent,
            "foreign": self.foreign,
            "symbols": self.symbols,
            "mismatches": [mismatch._asdict() for mismatch in self.mismatches],
            "seconds": round(self.seconds, 6),
            "messages_per_second": round(self.messages_per_second, 1),
        }


def read_lines(lines: Iterable[bytes], report: Report) -> List[Recorded]:
    """Return the received messages of a recording, and count all other lines in ``report``."""
    received = []
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line:
            continue
        try:
            outer = _decode_line(line)
            wrapped = bytes(outer.frame)
            frame = _unwrap(wrapped) if wrapped else line
            inner = _decode_line(frame) if wrapped else outer
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            report.foreign += 1
            continue
        if outer.dir == "tx":
            report.sent += 1
        elif inner.channel is None and inner.method is None and inner.error is None:
            report.foreign += 1
        else:
            received.append(Recorded(number, frame))
    return received


def verify(lines: Iterable[bytes], decimals: Optional[Decimals] = None) -> Report:
    """Check the checksum of every book message of a recording, and return a report.

    The depth of a book is taken from the reply to its subscription; without one it is the smallest depth that
    the exchange offers and that holds the snapshot. After a mismatch the messages of the symbol are skipped
    until its next snapshot.

    Args:
        lines: the lines of the recording.
        decimals: the numbers of decimal places of (price, quantity) by symbol, for recordings whose numbers
            have lost their trailing zeros.
    """
    report = Report()
    received = read_lines(lines, report)
    verifier = _Verifier(report, decimals or {})
    started = time.perf_counter()
    for recorded in received:
        verifier.judge(recorded)
    report.seconds = time.perf_counter() - started
    report.messages = len(received)
    report.symbols = sorted(verifier.seen)
    return report


class _Verifier:
    """The books of one recording."""

    def __init__(self, report: Report, decimals: Decimals) -> None:
        self._report = report
        self._decimals = decimals
        self._depths: Dict[str, int] = {}
        self._books: Dict[str, Book] = {}
        self.seen: Dict[str, None] = {}

    def judge(self, recorded: Recorded) -> None:
        line, frame = recorded
        try:
            if frame.startswith(messages.BOOK_PREFIX):
                self._book_frame(line, frame)
                return
            envelope = messages.decode_envelope(frame)
            if envelope.channel == "book":
                self._book_frame(line, frame)
            elif envelope.method == "subscribe" and envelope.success is True:
                self._acknowledged(messages.decode_value(bytes(envelope.result) or b"{}"))
        except MalformedFrame:
            self._report.foreign += 1

    def _acknowledged(self, result: Any) -> None:
        if not isinstance(result, dict) or result.get("channel") != "book":
            return
        symbol, depth = result.get("symbol"), result.get("depth")
        if isinstance(symbol, str) and isinstance(depth, int):
            self._depths[symbol] = depth
            if symbol in self._books and self._books[symbol].depth != depth:
                del self._books[symbol]

    def _book_frame(self, line: int, frame: bytes) -> None:
        message = messages.decode_book(frame)
        for data in message.data:
            self._book(line, data, message.type == "snapshot")

    def _book(self, line: int, data: BookData, snapshot: bool) -> None:
        report, symbol = self._report, data.symbol
        report.book_messages += 1
        self.seen[symbol] = None
        book = self._books.get(symbol)
        if snapshot and (book is None or symbol not in self._depths):
            depth = self._depths.get(symbol) or smallest_depth(data, DEPTHS)
            book = self._books[symbol] = Book(symbol, depth, self._decimals.get(symbol))
        if book is None:
            report.skipped += 1
            return
        computed: Optional[int] = None
        try:
            if book.apply(data, snapshot):
                report.verified += 1
                return
            computed = book.computed
        except ValueError:
            pass  # a number that a book cannot hold, so there is no checksum to compare
        report.mismatched += 1
        report.mismatches.append(Mismatch(line, symbol, data.checksum, computed))
        del self._books[symbol]


def _unwrap(raw: bytes) -> bytes:
    """Return the message under ``"frame"``: the text of a string, or of an object unchanged."""
    return _decode_text(raw).encode() if raw.startswith(b'"') else raw
