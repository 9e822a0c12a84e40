"""Switches for everything that may go wrong at the exchange's end of the line."""

from __future__ import annotations

from collections import Counter
from typing import Callable, List, Optional, Set, Tuple
from typing import Counter as CounterType


class Faults:
    """Set these from any thread; counts are used up one by one.

    Faults of the line itself (``cut``, ``half_frame``, close codes) are methods of the simulator.
    """

    def __init__(self) -> None:
        self.refused: Set[str] = set()
        """Symbols that are refused as if they did not exist."""
        self.bad_checksum: CounterType[str] = Counter()
        """Symbol -> how many of its next book updates carry a wrong checksum; ``level3/`` before a symbol
        means those of level3, here and in ``bad_snapshot`` and ``skip_update``."""
        self.bad_snapshot: CounterType[str] = Counter()
        """Symbol -> how many of its next book snapshots carry a wrong checksum."""
        self.skip_update: CounterType[str] = Counter()
        """Symbol -> how many of its next book updates are not sent at all."""
        self.no_snapshot: CounterType[str] = Counter()
        """Symbol -> how many of its next subscriptions are acknowledged but get no data."""
        self.muted: Set[Tuple[str, str]] = set()
        """(channel, symbol): its subscriptions are acknowledged and get their snapshot, but no updates."""
        self.mute = False
        """Nothing at all is sent, on any connection; the connections stay."""
        self.garble: Optional[Callable[[str], str]] = None
        """Every message passes through this before it leaves: what it returns is sent."""
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

        self.drop_replies = 0
        """How many of the next trading requests are carried out without a reply."""
        self.reply_delay = 0.0
        """Seconds by which replies to trading requests come late."""
        self.request_delay = 0.0
        """Seconds that requests on private connections wait before they reach the engine."""
        self.rejections: List[str] = []
        """The next trading requests are refused in these words, one each, and not carried out."""
        self.internal_errors = 0
        """How many of the next trading requests are carried out, but answered with an internal error."""
        self.gone_text = "EOrder:Invalid order"
        """The answer to a WebSocket request about an order that is not open; ``EOrder:Unknown order`` is the
        other one that was seen."""
        self.rest_lag = 0.0
        """Seconds by which REST's orders and trades are behind."""
        self.reports_first = False
        """Reports of executions leave before the reply that they belong to."""
        self.skip_executions = 0
        """How many of the next executions messages are not sent: a hole in their sequence."""
        self.skip_balances = 0
        """The same for balances."""
        self.refuse_tokens = 0
        """How many of the next private requests are refused as if their token had died."""
        self.old_batch_cancel = False
        """``batch_cancel`` is answered in the form recorded in 2024: ``orders_cancelled``, no result."""
        self.rest_errors: List[str] = []
        """The next private REST requests are answered with these errors, one each."""
        self.rest_answers: List[Tuple[int, bytes]] = []
        """The next private REST requests (without those for tokens) are carried out, but answered with these
        statuses and bodies instead, one each."""
        self.rest_delay = 0.0
        """Seconds before a private REST answer leaves."""
        self.public_rest_errors: List[str] = []
        """The next public REST requests are answered with these errors, one each."""
        self.public_rest_delay = 0.0
        """Seconds before a public REST answer leaves."""

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

    def use_up(self, name: str) -> bool:
        """Whether the counted fault ``name`` is set; uses one up."""
        left = getattr(self, name)
        if left <= 0:
            return False
        setattr(self, name, left - 1)
        return True


_NAMES = (
    "refused",
    "bad_checksum",
    "bad_snapshot",
    "skip_update",
    "no_snapshot",
    "muted",
    "mute",
    "garble",
    "no_status",
    "drop_acks",
    "ack_delay",
    "drop_pongs",
    "message_rate",
    "refuse_connections",
    "refuse_status",
    "connection_error",
    "drop_replies",
    "reply_delay",
    "request_delay",
    "rejections",
    "internal_errors",
    "gone_text",
    "rest_lag",
    "reports_first",
    "skip_executions",
    "skip_balances",
    "refuse_tokens",
    "old_batch_cancel",
    "rest_errors",
    "rest_answers",
    "rest_delay",
    "public_rest_errors",
    "public_rest_delay",
)
