"""The exchange's CRC32 checksum over the ten best levels of each side.

Source: Kraken's guide "Spot WebSocket v2 book checksum". Asks from low to high come first, then bids from
high to low. A level contributes its price and its quantity, each at the instrument's full precision, without
the point and without leading zeros. That is exactly ``str()`` of the value as an integer count of its
smallest unit, which is what books hold.
"""

from __future__ import annotations

import zlib
from itertools import islice
from typing import Mapping

LEVELS = 10
"""Levels of each side in the checksum, at every depth; a shorter side contributes what it has."""


def book_checksum(asks: Mapping[int, int], bids: Mapping[int, int]) -> int:
    """Return the unsigned 32-bit checksum of two sides that run from best to worst; 0 for an empty book.

    >>> book_checksum({}, {100: 100000000})
    681636827
    """
    text = "".join(f"{price}{qty}" for side in (asks, bids) for price, qty in islice(side.items(), LEVELS))
    return zlib.crc32(text.encode())
