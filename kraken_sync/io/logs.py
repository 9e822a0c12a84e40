"""The log of this library. No handler and no filter of a user runs on a thread of ours.

Handlers may block or raise. So what our threads log leaves through a bounded queue, on a thread that does
nothing else and ends when nothing is left to do; what is logged in a user's own thread is handled there. A
handler that raises never changes what a call says."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from typing import Any, NamedTuple, Optional, Tuple

from .threads import GuardedThread

NAME = "kraken_sync"
MOST = 10_000
"""Records that wait at most; further ones are counted and lost."""
IDLE = 0.1
"""Seconds without a record after which the thread ends."""


class _Entry(NamedTuple):
    """A record that is still to be made."""

    level: int
    message: str
    args: Tuple[Any, ...]
    error: Optional[BaseException]
    place: Tuple[str, int, str]
    created: float
    thread: Tuple[Optional[int], str]


class Log:
    """As a :class:`logging.Logger`, as far as it is used here. Any thread; never raises, never blocks
    ours."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(NAME)
        self._entries: queue.SimpleQueue[Optional[_Entry]] = queue.SimpleQueue()
        self._thread: Optional[GuardedThread] = None
        self._running = False
        self._lost = 0

    def info(self, message: str, *args: Any) -> None:
        """Log at level INFO."""
        self._log(logging.INFO, message, args, None)

    def warning(self, message: str, *args: Any) -> None:
        """Log at level WARNING."""
        self._log(logging.WARNING, message, args, None)

    def error(self, message: str, *args: Any, error: Optional[BaseException] = None) -> None:
        """Log at level ERROR, with the traceback of ``error``."""
        self._log(logging.ERROR, message, args, error)

    def critical(self, message: str, *args: Any, error: Optional[BaseException] = None) -> None:
        """Log at level CRITICAL, with the traceback of ``error``."""
        self._log(logging.CRITICAL, message, args, error)

    def log(self, level: int, message: str, *args: Any) -> None:
        """Log at this level."""
        self._log(level, message, args, None)

    @property
    def heard(self) -> bool:
        """Whether the program has set up logging at all."""
        handlers = [*self._logger.handlers, *logging.getLogger().handlers]
        return any(not isinstance(handler, logging.NullHandler) for handler in handlers)

    def flush(self, timeout: float) -> None:
        """Wait until what was logged so far has been handled, and the thread has ended: at most ``timeout``
        seconds. From a handler it does nothing."""
        thread = self._thread
        if thread is not None and self._running:
            self._entries.put(None)
            thread.finish(timeout)

    def _log(self, level: int, message: str, args: Tuple[Any, ...], error: Optional[BaseException]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        frame = sys._getframe(2)
        code, thread = frame.f_code, threading.current_thread()
        entry = _Entry(
            level,
            message,
            args,
            error,
            (code.co_filename, frame.f_lineno, code.co_name),
            time.time(),
            (thread.ident, thread.name),
        )
        if not isinstance(thread, GuardedThread):
            self._handle(entry)
        elif self._entries.qsize() >= MOST:
            self._lost += 1
        else:
            self._entries.put(entry)
            self._run_soon()

    def _run_soon(self) -> None:
        if self._running:
            return
        self._running = True
        thread = GuardedThread("log", self._run, self._died)
        try:
            thread.start()
            self._thread = thread
        except RuntimeError:
            self._running = False  # an interpreter that is ending: the next record tries again

    def _run(self) -> None:
        while True:
            try:
                entry = self._entries.get(timeout=IDLE)
            except queue.Empty:
                entry = None
            if entry is None:
                self._running = False
                if self._entries.empty() or self._running:
                    return
                self._running = True  # one came in between
                continue
            self._handle(entry)
            if self._lost and self._entries.empty():
                lost, self._lost = self._lost, 0
                text = "%d log records were lost: the handlers of %r are too slow"
                told = entry._replace(level=logging.WARNING, message=text, args=(lost, NAME), error=None)
                self._handle(told)

    def _died(self, error: BaseException) -> None:
        self._running = False

    def _handle(self, entry: _Entry) -> None:
        try:
            exc_info = (
                None
                if entry.error is None
                else (
                    type(entry.error),
                    entry.error,
                    entry.error.__traceback__,
                )
            )
            path, line, function = entry.place
            record = self._logger.makeRecord(
                NAME, entry.level, path, line, entry.message, entry.args, exc_info, function
            )
            record.created = entry.created
            record.msecs = int((entry.created - int(entry.created)) * 1000)
            record.thread, record.threadName = entry.thread
            self._logger.handle(record)
        except Exception as error:
            _tell_once(error)
        except BaseException as error:
            if not isinstance(threading.current_thread(), GuardedThread):
                raise  # a Ctrl-C of the user, in the user's own thread
            _tell_once(error)


_told = False


def _tell_once(error: BaseException) -> None:
    """A handler or filter has failed: say so where the standard library says such things."""
    global _told
    if not _told and logging.raiseExceptions and sys.stderr is not None:
        _told = True
        try:
            print(f"kraken_sync: a handler or filter of your logging failed: {error!r}", file=sys.stderr)
        except Exception:
            pass  # nobody is left to be told


log = Log()
"""The only one."""


def _forked() -> None:
    """In a forked child: the thread is the parent's, and so is what waits for it."""
    log._entries, log._running, log._thread = queue.SimpleQueue(), False, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
