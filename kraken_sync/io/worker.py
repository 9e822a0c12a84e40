"""One thread for what blocks and belongs to nobody else: fetching a token, asking REST about an order.

Neither the I/O thread nor the watchdog may wait for such things.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import Callable, Optional, Set

log = logging.getLogger("kraken_sync")

Errand = Callable[[], None]


class Errands:
    """Runs errands one after the other; an errand that waits already is not added twice."""

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[Optional[str]] = queue.SimpleQueue()
        self._errands: dict[str, Errand] = {}
        self._lock = threading.Lock()
        self._running: Set[str] = set()
        self._thread = threading.Thread(target=self._run, name="kraken-sync-errands", daemon=True)

    def start(self) -> None:
        """Start running."""
        self._thread.start()

    def add(self, name: str, errand: Errand) -> None:
        """Run ``errand`` soon. Any thread; does not block."""
        with self._lock:
            if name in self._errands or name in self._running:
                return
            self._errands[name] = errand
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
                errand = self._errands.pop(name)
                self._running.add(name)
            try:
                errand()
            except BaseException:  # nothing may end this thread
                log.exception("a fault of kraken_sync itself: %s", name)
            finally:
                with self._lock:
                    self._running.discard(name)
