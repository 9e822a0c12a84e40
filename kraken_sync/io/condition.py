"""Waiting that a Ctrl-C may interrupt at any moment, and that never leaves a lock behind.

The standard classes enter and leave their lock in Python code, and there CPython may raise KeyboardInterrupt
between taking the lock and telling the ``with`` statement: it stays taken for ever, and the next thread that
needs it hangs. Here both ends run in C, where no signal is looked at. (Python 3.9 looks at signals between
any two instructions: there a rest of the danger remains.)
"""

from __future__ import annotations

import threading
import time
from operator import attrgetter
from typing import Any, Callable, Optional, TypeVar

Value = TypeVar("Value")
WAIT_SLICE = 0.5
"""Longest single wait; some platforms let no Ctrl-C through a longer one."""


class Condition(threading.Condition):
    """As :class:`threading.Condition`; an interrupted ``wait()`` has its lock back, too."""

    __enter__ = property(attrgetter("_lock.__enter__"))
    __exit__ = property(attrgetter("_lock.__exit__"))

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait until notified, or ``timeout`` seconds; False after that."""
        try:
            return super().wait(timeout)
        except BaseException:
            try:
                self.release()
            except RuntimeError:
                pass  # it was interrupted before it had its lock back
            self.acquire()
            raise

    def wait_until(self, done: Callable[[], bool], deadline: Optional[float]) -> bool:
        """Wait until ``done()``; False once ``deadline`` (monotonic) has passed."""
        while not done():
            left = WAIT_SLICE if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return False
            self.wait(min(left, WAIT_SLICE))
        return True


def run_locked(lock: Any, timeout: float, work: Callable[[], Value]) -> Optional[Value]:
    """Call ``work()`` with an RLock held; None if it cannot be had within ``timeout`` seconds (-1: for ever).

    An RLock refuses to be released by who does not hold it, so nothing has to be remembered between taking
    it and letting go.
    """
    try:
        return work() if lock.acquire(timeout=timeout) else None
    finally:
        try:
            lock.release()
        except RuntimeError:
            pass  # it was not had


class Event(threading.Event):
    """As :class:`threading.Event`."""

    def __init__(self) -> None:
        super().__init__()
        self._cond = Condition()
