"""The live order book, by price levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from decimal import Decimal
from typing import Any, Optional, Tuple

from ..core.book.snapshot import BookSnapshot, Level, book_html, check_levels, check_taking, describe
from ..core.copying import refuse_copy
from ..core.freshness import BookState
from ..core.session.book_views import BookReading
from ..core.wire.numbers import Number
from ..io.walltime import wall_datetime
from .live_book import LiveBook


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

    def to_frame(self, *, decimal: bool = False) -> Any:
        """Return a pandas DataFrame; see :meth:`BookSnapshot.to_frame`."""
        return self.snapshot().to_frame(decimal=decimal)

    def plot(self, ax: Any = None) -> Any:
        """Draw a depth chart, and return the matplotlib Axes; see :meth:`BookSnapshot.plot`."""
        return self.snapshot().plot(ax)


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

    def _repr_html_(self) -> str:
        return book_html(self.snapshot(), "the last known state")


class OrderBook(BookReader, LiveBook[BookSnapshot]):
    """A live order book. Every message of the exchange for it is verified by the exchange's checksum.

    ``client.book()`` returns one. All members may be used from any thread. Each reader returns one consistent
    state, and raises :class:`BookNotLive` while the book is not ``LIVE``.

    Reading the best level holds the lock for about a microsecond; ``snapshot()`` copies all levels.

    Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book.
    """

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

    def __repr__(self) -> str:
        return f"<OrderBook {describe(self._read(1, live_only=False))}>"

    def _repr_html_(self) -> str:
        return book_html(self._read(None, live_only=False), self._status().reason)

    def _read(self, levels: Optional[int], *, live_only: bool) -> BookSnapshot:
        return self._state(self._reading(levels, live_only=live_only))

    def _state(self, read: BookReading) -> BookSnapshot:
        return BookSnapshot(
            symbol=self.symbol,
            depth=self.depth,
            state=str(read.status.state),
            checksum=read.checksum,
            timestamp=read.timestamp,
            updated=wall_datetime(read.updated),
            age=read.status.age,
            version=read.version,
            generation=read.generation,
            price_decimals=read.price_decimals,
            qty_decimals=read.qty_decimals,
            _asks=read.asks,
            _bids=read.bids,
        )
