"""One order book with exact numbers, verified by the exchange's checksum.

A book holds integers: price and quantity, each as a count of its smallest unit, in two SortedDicts that both
run from the best price to the worst. :meth:`Book.apply` applies one message of the exchange and returns
whether the checksum matches the result. A book has no lock and no clock; its owner has.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book and Kraken's guide "Spot
WebSocket v2 book checksum": apply all entries of a message in their order (a price may repeat), remove levels
of quantity 0, cut both sides to the depth, then compare.
"""

from __future__ import annotations

import zlib
from itertools import islice
from math import inf
from operator import neg
from typing import Dict, Iterable, List, Optional, Sequence, Sized, Tuple

from sortedcontainers import SortedDict

from ..wire.messages import BookData, WireLevel
from ..wire.numbers import decimals_of, fixed, scaled
from .checksum import LEVELS, book_checksum

Pairs = Tuple[Tuple[int, int], ...]
Tokens = Dict[int, str]
"""The checksum text of each level, by price."""


class Book:
    """The levels of one symbol, at most ``depth`` a side. Not thread-safe: the owner serialises.

    Changing one level costs O(log depth); computing the checksum costs 20 levels, independent of the depth.

    Args:
        symbol: the exchange's name of the pair.
        depth: the largest number of levels a side.
        decimals: the digits after the point of price and quantity, for texts that may have lost their
            trailing zeros; None to take them from the texts.
        version: the number of messages applied so far.
    """

    __slots__ = (
        "_ask_tokens",
        "_asks_crc",
        "_best_ask",
        "_best_bid",
        "_bid_tokens",
        "_bids_text",
        "_decimals",
        "asks",
        "bids",
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
        self.asks: SortedDict[int, int] = SortedDict()
        self.bids: SortedDict[int, int] = SortedDict(neg)  # by falling price, so the best comes first
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
        self._ask_tokens: Tokens = {}
        self._bid_tokens: Tokens = {}
        # A message usually changes one side. CRC32 can be continued, and asks come first in the text, so the
        # CRC of the asks and the text of the bids are kept.
        self._asks_crc = 0
        self._bids_text = b""
        # Of an empty side: values that cross nothing.
        self._best_ask: float = inf
        self._best_bid = -1

    def apply(self, data: BookData, snapshot: bool) -> bool:
        """Apply one message, and return whether the result is verified.

        It is verified if the exchange's checksum matches and the book is not :attr:`crossed`. After False and
        after an exception the levels are undefined until the next snapshot.

        Raises:
            ValueError: a number of the message is not a number, is negative, or has too many digits.
        """
        if snapshot:
            self._clear(data)
        asks, bids = data.asks, data.bids
        if asks:
            self._change(self.asks, self._ask_tokens, asks)
            self._read_asks()
        if bids:
            self._change(self.bids, self._bid_tokens, bids)
            self._read_bids()
        self.version += 1
        self.timestamp = data.timestamp
        self.checksum = data.checksum
        self.computed = zlib.crc32(self._bids_text, self._asks_crc)
        return self.computed == data.checksum and self._best_bid < self._best_ask

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask, which no matching engine allows."""
        return self._best_bid >= self._best_ask

    def _read_asks(self) -> None:
        best = list(islice(self.asks, LEVELS))
        self._best_ask = best[0] if best else inf
        self._asks_crc = zlib.crc32("".join(map(self._ask_tokens.__getitem__, best)).encode())

    def _read_bids(self) -> None:
        best = list(islice(self.bids, LEVELS))
        self._best_bid = best[0] if best else -1
        self._bids_text = "".join(map(self._bid_tokens.__getitem__, best)).encode()

    def top(self, levels: int) -> Tuple[Pairs, Pairs]:
        """Return the best ``levels`` asks and bids, best first, as (price, qty) integers."""
        return _head(self.asks, levels), _head(self.bids, levels)

    def snapshot_frame(self) -> bytes:
        """Return the book as a snapshot frame in the exchange's own form."""
        sides = []
        for side in (self.bids, self.asks):
            sides.append(
                ",".join(
                    f'{{"price":{fixed(price, self.price_decimals)},"qty":{fixed(qty, self.qty_decimals)}}}'
                    for price, qty in side.items()
                )
            )
        return (
            f'{{"channel":"book","type":"snapshot","data":[{{"symbol":"{self.symbol}",'
            f'"bids":[{sides[0]}],"asks":[{sides[1]}],"checksum":{self.computed},'
            f'"timestamp":"{self.timestamp}"}}]}}'
        ).encode()

    def _clear(self, data: BookData) -> None:
        for side in (self.asks, self.bids, self._ask_tokens, self._bid_tokens):
            side.clear()
        self._asks_crc, self._bids_text = 0, b""
        self._best_ask, self._best_bid = inf, -1
        # Decimals are not taken over from the state before: the exchange changes the precision of pairs.
        levels = data.asks + data.bids
        # Text that went through a float has lost its trailing zeros; the digits given by the owner, or those
        # of the longest number, restore them. The exchange's own text always has all of them.
        price, qty = self._decimals or (0, 0)
        self.price_decimals = max([price, *(decimals_of(level.price) for level in levels)])
        self.qty_decimals = max([qty, *(decimals_of(level.qty) for level in levels)])

    def _change(self, side: SortedDict[int, int], tokens: Tokens, levels: Sequence[WireLevel]) -> None:
        """Apply the entries of one side in their order, then cut the side to the depth."""
        price_point, qty_point = -self.price_decimals - 1, -self.qty_decimals - 1
        for level in levels:
            price_text, qty_text = level.price, level.qty
            # The fast way: nearly every number has exactly the known digits, and removing the point gives
            # the integer. Everything else raises and takes the slow way.
            try:
                if price_text[price_point] != "." or qty_text[qty_point] != ".":
                    raise ValueError
                price, qty = int(price_text.replace(".", "")), int(qty_text.replace(".", ""))
            except (TypeError, ValueError, LookupError, AttributeError):
                price, qty = self._unusual(level)
                price_point, qty_point = -self.price_decimals - 1, -self.qty_decimals - 1
            # int() has accepted a minus sign, which no price and no quantity has.
            if price < 0 or qty < 0:
                raise ValueError(f"negative number in a book level: {level}")
            if qty:
                side[price] = qty
                tokens[price] = f"{price}{qty}"
            # A removal of an unknown price is harmless; it may have been cut off before.
            elif price in side:
                del side[price], tokens[price]
        # After all entries, as the guide has it. The exchange sends no removal for levels that an insert has
        # pushed out of the depth.
        while len(side) > self.depth:
            del tokens[side.popitem()[0]]  # the last item is the worst price on both sides

    def _unusual(self, level: WireLevel) -> Tuple[int, int]:
        price, price_decimals = scaled(level.price, self.price_decimals)
        qty, qty_decimals = scaled(level.qty, self.qty_decimals)
        if price_decimals > self.price_decimals or qty_decimals > self.qty_decimals:
            self._rescale(price_decimals, qty_decimals)
        return price, qty

    def _rescale(self, price_decimals: int, qty_decimals: int) -> None:
        """Count in smaller units, because the exchange has begun to write more digits."""
        price_factor = 10 ** (price_decimals - self.price_decimals)
        qty_factor = 10 ** (qty_decimals - self.qty_decimals)
        for side, tokens in ((self.asks, self._ask_tokens), (self.bids, self._bid_tokens)):
            levels = {price * price_factor: qty * qty_factor for price, qty in side.items()}
            side.clear()
            side.update(levels)
            tokens.clear()
            tokens.update((price, f"{price}{qty}") for price, qty in levels.items())
        self.price_decimals, self.qty_decimals = price_decimals, qty_decimals
        self._read_asks()
        self._read_bids()

    def _check(self) -> None:
        """Assert every invariant, for tests."""
        for side, tokens in ((self.asks, self._ask_tokens), (self.bids, self._bid_tokens)):
            assert len(side) <= self.depth
            assert all(price >= 0 and qty > 0 for price, qty in side.items())
            assert tokens == {price: f"{price}{qty}" for price, qty in side.items()}
        assert list(self.asks) == sorted(self.asks)
        assert list(self.bids) == sorted(self.bids, reverse=True)
        assert (self._best_ask, self._best_bid) == (next(iter(self.asks), inf), next(iter(self.bids), -1))
        assert zlib.crc32(self._bids_text, self._asks_crc) == book_checksum(self.asks, self.bids)


def smallest_depth(sides: Iterable[Sized], offered: Iterable[int]) -> int:
    """Return the smallest offered depth that holds two sides, for recordings without an acknowledgement."""
    longer = max(map(len, sides))
    depths: List[int] = sorted(offered)
    return next((depth for depth in depths if depth >= longer), depths[-1])


def _head(side: SortedDict[int, int], levels: int) -> Pairs:
    prices = list(islice(side, levels))
    return tuple(zip(prices, map(side.__getitem__, prices)))
