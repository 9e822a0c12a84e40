"""Writes records to files, one after the other, and lists the finished ones in the manifest."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from itertools import takewhile
from pathlib import Path
from typing import Callable, List, Optional, Sequence

from ..core.wire.record_lines import NOTE, own_line
from ..io.tape import Record
from ..version import __version__
from .files import Compressor, Sink, compressor
from .manifest import Manifest, Summary, ending_of, manifest_path, stem_of

FORMAT = 1
"""The number of the form of the files."""
SLICE = 5000
"""The number of records between two looks at the size of the file."""
DAY_NS = 86400 * 10**9


class Writer:
    """The files of one recording. One thread at a time.

    Every method that writes may raise OSError; the next call goes on where it failed, and nothing is written
    twice or left out.

    Args:
        path: the file, or what the names of numbered files are made of.
        max_bytes: the size at which another file is begun.
        daily: whether another file is begun at midnight UTC.
        begun: called when a file other than the first was begun.
    """

    def __init__(self, path: Path, max_bytes: Optional[int], daily: bool, begun: Callable[[], None]) -> None:
        self._path, self._max_bytes, self._daily, self._begun = path, max_bytes, daily, begun
        self._numbered = daily or max_bytes is not None
        self._number = 0
        self._manifest = Manifest(manifest_path(path))
        self.book_messages = 0
        """The number of messages of books in all finished files."""
        self._sink: Optional[Sink] = None
        self._compressor: Optional[Compressor] = None
        self._summary = Summary("")
        self._day = 0
        self._finished = 0
        self.files: List[Path] = []
        """The files so far, oldest first."""
        self._open()

    @property
    def records(self) -> int:
        """The number of records in all files."""
        return self._finished + self._summary.records

    def write(self, waiting: List[Record]) -> None:
        """Write the records, and remove from the list what has been taken over."""
        self._push()  # what failed before
        while waiting:
            if self._sink is not None and (self._compressor is None or self._over(waiting[0])):
                self.end()  # or again, if it has failed before
            if self._sink is None:
                self._open(waiting[0].wall_ns)
                self._begun()
            part = waiting[:SLICE]
            if self._daily:
                # Not every record that belongs here: clocks are set back, and the order must stay.
                part = list(takewhile(lambda record: record.wall_ns // DAY_NS <= self._day, part))
            self._add(part)
            del waiting[: len(part)]
            self._push()

    def flush(self) -> None:
        """Make everything readable in the file."""
        if self._sink is not None and self._compressor is not None:
            self._sink.add(self._compressor.flush())
            self._push()

    def end(self) -> None:
        """Finish the current file."""
        sink = self._sink
        if sink is None:
            return
        if self._compressor is not None:
            rest, self._compressor = self._compressor.end(), None
            sink.add(rest)
        self._summary.sha256, self._summary.size = sink.end(), sink.size
        self._manifest.add(self._summary)
        self._finished += self._summary.records
        self.book_messages += self._summary.book_messages
        self._sink, self._summary = None, Summary("")

    def abandon(self) -> None:
        """Close the file without what could not be written. Never raises."""
        if self._sink is not None:
            self._sink.abandon()

    def _over(self, record: Record) -> bool:
        """Whether this record belongs in another file."""
        assert self._sink is not None
        if self._max_bytes is not None and self._sink.size >= self._max_bytes:
            return True
        return self._daily and record.wall_ns // DAY_NS > self._day

    def _push(self) -> None:
        if self._sink is not None:
            self._sink.push()

    def _add(self, records: Sequence[Record]) -> None:
        assert self._sink is not None
        assert self._compressor is not None
        lines = b"".join(own_line(*record) for record in records)
        for record in records:
            self._summary.count(record)
        self._sink.add(self._compressor.add(lines))

    def _open(self, first_ns: int = 0) -> None:
        now = max(time.time_ns(), first_ns)
        self._compressor = compressor(self._path)
        path = self._path
        while self._sink is None:
            if self._numbered:
                self._number += 1
                day = datetime.fromtimestamp(now // 10**9, timezone.utc)
                stem, ending = stem_of(self._path), ending_of(self._path)
                path = self._path.with_name(f"{stem}-{day:%Y-%m-%d}-{self._number:06d}{ending}")
            try:
                self._sink = Sink(path)
            except FileExistsError:
                if not self._numbered:
                    raise FileExistsError(
                        f"{path} exists, and a recording is never overwritten: choose another name, or let "
                        "the files be numbered, with max_bytes= or daily="
                    ) from None
        self.files.append(path)
        self._day, self._summary = now // DAY_NS, Summary(path.name)
        before = self.files[-2].name if len(self.files) > 1 else None
        header = {
            "note": "file",
            "format": FORMAT,
            "recorder": f"kraken_sync {__version__}",
            "continues": before,
        }
        self._add([Record(now, time.monotonic_ns(), "", NOTE, json.dumps(header).encode())])
