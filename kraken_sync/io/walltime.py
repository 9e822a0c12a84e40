"""Moments of the monotonic clock as text of the wall clock."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import Optional


def wall_seconds(moment: float) -> float:
    """A monotonic moment as seconds since the epoch, as this machine's clock has it now."""
    return time.time() - (time.monotonic() - moment)


def wall_text(moment: Optional[float]) -> Optional[str]:
    """A monotonic moment as the exchange writes times: RFC 3339, UTC, microseconds."""
    if moment is None or moment == float("-inf"):
        return None
    when = datetime.fromtimestamp(wall_seconds(moment), timezone.utc)
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
