"""Maintenances and emergencies that the exchange announces in its ``status`` messages.

The names of the keys are not known in full, so an announcement is understood by its values; ``raw`` has all
of it.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status (``upcoming_maintenance`` and
``emergency``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Tuple

URGENCIES = ("announced", "reminder_24h", "approaching_30m", "imminent_5m", "final_warning_30s")
NO_NEW_ORDERS = ("cancel_open_orders", "stop_new_orders", "disconnect_and_wait")
"""The advice after which no orders are to be placed."""
ADVICE = ("continue", "reduce_activity", *NO_NEW_ORDERS)
FAR = ("announced", "reminder_24h")
"""The urgencies at which it is hours or days ahead, so that its advice is not for now."""
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
        return self.urgency not in FAR

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
            words = tuple(_texts(raw))
            urgency = next((word for word in words if word in URGENCIES), "")
            advice = next((word for word in words if word in ADVICE), "")
            services = tuple(
                word for word in words if word == "all" or word.startswith(("spot_", "futures_"))
            )
            found.append(Announcement(kind, urgency, services, advice, raw))
    return tuple(found)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.lower()
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, dict):
        yield from _texts(list(value.values()))
