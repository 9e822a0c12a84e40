"""Whether a local copy (a book, a table of the account) is up to date: its state, and the reason for it."""

from __future__ import annotations

import enum
from typing import Optional

RESYNC_WAITS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Seconds before each resync of what keeps failing; the last one repeats."""
FORGIVEN_AFTER = 30.0
"""What stayed LIVE this long starts over at the first wait."""


class BookState(str, enum.Enum):
    """What a book, or a table of the account, is worth right now."""

    SYNCING = "SYNCING"
    """The first verified snapshot has not come yet."""
    LIVE = "LIVE"
    """Every message so far was verified, and the exchange proved itself alive seconds ago."""
    STALE = "STALE"
    """The connection is down or silent; the last known state may be old."""
    RESYNCING = "RESYNCING"
    """A checksum did not match, or a message is missing; a fresh snapshot was asked for."""
    CLOSED = "CLOSED"
    """Not subscribed any more, or refused."""

    __str__ = str.__str__


class Freshness:
    """Whether a local copy of the exchange's state is up to date, and if not, why and since when.

    Times are monotonic seconds. Not thread-safe: the owner serialises.
    """

    def __init__(self, reason: str) -> None:
        self.state = BookState.SYNCING
        self.reason = reason
        self.since: Optional[float] = None
        """When it was last proven; None while it is LIVE, and before it ever was."""
        self.generation = 0
        """How many snapshots it has had."""
        self.blind = False
        """Whether it was up to date, is still wanted, and is not up to date now."""
        self._failures = 0
        self._live_since: Optional[float] = None

    @property
    def live(self) -> bool:
        """Whether nothing is missing."""
        return self.state is BookState.LIVE

    def begin(self, now: float) -> None:
        """A good snapshot was taken."""
        if not self.live:
            self._live_since = now
        self.state, self.reason, self.since, self.blind = BookState.LIVE, "", None, False
        self.generation += 1

    def leave(self, state: BookState, reason: str, proven_at: float) -> None:
        """Stop being LIVE (or change the reason why not); ``proven_at`` was the last proof."""
        if self.state is BookState.LIVE:
            self.since = proven_at
        if self.state is BookState.CLOSED:
            return
        if self.state is BookState.SYNCING and state is not BookState.CLOSED:
            self.reason = f"{reason}; no snapshot has come yet"
            return
        self.state, self.reason, self.blind = state, reason, bool(self.generation)

    def resync_delay(self, now: float) -> float:
        """Seconds to wait before the resync that is needed now; grows while they repeat."""
        if self._live_since is not None and now - self._live_since > FORGIVEN_AFTER:
            self._failures = 0
        self._live_since = None
        delay = RESYNC_WAITS[min(self._failures, len(RESYNC_WAITS) - 1)]
        self._failures += 1
        return delay
