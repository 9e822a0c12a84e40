"""Books are exact and verified: official vectors, and random walks against a naive oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import List

import pytest
from oracle import Digits, Walk

from kraken_sync.core.book.book import Book, smallest_depth
from kraken_sync.core.book.checksum import book_checksum
from kraken_sync.core.book.sync import BookSync, Verdict
from kraken_sync.core.wire.messages import BookData, WireLevel, decode_book

VECTORS = json.loads((Path(__file__).parent / "data" / "book_vectors.json").read_text("utf-8"))


def message(bids: List[list], asks: List[list], checksum: int) -> BookData:
    levels = [[WireLevel(price, qty) for price, qty in side] for side in (bids, asks)]
    return BookData("A/B", checksum, levels[0], levels[1])


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_vectors(vector: dict) -> None:
    """The exchange's published and recorded examples, and edge cases computed from its rules."""
    decimals = vector.get("decimals")
    book = Book("A/B", vector["depth"], tuple(decimals) if decimals else None)
    for index, step in enumerate(vector["messages"]):
        data = message(step["bids"], step["asks"], step["checksum"])

        assert book.apply(data, snapshot=index == 0), f"step {index}: computed {book.computed}"
        book._check()


def test_wrong_checksum_is_noticed() -> None:
    """The comparison can fail."""
    step = VECTORS[0]["messages"][0]
    book = Book("A/B", 10)

    assert not book.apply(message(step["bids"], step["asks"], step["checksum"] ^ 1), snapshot=True)


@pytest.mark.parametrize("bid", ["101.0", "102.0"], ids=["locked", "crossed"])
@pytest.mark.parametrize("at_once", [True, False], ids=["snapshot", "update"])
def test_crossed_book_is_not_verified(bid: str, at_once: bool) -> None:
    """Not even with a right checksum: no matching engine has a bid at or above an ask."""
    sync = BookSync("A/B", 10, Book)
    asks, best, low = [["101.0", "1.0"]], [bid, "1.0"], ["100.0", "1.0"]
    crossed = book_checksum({1010: 10}, {int(bid.replace(".", "")): 10, 1000: 10})
    if not at_once:
        first = message([low], asks, book_checksum({1010: 10}, {1000: 10}))
        assert sync.apply(first, True, 1.0) is Verdict.VERIFIED

    last = message([best, low], asks if at_once else [], crossed)
    assert sync.apply(last, at_once, 2.0) is Verdict.MISMATCHED
    assert sync.reason.startswith("crossed")
    assert not sync.live


@pytest.mark.parametrize("depth", [10, 25, 100, 500, 1000])
@pytest.mark.parametrize(
    ("price_digits", "qty_digits", "levels", "max_qty"),
    [(1, 8, 3.0, 10**10), (6, 8, 1.2, 10**9), (9, 8, 2.0, 10**18), (0, 8, 0.3, 10**9), (4, 0, 0.05, 10**6)],
    ids=["usual", "fractions", "huge quantities", "thin, whole prices", "very thin, whole quantities"],
)
def test_random_walk(depth: int, price_digits: int, qty_digits: int, levels: float, max_qty: int) -> None:
    """Levels and checksum agree with a naive book after every message of a seeded walk."""
    walk = Walk(depth, depth, Digits(price_digits, qty_digits), max(2, int(depth * levels)), max_qty)
    book = Book("A/B", depth)
    steps = 400 if depth <= 100 else 60
    for step in range(steps):
        snapshot = step == 0 or step == steps // 2
        frame = (walk.snapshot() if snapshot else walk.update()).encode()
        data = decode_book(frame).data[0]

        assert book.apply(data, snapshot), f"step {step} of seed {depth}: {frame[:300]!r}"
        assert dict(book.bids) == walk.view["bids"]
        assert dict(book.asks) == walk.view["asks"]
        book._check()


def test_precision_grows() -> None:
    """When the exchange begins to write more digits, the book goes on in smaller units."""
    book = Book("A/B", 10)
    book.apply(message([["100.0", "1.50"]], [["101.0", "2.00"]], 0), snapshot=True)
    book.apply(message([["100.05", "1.500"]], [], 0), snapshot=False)

    assert (book.price_decimals, book.qty_decimals) == (2, 3)
    assert dict(book.bids) == {10005: 1500, 10000: 1500}
    assert dict(book.asks) == {10100: 2000}
    book._check()


@pytest.mark.parametrize("bad", ["1E+999", "-5.0", "1e-99", "x"])
def test_absurd_numbers_raise(bad: str) -> None:
    """A number that no book can hold is refused, never stored."""
    book = Book("A/B", 10)
    book.apply(message([["100.0", "1.0"]], [], 0), snapshot=True)

    with pytest.raises(ValueError):
        book.apply(message([[bad, "1.0"]], [], 0), snapshot=False)


def test_snapshot_frame_verifies_itself() -> None:
    """A book can be handed on as a snapshot in the exchange's own form."""
    walk = Walk(3, 25, Digits(9, 8), 40, 10**17)
    book, copy = Book("A/B", 25), Book("A/B", 25)
    book.apply(decode_book(walk.snapshot().encode()).data[0], snapshot=True)

    assert copy.apply(decode_book(book.snapshot_frame()).data[0], snapshot=True)
    assert copy.top(25) == book.top(25)


def test_smallest_depth() -> None:
    """Without an acknowledgement the depth is the smallest offered one that holds the snapshot."""
    data = message([["1.0", "1.0"]] * 11, [["2.0", "1.0"]] * 3, 0)

    assert smallest_depth((data.bids, data.asks), (10, 25, 100)) == 25
