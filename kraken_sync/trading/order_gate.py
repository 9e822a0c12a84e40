"""The order gate: no order leaves while its owner is blind or the exchange would not take it."""

from __future__ import annotations

import time
from typing import List, Optional

from ..core.orders.params import ADDING
from ..core.session.requests import TradingRequest
from ..errors import KrakenError, OrderNotSent
from ..io.connection.connection import Connection
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
                self._books = [*self._books, book]

    def forget(self, *books: OrderBook) -> None:
        """Do not look at these any more."""
        self._books = [book for book in self._books if book not in books]

    def __repr__(self) -> str:
        return f"<order gate {self.policy!r}, {len(self._books)} books required>"

    # -- for the sender ----------------------------------------------------------------------

    def check_books(self, request: TradingRequest) -> None:
        """Raise GateShut if a required book is not LIVE at this very moment."""
        if request.gated and request.method in ADDING:
            for book in self._books:
                state = str(book.state)
                if state != "LIVE":
                    raise GateShut(request.method, f"the book {book.symbol} is {state}")

    def pass_through(self, request: TradingRequest, connection: Connection) -> None:
        """Return when the request may go out.

        Raises:
            OrderNotSent: it may not, or not before its deadline.
        """
        method, deadline = request.method, request.deadline
        while True:
            why = self._why_shut(request, connection)
            if why is None:
                return
            if connection.failure is not None:
                raise OrderNotSent(method, str(connection.failure)) from connection.failure
            if self.policy == "refuse" or (deadline is not None and time.monotonic() >= deadline):
                raise OrderNotSent(method, why)
            try:
                connection.wait(lambda session: None, time.monotonic() + LOOK)
            except KrakenError as error:
                raise OrderNotSent(method, str(error)) from error

    def _why_shut(self, request: TradingRequest, connection: Connection) -> Optional[str]:
        why = connection.why_not(request)
        if why is not None:
            return why
        try:
            self.check_books(request)
        except GateShut as shut:
            return shut.reason
        return None
