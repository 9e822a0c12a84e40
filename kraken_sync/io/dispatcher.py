"""The thread on which a user's callback runs, with one message after the other, in order.

A callback may block, raise or call the client without disturbing the I/O thread. If it is slower than the
feed, the oldest messages are dropped and a gap frame takes their place, as in any stream.
"""

from __future__ import annotations

import inspect
import traceback
from typing import Any, Callable, Dict

from .logs import log
from .streams import Stream
from .threads import Died, GuardedThread

Handler = Callable[[Any], Any]


class Dispatcher:
    """Calls one callback with each message of one stream.

    Args:
        callback: the function to call. It refers to its client, which therefore lives until it is closed.
        stream: the source of the messages.
        died: called if the thread ends by an error of this library.
    """

    def __init__(self, callback: Handler, stream: Stream, died: Died = lambda error: None) -> None:
        self._stream = stream
        self._callback = callback
        self.errors = 0
        """The number of exceptions that the callback has raised."""
        # By class and place, so that a callback that fails with every message logs one traceback, not
        # thousands.
        self._seen: Dict[str, int] = {}
        self._stopped = False
        self.thread = GuardedThread("dispatcher", self._run, died)

    def start(self) -> None:
        """Start the thread. Raises ConnectFailed if that is not possible."""
        self.thread.begin()

    def stop(self) -> None:
        """Make no further calls; messages that were not delivered are dropped. Does not block."""
        self._stopped = True
        self._stream.end()

    def join(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds for the running callback, unless this is called from it."""
        self.thread.finish(timeout)

    def _run(self) -> None:
        while not self._stopped:
            try:
                message = next(self._stream)
                if not self._stopped:
                    no_coroutine(self._callback(message))
            except StopIteration:
                return
            # Raised by the callback or by the user's parse_float. Also SystemExit: sys.exit() in a callback
            # ends no program, and ending this thread silently would look like a quiet market.
            except BaseException as error:
                if self._stream.over:
                    return
                self._failed(self._callback, error)

    def _failed(self, callback: Handler, error: BaseException) -> None:
        self.errors += 1
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "?"
        what = f"{type(error).__name__} at {place}"
        self._seen[what] = self._seen.get(what, 0) + 1
        if self._seen[what] == 1:
            log.error(
                "your handler %s raised %r (%s); going on, and counting the same error silently",
                getattr(callback, "__name__", callback),
                error,
                place,
                error=error,
            )
            # Without logging set up an error in a callback would be invisible.
            if not log.heard:
                traceback.print_exception(type(error), error, error.__traceback__)


def no_coroutine(result: Any) -> None:
    """Raise TypeError if a callback returned a coroutine, which would never run."""
    if inspect.iscoroutine(result):
        result.close()  # or Python warns, at some later time, that it was never awaited
        raise TypeError("the callback gave a coroutine: it must be a plain function, without 'async'")
