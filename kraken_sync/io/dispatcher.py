"""The thread on which user callbacks run, one at a time and in order.

A callback may block, fail or call the client: the I/O thread does not notice. If it is slower than the
feed, the oldest messages are dropped and a gap frame takes their place, as in any stream.
"""

from __future__ import annotations

import inspect
import logging
import threading
import traceback
from typing import Any, Callable, Dict

from ..errors import KrakenError
from .streams import Stream

log = logging.getLogger("kraken_sync")

Handler = Callable[[Any], Any]


class Dispatcher:
    """Feeds one callback from one stream.

    Args:
        callback: what to call with each message. It holds its client, which lives until it is closed.
        stream: where the messages come from.
    """

    def __init__(self, callback: Handler, stream: Stream) -> None:
        self._stream = stream
        self._callback = callback
        self.errors = 0
        """How often the callback has failed."""
        self._seen: Dict[str, int] = {}
        self._stopped = False
        self._thread = threading.Thread(target=_run, args=(self,), name="kraken-sync-dispatcher", daemon=True)

    def start(self) -> None:
        """Start calling."""
        self._thread.start()

    def stop(self) -> None:
        """Call nothing more; what has not been delivered yet is dropped."""
        self._stopped = True
        self._stream.end()

    def join(self, timeout: float) -> None:
        """Wait for the running callback, unless this is called from it."""
        if self._thread is not threading.current_thread() and self._thread.ident is not None:
            self._thread.join(timeout)

    def _call(self, message: Any) -> None:
        try:
            no_coroutine(self._callback(message))
        except (Exception, SystemExit) as error:
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
                exc_info=error,
            )
            if not _somebody_logs():
                traceback.print_exception(type(error), error, error.__traceback__)


def no_coroutine(result: Any) -> None:
    """Raise TypeError if a callback gave a coroutine, which nobody would ever run."""
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("the callback gave a coroutine: it must be a plain function, without 'async'")


def _somebody_logs() -> bool:
    """Whether the program has set up logging; without it a bug in a handler would be invisible."""
    handlers = [*log.handlers, *logging.getLogger().handlers]
    return any(not isinstance(handler, logging.NullHandler) for handler in handlers)


def _run(dispatcher: Dispatcher) -> None:
    stream = dispatcher._stream
    while not dispatcher._stopped:
        try:
            message = next(stream)
        except StopIteration:
            return
        except KrakenError:
            return
        if not dispatcher._stopped:
            dispatcher._call(message)
