"""All rows, with what their figures do not tell."""

from __future__ import annotations

from typing import Callable, List, NamedTuple

from .measure import Line
from .rows import (
    book,
    idle,
    importing,
    latency,
    live,
    many,
    memory,
    receive,
    recording,
    roundtrip,
    session,
    shared,
)
from .stage import Stage


class Benchmark(NamedTuple):
    """One or a few rows of the table."""

    name: str
    run: Callable[[Stage], List[Line]]
    caveat: str

    @property
    def title(self) -> str:
        """What it measures, in one line."""
        return (self.run.__doc__ or "").strip().splitlines()[0]


ALL = (
    Benchmark(
        "live",
        live.flood,
        "CPU of the whole client process for a message. In a flood many messages arrive in one TLS record, "
        "which the exchange does at busy moments only. ccxt does not verify checksums.",
    ),
    Benchmark(
        "paced",
        live.paced,
        "One TLS record a message: a system call, a decryption and a wake-up for each are in every figure.",
    ),
    Benchmark(
        "receive",
        receive.receive,
        "CPU of the receiving process, which does nothing with the messages. The same transport as in the "
        "client, without its session.",
    ),
    Benchmark(
        "session",
        session.session,
        "The first figure is what the loop takes beyond decode, apply and verify, so it may be smaller than "
        "the noise of either. No reader waits, and no TLS is in it.",
    ),
    Benchmark(
        "book",
        book.book,
        "Updates only. The synthetic market has as much going on at every level; in a real one most happens "
        "near the best price. python-kraken-sdk is given fewer updates of the deep books.",
    ),
    Benchmark(
        "snapshot",
        book.snapshot,
        "python-kraken-sdk does not verify the snapshot itself; we do.",
    ),
    Benchmark(
        "level3",
        book.level3,
        "Both feeds are of the same simulated market; level 3 is about single orders. Snapshots count, too.",
    ),
    Benchmark(
        "latency",
        latency.latency,
        "Loopback, so no network's latency is in it. A message that is combined with later ones into one "
        "state counts as seen when that state is read. Wall-clock times suffer from whatever else runs.",
    ),
    Benchmark(
        "busy",
        latency.busy,
        "The main thread gives up the interpreter only when it is asked to, which takes one switch interval "
        "each time. 'last fifth' is the median of the last fifth in medians of what came before: a backlog "
        "that grows makes it large.",
    ),
    Benchmark(
        "many",
        many.many,
        "Neither figure has the subscribing in it. The three connections belong to three clients of one "
        "process, which share one interpreter.",
    ),
    Benchmark(
        "memory",
        memory.memory,
        "What Python allocates for a book and its subscription, by tracemalloc; what the allocator and the "
        "interpreter add is only in the growth, which is of the whole process.",
    ),
    Benchmark("idle", idle.idle, "The pings that the client sends once a second are in it."),
    Benchmark(
        "streams",
        session.streams,
        "What the reader of a stream spends in its own thread is not in it.",
    ),
    Benchmark(
        "roundtrip",
        roundtrip.roundtrip,
        "The stand-in answers both sides with the same frames, at once and in Python, and reports no "
        "executions. Our client expects its reply on one thread and waits for it on another.",
    ),
    Benchmark(
        "shared",
        shared.shared,
        "Everything is on this machine: the venue, the publisher, Redis, the readers and a bare XREAD loop "
        "beside them compete for its cores, and no network is in it. Lateness is that of the worst reader. "
        "The flood has one plain feed and no reader. The late reader has imported everything, redis-py, too.",
    ),
    Benchmark(
        "recording",
        recording.recording,
        "A replay is served in Python by another process, which may be what limits it. Wall-clock times, and "
        "no TLS.",
    ),
    Benchmark(
        "import",
        importing.importing,
        "With compiled modules on disk and in the page cache; the first import ever takes longer.",
    ),
)
