"""Timeouts as callers give them, and deadlines as waits need them."""

from __future__ import annotations

import math
import threading
import time
from typing import Optional


def deadline_of(timeout: Optional[float]) -> Optional[float]:
    """The monotonic moment ``timeout`` seconds from now; None (for ever) for None.

    Raises:
        ValueError: for anything else than seconds or None.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise ValueError(f"timeout must be seconds (0 or more) or None, not {timeout!r:.80}")
    if math.isnan(timeout) or timeout < 0:
        raise ValueError(f"timeout must be seconds (0 or more) or None, not {timeout!r}")
    if timeout > threading.TIMEOUT_MAX / 2:
        return None
    return time.monotonic() + timeout


def time_left(deadline: Optional[float]) -> Optional[float]:
    """Seconds until ``deadline``, 0 if it has passed; None for None."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def lock_timeout(deadline: Optional[float]) -> float:
    """What a lock's ``acquire()`` takes as its timeout."""
    return -1.0 if deadline is None else max(0.0, deadline - time.monotonic())


def sooner(deadline: Optional[float], seconds: float) -> float:
    """``deadline``, or the moment ``seconds`` from now if that is earlier."""
    soon = time.monotonic() + seconds
    return soon if deadline is None else min(soon, deadline)
