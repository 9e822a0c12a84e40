"""Verifies recordings with the same decoding, books and checksums as a live connection.

A recording is made by :class:`~kraken_sync.recording.Recorder`, or a text file with one message of the
WebSocket API per line, in any of the forms that :data:`~kraken_sync.core.wire.recorded.FORMS` names.
Requests of the client, which have ``params`` or are marked with ``"dir": "tx"``, are counted as sent, and
lines without a message as foreign.

Source for the checksums: Kraken's guide on the v2 book checksum.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import islice
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Set,
    Tuple,
    Union,
)

import msgspec

from ..core.book.book import Book
from ..core.book.level3 import Level3
from ..core.wire import messages
from ..core.wire.channels import DEPTHS, ORDER_DEPTHS, Key
from ..core.wire.messages import BookFrame, Level3Frame, MalformedFrame
from ..core.wire.record_lines import NOTE, RECEIVED, SENT, UNREADABLE, own, own_frame
from ..core.wire.recorded import lines_of, messages_of
from .books import guessed_depth
from .files import LineReader, PathLike

Decimals = Mapping[str, Tuple[int, int]]


BATCH = 10_000
"""The number of lines that are read before they are judged; a file may be larger than the memory."""


class Mismatch(NamedTuple):
    """A checksum that did not match."""

    line: int
    symbol: str
    expected: int
    computed: Optional[int]
    """None if the message had numbers that a book cannot hold."""
    channel: str = "book"
    """``book`` or ``level3``."""


@dataclass
class Report:
    """The result of a verification."""

    messages: int = 0
    """Messages received from the exchange."""
    book_messages: int = 0
    """Messages of the ``book`` and ``level3`` channels; each of them has a checksum."""
    verified: int = 0
    mismatched: int = 0
    skipped: int = 0
    """Book messages that could not be checked, because there was no snapshot yet since the last mismatch."""
    sent: int = 0
    """Messages that the client of the recording sent."""
    foreign: int = 0
    """Lines that are not messages."""
    gaps: List[Dict[str, Any]] = field(default_factory=list)
    """What the recorder has noted as missing: gaps of subscriptions, lost connections, and records for which
    the disk was too slow."""
    cut: str = ""
    """Why the end of the file may be missing; empty if it is whole."""
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
            "gaps": self.gaps,
            "cut": self.cut,
            "symbols": self.symbols,
            "mismatches": [mismatch._asdict() for mismatch in self.mismatches],
            "seconds": round(self.seconds, 6),
            "messages_per_second": round(self.messages_per_second, 1),
        }


def verify(recording: Union[bytes, Iterable[bytes]], decimals: Optional[Decimals] = None) -> Report:
    """Check the checksum of every book message of a recording, and return a report.

    The depth of a book is taken from the reply to its subscription; without one it is the smallest depth that
    the exchange offers and that holds the snapshot. After a mismatch, and after records that the recorder has
    noted as missing, the messages of a symbol are skipped until its next snapshot.

    Args:
        recording: the content of the file, or its lines.
        decimals: the numbers of decimal places of (price, quantity) by symbol, for recordings whose numbers
            have lost their trailing zeros.
    """
    verifier = Verifier(decimals or {})
    verifier.judge(lines_of(recording) if isinstance(recording, bytes) else recording)
    return verifier.report


def verify_file(
    path: PathLike, decimals: Optional[Decimals] = None, progress: Callable[[int], None] = lambda read: None
) -> Report:
    """Check a recording in a file of any size, also one that ends in ``.gz`` or ``.zst``; see :func:`verify`.

    Args:
        path: the file.
        decimals: see :func:`verify`.
        progress: called now and then with the number of bytes of the file that were read.

    Raises:
        OSError: it cannot be read.
        ImportError: the library for ``.zst`` is missing.
    """
    verifier = Verifier(decimals or {})
    reader = LineReader(path)
    verifier.judge(lines_in(reader), lambda: progress(reader.read))
    verifier.report.cut = reader.cut
    return verifier.report


def lines_in(reader: LineReader) -> Iterator[bytes]:
    """Return the lines of a file in whatever form: one of ours line by line, any other as a whole."""
    lines = iter(reader)
    first = next(lines, None)
    if first is None:
        return iter(())
    if first.startswith(b'{"'):
        return _prepended(first, lines)
    # A JSON array over many lines, or UTF-16, which has no such lines.
    return iter(lines_of(b"\n".join([first, *lines])))


def _prepended(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


class Verifier:
    """The books of a recording, which may be in several files.

    Args:
        decimals: see :func:`verify`.
    """

    def __init__(self, decimals: Decimals) -> None:
        self.report = Report()
        """What was found since this attribute was last set."""
        self.previous: Optional[str] = None
        """The name of the file that was judged before; None if it is not known, empty if it was not whole."""
        self._decimals = decimals
        self._depths: Dict[Key, int] = {}
        self._books: Dict[Key, Union[Book, Level3]] = {}
        self._symbols: Set[str] = set()

    def judge(self, lines: Iterable[bytes], progress: Callable[[], None] = lambda: None) -> None:
        """Check all lines of a file; ``progress()`` is called now and then."""
        numbered = enumerate(lines, 1)
        self._symbols = set()
        while True:
            batch = list(islice(numbered, BATCH))
            if not batch:
                break
            started = time.perf_counter()
            for number, line in batch:
                frame = own_frame(line)
                if frame is not None:
                    self.report.messages += 1
                    self._frame(number, frame)
                else:
                    self._line(number, line)
            self.report.seconds += time.perf_counter() - started
            progress()
        self.report.symbols = sorted(self._symbols)

    def _line(self, number: int, line: bytes) -> None:
        report = self.report
        found = own(line)
        if found is None:
            messages = list(messages_of(line))
            report.sent += sum(one.sent for one in messages)
            report.foreign += bool(line.strip()) and not messages
            for one in messages:
                if not one.sent:
                    report.messages += 1
                    self._frame(number, one.frame)
        elif found.header.dir == SENT:
            report.sent += 1
        elif found.header.dir == NOTE:
            self._note(found.frame)
        elif found.header.dir == RECEIVED:
            report.messages += 1
            self._frame(number, found.frame)
        else:  # what the recorder knew of a subscription: no message of the exchange
            counted = report.book_messages, report.verified
            self._frame(number, found.frame)
            report.book_messages, report.verified = counted

    def _note(self, text: bytes) -> None:
        try:
            note = msgspec.json.decode(text)
        except UNREADABLE:
            self.report.foreign += 1
            return
        if note.get("note") in ("gap", "lost", "dropped"):
            self.report.gaps.append(note)
        if note.get("note") == "dropped" or (note.get("note") == "file" and not self._follows(note)):
            self._books.clear()

    def _follows(self, note: Mapping[str, Any]) -> bool:
        """Whether a file that begins with this note goes on where the one before it has ended."""
        continues = note.get("continues")
        return continues is not None and self.previous in (None, continues)

    def _frame(self, line: int, frame: bytes) -> None:
        try:
            if frame.startswith(messages.BOOK_PREFIX):
                self._book_frame(line, "book", messages.decode_book(frame))
                return
            envelope = messages.decode_envelope(frame)
            if envelope.channel == "book":
                self._book_frame(line, "book", messages.decode_book(frame))
            elif envelope.channel == "level3":
                self._book_frame(line, "level3", messages.decode_level3(frame))
            elif envelope.method == "subscribe" and envelope.success is True:
                self._acknowledged(messages.decode_value(bytes(envelope.result) or b"{}"))
        except MalformedFrame:
            self.report.foreign += 1

    def _acknowledged(self, result: Any) -> None:
        if not isinstance(result, dict) or result.get("channel") not in ("book", "level3"):
            return
        key, depth = Key(result["channel"], result.get("symbol")), result.get("depth")
        offered = ORDER_DEPTHS if key.channel == "level3" else DEPTHS
        if isinstance(key.symbol, str) and type(depth) is int and depth in offered:
            self._depths[key] = depth
            if key in self._books and self._books[key].depth != depth:
                del self._books[key]

    def _book_frame(self, line: int, channel: str, message: Union[BookFrame, Level3Frame]) -> None:
        for data in message.data:
            self._book(line, Key(channel, data.symbol), data, message.type == "snapshot")

    def _book(self, line: int, key: Key, data: Any, snapshot: bool) -> None:
        report = self.report
        report.book_messages += 1
        self._symbols.add(data.symbol)
        book = self._books.get(key)
        if snapshot and (book is None or key not in self._depths):
            book = self._books[key] = self._new_book(key, data)
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
        report.mismatches.append(Mismatch(line, data.symbol, data.checksum, computed, key.channel))
        del self._books[key]

    def _new_book(self, key: Key, data: Any) -> Union[Book, Level3]:
        symbol, level3 = data.symbol, key.channel == "level3"
        depth, decimals = self._depths.get(key), self._decimals.get(symbol)
        kind = Level3 if level3 else Book
        return kind(symbol, depth or guessed_depth(data), decimals)
