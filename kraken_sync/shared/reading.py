"""One subscription as a reader of a shared feed has it. Pure."""

from __future__ import annotations

import json
from typing import Any, Dict, NamedTuple, Optional

from ..core.wire.channels import Key
from .layout import Mark


class Missing(NamedTuple):
    """Stands between messages where some of a subscription are missing."""

    key: Key
    reason: str


class Reading:
    """One subscription as it is read.

    Args:
        key: the subscription.
        cursor: the id after which to read on.
        stateful: whether it begins with a state.
        params: the parameters with which it is published.
    """

    def __init__(self, key: Key, cursor: str, stateful: bool, params: Dict[str, Any]) -> None:
        self.key = key
        self.params = params
        self.cursor = cursor
        self.mark: Optional[Mark] = None
        """The last message that was passed on; None until there is one."""
        self._waits = self._stateful = stateful

    def waits(self) -> bool:
        """Return whether it waits for a state to begin with; nothing is read meanwhile."""
        return self._waits

    def begin(self, mark: Mark) -> None:
        """Read on after ``mark``."""
        self.mark, self.cursor, self._waits = mark, str(mark), False

    def begin_anew(self) -> None:
        """Wait for a state, if there are any for this channel."""
        self._waits = self._stateful


def ended(key: Key) -> bytes:
    """Return how the exchange tells that it has ended a subscription."""
    result = {name: value for name, value in zip(("channel", "symbol", "interval"), key) if value is not None}
    return json.dumps({"method": "unsubscribe", "success": True, "result": result}).encode()
