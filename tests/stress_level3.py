"""A level-3 book of the busiest pair under random cuts, losses and damage; for as long as you like.

Readers recompute the checksum of every state that they get, naively, from its decimals; it must be one that
the exchange computed itself, of orders that it really had. A state that is not verified must never be read.

python tests/stress_level3.py --seconds 3600 --seed 5
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
import zlib
from typing import Any, Dict, List, Set

from conftest import FAST, S

from kraken_sync import BookNotLive, Level3Book, Level3Snapshot, set_connection_budget
from kraken_sync.simulator import Simulator

DEPTH = 100


def checksum(state: Level3Snapshot) -> int:
    """The checksum of a state, from the text of its numbers."""
    text = ""
    for side in (state.asks[:10], state.bids[:10]):
        for level in side:
            for order in level.orders:
                for number in (order.limit_price, order.order_qty):
                    text += format(number, "f").replace(".", "").lstrip("0")
    return zlib.crc32(text.encode())


class Run:
    """One run, and what it has found."""

    def __init__(self, exchange: Simulator, seed: int) -> None:
        self.exchange = exchange
        self.rng = random.Random(seed)
        self.over = threading.Event()
        self.true: Set[int] = set()
        self.counts: Dict[str, int] = {"reads": 0, "positions": 0, "not live": 0}
        self.wrong: List[str] = []
        view = exchange.exchange.markets[S].order_view(DEPTH)
        computed = view.checksum

        def noted() -> int:
            found = computed()
            self.true.add(found)
            return found

        view.checksum = noted

    def read(self, book: Level3Book) -> None:
        """Read states and places until the run is over."""
        while not self.over.is_set():
            try:
                state = book.snapshot()
                self.counts["reads"] += 1
                if checksum(state) != state.checksum or state.checksum not in self.true:
                    self.wrong.append(f"{state!r}: checksum {state.checksum}, computed {checksum(state)}")
                if any(bid.price >= state.asks[0].price for bid in state.bids[:1]):
                    self.wrong.append(f"{state!r} is crossed")
                order = state.bids[0].orders[-1]
                place = book.queue_position(order.order_id)
                if place is not None and place.side == "buy":
                    self.counts["positions"] += 1
            except BookNotLive:
                self.counts["not live"] += 1
            self.over.wait(0.02)

    def disturb(self) -> None:
        """Cut, lose and damage at random times until the run is over."""
        faults = self.exchange.faults
        name = f"level3/{S}"

        def once(which: Any) -> None:
            which[name] = 1

        cuts = [
            self.exchange.cut,
            lambda: self.exchange.close_all(role="level3"),
            self.exchange.revoke_tokens,
        ]
        # Rarer, since a book that fails again and again is fetched ever more slowly.
        damage = [lambda: once(faults.bad_checksum), lambda: once(faults.skip_update)]
        damage.append(lambda: once(faults.bad_snapshot))
        while not self.over.wait(self.rng.uniform(0.05, 2.0)):
            self.rng.choice(damage if self.rng.random() < 0.15 else cuts)()
        for which in (faults.bad_checksum, faults.skip_update, faults.bad_snapshot):
            which.clear()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    set_connection_budget(10**6)  # it cuts more often than the exchange allows one to come back
    with Simulator(options.seed, rate=1500.0) as exchange:
        run = Run(exchange, options.seed)
        with exchange.client(timing=FAST) as client:
            book = client.level3_book(S, DEPTH)
            threads = [threading.Thread(target=run.read, args=(book,)) for _ in range(2)]
            threads.append(threading.Thread(target=run.disturb))
            for thread in threads:
                thread.start()
            time.sleep(options.seconds)
            run.over.set()
            for thread in threads:
                thread.join()
            book.wait_until(lambda state: True, 90.0)  # at last it is live again
            stats = client.stats()["level3"]
    if exchange.errors:
        run.wrong.append(f"a fault of the simulator: {exchange.errors[0]!r}")
    print(
        f"{options.seconds:g} s: {stats['verified']} messages verified, {stats['mismatched']} mismatched, "
        f"{stats['reconnects']} reconnects, {stats['resyncs']} resyncs; {run.counts}; {len(run.wrong)} lies"
    )
    for line in run.wrong[:10]:
        print(line)
    enough = run.counts["reads"] > 20 * options.seconds and stats["mismatched"] and stats["reconnects"]
    return 1 if run.wrong or not enough else 0


if __name__ == "__main__":
    sys.exit(main())
