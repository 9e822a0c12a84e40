"""What the session and the delivery add to the book path, in the I/O thread's own loop, without a socket."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List

from .. import internals
from ..measure import US, Line, alone, compared, interleaved
from ..stage import Stage

MANY = 11


def session(stage: Stage) -> List[Line]:
    """Session and delivery around a book message, as a share of decode, apply and verify."""
    frames = stage.feed(10, stage.count(20_000))

    def around() -> Dict[str, float]:
        path = sum(internals.applied(frames[:1], frames[1:], 10))
        return {"path": path / len(frames) * 1e6, "loop": internals.io_loop(frames) / len(frames) * 1e6}

    runs: Any = interleaved({"both": around}, stage.rounds)["both"]
    pairs = {
        "ours": [run["loop"] - run["path"] for run in runs],
        "the book path": [run["path"] for run in runs],
    }
    return [compared("session and delivery", US, pairs, "ours", "the book path", (0.35, 0.5))]


def streams(stage: Stage) -> List[Line]:
    """What each further stream of a feed costs the I/O thread, a message."""
    frames = stage.feed(10, stage.count(20_000))
    each = 1e6 / len(frames)
    sides = {str(count): partial(internals.io_loop, frames, count) for count in (0, 1, MANY)}
    runs = interleaved(sides, stage.rounds)
    none, one, many = ([seconds * each for seconds in runs[name]] for name in ("0", "1", str(MANY)))
    further = [(b - a) / (MANY - 1) for a, b in zip(one, many)]
    return [
        alone("each further stream, a message", US, further, (0.2, 0.5)),
        alone("the first stream, a message", US, [b - a for a, b in zip(none, one)]),
    ]
