"""The book path, without sockets: decode, apply, verify. Only updates are timed, after the snapshots."""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .. import internals
from ..captures import recordings
from ..feed import PRICE_DIGITS, QTY_DIGITS, SYMBOL
from ..measure import US, Line, Runs, compared, interleaved
from ..stage import Stage
from . import peers

Limits = Mapping[str, Tuple[float, float]]
SDK, C, DECODING = "python-kraken-sdk", "order_book (C)", "decoding alone"
DEEP, LEVEL2 = "ours at depth 10", "our level-2 book"
LIMITS: Dict[int, Limits] = {
    10: {SDK: (5.0, 4.0), C: (2.2, 1.7), DECODING: (5.5, 7.5)},
    1000: {SDK: (220.0, 150.0), C: (13.0, 9.0), DEEP: (1.3, 1.6)},
}
SNAPSHOT_LIMITS = 110.0, 70.0
PEERS_AT_MOST = {10: 10_000, 100: 2_000, 1000: 150}
"""How many updates of a synthetic feed python-kraken-sdk is given: at the depth of 1000 each takes it about a
millisecond."""


class Input(NamedTuple):
    """One feed."""

    name: str
    depth: int
    snapshots: Sequence[bytes]
    updates: Sequence[bytes]
    digits: Mapping[str, Tuple[int, int]]
    recorded: bool = False


def book(stage: Stage) -> List[Line]:
    """One message at the depths of 10, 100 and 1000."""
    inputs = []
    for depth in (10, 100, 1000):
        frames = stage.feed(depth, stage.count(20_000))
        inputs.append(_synthetic(f"book path, {depth}", depth, frames))
    inputs += [Input(f"book path, {one.name}", *one[1:], recorded=True) for one in recordings()]
    sides: Dict[str, Any] = {}
    for one in inputs:
        sides.update(_sides(one))
    runs = interleaved(sides, stage.rounds)
    return [line for one in inputs for line in _lines(one, runs)]


def snapshot(stage: Stage) -> List[Line]:
    """A snapshot of 1000 levels a side, up to the verified book."""
    frames = stage.feed(1000, 1)[:1]
    digits = {SYMBOL: (PRICE_DIGITS, QTY_DIGITS)}
    sides = {
        "ours": lambda: min(internals.applied(frames, [], 1000)[0] for _ in range(5)) * 1e6,
        SDK: lambda: peers.sdk(frames, [], 1000, digits)[0] * 1e6,
    }
    runs = interleaved(sides, stage.rounds)
    return [compared("snapshot of 1000 levels", US, runs, "ours", SDK, SNAPSHOT_LIMITS, faster=True)]


def level3(stage: Stage) -> List[Line]:
    """A message of a level-3 book, beside one of a level-2 book of the same simulated market."""
    lines = []
    for depth, usual in ((10, 5_000), (100, 5_000), (1000, 1_000)):
        count = stage.count(usual)
        books, orders = internals.simulated(depth, count), internals.simulated_level3(depth, count)
        sides = {
            "ours": partial(internals.level3_applied, orders, depth),
            LEVEL2: partial(_whole, books, depth),
        }
        runs = interleaved(sides, stage.rounds)
        each = 1e6 / count
        costs: Runs = {side: [seconds * each for seconds in runs[side]] for side in runs}
        lines.append(compared(f"level-3 book path, {depth}", US, costs, "ours", LEVEL2))
    return lines


def _whole(frames: Sequence[bytes], depth: int) -> float:
    return sum(internals.applied(frames[:1], frames[1:], depth))


def _synthetic(name: str, depth: int, frames: Sequence[bytes]) -> Input:
    return Input(name, depth, frames[:1], frames[1:], {SYMBOL: (PRICE_DIGITS, QTY_DIGITS)})


def _sides(one: Input) -> Dict[str, Any]:
    few = one.updates if one.recorded else one.updates[: PEERS_AT_MOST[one.depth]]
    each = 1e6 / len(one.updates)
    return {
        one.name: lambda: internals.applied(one.snapshots, one.updates, one.depth)[1] * each,
        f"{DECODING} {one.name}": lambda: internals.decoded(one.updates) * each,
        f"{C} {one.name}": lambda: peers.order_book(one.snapshots, one.updates, one.depth)[1] * each,
        f"{SDK} {one.name}": lambda: peers.sdk(one.snapshots, few, one.depth, one.digits)[1] / len(few) * 1e6,
    }


def _lines(one: Input, runs: Runs) -> List[Line]:
    limits: Limits = {} if one.recorded else LIMITS.get(one.depth, {})
    lines = []
    for base in (SDK, C, DECODING):
        allowed: Sequence[Optional[float]] = limits.get(base, (None, None))
        these = {"ours": runs[one.name], base: runs[f"{base} {one.name}"]}
        lines.append(compared(one.name, US, these, "ours", base, allowed, faster=base != DECODING))
    if one.depth == 1000 and not one.recorded:
        these = {"ours": runs[one.name], DEEP: runs["book path, 10"]}
        lines.append(compared(one.name, US, these, "ours", DEEP, limits[DEEP]))
    return lines
