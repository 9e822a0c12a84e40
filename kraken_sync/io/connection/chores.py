"""The interface between a connection and its chores, which the watchdog visits at every tick.

A chore must not block the watchdog; work that takes time is given to the worker's thread. The protocol
:class:`Served` keeps the chores from depending on the module of the connection, which imports them.
"""

from __future__ import annotations

from typing import Any, Callable, Optional, Protocol


class Served(Protocol):
    """The part of a :class:`.connection.Connection` that chores use."""

    name: str  # part of the names of the worker's jobs, so that two connections do not share one

    @property
    def open(self) -> bool:
        """Whether the current connection is up: the exchange's ``status`` message has arrived."""

    @property
    def closed(self) -> bool:
        """Whether the connection was closed on purpose."""

    def read(self, question: Callable[[Any], Any], deadline: Optional[float] = None) -> Any:
        """Return ``question(session)``, called with the session's lock held."""

    def change(self, order: Callable[[Any], Any], deadline: Optional[float] = None) -> Any:
        """As :meth:`read`, for a change, after which waiting threads look again."""

    def drop(self, reason: str) -> None:
        """End the current connection; it is restored like any other that was lost."""


class Chore(Protocol):
    """Something that is done at each visit of the watchdog."""

    def visit(self, connection: Served, now: float) -> None:
        """Do what is due at ``now`` (monotonic seconds). Must not block."""

    def stopping(self, connection: Served) -> None:
        """Called when the connection is about to be closed. Must not block."""
