"""The log of this library. A user's handlers and filters never run on one of the library's threads.

Handlers may block or raise. So records from the library's threads are handled on a thread of their own, which
gets them through a bounded queue and ends when there are none. Records from a user's thread are handled on
that thread. An exception raised by a handler never changes the outcome of a call.
"""

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
"""The number of records that may wait to be handled; further ones are counted and lost."""
IDLE = 0.1
"""Seconds without a record after which the thread ends."""


class _Entry(NamedTuple):
    """The data of a log record that was not handled yet."""

    level: int
    message: str
    args: Tuple[Any, ...]
    error: Optional[BaseException]
    place: Tuple[str, int, str]
    created: float
    thread: Tuple[Optional[int], str]


class Log:
    """The part of :class:`logging.Logger` that this library uses. Any thread.

    Its methods never raise, except a Ctrl-C, and never block one of the library's threads.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger(NAME)
        self._entries: queue.SimpleQueue[Optional[_Entry]] = queue.SimpleQueue()
        self._thread: Optional[GuardedThread] = None
        self._running = False
        self._lost = 0

    def debug(self, message: str, *args: Any) -> None:
        """Log at level DEBUG."""
        self._log(logging.DEBUG, message, args, None)

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
        """Whether the program has set up logging: a handler other than a NullHandler exists."""
        handlers = [*self._logger.handlers, *logging.getLogger().handlers]
        return any(not isinstance(handler, logging.NullHandler) for handler in handlers)

    def flush(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until the records so far have been handled and the thread has ended.

        Does nothing if it is called by a handler.
        """
        thread = self._thread
        if thread is not None and self._running:
            self._entries.put(None)
            thread.finish(timeout)

    def _log(self, level: int, message: str, args: Tuple[Any, ...], error: Optional[BaseException]) -> None:
        if not self._logger.isEnabledFor(level):
            return
        # Taken here: on the other thread the caller's place, time and thread could not be found out.
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
            self._running = False  # no thread can be started now; the next record tries again

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
                self._running = True  # a record came between the timeout and the assignment
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
                raise  # a Ctrl-C, on the user's thread
            _tell_once(error)


_told = False


def _tell_once(error: BaseException) -> None:
    """Report on stderr, once per process, that a user's handler or filter has raised an exception."""
    global _told
    if not _told and logging.raiseExceptions and sys.stderr is not None:
        _told = True
        try:
            print(f"kraken_sync: a handler or filter of your logging failed: {error!r}", file=sys.stderr)
        except Exception:
            pass  # stderr is closed, too


log = Log()
"""The only instance."""


def _forked() -> None:
    """Begin anew in a forked child: the thread exists in the parent only, and handles the records there."""
    log._entries, log._running, log._thread = queue.SimpleQueue(), False, None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
