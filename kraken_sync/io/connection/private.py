"""A connection that needs a token: fetched before every connect, and again when the exchange refuses it.

Source: Kraken, "Spot Websockets Authentication": a token must be used within 15 minutes of its creation; it
does not expire while a connection with a subscription made with it is kept; if it dies all the same, a new
one is the cure.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

from ...core.session.registry import Call
from ...core.timing import Timing
from ...core.wire.channels import Ask, check
from ...core.wire.credentials import permission_for
from ...core.wire.error_texts import PERMISSION_DENIED
from ...core.wire.secret import Secret
from ...errors import (
    ClientClosed,
    ConnectFailed,
    KrakenError,
    PermissionRefused,
    RateLimited,
    RestRefused,
    SubscriptionRefused,
)
from ..dial import Target
from ..rest import Rest
from ..streams import Stream
from ..worker import Errands
from .connection import Connection

log = logging.getLogger("kraken_sync")

UNUSED_FOR = 840.0
"""Seconds for which a token that was never used may still be; the exchange allows 900."""
ASKED_AT_ONCE = 50
LOCKOUT = 300.0
"""Seconds to leave the exchange alone after a temporary lockout; it lasts about 15 minutes."""
SILENCE = 2.0
"""Seconds after which an acknowledged order without any report is asked for."""
SETTLE_RETRIES = (0.2, 1.0, 5.0, 30.0, 60.0)
"""Seconds between attempts to ask what became of orders; the last one repeats."""


class PrivateConnection(Connection):
    """A connection to a private host. See :class:`Line` for the other arguments.

    Args:
        rest: fetches tokens, and tells what became of orders.
        errands: where that is done.
    """

    def __init__(
        self,
        name: str,
        target: Target,
        timing: Timing,
        context: Optional[ssl.SSLContext],
        taps: List[Stream],
        wake_watchdog: Callable[[], None],
        *,
        rest: Rest,
        errands: Errands,
    ) -> None:
        super().__init__(name, target, timing, context, taps, wake_watchdog, private=True)
        self._rest = rest
        self._errands = errands
        self._unused: Optional[Secret] = None
        self._unused_until = 0.0
        self._token_not_before = 0.0
        self._settle_not_before = 0.0
        self._settle_failures = 0
        self._keeps_orders = False
        self.on_alarm: Optional[Callable[[str], None]] = None
        """Told, on a thread of its own, that the dead man's switch is not being renewed."""

    # -- tokens ------------------------------------------------------------------------------

    def _prepare(self, deadline: float) -> None:
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
        with self.changed:
            self.session.use_token(self._unused, time.monotonic())

    def _came_up(self) -> None:
        self._unused = None  # from here on it is used
        super()._came_up()

    def _fetch(self, deadline: Optional[float]) -> Secret:
        token = self._rest.ws_token(deadline)["token"]
        assert isinstance(token, Secret)
        return token

    def renew_token(self, deadline: Optional[float]) -> None:
        """Have another token than the one that was refused. Blocks.

        Raises:
            KrakenError: there is none to be had.
        """
        with self.changed:
            if self.session.token is not None or not self.session.open:
                return
        token = self._fetch(deadline)
        with self.changed:
            if self.session.wants_token:
                self.session.use_token(token, time.monotonic())
            self.changed.notify_all()
        self.pump()

    def _with_token(self, message: Mapping[str, Any]) -> Mapping[str, Any]:
        params = message.get("params")
        if not isinstance(params, Mapping) or "token" in params:
            return message
        return {**message, "params": {**params, "token": self.session.token}}

    # -- what is kept ------------------------------------------------------------------------

    def keep_orders(self) -> None:
        """Keep the account's orders up to date from now on, if the key may see them. Does not block."""
        ask = check({"channel": "executions"})
        with self.changed:
            wish = self.session.registry.wishes.get(ask.keys()[0])
            if wish is not None or (self._keeps_orders and not self.session.account.orders.generation):
                return  # somebody has it, or it was refused
            self._keeps_orders = True
            if not self.session.subscribe_table(ask).refused:
                self._holds.add(ask.keys()[0], None, object())
        self.pump()

    def subscribe(self, ask: Ask, deadline: Optional[float], **how: Any) -> Call:
        """As :meth:`Connection.subscribe`.

        Raises:
            PermissionRefused: the API key may not see this channel.
        """
        try:
            return super().subscribe(ask, deadline, **how)
        except SubscriptionRefused as error:
            if not error.error.startswith(PERMISSION_DENIED):
                raise
            channel = ask.channel.name
            raise PermissionRefused(
                f"subscribe to {channel}", error.error, permission_for(channel), req_id=error.req_id
            ) from error

    # -- the watchdog's visit ----------------------------------------------------------------

    def check(self, now: float, judge: bool) -> None:
        """As :meth:`Line.check`; and a token that is missing, orders that are unsettled, an alarm."""
        with self.changed:
            wants_token = self.session.wants_token and now >= self._token_not_before
            self.session.account.orders.look_for_silent(now, min(SILENCE, self.timing.ack_timeout))
            unsettled = bool(self.session.account.orders.unsettled) and now >= self._settle_not_before
            alarm = self.session.switch.alarm(now) if self.session.switch is not None else None
        if wants_token:
            self._errands.add(f"token of {self.name}", self._renew)
        if unsettled and self.session.open:
            self._errands.add("unsettled orders", self._settle)
        if alarm is not None:
            self._raise_alarm(alarm)
        super().check(now, judge)

    def stop(self, deadline: float) -> None:
        """As :meth:`Line.stop`."""
        with self.changed:
            switch = self.session.switch if not self.closed else None
        if switch is not None:
            left = switch.left(time.monotonic())
            self._raise_alarm(
                f"the client is closed and the dead man's switch armed: the exchange cancels all orders in "
                f"{left:.0f} s"
            )
        super().stop(deadline)

    def _raise_alarm(self, words: str) -> None:
        log.critical("%s", words)
        if self.on_alarm is not None:  # the user's code, so on a thread of its own
            threading.Thread(
                target=self.on_alarm, args=(words,), name="kraken-sync-alarm", daemon=True
            ).start()

    def _renew(self) -> None:
        self._token_not_before = time.monotonic() + 1.0  # whatever happens, not at every tick
        try:
            self.renew_token(time.monotonic() + self.timing.connect_timeout)
        except KrakenError as error:
            if error.permanent:
                self.give_up(error)
                return
            log.warning("no WebSocket token: %s", error)
            pause = max(1.0, self.timing.maintenance_retry, patience(error))
            self._token_not_before = time.monotonic() + pause

    # -- orders of which something is missing ------------------------------------------------

    def _settle(self) -> None:
        """Ask the exchange what became of orders that a snapshot left open."""
        orders = self.session.account.orders
        with self.changed:
            names = list(orders.unsettled)[:ASKED_AT_ONCE]
        if not names:
            return
        asked_at = time.monotonic()
        found: Dict[str, Any] = {}
        failure: Optional[KrakenError] = None
        try:
            self._query_into(found, names, asked_at + self.timing.connect_timeout)
        except KrakenError as error:
            failure = error
            log.warning("%d orders are not settled: %s", len(names) - len(found), error)
        now = time.monotonic()
        with self.changed:
            before = len(orders.unsettled)
            for name, entry in found.items():
                orders.settle(name, entry, asked_at, now)
            progress = len(orders.unsettled) < before
            self.changed.notify_all()
        self._settle_failures = 0 if progress else self._settle_failures + 1
        wait = SETTLE_RETRIES[min(self._settle_failures, len(SETTLE_RETRIES) - 1)]
        self._settle_not_before = now + max(wait, patience(failure))
        if isinstance(failure, PermissionRefused):
            self._settle_not_before = float("inf")
        log.info("asked what became of %d orders", len(names))

    def _query_into(self, found: Dict[str, Any], names: List[str], deadline: float) -> None:
        """Ask for these orders; one id that the exchange does not know does not spoil the others."""
        try:
            answer = self.query_orders(names, deadline)
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

    def query_orders(self, names: List[str], deadline: Optional[float]) -> Dict[str, Any]:
        """What REST says of these orders, by id."""
        params = {"txid": ",".join(names), "trades": True}
        result = self._rest.request("POST", "/0/private/QueryOrders", params, deadline=deadline)
        return result if isinstance(result, dict) else {}


def patience(error: Optional[KrakenError]) -> float:
    """Seconds that the exchange asks for before the next try."""
    if not isinstance(error, RateLimited):
        return 0.0
    return LOCKOUT if "lockout" in error.error else 5.0
