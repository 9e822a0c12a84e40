"""Recordings: what verifying one costs, how fast one is replayed, and how fast the simulated market is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import List, Sequence

from kraken_sync.recording import verify_file

from .. import internals
from ..measure import US, Line, alone, compared, interleaved
from ..stage import ROOT, Stage

MEMORY, BARE = "the same from memory", "bare websocket-client, UTF-8 checked"


def recording(stage: Stage) -> List[Line]:
    """Verifying and replaying a recording of one book, and the events of the simulated market."""
    frames = stage.feed(10, stage.count(20_000))
    plain, packed = stage.path("day.jsonl"), stage.path("day.jsonl.gz")
    for path in (plain, packed):
        internals.record(path, frames)
    each = 1e6 / len(frames)
    sides = {
        "plain": lambda: _verified(plain, len(frames)) * each,
        "gzip": lambda: _verified(packed, len(frames)) * each,
        MEMORY: lambda: sum(internals.applied(frames[:1], frames[1:], 10)) * each,
    }
    runs = interleaved(sides, stage.rounds)
    lines = [
        compared(f"verify a recording, {name}", US, runs, name, MEMORY, (1.5, 1.5))
        for name in ("plain", "gzip")
    ]
    events = stage.count(20_000, 500)
    rounds = [internals.market(events) / events * 1e6 for _ in range(stage.rounds)]
    return [
        *lines,
        _replay(stage, plain, frames),
        alone("an event of the simulated market", US, rounds, (60, 60)),
    ]


def _verified(path: Path, count: int) -> float:
    started = time.perf_counter()
    report = verify_file(path)
    seconds = time.perf_counter() - started
    assert (report.verified, report.mismatched) == (count, 0), report
    return seconds


def _replay(stage: Stage, path: Path, frames: Sequence[bytes]) -> Line:
    """A replay at full speed through a client with a live book, beside a bare receive of the same bytes."""
    with stage.venue(frames, tls=False, start="bare") as venue:
        sides = {
            "ours": lambda: _replayed(stage, path, len(frames)),
            BARE: lambda: stage.client("receive", venue, count=len(frames), kind="checked")["wall"],
        }
        runs = interleaved(sides, stage.rounds)
    return compared("replay through a live book", US, runs, "ours", BARE, (2.0, 2.0))


def _replayed(stage: Stage, path: Path, count: int) -> float:
    command = [sys.executable, "-m", "kraken_sync", "replay", str(path), "--speed", "max"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as server:
        assert server.stdout is not None
        try:
            places = json.loads(server.stdout.readline())
            given = ("--ws", places["ws_url"], "--rest", places["rest_url"], "--count", str(count))
            seconds: float = stage.python("benchmarks.clients.replay", *given)["wall"]
        finally:
            server.terminate()
    return seconds
