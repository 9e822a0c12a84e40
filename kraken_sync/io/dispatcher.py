"""The thread on which user callbacks run, one at a time and in order.

A callback may block, fail or call the client: the I/O thread does not notice. If it is slower than the
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
    """Feeds one callback from one stream.

    Args:
        callback: what to call with each message. It holds its client, which lives until it is closed.
        stream: where the messages come from.
    """

    def __init__(self, callback: Handler, stream: Stream, died: Died = lambda error: None) -> None:
        self._stream = stream
        self._callback = callback
        self.errors = 0
        """How often the callback has failed."""
        self._seen: Dict[str, int] = {}
        self._stopped = False
        self.thread = GuardedThread("dispatcher", self._run, died)

    def start(self) -> None:
        """Start calling."""
        self.thread.begin()

    def stop(self) -> None:
        """Call nothing more; what has not been delivered yet is dropped."""
        self._stopped = True
        self._stream.end()

    def join(self, timeout: float) -> None:
        """Wait for the running callback, unless this is called from it."""
        self.thread.finish(timeout)

    def _run(self) -> None:
        while not self._stopped:
            try:
                message = next(self._stream)
                if not self._stopped:
                    no_coroutine(self._callback(message))
            except StopIteration:
                return
            except BaseException as error:  # of a callback or of parse_float: the next message
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
            if not log.heard:
                traceback.print_exception(type(error), error, error.__traceback__)


def no_coroutine(result: Any) -> None:
    """Raise TypeError if a callback gave a coroutine, which nobody would ever run."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("the callback gave a coroutine: it must be a plain function, without 'async'")
