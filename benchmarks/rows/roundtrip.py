"""Requests and their replies."""

from __future__ import annotations

from typing import Any, List

from ..measure import US, Line, compared, interleaved
from ..stage import Stage

BARE = "bare websocket-client and json"


def roundtrip(stage: Stage) -> List[Line]:
    """A ping, and an order, each from the call to its answer."""
    count = stage.count(2_000)
    lines: List[Line] = []
    with stage.venue() as venue:

        def trip(kind: str, what: str) -> Any:
            options = {"kind": kind, "what": what, "count": count, "rest": venue.rest}
            return lambda: stage.client("roundtrip", venue, **options)["median"]

        for what, name in (("ping", "send_message(ping)"), ("order", "add_order()")):
            runs = interleaved({"ours": trip("ours", what), BARE: trip("bare", what)}, stage.rounds)
            lines.append(compared(f"round trip, {name}", US, runs, "ours", BARE, (1.5, 2.0)))
    return lines
