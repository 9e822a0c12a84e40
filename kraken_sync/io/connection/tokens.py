"""The WebSocket tokens of a private connection: one is fetched before each connect, and one for each refused.

Source: Kraken's guide "Spot Websockets Authentication": a token must be used within 15 minutes of its
creation, and does not expire while a connection with a subscription made with it is kept. In practice tokens
sometimes become invalid earlier, after an upgrade of the exchange's gateway for example; a new token helps.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Optional, Tuple

from ...core.session.session import Session
from ...core.timing import Timing
from ...core.wire.secret import Secret
from ...errors import ClientClosed, ConnectFailed, KrakenError
from ..logs import log
from ..rest import Rest, patience
from ..worker import Worker
from .chores import Served

UNUSED_FOR = 840.0
"""Seconds after its creation in which an unused token may be used; the exchange allows 900."""


class Tokens:
    """The tokens of one connection.

    Args:
        rest: fetches the tokens.
        worker: the thread on which a refused token is replaced.
        timing: the time limits.
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
        """Return a token that was never used. Blocks at most until ``deadline`` (monotonic seconds).

        Raises:
            ConnectFailed: no token could be fetched now; trying again may help.
            KrakenError: the exchange refuses tokens for this API key for good.
        """
        # Kept over failed attempts to connect: each REST request costs a nonce and counts against the limit.
        now = time.monotonic()
        if self._unused is None or now > self._unused_until:
            try:
                self._unused, _ = self._fetch(deadline)
            except ClientClosed:
                raise  # the client ends; a ConnectFailed would be retried
            except KrakenError as error:
                if error.permanent:
                    raise  # a wrong key, or one without the permission: this ends the connection for good
                raise ConnectFailed(
                    f"no WebSocket token: {error}", step="token", retry_after=patience(error)
                ) from error
            self._unused_until = now + UNUSED_FOR
        return self._unused

    def was_used(self) -> None:
        """Note that the connection is up, so that the next one needs another token."""
        self._unused = None

    # -- any thread --------------------------------------------------------------------------

    def renew(self, connection: Served, deadline: Optional[float]) -> None:
        """Replace a token that was refused. Blocks at most until ``deadline`` (monotonic seconds).

        Raises:
            KrakenError: no token could be fetched.
        """
        while True:
            refused_at = connection.read(_refused_at)
            if refused_at is None:
                return  # another thread has replaced it already
            token, asked_at = self._fetch(deadline, refused_at)
            connection.change(partial(_use_if_wanted, token, asked_at))

    def visit(self, connection: Served, now: float) -> None:
        """Have the worker replace a token that was refused. Does not block."""
        if now >= self._not_before and connection.read(_wants_token):
            self._worker.add(f"token of {connection.name}", partial(self._renew, connection))

    def _renew(self, connection: Served) -> None:
        # Set first: the watchdog comes again every 0.2 s, also while this request is under way.
        self._not_before = time.monotonic() + 1.0
        try:
            self.renew(connection, time.monotonic() + self._timing.connect_timeout)
        except KrakenError as error:
            if error.permanent:
                # The next attempt to connect has the same error, and is where such errors are told and waited
                # for, since they may pass even so.
                connection.drop(str(error))
                return
            log.warning("no WebSocket token: %s", error)
            # A refused token does not end the connection, so the next attempt need not be soon.
            pause = max(1.0, self._timing.maintenance_retry, patience(error))
            self._not_before = time.monotonic() + pause

    def _fetch(self, deadline: Optional[float], since: float = float("-inf")) -> Tuple[Secret, float]:
        result, asked_at = self._rest.ws_token(deadline, since)
        token = result["token"]
        assert isinstance(token, Secret)
        return token, asked_at


def _wants_token(session: Session) -> bool:
    return session.wants_token


def _refused_at(session: Session) -> Optional[float]:
    """When the last token was refused (monotonic seconds), or None if no other is wanted."""
    return session.token_refused_at if session.wants_token else None


def _use_if_wanted(token: Secret, asked_at: float, session: Session) -> None:
    # Another thread, or a reconnect, may have brought a new token while this one was fetched; and that may
    # have been refused since, because all tokens were revoked, so that this one would be refused, too.
    if session.wants_token and asked_at >= session.token_refused_at:
        session.use_token(token, time.monotonic())
