"""Memory: of one live book, and whether it grows with the messages."""

from __future__ import annotations

import gc
import os
import tracemalloc
from typing import List

from .. import internals
from ..feed import names
from ..measure import KIB, Absent, Line, alone
from ..stage import Stage


def memory(stage: Stage) -> List[Line]:
    """A book as the session holds it, after its snapshot and some updates."""
    shallow, deep = (50, 10) if not stage.smoke else (10, 3)
    lines = [
        alone("memory of a book, 10", KIB, [held(stage, 4 * shallow, 10)], (9.0, 20.0)),
        alone("memory of a book, 1000", KIB, [held(stage, 5 * deep, 1000)], (450.0, 520.0)),
    ]
    count = stage.count(1_000_000, 20_000)
    name = f"growth over {count:,} messages"
    try:
        lines.append(alone(name, KIB, [growth(stage, count)]))
    except Absent as why:
        lines.append(Line(name, KIB, None, absent=str(why)))
    return lines


def held(stage: Stage, books: int, depth: int) -> float:
    """KiB a book."""
    frames = stage.feed(depth, 100)
    symbols = names(books)
    feeds = [internals.symbol_frames(frames, symbol) for symbol in symbols]
    internals.HeldBooks(symbols[:1], depth).take(feeds[0])  # what is made once is not of a book
    gc.collect()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    made = internals.HeldBooks(symbols, depth)
    for feed in feeds:
        made.take(feed)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return (after - before) / books / 1024


def growth(stage: Stage, count: int) -> float:
    """KiB by which this process grows from the first tenth of so many messages to their end."""
    if not os.path.exists("/proc/self/statm"):
        raise Absent("only on Linux")
    frames = stage.feed(10, min(count, 20_000))
    made = internals.HeldBooks(["BTC/USD"], 10)
    at, rounds = 0.0, max(10, count // len(frames))
    for number in range(rounds):
        if number == rounds // 10:
            at = resident()
        made.take(frames)  # its snapshot makes the book begin again
    return (resident() - at) / 1024


def resident() -> float:
    """Bytes of this process that are in memory now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
