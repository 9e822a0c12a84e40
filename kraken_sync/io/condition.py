"""A condition whose waiters may be interrupted by Ctrl-C."""

from __future__ import annotations

import threading
from typing import Any


class Condition(threading.Condition):
    """As :class:`threading.Condition`.

    A Ctrl-C that comes just when ``wait()`` takes its lock back leaves it without the lock, and leaving the
    ``with`` block then fails; that failure must not hide the KeyboardInterrupt.
    """

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        try:
            super().__exit__(kind, error, trace)
        except RuntimeError:
            if kind is None or not issubclass(kind, KeyboardInterrupt):
                raise
