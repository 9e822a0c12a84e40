"""Keeps one book in step with the exchange, and says what it is worth.

SYNCING until the first verified snapshot, LIVE while every message verifies, RESYNCING from a mismatch to
the next verified snapshot, STALE while the connection is down. Updates that come without a verified
snapshot before them are ignored: they belong to a state nobody has.
"""

from __future__ import annotations

import enum
from typing import Optional

from .book import Book, BookState
from .messages import BookData

MISMATCH_WAITS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Seconds before each resync of a symbol that keeps failing; the last one repeats."""
FORGIVEN_AFTER = 30.0
"""A book that stayed LIVE this long starts over at the first wait."""


class Verdict(enum.Enum):
    """What became of one book message."""

    VERIFIED = "verified"
    MISMATCHED = "mismatched"
    IGNORED = "ignored"


class BookSync:
    """A book and its state. ``now`` is monotonic seconds."""

    def __init__(self, symbol: str, depth: int) -> None:
        self.book = Book(symbol, depth)
        self.depth = depth
        """The depth that the next snapshot will have."""
        self.state = BookState.SYNCING
        self.reason = "waiting for the first snapshot"
        self.since: Optional[float] = None
        """When it was last proven; None while it is LIVE, and before it ever was."""
        self.updated: Optional[float] = None
        """When the last verified message was applied."""
        self.generation = 0
        self.snapshot_checksum: Optional[int] = None
        """Of the last verified snapshot."""
        self.error = ""
        """What a mismatch looked like, in words."""
        self._failures = 0
        self._live_since = 0.0

    @property
    def live(self) -> bool:
        """Whether every message since a verified snapshot was verified."""
        return self.state is BookState.LIVE

    def take(self, data: BookData, snapshot: bool, now: float) -> Verdict:
        """Apply one message if it can be applied, and judge it."""
        if not snapshot and self.state is not BookState.LIVE:
            return Verdict.IGNORED
        if snapshot and self.book.depth != self.depth:
            self.book = Book(self.book.symbol, self.depth, version=self.book.version)
        try:
            verified = self.book.apply(data, snapshot)
            self.error = f"expected {data.checksum}, computed {self.book.computed}"
        except ValueError as error:
            verified, self.error = False, str(error)
        if not verified:
            self.leave(BookState.RESYNCING, "checksum mismatch", now)
            return Verdict.MISMATCHED
        self.updated = now
        if snapshot:
            self.snapshot_checksum = data.checksum
            if self.state is not BookState.LIVE:
                self._live_since = now
            self.state, self.reason, self.since = BookState.LIVE, "", None
            self.generation += 1
        return Verdict.VERIFIED

    def leave(self, state: BookState, reason: str, proven_at: float) -> None:
        """Stop being LIVE (or change the reason why not); ``proven_at`` was the last proof."""
        if self.state is BookState.LIVE:
            self.since = proven_at
        if self.state is BookState.SYNCING and state is not BookState.CLOSED:
            self.reason = f"{reason}; never had a verified snapshot"
            return
        self.state, self.reason = state, reason

    def resync_delay(self, now: float) -> float:
        """Seconds to wait before the resync that a mismatch asks for; grows while they repeat."""
        if self._live_since and now - self._live_since > FORGIVEN_AFTER:
            self._failures = 0
        self._live_since = 0.0
        delay = MISMATCH_WAITS[min(self._failures, len(MISMATCH_WAITS) - 1)]
        self._failures += 1
        return delay
