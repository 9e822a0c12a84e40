"""The requests whose outcome is unknown: the only place where they are kept."""

from __future__ import annotations

from typing import Callable, List, NamedTuple, Optional, Union

from ..core.session.requests import TradingRequest
from ..errors import OrderOutcomeUnknown
from ..io.locks import new_lock

KEPT = 10_000
"""How many are remembered; the oldest are forgotten first."""

Name = Union[str, int]


class Unknown(NamedTuple):
    """A request whose outcome is unknown, and the error that said so."""

    error: OrderOutcomeUnknown
    request: TradingRequest


class Unresolved:
    """The requests of one client whose outcome is unknown, oldest first. Any thread; never blocks for
    long."""

    def __init__(self) -> None:
        self._lock = new_lock("unresolved")
        self._unknown: List[Unknown] = []

    def errors(self) -> List[OrderOutcomeUnknown]:
        """The errors that were raised for them, oldest first."""
        with self._lock:
            return [one.error for one in self._unknown]

    def add(self, unknown: Unknown) -> None:
        """Nothing is known of this request."""
        with self._lock:
            self._unknown.append(unknown)
            del self._unknown[:-KEPT]

    def resolve(self, unknown: Unknown) -> None:
        """The outcome of this request is known after all."""
        self._keep(lambda one: one.error is not unknown.error)

    def resolve_method(self, method: str) -> None:
        """A later call of this method succeeded, which stands for all earlier ones."""
        self._keep(lambda one: one.error.method != method)

    def settle(self, unknown: Unknown, name: Name) -> None:
        """The outcome is known for one of the names that a request was about."""
        with self._lock:
            unknown.request.settled.add(name)
            known = unknown.request.settled.issuperset(unknown.error.names)
        if known:
            self.resolve(unknown)

    def find(self, order: Union[Name, OrderOutcomeUnknown], name: Name) -> Optional[Unknown]:
        """What is remembered of this very request, or of the first one with this name."""
        with self._lock:
            unknown = list(self._unknown)
        if not isinstance(order, OrderOutcomeUnknown):
            return next((one for one in unknown if name in one.error.names), None)
        same = (order.names, order.sent_at)
        for one in unknown:
            if one.error is order or (one.error.names, one.error.sent_at) == same:
                return one
        return None

    def _keep(self, wanted: Callable[[Unknown], bool]) -> None:
        with self._lock:
            self._unknown = [one for one in self._unknown if wanted(one)]
