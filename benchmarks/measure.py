"""Measuring several things in turn, and what a row of the table is."""

from __future__ import annotations

import json
import statistics
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

US, KIB, PERCENT = "us", "KiB", "%"


class Absent(Exception):
    """A peer is not installed, or did not do its part; the text says which."""


Run = Callable[[], Any]
Runs = Dict[str, List[Any]]


def interleaved(sides: Mapping[str, Run], rounds: int) -> Runs:
    """Run all sides in turn, so many times; a side that is absent ends up as a text in place of its runs."""
    runs: Runs = {name: [] for name in sides}
    out: Dict[str, str] = {}
    order = list(sides)
    for number in range(rounds):
        turn = number % len(order)
        for name in order[turn:] + order[:turn]:  # nobody is always the first after the slowest
            if name in out:
                continue
            try:
                runs[name].append(sides[name]())
            except Absent as why:
                out[name] = str(why)
    return {name: [out[name]] if name in out else runs[name] for name in sides}


@dataclass(frozen=True)
class Line:
    """One row of the table. Without a base, ``goal`` and ``least`` are for our figure itself."""

    name: str
    unit: str
    ours: Optional[float]
    base: str = ""
    theirs: Optional[float] = None
    ratio: Optional[float] = None
    goal: Optional[float] = None
    least: Optional[float] = None
    faster: bool = False
    """Whether more is better, as with a ratio that says how many times faster we are."""
    absent: str = ""
    """Why there is no figure of the base."""

    @property
    def verdict(self) -> str:
        """Which of the two limits is kept."""
        value = self.ratio if self.base else self.ours
        if self.goal is None or self.least is None or value is None:
            return ""
        sign = 1 if self.faster else -1
        if sign * value >= sign * self.goal:
            return "goal"
        return "least" if sign * value >= sign * self.least else "missed"

    def as_json(self) -> Dict[str, Any]:
        """The line for machines."""
        return {**vars(self), "verdict": self.verdict}


def compared(
    name: str,
    unit: str,
    runs: Runs,
    ours: str,
    base: str,
    limits: Sequence[Optional[float]] = (None, None),
    *,
    faster: bool = False,
    pick: Callable[[Any], float] = float,
) -> Line:
    """Our runs beside the base's: medians of the figures, and of the ratios of the rounds."""
    goal, least = limits
    mine = [pick(run) for run in runs[ours]]
    if runs[base] and isinstance(runs[base][0], str):
        return Line(name, unit, median(mine), base, None, None, goal, least, faster, runs[base][0])
    theirs = [pick(run) for run in runs[base]]
    ratios = [(b / a) if faster else (a / b) for a, b in zip(mine, theirs)]
    return Line(name, unit, median(mine), base, median(theirs), median(ratios), goal, least, faster)


def alone(
    name: str,
    unit: str,
    values: Sequence[float],
    limits: Sequence[Optional[float]] = (None, None),
    *,
    faster: bool = False,
) -> Line:
    """A figure that is compared with nothing; ``faster`` if more of it is better."""
    return Line(name, unit, median(values), goal=limits[0], least=limits[1], faster=faster)


def median(values: Sequence[float]) -> float:
    """The median."""
    return float(statistics.median(values))


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def last_json(text: str) -> Dict[str, Any]:
    """The object in the last line of a program's output."""
    found: Dict[str, Any] = json.loads(text.strip().splitlines()[-1])
    return found
