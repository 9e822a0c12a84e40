"""Budgets and waits: how often, how fast, how long.

Sources: Kraken, "Spot WebSocket introduction" (about 150 connection attempts per address in a rolling
ten minutes, then a ban of ten minutes; after maintenance at most one attempt per five seconds) and
the WebSocket FAQ (a message rate per connection without a published number; ``Exceeded msg rate``).
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Deque


@dataclass(frozen=True)
class Timing:
    """Every time limit of a connection, in seconds. The defaults suit the real exchange."""

    connect_timeout: float = 10.0
    """One attempt: resolving, connecting, TLS, handshake and the ``status`` message, together."""
    send_timeout: float = 5.0
    """One frame must have left within this, else its connection is given up."""
    ping_interval: float = 5.0
    """Between two JSON pings; two unanswered ones end the connection."""
    silence_ping: float = 3.0
    """Subscribed and silent for this long: ask with a ping."""
    silence_abort: float = 6.0
    """Subscribed and silent for this long: the connection is dead."""
    message_timeout: float = 60.0
    """A single message may take this long to arrive as long as its bytes keep coming."""
    ack_timeout: float = 5.0
    """A subscribe or unsubscribe without an answer is asked again after this."""
    first_data_timeout: float = 5.0
    """Acknowledged, but no snapshot for this long: the symbol is subscribed anew."""
    tick: float = 0.2
    """The watchdog's interval."""
    good_after: float = 30.0
    """A connection that held this long resets the backoff."""
    first_retry: float = 1.0
    """The first retry comes after 0 to this, at random."""
    retry_base: float = 0.5
    retry_cap: float = 30.0
    """Later retries: 0 to min(cap, base * 2 ** attempt), at random ("full jitter")."""
    maintenance_retry: float = 5.0
    """At least this long between attempts after maintenance or a refusal for load."""


def retry_delay(attempt: int, timing: Timing, fraction: float) -> float:
    """Seconds to wait before retry number ``attempt`` (0 is the first); ``fraction`` is 0 to 1.

    >>> [retry_delay(attempt, Timing(), 1.0) for attempt in (0, 1, 2, 3, 9)]
    [1.0, 1.0, 2.0, 4.0, 30.0]
    """
    if attempt == 0:
        return timing.first_retry * fraction
    return min(timing.retry_cap, timing.retry_base * 2.0 ** min(attempt, 32)) * fraction


class TokenBucket:
    """At most ``burst`` at once and ``rate`` a second in the long run."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._filled: float = float("-inf")
        self._paused_until: float = float("-inf")

    def take(self, now: float) -> bool:
        """Take one if there is one."""
        if now < self._paused_until:
            return False
        if self._filled != float("-inf"):
            self._tokens = min(self.burst, self._tokens + (now - self._filled) * self.rate)
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def pause(self, until: float) -> None:
        """Nothing before ``until``, and no burst after it."""
        self._paused_until = max(self._paused_until, until)
        self._tokens = min(self._tokens, 1.0)
        self._filled = max(self._filled, until)


class ConnectionBudget:
    """At most ``attempts`` in any ``window`` seconds; the exchange bans for more.

    Not thread-safe: the owner serialises.
    """

    def __init__(self, attempts: int = 120, window: float = 600.0) -> None:
        self.attempts = attempts
        self.window = window
        self._taken: Deque[float] = deque()

    def wait(self, now: float) -> float:
        """Take one attempt and return 0, or take none and return the seconds until there is one."""
        while self._taken and now - self._taken[0] >= self.window:
            self._taken.popleft()
        if len(self._taken) < self.attempts:
            self._taken.append(now)
            return 0.0
        return max(0.001, self.window - (now - self._taken[0]))  # rounding must not make it 0

    @property
    def used(self) -> int:
        """Attempts in the window, as of the last call of :meth:`wait`."""
        return len(self._taken)
