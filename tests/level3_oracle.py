"""A naive level-3 market: lists, sorting, decimal text. Slow, obvious, and nothing of the library in it."""

from __future__ import annotations

import random
import zlib
from typing import Dict, List, Tuple

from oracle import Digits

Order = Tuple[str, int, str]
"""An order's id, quantity and time."""


class Level3Walk:
    """A seeded random walk of the messages that an exchange would send for one depth.

    Args:
        seed: the same seed gives the same walk.
        depth: the number of levels that are told.
        digits: how numbers are written.
        levels: the number of levels on each side at the start.
        by_time: the place in a queue follows an order's time alone, and every amend has a new time. Otherwise
            an amended order goes to the end if it grows, and keeps its place, with either time, if it does
            not.
    """

    def __init__(self, seed: int, depth: int, digits: Digits, levels: int, by_time: bool = False) -> None:
        self.rng = random.Random(seed)
        self.depth = depth
        self.digits = digits
        self.by_time = by_time
        self.mid = self.rng.randrange(10**4, 10**6)
        self.moment = 0
        self.full: Dict[str, Dict[int, List[Order]]] = {"bids": {}, "asks": {}}
        for offset in range(1, levels + 1):
            for name, sign in (("bids", -1), ("asks", 1)):
                for _ in range(self.rng.choice((1, 1, 2, 5))):
                    self._add(name, self.mid + sign * offset * 2)

    def view(self, name: str) -> Dict[int, List[Tuple[str, int]]]:
        """What a subscriber must have: the orders of each visible price, in queue order."""
        return {
            price: [(order_id, qty) for order_id, qty, _ in self.full[name][price]]
            for price in self._prices(name)[: self.depth]
        }

    def snapshot(self) -> str:
        """The first message, or one in mid-stream."""
        told: Dict[str, List[str]] = {"bids": [], "asks": []}
        for name in told:
            for price in self._prices(name)[: self.depth]:
                told[name] += [self._text(price, order) for order in self.full[name][price]]
        return self._message("snapshot", told)

    def update(self) -> str:
        """A message of one or more events; one that pushes a level out of the depth is the last."""
        told: Dict[str, List[str]] = {"bids": [], "asks": []}
        for _ in range(self.rng.choice((1, 1, 2, 4))):
            name = self.rng.choice(("bids", "asks"))
            before = len(self.full[name])
            self._event(name, told[name])
            if before < len(self.full[name]) and len(self.full[name]) > self.depth:
                break
        return self._message("update", told)

    def _event(self, name: str, told: List[str]) -> None:
        prices = self._prices(name)
        if len(prices) < 3 or self.rng.random() < 0.35:
            sign = -1 if name == "bids" else 1
            price = self.mid + sign * self.rng.randrange(1, 3 * max(self.depth, 4))
            if self.rng.random() < 0.5 and prices:
                price = prices[min(len(prices) - 1, int(self.rng.expovariate(3 / self.depth)))]
            order = self._add(name, price)
            self._tell(name, price, told, [self._text(price, order, "add")])
            return
        price = prices[min(len(prices) - 1, int(self.rng.expovariate(3 / self.depth)))]
        rank, queue = prices.index(price), self.full[name][price]
        number = self.rng.randrange(len(queue))
        order_id, qty, time = queue[number]
        chance = self.rng.random()
        if chance < 0.3 and qty > 1:  # filled in part
            order = (order_id, self.rng.randrange(1, qty), time)
            queue[number] = order
            texts = [self._text(price, order, "modify")]
        elif chance < 0.5:  # amended
            order = (
                order_id,
                self._qty(),
                self._time() if self.by_time else self.rng.choice((time, self._time())),
            )
            queue[number] = order
            if self.by_time:
                queue.sort(key=lambda one: one[2])
            elif order[1] > qty:
                queue.append(queue.pop(number))
            texts = [self._text(price, order, "modify")]
        else:
            texts = [self._text(price, queue.pop(number), "delete")]
            if not queue:
                del self.full[name][price]
                if rank < self.depth <= len(self.full[name]):
                    following = self._prices(name)[self.depth - 1]
                    texts += [self._text(following, one, "add") for one in self.full[name][following]]
        if rank < self.depth:
            told += texts

    def _tell(self, name: str, price: int, told: List[str], texts: List[str]) -> None:
        if self._prices(name).index(price) < self.depth:
            told += texts

    def _add(self, name: str, price: int) -> Order:
        order = (f"O{self.rng.randrange(10**9):09}-{self.moment}", self._qty(), self._time())
        self.full[name].setdefault(price, []).append(order)
        return order

    def _qty(self) -> int:
        return self.rng.randrange(1, 10 ** self.rng.randrange(1, 12))

    def _time(self) -> str:
        self.moment += 1
        return f"2026-01-05T10:00:00.{self.moment:09}Z"

    def _prices(self, name: str) -> List[int]:
        return sorted(self.full[name], reverse=name == "bids")

    def _text(self, price: int, order: Order, event: str = "") -> str:
        order_id, qty, time = order
        named = f'"event":"{event}",' if event else ""
        return (
            f'{{{named}"order_id":"{order_id}","limit_price":{self.digits.text(price, self.digits.price)},'
            f'"order_qty":{self.digits.text(qty, self.digits.qty)},"timestamp":"{time}"}}'
        )

    def _message(self, kind: str, sides: Dict[str, List[str]]) -> str:
        text = ""
        for name in ("asks", "bids"):
            for price in self._prices(name)[:10]:
                for _, qty, _ in self.full[name][price]:
                    for value, digits in ((price, self.digits.price), (qty, self.digits.qty)):
                        text += self.digits.text(value, digits).replace(".", "").lstrip("0")
        return (
            f'{{"channel":"level3","type":"{kind}","data":[{{"symbol":"A/B","checksum":{zlib.crc32(text.encode())},'
            f'"bids":[{",".join(sides["bids"])}],"asks":[{",".join(sides["asks"])}],'
            '"timestamp":"2026-01-05T10:00:00.204654Z"}]}'
        )
