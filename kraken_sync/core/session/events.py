"""What a session reports to its owner: what a frame means, what to log, and what is missing."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Tuple, Union

from ..wire.channels import Key


class Gap(NamedTuple):
    """Something is missing from a stream. Times are monotonic seconds; ``until`` is None if the gap does not
    end.
    """

    key: Key
    reason: str
    since: float
    until: Optional[float]


class Ended(NamedTuple):
    """The exchange has ended a subscription that was live before."""

    key: Key
    error: str


class Notice(NamedTuple):
    """A line to log; ``level`` is a level name of the :mod:`logging` module."""

    level: str
    text: str


class StatusChanged(NamedTuple):
    """The exchange is in another state, or announces something else; ``status`` is what it sent."""

    status: Mapping[str, Any]
    at: float


Note = Union[Gap, Ended, Notice, StatusChanged]


class Received(NamedTuple):
    """What one frame means: its streams, the notes that precede it, and who must be woken."""

    keys: Tuple[Key, ...] = ()
    notes: Tuple[Note, ...] = ()
    wake: bool = False
    """Whether a waiting thread may be waiting for this."""
    pump: bool = False
    """Whether there may be something to send now."""
    hidden: bool = False
    """Whether nobody subscribed to this frame, so that readers of all frames do not get it either."""
    frame: Optional[bytes] = None
    """The frame that readers get instead of the received one, or None."""
    plain: bool = False
    """Whether the frame is to be delivered, and there is nothing else to do. Nearly all frames are plain;
    those that came together are handled in one go, up to one that is not."""


class Counters:
    """What has happened so far on all connections of a session."""

    def __init__(self) -> None:
        self.connections = 0
        self.messages = 0
        self.bytes = 0
        self.book_messages = 0
        self.verified = 0
        self.mismatched = 0
        self.malformed = 0
        self.late_replies = 0
        self.resyncs = 0
        self.pings = 0
