"""What the exchange says about itself: its status, and the maintenances and emergencies that it announces.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status.
"""

from __future__ import annotations

from typing import Any, Dict, Tuple

from ..wire.announcements import Announcement, announcements
from .events import Note, Notice, StatusChanged

_ANNOUNCING = ("upcoming_maintenance", "emergency")


class ExchangeStatus:
    """The last ``status`` message of a connection and of those that it replaces."""

    def __init__(self) -> None:
        self.system = ""
        """``online``, ``maintenance``, ``cancel_only`` or ``post_only``; empty before the first message."""
        self.announcements: Tuple[Announcement, ...] = ()
        """What the last message announces."""
        self.said: Dict[str, Any] = {}
        """The last message's item, with the announcements that still hold."""

    def told(self, data: Any, begins: bool, now: float) -> Tuple[Note, ...]:
        """Take over a message's ``data``, and return what to tell about it.

        ``begins`` says that it is the first message of a connection.
        """
        first: Dict[str, Any] = (
            data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
        )
        before, self.system = self.system, str(first.get("system", ""))
        notes: Tuple[Note, ...] = ()
        changed = bool(before) and before != self.system
        if changed:
            notes = (Notice("WARNING", f"the exchange is now {self.system!r} (was {before!r})"),)
        known, said = self.announcements, self.said
        # A status that has neither key withdraws nothing, unless it begins a connection.
        if begins or any(key in first for key in _ANNOUNCING):
            self.announcements, said = announcements(first), {}
        self.said = {**{key: said[key] for key in _ANNOUNCING if key in said}, **first}
        for one in self.announcements:  # it may be sent every second, and is told once
            if one not in known:
                notes += (Notice("WARNING", f"the exchange announces: {one}"),)
        if changed or set(known) != set(self.announcements):
            notes += (StatusChanged(first, now),)
        return notes
