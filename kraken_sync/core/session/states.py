"""The states of a subscription, what happens to it, and what follows: the whole table.

First subscribe, resubscribe after a reconnect, an answer that never came and a resync are one mechanism. What
:data:`TRANSITIONS` does not have cannot happen; an attempt is a fault of this library and raises
``AssertionError``. Only :mod:`.entry` changes a state. The picture in ``docs/design.rst`` is made from this
table, and a test compares the two.
"""

from __future__ import annotations

import enum
from typing import Mapping


class State(enum.Enum):
    """How far a subscription is."""

    WANTED = "wanted"
    """The exchange has nothing of it; a subscribe is due."""
    ASKED = "asked"
    """A subscribe was sent and waits for its answer."""
    UNSURE = "unsure"
    """A subscribe was sent and may have been taken; as no final answer came, it is due again."""
    LIVE = "live"
    """The exchange has acknowledged it."""
    LEAVING = "leaving"
    """Nobody wants it any more; an unsubscribe is due."""
    LEAVING_ASKED = "leaving, asked"
    """Nobody wants it any more; an unsubscribe waits for its answer."""
    RENEWING = "renewing"
    """It is wanted afresh (another snapshot, other parameters); first an unsubscribe is due."""
    RENEWING_ASKED = "renewing, asked"
    """It is wanted afresh; the unsubscribe waits for its answer."""
    GONE = "gone"
    """The end: the entry is no part of the registry any more."""


class Cause(enum.Enum):
    """What happens to a subscription."""

    SENT = "request sent"
    ACKNOWLEDGED = "subscribe acknowledged"
    REFUSED = "subscribe refused"
    RETRY = "refused for now"
    EXPIRED = "no answer in time"
    UNSUBSCRIBED = "unsubscribe answered"
    DROPPED = "not wanted any more"
    WANTED_AGAIN = "wanted again"
    RENEWED = "wanted afresh"
    LOST = "connection lost"


TRANSITIONS: Mapping[State, Mapping[Cause, State]] = {
    State.WANTED: {
        Cause.SENT: State.ASKED,
        Cause.DROPPED: State.GONE,
        Cause.RENEWED: State.WANTED,
        Cause.LOST: State.WANTED,
    },
    State.ASKED: {
        Cause.ACKNOWLEDGED: State.LIVE,
        Cause.REFUSED: State.GONE,
        Cause.RETRY: State.UNSURE,  # an earlier request may have been taken all the same
        Cause.EXPIRED: State.UNSURE,
        Cause.DROPPED: State.LEAVING,
        Cause.RENEWED: State.RENEWING,
        Cause.LOST: State.WANTED,
    },
    State.UNSURE: {
        Cause.SENT: State.ASKED,
        Cause.ACKNOWLEDGED: State.LIVE,  # the answer came late
        Cause.DROPPED: State.LEAVING,
        Cause.RENEWED: State.RENEWING,
        Cause.LOST: State.WANTED,
    },
    State.LIVE: {
        Cause.DROPPED: State.LEAVING,
        Cause.RENEWED: State.RENEWING,
        Cause.LOST: State.WANTED,
    },
    State.LEAVING: {
        Cause.SENT: State.LEAVING_ASKED,
        Cause.DROPPED: State.LEAVING,
        Cause.WANTED_AGAIN: State.RENEWING,
        Cause.LOST: State.GONE,
    },
    State.LEAVING_ASKED: {
        Cause.UNSUBSCRIBED: State.GONE,
        Cause.RETRY: State.LEAVING,
        Cause.EXPIRED: State.LEAVING,
        Cause.DROPPED: State.LEAVING_ASKED,
        Cause.WANTED_AGAIN: State.RENEWING_ASKED,
        Cause.LOST: State.GONE,
    },
    State.RENEWING: {
        Cause.SENT: State.RENEWING_ASKED,
        Cause.DROPPED: State.LEAVING,
        Cause.RENEWED: State.RENEWING,
        Cause.LOST: State.WANTED,
    },
    State.RENEWING_ASKED: {
        Cause.UNSUBSCRIBED: State.WANTED,
        Cause.RETRY: State.RENEWING,
        Cause.EXPIRED: State.RENEWING,
        Cause.DROPPED: State.LEAVING_ASKED,
        Cause.RENEWED: State.RENEWING_ASKED,
        Cause.LOST: State.WANTED,
    },
    State.GONE: {},
}

DUE: Mapping[State, str] = {
    State.WANTED: "subscribe",
    State.UNSURE: "subscribe",
    State.LEAVING: "unsubscribe",
    State.RENEWING: "unsubscribe",
}
"""The request that is due in a state."""
