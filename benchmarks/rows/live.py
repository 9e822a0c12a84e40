"""A live book end to end: CPU of the client process for each message, from connected to all applied."""

from __future__ import annotations

from functools import partial
from typing import Dict, List, Sequence, Tuple

from ..measure import US, Line, Run, Runs, compared, interleaved
from ..stage import Stage, Venue

PEERS = (("python-kraken-sdk", "kraken", "peer_sdk"), ("ccxt", "ccxt", "peer_ccxt"))
"""What we compare with: the name, the package that is imported, and our module that runs it."""
Limits = Sequence[Tuple[float, float]]
RATE = 1_700.0


def flood(stage: Stage) -> List[Line]:
    """As fast as the client takes it; and with a consumer that drains a stream of the same book besides."""
    frames = stage.feed(10, stage.count(20_000))
    with stage.venue(frames) as venue:
        runs = _runs(stage, venue, len(frames), stream=True)
    return [
        *_lines("live book, flood", runs, "ours", ((8.0, 5.5), (4.0, 2.8))),
        *_lines("live book and stream, flood", runs, "ours with a stream", ((5.0, 4.0), (2.5, 2.0))),
    ]


def paced(stage: Stage) -> List[Line]:
    """As the exchange sends it: one message a TLS record, 1,700 a second."""
    frames = stage.feed(10, int(RATE * stage.seconds(5.0)))
    with stage.venue(frames, rate=RATE) as venue:
        runs = _runs(stage, venue, len(frames), stream=False)
    return _lines("live book, 1,700 a second", runs, "ours", ((2.5, 2.0), (2.0, 1.6)))


def _runs(stage: Stage, venue: Venue, count: int, *, stream: bool) -> Runs:
    sides: Dict[str, Run] = {"ours": partial(stage.client, "live", venue, count=count)}
    if stream:
        sides["ours with a stream"] = partial(stage.client, "live", venue, count=count, stream=1)
    for name, package, module in PEERS:
        sides[name] = partial(stage.peer, package, module, venue, count=count)
    return interleaved(sides, stage.rounds)


def _lines(name: str, runs: Runs, ours: str, limits: Limits) -> List[Line]:
    return [
        compared(name, US, runs, ours, peer[0], limit, faster=True, pick=lambda run: run["cpu"])
        for peer, limit in zip(PEERS, limits)
    ]
