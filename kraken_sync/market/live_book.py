"""What all live books have: their state, their age, and waiting for what changes."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from math import inf
from typing import Any, Callable, Generic, Iterator, List, Optional, Sequence, Tuple, TypeVar

from ..core.awaiting import Blocking
from ..core.book.snapshot import check_levels
from ..core.book.sync import BookSync
from ..core.freshness import BookState
from ..core.session import book_views
from ..core.session.book_views import BookReading, BookStatus, Mark, News, View
from ..core.session.session import Session
from ..core.wire.channels import Key
from ..errors import BookNotLive, ClientClosed, ForkedClient, ReplyTimeout
from ..io.connection.connection import Connection
from ..io.connection.holders import BookHolder
from ..io.waiting import deadline_of, time_left
from .collecting import check_end

S = TypeVar("S")
T = TypeVar("T")


class LiveBook(Blocking, ABC, Generic[S]):
    """A live book of one symbol, whose states are of the type ``S``. Any thread.

    Args:
        owner: what must not be collected while the book is in use.
        connection: the connection that the book comes over.
        sync: the book.
        key: its subscription.
        depth: the largest number of levels a side to show.
        holder: what holds the subscription.
    """

    def __init__(
        self,
        owner: object,
        connection: Connection,
        sync: BookSync[Any],
        key: Key,
        depth: int,
        holder: BookHolder,
    ) -> None:
        self.symbol = key.symbol or ""
        self.depth = depth
        """The largest number of levels a side that this book shows."""
        self._owner = owner  # a reference, so that the client's threads go on while its book is read
        self._connection = connection
        self._key = key
        self._holder = holder
        self._view = View(sync, ended=False, max_age=holder.max_age)

    @abstractmethod
    def snapshot(self, levels: Optional[int] = None) -> S:
        """Return one consistent, immutable state, with at most ``levels`` a side (default: ``depth``).

        Does not block.

        Raises:
            BookNotLive: the book is not verified at this moment.
            ValueError: ``levels`` is not an int of 1 or more.
        """

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

    def changes(
        self,
        timeout: Optional[float] = None,
        *,
        n: Optional[int] = None,
        seconds: Optional[float] = None,
    ) -> Iterator[S]:
        """Iterate over verified states, each newer than the one before; the first comes at once.

        Changes between two states are combined. While the book is not LIVE the iterator waits; a different
        ``generation`` tells that there was a gap. It ends when the book is unsubscribed or the client closed.

        Args:
            timeout: seconds to wait for each state, None to wait for ever.
            n: the number of states after which it ends; None for no limit.
            seconds: the time after which it ends, from the first ``next()`` on; None for no limit.

        Raises:
            ReplyTimeout: no new verified state came in time.
            BookNotLive: the exchange ended the subscription.
            ValueError: ``n`` or ``seconds`` is not valid.
        """
        deadline_of(timeout)  # a mistake is named now, not when the first state is asked for
        if n is not None or seconds is not None:
            check_end(n, seconds)
        return self._changes(timeout, n, seconds)

    def _changes(self, timeout: Optional[float], n: Optional[int], seconds: Optional[float]) -> Iterator[S]:
        changes, end = Changes([self]), deadline_of(seconds)
        while n is None or n > 0:
            left = time_left(end)
            if left == 0:
                return
            news = changes.wait(timeout if left is None else min(left, inf if timeout is None else timeout))
            if news is None:
                return
            if not news and left is not None and (timeout is None or left < timeout):
                return
            if not news:
                raise ReplyTimeout(
                    f"nothing new in {self.symbol} within {timeout} s (it is {self.state})", waited=timeout
                )
            for _, state in news:
                n = None if n is None else n - 1
                yield state

    def wait_until(self, predicate: Callable[[S], Any], timeout: Optional[float] = None) -> S:
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
            state: S
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

        All callers that ask for one symbol and depth share the same object, so this ends the book for all of
        them.
        """
        self._view = self._view._replace(ended=True)
        self._connection.subscriptions.release([self._key], None, self._holder)

    # -- inside ------------------------------------------------------------------------------

    @abstractmethod
    def _state(self, read: BookReading) -> S:
        """Make a state of what was read of the whole book."""

    @property
    def _whole(self) -> int:
        """The number of levels that :meth:`_state` needs."""
        return self.depth

    def shows(self, sync: BookSync[Any]) -> bool:
        """Return whether this is a view of this book, and was not unsubscribed."""
        return self._view.sync is sync and not self._view.ended

    @property
    def over(self) -> bool:
        """Whether it was unsubscribed, or has ended otherwise. Does not block."""
        return self._view.ended or self._view.sync.state is BookState.CLOSED

    def _status(self) -> BookStatus:
        view, failure = self._view, self._connection.failure
        return self._connection.read(
            lambda session: book_views.status(session, view, time.monotonic(), failure)
        )

    def _reading(self, levels: Optional[int], *, live_only: bool) -> BookReading:
        """Read one consistent state. Raises as :meth:`snapshot` does, BookNotLive only with ``live_only``."""
        depth = self.depth if levels is None else min(check_levels(levels), self.depth)
        read = self._ask(book_views.reading, depth)
        if live_only:
            self._check_live(read.status)
        return read

    def _ask(self, question: Callable[..., T], about: Any) -> T:
        """Put a question of :mod:`.book_views` about this book."""
        # Read before the lock is taken: unsubscribe() replaces the view without it.
        view, failure = self._view, self._connection.failure
        if isinstance(failure, ForkedClient):
            raise ForkedClient
        return self._connection.read(
            lambda session: question(session, view, about, time.monotonic(), failure)
        )

    def _check_live(self, status: BookStatus) -> None:
        if status.state is not BookState.LIVE:
            ago = None if status.since is None else time.monotonic() - status.since
            raise BookNotLive(self.symbol, str(status.state), status.reason, since=ago)


class Changes:
    """Waits for verified states of several books of one connection, each newer than the one before."""

    def __init__(self, books: Sequence[LiveBook[Any]]) -> None:
        self._books = books
        self._seen: List[Mark] = [(-1, -1) for _ in books]

    def wait(self, timeout: Optional[float]) -> Optional[List[Tuple[Any, Any]]]:
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
            if found.fresh:
                return [self._made(number, read) for number, read in found.fresh]
            if found.over:
                for symbol, reason in found.refused.items():
                    raise BookNotLive(symbol, "CLOSED", reason)
                return None

    def _news(self, session: Session) -> Optional[News]:
        views, levels = [book._view for book in self._books], [book._whole for book in self._books]
        return book_views.news(session, views, levels, self._seen, time.monotonic())

    def _made(self, number: int, read: BookReading) -> Tuple[Any, Any]:
        self._seen[number] = (read.generation, read.version)
        book = self._books[number]
        return book, book._state(read)
