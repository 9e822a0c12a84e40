"""A Ctrl-C at any moment leaves no lock behind."""

from __future__ import annotations

import logging
import random
import signal
import sys
import threading
import time
from typing import Any, List

import pytest
import stress_interrupts
from conftest import WAIT
from helpers import Handler

from kraken_sync import KrakenError
from kraken_sync.io import logs
from kraken_sync.io.logs import log
from kraken_sync.io.threads import GuardedThread
from kraken_sync.io.waiting import Condition, Event, run_locked

# An interrupt that arrives while Python runs a finalizer is printed by Python, and raised nowhere.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
promised = pytest.mark.skipif(
    sys.version_info < (3, 10),
    reason="3.9 looks for signals between any two instructions; docs/threads.rst tells users what remains",
)


class Interrupted(KeyboardInterrupt):
    """What the signal raises."""


due: List[bool] = []
"""Not empty if the next signal is to interrupt. A signal that comes late must not interrupt what follows."""


def interrupt(*_: Any) -> None:
    if due:
        due.clear()
        raise Interrupted


@pytest.fixture
def alarm() -> Any:
    """SIGALRM interrupts."""
    before = signal.signal(signal.SIGALRM, interrupt)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def free(lock: Any) -> bool:
    """Whether another thread can take ``lock``."""
    taken = []

    def take() -> None:
        taken.append(lock.acquire(timeout=1))
        if taken[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return bool(taken[0])


def interrupted(use: Any, after: float) -> None:
    """Run ``use`` over and over until the signal comes, ``after`` seconds from now."""
    until = 0.0

    def once() -> None:
        nonlocal until
        if time.monotonic() >= until:  # an interrupt that was raised nowhere is followed by another
            due.append(True)
            until = time.monotonic() + after + 0.1
            signal.setitimer(signal.ITIMER_REAL, after)
        use()

    with pytest.raises(Interrupted):
        while True:
            once()


@promised
def test_condition(alarm: Any) -> None:
    """Entering, waiting, notifying and leaving: the lock is free afterwards, only the signal is raised."""
    rng = random.Random(1)
    for _ in range(2000):
        condition = Condition("session")

        def use(condition: Condition = condition) -> None:
            with condition:
                condition.wait(0.0001) if rng.random() < 0.5 else condition.notify_all()

        interrupted(use, rng.uniform(0.00005, 0.0006))
        assert free(condition)


@promised
def test_run_locked(alarm: Any) -> None:
    """Taking a lock within a time, working, letting go."""
    rng = random.Random(1)
    for _ in range(1000):
        lock = threading.RLock()
        interrupted(lambda lock=lock: run_locked(lock, 1.0, lambda: True), rng.uniform(0.00005, 0.0003))
        assert free(lock)


def test_a_lock_that_another_has() -> None:
    """Not had in time: nothing is done, and the other one keeps it."""
    lock, go = threading.RLock(), threading.Event()
    held = threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            go.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    assert run_locked(lock, 0.01, lambda: True) is None
    assert not free(lock)
    go.set()
    thread.join()
    assert run_locked(lock, 1.0, lambda: True)


def test_a_clock_that_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a test of a user's has frozen the time, a wait raises and says so, instead of never ending."""
    now = time.monotonic()
    condition = Condition("session")
    monkeypatch.setattr(time, "monotonic", lambda: now)
    with condition, pytest.raises(KrakenError, match=r"the clock stands still: .*ignore=\['kraken_sync'\]"):
        condition.wait_until(lambda: False, now + 5)
    with condition:
        assert not condition.wait_until(lambda: False, now)


@promised
def test_interrupts_of_every_call() -> None:
    """No call outlives its timeout, and all work afterwards; .ci/run goes on to ten thousand interrupts."""
    seen = stress_interrupts.run(150, 7)

    assert seen.longest[0] < stress_interrupts.TIMEOUT + stress_interrupts.SLACK
    assert len(seen.interrupted) > 6


@promised
def test_starting_a_thread(alarm: Any) -> None:
    """Interrupted while it waits for the new thread, start() leaves that thread able to run."""
    rng = random.Random(1)
    begun: List[threading.Thread] = []
    ran: List[threading.Thread] = []

    def work() -> None:
        ran.append(threading.current_thread())

    def use() -> None:
        begun.append(GuardedThread("test", work, lambda error: None))
        begun[-1].start()

    for _ in range(300):
        interrupted(use, rng.uniform(0.00005, 0.0006))
    for thread in begun:
        if thread.ident is not None:
            thread.join(WAIT)
            assert thread in ran


@promised
def test_logging(alarm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupted while it logs: the lock of the user's handler is free, and the next record is handled."""
    monkeypatch.setattr(logs, "PATIENCE", WAIT)
    rng, logger, seen = random.Random(1), logging.getLogger("kraken_sync"), []
    handler = Handler(lambda record: seen.append(record.getMessage()))
    logger.addHandler(handler)
    try:
        for number in range(300):
            interrupted(lambda: log.warning("again"), rng.uniform(0.00005, 0.0006))
            assert free(handler.lock)
            log.warning("number %d", number)
            assert seen[-1] == f"number {number}"
    finally:
        logger.removeHandler(handler)


@promised
def test_event(alarm: Any) -> None:
    """The same for the lock inside an event."""
    rng = random.Random(1)
    for _ in range(1000):
        event = Event()

        def use(event: Event = event) -> None:
            event.set()
            event.clear()
            event.wait(0.0001)

        interrupted(use, rng.uniform(0.00005, 0.0006))
        assert free(event._cond)


def test_a_ctrl_c_at_the_worst_moment() -> None:
    """It comes when ``wait()`` is about to take its lock back, and is not hidden by what follows from
    that."""
    condition = Condition("session")

    def interrupted(state: object) -> None:
        raise KeyboardInterrupt

    condition._acquire_restore = interrupted
    with pytest.raises(KeyboardInterrupt), condition:
        condition.wait(0.01)
