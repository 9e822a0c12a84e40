"""Random faults of a shared feed under load: no reader may take an old or a wrong book for a live one.

python tests/stress_shared.py --faults 200 --seed 5

Two publishers in processes of their own, one Redis, two readers. While a fault lasts and after it, whatever
book is LIVE must be one that the exchange had within the last seconds; after the cure everything must be
LIVE, and right, within five seconds.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any, Deque, Dict, Tuple

from redis_server import RedisServer

from kraken_sync import BookNotLive
from kraken_sync.shared import SharedClient
from kraken_sync.shared.layout import DEAD_AFTER, Names
from kraken_sync.simulator import Simulator

SYMBOLS = ("BTC/USD", "ETH/USD")
HEAL = 5.0
OLD = DEAD_AFTER + 3.0
"""Seconds for which a book may be LIVE that the exchange does not have any more: two heartbeats and slack."""
PUBLISH = """
import sys, time
from kraken_sync import SpotWSClient
from kraken_sync.shared import Publisher
with SpotWSClient(ws_url=sys.argv[1]) as client, Publisher(client, sys.argv[2], ["BTC/USD", "ETH/USD"]):
    print("publishing", flush=True)
    time.sleep(3600)
"""
Top = Tuple[Tuple[int, ...], ...]


class World:
    """Everything that takes part."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = random.Random(seed)
        self.sim = Simulator(seed=seed, rate=100, tier=None)
        self.redis = RedisServer(folder)
        self.publishers: list[Any] = []
        self.readers: list[SharedClient] = []
        self.books: list[Any] = []
        self.had: Dict[str, Deque[Tuple[float, Any]]] = {symbol: deque() for symbol in SYMBOLS}
        """The states that the exchange had, with the times at which they began."""
        self.stop = threading.Event()
        self.checks = self.live = self.trades = self.gaps = 0
        self.wrong: list[str] = []

    def begin(self) -> None:
        self.sim.start()
        self.redis.start()
        self.publishers = [self.publisher() for _ in range(2)]
        deadline = time.monotonic() + 10
        while not self.redis.call("EXISTS", Names("kraken").pulse):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        self.readers = [SharedClient(self.redis.url).start() for _ in range(2)]
        self.books = [reader.book(symbol) for reader in self.readers for symbol in SYMBOLS]
        for reader in self.readers:
            trades = reader.trades(list(SYMBOLS), gaps=True)
            threading.Thread(target=self.follow, args=(trades,), daemon=True).start()
        threading.Thread(target=self.note, daemon=True).start()
        time.sleep(OLD)  # so that there is something to compare with
        threading.Thread(target=self.watch, daemon=True).start()

    def publisher(self) -> Any:
        command = [sys.executable, "-c", PUBLISH, self.sim.ws_url, self.redis.url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "publishing\n"
        return process

    def note(self) -> None:
        """Note what the exchange has."""
        while not self.stop.is_set():
            for symbol in SYMBOLS:
                self.had[symbol].append((time.monotonic(), self.sim.top(symbol, 10)))
                while self.had[symbol][0][0] < time.monotonic() - 60:
                    self.had[symbol].popleft()
            self.stop.wait(0.005)

    def watch(self) -> None:
        """Look at every book all the time."""
        while not self.stop.is_set():
            for book in self.books:
                try:
                    state = book.snapshot(10)
                except BookNotLive:
                    continue
                self.judge(book.symbol, state)
            self.stop.wait(0.02)

    def follow(self, trades: Any) -> None:
        """Trades have numbers without holes, but where a gap is told."""
        last: Dict[str, int] = {}
        for item in trades:
            if item.get("type") == "gap":
                self.gaps += 1
                for gap in item["data"]:
                    for symbol in SYMBOLS if gap["symbol"] is None else (gap["symbol"],):
                        last.pop(symbol, None)
                continue
            symbol, number = item["symbol"], item["trade_id"]
            if symbol in last and number != last[symbol] + 1:
                self.wrong.append(f"{symbol}: trade {number} follows {last[symbol]} without a gap")
            last[symbol] = number
            self.trades += 1

    def judge(self, symbol: str, state: Any) -> None:
        now = time.monotonic()
        self.live += 1
        digits = (state.price_decimals, state.qty_decimals)
        shown = tuple(
            [(int(price.scaleb(digits[0])), int(qty.scaleb(digits[1]))) for price, qty in side]
            for side in (state.bids, state.asks)
        )
        for began, top in reversed(list(self.had[symbol])):
            if began < now - OLD - 1:
                break
            if top == shown:
                return
        # Between two notes the exchange may have had a state that nobody has noted.
        self.checks += 1
        last = [top for began, top in list(self.had[symbol]) if began >= now - OLD]
        if not any(top[0][0][0] - 50 <= shown[0][0][0] <= top[0][0][0] + 50 for top in last):
            self.wrong.append(
                f"{symbol} is LIVE with {shown[0][0]} that is older than {OLD:g} s: {len(last)} states, "
                f"the last {last[-1][0][0] if last else None}"
            )

    def healed(self) -> bool:
        """Whether everything is LIVE and as the exchange has it."""
        for book in self.books:
            try:
                state = book.snapshot(1)
            except BookNotLive:
                return False
            tops = [top for began, top in list(self.had[book.symbol]) if began >= time.monotonic() - 1.0]
            best = int(state.best_bid.price.scaleb(state.price_decimals))
            if not any(top[0][0][0] == best for top in tops):
                return False
        return True

    # -- faults --------------------------------------------------------------------------------

    def fault(self) -> str:
        name = self.rng.choice(
            (
                "kill publisher",
                "freeze publisher",
                "kill redis",
                "freeze redis",
                "flush",
                "trim",
                "cut exchange",
            )
        )
        pause = self.rng.uniform(0.2, 3.0)
        if name == "kill publisher":
            victim = self.publishers.pop(self.rng.randrange(len(self.publishers)))
            victim.kill()
            victim.wait()
            victim.stdout.close()
            time.sleep(pause)
            self.publishers.append(self.publisher())
        elif name == "freeze publisher":
            victim = self.rng.choice(self.publishers)
            victim.send_signal(signal.SIGSTOP)
            time.sleep(pause + 2.0)
            victim.send_signal(signal.SIGCONT)
        elif name == "kill redis":
            self.redis.kill()
            time.sleep(pause)
            self.redis.start()
        elif name == "freeze redis":
            self.redis.freeze()
            time.sleep(pause)
            self.redis.go_on()
        elif name == "flush":
            self.redis.call("FLUSHALL")
        elif name == "trim":
            for key in self.redis.call("KEYS", "ks:*:book:*"):
                if b":state:" not in key:
                    self.redis.call("XTRIM", key, "MAXLEN", 0)
        else:
            self.sim.cut()
        return name

    def end(self) -> None:
        self.stop.set()
        for reader in self.readers:
            reader.close()
        for process in self.publishers:
            process.kill()
            process.wait()
            process.stdout.close()
        self.redis.kill()
        self.sim.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--faults", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    begun, done, slowest = time.monotonic(), Counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        world = World(options.seed, Path(folder))
        try:
            world.begin()
            for number in range(options.faults):
                name = world.fault()
                done[name] += 1
                cured = time.monotonic()
                while not world.healed():
                    states = [f"{book.symbol} {book.state}" for book in world.books]
                    assert time.monotonic() - cured < HEAL, f"fault {number}, {name}: not healed: {states}"
                    time.sleep(0.02)
                slowest = max(slowest, time.monotonic() - cured)
                assert not world.wrong, f"fault {number}, {name}: {world.wrong[:3]}"
            mismatched = sum(reader.stats()["mismatched"] for reader in world.readers)
            print(
                f"{options.faults} faults ({dict(done)}), healed within {slowest:.1f} s at most; "
                f"{world.live} looks at LIVE books, none old; {mismatched} mismatches; "
                f"{world.trades} trades with {world.gaps} gaps told and none silent; "
                f"{time.monotonic() - begun:.0f} s"
            )
        finally:
            world.end()


if __name__ == "__main__":
    main()
