"""The stream out of which a publisher takes everything at once."""

from __future__ import annotations

from typing import Any, List

from ..io.streams import Stream


class Outlet(Stream):
    """A stream of frames as bytes, and of gaps as dicts."""

    def take_all(self, deadline: float) -> List[Any]:
        """Return everything that waits to be read; blocks for something up to ``deadline``.

        Raises:
            KrakenError: the error that ended the stream.
        """
        taken: List[Any] = []
        with self._ready:
            if not self._entries and not self._ended:
                self._await(deadline)
            while self._entries:
                taken.append(self._next_entry())
            ended = self._next_entry() if self._ended and not taken else None
        if isinstance(ended, Exception):
            raise ended
        return taken
