"""One thread for what blocks and belongs to nobody else: fetching a token, asking REST about an order.

Neither the I/O thread nor the watchdog may wait for such things.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import Callable, Optional, Set

from .locks import new_lock

log = logging.getLogger("kraken_sync")

Job = Callable[[], None]


class Worker:
    """Runs jobs one after the other; a job that waits already is not added twice."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Optional[str]] = queue.SimpleQueue()
        self._jobs: dict[str, Job] = {}
        self._lock = new_lock("worker")
        self._running: Set[str] = set()
        self._thread = threading.Thread(target=self._run, name="kraken-sync-worker", daemon=True)

    def start(self) -> None:
        """Start running."""
        self._thread.start()

    def add(self, name: str, job: Job) -> None:
        """Run ``job`` soon. Any thread; does not block."""
        with self._lock:
            if name in self._jobs or name in self._running:
                return
            self._jobs[name] = job
        self._waiting.put(name)

    def stop(self) -> None:
        """Run nothing more; does not wait for the one under way."""
        self._waiting.put(None)

    def join(self, timeout: float) -> None:
        """Wait for the thread to end."""
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(timeout)

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
            except BaseException:  # nothing may end this thread
                log.exception("a fault of kraken_sync itself: %s", name)
            finally:
                with self._lock:
                    self._running.discard(name)
