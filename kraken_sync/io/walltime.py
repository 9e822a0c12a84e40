"""Converts times of the monotonic clock to wall-clock time."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Optional


def wall_seconds(moment: float) -> float:
    """Return a time in monotonic seconds as seconds since the epoch, by this machine's current clock."""
    return time.time() - (time.monotonic() - moment)


def wall_datetime(moment: Optional[float]) -> Optional[datetime]:
    """Return a time in monotonic seconds as a UTC datetime; None for None."""
    return None if moment is None else datetime.fromtimestamp(wall_seconds(moment), timezone.utc)


def wall_text(moment: Optional[float]) -> Optional[str]:
    """Return a time in monotonic seconds as the exchange writes times: RFC 3339, UTC, microseconds."""
    if moment is None or moment == float("-inf"):
        return None
    when = datetime.fromtimestamp(wall_seconds(moment), timezone.utc)
    return f"{when.isoformat(timespec='microseconds')[:26]}Z"
