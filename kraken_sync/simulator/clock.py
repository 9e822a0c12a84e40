"""The time of the simulated exchange: this machine's, or its own."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Optional, Union

from .wire import moment

LATEST = 4e9
"""The latest time, in seconds since the epoch."""
Start = Union[None, str, float, datetime]


class Clock:
    """Tells the exchange's time.

    Args:
        start: None for this machine's time. Otherwise the time at which it stands until it is moved: RFC 3339
            text, seconds since the epoch, or a datetime with a time zone.

    Raises:
        ValueError: it is no time.
    """

    def __init__(self, start: Start = None) -> None:
        # Whole microseconds, so that sixty times a second is a minute.
        self._micros: Optional[int] = None if start is None else round(_seconds(start) * 1e6)

    @property
    def own(self) -> bool:
        """Whether it is moved by :meth:`move` only."""
        return self._micros is not None

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time() if self._micros is None else self._micros / 1e6

    def move(self, micros: int) -> None:
        """Let so many microseconds pass, if time does not do so by itself."""
        if self._micros is not None:
            self._micros += micros


def _seconds(start: Union[str, float, datetime]) -> float:
    try:
        if isinstance(start, str):
            return moment(start)
        if isinstance(start, datetime):
            if start.tzinfo is None:
                raise ValueError
            return start.timestamp()
        if isinstance(start, bool) or not 0 <= float(start) < LATEST:
            raise ValueError
        return float(start)
    except (TypeError, ValueError):
        raise ValueError(
            f"start_time must be like '2026-01-05T10:00:00Z', seconds since the epoch, or a datetime with a "
            f"time zone, not {start!r:.80}"
        ) from None
