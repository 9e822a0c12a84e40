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

import msgspec

from ..core.wire.record_lines import NOTE, RECEIVED, SENT, STATE
from ..io.tape import Record

KEPT_GAPS = 1000
"""The number of gaps listed for a file; all are counted."""
ENDINGS = (".jsonl", ".jsonl.gz", ".jsonl.zst")


class _Ack(msgspec.Struct):
    channel: Optional[str] = None
    symbol: Optional[str] = None


class _Frame(msgspec.Struct):
    method: Optional[str] = None
    success: Optional[bool] = None
    result: Any = None


_decode_frame = msgspec.json.Decoder(_Frame).decode


def stem_of(path: Path) -> str:
    """Return a file's name without the ending of a recording: ``day`` for ``day.jsonl.gz``."""
    name = path.name
    for ending in sorted(ENDINGS, key=len, reverse=True):
        if name.endswith(ending):
            return name[: -len(ending)]
    return path.stem


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
            if content.startswith(b'{"method":"subscribe"') or b'"method":"subscribe"' in content[:400]:
                self._subscribed(content)
        elif record.direction == STATE:
            self._subscribed(content)
        elif record.direction == SENT:
            self.sent += 1
        elif record.direction == NOTE:
            self._noted(json.loads(content))

    def _subscribed(self, content: bytes) -> None:
        try:
            frame = _decode_frame(content)
            ack = (
                msgspec.convert(frame.result, _Ack) if frame.success and frame.method == "subscribe" else None
            )
        except msgspec.MsgspecError:
            return
        if ack is not None and ack.channel is not None:
            symbols = self.channels.setdefault(ack.channel, [])
            if ack.symbol not in symbols:
                symbols.append(ack.symbol)

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
        self._previous = ""
        for line in lines_of(path):
            self._previous = hashlib.sha256(line).hexdigest()

    def add(self, summary: Summary) -> None:
        """List a finished file. Raises OSError."""
        summary.previous = self._previous
        line = json.dumps(asdict(summary)).encode()
        with open(self.path, "ab") as file:
            # A manifest that was cut off in a line goes on in a new one.
            if file.tell() and not self.path.read_bytes().endswith(b"\n"):
                file.write(b"\n")
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._previous = hashlib.sha256(line).hexdigest()


def lines_of(path: Path) -> List[bytes]:
    """Return the whole entries of a manifest; none if there is no such file."""
    if not path.exists():
        return []
    found = []
    for line in path.read_bytes().split(b"\n"):
        try:
            if isinstance(json.loads(line or b"0"), dict):
                found.append(line)
        except ValueError:
            pass  # cut off while it was written; the files are looked at without it
    return found


def wall_text_ns(wall_ns: int) -> str:
    """Return nanoseconds since the epoch as RFC 3339, in UTC, with nine digits.

    >>> wall_text_ns(1_764_378_000_000_000_001)
    '2025-11-29T01:00:00.000000001Z'
    """
    seconds, rest = divmod(wall_ns, 10**9)
    when = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{when:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"
