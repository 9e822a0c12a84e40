"""When a connection is pinged, and when it counts as dead."""

from __future__ import annotations

from typing import Callable

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


def test_third_ping_does_not_postpone_the_verdict() -> None:
    """Two unanswered pings are enough, however often somebody asks for what is due."""
    liveness, now = Liveness(Timing(), 0.0), 0.0
    while liveness.verdict(now, now, False) is None and now < 60:
        now += 0.05
        if liveness.ping_due(now, now, False):
            liveness.pinged(int(now * 100), now)

    assert now < 15.2


def test_refused_pings_are_answers(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """A ping that is refused for the rate shows that the line works."""
    client = new_client(timing=PINGING)
    client.trades("XMR/BTC")
    exchange.faults.message_rate = 0
    eventually(lambda: len(exchange.requests("ping")) >= 3)

    assert exchange.connections == 1
