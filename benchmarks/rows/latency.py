"""From the server's write to the reader: how late each message is seen through ``book.changes()``.

A state that combines several messages shows all of them: each of them was late by its own time.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from ..measure import US, Line, alone, compared, interleaved, quantile
from ..stage import Stage, awaited

RATE = 2_000.0
SHORT, USUAL = 0.0005, 0.005
"""Switch intervals of the interpreter, in seconds; the second is its default."""


class Lateness(NamedTuple):
    """How late messages were seen, in seconds."""

    p50: float
    p99: float
    growth: float
    """The median of the last fifth, as a multiple of that of the first fifths."""


def lateness(sent: Sequence[float], seen: Sequence[Tuple[int, float]]) -> Lateness:
    """Compare when messages were sent with when states were seen; message 1 is the first in ``sent``."""
    late: List[float] = []
    for number, at in seen:
        late += [at - moment for moment in sent[len(late) : number]]
    fifth = max(1, len(late) // 5)
    return Lateness(
        quantile(late, 0.5),
        quantile(late, 0.99),
        quantile(late[-fifth:], 0.5) / max(1e-9, quantile(late[:-fifth], 0.5)),
    )


def latency(stage: Stage) -> List[Line]:
    """With an idle main thread, beside a bare receive loop in the same run."""
    runs = _runs(stage, 5.0, {"ours": {"kind": "ours"}, "bare": {"kind": "bare"}}, stage.rounds)
    base = "bare TLS receive loop"
    pairs = {"ours": runs["ours"], base: runs["bare"]}
    name = "wire to changes(), 2,000 a second"
    return [
        compared(f"{name}, p50", US, pairs, "ours", base, (3.0, 4.0), pick=lambda one: one.p50 * 1e6),
        compared(f"{name}, p99", US, pairs, "ours", base, (2.0, 4.0), pick=lambda one: one.p99 * 1e6),
    ]


def busy(stage: Stage) -> List[Line]:
    """While the main thread computes without a pause, in switch intervals."""
    lines: List[Line] = []
    for interval, seconds, p50, p99, backlog in (
        (SHORT, 5.0, (3.0, 5.0), (20.0, 40.0), (1.2, 2.0)),
        (USUAL, 2.0, (None, None), (None, None), (None, None)),
    ):
        asked = {"kind": "ours", "busy": 1, "switch": interval, "patience": 30.0}
        runs = _runs(stage, seconds, {"ours": asked}, stage.rounds)["ours"]
        name = f"busy main thread, {interval * 1e3:g} ms"
        unit = "switches"
        lines += [
            alone(f"{name}, p50", unit, [run.p50 / interval for run in runs], p50),
            alone(f"{name}, p99", unit, [run.p99 / interval for run in runs], p99),
            alone(f"{name}, last fifth", "times", [run.growth for run in runs], backlog),
        ]
    return lines


def _runs(stage: Stage, seconds: float, sides: Dict[str, Dict[str, Any]], rounds: int) -> Any:
    count = int(RATE * stage.seconds(seconds))
    frames, times = stage.feed(10, count), stage.path("times.json")
    with stage.venue(frames, rate=RATE, times=times, start="trade") as venue:

        def measured(options: Dict[str, Any]) -> Lateness:
            times.unlink(missing_ok=True)
            seen = stage.path("seen.json")
            stage.client("latency", venue, last=count, seen=seen, **options)
            return lateness(awaited(times), awaited(seen))

        return interleaved({name: partial(measured, options) for name, options in sides.items()}, rounds)
