"""Bare receiving over TLS, without any use of the messages."""

from __future__ import annotations

from typing import Any, Dict, List

from ..frames import server_frame
from ..measure import US, Line, compared, interleaved
from ..stage import Stage

STOCK, PIECES = "stock websocket-client, unchecked", "SSLSocket.recv(65536)"


def receive(stage: Stage) -> List[Line]:
    """Our transport with a check of UTF-8, beside websocket-client without, and beside reading bytes."""
    frames = stage.feed(10, stage.count(50_000))
    size = sum(len(server_frame(frame)) for frame in frames)
    with stage.venue(frames, start="bare") as venue:

        def cpu(kind: str) -> Any:
            return lambda: stage.client("receive", venue, count=len(frames), kind=kind, size=size)["cpu"]

        sides: Dict[str, Any] = {"ours": cpu("ours"), STOCK: cpu("stock"), PIECES: cpu("pieces")}
        runs = interleaved(sides, stage.rounds)
    return [
        compared("bare receive, UTF-8 checked", US, runs, "ours", STOCK, (10.0, 6.0), faster=True),
        compared("bare receive, UTF-8 checked", US, runs, "ours", PIECES, (3.0, 4.0)),
    ]
