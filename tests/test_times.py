"""The exchange's clock and its times in text."""

from __future__ import annotations

import pytest

from kraken_sync.core.wire.times import ServerClock, parse_time, time_text


def test_the_exchanges_clock() -> None:
    """Learned from the quickest replies, and not from this machine's clock."""
    clock = ServerClock()
    assert clock.read(0.0) is None
    clock.heard("2026-01-05T10:00:00.500000Z", 0.0, 1.0)
    assert clock.read(0.5) == pytest.approx(1767607200.5)
    clock.heard("2026-01-05T10:00:10.900000Z", 2.0, 20.0)
    assert clock.read(0.5) == pytest.approx(1767607200.5), "a slow reply tells less"
    clock.heard("2026-01-05T10:00:30.100000Z", 30.0, 30.2)
    assert clock.read(30.1) == pytest.approx(1767607230.1)
    clock.heard("nonsense", 40.0, 40.0)
    assert parse_time(time_text(1767607200.123)) == pytest.approx(1767607200.123)
    for wrong in ("2026-13-05T10:00:00Z", "2026-W02-1T10:00:00Z", "2026-01-05 10:00:00Z", "2026-01-05", 7):
        assert parse_time(wrong) is None
    for whole in ("2026-01-05T10:00:00", "2026-01-05T10:00:00Z", "2026-01-05T10:00:00.000000000Z"):
        assert parse_time(whole) == 1767607200.0


def test_a_clock_that_has_jumped_is_read_anew() -> None:
    """This machine slept: a less sure reading that contradicts the old one wins."""
    clock = ServerClock()
    clock.heard(time_text(1000.0), 0.0, 0.001)
    clock.heard(time_text(5000.0), 100.0, 100.1)

    assert clock.read(100.1) == pytest.approx(5000.05, abs=0.1)
