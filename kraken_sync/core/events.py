"""What a session tells those who act: what a frame means, what to log, what is missing."""

from __future__ import annotations

from typing import List, NamedTuple, Optional, Tuple, Union

from .channels import Key
from .messages import Envelope


class Gap(NamedTuple):
    """Something is missing from a stream. Times are monotonic seconds; ``until`` is its end."""

    key: Key
    reason: str
    since: float
    until: Optional[float]


class Ended(NamedTuple):
    """The exchange ended a subscription that was live before."""

    key: Key
    error: str


class Notice(NamedTuple):
    """Something to log: ``level`` is a name of the logging module."""

    level: str
    text: str


Note = Union[Gap, Ended, Notice]


class Received(NamedTuple):
    """What one frame means: the streams it belongs to, what to tell first, who to wake."""

    keys: Tuple[Key, ...] = ()
    notes: Tuple[Note, ...] = ()
    wake: bool = False
    """Somebody may be waiting for this."""
    pump: bool = False
    """There may be something to send now."""


class Reply(NamedTuple):
    """One reply to a request."""

    frame: bytes
    envelope: Envelope


class Request:
    """A request in flight; done when it has all its replies, or when ``lost`` is set."""

    def __init__(self, method: str, replies: Optional[int] = 1) -> None:
        self.method = method
        self.req_id = 0
        self.expected = replies
        """How many replies there will be; None if nobody knows."""
        self.replies: List[Reply] = []
        self.refused = False
        """The request was refused as a whole, so that no further replies come."""
        self.lost: Optional[str] = None
        """Why no reply can come any more."""
        self.sent = False
        """Whether any part of it may have left."""
        self.sent_at = 0.0
        """When (monotonic)."""
        self.abandoned = False
        """Nobody waits for it any more, but what it did is still of interest."""

    @property
    def complete(self) -> bool:
        """Whether every reply has come."""
        return self.refused or (self.expected is not None and len(self.replies) >= self.expected)

    @property
    def done(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.complete or self.lost is not None


class Counters:
    """What happened so far, on all connections of a session."""

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
