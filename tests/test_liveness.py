"""When a connection is pinged, and when it counts as dead."""

from __future__ import annotations

from typing import Callable

import pytest
from conftest import PINGING, eventually

from kraken_sync import SpotWSClient, Timing
from kraken_sync.core.session.liveness import Liveness
from kraken_sync.simulator import Simulator

TIMING = Timing()


def dead_at(life: dict, subscribed: bool = True, until: float = 100.0) -> tuple:
    """Run a liveness clock in steps of 0.1 s: when did it ping, when did it give up, and why."""
    liveness, pings = Liveness(TIMING, 0.0), []
    for tenth in range(int(until * 10)):
        now = tenth / 10
        if life.get("frame", lambda _: False)(now):
            liveness.frame_at = now
        byte_at, message_at = life.get("bytes", lambda now: (0.0, None))(now)
        why = liveness.verdict(now, byte_at, message_at, subscribed)
        if why:
            return pings, now, why
        if liveness.ping_due(now, liveness.life_at(now, byte_at, message_at), subscribed):
            liveness.pinged(tenth, now)
            pings.append(now)
            if life.get("pong", lambda _: False)(now):
                liveness.ponged(tenth, now)
                liveness.frame_at = now
    return pings, None, None


def test_silence_is_fatal() -> None:
    """Subscribed and silent: pinged every second, and the end at 6 s."""
    pings, end, why = dead_at({})

    assert pings == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert end == 6.0
    assert "silent" in why


def test_silence_without_subscription_is_normal() -> None:
    """Unsubscribed, nothing comes but the answers to our pings, for ever."""
    pings, end, _ = dead_at({"pong": lambda now: True}, subscribed=False)

    assert end is None
    assert pings[:3] == [1.0, 2.0, 3.0]


def test_dead_outgoing_side() -> None:
    """Data alone does not hide that nothing we send arrives: an unanswered ping ends it."""
    pings, end, why = dead_at({"frame": lambda now: True})

    assert pings[0] == 1.0
    assert end == 11.0
    assert "pings unanswered" in why


def test_slow_message_is_life_for_a_while() -> None:
    """Bytes of one message in flight suspend both clocks for a minute, and not longer."""
    liveness = Liveness(TIMING, 0.0)
    assert liveness.life_at(59.0, 58.9, 0.5) == 58.9
    assert liveness.life_at(61.0, 60.9, 0.5) == 0.0

    _, end, why = dead_at({"bytes": lambda now: (now, 0.5)})
    assert end == pytest.approx(60.6)
    assert "silent" in why

    for seconds in (15.0, 40.0):  # then it is there, and the pong follows
        life = {
            "bytes": lambda now, seconds=seconds: (now, 0.5 if now < seconds else None),
            "frame": lambda now, seconds=seconds: now >= seconds,
        }
        assert dead_at(life, until=seconds + TIMING.pong_timeout - 0.5)[1] is None
        assert "pings unanswered" in dead_at(life)[2]


def test_stalled_message_is_not_life() -> None:
    """Half a message and then nothing is silence."""
    _, end, why = dead_at({"bytes": lambda now: (min(now, 2.0), 0.5)})

    assert end == 8.0
    assert "silent" in why


def test_age_is_of_the_ping_that_was_answered() -> None:
    """When frames arrive proves nothing: they may have waited while this process was stopped."""
    liveness = Liveness(TIMING, 100.0)
    assert liveness.proven_at == 100.0
    liveness.pinged(1, 101.0)
    liveness.frame_at = 121.0
    assert liveness.proven_at == 100.0
    assert liveness.stale(121.0)
    assert liveness.ponged(1, 121.1)
    assert liveness.proven_at == 101.0, "what was read before this pong is as old as its ping"
    assert liveness.stale(121.2)
    liveness.pinged(2, 121.2)
    assert liveness.ponged(2, 121.3)
    assert not liveness.stale(121.4)


def test_after_being_held_up_nothing_is_proven() -> None:
    """A late tick: stale at once, until a ping that is sent from then on is answered."""
    liveness = Liveness(TIMING, 0.0)
    liveness.pinged(1, 1.0)
    liveness.distrust(1.5)
    assert liveness.ponged(1, 1.6)
    assert liveness.stale(1.6)
    assert liveness.ping_due(1.6, 1.6, False), "it is asked at once"
    liveness.pinged(2, 1.6)
    liveness.ponged(2, 1.7)
    assert not liveness.stale(1.7)


def test_who_pings_seldom_knows_less() -> None:
    """A long ping interval makes books older, not always STALE."""
    liveness = Liveness(Timing(ping_interval=20.0), 0.0)

    assert not liveness.stale(39.0)
    assert liveness.stale(41.0)


def test_round_trip_time() -> None:
    """A pong tells the time it took, and answers the pings before it as well."""
    liveness = Liveness(TIMING, 0.0)
    liveness.pinged(1, 5.0)
    liveness.pinged(2, 10.0)

    assert liveness.ponged(2, 10.25)
    assert liveness.rtt == 0.25
    assert not liveness.ponged(1, 11.0)
    assert not liveness.ponged("x", 11.0)


def test_refused_pings_are_answers(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """A ping that is refused for the rate shows that the line works."""
    client = new_client(timing=PINGING)
    client.trades("XMR/BTC")
    exchange.faults.message_rate = 0
    eventually(lambda: len(exchange.requests("ping")) >= 3)

    assert exchange.connections == 1
