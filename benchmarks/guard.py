"""Two ratios with so much room that only a real loss of speed breaks them, on a busy machine as well."""

from __future__ import annotations

from typing import List

from . import internals
from .stage import Stage

BOOK_LIMIT, LIVE_LIMIT = 12.0, 6.0
ROUNDS = 5


def guard(stage: Stage) -> List[str]:
    """What is violated, in words; prints both ratios."""
    frames = stage.feed(10, 5_000)
    book = min(
        internals.applied(frames[:1], frames[1:], 10)[1] / internals.decoded(frames[1:])
        for _ in range(3 * ROUNDS)
    )
    with stage.venue(frames) as full, stage.venue(frames, start="bare") as bare:
        live = min(
            stage.client("live", full, count=len(frames))["cpu"]
            / stage.client("receive", bare, count=len(frames), kind="stock")["cpu"]
            for _ in range(ROUNDS)
        )
    wrong = []
    for what, ratio, limit in (
        ("the book path (decode, apply, verify), in times of decoding alone", book, BOOK_LIMIT),
        ("CPU of a live book for a message, in times of a bare websocket-client", live, LIVE_LIMIT),
    ):
        print(f"{what}: {ratio:.2f} (below {limit:g})")
        if ratio >= limit:
            wrong.append(
                f"too slow: {what}, is {ratio:.2f} and must be below {limit:g} (best of several runs)"
            )
    return wrong
