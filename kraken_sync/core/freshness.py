"""Whether a local copy (a book, a table of the account) is up to date, and if not, why."""

from __future__ import annotations

import enum
from typing import Optional

RESYNC_WAITS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Seconds before each resync in a row; the last value repeats.

The first is immediate, since one lost message is the usual cause. The others keep a copy that never verifies
from running into ``Exceeded msg rate``."""
FORGIVEN_AFTER = 30.0
"""Seconds of being LIVE after which the waits start over."""


class BookState(str, enum.Enum):
    """The state of a book, or of a table of the account."""

    SYNCING = "SYNCING"
    """The first verified snapshot has not arrived yet."""
    LIVE = "LIVE"
    """Every message so far was verified, and the connection was proven alive seconds ago."""
    STALE = "STALE"
    """The connection is down or silent; the last known state may be old."""
    RESYNCING = "RESYNCING"
    """A checksum did not match, or a message is missing; a fresh snapshot was requested."""
    CLOSED = "CLOSED"
    """It is no longer subscribed, or the exchange refused it."""

    __str__ = str.__str__


class Freshness:
    """Whether a local copy of the exchange's state is up to date, and if not, why and since when.

    Times are in monotonic seconds. Not thread-safe: the owner serialises.
    """

    def __init__(self, reason: str) -> None:
        self.state = BookState.SYNCING
        self.reason = reason
        self.since: Optional[float] = None
        """When the copy was last proven current; None while it is LIVE, and before it ever was."""
        self.generation = 0
        """The number of snapshots so far."""
        self.blind = False
        """Whether the copy was up to date, is still wanted, and is not up to date now."""
        self._failures = 0
        self._live_since: Optional[float] = None

    @property
    def live(self) -> bool:
        """Whether the copy is up to date."""
        return self.state is BookState.LIVE

    def begin(self, now: float) -> None:
        """Note that a good snapshot was applied; the copy is LIVE."""
        # A further snapshot while LIVE does not restart the time after which failures are forgiven.
        if not self.live:
            self._live_since = now
        self.state, self.reason, self.since, self.blind = BookState.LIVE, "", None, False
        self.generation += 1

    def leave(self, state: BookState, reason: str, proven_at: float) -> None:
        """Stop being LIVE, or change the reason for not being LIVE. ``proven_at`` was the last proof."""
        if self.state is BookState.LIVE:
            self.since = proven_at
        if self.state is BookState.CLOSED:
            return
        if self.state is BookState.SYNCING and state is not BookState.CLOSED:
            # STALE and RESYNCING promise a last known state, which does not exist yet.
            self.reason = f"{reason}; no snapshot has come yet"
            return
        self.state, self.reason, self.blind = state, reason, bool(self.generation)

    def resync_delay(self, now: float) -> float:
        """Return the seconds to wait before the resync that is needed now; they grow while resyncs repeat."""
        if self._live_since is not None and now - self._live_since > FORGIVEN_AFTER:
            self._failures = 0
        self._live_since = None
        delay = RESYNC_WAITS[min(self._failures, len(RESYNC_WAITS) - 1)]
        self._failures += 1
        return delay
