"""Orders of which something is missing after a gap: REST is asked what became of them."""

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
SILENCE = 2.0
"""Seconds after which an acknowledged order without any report is asked for."""
RETRIES = (0.2, 1.0, 5.0, 30.0, 60.0)
"""Seconds between attempts to ask; the last one repeats."""


class Settling:
    """Settles the orders of one account.

    Args:
        rest: tells what became of orders.
        worker: where it is asked.
        timing: all time limits.
    """

    def __init__(self, rest: Rest, worker: Worker, timing: Timing) -> None:
        self._rest = rest
        self._worker = worker
        self._timing = timing
        self._not_before = 0.0
        self._failures = 0

    def visit(self, connection: Served, now: float) -> None:
        """The watchdog's visit: have unsettled orders asked for."""
        silence = min(SILENCE, self._timing.ack_timeout)
        unsettled = connection.read(partial(_look, now, silence))
        if unsettled and now >= self._not_before and connection.open:
            self._worker.add("unsettled orders", partial(self._settle, connection))

    def stopping(self, connection: Served) -> None:
        """Nothing: what is not settled is asked for by the next connection."""

    def _settle(self, connection: Served) -> None:
        names = connection.read(_unsettled)[:ASKED_AT_ONCE]
        if not names:
            return
        asked_at = time.monotonic()
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
        wait = RETRIES[min(self._failures, len(RETRIES) - 1)]
        self._not_before = now + max(wait, patience(failure))
        if isinstance(failure, PermissionRefused):
            self._not_before = float("inf")
        log.info("asked what became of %d orders", len(names))

    def _query_into(self, found: Dict[str, Any], names: List[str], deadline: float) -> None:
        """Ask for these orders; one id that the exchange does not know does not spoil the others."""
        try:
            answer = self._rest.query_orders(names, deadline)
        except RestRefused as error:
            if not error.error.startswith("EOrder:"):
                raise
            if len(names) == 1:
                found[names[0]] = None  # there is no such order, and asking again does not help
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
    """Take over what was found; whether fewer orders are unsettled now."""
    before = len(session.account.orders.unsettled)
    settle_orders(session, found, asked_at, now)
    return len(session.account.orders.unsettled) < before
