"""Real recordings of the exchange's book channel, where a copy of them is present."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

FOLDER = Path(
    os.environ.get("KRAKEN_SYNC_CAPTURES")
    or os.environ.get("KRAKEN_CAPTURES")
    or Path(__file__).parents[2] / "shared" / "captures"
)


class Recording(NamedTuple):
    """The book messages of one recording."""

    name: str
    depth: int
    snapshots: List[bytes]
    updates: List[bytes]
    digits: Dict[str, Tuple[int, int]]
    """The digits of price and quantity of each symbol."""


def recordings() -> List[Recording]:
    """What is there: one of BTC/USD at depth 10, and one of five symbols at depth 1000."""
    deep = "cryptofeed/derived_v2_book_d1000_5pairs_20210417.jsonl"
    found = [
        _read("recorded, 10", "trading-system/btcusd_book_d10_20260719T1754Z.jsonl", 10),
        _read("recorded, 1000", deep, 1000),
    ]
    return [one for one in found if one is not None]


def _read(name: str, path: str, depth: int) -> Optional[Recording]:
    if not (FOLDER / path).is_file():
        return None
    snapshots, updates = [], []
    digits: Dict[str, Tuple[int, int]] = {}
    for line in (FOLDER / path).read_bytes().splitlines():
        message = json.loads(line, parse_float=str)
        if message.get("channel") != "book":
            continue
        (data,) = message["data"]
        if message["type"] == "snapshot":
            snapshots.append(line)
            level = (data["asks"] or data["bids"])[0]
            digits[data["symbol"]] = _digits(level["price"]), _digits(level["qty"])
        else:
            updates.append(line)
    return Recording(name, depth, snapshots, updates, digits)


def _digits(text: str) -> int:
    return len(text.partition(".")[2])
