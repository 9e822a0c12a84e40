"""Reads recordings in their order, with the times of their frames."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import msgspec

from ..core.wire.record_lines import NOTE, RECEIVED, STATE, UNREADABLE, own
from ..core.wire.recorded import messages_of
from .files import LineReader
from .routing import time_in
from .verify import lines_in

FRAME, KNOWN, LOST, GAP = "frame", "known", "lost", "gap"
"""A frame from the exchange; a frame that tells what the recorder knew already; from here to the next
snapshots everything is missing on a connection; something is missing in one subscription."""


class Moment(NamedTuple):
    """One thing that has happened in a recording."""

    at: int
    """Nanoseconds since the epoch."""
    kind: str
    frame: bytes
    """A frame; for a loss its reason, for a gap the note."""
    connection: str
    hole: Optional[Tuple[int, int]] = None
    """For a loss that is over: from when to when everything is missing."""

    @property
    def role(self) -> str:
        """The kind of the connection; empty if it is all of them, or not known."""
        return self.connection.partition(" ")[0]


class Source:
    """The moments of several files, which follow one another.

    Args:
        paths: recordings, in any of the forms that ``kraken-sync verify`` reads.
        progress: called with each file before it is read.
    """

    def __init__(self, paths: Sequence[Path], progress: Callable[[Path], None] = lambda path: None) -> None:
        self._paths = paths
        self._progress = progress
        self.read = 0
        """The number of bytes of all files that were read so far."""
        self.cut: List[str] = []
        """The files whose end is missing, and why; known when they were read."""

    def __str__(self) -> str:
        return ", ".join(map(str, self._paths))

    def __iter__(self) -> Iterator[Moment]:
        at, previous = 0, ""
        for number, path in enumerate(self._paths):
            self._progress(path)
            if number and self.cut and self.cut[-1].startswith(f"{previous}: "):
                yield Moment(at, LOST, f"the end of {previous} is missing".encode(), "")
            reader, before = LineReader(path), self.read
            for line in lines_in(reader):
                self.read = before + reader.read
                for moment in _moments(line, at, previous):
                    at = max(at, moment.at)
                    yield moment._replace(at=at)
            if reader.cut:
                self.cut.append(f"{path.name}: {reader.cut}")
            previous = path.name


def _moments(line: bytes, before: int, previous: str) -> Iterator[Moment]:
    found = own(line)
    if found is None:  # another form: the time is the exchange's own
        for one in messages_of(line):
            if not one.sent:
                yield Moment(nanoseconds(time_in(one.frame)) or before, FRAME, one.frame, "")
        return
    header = found.header
    if header.dir == RECEIVED:
        yield Moment(header.wall_ns, FRAME, found.frame, header.connection)
    elif header.dir == STATE:
        yield Moment(header.wall_ns, KNOWN, found.frame, header.connection)
    elif header.dir == NOTE:
        try:
            note = msgspec.json.decode(found.frame)
        except UNREADABLE:
            return
        what = note.get("note")
        if what in ("lost", "closed", "dropped"):
            reason = str(note.get("reason") or "the recording client was closed")
            yield Moment(header.wall_ns, LOST, reason.encode(), header.connection, _hole(note))
        elif what == "file" and previous and note.get("continues") != previous:
            yield Moment(header.wall_ns, LOST, f"{previous} was not recorded further".encode(), "")
        elif what == "gap":
            yield Moment(header.wall_ns, GAP, found.frame, header.connection)


def _hole(note: Dict[str, Any]) -> Optional[Tuple[int, int]]:
    since, until = note.get("since_ns"), note.get("until_ns")
    return (since, until) if type(since) is int and type(until) is int else None


def nanoseconds(text: Optional[str]) -> Optional[int]:
    """Return a time of the exchange (RFC 3339, UTC) in nanoseconds since the epoch; None if it is none.

    >>> nanoseconds("2026-11-29T01:00:00.000001Z")
    1795914000000001000
    """
    if not text:
        return None
    whole, _, fraction = text.rstrip("Z").partition(".")
    try:
        seconds = int(datetime.fromisoformat(f"{whole}+00:00").timestamp())
    except ValueError:
        return None
    digits = fraction[:9] if fraction.isdigit() else ""
    return seconds * 10**9 + int(digits.ljust(9, "0"))
