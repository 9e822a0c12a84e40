"""Clients that nobody has closed: dropped by everybody, or still running when the interpreter ends."""

from __future__ import annotations

import atexit
import os
import time
import warnings
import weakref
from typing import List

from .engine import Engine
from .logs import log

EXIT_TIMEOUT = 1.0
"""Seconds that all clients which were not closed may take together when the interpreter ends."""

LOG_TIMEOUT = 0.5
"""Seconds for which closing waits for log records that are still to be handled."""

engines: weakref.WeakSet[Engine] = weakref.WeakSet()
"""All engines that were started, for the end of the interpreter; weak, so that it does not keep those of
closed clients."""


def abandon(running: List[Engine], origin: str) -> None:
    """Stop a client that was dropped without a close.

    The garbage collector may call this within any other code, also while this thread holds one of the locks
    needed for stopping. So it takes no lock and waits for nothing: it sets a mark, and the watchdog stops the
    engine.
    """
    left = [engine for engine in running if engine.pid == os.getpid()]
    for engine in left:
        engine.abandoned = True
    if left:
        _warn(origin)


def _at_exit() -> None:
    """Stop all clients that were not closed when the interpreter ends, within a second for all of them."""
    # First all are told to stop, then each is waited for, so that their times do not add up.
    left = [engine for engine in list(engines) if engine.running and engine.pid == os.getpid()]
    deadline = time.monotonic() + EXIT_TIMEOUT
    for engine in left:
        engine.signal()
    for engine in left:
        engine.rest.close()
        engine.stop(max(0.0, deadline - time.monotonic()))
    log.flush(LOG_TIMEOUT)
    for engine in left:
        if not engine.abandoned:
            _warn(engine.origin)


def _warn(origin: str) -> None:
    warnings.warn(
        f"the SpotWSClient made at {origin} was not closed; "
        'use "with SpotWSClient() as client:" or client.close()',
        ResourceWarning,
        stacklevel=3,
    )


atexit.register(_at_exit)
