"""Locks are taken in one order, and none is held while a user's code runs."""

from __future__ import annotations

import ast
import dis
import re
import sys
import threading
from collections import defaultdict
from pathlib import Path
from types import CodeType
from typing import Any, Callable, Dict, Iterator, List, Mapping, Set, Tuple

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, WAIT, S, eventually
from helpers import background

import kraken_sync
from kraken_sync import KrakenError, OrderOutcomeUnknown, SpotOrderBookClient, SpotWSClient
from kraken_sync.io import locks
from kraken_sync.io.locks import ORDER
from kraken_sync.simulator import Simulator

RANK = {name: rank for rank, name in enumerate(ORDER)}


class Watch:
    """What the threads hold, and what they took while holding something."""

    def __init__(self) -> None:
        self.held: Dict[int, List[Tuple[str, int]]] = defaultdict(list)
        self.pairs: Set[Tuple[str, str]] = set()
        self.inversions: Set[str] = set()

    def make(self, name: str, reentrant: bool) -> Any:
        return CheckedRLock(self, name) if reentrant else CheckedLock(self, name)

    def taken(self, name: str, lock: int) -> None:
        mine = self.held[threading.get_ident()]
        if any(other == lock for _, other in mine):
            mine.append((name, lock))
            return  # once more what it has
        for held, _ in mine:
            self.pairs.add((held, name))
            if RANK[held] >= RANK[name]:
                self.inversions.add(f"{name!r} was taken while {held!r} was held")
        mine.append((name, lock))

    def left(self, name: str, lock: int) -> None:
        self.held[threading.get_ident()].remove((name, lock))

    @property
    def mine(self) -> List[str]:
        return [name for name, _ in self.held[threading.get_ident()]]


class CheckedLock:
    """As ``threading.Lock``, telling the watch."""

    def __init__(self, watch: Watch, name: str) -> None:
        self._watch, self._name, self._lock = watch, name, self._new()

    def _new(self) -> Any:
        return threading.Lock()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        had = self._lock.acquire(blocking, timeout)
        if had:
            self._watch.taken(self._name, id(self))
        return had

    def release(self) -> None:
        self._lock.release()  # raises for who does not hold it
        self._watch.left(self._name, id(self))

    __enter__ = acquire

    def __exit__(self, *error: object) -> None:
        self.release()


class CheckedRLock(CheckedLock):
    """As ``threading.RLock``, with what ``threading.Condition`` asks of one."""

    def _new(self) -> Any:
        return threading.RLock()

    def _is_owned(self) -> bool:
        return self._lock._is_owned()

    def _release_save(self) -> Any:
        state, count = self._lock._release_save(), self._watch.mine.count(self._name)
        for _ in range(count):
            self._watch.left(self._name, id(self))
        return state, count

    def _acquire_restore(self, saved: Any) -> None:
        state, count = saved
        self._lock._acquire_restore(state)
        for _ in range(count):
            self._watch.taken(self._name, id(self))


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Every lock made from now on is watched; in the end nothing was taken the wrong way round."""
    made = Watch()
    monkeypatch.setattr(locks, "checked", made.make)
    yield made
    assert made.inversions == set()


def test_one_order(watch: Watch, new_client: Callable[..., Any], exchange: Simulator) -> None:
    """Books, streams, callbacks, orders, lost replies, reconnects, dying tokens, REST, a close under load."""
    told: List[Any] = []
    trader = new_client(key=CANARY_KEY, secret=CANARY_SECRET, callback=told.append)
    books = new_client(SpotOrderBookClient, callback=lambda pair, message: books.get(pair))
    books.add_book(["BTC/USD"])
    book, trades = trader.book(S), trader.trades(S)
    trader.order_gate.require(book)
    trader.order_gate.policy = "hold"
    switch = trader.dead_mans_switch(60)
    with switch:
        for fault in ("none", "lost", "cut", "token", "mismatch"):
            exchange.faults.drop_replies = int(fault == "lost")
            if fault == "cut":
                exchange.cut()
            elif fault == "token":
                exchange.revoke_tokens()
            elif fault == "mismatch":
                exchange.faults.bad_checksum[S] = 1
            exchange.step(200, [S])
            try:
                placed = trader.add_order(**FAR, timeout=2)
                trader.orders.wait_open(placed["order_id"])
                trader.cancel_order(order_id=placed["order_id"])
            except OrderOutcomeUnknown as error:
                trader.reconcile(error, timeout=WAIT)
            except KrakenError:
                pass  # the fault may well lead to it
            eventually(lambda: str(book.state) == "LIVE")
            exchange.step(50, [S])
            trades.get(WAIT)
    assert trader.balance["USD"] > 0
    trader.unsubscribe({"channel": "trade", "symbol": [S]})
    busy = background(trader.executions)
    trader.close()
    busy["thread"].join(WAIT)
    books.close()

    assert told
    names = {name for pair in watch.pairs for name in pair}
    assert {"send", "session", "kept books", "life"} <= names
    assert not [pair for pair in watch.pairs if pair[0] == "session" and pair[1] not in ("event",)]


def test_predicates_run_without_a_lock(
    watch: Watch, new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """Of orders, balances and books; and callbacks."""
    held: List[List[str]] = []

    def look(value: Any) -> bool:
        held.append(watch.mine)
        return True

    trader = new_client(key=CANARY_KEY, secret=CANARY_SECRET, callback=look)
    placed = trader.add_order(**FAR)
    trader.orders.wait_until(placed["order_id"], look, WAIT)
    trader.balance.wait_until(look, WAIT)
    trader.book(S).wait_until(look, WAIT)
    eventually(lambda: len(held) >= 4)

    assert held == [[] for _ in held]


def test_a_slow_predicate_holds_up_nobody(trader: SpotWSClient) -> None:
    """Another thread's order is placed while somebody's predicate takes its time."""
    first = trader.add_order(**FAR)
    entered, go_on = threading.Event(), threading.Event()

    def slow(value: Any) -> bool:
        entered.set()
        return go_on.wait(WAIT)

    waiting = [
        background(trader.orders.wait_until, first["order_id"], slow, WAIT),
        background(trader.balance.wait_until, slow, WAIT),
    ]
    assert entered.wait(WAIT)
    second = trader.add_order(**FAR, timeout=WAIT / 2)
    go_on.set()
    for one in waiting:
        one["thread"].join(WAIT)
        assert "error" not in one

    assert second["order_id"] != first["order_id"]


def test_a_predicate_may_use_the_client(trader: SpotWSClient) -> None:
    """It runs in the caller's thread with frozen values, so it may do what callers may do."""
    placed = trader.add_order(**FAR)

    def cancels(order: Any) -> bool:
        if order.is_open and order.status != "pending_new":
            trader.cancel_order(order_id=order.order_id)
        return bool(order.is_done)

    assert trader.orders.wait_until(placed["order_id"], cancels, WAIT).status == "canceled"

    def immutable(totals: Mapping[str, Any]) -> bool:
        with pytest.raises(TypeError):
            totals["USD"] = 0
        return True

    trader.balance.wait_until(immutable, WAIT)


def codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and those within it."""
    yield code
    for part in code.co_consts:
        if isinstance(part, CodeType):
            yield from codes(part)


LEAVES_ITS_LOCK = """
def take(self):
    with self._lock:
        for one in self._all:
            if one:
                one()
"""


def unguarded(source: str, name: str) -> List[str]:
    """Where a loop within a lock goes back, without a handler for an exception that is raised there."""
    found = []
    guarded = [
        (one.body[0].lineno, one.body[-1].end_lineno or 0)
        for one in ast.walk(ast.parse(source))
        if isinstance(one, ast.With)
        and re.search("lock|_ready|_changed|localcontext", ast.unparse(one.items[0].context_expr))
    ]
    for code in codes(compile(source, name, "exec")):
        if code.co_name.startswith("<"):  # a comprehension of its own: the call of it is in the block
            continue
        instructions = dis.Bytecode(code)
        for one in instructions:
            line = one.positions.lineno if one.positions is not None else None
            if (
                one.opname == "JUMP_BACKWARD"
                and line is not None
                and not any(each.start <= one.offset < each.end for each in instructions.exception_entries)
                and any(code.co_firstlineno <= first <= line <= last for first, last in guarded)
            ):
                found.append(f"{name}:{line} {code.co_name}")
    return found


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there are no exception tables")
def test_a_ctrl_c_at_the_end_of_a_loop() -> None:
    """Where a loop goes back and looks for signals, a lock taken around it is released.

    CPython 3.12 and 3.13 have no handler there if the last statement is an ``if``, or the loop a ``while``:
    such loops belong into a function of their own.
    """
    if (3, 12) <= sys.version_info < (3, 14):
        assert unguarded(LEAVES_ITS_LOCK, "example.py")
    root = Path(kraken_sync.__file__).parent
    found = [unguarded(path.read_text("utf-8"), str(path.relative_to(root))) for path in root.rglob("*.py")]
    assert [one for one in found if one] == []
