"""A book with its state: it applies messages, verifies them, and knows whether the result can be used.

A book is SYNCING until the first verified snapshot, LIVE while every message verifies, RESYNCING from a
mismatch to the next verified snapshot, and STALE while the connection is down. Updates that do not follow a
verified snapshot are ignored: they change a state that this side does not have.
"""

from __future__ import annotations

import enum
from typing import Any, Generic, Optional, Tuple, Type, TypeVar, Union

from ..freshness import BookState, Freshness
from .book import Book
from .level3 import Level3

B = TypeVar("B", bound=Union[Book, Level3])


class Verdict(enum.Enum):
    """The result of applying one book message."""

    VERIFIED = "verified"
    MISMATCHED = "mismatched"
    IGNORED = "ignored"


LIVE, VERIFIED = BookState.LIVE, Verdict.VERIFIED
CROSSED = "crossed: the best bid is not below the best ask, although the checksum matches"

SnapshotMark = Tuple[int, int, int]
"""A snapshot's checksum and its numbers of bids and asks. The checksum, of ten levels, is the same at every
depth."""


class BookSync(Freshness, Generic[B]):
    """A book and its state. ``now`` is in monotonic seconds. Not thread-safe: the owner serialises.

    Args:
        symbol: the exchange's name of the pair.
        depth: the largest number of levels a side.
        kind: the class of the book.
    """

    def __init__(self, symbol: str, depth: int, kind: Type[B]) -> None:
        super().__init__("waiting for the first snapshot")
        self._kind = kind
        self.book: B = kind(symbol, depth)
        self.depth = depth
        """The depth of the next snapshot."""
        self.updated: Optional[float] = None
        """When the last verified message was applied (monotonic seconds)."""
        self.snapshot_mark: Optional[SnapshotMark] = None
        """What identifies the last verified snapshot."""
        self.error = ""
        """The description of the last mismatch."""
        self.doubt = ""
        """Why the book may miss messages although all that came were verified; such a book is not LIVE to its
        readers. It goes on, because the next update ends the doubt."""
        self.refused = False
        """Whether the exchange ended the subscription."""

    def apply(self, data: Any, snapshot: bool, now: float) -> Verdict:
        """Apply one message (of the kind that the book takes) if the state allows it, and return the
        result.
        """
        if snapshot:
            # The version continues, so that readers see that the new book is another state.
            if self.book.depth != self.depth:
                self.book = self._kind(self.book.symbol, self.depth, version=self.book.version)
        # While RESYNCING, the old subscription goes on sending until its unsubscribe is answered.
        elif self.state is not LIVE:
            return Verdict.IGNORED
        error = ""
        try:
            verified = self.book.apply(data, snapshot)
        except ValueError as raised:
            verified, error = False, str(raised)
        if not verified:
            self.error = error or f"expected {data.checksum}, computed {self.book.computed}"
            crossed = self.book.crossed and self.book.computed == data.checksum
            self.leave(BookState.RESYNCING, CROSSED if crossed else "checksum mismatch", now)
            return Verdict.MISMATCHED
        self.updated = now
        if snapshot:
            self.doubt = ""
            self.snapshot_mark = data.checksum, len(data.bids), len(data.asks)
            self.begin(now)
        return VERIFIED
