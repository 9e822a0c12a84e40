"""Threads on which REST requests run, so that a Ctrl-C in a caller's thread breaks nothing inside them.

Signals are handled on the main thread alone. A request that runs on another one cannot be interrupted half
way through a lock of the standard library; its caller waits on a condition of ours and may leave at any
moment. The threads are kept for a while and used again; there is one for each request under way."""

from __future__ import annotations

import _thread
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
"""Seconds after which a request that no thread has taken gets another thread."""
GRACE = 0.25
"""Seconds that a request which was cut has to say what had become of it."""

_here = threading.local()


class Job:
    """A request that one thread carries out, and others wait for."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._unclaimed: List[bool] = [True]
        self._done = Event()
        self._result: Any = None
        self._error: Optional[BaseException] = None

    @property
    def taken(self) -> bool:
        """Whether a thread has begun with it."""
        return not self._unclaimed

    def run(self) -> None:
        """Carry it out, unless another thread has begun with it."""
        try:
            self._unclaimed.pop()  # which is atomic: one thread gets it
        except IndexError:
            return
        try:
            self._result = self._work()
        except BaseException as error:
            self._error = error
        self._done.set()

    def wait(self, timeout: Optional[float]) -> bool:
        """Wait until it is done; False after ``timeout`` seconds."""
        return self._done.wait(timeout)

    def outcome(self) -> Any:
        """What it returned, or raised."""
        if self._error is not None:
            raise self._error
        return self._result


class RestThreads:
    """The threads of one client. Any thread."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Optional[Job]] = queue.SimpleQueue()
        self._lock = new_lock("rest threads")
        self._alive = self._idle = 0
        self._pid = os.getpid()

    def submit(self, work: Callable[[], Any]) -> Job:
        """Have ``work()`` carried out soon. Does not block, unless no thread can be had: then it is carried
        out here and now, as when the interpreter is ending, or on a thread of these."""
        if os.getpid() != self._pid:  # a forked child has none of the threads
            self.__init__()  # type: ignore[misc]
        job = Job(work)
        if getattr(_here, "ours", False):
            job.run()
            return job
        self._jobs.put(job)
        if self._idle < self._jobs.qsize():
            self._add(job)
        return job

    def ensure(self, job: Job) -> None:
        """Have a thread for this job if none has taken it: a caller may have been interrupted before it
        had."""
        if not job.taken:
            self._add(job)

    def wait(self, job: Job, deadline: Optional[float]) -> bool:
        """Wait until ``job`` is done; False once ``deadline`` (monotonic) has passed."""
        while not job.taken and (deadline is None or time.monotonic() < deadline):
            if job.wait(TAKEN_WITHIN):
                return True
            self.ensure(job)
        return job.wait(None if deadline is None else max(0.0, deadline - time.monotonic()))

    def close(self) -> None:
        """Let all threads end when they have nothing to do."""
        for _ in range(self._alive):
            self._jobs.put(None)

    def _add(self, job: Job) -> None:
        """Start a thread; carry the job out here if there is none to be had."""
        try:
            # Thread.start() waits for the new thread, and a Ctrl-C in there leaves that thread hanging.
            # So it is called on a raw thread, which gets no signal.
            _thread.start_new_thread(self._start, (job,))
        except RuntimeError:
            job.run()

    def _start(self, job: Job) -> None:
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
