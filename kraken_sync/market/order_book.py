"""The live order book."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Callable, Iterator, List, Optional, Sequence, Tuple

from ..core.book.snapshot import BookSnapshot, Level, check_levels, check_taking, describe
from ..core.book.sync import BookSync
from ..core.copying import refuse_copy
from ..core.freshness import BookState
from ..core.session import book_views
from ..core.session.book_views import BookStatus, Mark, News, View, book_key
from ..core.session.session import Session
from ..core.wire.numbers import Number
from ..errors import BookNotLive, ClientClosed, ForkedClient, ReplyTimeout
from ..io.connection.connection import Connection
from ..io.connection.holders import BookHolder
from ..io.waiting import deadline_of, time_left
from ..io.walltime import wall_seconds


class BookReader(ABC):
    """The readers of a book. Each call reads one consistent state. Any thread."""

    __reduce__ = refuse_copy("pickle book.snapshot(), which is a value")

    @abstractmethod
    def snapshot(self, levels: Optional[int] = None) -> BookSnapshot:
        """Return one consistent state, with at most ``levels`` a side."""

    @property
    def bids(self) -> Tuple[Level, ...]:
        """All bids, best (highest) first."""
        return self.snapshot().bids

    @property
    def asks(self) -> Tuple[Level, ...]:
        """All asks, best (lowest) first."""
        return self.snapshot().asks

    @property
    def best_bid(self) -> Optional[Level]:
        """The highest bid, or None if there is none."""
        return self.snapshot(1).best_bid

    @property
    def best_ask(self) -> Optional[Level]:
        """The lowest ask, or None if there is none."""
        return self.snapshot(1).best_ask

    @property
    def mid(self) -> Optional[Decimal]:
        """The exact mean of best bid and best ask, in quote currency; None if a side is empty."""
        return self.snapshot(1).mid

    @property
    def spread(self) -> Optional[Decimal]:
        """Best ask minus best bid, in quote currency; None if a side is empty."""
        return self.snapshot(1).spread

    @property
    def updated(self) -> Optional[datetime]:
        """When the last change was received, by this machine's clock (UTC)."""
        return self.snapshot(1).updated

    @property
    def checksum(self) -> Optional[int]:
        """The exchange's checksum of the state."""
        return self.snapshot(1).checksum

    @property
    def timestamp(self) -> str:
        """The exchange's time of the last change (RFC 3339, UTC); empty if it gave none."""
        return self.snapshot(1).timestamp

    def vwap(self, side: str, qty: Number) -> Optional[Decimal]:
        """Return the average price of taking ``qty`` at once; see :meth:`BookSnapshot.vwap`."""
        check_taking(side, qty)  # a mistake is named whatever the state of the book
        return self.snapshot().vwap(side, qty)

    def imbalance(self, levels: int = 10) -> Optional[Decimal]:
        """Return the imbalance of the best ``levels`` of each side; see :meth:`BookSnapshot.imbalance`."""
        check_levels(levels)
        return self.snapshot().imbalance(levels)

    def to_frame(self) -> Any:
        """Return a pandas DataFrame; see :meth:`BookSnapshot.to_frame`."""
        return self.snapshot().to_frame()


class StaleBook(BookReader):
    """The readers of a book's last known state, whether or not it is LIVE. See ``OrderBook.stale``."""

    def __init__(self, book: OrderBook) -> None:
        self._book = book

    def snapshot(self, levels: Optional[int] = None) -> BookSnapshot:
        """Return the last known state, whose ``state`` and ``age`` tell whether it is current.

        Does not raise because of the book's state. Any thread; does not block.
        """
        return self._book._read(levels, live_only=False)

    @property
    def state(self) -> BookState:
        """The book's state; see :attr:`OrderBook.state`."""
        return self._book.state

    @property
    def age(self) -> float:
        """Seconds since the last proof; see :attr:`OrderBook.age`."""
        return self._book.age

    def __repr__(self) -> str:
        return f"<StaleBook {describe(self.snapshot(1))}>"


class OrderBook(BookReader):
    """A live order book. Every message of the exchange for it is verified by the exchange's checksum.

    ``client.book()`` returns one. All members may be used from any thread. Each reader returns one consistent
    state, and raises :class:`BookNotLive` while the book is not ``LIVE``.

    Reading the best level holds the lock for about a microsecond; ``snapshot()`` copies all levels.

    Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book.
    """

    def __init__(
        self,
        owner: object,
        connection: Connection,
        sync: BookSync,
        symbol: str,
        depth: int,
        holder: BookHolder,
    ) -> None:
        self.symbol = symbol
        self.depth = depth
        """The largest number of levels a side that this book shows."""
        self._owner = owner  # a reference, so that the client's threads go on while its book is read
        self._connection = connection
        self._holder = holder
        self._view = View(sync, ended=False, max_age=holder.max_age)

    # -- reading -----------------------------------------------------------------------------

    def snapshot(self, levels: Optional[int] = None) -> BookSnapshot:
        """Return one consistent, immutable state, with at most ``levels`` a side (default: ``depth``).

        Does not block.

        Raises:
            BookNotLive: the book is not verified at this moment.
            ValueError: ``levels`` is not an int of 1 or more.
        """
        return self._read(levels, live_only=True)

    @property
    def stale(self) -> StaleBook:
        """The same readers for the last known state; they do not raise while the book is not LIVE."""
        return StaleBook(self)

    @property
    def state(self) -> BookState:
        """``SYNCING``, ``LIVE``, ``STALE``, ``RESYNCING`` or ``CLOSED``. Does not block."""
        return self._status().state

    @property
    def age(self) -> float:
        """Seconds since the book was last proven current; infinite if it never was. Does not block.

        A proof is a ping whose pong has been read: messages come in order, so every change that the exchange
        sent before the ping reached it has been read, too. A quiet symbol therefore does not age.
        """
        return self._status().age

    def changes(self, timeout: Optional[float] = None) -> Iterator[BookSnapshot]:
        """Iterate over verified states, each newer than the one before; the first comes at once.

        Changes between two states are combined. While the book is not LIVE the iterator waits; a different
        ``generation`` tells that there was a gap. It ends when the book is unsubscribed or the client closed.

        Args:
            timeout: seconds to wait for each state, None to wait for ever.

        Raises:
            ReplyTimeout: no new verified state came in time.
            BookNotLive: the exchange ended the subscription.
        """
        changes = Changes([self])
        while True:
            news = changes.wait(timeout)
            if news is None:
                return
            if not news:
                raise ReplyTimeout(
                    f"nothing new in {self.symbol} within {timeout} s (it is {self.state})", waited=timeout
                )
            for _, state in news:
                yield state

    def wait_until(
        self, predicate: Callable[[BookSnapshot], Any], timeout: Optional[float] = None
    ) -> BookSnapshot:
        """Block until ``predicate(snapshot)`` is true, and return that snapshot.

        Args:
            predicate: called in this thread, without any lock, with verified states, each newer than the one
                before.
            timeout: seconds, None to wait for ever.

        Raises:
            ReplyTimeout: the predicate was not true in time.
            BookNotLive, ClientClosed: it cannot become true any more.
        """
        if not callable(predicate):
            raise TypeError(f"predicate must be callable, such as lambda state: ..., not {predicate!r:.80}")
        deadline, changes, count = deadline_of(timeout), Changes([self]), 0
        while True:
            news = changes.wait(time_left(deadline))
            if news is None:
                raise ClientClosed(f"{self.symbol} was unsubscribed or the client closed while waiting")
            for _, state in news:
                count += 1
                if predicate(state):
                    return state
            if deadline is not None and time.monotonic() >= deadline:
                raise ReplyTimeout(
                    f"the condition was not true in any of {count} states of {self.symbol} "
                    f"within {timeout} s (it is {self.state})",
                    waited=timeout,
                )

    def unsubscribe(self) -> None:
        """End this book, and the exchange's subscription if nothing else uses it. Any thread; does not block.

        ``client.book()`` returns the same object to all callers that ask for one symbol and depth, so this
        ends the book for all of them.
        """
        self._view = self._view._replace(ended=True)
        self._connection.subscriptions.release([book_key(self.symbol)], None, self._holder)

    def __repr__(self) -> str:
        return f"<OrderBook {describe(self._read(1, live_only=False))}>"

    # -- inside ------------------------------------------------------------------------------

    def shows(self, sync: BookSync) -> bool:
        """Return whether this is a view of this book, and was not unsubscribed."""
        return self._view.sync is sync and not self._view.ended

    def _status(self) -> BookStatus:
        view, failure = self._view, self._connection.failure
        return self._connection.read(
            lambda session: book_views.status(session, view, time.monotonic(), failure)
        )

    def _read(self, levels: Optional[int], *, live_only: bool) -> BookSnapshot:
        depth = self.depth if levels is None else min(check_levels(levels), self.depth)
        # Read before the lock is taken: unsubscribe() replaces the view without it.
        view, failure, now = self._view, self._connection.failure, time.monotonic()
        if isinstance(failure, ForkedClient):
            raise ForkedClient
        read = self._connection.read(
            lambda session: book_views.reading(session, view, depth, time.monotonic(), failure)
        )
        state, reason, since, age = read.status
        if live_only and state is not BookState.LIVE:
            ago = None if since is None else now - since
            raise BookNotLive(self.symbol, str(state), reason, since=ago)
        updated = read.updated
        return BookSnapshot(
            symbol=self.symbol,
            depth=self.depth,
            state=str(state),
            checksum=read.checksum,
            timestamp=read.timestamp,
            updated=None if updated is None else datetime.fromtimestamp(wall_seconds(updated), timezone.utc),
            age=age,
            version=read.version,
            generation=read.generation,
            price_decimals=read.price_decimals,
            qty_decimals=read.qty_decimals,
            _asks=read.asks,
            _bids=read.bids,
        )


class Changes:
    """Waits for verified states of several books of one client, each newer than the one before."""

    def __init__(self, books: Sequence[OrderBook]) -> None:
        self._books = books
        self._seen: List[Mark] = [(-1, -1) for _ in books]

    def wait(self, timeout: Optional[float]) -> Optional[List[Tuple[OrderBook, BookSnapshot]]]:
        """Return the books that have changed, with their states.

        The list is empty after ``timeout`` seconds; the result is None when all books have ended.

        Raises:
            BookNotLive: the exchange ended a subscription.
        """
        connection, deadline = self._books[0]._connection, deadline_of(timeout)
        while True:
            try:
                found = connection.wait(self._news, deadline)
            except ClientClosed:
                return None
            if found is None:
                return []
            news = [one for one in map(self._read, found.fresh) if one is not None]
            if news:
                return news
            if found.over:
                for symbol, reason in found.refused.items():
                    raise BookNotLive(symbol, "CLOSED", reason)
                return None

    def _news(self, session: Session) -> Optional[News]:
        return book_views.news(session, [book._view for book in self._books], self._seen, time.monotonic())

    def _read(self, number: int) -> Optional[Tuple[OrderBook, BookSnapshot]]:
        book = self._books[number]
        try:
            state = book.snapshot()
        except BookNotLive:
            return None  # it stopped being LIVE since _news() ran; wait for the next state
        self._seen[number] = (state.generation, state.version)
        return book, state
