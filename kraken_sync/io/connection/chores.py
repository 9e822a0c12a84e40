"""What a private connection needs beside its I/O thread, and what those who do it need of the connection.

Nothing here may block the watchdog: what takes time is handed to the worker's thread.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Protocol

from ...errors import KrakenError


class Served(Protocol):
    """A connection, as a chore sees it. See :class:`.connection.Connection`."""

    name: str

    @property
    def open(self) -> bool:
        """Whether the exchange has greeted on the connection there is now."""

    @property
    def closed(self) -> bool:
        """Whether it was closed for good."""

    def read(self, question: Callable[[Any], Any], deadline: Optional[float] = None) -> Any:
        """``question(session)``, with the session's lock held."""

    def change(self, order: Callable[[Any], Any], deadline: Optional[float] = None) -> Any:
        """As ``read``, for what changes something."""

    def give_up(self, error: KrakenError) -> None:
        """End the connection for good."""


class Chore(Protocol):
    """Something that is looked after at each visit of the watchdog."""

    def visit(self, connection: Served, now: float) -> None:
        """The visit. Does not block."""

    def stopping(self, connection: Served) -> None:
        """The connection is about to be closed. Does not block."""
