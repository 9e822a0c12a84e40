"""The watchdog: its ticks, and what it does when it was late."""

from __future__ import annotations

import threading
import time
from typing import Any

from conftest import WAIT, S

from kraken_sync import SpotWSClient
from kraken_sync.io.watchdog import Watchdog


def test_watchdog_that_was_late_waits_an_interval() -> None:
    """After a late tick an early wake does not count as the interval for draining."""
    calls: list = []
    done = threading.Event()

    class Visited:
        def visit(self, now: float, judge: bool) -> None:
            calls.append((now, judge))
            if len(calls) == 1:
                time.sleep(1.0)  # the watchdog itself is held up
            if len(calls) < 4:
                watchdog.wake()
            else:
                done.set()

    watchdog = Watchdog([Visited()], 0.3)
    watchdog.start()
    watchdog.wake()
    assert done.wait(WAIT)
    watchdog.stop()
    watchdog.join(WAIT)
    late = calls[1][0]

    assert all(not judge for now, judge in calls[1:] if now < late + 0.3)


def test_watchdog_does_not_spin(client: SpotWSClient) -> None:
    """While another thread holds the line for sending, the watchdog comes back at its next tick."""
    connection: Any = client.trades(S)._connection
    visits, real = [], connection.visit

    def counted(now: float, judge: bool) -> None:
        visits.append(now)
        real(now, judge)

    connection.visit = counted
    with connection._room.transport._send_lock:
        connection._wake_watchdog()
        threading.Event().wait(0.5)

    assert 1 <= len(visits) < 100
