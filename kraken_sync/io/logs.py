"""The log of this library. A user's handlers and filters never run on one of the library's working threads.

Handlers may block or raise. So records from the library's threads are handled on a thread of their own, which
gets them through a bounded queue and ends when there are none. An exception raised by a handler never changes
the outcome of a call.

Records from the main thread are handled there, too, and the main thread waits for it. A Ctrl-C is raised in
the main thread; if it comes while a handler of the standard library takes its lock (in Python code, until
Python 3.12), the lock stays taken, and every thread that logs would hang. Records from the user's other
threads are handled on the thread they come from.
"""

from __future__ import annotations

import contextvars
import logging
import os
import queue
import sys
import threading
import time
from contextlib import suppress
from typing import Any, List, NamedTuple, Optional, Tuple, Union, cast

from .threads import GuardedThread

NAME = "kraken_sync"
MOST = 10_000
"""The number of records that may wait to be handled; further ones are counted and lost."""
IDLE = 0.1
"""Seconds without a record after which the thread ends."""
PATIENCE = 1.0
"""The most seconds for which the main thread waits until its record is handled. A handler may need a lock
that the main thread holds."""


class _Entry(NamedTuple):
    """The data of a log record that was not handled yet."""

    level: int
    message: str
    args: Tuple[Any, ...]
    error: Optional[BaseException]
    place: Tuple[str, int, str]
    created: float
    thread: Tuple[Optional[int], str]
    context: contextvars.Context
    handled: queue.SimpleQueue[None]


_End = queue.SimpleQueue[GuardedThread]
"""Ends the thread, which puts itself there."""


class Log:
    """The part of :class:`logging.Logger` that this library uses. Any thread.

    Its methods never raise, except a Ctrl-C, and never block one of the library's threads.
    """

    def __init__(self) -> None:
        self._logger = logging.getLogger(NAME)
        self.begin()

    def begin(self) -> None:
        """Begin with nothing; in a forked child, too, as the thread and the records are the parent's."""
        self._lost = 0
        self._handling = self._slow = False
        """Whether the thread is within a handler, and whether the main thread has waited in vain for one."""
        self._entries: queue.SimpleQueue[Union[_Entry, _End]] = queue.SimpleQueue()
        self._thread: Optional[GuardedThread] = None
        self._vacant: List[bool] = [True]
        """Empty while a thread handles records. list.pop() is atomic, so only one thread gets the item."""

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
        handling = not self._vacant or not self._entries.empty()
        if not handling or sys.is_finalizing() or self._thread is threading.current_thread():
            return
        end: _End = queue.SimpleQueue()
        self._entries.put(end)
        if self._run_soon():
            with suppress(queue.Empty):
                end.get(timeout=timeout).finish(timeout)

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
            contextvars.copy_context(),
            queue.SimpleQueue(),
        )
        ours = isinstance(thread, GuardedThread)
        if not ours and thread is not threading.main_thread():
            self._handle(entry)
        elif sys.is_finalizing():
            self._handle_rest(entry)
        elif self._entries.qsize() >= MOST:
            self._lost += 1
            self._run_soon()
        else:
            self._entries.put(entry)
            running = self._run_soon()
            if ours:
                return
            if running:
                self._wait_for(entry)
            else:
                self._handle_rest()

    def _wait_for(self, entry: _Entry) -> None:
        """Wait until a record is handled, unless the handlers have proved to be slow."""
        if self._slow:
            return
        try:
            entry.handled.get(timeout=PATIENCE)  # C code: a Ctrl-C ends it and breaks nothing
        except queue.Empty:
            if entry.handled.empty():
                self._slow = True  # until the thread has handled a record

    def _handle_rest(self, *more: _Entry) -> None:
        """Handle what waits, and ``more``, on this thread, since there is no other."""
        # At the interpreter's end the thread may have been stopped within a handler, which keeps its lock.
        if self._handling:
            return
        with suppress(queue.Empty):
            while True:
                entry = self._entries.get_nowait()
                if isinstance(entry, _Entry):
                    entry.context.run(self._handle, entry)
        for entry in more:
            entry.context.run(self._handle, entry)

    def _run_soon(self) -> bool:
        """Return whether a thread handles what waits; start one if there is none."""
        if self._vacant:
            # The thread itself takes the place that is vacant. A Ctrl-C may come anywhere in here, and if two
            # are started, one ends at once.
            try:
                GuardedThread("log", self._run, _tell_once).start()
            except RuntimeError:
                return False  # no thread can be started now; the next record tries again
        return True

    def _run(self) -> None:
        # It looks again after it has left its place: a record that came before started no other thread.
        while not self._entries.empty():
            try:
                self._vacant.pop()
            except IndexError:
                return
            self._thread = cast(GuardedThread, threading.current_thread())
            try:
                self._handle_waiting(self._thread)
            finally:
                self._vacant.append(True)

    def _handle_waiting(self, thread: GuardedThread) -> None:
        """Handle records until there are none for a while, or until told to end."""
        with suppress(queue.Empty):
            while True:
                entry = self._entries.get(timeout=IDLE)
                if not isinstance(entry, _Entry):
                    entry.put(thread)
                    return
                self._handling = True
                entry.context.run(self._handle, entry)
                self._handling = self._slow = False
                entry.handled.put(None)
                if self._lost and self._entries.empty():
                    lost, self._lost = self._lost, 0
                    text = "%d log records were lost: the handlers of %r are too slow"
                    told = entry._replace(level=logging.WARNING, message=text, args=(lost, NAME), error=None)
                    self._handle(told)

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
                raise  # a Ctrl-C, or what a user throws into a thread of his own
            _tell_once(error)


_told = False


def _tell_once(error: BaseException) -> None:
    """Report on stderr, once per process, that a user's handler or filter has raised an exception."""
    global _told
    if not _told and logging.raiseExceptions and sys.stderr is not None:
        _told = True
        try:
            sys.stderr.write(f"kraken_sync: a handler or filter of your logging failed: {error!r}\n")
        except Exception:
            pass  # stderr is closed, too


log = Log()
"""The only instance."""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=log.begin)
