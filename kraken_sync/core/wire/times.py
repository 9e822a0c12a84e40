"""Moments as the exchange writes them, and its clock as seen from here.

Source: Kraken, "Spot WebSocket introduction": RFC 3339 in UTC with a ``Z``, microseconds or nanoseconds;
every method reply says when the gateway received the request (``time_in``).
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, NamedTuple, Optional


def parse_time(text: Any) -> Optional[float]:
    """Seconds since the epoch; None for what is no such time.

    >>> parse_time("2026-01-05T10:00:00.500000Z")
    1767607200.5
    """
    if not isinstance(text, str):
        return None
    whole, _, fraction = text.rstrip("Zz").partition(".")
    try:
        seconds = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
        return seconds + (float(f"0.{fraction}") if fraction else 0.0)
    except ValueError:
        return None


def time_text(moment: float, digits: int = 3) -> str:
    """Seconds since the epoch as RFC 3339 in UTC.

    >>> time_text(1767607200.5)
    '2026-01-05T10:00:00.500Z'
    """
    when = datetime.fromtimestamp(moment, timezone.utc)
    return f"{when.strftime('%Y-%m-%dT%H:%M:%S.%f')[: 20 + digits]}Z"


class Clock(NamedTuple):
    """The exchange's clock as it is known here."""

    moment: Optional[float]
    """Seconds since the epoch; None while it is not known."""
    doubt: float
    """By how many seconds ``moment`` may be wrong."""


class ServerClock:
    """The exchange's clock, learned from replies whose sending was timed. ``now`` is monotonic seconds."""

    def __init__(self) -> None:
        self._ahead: Optional[float] = None
        self.doubt = float("inf")
        """By how many seconds :meth:`read` may be wrong."""
        self._heard = 0.0

    @property
    def known(self) -> bool:
        """Whether any reply was timed yet."""
        return self._ahead is not None

    def heard(self, time_in: Any, sent_at: float, now: float) -> None:
        """A reply says when its request, sent at ``sent_at``, was received."""
        moment, doubt = parse_time(time_in), (now - sent_at) / 2
        if moment is None or doubt < 0:
            return
        ahead, older = moment - (sent_at + now) / 2, self.doubt + (now - self._heard) * 1e-3
        # a surer reading wins; so does one that shows that the clocks have moved apart (this machine slept)
        if self._ahead is None or doubt <= older or abs(ahead - self._ahead) > doubt + older:
            self._ahead, self.doubt, self._heard = ahead, doubt, now

    def read(self, now: float) -> Optional[float]:
        """The exchange's time, in seconds since the epoch; None while it is not known."""
        return None if self._ahead is None else self._ahead + now
