"""What a session tells those who act: what a frame means, what to log, what is missing."""

from __future__ import annotations

from typing import NamedTuple, Optional, Tuple, Union

from ..wire.channels import Key


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
    hidden: bool = False
    """It is about something that nobody has asked for: who gets everything does not get this."""
    frame: Optional[bytes] = None
    """What readers get instead of the frame."""


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
