"""The dead man's switch of a connection: its renewal over REST while the connection is down, and its alarm.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/cancel_after.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any, Callable, Optional, Tuple

from ...core.session.dead_mans_switch import SwitchRenewals
from ...core.session.session import Session
from ...core.timing import Timing
from ...errors import ConnectFailed, KrakenError, RequestRefused
from ..logs import log
from ..rest import Rest
from ..worker import Worker
from .chores import Served

OnFailure = Optional[Callable[[str], Any]]


class SwitchAlarm:
    """Watches the dead man's switch of one connection, if one is armed.

    Args:
        rest: renews the switch while there is no connection.
        worker: the thread on which that is done.
        timing: the time limits.
    """

    def __init__(self, rest: Rest, worker: Worker, timing: Timing) -> None:
        self._rest = rest
        self._worker = worker
        self._timing = timing

    def visit(self, connection: Served, now: float) -> None:
        """Raise the alarm if it is due, and have the switch renewed over REST. Does not block."""
        if not connection.open and connection.read(partial(_due, now)):
            self._worker.add("dead man's switch", partial(self._renew, connection))
        alarm = connection.read(partial(_alarm, now))
        if alarm is not None:
            _raise(*alarm)

    def _renew(self, connection: Served) -> None:
        now = time.monotonic()
        switch = connection.change(partial(_begin, now))
        if switch is None:
            return  # it is not armed any more
        failure: Optional[str] = "the renewal was interrupted"
        answered = False
        try:
            self._rest.request(
                "POST",
                "/0/private/CancelAllOrdersAfter",
                {"timeout": switch.timeout},
                deadline=now + min(self._timing.connect_timeout, switch.timeout / 3),
            )
            failure, answered = None, True
        except KrakenError as error:
            failure, answered = str(error), isinstance(error, (RequestRefused, ConnectFailed))
        finally:
            connection.change(partial(_ended, switch, now, failure, answered))
        if failure is None:
            log.info("the dead man's switch was renewed over REST, because there is no WebSocket connection")

    def stopping(self, connection: Served) -> None:
        """Raise the alarm if the connection is stopped while its switch is armed. Does not block."""
        # Closing does not disarm the switch; only leaving its with block does.
        armed = None if connection.closed else connection.read(_armed)
        if armed is not None:
            left, on_failure = armed
            _raise(
                "the client is closed, or started anew, while the dead man's switch is armed: the exchange "
                f"cancels all orders in {left:.0f} s",
                on_failure,
            )


def _due(now: float, session: Session) -> bool:
    return session.switch is not None and session.switch.due(now)


def _begin(now: float, session: Session) -> Optional[SwitchRenewals]:
    switch = session.switch
    if switch is None or not switch.due(now):
        return None
    switch.asked_elsewhere(now)
    return switch


def _ended(
    switch: SwitchRenewals, sent_at: float, failure: Optional[str], answered: bool, session: Session
) -> None:
    # Its owner may have left the with block meanwhile, and waits for this.
    switch.ended_elsewhere(sent_at, failure, answered)


def _alarm(now: float, session: Session) -> Optional[Tuple[str, OnFailure]]:
    switch = session.switch
    words = None
    if switch is not None:
        words = switch.alarm(now) or switch.warning(session.exchange.announcements)
    return None if words is None or switch is None else (words, switch.on_failure)


def _armed(session: Session) -> Optional[Tuple[float, OnFailure]]:
    switch = session.switch
    return None if switch is None else (switch.left(time.monotonic()), switch.on_failure)


def _raise(words: str, on_failure: OnFailure) -> None:
    log.critical("%s", words)
    if on_failure is not None:  # the user's code, so on a thread of its own
        try:
            threading.Thread(
                target=_call, args=(on_failure, words), name="kraken-sync-alarm", daemon=True
            ).start()
        except RuntimeError as error:
            log.critical("on_failure cannot be called: %s", error)


def _call(on_failure: Callable[[str], Any], words: str) -> None:
    try:
        on_failure(words)
    except BaseException as error:
        log.error("your on_failure raised %r", error, error=error)
