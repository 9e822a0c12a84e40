"""Waits until the clients of the simulated exchange have taken everything in."""

from __future__ import annotations

import contextlib
import time
import weakref
from typing import Any, Collection, Dict, List

from ..client import SpotWSClient
from ..errors import KrakenError

PATIENCE = 5.0
"""The longest time in seconds to wait for a client; one that is stuck does not hold the test up for ever."""
ROUND = 0.002
_RUNNING = ("CONNECTED", "CONNECTING", "RECONNECTING")


class Clients:
    """The clients that the simulator has made, as long as somebody uses them. Any thread."""

    def __init__(self) -> None:
        self._known: List[weakref.ref[SpotWSClient]] = []

    def add(self, client: SpotWSClient) -> None:
        """Know a client."""
        self._known = [ref for ref in self._known if ref() is not None] + [weakref.ref(client)]

    def _running(self) -> List[SpotWSClient]:
        found = [client for client in (ref() for ref in self._known) if client is not None]
        return [client for client in found if client.state.value in _RUNNING]

    def connections(self, roles: Collection[str] = ()) -> Dict[Any, int]:
        """Return the connections (of these kinds) that are up, and the number of each."""
        return {
            connection: _number(connection)
            for client in self._running()
            for connection in client._ks_runtime.connections
            if connection.open and (not roles or connection.name in roles)
        }

    def wait_lost(self, before: Dict[Any, int]) -> None:
        """Block until each of these connections is known to be lost, or has been replaced."""
        _until(lambda: all(not one.open or _number(one) != number for one, number in before.items()))

    def wait_ready(self, whole: bool, offline: Collection[str]) -> None:
        """Block until every client has what it wants: connections, subscriptions, books, tables. If it cannot
        have the whole of it now, until its connections are up, except those that are offline.
        """
        until = time.monotonic() + PATIENCE
        if not whole:
            _until(
                lambda: all(
                    one.open or one.name in offline
                    for client in self._running()
                    for one in client._ks_runtime.connections
                )
            )
            return
        for client in self._running():
            with contextlib.suppress(Exception):  # it cannot, or is being closed: the test's to judge
                client.wait_ready(timeout=max(0.0, until - time.monotonic()))

    def read_clock(self) -> None:
        """Have every client read the exchange's clock, which it counts the deadlines of orders by."""
        until = time.monotonic() + PATIENCE
        for connection in self.connections():
            with contextlib.suppress(KrakenError):
                connection.request({"method": "ping"}, until)


def _number(connection: Any) -> int:
    return int(connection.stats(time.monotonic())["connections"])


def _until(condition: Any) -> None:
    until = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < until:
        time.sleep(ROUND)
