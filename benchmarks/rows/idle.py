"""What waiting costs."""

from __future__ import annotations

from typing import List

from ..feed import names
from ..measure import PERCENT, Line, alone
from ..stage import Stage

SYMBOLS = 200


def idle(stage: Stage) -> List[Line]:
    """200 quiet subscriptions, with a heartbeat a second."""
    seconds = stage.seconds(10.0)
    with stage.venue(symbols=names(SYMBOLS)) as venue:
        shares = [
            stage.client("idle", venue, symbols=SYMBOLS, seconds=seconds)["share"]
            for _ in range(min(3, stage.rounds))
        ]
    return [alone("200 quiet subscriptions: of a core", PERCENT, shares, (1.0, 2.0))]
