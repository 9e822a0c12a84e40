"""One thread for background work that blocks: fetching a token, asking REST about an order.

Neither the I/O threads nor the watchdog may wait for such things.
"""

from __future__ import annotations

import queue
from typing import Callable, Optional, Set

from .locks import new_lock
from .logs import log
from .threads import Died, GuardedThread

Job = Callable[[], None]


class Worker:
    """Runs jobs one after the other; a job that is waiting or running is not added again."""

    def __init__(self, died: Died = lambda error: None) -> None:
        self._waiting: queue.SimpleQueue[Optional[str]] = queue.SimpleQueue()
        self._jobs: dict[str, Job] = {}
        self._lock = new_lock("worker")
        self._running: Set[str] = set()
        self.thread = GuardedThread("worker", self._run, died)

    def start(self) -> None:
        """Start the thread. Raises ConnectFailed if that is not possible."""
        self.thread.begin()

    def add(self, name: str, job: Job) -> None:
        """Have ``job`` run soon, unless a job of this name is waiting or running. Does not block."""
        with self._lock:
            if name in self._jobs or name in self._running:
                return
            self._jobs[name] = job
        self._waiting.put(name)

    def stop(self) -> None:
        """Run no further jobs. Does not wait for the running one."""
        self._waiting.put(None)

    def join(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the thread to end."""
        self.thread.finish(timeout)

    def _run(self) -> None:
        while True:
            name = self._waiting.get()
            if name is None:
                return
            with self._lock:
                job = self._jobs.pop(name)
                self._running.add(name)
            try:
                job()
            except BaseException as error:  # the other jobs must go on
                log.error("a fault of kraken_sync itself: %s", name, error=error)
            finally:
                with self._lock:
                    self._running.discard(name)
