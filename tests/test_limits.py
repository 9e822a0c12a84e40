"""Waits and budgets, with a clock of our own."""

from __future__ import annotations

import random

from kraken_sync.core.session.session.liveness import Liveness

from kraken_sync.core.timing import ConnectionBudget, Timing, TokenBucket, retry_delay

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


def dead_at(life: dict, subscribed: bool = True, until: float = 100.0) -> tuple:
    """Run a liveness clock in steps of 0.1 s: when did it ping, when did it give up, and why."""
    liveness, pings = Liveness(TIMING, 0.0), []
    for tenth in range(int(until * 10)):
        now = tenth / 10
        if life.get("frame", lambda _: False)(now):
            liveness.frame_at = now
        byte_at, message_at = life.get("bytes", lambda now: (0.0, None))(now)
        at = liveness.life_at(now, byte_at, message_at)
        why = liveness.verdict(now, at, subscribed)
        if why:
            return pings, now, why
        if liveness.ping_due(now, at, subscribed):
            liveness.pinged(tenth, now)
            pings.append(now)
            if life.get("pong", lambda _: False)(now):
                liveness.ponged(tenth, now)
                liveness.frame_at = now
    return pings, None, None


def test_silence_is_probed_then_fatal() -> None:
    """Subscribed and silent: a ping at 3 s, the end at 6 s."""
    pings, end, why = dead_at({})

    assert pings[0] == 3.0
    assert end == 6.0
    assert "silent" in why


def test_silence_without_subscription_is_normal() -> None:
    """Unsubscribed, nothing comes but the answers to our pings, for ever."""
    pings, end, _ = dead_at({"pong": lambda now: True}, subscribed=False)

    assert end is None
    assert pings[:3] == [5.0, 10.0, 15.0]


def test_dead_outgoing_side() -> None:
    """Data alone does not hide that nothing we send arrives: two unanswered pings end it."""
    pings, end, why = dead_at({"frame": lambda now: True})

    assert pings == [5.0, 10.0]
    assert end == 15.0
    assert "pings unanswered" in why


def test_slow_message_is_life_for_a_while() -> None:
    """Bytes of one message keep the connection for a minute, not longer."""
    life = {"bytes": lambda now: (now, 0.5), "pong": lambda now: True}
    liveness = Liveness(TIMING, 0.0)

    assert liveness.life_at(59.0, 58.9, 0.5) == 58.9
    assert liveness.life_at(61.0, 60.9, 0.5) == 0.0
    assert dead_at({**life, "bytes": lambda now: (min(now, 2.0), 0.5)})[1] is None  # pongs are life, too


def test_stalled_message_is_not_life() -> None:
    """Half a message and then nothing is silence."""
    _, end, why = dead_at({"bytes": lambda now: (min(now, 2.0), 0.5)})

    assert end == 8.0
    assert "silent" in why


def test_round_trip_time() -> None:
    """A pong tells the time it took, and answers the pings before it as well."""
    liveness = Liveness(TIMING, 0.0)
    liveness.pinged(1, 5.0)
    liveness.pinged(2, 10.0)

    assert liveness.ponged(2, 10.25)
    assert liveness.rtt == 0.25
    assert not liveness.ponged(1, 11.0)
    assert not liveness.ponged("x", 11.0)
