"""The requests whose outcome is unknown: none is lost, none stays."""

from __future__ import annotations

import sys
import threading
from typing import Any, Iterator, List

import pytest

from kraken_sync.core.session.requests import TradingRequest
from kraken_sync.trading.outcomes import outcome_unknown
from kraken_sync.trading.unresolved import Unknown, Unresolved


def unknown(number: int, method: str = "add_order", **params: Any) -> Unknown:
    params = params or {"cl_ord_id": f"id-{number}"}
    request = TradingRequest(method, params, deadline=None, our_time=float(number))
    return Unknown(outcome_unknown(request, "no reply"), request)


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads change as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_none_is_lost(hasty_threads: None) -> None:
    """While one thread reconciles, the unknown orders of another stay."""
    unresolved, rounds = Unresolved(), 4000
    kept: List[Unknown] = [unknown(number) for number in range(rounds)]
    resolved: List[Unknown] = [unknown(rounds + number) for number in range(rounds)]

    def add_and_resolve() -> None:
        for one in resolved:
            unresolved.add(one)
            unresolved.settle(one, one.error.names[0])

    other = threading.Thread(target=add_and_resolve)
    other.start()
    for one in kept:
        unresolved.add(one)
    other.join()

    assert unresolved.errors() == [one.error for one in kept]


def test_a_batch_stays_until_each_order_is_known() -> None:
    """Reconciling the first does not forget the second."""
    unresolved = Unresolved()
    batch = unknown(1, "batch_add", orders=[{"cl_ord_id": "a"}, {"cl_ord_id": "b"}])
    unresolved.add(batch)
    unresolved.settle(batch, "a")
    assert unresolved.errors() == [batch.error]
    unresolved.settle(batch, "b")
    assert unresolved.errors() == []


def test_found_by_the_error_or_by_a_name() -> None:
    """This very request, also from a copied error; by a name the first one that has it."""
    unresolved = Unresolved()
    first, second = unknown(1, cl_ord_id="same"), unknown(2, cl_ord_id="same")
    for one in (first, second):
        unresolved.add(one)

    assert unresolved.find(second.error, "same") is second
    assert unresolved.find("same", "same") is first
    assert unresolved.find("other", "other") is None


def test_a_later_success_stands_for_all() -> None:
    """``cancel_all`` that succeeded takes all earlier ones off the list, and nothing else."""
    unresolved = Unresolved()
    for number, method in enumerate(("cancel_all", "add_order", "cancel_all")):
        unresolved.add(unknown(number, method))
    unresolved.resolve_method("cancel_all")

    assert [error.method for error in unresolved.errors()] == ["add_order"]
