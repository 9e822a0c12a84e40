"""A naive order book: dicts, sorting, decimal text. Slow, obvious, and nothing of the library in it."""

from __future__ import annotations

import random
import zlib
from typing import Dict, List, Tuple


class Digits:
    """How a symbol's numbers are written."""

    def __init__(self, price: int, qty: int) -> None:
        self.price = price
        self.qty = qty

    @staticmethod
    def text(value: int, digits: int) -> str:
        """Fixed-point text."""
        if not digits:
            return str(value)
        padded = str(value).zfill(digits + 1)
        return padded[:-digits] + "." + padded[-digits:]

    def level(self, price: int, qty: int) -> str:
        """A level as JSON."""
        return f'{{"price":{self.text(price, self.price)},"qty":{self.text(qty, self.qty)}}}'


def best(side: Dict[int, int], name: str, count: int) -> List[Tuple[int, int]]:
    """The best levels of a side."""
    return sorted(side.items(), reverse=name == "bids")[:count]


def checksum(bids: Dict[int, int], asks: Dict[int, int], digits: Digits) -> int:
    """CRC32 over the text of the ten best asks, then bids."""
    text = ""
    for name, side in (("asks", asks), ("bids", bids)):
        for price, qty in best(side, name, 10):
            text += digits.text(price, digits.price).replace(".", "").lstrip("0")
            text += digits.text(qty, digits.qty).replace(".", "").lstrip("0")
    return zlib.crc32(text.encode())


class Walk:
    """A seeded random walk of the messages an exchange would send for one depth.

    The exchange's book is deeper than the depth; the client's view is kept beside it, in the naive way.
    """

    def __init__(self, seed: int, depth: int, digits: Digits, levels: int, max_qty: int) -> None:
        self.rng = random.Random(seed)
        self.depth = depth
        self.digits = digits
        self.levels = levels
        self.max_qty = max_qty
        self.mid = self.rng.randrange(10**4, 10**6)
        self.full: Dict[str, Dict[int, int]] = {"bids": {}, "asks": {}}
        for offset in range(1, levels + 1):
            self.full["bids"][self.mid - offset * 2] = self.qty()
            self.full["asks"][self.mid + offset * 2] = self.qty()
        self.view: Dict[str, Dict[int, int]] = {"bids": {}, "asks": {}}

    def qty(self) -> int:
        """A quantity; small and huge ones are as likely."""
        return self.rng.randrange(1, 10 ** self.rng.randrange(1, len(str(self.max_qty)) + 1))

    def snapshot(self) -> str:
        """The first message, or one in mid-stream."""
        self.view = {name: dict(best(side, name, self.depth)) for name, side in self.full.items()}
        return self._message("snapshot", {n: best(s, n, self.depth) for n, s in self.view.items()})

    def update(self) -> str:
        """A message of several events, some of which hit the same price twice."""
        entries: Dict[str, List[Tuple[int, int]]] = {"bids": [], "asks": []}
        for _ in range(self.rng.choice((1, 1, 1, 2, 3, 8))):
            name = self.rng.choice(("bids", "asks"))
            for price, qty in self._event(name):
                entries[name].append((price, qty))
        for name, changes in entries.items():
            for price, qty in changes:
                if qty:
                    self.view[name][price] = qty
                else:
                    self.view[name].pop(price, None)
            self.view[name] = dict(best(self.view[name], name, self.depth))
        return self._message("update", entries)

    def _event(self, name: str) -> List[Tuple[int, int]]:
        side, sign = self.full[name], -1 if name == "bids" else 1
        prices = [price for price, _ in best(side, name, len(side))]
        chance = self.rng.random()
        if chance < 0.35 and len(prices) > 1:
            rank = min(len(prices) - 1, int(self.rng.expovariate(3 / self.depth)))
            price = prices[rank]
            del side[price]
            told = [(price, 0)]
            if rank < self.depth < len(prices):
                told.append((prices[self.depth], side[prices[self.depth]]))
            return told if rank < self.depth else []
        if chance < 0.6 and prices:
            price = prices[min(len(prices) - 1, int(self.rng.expovariate(3 / self.depth)))]
        else:
            price = self.mid + sign * self.rng.randrange(1, 3 * max(self.levels, 4))
        side[price] = self.qty()
        told = [(price, side[price])]
        if self.rng.random() < 0.2:
            side[price] = self.qty()
            told.append((price, side[price]))
        rank = [one for one, _ in best(side, name, len(side))].index(price)
        return told if rank < self.depth else []

    def _message(self, kind: str, sides: Dict[str, List[Tuple[int, int]]]) -> str:
        bids, asks = (",".join(self.digits.level(*one) for one in sides[n]) for n in ("bids", "asks"))
        crc = checksum(self.view["bids"], self.view["asks"], self.digits)
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"A/B","bids":[{bids}],'
            f'"asks":[{asks}],"checksum":{crc},"timestamp":"2026-01-05T10:00:00.204654Z"}}]}}'
        )
