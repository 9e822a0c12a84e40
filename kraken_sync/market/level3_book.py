"""The live level-3 book: every visible order, and its place in the queue."""

from __future__ import annotations

from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, Optional, Tuple, Union

from ..core.book.book import pairs
from ..core.book.checksum import LEVELS, book_checksum
from ..core.book.level3 import totals
from ..core.book.level3_snapshot import (
    HasOrderId,
    Level3Level,
    Level3Order,
    Level3Snapshot,
    QueuePosition,
    order_id_of,
    position_of,
)
from ..core.book.snapshot import BookSnapshot, Level, book_html, check_levels
from ..core.copying import refuse_copy
from ..core.freshness import BookState
from ..core.session import book_views
from ..core.session.book_views import BookReading
from ..core.wire.numbers import Number, decimal_of
from ..io.walltime import wall_datetime
from .live_book import LiveBook


class Level3Reader(ABC):
    """The readers of a level-3 book. Each call reads one consistent state. Any thread."""

    __reduce__ = refuse_copy("pickle book.snapshot(), which is a value")

    @abstractmethod
    def snapshot(self, levels: Optional[int] = None) -> Level3Snapshot:
        """Return one consistent state, with at most ``levels`` a side."""

    @property
    def bids(self) -> Tuple[Level3Level, ...]:
        """All bids with their orders, best (highest) first."""
        return self.snapshot().bids

    @property
    def asks(self) -> Tuple[Level3Level, ...]:
        """All asks with their orders, best (lowest) first."""
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
        return self.snapshot(1).level2.mid

    @property
    def spread(self) -> Optional[Decimal]:
        """Best ask minus best bid, in quote currency; None if a side is empty."""
        return self.snapshot(1).level2.spread

    @property
    def level2(self) -> BookSnapshot:
        """The same state by price levels, as :meth:`SpotWSClient.book` has it."""
        return self.snapshot().level2

    def orders_at(self, price: Number) -> Tuple[Level3Order, ...]:
        """Return the visible orders of a price in the order in which they trade; empty if there are none.

        Raises:
            ValueError, TypeError: ``price`` is not a number.
        """
        decimal_of("price", price)  # a mistake is named whatever the state of the book
        return self.snapshot().orders_at(price)

    def queue_position(self, order: Union[str, HasOrderId]) -> Optional[QueuePosition]:
        """Return where an order stands in the queue of its price; None if it is not among the visible ones.

        Args:
            order: an ``order_id``, or an order of :attr:`SpotWSClient.orders`.

        Raises:
            TypeError: it is neither.
        """
        return self.snapshot().queue_position(order)

    def to_frame(self, *, decimal: bool = False) -> Any:
        """Return a pandas DataFrame; see :meth:`Level3Snapshot.to_frame`."""
        return self.snapshot().to_frame(decimal=decimal)

    def plot(self, ax: Any = None) -> Any:
        """Draw a depth chart, and return the matplotlib Axes; see :meth:`BookSnapshot.plot`."""
        return self.snapshot().plot(ax)


class StaleLevel3Book(Level3Reader):
    """The readers of a level-3 book's last known state, whether or not it is LIVE. See
    ``Level3Book.stale``.
    """

    def __init__(self, book: Level3Book) -> None:
        self._book = book

    def snapshot(self, levels: Optional[int] = None) -> Level3Snapshot:
        """Return the last known state, whose ``state`` and ``age`` tell whether it is current.

        Does not raise because of the book's state. Any thread; does not block.
        """
        return self._book._read(levels, live_only=False)

    @property
    def state(self) -> BookState:
        """The book's state; see :attr:`Level3Book.state`."""
        return self._book.state

    @property
    def age(self) -> float:
        """Seconds since the last proof; see :attr:`Level3Book.age`."""
        return self._book.age

    def __repr__(self) -> str:
        return f"<Stale{self._book!r:.200}"[:-1] + ">"

    def _repr_html_(self) -> str:
        return book_html(self.snapshot().level2, "the last known state")


class Level3Book(Level3Reader, LiveBook[Level3Snapshot]):
    """A live book of single orders. Every message of the exchange for it is verified by the exchange's
    checksum, which covers price and quantity of every order of the ten best levels, in the order in which
    they trade.

    ``client.level3_book()`` returns one. All members may be used from any thread. Each reader returns one
    consistent state, and raises :class:`BookNotLive` while the book is not ``LIVE``.

    Hidden orders, the hidden part of iceberg orders, and orders that wait for a trigger are not visible.

    Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/level3.
    """

    def snapshot(self, levels: Optional[int] = None) -> Level3Snapshot:
        """Return one consistent, immutable state, with at most ``levels`` a side (default: ``depth``).

        Does not block.

        Raises:
            BookNotLive: the book is not verified at this moment.
            ValueError: ``levels`` is not an int of 1 or more.
        """
        return self._read(levels, live_only=True)

    def queue_position(self, order: Union[str, HasOrderId]) -> Optional[QueuePosition]:
        """Return where an order stands in the queue of its price; None if it is not among the visible ones.

        Does not block, and copies no more than the orders ahead.

        Args:
            order: an ``order_id``, or an order of :attr:`SpotWSClient.orders`.

        Raises:
            BookNotLive: the book is not verified at this moment.
            TypeError: ``order`` is neither.
        """
        read = self._ask(book_views.place, order_id_of(order))
        self._check_live(read.status)
        if read.place is None or read.place.level >= self.depth:
            return None
        return position_of(read.place, read.price_decimals, read.qty_decimals)

    @property
    def stale(self) -> StaleLevel3Book:
        """The same readers for the last known state; they do not raise while the book is not LIVE."""
        return StaleLevel3Book(self)

    def __repr__(self) -> str:
        return f"<Level3Book {self._read(None, live_only=False)!r:.300}".replace("<Level3Snapshot ", "")

    def _repr_html_(self) -> str:
        return book_html(self._read(None, live_only=False).level2, "level 3")

    def _read(self, levels: Optional[int], *, live_only: bool) -> Level3Snapshot:
        shown = self.depth if levels is None else min(check_levels(levels), self.depth)
        # The checksum of the level-2 view is over ten levels, however few are shown.
        return self._shown(self._reading(max(shown, LEVELS), live_only=live_only), shown)

    def _state(self, read: BookReading) -> Level3Snapshot:
        return self._shown(read, self.depth)

    def _shown(self, read: BookReading, shown: int) -> Level3Snapshot:
        asks, bids = totals(read.asks), totals(read.bids)
        level2 = BookSnapshot(
            symbol=self.symbol,
            depth=self.depth,
            state=str(read.status.state),
            checksum=book_checksum(dict(pairs(asks[:LEVELS])), dict(pairs(bids[:LEVELS]))),
            timestamp=read.timestamp,
            updated=wall_datetime(read.updated),
            age=read.status.age,
            version=read.version,
            generation=read.generation,
            price_decimals=read.price_decimals,
            qty_decimals=read.qty_decimals,
            _asks=asks[:shown],
            _bids=bids[:shown],
        )
        return Level3Snapshot(level2, read.checksum, _asks=read.asks[:shown], _bids=read.bids[:shown])
