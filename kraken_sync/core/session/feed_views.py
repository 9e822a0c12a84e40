"""Questions about subscriptions that are put to a session; see :mod:`.book_views`."""

from __future__ import annotations

from typing import Any, Iterable, List, Mapping, NamedTuple, Optional

from ..wire.channels import Key
from .session import Session


class LatestFrame(NamedTuple):
    """The last frame of a subscription."""

    frame: Optional[bytes]
    """None if there is none yet."""
    current: bool
    """Whether it is what the exchange said last: nothing is missing after it."""


def age(session: Session, now: float) -> float:
    """Return the seconds since the exchange's last proof that everything was received."""
    return session.age(now)


def latest(session: Session, key: Key) -> Optional[LatestFrame]:
    """Return the last frame with data for ``key``; None if nobody wants it."""
    entry = session.registry.entries.get(key)
    if entry is None or entry.leaving:
        return None
    return LatestFrame(entry.last, entry.live and entry.gap is None and bool(entry.primer))


def silence(session: Session, keys: Iterable[Key], now: float) -> str:
    """Return, as text, whether the subscriptions are live, and when the exchange was last heard."""
    entries = [session.registry.entries.get(key) for key in keys]
    age = session.age(now)
    heard = f"the exchange was last heard {age:.1f} s ago"
    if any(entry is None or not entry.live for entry in entries):
        return f"not subscribed at the moment; {heard}"
    data = [entry.fed_at for entry in entries if entry is not None and entry.data_at is not None]
    if not data:
        return f"live, no message so far; {heard}"
    return f"live, last message {now - max(data):.1f} s ago; {heard}"


def exchange_said(session: Session) -> Mapping[str, Any]:
    """Return the item of the exchange's last ``status`` message, with the announcements that still hold."""
    return session.exchange.said


class OpenGap(NamedTuple):
    """Something that is missing, and is not over yet."""

    key: Key
    reason: str
    since: Optional[float]
    """Monotonic seconds; None if it is not known."""


def open_gaps(session: Session, keys: Iterable[Key]) -> List[OpenGap]:
    """Return which of the subscriptions are not complete at this moment, and why."""
    found = []
    for key in keys:
        entry = session.registry.entries.get(key)
        if entry is None or entry.leaving:
            found.append(OpenGap(key, "it is not subscribed any more", None))
        elif entry.gap is not None:
            found.append(OpenGap(key, entry.gap[1], entry.gap[0]))
        elif not entry.live:
            found.append(OpenGap(key, "it is not subscribed at the moment", None))
    return found
