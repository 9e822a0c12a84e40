"""Switches for everything that may go wrong at the exchange's end of the line."""

from __future__ import annotations

from collections import Counter
from typing import Counter as CounterType
from typing import Optional, Set


class Faults:
    """Set these from any thread; counts are used up one by one.

    Faults of the line itself (``cut``, ``half_frame``, close codes) are methods of the simulator.
    """

    def __init__(self) -> None:
        self.refused: Set[str] = set()
        """Symbols that are refused as if they did not exist."""
        self.bad_checksum: CounterType[str] = Counter()
        """Symbol -> how many of its next book updates carry a wrong checksum."""
        self.bad_snapshot: CounterType[str] = Counter()
        """Symbol -> how many of its next book snapshots carry a wrong checksum."""
        self.skip_update: CounterType[str] = Counter()
        """Symbol -> how many of its next book updates are not sent at all."""
        self.no_snapshot: CounterType[str] = Counter()
        """Symbol -> how many of its next subscriptions are acknowledged but get no data."""
        self.mute = False
        """Nothing at all is sent, on any connection; the connections stay."""
        self.no_status = False
        """The greeting is not sent."""
        self.drop_acks = 0
        """How many of the next replies to subscribe or unsubscribe are not sent."""
        self.ack_delay = 0.0
        """Seconds by which replies to subscribe and unsubscribe, and what follows them, come late."""
        self.drop_pongs = False
        """JSON pings are not answered."""
        self.message_rate: Optional[float] = None
        """Requests a second on one connection beyond which ``Exceeded msg rate`` is answered."""
        self.refuse_connections = 0
        """How many of the next connections are refused with HTTP status ``refuse_status``."""
        self.refuse_status = 503
        self.connection_error: Optional[str] = None
        """Sent instead of the greeting, as an error about the connection; then it is closed."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _NAMES:
            raise AttributeError(f"no such fault: {name!r}. There are: {', '.join(_NAMES)}")
        super().__setattr__(name, value)

    def use(self, counter: CounterType[str], symbol: str) -> bool:
        """Whether a counted fault is set for ``symbol``; uses one up."""
        if counter[symbol] <= 0:
            return False
        counter[symbol] -= 1
        return True

    def use_ack(self) -> bool:
        """Whether the next reply is to be dropped; uses one up."""
        if self.drop_acks <= 0:
            return False
        self.drop_acks -= 1
        return True


_NAMES = (
    "refused",
    "bad_checksum",
    "bad_snapshot",
    "skip_update",
    "no_snapshot",
    "mute",
    "no_status",
    "drop_acks",
    "ack_delay",
    "drop_pongs",
    "message_rate",
    "refuse_connections",
    "refuse_status",
    "connection_error",
)
