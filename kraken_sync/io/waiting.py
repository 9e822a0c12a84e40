"""Waiting with deadlines, which a Ctrl-C may interrupt at any moment and which leaves no lock behind.

The standard classes enter and leave their lock in Python code, and there CPython may raise KeyboardInterrupt
between taking the lock and telling the ``with`` statement: it stays taken for ever, and the next thread that
needs it hangs. Here both ends run in C, where no signal is looked at. (Python 3.9 looks at signals between
any two instructions: there a rest of the danger remains.)
"""

from __future__ import annotations

import math
import threading
import time
from operator import attrgetter
from typing import Any, Callable, Optional, TypeVar

from . import locks

Value = TypeVar("Value")
WAIT_SLICE = 0.5
"""Longest single wait in seconds; some platforms let no Ctrl-C through a longer one."""
LEAST_FOR_A_LOCK = 0.1
"""Seconds for which a lock that others hold for moments is waited for, however little time is left."""


# -- deadlines: monotonic seconds, None for ever -------------------------------------------------


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


def lock_timeout(deadline: Optional[float], least: float = 0.0) -> float:
    """What a lock's ``acquire()`` takes as its timeout, at least ``least``."""
    return -1.0 if deadline is None else max(least, deadline - time.monotonic())


def sooner(deadline: Optional[float], seconds: float) -> float:
    """``deadline``, or the moment ``seconds`` from now if that is earlier."""
    soon = time.monotonic() + seconds
    return soon if deadline is None else min(soon, deadline)


# -- waiting -------------------------------------------------------------------------------------


class Condition(threading.Condition):
    """As :class:`threading.Condition`; an interrupted ``wait()`` has its lock back, too.

    Args:
        name: the name of its lock in :data:`kraken_sync.io.locks.ORDER`.
    """

    __enter__ = property(attrgetter("_lock.__enter__"))
    __exit__ = property(attrgetter("_lock.__exit__"))

    def __init__(self, name: str) -> None:
        lock: Any = threading.RLock() if locks.checked is None else locks.new_rlock(name)
        super().__init__(lock)
        self.held: Callable[[], bool] = lock._is_owned
        """Whether this thread holds the lock."""

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
    """Call ``work()`` with a reentrant lock (or a :class:`Condition`) held.

    None if it cannot be had within ``timeout`` seconds (-1: for ever). A reentrant lock refuses to be
    released by who does not hold it, so nothing has to be remembered between taking it and letting go.
    Whoever holds it already (a signal handler that interrupted this thread) goes on holding it.
    """
    if lock._is_owned():
        return work()
    try:
        return work() if lock.acquire(timeout=timeout) else None
    finally:
        try:
            lock.release()
        except RuntimeError:
            pass  # it was not had


class Turn:
    """One after the other, with no lock held meanwhile. Any thread.

    Unlike a lock it may be held through a call that blocks: whoever waits for it, waits with a deadline. A
    thread that has the turn already (its signal handler) need not wait.
    """

    def __init__(self) -> None:
        self._changed = Condition("turn")
        self._holder: Optional[int] = None

    def run(self, deadline: Optional[float], work: Callable[[], Value]) -> Optional[Value]:
        """Call ``work()`` when it is this thread's turn; None if it is not before ``deadline``."""
        me = threading.get_ident()
        if self._holder == me:
            return work()
        try:
            return work() if self._take(me, deadline) else None
        finally:
            self._give_back(me)

    def _take(self, me: int, deadline: Optional[float]) -> bool:
        with self._changed:
            if not self._changed.wait_until(lambda: self._holder is None, deadline):
                return False
            self._holder = me
            return True

    def _give_back(self, me: int) -> None:
        with self._changed:
            if self._holder == me:
                self._holder = None
                self._changed.notify()


class Event(threading.Event):
    """As :class:`threading.Event`."""

    def __init__(self) -> None:
        super().__init__()
        self._cond = Condition("event")
