"""Connections and their subscriptions, as the simulated exchange sees them."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional

from .credentials import Token
from .refusal import Refusal

PUBLIC, PRIVATE, LEVEL3 = "public", "private", "level3"


class Feed(NamedTuple):
    """A subscription of one connection."""

    channel: str
    symbol: Optional[str] = None
    option: Any = None
    """Depth, interval or event trigger."""


class Peer:
    """One connection, as the exchange sees it. ``send`` hands over text and a delay in seconds."""

    def __init__(self, role: str, send: Callable[[str, float], None], now: float) -> None:
        self.role = role
        self.unified = False
        """Whether it came by the Unified WebSocket, where requests about a market name their asset class."""
        self.send = send
        self.feeds: Dict[Feed, None] = {}
        self.heard_at = now
        self.sent_at = now
        self.requests: List[float] = []
        self.params: Dict[Feed, Mapping[str, Any]] = {}
        """The parameters of private subscriptions."""
        self.sequences: Dict[str, int] = {}
        self._pinned: Dict[Feed, Token] = {}
        self._points = (0.0, now)

    def spend_points(self, points: int, now: float) -> None:
        """Subscribing to level3 costs points, of which there are 200 a second."""
        value, since = self._points
        value = max(0.0, value - 200 * (now - since)) + points
        if value > 200:
            raise Refusal("Exceeded msg rate")  # the exchange's words are not known
        self._points = value, now

    def sequence(self, channel: str) -> int:
        """The next number of a private channel, from 1."""
        self.sequences[channel] = self.sequences.get(channel, 0) + 1
        return self.sequences[channel]

    def pin(self, feed: Feed, token: Token) -> None:
        """``token`` lives as long as this subscription."""
        self._pinned[feed] = token
        token.pins += 1

    def unpin(self, feed: Optional[Feed] = None) -> None:
        """This subscription, or all of them, have ended."""
        for one in [feed] if feed is not None else list(self._pinned):
            token = self._pinned.pop(one, None)
            if token is not None:
                token.pins -= 1
