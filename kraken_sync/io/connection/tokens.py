"""The WebSocket token of a private connection: fetched before every connect, and anew when it is refused.

Source: Kraken, "Spot WebSocket Authentication": a token must be used within 15 minutes of its creation; it
does not expire while a connection with a subscription made with it is kept; if it dies all the same, a new
one is the cure.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Optional

from ...core.session.session import Session
from ...core.timing import Timing
from ...core.wire.secret import Secret
from ...errors import ClientClosed, ConnectFailed, KrakenError
from ..logs import log
from ..rest import Rest, patience
from ..worker import Worker
from .chores import Served

UNUSED_FOR = 840.0
"""Seconds for which a token that was never used may still be; the exchange allows 900."""


class Tokens:
    """The tokens of one connection.

    Args:
        rest: fetches them.
        worker: where a refused one is replaced.
        timing: all time limits.
    """

    def __init__(self, rest: Rest, worker: Worker, timing: Timing) -> None:
        self._rest = rest
        self._worker = worker
        self._timing = timing
        self._unused: Optional[Secret] = None
        self._unused_until = 0.0
        self._not_before = 0.0

    # -- the I/O thread ----------------------------------------------------------------------

    def unused(self, deadline: float) -> Secret:
        """A token that was never used. Blocks until ``deadline`` (monotonic) at most.

        Raises:
            ConnectFailed: there is none for now.
            KrakenError: there will never be one.
        """
        now = time.monotonic()
        if self._unused is None or now > self._unused_until:
            try:
                self._unused = self._fetch(deadline)
            except ClientClosed:
                raise
            except KrakenError as error:
                if error.permanent:
                    raise
                raise ConnectFailed(
                    f"no WebSocket token: {error}", step="token", retry_after=patience(error)
                ) from error
            self._unused_until = now + UNUSED_FOR
        return self._unused

    def was_used(self) -> None:
        """The connection is up: the next one needs another token."""
        self._unused = None

    # -- any thread --------------------------------------------------------------------------

    def renew(self, connection: Served, deadline: Optional[float]) -> None:
        """Have another token than the one that was refused. Blocks.

        Raises:
            KrakenError: there is none to be had.
        """
        if not connection.read(_wants_token):
            return
        connection.change(partial(_use_if_wanted, self._fetch(deadline)))

    def visit(self, connection: Served, now: float) -> None:
        """The watchdog's visit: have a refused token replaced."""
        if now >= self._not_before and connection.read(_wants_token):
            self._worker.add(f"token of {connection.name}", partial(self._renew, connection))

    def _renew(self, connection: Served) -> None:
        self._not_before = time.monotonic() + 1.0  # whatever happens, not at every tick
        try:
            self.renew(connection, time.monotonic() + self._timing.connect_timeout)
        except KrakenError as error:
            if error.permanent:
                connection.give_up(error)
                return
            log.warning("no WebSocket token: %s", error)
            pause = max(1.0, self._timing.maintenance_retry, patience(error))
            self._not_before = time.monotonic() + pause

    def _fetch(self, deadline: Optional[float]) -> Secret:
        token = self._rest.ws_token(deadline)["token"]
        assert isinstance(token, Secret)
        return token


def _wants_token(session: Session) -> bool:
    return session.wants_token


def _use_if_wanted(token: Secret, session: Session) -> None:
    if session.wants_token:
        session.use_token(token, time.monotonic())
