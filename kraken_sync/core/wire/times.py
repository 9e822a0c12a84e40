"""Times as the exchange writes them, and an estimate of the exchange's clock.

Source: https://docs.kraken.com/exchange/guides/websockets/introduction: times are RFC 3339 in UTC with a
``Z``, in microseconds or nanoseconds. Every method reply says when the exchange received its request
(``time_in``).
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Optional

_EPOCH = datetime(1970, 1, 1)
_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]*))?[Zz]*")


def parse_time(text: Any) -> Optional[float]:
    """Return the seconds since the epoch, or None for a value that is not such a time.

    >>> parse_time("2026-01-05T10:00:00.500000Z")
    1767607200.5
    """
    if not isinstance(text, str):
        return None
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    try:  # not strptime(), which takes ten times as long, and each reply has a time
        seconds = datetime.fromisoformat(f"{found[1]}+00:00").timestamp()
        return seconds + float(f"0.{found[2] or 0}")
    except ValueError:
        return None


def time_text(moment: float, digits: int = 3) -> str:
    """Return seconds since the epoch as RFC 3339 in UTC, cut off after ``digits`` fraction digits.

    >>> time_text(1767607200.5)
    '2026-01-05T10:00:00.500Z'
    """
    when = _EPOCH + timedelta(seconds=moment)  # without a time zone, whose text takes three times as long
    return f"{when.isoformat(timespec='microseconds')[: 20 + digits]}Z"


class Clock(NamedTuple):
    """One reading of the exchange's clock."""

    moment: Optional[float]
    """Seconds since the epoch; None while the clock is not known."""
    doubt: float
    """The seconds by which ``moment`` may be wrong."""


class ServerClock:
    """An estimate of the exchange's clock from replies. ``now`` is in monotonic seconds.

    Not thread-safe: the owner serialises.
    """

    def __init__(self) -> None:
        self._ahead: Optional[float] = None
        self.doubt = float("inf")
        """The seconds by which :meth:`read` may be wrong."""
        self._heard = 0.0

    @property
    def known(self) -> bool:
        """Whether any reply has been timed yet."""
        return self._ahead is not None

    def heard(self, time_in: Any, sent_at: float, now: float) -> None:
        """Use a reply that says when its request was received (``time_in``) and was sent at ``sent_at``."""
        # As in NTP: the request was received between sending and now, so the middle is wrong by at most half.
        moment, doubt = parse_time(time_in), (now - sent_at) / 2
        if moment is None or doubt < 0:
            return
        ahead, older = moment - (sent_at + now) / 2, self.doubt + (now - self._heard) * 1e-3
        # An old reading loses a millisecond per second, far more than clocks drift, so that a new one wins in
        # time. A reading that contradicts the old one wins at once: this machine has slept.
        if self._ahead is None or doubt <= older or abs(ahead - self._ahead) > doubt + older:
            self._ahead, self.doubt, self._heard = ahead, doubt, now

    def read(self, now: float) -> Optional[float]:
        """Return the exchange's time in seconds since the epoch; None while it is not known."""
        return None if self._ahead is None else self._ahead + now
