"""The dead man's switch as a context manager."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Callable, Optional

from ..core.session import account_views
from ..core.session.dead_mans_switch import SwitchRenewals
from ..errors import KrakenError, OrderOutcomeUnknown
from ..io.connection.connection import Connection
from ..io.logs import log
from ..io.waiting import deadline_of
from ..runtime import Runtime
from .sender import OrderSender

SECOND = "this client has a dead man's switch already, and it is for the whole account"
ARM_TIMEOUT = 10.0
"""Seconds for arming or disarming, including a repetition after a lost reply."""


class DeadMansSwitch:
    """The exchange's dead man's switch, armed while a ``with`` block runs.

    If this program dies, or cannot reach the exchange for ``timeout`` seconds, the exchange cancels all
    orders of the account. The watchdog's thread renews the switch, also across reconnects. If renewals fail,
    or the owner is stuck, this is logged as CRITICAL when a third of the time is left, and ``on_failure`` is
    called with the same text.

    Leaving the block disarms the switch. Leaving it by an exception does not, so that the exchange cancels
    what the failed program left behind. Entering and leaving block up to 10 seconds each.

    The exchange also cancels all orders when its engine returns from maintenance with the switch armed: leave
    the block before a planned maintenance.

    Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/cancel_after.

    Args:
        runtime: the client's connections.
        sender: sends the requests for arming and disarming.
        timeout: whole seconds without a renewal after which the exchange cancels, 3 to 86399.
        stuck_after: seconds without a call of :meth:`feed` after which renewing stops; None to always renew.
        on_failure: called with a text, on a thread of its own, when the switch is not being renewed, and when
            an announced maintenance is near, in which it may cancel all orders.

    Raises:
        ValueError: ``timeout`` or ``stuck_after`` is out of range; or, on entering, the client has an armed
            switch already.
        OrderRejected, OrderNotSent, OrderOutcomeUnknown: arming or disarming failed.
    """

    def __init__(
        self,
        runtime: Runtime,
        sender: OrderSender,
        timeout: int,
        stuck_after: Optional[float],
        on_failure: Optional[Callable[[str], Any]],
    ) -> None:
        if isinstance(timeout, bool) or not isinstance(timeout, int) or not 3 <= timeout < 86400:
            raise ValueError(f"timeout must be 3 to 86399 whole seconds, not {timeout!r}")
        if stuck_after is not None and not stuck_after > 0:
            raise ValueError(f"stuck_after must be seconds or None, not {stuck_after!r}")
        self._runtime = runtime
        self._sender = sender
        self._timeout = timeout
        self._stuck_after = stuck_after
        self._on_failure = on_failure
        self._connection: Optional[Connection] = None
        self._switch: Optional[SwitchRenewals] = None

    def feed(self) -> None:
        """Note that the owner is alive; needed only with ``stuck_after``. Any thread; does not block."""
        if self._switch is not None:
            self._switch.feed(time.monotonic())

    @property
    def left(self) -> float:
        """Seconds until the exchange cancels all orders, if the switch is not renewed; 0 if it is
        not armed.
        """
        return 0.0 if self._switch is None else self._switch.left(time.monotonic())

    @property
    def failure(self) -> str:
        """Why the last renewal failed; empty if it succeeded."""
        if self._switch is None or self._connection is None:
            return "not armed"
        return "the client was closed" if self._connection.closed else self._switch.failure

    def __enter__(self) -> DeadMansSwitch:
        connection = self._sender.connection("cancel_all_orders_after", deadline_of(ARM_TIMEOUT))
        if connection.read(account_views.switch) is not None:
            raise ValueError(SECOND)
        sent_at = self._arm()
        switch = SwitchRenewals(self._timeout, self._stuck_after, sent_at, self._on_failure)
        if not connection.change(lambda session: account_views.use_switch(session, switch)):
            raise ValueError(SECOND)  # another thread was faster; arming twice is arming once
        self._connection, self._switch = connection, switch
        return self

    def _arm(self) -> float:
        """Arm the switch, and return when the request was sent (monotonic seconds)."""
        params = {"timeout": self._timeout}
        try:
            request, _ = self._sender.send_repeatable(
                "cancel_all_orders_after", params, deadline_of(ARM_TIMEOUT)
            )
        except OrderOutcomeUnknown:
            log.critical(
                "the dead man's switch may be armed, and nobody renews it: all orders may go in %d s",
                self._timeout,
            )
            raise
        assert request is not None
        self._sender.result(request, params)
        return request.sent_at

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        connection, switch = self._connection, self._switch
        if connection is None or switch is None:
            return
        # Stop renewing first: a renewal that is sent after the disarming would arm the switch again.
        connection.change(lambda session: account_views.use_switch(session, None))
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
            # One that is under way over REST could overtake the disarming over WebSocket.
            with contextlib.suppress(KrakenError):  # closed or given up: then it is not sent any more
                connection.wait(lambda session: not switch.elsewhere, deadline_of(ARM_TIMEOUT))
            self._sender.for_all("cancel_all_orders_after", {"timeout": 0}, deadline_of(ARM_TIMEOUT))
            if switch.elsewhere or switch.doubtful:
                # It may arrive still. With a higher nonce behind it, the exchange refuses it.
                request = self._sender.request(
                    "cancel_all_orders_after", {"timeout": 0}, deadline_of(ARM_TIMEOUT)
                )
                self._sender.over_rest(request)
        except BaseException:
            log.critical(
                "the dead man's switch could not be disarmed: all orders are canceled in %.0f s", left
            )
            raise

    def __repr__(self) -> str:
        if self._switch is None:
            return f"<dead man's switch of {self._timeout} s, not armed: use it in a with statement>"
        return f"<dead man's switch of {self._timeout} s, {self.left:.0f} s left>"
