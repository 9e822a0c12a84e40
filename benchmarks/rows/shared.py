"""One feed for many processes over Redis: readers' lateness and cost, and what a publisher writes."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import Any, Iterator, List, NamedTuple, Sequence

from ..measure import US, Line, alone, compared, median
from ..redis_server import redis_server
from ..stage import Process, Stage, Venue, awaited
from .latency import RATE, Lateness, lateness

FEW, MANY, DEPTH, LATE_RATE = 3, 8, 1000, 1_000.0


class Run(NamedTuple):
    """What the readers of one run have measured."""

    late: List[Lateness]
    cpu: List[float]
    """CPU seconds of each reader."""
    bare: float
    """CPU seconds of the bare loop beside them."""


def shared(stage: Stage) -> List[Line]:
    """A feed shared over Redis, 2,000 a second: lateness and CPU of readers; a flood; a late reader."""
    rounds = range(stage.rounds)
    few = [_readers(stage, FEW) for _ in rounds]
    many = [_readers(stage, MANY if not stage.smoke else FEW) for _ in rounds]
    base = "bare XREAD loop"
    messages = RATE * stage.seconds(5.0)
    runs = {
        "ours": [median(run.cpu) / messages * 1e6 for run in many],
        base: [run.bare / messages * 1e6 for run in many],
    }
    name = "shared over Redis, 2,000 a second"
    return [
        alone(f"{name}, {FEW} readers, p50", "ms", [_worst(run, "p50") for run in few], (2.0, 4.0)),
        alone(f"{name}, {FEW} readers, p99", "ms", [_worst(run, "p99") for run in few], (10.0, 20.0)),
        alone(f"{name}, {MANY} readers, p99", "ms", [_worst(run, "p99") for run in many], (30.0, 60.0)),
        compared(f"{name}, CPU of one of {MANY} readers", US, runs, "ours", base, (3.0, 5.0)),
        _flood(stage),
        _late_reader(stage),
    ]


def _worst(run: Run, which: str) -> float:
    return max(float(getattr(one, which)) for one in run.late) * 1e3


@contextmanager
def _published(stage: Stage, venue: Venue, url: str, **options: Any) -> Iterator[Process]:
    """A publisher that is ready; it begins when it is told to."""
    with stage.process("shared_publisher", venue.ws, redis=url, **options) as publisher:
        publisher.hear()
        yield publisher


def _readers(stage: Stage, readers: int) -> Run:
    """So many readers of one feed, and a bare loop beside them."""
    count = int(RATE * stage.seconds(5.0))
    times = stage.path("times.json")
    seen = [stage.path("seen.json") for _ in range(readers)]
    with ExitStack() as stack:
        url = stack.enter_context(redis_server(stage.path("redis")))
        venue = stack.enter_context(stage.venue(stage.feed(10, count), rate=RATE, times=times, start="trade"))
        publisher = stack.enter_context(_published(stage, venue, url))
        options: Sequence[Any] = [{"kind": "bare"}, *({"kind": "ours", "seen": path} for path in seen)]
        started = [
            stack.enter_context(stage.process("shared_reader", url, count=count, **one)) for one in options
        ]
        for one in started:
            one.hear()
        publisher.tell()
        bare, *cpu = [one.hear()["cpu"] for one in started]
        sent = awaited(times)
        return Run([lateness(sent, awaited(path)) for path in seen], cpu, bare)


def _flood(stage: Stage) -> Line:
    """What a publisher writes at most."""
    count = stage.count(50_000, 1_000)
    rates = []
    with stage.venue(stage.feed(10, count), start="trade") as venue:
        for _ in range(stage.rounds):
            with ExitStack() as stack:
                url = stack.enter_context(redis_server(stage.path("redis")))
                publisher = stack.enter_context(_published(stage, venue, url, count=count, flood=1))
                publisher.tell()
                rates.append(publisher.hear()["rate"])
    name = "shared over Redis: published in a flood"
    return alone(name, "a second", rates, (20_000.0, 10_000.0), faster=True)


def _late_reader(stage: Stage) -> Line:
    """How soon a new reader has a deep book that changes all the time."""
    frames = stage.feed(DEPTH, int(LATE_RATE * stage.seconds(1.0 + 2 * stage.rounds)))
    took = []
    with ExitStack() as stack:
        url = stack.enter_context(redis_server(stage.path("redis")))
        venue = stack.enter_context(stage.venue(frames, rate=LATE_RATE, start="trade"))
        stack.enter_context(_published(stage, venue, url, depth=DEPTH)).tell()
        for _ in range(stage.rounds):
            with stage.process("shared_reader", url, kind="late", depth=DEPTH) as reader:
                took.append(reader.hear()["took"] * 1e3)
    return alone(f"shared over Redis: late reader, {DEPTH} levels", "ms", took, (100.0, 300.0))
