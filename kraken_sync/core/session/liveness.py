"""Whether a connection is alive, and up to which moment everything was received.

* Silence: any complete frame counts as life. So do the bytes of one incomplete message, for a limited time.
  While something is subscribed the exchange sends a heartbeat about once per second when it sends nothing
  else, so a longer silence means that the connection is broken.
* Pings: replies and data share one ordered byte stream, so a pong proves that everything the exchange sent
  before it received the ping was read. A ping that is never answered means that requests do not arrive, even
  if data still do.

Sources: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/heartbeat and
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ping; for the idle rule
https://docs.kraken.com/exchange/guides/websockets/introduction: a connection is dropped after about a minute
of inactivity, and any request, a ping for example, counts as activity.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Optional

from ..timing import Timing

PAUSE = 2.0
"""Seconds without a ping after ``Exceeded msg rate``; shorter than what makes a book STALE."""


class Liveness:
    """The liveness of one connection. ``now`` is in monotonic seconds."""

    def __init__(self, timing: Timing, now: float, *, ask_now: bool = False) -> None:
        self._timing = timing
        self.opened_at = now
        self.frame_at = now
        """When the last complete frame arrived."""
        self.proven_at = now
        """When the newest ping was sent whose pong has been read; before the first pong, when the connection
        was made.

        What was read before that pong is not older than this moment."""
        self.rtt: Optional[float] = None
        """Seconds between the last answered ping and its pong."""
        self._pings: OrderedDict[int, float] = OrderedDict()
        self._next_ping = now if ask_now else now + timing.ping_interval
        self._asked_at: Optional[float] = None
        self._distrusted_at = float("-inf")
        self._busy_until = float("-inf")
        """When a message was last seen in flight."""

    def life_at(self, now: float, byte_at: float, message_at: Optional[float]) -> float:
        """Return when the exchange last showed a sign of life.

        Args:
            now: the time.
            byte_at: when the last byte arrived.
            message_at: when the first byte of a message that is not complete yet arrived, or None.
        """
        # Bytes count only inside one message and only for so long: otherwise a peer that sends one byte
        # every second would keep a dead connection alive for ever.
        if message_at is None or now - message_at > self._timing.message_timeout:
            return self.frame_at
        return max(self.frame_at, byte_at)

    def ping_due(self, now: float, life_at: float, subscribed: bool) -> bool:
        """Return whether a JSON ping should be sent now."""
        if now >= self._next_ping:
            return True
        silent = subscribed and now - life_at >= self._timing.silence_ping
        # One ping per silence: if it was asked since the last sign of life, the regular interval takes
        # over.
        return silent and (self._asked_at is None or self._asked_at < life_at)

    def pinged(self, req_id: int, now: float) -> None:
        """Note that a ping was handed to the connection."""
        self._pings[req_id] = now
        self._next_ping = now + self._timing.ping_interval
        self._asked_at = now

    def ponged(self, req_id: object, now: float) -> bool:
        """Note a pong, and return whether it answers one of the pings."""
        if not isinstance(req_id, int) or req_id not in self._pings:
            return False
        self.proven_at = self._pings[req_id]
        self.rtt = now - self.proven_at
        # Replies come in order, so this one answers the pings before it as well.
        while self._pings and next(iter(self._pings)) != req_id:
            self._pings.popitem(last=False)
        del self._pings[req_id]
        return True

    def proved(self, sent_at: float) -> None:
        """Note that a ping of a caller's, sent at this moment, was answered: it proves as much as ours."""
        self.proven_at = max(self.proven_at, sent_at)

    def spare(self, now: float) -> None:
        """Delay the next ping, because the exchange asks for fewer messages."""
        self._next_ping = max(self._next_ping, now + PAUSE)

    def distrust(self, now: float) -> None:
        """Discard all proof, because this process was held up, until a ping that is sent from now on is
        answered.
        """
        self._distrusted_at = now
        self._next_ping = now

    def stale(self, now: float) -> bool:
        """Return whether the last proof is older than a live connection allows."""
        if self.proven_at < self._distrusted_at:
            return True
        # With a long ping_interval proofs are rare by the caller's choice, which must not make books STALE.
        allowed = max(self._timing.stale_after, 2 * self._timing.ping_interval)
        return now - self.proven_at > allowed

    def verdict(
        self, now: float, byte_at: float, message_at: Optional[float], subscribed: bool
    ) -> Optional[str]:
        """Return why the connection is dead, or None while it may be alive."""
        life_at = self.life_at(now, byte_at, message_at)
        silence = now - life_at
        if subscribed and silence >= self._timing.silence_abort:
            return f"silent for {silence:.1f} s"
        if life_at > self.frame_at:
            self._busy_until = now  # a message is in flight: the pong may wait behind it
        oldest = next(iter(self._pings.values()), now)
        if now - max(oldest, self._busy_until) >= self._timing.pong_timeout:
            return f"{len(self._pings)} pings unanswered for {now - oldest:.1f} s"
        return None
