"""Whether a connection has everything that is wished of it."""

from __future__ import annotations

from typing import Optional

from ..freshness import BookState
from .book_views import View, status
from .session import Session


def why_not_ready(session: Session, now: float) -> Optional[str]:
    """Return what is missing at this moment (monotonic seconds): the connection, a subscription, a verified
    book or a live table; None if nothing is. Requires holding the session's lock.
    """
    if not session.open:
        return "there is no connection"
    for entry in session.registry.entries.values():
        if entry.leaving:
            continue
        name = f"{entry.key.channel} {entry.key.symbol or ''}".strip()
        if not entry.live:
            return f"{name} is not subscribed"
        if entry.sync is not None:
            book = status(session, View(entry.sync, ended=False), now)
            if book.state is not BookState.LIVE:
                return f"{name} is {book.state} ({book.reason})"
        if entry.table is not None and not entry.table.live:
            return f"{name} is {entry.table.state}"
    return None
