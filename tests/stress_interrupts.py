"""Ctrl-C at random moments of every kind of blocking call: none outlives its timeout, and nothing is stuck.

python tests/stress_interrupts.py --count 10000 --seed 5

Afterwards each kind of call must still work, also from another thread.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import threading
import time
from typing import Any, Callable, Dict, List, Tuple

from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, S, eventually

from kraken_sync import KrakenError, SpotWSClient, set_connection_budget
from kraken_sync.simulator import Simulator

TIMEOUT = 3.0
SLACK = 1.0
"""Seconds that a call may take beyond its timeout on a machine that is busy."""


class Interrupts:
    """What happened: how many calls of each kind were interrupted or answered, and the longest one."""

    def __init__(self) -> None:
        self.interrupted: Dict[str, int] = {}
        self.answered: Dict[str, int] = {}
        self.longest: Tuple[float, str] = (0.0, "")


def calls(client: SpotWSClient) -> Dict[str, Callable[[], Any]]:
    """One call of each kind, each with the same timeout."""
    book = client.book(S)

    def wait() -> Any:
        # Not for a certain version: changes are combined, so a busy machine may never see it.
        later = book.stale.snapshot(1).version + 10
        return book.wait_until(lambda state: state.version >= later, timeout=TIMEOUT)

    return {
        "rest": lambda: client.request("POST", "/0/private/Balance", timeout=TIMEOUT),
        "public rest": lambda: client.rest.time(timeout=TIMEOUT),
        "token": lambda: client.get_ws_token(timeout=TIMEOUT),
        "ping": lambda: client.send_message({"method": "ping"}, timeout=TIMEOUT),
        "order": lambda: client.add_order(**FAR, timeout=TIMEOUT),
        "cancel all": lambda: client.cancel_all(timeout=TIMEOUT),
        "subscribe": lambda: client.ticker("ETH/USD", timeout=TIMEOUT).unsubscribe(),
        "book": lambda: client.book("XRP/USD", timeout=TIMEOUT).unsubscribe(),
        "wait": wait,
        "balance": lambda: client.balance.get("USD"),
    }


def run(count: int, seed: int) -> Interrupts:
    """Interrupt so many calls, and return what happened. Main thread only."""
    rng, seen = random.Random(seed), Interrupts()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    set_connection_budget(1_000_000)
    before = signal.signal(signal.SIGALRM, interrupt)
    with Simulator(rate=200, tier=None) as exchange:
        exchange.add_key(CANARY_KEY, CANARY_SECRET)
        # An interrupted send ends its connection, since half a frame may have left: many reconnects follow.
        client = exchange.client(key=CANARY_KEY, secret=CANARY_SECRET, order_gate="open", timing=FAST)
        try:
            client.start()
            kinds = calls(client)
            typical = {name: duration(call) for name, call in kinds.items()}
            while sum(seen.interrupted.values()) < count:
                name = rng.choice(list(kinds))
                one_call(name, kinds[name], rng.uniform(1e-5, 1.3 * typical[name] + 2e-4), seen)
            eventually(lambda: client.state == "CONNECTED")
            check(kinds)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            set_connection_budget()
            client.close()
    return seen


def duration(call: Callable[[], Any]) -> float:
    """Seconds of one undisturbed call."""
    started = time.monotonic()
    call()
    return min(0.05, time.monotonic() - started)


def one_call(name: str, call: Callable[[], Any], after: float, seen: Interrupts) -> None:
    """Interrupt one call after so many seconds, if it takes so long."""
    started, counts = time.monotonic(), seen.answered
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, after)
            call()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        counts = seen.interrupted
    except KrakenError:
        pass  # a limit of the exchange, for example: it was answered
    seen.longest = max(seen.longest, (time.monotonic() - started, name))
    counts[name] = counts.get(name, 0) + 1


def check(kinds: Dict[str, Callable[[], Any]]) -> None:
    """Each kind of call works, from this thread and from another."""
    failures: List[str] = []

    def all_of_them() -> None:
        for name, call in kinds.items():
            try:
                call()
            except Exception as error:
                failures.append(f"{name}: {error!r}")

    all_of_them()
    thread = threading.Thread(target=all_of_them, daemon=True)
    thread.start()
    thread.join(TIMEOUT * len(kinds))
    assert not thread.is_alive(), "a call of another thread hangs"
    assert not failures, failures


def main() -> None:
    """Print what happened."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    seen = run(options.count, options.seed)
    print(f"interrupted: {seen.interrupted}\nanswered: {seen.answered}")
    print(f"longest call: {seen.longest[0]:.2f} s ({seen.longest[1]}); timeout {TIMEOUT} s")
    sys.exit(seen.longest[0] > TIMEOUT + SLACK)


if __name__ == "__main__":
    main()
