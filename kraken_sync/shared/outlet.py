"""The stream out of which a publisher takes everything at once."""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, Iterable, List

from ..core.wire.channels import Key
from ..io.streams import Stream


class Outlet(Stream):
    """A stream of frames as bytes, and of gaps as dicts, for several subscriptions that begin one by one."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._first: Deque[bytes] = deque()

    def prime(self, frames: Iterable[bytes]) -> None:
        """Begin a subscription with these frames, before any other of it can come."""
        # Apart from the queue, whose lock must not be taken under that of the session.
        self._first.extend(frames)

    def cut_off(self) -> List[Key]:
        """Return the subscriptions that have ended for this stream, also if they were made anew since."""
        with self._ready:
            return list(set(self.keys).difference(self._live))

    def take_all(self, deadline: float) -> List[Any]:
        """Return everything that waits to be read; blocks for something up to ``deadline``.

        Raises:
            KrakenError: the error that ended the stream.
        """
        with self._ready:
            if not self._entries and not self._ended:
                self._await(deadline)
            taken = self._take_entries()
            ended = self._next_entry() if self._ended and not taken else None
        if isinstance(ended, Exception):
            raise ended
        # After the others were taken: those that a subscription begins with are there before any other of it.
        first = [self._first.popleft() for _ in range(len(self._first))]
        return first + taken

    def _take_entries(self) -> List[Any]:
        taken: List[Any] = []
        while self._entries:
            taken.append(self._next_entry())
        return taken
