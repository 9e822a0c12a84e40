"""One order book with exact numbers, verified by the exchange's checksum.

A book holds two SortedDicts, from the best price to the worst. A key is the price as a count of its smallest
unit; bids have the negative of it, so that both sides are in the natural order. A value is the text that the
level has in the checksum: the digits of the price, and behind them those of the quantity. So the checksum
needs no conversion, and a quantity becomes a number only when somebody reads it (:func:`quantity`).

:meth:`Book.apply` applies one message of the exchange and returns whether the checksum matches the result. A
book has no lock and no clock; its owner has.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book and Kraken's guide "Spot
WebSocket v2 book checksum": apply all entries of a message in their order (a price may repeat), remove levels
of quantity 0, cut both sides to the depth, then compare.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import islice
from math import inf
from typing import Any, Callable, Iterable, List, MutableMapping, Optional, Sequence, Sized, Tuple
from zlib import crc32

from sortedcontainers import SortedDict

from ..wire.messages import BookData, WireLevel
from ..wire.numbers import decimals_of, fixed, scaled
from .checksum import LEVELS

Pairs = Tuple[Tuple[int, int], ...]
"""Levels of one side, best first: price and quantity, each as a count of its smallest unit."""
Rows = Tuple[Tuple[int, str], ...]
"""The same with the text of the level in place of its quantity; see :func:`quantity`."""

_replace: Callable[[Any, int, str], None] = dict.__setitem__
"""Sets the value of a key that a SortedDict has already, so that its order need not be looked at."""


class Side:
    """The levels of one side, and the best ten of them, which the checksum is about."""

    __slots__ = ("best", "falling", "last", "levels", "texts", "top")

    def __init__(self, falling: bool) -> None:
        self.falling = falling
        """Whether its keys are negative prices."""
        self.levels: SortedDict[int, str] = SortedDict()
        self.top: List[int] = []
        """The keys of the best ten levels."""
        self.texts: List[str] = []
        """Their texts."""
        self.best: float = inf
        """The first of the keys; infinite if there is none."""
        self.last: float = inf
        """The tenth of the keys; infinite if there are fewer, so that every key is at or before it."""

    def find_top(self) -> None:
        """Read the best ten levels anew."""
        self.top[:] = islice(self.levels, LEVELS)
        self.texts[:] = map(self.levels.__getitem__, self.top)
        self.best = self.top[0] if self.top else inf
        self.last = self.top[-1] if len(self.top) == LEVELS else inf

    def text(self) -> bytes:
        """Return what the side contributes to the checksum."""
        return "".join(self.texts).encode()

    def rows(self, levels: int) -> Rows:
        """Return the best ``levels``."""
        keys = list(islice(self.levels, levels))
        texts = map(self.levels.__getitem__, keys)
        return tuple(zip([-key for key in keys] if self.falling else keys, texts))

    def clear(self) -> None:
        """Remove all levels."""
        self.levels.clear()
        self.find_top()


class Book:
    """The levels of one symbol, at most ``depth`` a side. Not thread-safe: the owner serialises.

    Changing one level costs O(log depth); computing the checksum costs 20 levels, independent of the depth,
    and nothing if none of the best ten of a side has changed.

    Args:
        symbol: the exchange's name of the pair.
        depth: the largest number of levels a side.
        decimals: the digits after the point of price and quantity, for texts that may have lost their
            trailing zeros; None to take them from the texts.
        version: the number of messages applied so far.
    """

    __slots__ = (
        "_asks",
        "_asks_crc",
        "_bids",
        "_bids_text",
        "_decimals",
        "checksum",
        "computed",
        "depth",
        "price_decimals",
        "qty_decimals",
        "symbol",
        "timestamp",
        "version",
    )

    def __init__(
        self, symbol: str, depth: int, decimals: Optional[Tuple[int, int]] = None, version: int = 0
    ) -> None:
        self.symbol = symbol
        self.depth = depth
        self.price_decimals, self.qty_decimals = decimals or (0, 0)
        self.checksum: Optional[int] = None
        """The exchange's checksum in the last message."""
        self.computed = 0
        """The checksum computed from the levels after the last message."""
        self.timestamp = ""
        """The exchange's time of the last message (RFC 3339, UTC); empty if it had none."""
        self.version = version
        """The number of messages applied."""
        self._decimals = decimals
        self._asks, self._bids = Side(falling=False), Side(falling=True)
        # A message usually changes one side. CRC32 can be continued, and asks come first in the text, so the
        # CRC of the asks and the text of the bids are kept.
        self._asks_crc = 0
        self._bids_text = b""

    def apply(self, data: BookData, snapshot: bool) -> bool:
        """Apply one message, and return whether the result is verified.

        It is verified if the exchange's checksum matches and the book is not :attr:`crossed`. After False and
        after an exception the levels are undefined until the next snapshot.

        Raises:
            ValueError: a number of the message is not a number, is negative, or has too many digits.
        """
        if snapshot:
            self._begin(data)
        asks, bids = self._asks, self._bids
        if data.asks and self._change(asks, data.asks):
            self._asks_crc = crc32("".join(asks.texts).encode())
        if data.bids and self._change(bids, data.bids):
            self._bids_text = "".join(bids.texts).encode()
        self.version += 1
        self.timestamp = data.timestamp
        checksum = self.checksum = data.checksum
        computed = self.computed = crc32(self._bids_text, self._asks_crc)
        return computed == checksum and asks.best + bids.best > 0  # and so not crossed, as below

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask, which no matching engine allows."""
        return self._asks.best + self._bids.best <= 0  # the bid is negative, an empty side infinite

    @property
    def asks(self) -> Pairs:
        """All asks, best first."""
        return self.top(self.depth)[0]

    @property
    def bids(self) -> Pairs:
        """All bids, best first."""
        return self.top(self.depth)[1]

    def top(self, levels: int) -> Tuple[Pairs, Pairs]:
        """Return the best ``levels`` asks and bids, best first."""
        asks, bids = self.rows(levels)
        return pairs(asks), pairs(bids)

    def rows(self, levels: int) -> Tuple[Rows, Rows]:
        """Return the same as :meth:`top` in the form that costs least."""
        return self._asks.rows(levels), self._bids.rows(levels)

    def snapshot_frame(self) -> bytes:
        """Return the book as a snapshot frame in the exchange's own form."""
        sides = []
        for levels in reversed(self.top(self.depth)):
            rows = []
            for price, qty in levels:
                number = fixed(price, self.price_decimals)
                rows.append(f'{{"price":{number},"qty":{fixed(qty, self.qty_decimals)}}}')
            sides.append(",".join(rows))
        return (
            f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"{self.symbol}",'
            f'"bids":[{sides[0]}],"asks":[{sides[1]}],"checksum":{self.computed},'
            f'"timestamp":"{self.timestamp}"}}]}}'
        ).encode()

    def _begin(self, data: BookData) -> None:
        """Forget everything before a snapshot, and take the digits from it."""
        self._asks.clear()
        self._bids.clear()
        self._asks_crc, self._bids_text = 0, b""
        # Decimals are not taken over from the state before: the exchange changes the precision of pairs. Its
        # own text always has all digits; text that went through a float has lost its trailing zeros, and the
        # digits given by the owner, or those of the longest number, restore them.
        price, qty = self._decimals or (0, 0)
        for level in [*data.asks[:1], *data.bids[:1]]:
            price, qty = max(price, decimals_of(level.price)), max(qty, decimals_of(level.qty))
        self.price_decimals, self.qty_decimals = price, qty

    def _change(self, side: Side, changes: Sequence[WireLevel]) -> bool:
        """Apply the entries of one side in their order, then cut the side to the depth.

        Returns whether one of its best ten levels may have changed.
        """
        price_point, qty_point = -self.price_decimals - 1, -self.qty_decimals - 1
        falling, top, texts, last = side.falling, side.top, side.texts, side.last
        touched = moved = False
        kept = side.levels
        levels: MutableMapping[int, str] = kept
        # An empty side is filled and then sorted, which is faster than finding a place for each level.
        if not levels:
            levels, last, touched, moved = {}, -inf, True, True
        for level in changes:
            price_text, qty_text = level.price, level.qty
            # The fast way: nearly every number has exactly the known digits, and removing the point and the
            # leading zeros gives its part of the text. Everything else raises and takes the slow way.
            try:
                if price_text[price_point] != "." or qty_text[qty_point] != ".":
                    raise ValueError
                digits = price_text.replace(".", "").lstrip("0")
                qty_digits = qty_text.replace(".", "").lstrip("0")
                text = digits + qty_digits
                if not text.isdecimal():
                    raise ValueError
                price = int(digits)
            except (TypeError, ValueError, LookupError, AttributeError):
                price, qty_digits = self._unusual(level, levels)
                text = f"{price}{qty_digits}"
                price_point, qty_point = -self.price_decimals - 1, -self.qty_decimals - 1
                last = side.last if levels is kept else last  # it may count in another unit now
            key = -price if falling else price
            if key in levels:
                if qty_digits:
                    _replace(levels, key, text)
                    if key <= last:
                        touched = True
                        texts[bisect_left(top, key)] = text
                else:
                    del levels[key]
                    if key <= last:
                        touched = moved = True
                        place = bisect_left(top, key)
                        del top[place], texts[place]
            # A removal of an unknown price is harmless; it may have been cut off before.
            elif qty_digits:
                levels[key] = text
                if key <= last:
                    touched = moved = True
                    place = bisect_left(top, key)
                    top.insert(place, key)
                    texts.insert(place, text)
        if levels is not kept:
            kept.update(levels)
        # After all entries, as the guide has it. The exchange sends no removal for levels that an insert has
        # pushed out of the depth.
        while len(kept) > self.depth:
            kept.popitem()  # the last item is the worst price
        if moved:
            count = len(top)
            if count > LEVELS:
                del top[LEVELS:], texts[LEVELS:]
            elif count < LEVELS and len(kept) > count:
                side.find_top()
            side.best = top[0] if top else inf
            side.last = top[-1] if len(top) == LEVELS else inf
        return touched

    def _unusual(self, level: WireLevel, levels: MutableMapping[int, str]) -> Tuple[int, str]:
        price, price_decimals = scaled(level.price, self.price_decimals)
        qty, qty_decimals = scaled(level.qty, self.qty_decimals)
        if price_decimals > self.price_decimals or qty_decimals > self.qty_decimals:
            self._rescale(price_decimals, qty_decimals, levels)
        return price, str(qty) if qty else ""

    def _rescale(self, price_decimals: int, qty_decimals: int, more: MutableMapping[int, str]) -> None:
        """Count in smaller units, in ``more``, too, because the exchange has begun to write more digits."""
        factor = 10 ** (price_decimals - self.price_decimals)
        zeros = "0" * (qty_decimals - self.qty_decimals)
        for levels in {id(one): one for one in (self._asks.levels, self._bids.levels, more)}.values():
            before = list(levels.items())
            levels.clear()
            for key, text in before:
                price = abs(key) * factor
                levels[key * factor] = f"{price}{quantity(abs(key), text)}{zeros}"
        self.price_decimals, self.qty_decimals = price_decimals, qty_decimals
        self._asks.find_top()
        self._bids.find_top()
        self._asks_crc, self._bids_text = crc32(self._asks.text()), self._bids.text()

    def _check(self) -> None:
        """Assert every invariant, for tests."""
        for side in (self._asks, self._bids):
            assert len(side.levels) <= self.depth
            assert list(side.levels) == sorted(side.levels)
            assert all((key <= 0) if side.falling else (key >= 0) for key in side.levels)
            assert all(quantity(abs(key), text) > 0 for key, text in side.levels.items())
            assert all(text.startswith(str(abs(key))) for key, text in side.levels.items())
            kept = side.top, side.best, side.last
            side.find_top()
            assert kept == (side.top, side.best, side.last)
        assert self._asks_crc == crc32(self._asks.text())
        assert self._bids_text == self._bids.text()


def quantity(price: int, text: str) -> int:
    """Return the quantity of a level, as a count of its smallest unit, from its price and its text.

    >>> quantity(645250, "6452501000000")
    1000000
    """
    return int(text[len(str(price)) :])


def pairs(rows: Rows) -> Pairs:
    """Return rows with their quantities as numbers."""
    return tuple((price, quantity(price, text)) for price, text in rows)


def smallest_depth(sides: Iterable[Sized], offered: Iterable[int]) -> int:
    """Return the smallest offered depth that holds two sides, for recordings without an acknowledgement."""
    longer = max(map(len, sides))
    depths: List[int] = sorted(offered)
    return next((depth for depth in depths if depth >= longer), depths[-1])
