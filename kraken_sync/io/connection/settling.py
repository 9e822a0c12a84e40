"""Asks REST what became of orders of which reports may be missing after a gap.

The snapshot of ``executions`` has the open orders and the last 50 fills
(https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/executions), so an order that ended while
the connection was down may be in neither.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Dict, List, Optional

from ...core.session.account_views import settle_orders
from ...core.session.session import Session
from ...core.timing import Timing
from ...errors import KrakenError, PermissionRefused, RestRefused
from ..logs import log
from ..rest import Rest, patience
from ..worker import Worker
from .chores import Served

ASKED_AT_ONCE = 50
"""The number of order ids in one QueryOrders request."""
SILENCE = 2.0
"""Seconds after which REST is asked about an acknowledged order without any report."""
RETRIES = (0.2, 1.0, 5.0, 30.0, 60.0)
"""Seconds between two requests; the last value repeats. They count against the API key's REST limit."""


class Settling:
    """Settles the orders of one account.

    Args:
        rest: tells what became of the orders.
        worker: the thread on which it is asked.
        timing: the time limits.
    """

    def __init__(self, rest: Rest, worker: Worker, timing: Timing) -> None:
        self._rest = rest
        self._worker = worker
        self._timing = timing
        self._not_before = 0.0
        self._failures = 0
        self._first_asked: Dict[str, float] = {}
        """When REST was first asked about an order that it did not know (monotonic seconds)."""

    def visit(self, connection: Served, now: float) -> None:
        """Have the worker ask about orders that are not settled. Does not block."""
        silence = min(SILENCE, self._timing.ack_timeout)  # tests shorten the time limits
        unsettled = connection.read(partial(_look, now, silence))
        if unsettled and now >= self._not_before and connection.open:
            self._worker.add("unsettled orders", partial(self._settle, connection))

    def stopping(self, connection: Served) -> None:
        """Do nothing: after the next start the snapshot shows what is still unsettled."""

    def _settle(self, connection: Served) -> None:
        names = connection.read(_unsettled)[:ASKED_AT_ONCE]
        if not names:
            return
        asked_at = time.monotonic()  # reports that arrive after this moment are newer than the answer
        found: Dict[str, Any] = {}
        failure: Optional[KrakenError] = None
        try:
            self._query_into(found, names, asked_at + self._timing.connect_timeout)
        except KrakenError as error:
            failure = error
            log.warning("%d orders are not settled: %s", len(names) - len(found), error)
        now = time.monotonic()
        progress = connection.change(partial(_settled, found, asked_at, now))
        self._failures = 0 if progress else self._failures + 1
        # An answer may tell nothing new (REST lags behind the engine): that counts as a failure, too.
        wait = RETRIES[min(self._failures, len(RETRIES) - 1)]
        self._not_before = now + max(wait, patience(failure))
        if isinstance(failure, PermissionRefused):
            self._not_before = float("inf")  # asking again would be refused again
        log.info("asked what became of %d orders", len(names))

    def _query_into(self, found: Dict[str, Any], names: List[str], deadline: float) -> None:
        """Ask about these orders, and enter the answers into ``found``; None for an id that has no order.

        The exchange refuses the whole request if it does not know one of the ids. Halving the list finds it
        with few requests.
        """
        try:
            answer = self._rest.query_orders(names, deadline)
        except RestRefused as error:
            if not error.error.startswith("EOrder:"):
                raise  # not about one of the orders, so halving the list would not help
            if len(names) == 1:
                # There is no such order, or REST is behind: then asking again helps.
                first = self._first_asked.setdefault(names[0], time.monotonic())
                if time.monotonic() - first >= self._timing.rest_lag:
                    del self._first_asked[names[0]]
                    found[names[0]] = None
                return
            half = len(names) // 2
            self._query_into(found, names[:half], deadline)
            self._query_into(found, names[half:], deadline)
            return
        found.update({name: answer[name] for name in names if name in answer})


def _look(now: float, silence: float, session: Session) -> bool:
    orders = session.account.orders
    orders.look_for_silent(now, silence)
    return bool(orders.unsettled)


def _unsettled(session: Session) -> List[str]:
    return list(session.account.orders.unsettled)


def _settled(found: Dict[str, Any], asked_at: float, now: float, session: Session) -> bool:
    """Enter what was found into the table, and return whether fewer orders are unsettled now."""
    before = len(session.account.orders.unsettled)
    settle_orders(session, found, asked_at, now)
    return len(session.account.orders.unsettled) < before
