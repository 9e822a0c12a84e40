"""The threads on which REST requests run, so that a Ctrl-C in a caller's thread breaks nothing inside them.

Python runs signal handlers on the main thread only. A request that runs on another thread is never
interrupted while it holds a lock of the standard library or of urllib3. Its caller waits on a condition of
this library and may be interrupted at any moment. There is one thread for each request under way; a thread
without a request is kept for a second.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import Any, Callable, List, Optional

from .locks import new_lock
from .threads import GuardedThread
from .waiting import Event

IDLE = 1.0
"""Seconds without a request after which a thread ends."""
TAKEN_WITHIN = 0.02
"""Seconds after which another thread is started for a request that no thread has taken."""
GRACE = 0.25
"""Seconds that a request has, after it was ended at its deadline, to report its outcome."""

# Whether the current thread is one of these: a request made by a request is then run at once.
_here = threading.local()


class Job:
    """A request that one thread runs and other threads wait for."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._unclaimed: List[bool] = [True]
        self._done = Event()
        self._result: Any = None
        self._error: Optional[BaseException] = None

    @property
    def taken(self) -> bool:
        """Whether a thread has begun to run it."""
        return not self._unclaimed

    def run(self) -> None:
        """Run it, unless another thread has begun to."""
        try:
            self._unclaimed.pop()  # list.pop() is atomic, so only one thread gets the item
        except IndexError:
            return
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        self._done.set()

    def wait(self, timeout: Optional[float]) -> bool:
        """Wait until it is done, and return True; False after ``timeout`` seconds (None: for ever)."""
        return self._done.wait(timeout)

    def outcome(self) -> Any:
        """Return what it returned, or raise what it raised. Only once it is done."""
        if self._error is not None:
            raise self._error
        return self._result


class RestThreads:
    """The REST threads of one client. Any thread may use it."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._jobs: queue.SimpleQueue[Optional[Job]] = queue.SimpleQueue()
        self._lock = new_lock("rest threads")
        self._alive = self._idle = 0
        self._pid = os.getpid()

    def submit(self, job: Job) -> None:
        """Have a job run by one of the threads.

        Does not block, except on one of these threads, or if no thread can be started (when the interpreter
        is ending, for example): then this call runs it.
        """
        if os.getpid() != self._pid:  # a forked child has none of the threads
            self._begin()
        if getattr(_here, "ours", False):
            job.run()
            return
        self._jobs.put(job)
        if self._idle < self._jobs.qsize():
            self._add(job)

    def ensure(self, job: Job) -> None:
        """Start another thread for this job if no thread has taken it."""
        # A Ctrl-C may have come anywhere in submit(). Queued twice, a job is still run once.
        if not job.taken:
            self._jobs.put(job)
            self._add(job)

    def wait(self, job: Job, deadline: Optional[float]) -> bool:
        """Wait until ``job`` is done, and return True; False once ``deadline`` (monotonic) has passed."""
        patience = TAKEN_WITHIN
        while not job.taken and (deadline is None or time.monotonic() < deadline):
            if job.wait(patience):
                return True
            self.ensure(job)
            patience *= 2  # on a machine that is busy, more threads make nothing faster
        return job.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Tell all threads to end once they have nothing to do. Does not block."""
        for _ in range(self._alive):
            self._jobs.put(None)

    def _add(self, job: Job) -> None:
        """Start a thread; if that fails, run the job in this one."""
        try:
            GuardedThread("rest", self._run, lambda error: None).start()
        except RuntimeError:
            job.run()

    def _run(self) -> None:
        _here.ours = True
        jobs = self._jobs
        with self._lock:
            self._alive += 1
        try:
            while True:
                with self._lock:
                    self._idle += 1
                try:
                    job = jobs.get(timeout=IDLE)
                except queue.Empty:
                    return
                finally:
                    with self._lock:
                        self._idle -= 1
                if job is None:
                    return
                job.run()
        finally:
            with self._lock:
                self._alive -= 1
