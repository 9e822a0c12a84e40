"""The alarm of the dead man's switch: it tells the switch's owner that it is not being renewed.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/cancel_after.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any, Callable, Optional, Tuple

from ...core.session.session import Session
from ..logs import log
from .chores import Served

OnFailure = Optional[Callable[[str], Any]]


class SwitchAlarm:
    """Watches the dead man's switch of one connection, if one is armed."""

    def visit(self, connection: Served, now: float) -> None:
        """Raise the alarm if it is due. Does not block."""
        alarm = connection.read(partial(_alarm, now))
        if alarm is not None:
            _raise(*alarm)

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


def _alarm(now: float, session: Session) -> Optional[Tuple[str, OnFailure]]:
    switch = session.switch
    words = switch.alarm(now) if switch is not None else None
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
