"""The requests whose outcome is unknown; this is the only place where they are kept."""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Union

from ..core.session.requests import TradingRequest
from ..errors import OrderOutcomeUnknown
from ..io.locks import new_lock

KEPT = 10_000
"""The largest number of requests that are kept; the oldest are dropped first."""

Name = Union[str, int]


class Unknown(NamedTuple):
    """A request whose outcome is unknown, and the error that was raised for it."""

    error: OrderOutcomeUnknown
    request: TradingRequest


class Unresolved:
    """The requests of one client whose outcome is unknown, oldest first. Any thread; does not wait."""

    def __init__(self) -> None:
        self._lock = new_lock("unresolved")
        self._unknown: List[Unknown] = []

    def errors(self) -> List[OrderOutcomeUnknown]:
        """Return the errors that were raised for them, oldest first."""
        with self._lock:
            return [one.error for one in self._unknown]

    def add(self, unknown: Unknown) -> None:
        """Keep a request whose outcome is unknown."""
        with self._lock:
            self._unknown.append(unknown)
            del self._unknown[:-KEPT]

    def resolve(self, unknown: Unknown) -> None:
        """Drop a request whose outcome has become known."""
        self._keep(lambda one: one.error is not unknown.error)

    def resolve_method(self, method: str) -> None:
        """Drop all requests of a method, because a later call of it succeeded and replaces their effect."""
        self._keep(lambda one: one.error.method != method)

    def settle(self, unknown: Unknown, name: Name) -> None:
        """Note that the outcome is known for one of a request's names; drop the request after the
        last one.
        """
        with self._lock:
            unknown.request.settled.add(name)
            known = unknown.request.settled.issuperset(unknown.error.names)
        if known:
            self.resolve(unknown)

    def find(self, order: Union[Name, OrderOutcomeUnknown], name: Name) -> Optional[Unknown]:
        """Return the entry of this error, or of the first request with this name, or None."""
        with self._lock:
            unknown = list(self._unknown)
        if not isinstance(order, OrderOutcomeUnknown):
            return next((one for one in unknown if name in one.error.names), None)
        # An error may have been copied or pickled since, so identity is not enough.
        same = (order.names, order.sent_at)
        for one in unknown:
            if one.error is order or (one.error.names, one.error.sent_at) == same:
                return one
        return None

    def _keep(self, wanted: Callable[[Unknown], bool]) -> None:
        with self._lock:
            self._unknown = list(filter(wanted, self._unknown))
