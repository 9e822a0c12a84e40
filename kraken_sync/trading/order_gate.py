"""The order gate: no order leaves while its owner is blind or the exchange would not take it."""

from __future__ import annotations

import time
from typing import Any, List, Mapping, Optional

from ..core.orders.gate import closed_for
from ..core.orders.params import ADDING
from ..errors import KrakenError, OrderNotSent
from ..io.connection.private import PrivateConnection
from ..market.order_book import OrderBook

POLICIES = ("refuse", "hold", "open")
LOOK = 0.02
"""Seconds between two looks while an order is held."""


class GateShut(OrderNotSent):
    """The gate was shut at the last moment; seen only inside this package."""


class OrderGate:
    """Holds or refuses orders, amends and edits while the feed is down or the exchange takes none.

    It is shut while there is no private connection, while ``client.orders`` is not up to date after having
    been so, while the exchange is in ``maintenance``, ``cancel_only`` or (but for post-only orders)
    ``post_only``, and while any book given to :meth:`require` is not LIVE. Cancels pass, except in
    ``maintenance``, which takes none.

    Attributes:
        policy: ``refuse`` (default) raises :class:`OrderNotSent` at once; ``hold`` waits until the gate
            opens, within the call's timeout; ``open`` lets everything through.
    """

    _policy = ""
    _books: List[OrderBook] = []

    def __init__(self, policy: str = "refuse") -> None:
        self._books = []
        self.policy = policy

    @property
    def policy(self) -> str:
        return self._policy

    @policy.setter
    def policy(self, policy: str) -> None:
        if policy not in POLICIES:
            raise ValueError(f"the order gate's policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        self._policy = policy

    def require(self, *books: OrderBook) -> None:
        """Be shut while any of these is not LIVE, too."""
        for book in books:
            if not isinstance(book, OrderBook):
                raise TypeError(f"require() takes order books, not {book!r:.80}")
            if book not in self._books:
                self._books.append(book)

    def forget(self, *books: OrderBook) -> None:
        """Do not look at these any more."""
        self._books = [book for book in self._books if book not in books]

    def why_shut(self, method: str, params: Mapping[str, Any], line: PrivateConnection) -> Optional[str]:
        """Why this request may not go out now, or None if it may."""
        with line.changed:
            session, orders = line.session, line.session.account.orders
            if method in ADDING and not session.open:
                return f"there is no connection to {line.target} ({line.trouble or 'connecting'})"
            shut = closed_for(method, params, session.system)
            if shut is not None:
                return shut
            if method in ADDING and orders.blind:
                return f"client.orders is {orders.state} ({orders.reason})"
        if method not in ADDING:
            return None
        for book in self._books:
            if str(book.state) != "LIVE":
                return f"the book {book.symbol} is {book.state}"
        return None

    def __repr__(self) -> str:
        return f"<order gate {self.policy!r}, {len(self._books)} books required>"

    def check(self, method: str, params: Mapping[str, Any], line: PrivateConnection) -> None:
        """Raise GateShut if the request may not go out at this very moment."""
        if self.policy == "open":
            return
        why = self.why_shut(method, params, line)
        if why is not None:
            raise GateShut(method, why)

    def pass_through(
        self, method: str, params: Mapping[str, Any], line: PrivateConnection, ends: Optional[float]
    ) -> None:
        """Return when the request may go out.

        Raises:
            OrderNotSent: it may not, or not before ``ends`` (monotonic).
        """
        if self.policy == "open":
            return
        why = self.why_shut(method, params, line)
        while why is not None:
            if line.failure is not None:
                raise OrderNotSent(method, str(line.failure)) from line.failure
            if self.policy == "refuse" or (ends is not None and time.monotonic() >= ends):
                raise OrderNotSent(method, why)
            try:
                with line.changed:
                    line.wait(lambda: False, time.monotonic() + LOOK)
            except KrakenError as error:
                raise OrderNotSent(method, str(error)) from error
            why = self.why_shut(method, params, line)
