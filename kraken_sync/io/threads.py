"""The threads of this library: daemons whose death by an exception is always reported."""

from __future__ import annotations

import _thread
import queue
import sys
import threading
from typing import Callable, Optional

from ..errors import ConnectFailed

Died = Callable[[BaseException], None]


class GuardedThread(threading.Thread):
    """A daemon thread that reports an exception, of whatever class, that ends it.

    Args:
        name: the thread's name, after the prefix ``kraken-sync-``.
        work: what the thread does.
        died: called with the exception on the ending thread; it must wake the threads that wait for this one.
    """

    def __init__(self, name: str, work: Callable[[], None], died: Died) -> None:
        super().__init__(name=f"kraken-sync-{name}", daemon=True)
        self._work = work
        self._died = died

    def run(self) -> None:
        """Run the thread's work; called by the thread itself."""
        try:
            self._work()
        # Nothing above could report it: by default Python prints a traceback, and waiting threads hang.
        except BaseException as error:
            self._died(error)

    def start(self) -> None:
        """Start the thread, and wait until it runs.

        Raises:
            RuntimeError: the system cannot start a thread, or the interpreter is ending.
        """
        # threading.Thread.start() waits for the new thread in Python code, where what a signal handler raises
        # leaves that thread hanging or dead. So it is called on a raw thread, in which no signal is handled.
        if sys.is_finalizing():
            raise RuntimeError("the interpreter is ending")  # else it would be started, and never run
        outcome: queue.SimpleQueue[Optional[BaseException]] = queue.SimpleQueue()
        _thread.start_new_thread(self._start, (outcome,))
        error = outcome.get()
        if error is not None:
            raise error

    def _start(self, outcome: queue.SimpleQueue[Optional[BaseException]]) -> None:
        try:
            super().start()
        except BaseException as error:
            outcome.put(error)
        else:
            outcome.put(None)

    def begin(self) -> None:
        """Start the thread.

        Raises:
            ConnectFailed: the system cannot start a thread (because of a limit or of memory), or the
                interpreter is ending.
        """
        try:
            self.start()
        except RuntimeError as error:
            raise ConnectFailed(
                f"the thread {self.name} cannot be started: {error}", step="thread"
            ) from error

    def finish(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the thread to end, unless it never began or is this thread."""
        if self is not threading.current_thread() and self.ident is not None:
            self.join(timeout)

    @property
    def dead(self) -> bool:
        """Whether the thread was started and has ended."""
        return self.ident is not None and not self.is_alive()
