"""The list of the finished files of a recording: what is in each, its hash, and the hash of the entry before.

It stands beside the files, as ``NAME.manifest.jsonl``, one JSON object a line, oldest first.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Dict, List, Optional

from ..core.wire.record_lines import NOTE, RECEIVED, SENT, STATE
from ..io.tape import Record
from .routing import acknowledged

KEPT_GAPS = 1000
"""The number of gaps listed for a file; all are counted."""
ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


def stem_of(path: Path) -> str:
    """Return a file's name without the ending of a recording: ``day`` for ``day.jsonl.gz``."""
    name = path.name
    for ending in sorted(ENDINGS, key=len, reverse=True):
        if name.endswith(ending):
            return name[: -len(ending)]
    return path.stem


def check_name(path: Path) -> None:
    """Raise ValueError unless a file has the name of a recording."""
    if not is_recording(path):
        raise ValueError(
            f"the name of a recording ends in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, not {path.name!r}"
        )


def ending_of(path: Path) -> str:
    """Return the ending of a recording's name, such as ``.jsonl.gz``."""
    return path.name[len(stem_of(path)) :]


def is_recording(path: Path) -> bool:
    """Return whether a file has the name of a recording."""
    return path.name.endswith(ENDINGS) and not path.name.endswith(".manifest.jsonl")


def manifest_path(path: Path) -> Path:
    """Return where the manifest of the recording ``path`` is."""
    return path.with_name(f"{stem_of(path)}.manifest.jsonl")


@dataclass
class Summary:
    """What one file has in it."""

    file: str
    size: int = 0
    """The number of bytes."""
    sha256: str = ""
    first: Optional[str] = None
    """The time of the first record, as RFC 3339."""
    last: Optional[str] = None
    records: int = 0
    received: int = 0
    sent: int = 0
    book_messages: int = 0
    """Messages of ``book`` and ``level3``, each of which has a checksum."""
    dropped: int = 0
    """Records that the disk was too slow for."""
    gap_count: int = 0
    gaps: List[Dict[str, Any]] = field(default_factory=list)
    """The first 1000 gaps: of subscriptions, of connections, and of the recording itself."""
    channels: Dict[str, List[Optional[str]]] = field(default_factory=dict)
    """The symbols by channel."""
    previous: str = ""
    """The SHA-256 of the line before in the manifest; empty in the first."""

    def count(self, record: Record) -> None:
        """Count a record."""
        self.records += 1
        self.last = wall_text_ns(record.wall_ns)
        self.first = self.first or self.last
        content = record.content
        if record.direction == RECEIVED:
            self.received += 1
            self.book_messages += content.startswith((b'{"channel":"book"', b'{"channel":"level3"'))
            self._acknowledged(content)
        elif record.direction == STATE:
            self._acknowledged(content)
        elif record.direction == SENT:
            self.sent += 1
        elif record.direction == NOTE:
            self._noted(json.loads(content))

    def _acknowledged(self, content: bytes) -> None:
        reply = acknowledged(content)
        if reply is not None and reply.method == "subscribe":
            symbols = self.channels.setdefault(reply.key.channel, [])
            if reply.key.symbol not in symbols:
                symbols.append(reply.key.symbol)

    def _noted(self, note: Dict[str, Any]) -> None:
        if note.get("note") not in ("gap", "lost", "dropped"):
            return
        self.gap_count += 1
        self.dropped += note.get("records", 0)
        if len(self.gaps) < KEPT_GAPS:
            self.gaps.append(note)


class Manifest:
    """The manifest of one recording. One thread at a time.

    Args:
        path: where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, summary: Summary) -> None:
        """List a finished file; one that is listed already is not listed again. Raises OSError."""
        # Read each time: another recorder may use the same manifest, or a failed attempt have written it.
        before = entries_of(self.path)
        last = json.loads(before[-1]) if before else {}
        if (last.get("file"), last.get("sha256")) == (summary.file, summary.sha256):
            return
        summary.previous = hashlib.sha256(before[-1]).hexdigest() if before else ""
        line = json.dumps(asdict(summary)).encode()
        rest = (_lines(self.path) or [b""])[-1]
        with open(self.path, "ab") as file:
            if _is_entry(rest):
                file.write(b"\n")
            elif rest:
                # What a failed or killed recorder has left of a line would look like tampering for ever.
                file.truncate(file.tell() - len(rest))
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())


def entries_of(path: Path) -> List[bytes]:
    """Return the entries of a manifest that can be read; none if there is no such file."""
    return [line for line in _lines(path) if _is_entry(line)]


def unreadable_lines(path: Path) -> int:
    """Return how many lines cannot be read, except for a last one that was cut off while it was written."""
    lines = _lines(path)
    return sum(not _is_entry(line) for line in lines[:-1]) if lines else 0


def _lines(path: Path) -> List[bytes]:
    return path.read_bytes().split(b"\n") if path.exists() else []


def _is_entry(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def wall_text_ns(wall_ns: int) -> str:
    """Return nanoseconds since the epoch as RFC 3339, in UTC, with nine digits.

    >>> wall_text_ns(1_764_378_000_000_000_001)
    '2025-11-29T01:00:00.000000001Z'
    """
    seconds, rest = divmod(wall_ns, 10**9)
    when = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
