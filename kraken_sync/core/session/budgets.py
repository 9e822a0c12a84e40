"""How often the exchange may be asked: requests on one connection, and attempts to connect.

Sources: Kraken, "Spot WebSocket introduction"
(https://docs.kraken.com/exchange/guides/websockets/introduction): about 150 connection attempts per address
in a rolling ten minutes, then a ban of ten minutes. Kraken, "WebSocket API FAQ"
(https://support.kraken.com/articles/360022326871-kraken-websocket-api-frequently-asked-questions): a
message rate per connection without a published number, answered with ``Exceeded msg rate``.
"""

from __future__ import annotations

from collections import deque
from typing import Deque


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
