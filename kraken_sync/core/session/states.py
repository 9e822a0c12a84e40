"""The states of a subscription, the events that change them, and the table of all transitions.

The first subscribe, the resubscribe after a reconnect, a missing answer and a resync use one mechanism. A
transition that is not in :data:`TRANSITIONS` is a fault of this library and raises ``AssertionError``. Only
:mod:`.entry` changes a state. The table in ``docs/design.rst`` is generated from this one, and a test
compares the two.
"""

from __future__ import annotations

import enum
from typing import Mapping


class State(enum.Enum):
    """The state of a subscription."""

    WANTED = "wanted"
    """The exchange does not have it; a subscribe is due."""
    ASKED = "asked"
    """A subscribe was sent and waits for its answer."""
    UNSURE = "unsure"
    """A subscribe was sent and may have been accepted; as no final answer came, a subscribe is due again."""
    LIVE = "live"
    """The exchange has acknowledged it."""
    LEAVING = "leaving"
    """It is no longer wanted; an unsubscribe is due."""
    LEAVING_ASKED = "leaving, asked"
    """It is no longer wanted; an unsubscribe waits for its answer."""
    RENEWING = "renewing"
    """It must be subscribed again, for another snapshot or other parameters; first an unsubscribe is due."""
    RENEWING_ASKED = "renewing, asked"
    """It must be subscribed again; the unsubscribe waits for its answer."""
    GONE = "gone"
    """It has ended and is not in the registry any more."""


class Cause(enum.Enum):
    """An event that changes the state of a subscription."""

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
    ENDED = "ended by the exchange"


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
        Cause.RETRY: State.UNSURE,  # an earlier subscribe may have been accepted all the same
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
        Cause.ENDED: State.GONE,  # not documented, but the exchange may say so
    },
    # Left for an unsubscribe even if a subscribe is still unanswered: it may have been accepted.
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
