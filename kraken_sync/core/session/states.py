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


class Event(enum.Enum):
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


TRANSITIONS: Mapping[State, Mapping[Event, State]] = {
    State.WANTED: {
        Event.SENT: State.ASKED,
        Event.DROPPED: State.GONE,
        Event.RENEWED: State.WANTED,
        Event.LOST: State.WANTED,
    },
    State.ASKED: {
        Event.ACKNOWLEDGED: State.LIVE,
        Event.REFUSED: State.GONE,
        Event.RETRY: State.UNSURE,  # an earlier request may have been taken all the same
        Event.EXPIRED: State.UNSURE,
        Event.DROPPED: State.LEAVING,
        Event.RENEWED: State.RENEWING,
        Event.LOST: State.WANTED,
    },
    State.UNSURE: {
        Event.SENT: State.ASKED,
        Event.ACKNOWLEDGED: State.LIVE,  # the answer came late
        Event.DROPPED: State.LEAVING,
        Event.RENEWED: State.RENEWING,
        Event.LOST: State.WANTED,
    },
    State.LIVE: {
        Event.DROPPED: State.LEAVING,
        Event.RENEWED: State.RENEWING,
        Event.LOST: State.WANTED,
    },
    State.LEAVING: {
        Event.SENT: State.LEAVING_ASKED,
        Event.DROPPED: State.LEAVING,
        Event.WANTED_AGAIN: State.RENEWING,
        Event.LOST: State.GONE,
    },
    State.LEAVING_ASKED: {
        Event.UNSUBSCRIBED: State.GONE,
        Event.RETRY: State.LEAVING,
        Event.EXPIRED: State.LEAVING,
        Event.DROPPED: State.LEAVING_ASKED,
        Event.WANTED_AGAIN: State.RENEWING_ASKED,
        Event.LOST: State.GONE,
    },
    State.RENEWING: {
        Event.SENT: State.RENEWING_ASKED,
        Event.DROPPED: State.LEAVING,
        Event.RENEWED: State.RENEWING,
        Event.LOST: State.WANTED,
    },
    State.RENEWING_ASKED: {
        Event.UNSUBSCRIBED: State.WANTED,
        Event.RETRY: State.RENEWING,
        Event.EXPIRED: State.RENEWING,
        Event.DROPPED: State.LEAVING_ASKED,
        Event.RENEWED: State.RENEWING_ASKED,
        Event.LOST: State.WANTED,
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
