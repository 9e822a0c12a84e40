"""Is the connection alive? Two clocks, decided from times alone.

* Silence: any complete frame is life, and so are bytes of one message in flight, for a bounded time. While
  something is subscribed the exchange sends a heartbeat about every second, so silence is suspicious.
* Our own pings: two unanswered in a row mean that what we send does not arrive, whatever we receive.

Source: Kraken, "heartbeat" and "ping" pages; "Spot WebSocket introduction" for the idle rule (a connection
without a subscription is dropped after about a minute; any request counts as activity).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Optional

from ..timing import Timing


class Liveness:
    """The two clocks of one connection. ``now`` is monotonic seconds."""

    def __init__(self, timing: Timing, now: float, *, ask_now: bool = False) -> None:
        self._timing = timing
        self.opened_at = now
        self.frame_at = now
        """When the last complete frame came."""
        self.rtt: Optional[float] = None
        """Seconds the last answered ping took."""
        self._pings: OrderedDict[int, float] = OrderedDict()
        self._next_ping = now if ask_now else now + timing.ping_interval
        self._asked_at: Optional[float] = None

    def life_at(self, now: float, byte_at: float, message_at: Optional[float]) -> float:
        """When the peer last showed life. ``message_at``: since when a message is incomplete."""
        if message_at is None or now - message_at > self._timing.message_timeout:
            return self.frame_at
        return max(self.frame_at, byte_at)

    def ping_due(self, now: float, life_at: float, subscribed: bool) -> bool:
        """Whether a JSON ping should go out now."""
        if len(self._pings) >= 2:
            return False  # enough asked; the verdict is due, not a third question
        if now >= self._next_ping:
            return True
        silent = subscribed and now - life_at >= self._timing.silence_ping
        return silent and (self._asked_at is None or self._asked_at < life_at)

    def pinged(self, req_id: int, now: float) -> None:
        """A ping was handed to the connection."""
        self._pings[req_id] = now
        self._next_ping = now + self._timing.ping_interval
        self._asked_at = now

    def ponged(self, req_id: object, now: float) -> bool:
        """A pong came; False if it answers none of our pings."""
        if not isinstance(req_id, int) or req_id not in self._pings:
            return False
        self.rtt = now - self._pings[req_id]
        while self._pings and next(iter(self._pings)) != req_id:
            self._pings.popitem(last=False)
        del self._pings[req_id]
        return True

    def verdict(self, now: float, life_at: float, subscribed: bool) -> Optional[str]:
        """Why the connection is dead, or None while it may live."""
        silence = now - life_at
        if subscribed and silence >= self._timing.silence_abort:
            return f"silent for {silence:.1f} s"
        if len(self._pings) >= 2 and now >= self._next_ping:
            return f"{len(self._pings)} pings unanswered"
        return None
