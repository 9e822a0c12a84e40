"""Threads of this library: daemons that cannot die unseen."""

from __future__ import annotations

import threading
from typing import Callable

from ..errors import ConnectFailed

Died = Callable[[BaseException], None]


class GuardedThread(threading.Thread):
    """A daemon thread that tells when it dies of an exception, of whatever class.

    Args:
        name: the thread's name; all of ours begin with ``kraken-sync-``.
        work: what it does.
        died: called on the dying thread with what it died of; wakes whoever waits.
    """

    def __init__(self, name: str, work: Callable[[], None], died: Died) -> None:
        super().__init__(name=f"kraken-sync-{name}", daemon=True)
        self._work = work
        self._died = died

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        except BaseException as error:  # the last one who can tell it
            self._died(error)

    def begin(self) -> None:
        """Start the thread.

        Raises:
            ConnectFailed: the system gives no thread (limits, memory, or an interpreter that is ending).
        """
        try:
            self.start()
        except RuntimeError as error:
            raise ConnectFailed(
                f"the thread {self.name} cannot be started: {error}", step="thread"
            ) from error

    def finish(self, timeout: float) -> None:
        """Wait for the thread to end, unless it never began or this is the thread itself."""
        if self is not threading.current_thread() and self.ident is not None:
            self.join(timeout)

    @property
    def dead(self) -> bool:
        """Whether it was started and runs no more."""
        return self.ident is not None and not self.is_alive()
