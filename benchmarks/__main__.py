"""The program: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import List, Optional, Sequence

from . import report
from .guard import guard
from .measure import Absent, Line
from .registry import ALL, Benchmark
from .stage import Stage

SMOKE_SCALE = 0.02


def arguments(given: Optional[Sequence[str]]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--list", action="store_true", help="the names of all rows, and nothing else")
    parser.add_argument("--only", metavar="NAME[,NAME]", help="these rows")
    parser.add_argument("--rounds", type=int, default=5, help="of every measurement, in turn (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the numbers of messages")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="the same for a page of the docs")
    parser.add_argument(
        "--smoke", action="store_true", help="show that everything runs; figures mean nothing"
    )
    parser.add_argument("--guard", action="store_true", help="fail if two ratios are far from what they were")
    options = parser.parse_args(given)
    if options.smoke:
        options.rounds, options.scale = 1, SMOKE_SCALE
    names = {one.name for one in ALL}
    options.only = options.only.split(",") if options.only else [one.name for one in ALL]
    if not set(options.only) <= names:
        parser.error(f"--only takes names of: {', '.join(one.name for one in ALL)}")
    return options


def measured(stage: Stage, chosen: Sequence[Benchmark]) -> List[Line]:
    """Run these benchmarks; what each measures is told on standard error meanwhile."""
    lines: List[Line] = []
    for one in chosen:
        print(f"{one.name}: {one.title}", file=sys.stderr, flush=True)
        try:
            lines += one.run(stage)
        except Absent as why:
            lines.append(Line(one.name, "", None, absent=str(why)))
    return lines


def main(given: Optional[Sequence[str]] = None) -> int:
    """Run the program, and return its exit code."""
    options = arguments(given)
    if options.list:
        print("\n".join(f"{one.name:10} {one.title}" for one in ALL))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), options.rounds, options.scale, options.smoke)
        if options.guard:
            try:
                wrong = guard(stage)
            except Absent as why:
                wrong = [f"the guard cannot run: {why}"]
            print("\n".join(wrong), file=sys.stderr)
            return 1 if wrong else 0
        chosen = [one for one in ALL if one.name in options.only]
        lines = measured(stage, chosen)
    caveats = [f"{one.name}: {one.caveat}" for one in chosen]
    print(report.text(lines, caveats, options.rounds, options.scale))
    if options.csv is not None:
        options.csv.write_text(report.narrow(lines))
    if options.json is not None:
        found = {
            "machine": report.about(),
            "versions": report.versions(),
            "rounds": options.rounds,
            "scale": options.scale,
            "lines": [line.as_json() for line in lines],
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
