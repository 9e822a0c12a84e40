"""Waiting with deadlines that a Ctrl-C may interrupt at any moment without leaving a lock taken.

:class:`threading.Condition` enters and leaves its lock in Python code, where CPython may raise
KeyboardInterrupt after the lock was taken and before the ``with`` statement knows it. The lock then stays
taken for ever, and the next thread that needs it hangs. The classes here enter and leave locks in C code,
during which no signal handler runs. Python 3.9 checks for signals between any two instructions; there a
small risk remains.
"""

from __future__ import annotations

import math
import threading
import time
from operator import attrgetter
from typing import Any, Callable, Optional, TypeVar

from ..errors import KrakenError
from . import locks

Value = TypeVar("Value")
WAIT_SLICE = 0.5
"""The longest single wait in seconds; on Windows a wait for a lock is not interrupted by Ctrl-C."""
LONG_WAIT = 0.1
"""A wait of so many seconds moves every clock; that of Windows counts in steps of 0.016 s."""
CLOCK_STOPPED = (
    "the clock stands still: time.monotonic() is the same before and after a wait. A test that freezes time "
    "must leave it to this library: freezegun.freeze_time(..., ignore=['kraken_sync'])"
)
_LONGEST = threading.TIMEOUT_MAX / 2
LEAST_FOR_A_LOCK = 0.1
"""The least number of seconds to wait for a lock that is held for moments only. With a timeout of 0 a call
would otherwise fail by chance, whenever the I/O thread holds the session's lock."""


# -- deadlines: monotonic seconds, None for ever -------------------------------------------------


def deadline_of(timeout: Optional[float]) -> Optional[float]:
    """Return the time ``timeout`` seconds from now in monotonic seconds; None (for ever) for None.

    Raises:
        ValueError: ``timeout`` is neither None nor a number of 0 or more.
    """
    if timeout is None:
        return None
    if timeout.__class__ in (float, int) and 0 <= timeout < _LONGEST:  # as nearly always
        return time.monotonic() + timeout
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise ValueError(f"timeout must be seconds (0 or more) or None, not {timeout!r:.80}")
    if math.isnan(timeout) or timeout < 0:
        raise ValueError(f"timeout must be seconds (0 or more) or None, not {timeout!r}")
    if timeout >= _LONGEST:  # acquire() raises OverflowError for more (centuries, or inf)
        return None
    return time.monotonic() + timeout


def time_left(deadline: Optional[float]) -> Optional[float]:
    """Return the seconds until ``deadline``, 0 if it has passed; None for None."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def lock_timeout(deadline: Optional[float], least: float = 0.0) -> float:
    """Return the timeout for a lock's ``acquire()``: at least ``least`` seconds, -1 for ever."""
    return -1.0 if deadline is None else max(least, deadline - time.monotonic())


def sooner(deadline: Optional[float], seconds: float) -> float:
    """Return ``deadline``, or the time ``seconds`` from now if that is earlier."""
    soon = time.monotonic() + seconds
    return soon if deadline is None else min(soon, deadline)


# -- waiting -------------------------------------------------------------------------------------


class Condition(threading.Condition):
    """As :class:`threading.Condition`, but a Ctrl-C leaves its lock in the state it had.

    Args:
        name: the name of its lock in :data:`kraken_sync.io.locks.ORDER`.
    """

    # Properties, so that the with statement calls the lock's own C methods without a Python frame between.
    __enter__ = property(attrgetter("_lock.__enter__"))
    __exit__ = property(attrgetter("_lock.__exit__"))

    def __init__(self, name: str) -> None:
        # Reentrant, since a signal handler may use what the thread that it interrupts holds already.
        lock: Any = threading.RLock() if locks.checked is None else locks.new_rlock(name)
        super().__init__(lock)
        self.held: Callable[[], bool] = lock._is_owned
        """Returns whether this thread holds the lock."""

    def wait(self, timeout: Optional[float] = None) -> bool:
        """Wait until notified, or ``timeout`` seconds; False after that."""
        # The standard class takes its lock back in a finally clause of Python code, in which a second Ctrl-C
        # may come. Here the lock is certainly held when this raises, as the caller's with statement expects.
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
        """Wait until ``done()`` is true; False once ``deadline`` (monotonic seconds) has passed.

        Raises:
            KrakenError: the clock stands still, so that no deadline would ever pass.
        """
        # In slices, so that a lost notification or an uninterruptible wait costs half a second at most.
        while not done():
            now = time.monotonic()
            left = WAIT_SLICE if deadline is None else deadline - now
            if left <= 0:
                return False
            # The wait itself is timed by the operating system.
            notified = self.wait(min(left, WAIT_SLICE))
            if not notified and deadline is not None and left >= LONG_WAIT and time.monotonic() == now:
                raise KrakenError(CLOCK_STOPPED)
        return True


def run_locked(lock: Any, timeout: float, work: Callable[[], Value]) -> Optional[Value]:
    """Call ``work()`` with a reentrant lock (or a :class:`Condition`) held, and return its result.

    None if the lock is not available within ``timeout`` seconds (-1: for ever). If this thread holds the lock
    already (a signal handler that interrupted it, for example), it still does afterwards.
    """
    # A with statement has no timeout, and a variable "taken" would be set after the lock was taken, with room
    # for a Ctrl-C between. A reentrant lock refuses to be released by a thread that does not hold it, so the
    # attempt tells whether it was taken.
    if lock._is_owned():
        return work()
    try:
        return work() if lock.acquire(timeout=timeout) else None
    finally:
        try:
            lock.release()
        except RuntimeError:
            pass  # it was not taken


class Turn:
    """Lets one thread at a time do something that blocks, without holding a lock meanwhile. Any thread.

    Threads wait for their turn with a deadline. A thread that has the turn already (in a signal handler, for
    example) does not wait.
    """

    def __init__(self) -> None:
        self._changed = Condition("turn")
        self._holder: Optional[int] = None

    def run(self, deadline: Optional[float], work: Callable[[], Value]) -> Optional[Value]:
        """Call ``work()`` when it is this thread's turn, and return its result.

        None if the turn did not come before ``deadline`` (monotonic seconds).
        """
        me = threading.get_ident()
        if self._holder == me:
            return work()
        try:
            return work() if self._take(me, deadline) else None
        finally:
            self._give_back(me)  # compares the holder, as it also runs if a Ctrl-C came before _take() ended

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
    """As :class:`threading.Event`, on a :class:`Condition` of this module."""

    def __init__(self) -> None:
        super().__init__()
        self._cond = Condition("event")
