"""Maintenances and emergencies that the exchange announces in its ``status`` messages.

The names of the keys are not known in full, so an announcement is understood by its values; ``raw`` has all
of it.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status (``upcoming_maintenance`` and
``emergency``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, List, Mapping, Sequence, Tuple

URGENCIES = ("announced", "reminder_24h", "approaching_30m", "imminent_5m", "final_warning_30s")
NO_NEW_ORDERS = ("cancel_open_orders", "stop_new_orders", "disconnect_and_wait")
"""The advice after which no orders are to be placed."""
ADVICE = ("continue", "reduce_activity", *NO_NEW_ORDERS)
FAR = ("announced", "reminder_24h")
"""The urgencies at which it is hours or days ahead, so that its advice is not for now."""
SERVICES = ("spot_ws", "spot_rest", "spot_fix", "spot_trading", "all")
_OURS = ("spot_ws", "spot_trading", "all")


@dataclass(frozen=True)
class Announcement:
    """A maintenance that is ahead, or an emergency that goes on."""

    kind: str
    """``maintenance`` or ``emergency``."""
    urgency: str
    """How close it is: ``announced``, ``reminder_24h``, ``approaching_30m``, ``imminent_5m`` or
    ``final_warning_30s``; empty if that is not told."""
    services: Tuple[str, ...]
    """The services that it touches, such as ``spot_ws``, ``spot_rest``, ``spot_trading`` or ``all``; empty if
    that is not told."""
    advice: str
    """What the exchange advises: ``continue``, ``reduce_activity``, ``cancel_open_orders``,
    ``stop_new_orders`` or ``disconnect_and_wait``; empty if it advises nothing."""
    raw: Mapping[str, Any] = field(compare=False)
    """The announcement as the exchange sent it; not compared, because it may hold a countdown."""

    @property
    def concerns_orders(self) -> bool:
        """Whether it touches spot orders over WebSocket, as far as that is told."""
        return not self.services or any(name in self.services for name in _OURS)

    @property
    def near(self) -> bool:
        """Whether it is half an hour ahead or less, or goes on, or does not say when it is."""
        return self.kind == "emergency" or self.urgency not in FAR

    @property
    def stops_orders(self) -> bool:
        """Whether it is near and the exchange advises to place no new orders."""
        return self.concerns_orders and self.near and self.advice in NO_NEW_ORDERS

    def __str__(self) -> str:
        words = [self.kind + (f" ({self.urgency})" if self.urgency else "")]
        if self.services:
            words.append(f"of {', '.join(self.services)}")
        if self.advice:
            words.append(f"with the advice {self.advice}")
        return " ".join(words)


def announcements(status: Mapping[str, Any]) -> Tuple[Announcement, ...]:
    """Return what a ``status`` message announces.

    >>> window = {"impact": ["spot_trading"], "when": "imminent_5m", "do": "stop_new_orders"}
    >>> [str(one) for one in announcements({"upcoming_maintenance": [window]})]
    ['maintenance (imminent_5m) of spot_trading with the advice stop_new_orders']
    """
    found = []
    for kind, name in (("maintenance", "upcoming_maintenance"), ("emergency", "emergency")):
        listed = status.get(name)
        for raw in listed if isinstance(listed, list) else []:
            if not isinstance(raw, dict):
                continue
            words = _texts(raw)
            services = tuple(word for word in words if word in SERVICES or word.startswith("futures_"))
            found.append(Announcement(kind, _last(URGENCIES, words), services, _last(ADVICE, words), raw))
    return tuple(found)


def _last(scale: Sequence[str], words: Sequence[str]) -> str:
    """Return the most urgent of the words that are on the scale."""
    return next((word for word in reversed(scale) if word in words), "")


def _texts(value: Any) -> List[str]:
    """Return all texts in it, in order, however deep; without recursion, which has a limit."""
    found, left = [], [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.append(one.lower())
        elif isinstance(one, (list, dict)):
            left.extend(reversed(list(one.values() if isinstance(one, dict) else one)))
    return found
