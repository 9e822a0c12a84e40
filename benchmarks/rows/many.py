"""Many books at once."""

from __future__ import annotations

from typing import List

from ..feed import mixed_feed, names
from ..measure import PERCENT, US, Line, alone, compared, interleaved
from ..stage import Stage

BOOKS, PAIRS, CONNECTIONS, RATE = 500, 1_450, 3, 5_000.0


def many(stage: Stage) -> List[Line]:
    """500 live books on one connection, beside one; and 1,450 over three connections, paced."""
    count = stage.count(20_000)
    books = BOOKS if not stage.smoke else 50
    pairs = PAIRS if not stage.smoke else 90
    one, all_of_them = stage.feed(10, count), mixed_feed(names(books), 10, count)
    with stage.venue(one, start="trade") as single, stage.venue(all_of_them, start="trade") as full:
        sides = {
            "500 books": lambda: stage.client("many", full, books=books, count=count)["cpu"],
            "one book": lambda: stage.client("many", single, books=1, count=count)["cpu"],
        }
        runs = interleaved(sides, stage.rounds)
    lines = [compared("a message among 500 live books", US, runs, "500 books", "one book", (1.4, 1.7))]
    seconds = stage.seconds(10.0)
    total = int(RATE * seconds)
    feed = mixed_feed(names(pairs), 10, total)
    with stage.venue(feed, start="trade", rate=RATE / CONNECTIONS) as venue:
        done = stage.client("many", venue, books=pairs, clients=CONNECTIONS, count=total)
    # Each connection's share of the messages is a little more or less than a third.
    assert done["wall"] < seconds * 1.1 + 1, f"5,000 a second were not held: {done['wall']:.1f} s"
    name = "1,450 books, 3 connections, 5,000/s"
    return [*lines, alone(f"{name}: of a core", PERCENT, [done["share"]])]
