"""What the connections of a client receive and send, on its way to a recorder.

The I/O threads put records on a tape and never wait for whoever writes them to a disk: a tape that is full
drops what comes next, and says so where it is missing.
"""

from __future__ import annotations

import json
import time
from typing import Any, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..core.wire.record_lines import NOTE
from .locks import new_lock
from .streams import Stream

LIMIT = 64 * 2**20
"""The number of bytes that wait to be written before records are dropped."""
OVERHEAD = 200
"""About the number of bytes that a record takes besides its content."""


class Record(NamedTuple):
    """A frame, or a note about the connection."""

    wall_ns: int
    """The wall-clock time in nanoseconds since the epoch."""
    mono_ns: int
    """The monotonic time in nanoseconds."""
    connection: str
    """The kind of the connection and its number, such as ``public 1``; the number grows with each attempt."""
    direction: str
    """``rx``, ``tx``, ``state`` or ``note``; see :mod:`kraken_sync.core.wire.record_lines`."""
    content: bytes
    """The frame, or the note as JSON."""


class Tape:
    """A bounded queue of records. Any thread may use it; no call blocks for longer than a moment.

    Args:
        private: whether the private connection is recorded, too.
        limit: the number of bytes that may wait.
    """

    def __init__(self, private: bool = False, limit: int = LIMIT) -> None:
        self.private = private
        self._limit = limit
        self._lock = new_lock("tape")
        self._records: List[Record] = []
        self._held = 0
        self._lost_since: Optional[Record] = None
        self._lost = 0
        self.dropped = 0
        """The number of records dropped so far."""

    def put(self, connection: str, direction: str, content: bytes) -> None:
        """Add a frame."""
        self.put_all(connection, direction, (content,))

    def put_all(self, connection: str, direction: str, contents: Sequence[bytes]) -> None:
        """Add frames that came together, and so have the same time."""
        if not self.private and connection.startswith("private"):
            return
        with self._lock:
            # The times are taken here, so that the records are in their order.
            wall, mono = time.time_ns(), time.monotonic_ns()
            for content in contents:
                record = Record(wall, mono, connection, direction, content)
                size = len(content) + OVERHEAD
                # Once something was dropped, so is everything until the next take(): one hole, not a sieve.
                if self._lost or self._held + size > self._limit:
                    self._lost_since = self._lost_since or record
                    self._lost += 1
                    self.dropped += 1
                    continue
                self._records.append(record)
                self._held += size

    def note(self, connection: str, what: Mapping[str, Any]) -> None:
        """Add a note about a connection, or about one of its subscriptions."""
        self.put(connection, NOTE, json.dumps(what, default=str).encode())

    def take(self) -> Tuple[List[Record], int]:
        """Return what has come since the last call, and the number of records that were dropped after it.

        If there are any, the last of the returned records is a note of that.
        """
        with self._lock:
            records, self._records, self._held = self._records, [], 0
            lost, first, self._lost, self._lost_since = self._lost, self._lost_since, 0, None
            wall, mono = time.time_ns(), time.monotonic_ns()
        if first is not None:
            missing = {
                "note": "dropped",
                "reason": "the disk cannot follow",
                "records": lost,
                "since_ns": first.wall_ns,
                "until_ns": wall,
            }
            records.append(Record(wall, mono, "", NOTE, json.dumps(missing).encode()))
        return records, lost


class Tapes:
    """The tapes of one client. Any thread."""

    def __init__(self) -> None:
        self.all: Tuple[Tape, ...] = ()
        """Replaced by each change, never changed, because the I/O threads read it without a lock."""
        self._lock = new_lock("tapes")

    def add(self, tape: Tape) -> None:
        """Put everything on this tape, too."""
        with self._lock:
            self.all = (*self.all, tape)

    def remove(self, tape: Tape) -> None:
        """Put nothing more on this tape. No effect if that was done before."""
        with self._lock:
            self.all = tuple(one for one in self.all if one is not tape)


class Taps:
    """What gets every frame of every connection of one client.

    Args:
        tapes: of recorders.
    """

    def __init__(self, tapes: Tapes) -> None:
        self.streams: List[Stream] = []
        self.tapes = tapes
