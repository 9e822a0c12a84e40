"""Nonces that always increase, across threads, and across processes that use the same file.

Source: Kraken's guide "Spot REST Authentication": a strictly increasing unsigned 64-bit integer per API key.
A lower nonce must also arrive earlier, so a request is sent before the next nonce is given out.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator, List, Optional, TypeVar, Union

from ..errors import ReplyTimeout
from .waiting import Turn

Value = TypeVar("Value")

A_YEAR = 365 * 86400 * 10**9
"""Nanoseconds. Programs that use one key count at most nanoseconds, so a number beyond those of next year is
nobody's nonce; once used, it would end the key, since each later one must be higher."""
_RETRY = 0.01  # flock() has no timeout, so the lock is tried again after this many seconds


def _now() -> int:
    # The unit of python-kraken-sdk: after a nonce in nanoseconds the key would refuse all of that library's.
    return time.time_ns() // 10


class Nonces:
    """The nonces of one API key, in units of 10 ns since the epoch, as in python-kraken-sdk.

    The exchange keeps the highest nonce of each key, so with the same unit both libraries can use one key.

    Args:
        path: a file that several processes share for one key; None for this process alone.
        clock: the wall clock, in units of 10 ns; it may be set back.

    Raises:
        ValueError: the system has no file locks (Windows), or the directory does not exist.
    """

    def __init__(self, path: Union[str, Path, None] = None, clock: Callable[[], int] = _now) -> None:
        self._path = None if path is None else Path(path).expanduser()
        self._clock = clock
        self._turn = Turn()
        self._last = 0
        if self._path is not None and not _has_locks():
            raise ValueError("nonce_file needs file locks that this system does not have")
        if self._path is not None and not self._path.parent.is_dir():
            raise ValueError(f"nonce_file: there is no directory {self._path.parent}")

    def next(self) -> int:
        """Return a nonce for a request that is sent in another way. Waits for requests under way."""
        return self.use(None, lambda nonce: nonce)

    def use(self, deadline: Optional[float], send: Callable[[int], Value]) -> Value:
        """Return ``send(nonce)``; the next nonce is given out only after it has returned.

        Raises:
            ReplyTimeout: earlier requests were not done before ``deadline`` (monotonic); nothing was sent.
            ValueError: the file does not hold a nonce, or others can change it.
        """
        found: List[Value] = []

        def work() -> bool:
            if self._path is None:
                found.append(send(self._raise(self._last)))
                return True
            with _locked(self._path, deadline) as file:
                text = os.pread(file, 32, 0).decode("ascii", "replace").strip()
                last = int(text) if text.isdigit() else 0
                if last > self._clock() * 10 + A_YEAR:
                    raise ValueError(f"{self._path} holds a number that is no nonce: {text:.40}")
                nonce = self._raise(last)
                # Written before sending, with a fixed width, so that a crash leaves a nonce that is used up
                # and never a mixture of two numbers.
                os.pwrite(file, f"{nonce:<32}".encode(), 0)
                found.append(send(nonce))
            return True

        if not self._turn.run(deadline, work):
            raise ReplyTimeout("other private requests were in the way for too long; nothing was sent")
        return found[0]

    def _raise(self, last: int) -> int:
        self._last = max(self._last + 1, last + 1, self._clock())
        return self._last


def _has_locks() -> bool:
    try:
        import fcntl  # noqa: F401
    except ImportError:
        return False
    return True


@contextmanager
def _locked(path: Path, deadline: Optional[float]) -> Iterator[int]:
    import fcntl

    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno == errno.ELOOP:  # in a directory such as /tmp anybody could have put it there
            raise ValueError(f"nonce_file: {path} is a symbolic link; name the file itself") from None
        raise
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_mode & stat.S_IWOTH:
            raise ValueError(
                f"nonce_file: {path} is no file, or everybody can write to it, and end the API key with a "
                "high number: chmod 600"
            )
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if deadline is not None and time.monotonic() >= deadline:
                    raise ReplyTimeout(
                        "another process held the nonce file too long; nothing was sent"
                    ) from None
                time.sleep(_RETRY)
        yield file
    finally:
        os.close(file)
