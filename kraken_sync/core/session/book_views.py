"""Questions about books that are put to a session, answered as frozen values.

Facades pass these functions to ``Connection.read()`` and ``Connection.wait()``, which run them with the lock
held. Facades never see the session itself. Every function requires holding the session's lock.
"""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

from ..book.level3 import Place
from ..book.sync import BookSync, SnapshotMark
from ..freshness import BookState
from ..wire.channels import Key
from .session import Session


class BookStatus(NamedTuple):
    """Whether a book is verified at this moment. Times are in seconds."""

    state: BookState
    reason: str
    since: Optional[float]
    """When the book was last proven current (monotonic); None while it is LIVE, and if it never was."""
    age: float
    """Seconds since the last proof; infinite if there never was one."""


class BookReading(NamedTuple):
    """One consistent state of a book; levels are scaled integers, best first."""

    status: BookStatus
    asks: Any
    """The best asks, as ``rows()`` of the book returns them."""
    bids: Any
    version: int
    generation: int
    updated: Optional[float]
    checksum: Optional[int]
    timestamp: str
    price_decimals: int
    qty_decimals: int


class View(NamedTuple):
    """One facade's view of a book: the book it was made for, whether it was unsubscribed, and the age of its
    last message at which it is STALE, in seconds.
    """

    sync: BookSync[Any]
    ended: bool
    max_age: Optional[float] = None


def status(session: Session, view: View, now: float, failure: Optional[Exception] = None) -> BookStatus:
    """Return the state, the reason and the age of a book.

    ``failure`` is why the connection was given up for good, if it was.
    """
    sync, ended, max_age = view
    if sync.live:
        age = session.age(now)
        state, reason = sync.state, sync.reason
        # Nothing writes STALE into the book while time passes, so every reader compares the times itself.
        if not ended and session.stale(now):
            state, reason = BookState.STALE, f"not proven for {age:.1f} s"
        elif session.exchange.system == "maintenance":
            state, reason = BookState.STALE, "the exchange is in maintenance"
        elif sync.doubt:
            state, reason = BookState.STALE, sync.doubt
        elif max_age is not None and sync.updated is not None and now - sync.updated > max_age:
            silence = now - sync.updated
            state, reason = BookState.STALE, f"no message for {silence:.1f} s (max_age is {max_age:g})"
        if ended:
            state, reason = BookState.CLOSED, "unsubscribed"
        return BookStatus(state, reason, None, age)
    age = float("inf") if sync.since is None else now - sync.since
    if ended:
        return BookStatus(BookState.CLOSED, "unsubscribed", None, age)
    if sync.state is BookState.STALE and failure is not None:
        return BookStatus(sync.state, f"given up: {failure}", sync.since, age)
    return BookStatus(sync.state, sync.reason, sync.since, age)


class PlaceReading(NamedTuple):
    """The status of a level-3 book, and where an order stands in it."""

    status: BookStatus
    place: Optional[Place]
    price_decimals: int
    qty_decimals: int


def place(
    session: Session, view: View, order_id: str, now: float, failure: Optional[Exception] = None
) -> PlaceReading:
    """Return where an order stands in a level-3 book."""
    book = view.sync.book
    found = book.place(order_id)
    return PlaceReading(status(session, view, now, failure), found, book.price_decimals, book.qty_decimals)


def reading(
    session: Session, view: View, levels: int, now: float, failure: Optional[Exception] = None
) -> BookReading:
    """Return the best ``levels`` of both sides together with the status of the book."""
    sync, book = view.sync, view.sync.book
    asks, bids = book.rows(levels)
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
"""Identifies one state of a book: its generation and its version."""


class News(NamedTuple):
    """What has changed in several books since they were last read."""

    fresh: Sequence[Tuple[int, BookReading]]
    """The indexes of the books that are LIVE and have changed, with what they hold now."""
    over: bool
    """Whether all of the books have ended."""
    refused: Dict[str, str]
    """The exchange's reason for each subscription that it has ended, by symbol."""


def news(
    session: Session, views: Sequence[View], levels: Sequence[int], seen: Sequence[Mark], now: float
) -> Optional[News]:
    """Return what is new in several books, of each its best ``levels``; None if nothing is."""
    fresh: List[Tuple[int, BookReading]] = []
    over = True
    for number, view in enumerate(views):
        sync = view.sync
        if over and not (view.ended or sync.state is BookState.CLOSED):
            over = False
        # Compare first, and read only the books that have changed: every waiting thread runs this whenever
        # something has come.
        if (sync.generation, sync.book.version) != seen[number] and sync.live:
            read = reading(session, view, levels[number], now)
            if read.status.state is BookState.LIVE:
                fresh.append((number, read))
    if not fresh and not over:
        return None
    refused = {view.sync.book.symbol: view.sync.reason for view in views if view.sync.refused}
    return News(fresh, over, refused)


class FirstSnapshot(NamedTuple):
    """Whether a book has had its first snapshot of sufficient depth, and if not, why."""

    ready: bool
    state: BookState
    reason: str
    silence: float
    """Seconds since anything was proven."""


def book_of(session: Session, key: Key) -> Optional[BookSync[Any]]:
    """Return the book that ``key`` feeds, if it is subscribed."""
    return session.subscriptions.book(key)


def first_snapshot(session: Session, sync: BookSync[Any], depth: int, now: float) -> FirstSnapshot:
    """Return whether a book is live with at least ``depth`` levels, and if not, why."""
    ready = sync.live and sync.book.depth >= depth
    return FirstSnapshot(ready, sync.state, sync.reason, session.age(now))


def decided(session: Session, sync: BookSync[Any], depth: int) -> bool:
    """Return whether a book is live with at least ``depth`` levels, or has ended."""
    return (sync.live and sync.book.depth >= depth) or sync.state is BookState.CLOSED


def resyncing(session: Session, key: Key) -> Optional[str]:
    """Return why a book waits for its next resync, or None if it does not."""
    sync = session.subscriptions.book(key)
    return sync.reason if sync is not None and sync.state is BookState.RESYNCING else None


def live_since(session: Session, key: Key) -> Optional[SnapshotMark]:
    """Return what identifies the snapshot that a live book began with; None if the book is not live."""
    sync = session.subscriptions.book(key)
    return sync.snapshot_mark if sync is not None and sync.live else None


def resync(session: Session, symbols: Sequence[str], reason: str, now: float) -> None:
    """Fetch live books anew, for a reader that has lost track of them."""
    for symbol in symbols:
        session.data.resync(book_key(symbol), reason, now)


def book_key(symbol: str) -> Key:
    """Return the key of a symbol's book."""
    return Key("book", symbol)


def active_subscriptions(session: Session) -> List[Dict[str, object]]:
    """Return the confirmed subscriptions that callers asked for, one dict of parameters per key."""
    return [
        {
            "channel": key.channel,
            **entry.params,
            **({"symbol": [key.symbol]} if key.symbol is not None else {}),
        }
        for key, entry in session.registry.entries.items()
        if entry.acked_at is not None and entry.was_live and not (entry.internal and entry.sync is None)
    ]
