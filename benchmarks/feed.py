"""Synthetic book feeds with true checksums, written as the exchange writes them to a client of one depth.

The market behind a feed is deeper than what is sent. A client of that depth is told what changes within its
levels, what is removed from them, and which levels come back into them from below.
"""

from __future__ import annotations

import random
import zlib
from bisect import bisect_left, insort
from itertools import chain
from typing import Dict, Iterator, List, Sequence, Tuple

PRICE_DIGITS, QTY_DIGITS = 1, 8
SYMBOL = "BTC/USD"
BEST = 452_835
"""The first price in the middle, in the smallest units."""
LEVELS = 1_500
"""How many levels a side a market keeps at least, beyond what is shown."""

Entry = Tuple[int, int]


class Side:
    """One side of a market. Its keys are prices, negative for bids, so that the best one comes first."""

    def __init__(self, sign: int, levels: int, rng: random.Random) -> None:
        self.sign = sign
        self.keys = [sign * BEST + number for number in range(1, levels + 1)]
        self.qty = {key: rng.randrange(1, 10**9) for key in self.keys}
        self._levels = levels
        self._rng = rng

    def step(self, depth: int, limit: int) -> List[Entry]:
        """Let one to three things happen, and return what a client of this depth must be told.

        ``limit`` is the other side's best key, negated: no level may reach it.
        """
        keys, rng = self.keys, self._rng
        before = keys[:depth][-1]
        touched: Dict[int, None] = {}
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            place = min(int(rng.expovariate(1 / (depth * 0.35))), len(keys) - 1)
            key, kind = keys[place], rng.random()
            if kind < 0.35 and len(keys) > self._levels - LEVELS // 2:
                del keys[place], self.qty[key]
            elif kind < 0.7:
                self.qty[key] = rng.randrange(1, 10**9)
            else:
                # Near the best price into the spread, which would otherwise grow with every removal.
                key += (
                    rng.choice((-3, -2, -1, 1, 2, 3)) if place else -rng.randrange(1, 2 + (key - limit) // 2)
                )
                if key in self.qty or key <= limit:
                    continue
                insort(keys, key)
                self.qty[key] = rng.randrange(1, 10**9)
            touched[key] = None
        after = keys[:depth][-1]
        told = [
            (key, self.qty.get(key, 0)) for key in touched if key <= (after if key in self.qty else before)
        ]
        if after > before:  # removals have brought these back into what the client sees
            told += [
                (key, self.qty[key])
                for key in keys[bisect_left(keys, before + 1) : depth]
                if key not in touched
            ]
        # Removals first, so that also a client that cuts its side after every entry stays right.
        return [(self.sign * key, qty) for key, qty in sorted(told, key=lambda entry: entry[1] > 0)]

    def text(self) -> str:
        """The best ten levels as the checksum has them."""
        return "".join(f"{abs(key)}{self.qty[key]}" for key in self.keys[:10])


class Market:
    """One symbol's market, as clients of one depth are told of it."""

    def __init__(self, depth: int, seed: int = 1, symbol: str = SYMBOL) -> None:
        self._depth, self._symbol = depth, symbol
        self._rng = random.Random(seed)
        levels = LEVELS + depth
        self._asks, self._bids = Side(1, levels, self._rng), Side(-1, levels, self._rng)

    def snapshot(self) -> bytes:
        """The whole state."""
        sides = [
            [(abs(key), side.qty[key]) for key in side.keys[: self._depth]]
            for side in (self._bids, self._asks)
        ]
        return self._frame("snapshot", sides[0], sides[1], 0)

    def update(self, number: int) -> bytes:
        """The next change; ``number`` is written into its timestamp."""
        while True:
            bids: List[Entry] = []
            asks: List[Entry] = []
            if self._rng.random() < 0.5:
                asks = self._asks.step(self._depth, -self._bids.keys[0])
            else:
                bids = self._bids.step(self._depth, -self._asks.keys[0])
            if asks or bids:
                return self._frame("update", bids, asks, number)

    def _frame(self, kind: str, bids: Sequence[Entry], asks: Sequence[Entry], number: int) -> bytes:
        checksum = zlib.crc32((self._asks.text() + self._bids.text()).encode())
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self._symbol}",'
            f'"bids":[{_levels(bids)}],"asks":[{_levels(asks)}],"checksum":{checksum},'
            f'"timestamp":"{stamp(number)}"}}]}}'
        ).encode()


def _levels(entries: Sequence[Entry]) -> str:
    return ",".join(
        f'{{"price":{price // 10}.{price % 10},"qty":{qty // 10**8}.{qty % 10**8:08d}}}'
        for price, qty in entries
    )


def stamp(number: int) -> str:
    """A timestamp that carries a message's number, as microseconds."""
    seconds, micros = divmod(number, 10**6)
    return f"2026-11-01T00:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{micros:06d}Z"


def number_of(timestamp: str) -> int:
    """The number that :func:`stamp` has written."""
    return int(timestamp[14:16]) * 60 * 10**6 + int(timestamp[17:19]) * 10**6 + int(timestamp[20:26])


def mixed_feed(symbols: Sequence[str], depth: int, updates: int, seed: int = 1) -> List[bytes]:
    """The snapshots of all symbols, then so many updates in all, of symbols in a random order."""
    rng = random.Random(seed)
    markets = [Market(depth, seed + number, symbol) for number, symbol in enumerate(symbols)]
    snapshots: Iterator[bytes] = (market.snapshot() for market in markets)
    changes = (rng.choice(markets).update(number) for number in range(1, updates + 1))
    return list(chain(snapshots, changes))


def names(count: int) -> List[str]:
    """So many symbols that no exchange has."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return [f"Q{letters[n // 676]}{letters[n // 26 % 26]}{letters[n % 26]}/USD" for n in range(count)]
