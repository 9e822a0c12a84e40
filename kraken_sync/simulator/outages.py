"""Connections of the simulated exchange that end, get stuck, or cannot be made, as a test asks for it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Callable, Collection, Iterator

from .clock import Clock
from .peers import LEVEL3, PRIVATE, PUBLIC
from .settling import Clients
from .sockets import Line, Sockets

ROLES = frozenset((PUBLIC, PRIVATE, LEVEL3))


class Outages:
    """Ends connections. Any thread.

    Args:
        sockets: the connections.
        clients: those who notice.
        clock: with one of its own, a call returns when the clients know it, and are back if they may.
        settle: waits until everything has arrived.
    """

    def __init__(self, sockets: Sockets, clients: Clients, clock: Clock, settle: Callable[[], None]) -> None:
        self._sockets = sockets
        self._clients = clients
        self._clock = clock
        self._settle = settle

    @property
    def offline(self) -> Collection[str]:
        """The kinds of connections that cannot be made now."""
        return [role for role in ROLES if self._sockets.offline[role]]

    def cut(self, roles: Collection[str] = ROLES) -> None:
        """Cut connections of these kinds without a close frame."""
        self._end(lambda line: line.socket.transport.abort(), roles)

    def close(self, code: int, reason: str, roles: Collection[str]) -> None:
        """Close connections of these kinds with this code and reason."""
        self._end(lambda line: self._sockets.background(line.socket.close(code, reason)), roles)

    def stick(self) -> None:
        """Begin a frame on every connection and never finish it."""

        def begin(line: Line) -> None:
            line.stuck = True
            line.write(b'\x81\x7e\x01\x00{"channel":"book","type":"upd')

        self._sockets.each(begin)

    @contextmanager
    def without(self, kinds: Collection[str]) -> Iterator[None]:
        """In this block there are no connections of these kinds, or none at all."""
        unknown = set(kinds) - ROLES
        if unknown:
            raise ValueError(f"connections are public, private or level3, not {', '.join(sorted(unknown))}")
        roles = set(kinds) or ROLES
        self._sockets.offline.update(roles)
        self.cut(roles)
        try:
            yield
        finally:
            self._sockets.offline.subtract(roles)
            if self._clock.own:
                self._settle()

    def _end(self, end: Callable[[Line], None], roles: Collection[str]) -> None:
        before = self._clients.connections(roles) if self._clock.own else {}

        def run(line: Line) -> None:
            if line.peer is not None and line.peer.role in roles:
                end(line)

        self._sockets.each(run)
        if self._clock.own:
            self._clients.wait_lost(before)
            self._settle()
