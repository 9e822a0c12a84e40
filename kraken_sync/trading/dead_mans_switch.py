"""The dead man's switch as a context manager."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Callable, Optional

from ..core.session.dead_mans_switch import DeadMan
from ..errors import OrderOutcomeUnknown
from ..io.connection.private import PrivateConnection
from ..io.deadline import deadline_of

if TYPE_CHECKING:
    from . import Trading

log = logging.getLogger("kraken_sync")

ARM_TIMEOUT = 10.0
"""Seconds for arming it, a lost reply included."""


class DeadMansSwitch:
    """Armed while its ``with`` block runs: if this program dies, the exchange cancels all orders of the
    account.

    The watchdog renews it, also across reconnects. If renewals fail, or the owner is stuck, a CRITICAL log
    line says so when a third of the time is left, and ``on_failure`` is called with the same words. Leaving
    the block disarms it; leaving it by an exception does not, so that the exchange cancels what the failed
    program left behind.

    The exchange also fires it when its engine returns from maintenance: leave the block before a planned one.
    """

    def __init__(
        self,
        client: Trading,
        timeout: int,
        stuck_after: Optional[float],
        on_failure: Optional[Callable[[str], Any]],
    ) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int) or not 3 <= timeout < 86400:
            raise ValueError(f"timeout must be 3 to 86399 whole seconds, not {timeout!r}")
        if stuck_after is not None and not stuck_after > 0:
            raise ValueError(f"stuck_after must be seconds or None, not {stuck_after!r}")
        self._client = client
        self._timeout = timeout
        self._stuck_after = stuck_after
        self._on_failure = on_failure
        self._line: Optional[PrivateConnection] = None
        self._switch: Optional[DeadMan] = None

    def feed(self) -> None:
        """Say that the owner is alive; needed with ``stuck_after`` only. Any thread."""
        if self._switch is not None:
            self._switch.feed(time.monotonic())

    @property
    def left(self) -> float:
        """Seconds until the exchange cancels everything, if it is not renewed."""
        return 0.0 if self._switch is None else self._switch.left(time.monotonic())

    @property
    def failure(self) -> str:
        """Why the last renewal failed; empty while all is well."""
        if self._switch is None or self._line is None:
            return "not armed"
        return "the client was closed" if self._line.closed else self._switch.failure

    def __enter__(self) -> DeadMansSwitch:
        line = self._client._private("the dead man's switch", 10.0)
        with line.changed:
            if line.session.switch is not None:
                raise ValueError(
                    "this client has a dead man's switch already, and it is for the whole account"
                )
        sent_at = self._arm()
        switch = DeadMan(self._timeout, self._stuck_after, sent_at)
        with line.changed:
            line.session.switch = switch
            line.on_alarm = self._on_failure
        self._line, self._switch = line, switch
        return self

    def _arm(self) -> float:
        """Arm it; returns when the request was sent."""
        params = {"timeout": self._timeout}
        ends = deadline_of(ARM_TIMEOUT)
        try:
            request, _ = self._client._trade_twice("cancel_all_orders_after", params, ends)
        except OrderOutcomeUnknown:
            log.critical(
                "the dead man's switch may be armed, and nobody renews it: all orders may go in %d s",
                self._timeout,
            )
            raise
        assert request is not None
        self._client._result(request, params)
        return request.sent_at

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        line, switch = self._line, self._switch
        if line is None or switch is None:
            return
        with line.changed:
            line.session.switch = None
            line.on_alarm = None
        left = switch.left(time.monotonic())
        self._switch = None
        if kind is not None:
            log.warning(
                "the dead man's switch stays armed: all orders are canceled in %.0f s; "
                "client.cancel_all_orders_after(timeout=0) disarms it",
                left,
            )
            return
        try:
            self._client.cancel_all_orders_after(timeout=0)
        except BaseException:
            log.critical(
                "the dead man's switch could not be disarmed: all orders are canceled in %.0f s", left
            )
            raise

    def __repr__(self) -> str:
        if self._switch is None:
            return f"<dead man's switch of {self._timeout} s, not armed: use it in a with statement>"
        return f"<dead man's switch of {self._timeout} s, {self.left:.0f} s left>"
