"""The order gate: it stops orders while the client's data are not up to date or the exchange takes
no orders.
"""

from __future__ import annotations

import time
from typing import Any, Callable, List, Optional

from ..core.orders.params import ADDING
from ..core.session.requests import TradingRequest
from ..errors import ClientClosed, KrakenError, OrderNotSent
from ..io.connection.connection import Connection
from ..market.live_book import LiveBook

POLICIES = ("refuse", "hold", "open")
LOOK = 0.02
"""Seconds between two checks while an order is held; books of other connections wake nobody here."""


class GateShut(OrderNotSent):
    """The gate was shut when the request was about to be sent. Callers see it as a cause only."""


class OrderGate:
    """Refuses or holds orders, amends and edits while the data are not up to date or the exchange takes none.

    It is shut while there is no private connection; while ``client.orders`` is not up to date after having
    been so; while the system status is ``maintenance``, ``cancel_only`` or (except for post-only orders)
    ``post_only``; while a maintenance that the exchange announces is near and it advises to place no orders
    (:attr:`SpotWSClient.announcements`); and while any book given to :meth:`require` is not LIVE. Cancels
    pass, except in ``maintenance``, in which the exchange takes none. Any thread may use it.

    Source for the system status: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status.

    Attributes:
        policy: ``refuse`` (default) raises :class:`OrderNotSent` at once; ``hold`` waits until the gate
            opens, within the call's timeout; ``open`` lets everything pass.
        heeds_announcements: False to keep the gate open when a maintenance is announced, whatever the
            exchange advises; the default is True.
    """

    _policy = ""
    _books: List[LiveBook[Any]] = []

    def __init__(self, policy: str = "refuse") -> None:
        self._books = []
        self.heeds_announcements = True
        self.policy = policy
        """What the gate does while it is shut: ``refuse``, ``hold`` or ``open``. Any other value raises
        ValueError."""

    def __setattr__(self, name: str, value: object) -> None:
        # A typing error in the name of a switch must not leave the gate as it was.
        if name not in ("policy", "heeds_announcements", "_policy", "_books"):
            raise AttributeError(f"the order gate has no {name!r}; it has policy and heeds_announcements")
        super().__setattr__(name, value)

    @property
    def policy(self) -> str:
        return self._policy

    @policy.setter
    def policy(self, policy: str) -> None:
        if policy not in POLICIES:
            raise ValueError(f"the order gate's policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        self._policy = policy

    def require(self, *books: LiveBook[Any]) -> None:
        """Keep the gate shut while any of these books is not LIVE.

        Raises:
            TypeError: one of them is not an order book of this library.
        """
        for book in books:
            if not isinstance(book, LiveBook):
                raise TypeError(f"require() takes order books, not {book!r:.80}")
            if book not in self._books:
                # A new list each time: the sender's threads iterate over the old one without a lock.
                self._books = [*self._books, book]

    def forget(self, *books: LiveBook[Any]) -> None:
        """Stop requiring these books."""
        self._books = [book for book in self._books if book not in books]

    def __repr__(self) -> str:
        return f"<order gate {self.policy!r}, {len(self._books)} books required>"

    # -- for the sender ----------------------------------------------------------------------

    def apply(self, request: TradingRequest) -> None:
        """Write into a request what it is to be held back by."""
        request.gated = self.policy != "open"
        request.heeds_announcements = self.heeds_announcements

    def check_books(self, request: TradingRequest) -> None:
        """Raise GateShut if a required book is not LIVE at this moment."""
        if request.gated and request.method in ADDING:
            for book in self._books:
                state = str(book.state)
                if state != "LIVE":
                    raise GateShut(request.method, f"the book {book.symbol} is {state}")

    def check(self, request: TradingRequest, connection: Optional[Connection]) -> None:
        """Raise GateShut if the request may not be sent at this moment."""
        why = self._why_shut(request, connection) if request.gated else None
        if why is not None:
            raise GateShut(request.method, why)

    def pass_through(
        self,
        request: TradingRequest,
        connection: Optional[Connection],
        closed: Callable[[], bool] = lambda: False,
    ) -> None:
        """Block until the request may be sent, or raise, according to the policy.

        ``closed`` tells whether the client is closed; a connection tells it by itself.

        Raises:
            OrderNotSent: it may not be sent, or not before its deadline.
            ClientClosed: the client was closed meanwhile.
        """
        method, deadline = request.method, request.deadline
        while True:
            why = self._why_shut(request, connection)
            if why is None:
                return
            line = connection if request.via != "rest" else None  # REST does not depend on it
            # The connection was given up for good, so holding the order would be in vain.
            if line is not None and line.failure is not None:
                raise OrderNotSent(method, str(line.failure)) from line.failure
            if self.policy == "refuse":
                raise OrderNotSent(method, why)
            if deadline is not None and time.monotonic() >= deadline:
                raise OrderNotSent(method, why) from GateShut(method, why)
            if line is None:
                if closed():
                    raise ClientClosed
                time.sleep(LOOK)
                continue
            try:
                line.wait(lambda session: None, time.monotonic() + LOOK)
            except KrakenError as error:
                raise OrderNotSent(method, str(error)) from error

    def _why_shut(self, request: TradingRequest, connection: Optional[Connection]) -> Optional[str]:
        why = connection.why_not(request) if connection is not None else None
        if why is not None:
            return why
        try:
            self.check_books(request)
        except GateShut as shut:
            return shut.reason
        return None
