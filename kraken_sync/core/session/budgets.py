"""How often the exchange may be asked: requests on one connection, and attempts to connect.

Sources: Kraken, "Spot WebSocket introduction"
(https://docs.kraken.com/exchange/guides/websockets/introduction): about 150 connection attempts per IP
address in a rolling ten minutes; more than that bans the address for ten minutes. Kraken, "WebSocket API FAQ"
(https://support.kraken.com/articles/360022326871-kraken-websocket-api-frequently-asked-questions): a message
rate per connection without a published number; too many messages are answered with ``Exceeded msg rate``.
"""

from __future__ import annotations

from collections import deque
from typing import Deque


class TokenBucket:
    """A limit of ``burst`` requests at once and ``rate`` requests per second on average."""

    def __init__(self, rate: float, burst: float) -> None:
        self.rate = rate
        self.burst = burst
        self._tokens = burst
        self._filled: float = float("-inf")
        self._paused_until: float = float("-inf")

    def take(self, now: float, count: float = 1) -> bool:
        """Take ``count`` tokens and return True, or return False if there are fewer."""
        if now < self._paused_until:
            return False
        if self._filled != float("-inf"):
            self._tokens = min(self.burst, self._tokens + (now - self._filled) * self.rate)
        self._filled = now
        if self._tokens < count:
            return False
        self._tokens -= count
        return True

    def pause(self, until: float) -> None:
        """Refuse everything before ``until`` (monotonic seconds), and allow no burst after it."""
        self._paused_until = max(self._paused_until, until)
        # A full bucket after the pause would repeat the burst that the exchange has just refused.
        self._tokens = min(self._tokens, 1.0)
        self._filled = max(self._filled, until)


class ConnectionBudget:
    """A limit of ``attempts`` connection attempts in any ``window`` seconds.

    The default stays below the 150 after which the exchange bans an address, as Kraken's own command line
    tool does, because other programs may share the address. Not thread-safe: the owner serialises.
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
        """The number of attempts in the window, as of the last call of :meth:`wait`."""
        return len(self._taken)
