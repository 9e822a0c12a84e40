"""Waits and budgets, with a clock of our own."""

from __future__ import annotations

import random

from kraken_sync.core.session.budgets import ConnectionBudget, TokenBucket
from kraken_sync.core.timing import Timing, retry_delay

TIMING = Timing()


def test_retry_delays_grow_to_the_cap() -> None:
    """The first retry is quick, later ones double up to the cap, and jitter goes from 0."""
    assert [retry_delay(n, TIMING, 1.0) for n in range(9)] == [1, 1, 2, 4, 8, 16, 30, 30, 30]
    assert retry_delay(10**6, TIMING, 1.0) == 30
    assert retry_delay(5, TIMING, 0.0) == 0


def test_budget_holds_in_every_window() -> None:
    """However attempts are spread, no window ever holds more than allowed."""
    rng, budget, now, taken = random.Random(3), ConnectionBudget(12, 60.0), 0.0, []
    while len(taken) < 400:
        wait = budget.wait(now)
        if wait == 0.0:
            taken.append(now)
            now += rng.choice((0.0, 0.1, 3.0, 20.0))
        else:
            assert wait <= 60.0
            now += wait
    for first in range(len(taken) - 12):
        assert taken[first + 12] - taken[first] >= 60.0 - 1e-6


def test_bucket_paces() -> None:
    """A burst at once, then the rate; a pause stops everything and leaves no burst behind."""
    bucket = TokenBucket(rate=10, burst=5)

    assert sum(bucket.take(100.0) for _ in range(20)) == 5
    assert sum(bucket.take(100.5) for _ in range(20)) == 5
    assert sum(bucket.take(101.0 + n * 0.01) for n in range(100)) in range(13, 16)

    bucket.pause(110.0)
    assert not bucket.take(109.9)
    assert sum(bucket.take(110.0) for _ in range(20)) <= 1
