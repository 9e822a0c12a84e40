"""Many long random walks of books against the naive oracle; for as long as you like.

python tests/stress_book.py --walks 1000 --seed 5
"""

from __future__ import annotations

import argparse
import random

from oracle import Digits, Walk

from kraken_sync.core.book.book import Book
from kraken_sync.core.wire.messages import decode_book


def walk(seed: int) -> int:
    """One walk with everything about it at random; returns the number of messages."""
    rng = random.Random(seed)
    depth = rng.choice((10, 10, 25, 100, 500, 1000))
    digits = Digits(rng.randrange(0, 10), rng.randrange(0, 9))
    levels = max(2, int(depth * rng.choice((0.1, 0.5, 1.0, 1.1, 3.0))))
    source = Walk(seed, depth, digits, levels, 10 ** rng.randrange(1, 19))
    book, steps = Book("A/B", depth), 50_000 // depth
    for step in range(steps):
        snapshot = step == 0 or rng.random() < 0.01
        frame = source.snapshot() if snapshot else source.update()
        data = decode_book(frame.encode()).data[0]
        assert book.apply(data, snapshot), f"seed {seed}, step {step}: {frame[:500]}"
        assert dict(book.bids) == source.view["bids"], f"seed {seed}, step {step}"
        assert dict(book.asks) == source.view["asks"], f"seed {seed}, step {step}"
    book._check()
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--walks", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    messages = sum(walk(options.seed + number) for number in range(options.walks))
    print(f"{options.walks} walks, {messages} messages, every checksum and every level as in the oracle")


if __name__ == "__main__":
    main()
