"""What a session tells of its books, as frozen values. Every function requires holding the session's lock.

Facades hand these to ``Connection.read()`` and ``Connection.wait()``; they never see the session itself.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..book.book import Pairs
from ..book.sync import BookSync
from ..freshness import BookState
from ..wire.channels import Key
from .session import Session


class BookStatus(NamedTuple):
    """Whether a book is verified right now. Times are seconds."""

    state: BookState
    reason: str
    since: Optional[float]
    """When it was last proven (monotonic); None while it is LIVE, and before it ever was."""
    age: float
    """Since the last proof; infinite if there never was one."""


class BookReading(NamedTuple):
    """One consistent state of a book: levels as integers, best first."""

    status: BookStatus
    asks: Pairs
    bids: Pairs
    version: int
    generation: int
    updated: Optional[float]
    checksum: Optional[int]
    timestamp: str
    price_decimals: int
    qty_decimals: int


class View(NamedTuple):
    """One facade's view of a book: the book it began with, and whether it has left it."""

    sync: BookSync
    ended: bool


def status(session: Session, view: View, now: float, failure: Optional[Exception] = None) -> BookStatus:
    """State, reason and age of a book. ``failure`` is why the connection was given up for good."""
    sync, ended = view
    if sync.live:
        age = session.age(now)
        state, reason = sync.state, sync.reason
        if not ended and session.silent(now):
            state, reason = BookState.STALE, f"no message for {age:.1f} s"
        if ended:
            state, reason = BookState.CLOSED, "unsubscribed"
        return BookStatus(state, reason, None, age)
    age = float("inf") if sync.since is None else now - sync.since
    if ended:
        return BookStatus(BookState.CLOSED, "unsubscribed", None, age)
    if sync.state is BookState.STALE and failure is not None:
        return BookStatus(sync.state, f"given up: {failure}", sync.since, age)
    return BookStatus(sync.state, sync.reason, sync.since, age)


def reading(
    session: Session, view: View, levels: int, now: float, failure: Optional[Exception] = None
) -> BookReading:
    """The best ``levels`` of both sides, and what they are worth."""
    sync, book = view.sync, view.sync.book
    asks, bids = book.top(levels)
    return BookReading(
        status(session, view, now, failure),
        asks,
        bids,
        book.version,
        sync.generation,
        sync.updated,
        book.checksum,
        book.timestamp,
        book.price_decimals,
        book.qty_decimals,
    )


Mark = Tuple[int, int]
"""What identifies a state of a book: generation and version."""


class News(NamedTuple):
    """What became of several books since somebody last looked."""

    fresh: Sequence[int]
    """The numbers of those that are LIVE and newer than they were."""
    over: bool
    """All of them have ended."""
    refused: Dict[str, str]
    """Those that the exchange has ended, by symbol, with its words."""


def news(session: Session, views: Sequence[View], seen: Sequence[Mark], now: float) -> Optional[News]:
    """What is new of several books, or None if nothing is."""
    fresh: List[int] = []
    over = True
    for number, view in enumerate(views):
        sync = view.sync
        if over and not (view.ended or sync.state is BookState.CLOSED):
            over = False
        newer = (sync.generation, sync.book.version) != seen[number]
        if newer and sync.live and status(session, view, now).state is BookState.LIVE:
            fresh.append(number)
    if not fresh and not over:
        return None
    refused = {view.sync.book.symbol: view.sync.reason for view in views if view.sync.refused}
    return News(fresh, over, refused)


class FirstSnapshot(NamedTuple):
    """How a book came to its first snapshot of enough depth, or did not."""

    ready: bool
    state: BookState
    reason: str
    silence: float
    """Seconds since the last frame of any kind."""


def book_of(session: Session, symbol: str) -> Optional[BookSync]:
    """The book of ``symbol``, if it is wanted."""
    return session.subscriptions.book(symbol)


def first_snapshot(session: Session, sync: BookSync, depth: int, now: float) -> FirstSnapshot:
    """Whether a book is live with at least ``depth`` levels, and if not, why."""
    ready = sync.live and sync.book.depth >= depth
    return FirstSnapshot(ready, sync.state, sync.reason, session.age(now))


def decided(session: Session, sync: BookSync, depth: int) -> bool:
    """Whether a book is live with at least ``depth`` levels, or can never be."""
    return (sync.live and sync.book.depth >= depth) or sync.state is BookState.CLOSED


def resyncing(session: Session, symbol: str) -> Optional[str]:
    """Why the book of ``symbol`` waits for its next resync, or None if it does not."""
    sync = session.subscriptions.book(symbol)
    return sync.reason if sync is not None and sync.state is BookState.RESYNCING else None


def live_since(session: Session, symbol: str) -> Optional[int]:
    """The checksum of the snapshot that a live book began with; None if it is not live."""
    sync = session.subscriptions.book(symbol)
    return sync.snapshot_checksum if sync is not None and sync.live else None


def resync(session: Session, symbols: Sequence[str], reason: str, now: float) -> None:
    """Fetch live books anew, for somebody who has lost track of them."""
    for symbol in symbols:
        session.data.resync_book(symbol, reason, now)


def book_key(symbol: str) -> Key:
    """The key of a symbol's book."""
    return Key("book", symbol)


def active_subscriptions(session: Session) -> List[Dict[str, object]]:
    """The confirmed subscriptions that somebody asked for, one dict of parameters per key."""
    return [
        {
            "channel": key.channel,
            **entry.params,
            **({"symbol": [key.symbol]} if key.symbol is not None else {}),
        }
        for key, entry in session.registry.entries.items()
        if entry.acked_at is not None and entry.was_live and not (entry.internal and entry.sync is None)
    ]
