"""Histories of orders under faults; see ``stress_orders.py``, which runs thousands of them."""

from __future__ import annotations

from collections import Counter
from typing import Iterator

import pytest
from conftest import some_slow
from stress_orders import World, every_byte, history, sent_twice

from kraken_sync import set_connection_budget


@pytest.fixture
def world() -> Iterator[World]:
    """An exchange of its own, behind a line that may be cut."""
    set_connection_budget(10**9, 600.0)
    made = World(3)
    yield made
    made.close()
    set_connection_budget()


@pytest.mark.parametrize("seed", some_slow(6, (0, 3)))
def test_histories(seed: int, world: World) -> None:
    """Whatever breaks: at most one order per call, every outcome true, every unknown reconciled."""
    counts: Counter = Counter()
    history(seed, world, counts)

    assert not sent_twice(world)
    assert counts["histories"] == 1


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("way", "step", "cuts", "enough"),
    [
        ("websocket", 30, 24, 1),
        pytest.param("rest", 100, 16, 1, marks=pytest.mark.slow),
        pytest.param("websocket", 5, 144, 10, marks=pytest.mark.slow),
        pytest.param("rest", 10, 147, 10, marks=pytest.mark.slow),
    ],
)
def test_a_cut_at_any_byte(world: World, way: str, step: int, cuts: int, enough: int) -> None:
    """Of an order's request, and of what comes back: a sample here, every one in the stress run."""
    counts: Counter = Counter()
    every_byte(world, counts, step=step, way=way)

    assert sum(count for name, count in counts.items() if name.startswith(("cut up", "cut down"))) == cuts
    assert counts[f"cut ({way}), reconciled: live"] > enough
    assert counts[f"cut ({way}), reconciled: never arrived"] > enough
