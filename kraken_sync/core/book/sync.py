"""Keeps one book in step with the exchange, and says what it is worth.

SYNCING until the first verified snapshot, LIVE while every message verifies, RESYNCING from a mismatch to
the next verified snapshot, STALE while the connection is down. Updates that come without a verified
snapshot before them are ignored: they belong to a state nobody has.
"""

from __future__ import annotations

import enum
from typing import Optional

from ..freshness import BookState, Freshness
from ..wire.messages import BookData
from .book import Book


class Verdict(enum.Enum):
    """What became of one book message."""

    VERIFIED = "verified"
    MISMATCHED = "mismatched"
    IGNORED = "ignored"


class BookSync(Freshness):
    """A book and its state. ``now`` is monotonic seconds."""

    def __init__(self, symbol: str, depth: int) -> None:
        super().__init__("waiting for the first snapshot")
        self.book = Book(symbol, depth)
        self.depth = depth
        """The depth that the next snapshot will have."""
        self.updated: Optional[float] = None
        """When the last verified message was applied."""
        self.snapshot_checksum: Optional[int] = None
        """Of the last verified snapshot."""
        self.error = ""
        """What a mismatch looked like, in words."""
        self.refused = False
        """The exchange ended the subscription."""

    def apply(self, data: BookData, snapshot: bool, now: float) -> Verdict:
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
            self.begin(now)
        return Verdict.VERIFIED
