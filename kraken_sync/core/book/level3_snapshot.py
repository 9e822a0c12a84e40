"""Immutable states of a level-3 book, in exact decimals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Dict, Iterable, NamedTuple, Optional, Protocol, Tuple, Union

from ..frames import frame
from ..wire.numbers import Number, decimal_of, to_decimal
from .book import quantity
from .level3 import Orders, Place, Queued, totals
from .snapshot import BookSnapshot, Level, book_html, describe


class Level3Order(NamedTuple):
    """One visible order: ``limit_price`` in quote currency, and ``order_qty``, what of it is visible and not
    filled, in base currency.
    """

    order_id: str
    limit_price: Decimal
    order_qty: Decimal
    timestamp: str
    """When it was placed, or amended last, by the exchange's clock (RFC 3339, UTC)."""


class Level3Level(NamedTuple):
    """One price level: its price, the total quantity, and its orders in the order in which they trade."""

    price: Decimal
    qty: Decimal
    orders: Tuple[Level3Order, ...]


class HasOrderId(Protocol):
    """An order: one of :attr:`SpotWSClient.orders`, or one of a level-3 book."""

    @property
    def order_id(self) -> str: ...


def order_id_of(order: Union[str, HasOrderId]) -> str:
    """Return the ``order_id`` of what a caller has given as an order. Raises TypeError."""
    name = order if isinstance(order, str) else getattr(order, "order_id", None)
    if not isinstance(name, str):
        raise TypeError(f"order must be an order_id or an order of client.orders, not {order!r:.80}")
    return name


class QueuePosition(NamedTuple):
    """Where an order stands in the queue of its price."""

    order: Level3Order
    side: str
    """``buy`` or ``sell``."""
    orders_ahead: int
    """The number of orders of the same price that trade first."""
    qty_ahead: Decimal
    """The visible quantity of those orders, in base currency."""
    level: int
    """The number of better prices on its side: 0 if it has the best price."""


@dataclass(frozen=True, repr=False)
class Level3Snapshot:
    """One state of a level-3 book. Immutable, so it can be kept and passed between threads.

    The exchange's checksum of exactly this state matched, unless the snapshot was read through
    ``book.stale``.
    """

    level2: BookSnapshot
    """The same state by price levels. Its ``checksum`` is the one that the ``book`` channel has for it."""
    checksum: Optional[int]
    """The exchange's checksum of this state."""
    _asks: Orders
    _bids: Orders

    @property
    def symbol(self) -> str:
        """The exchange's name of the pair."""
        return self.level2.symbol

    @property
    def depth(self) -> int:
        """The largest number of levels a side."""
        return self.level2.depth

    @property
    def state(self) -> str:
        """The state of the book when this was read: ``LIVE``, or any if read through ``book.stale``."""
        return self.level2.state

    @property
    def timestamp(self) -> str:
        """The exchange's time of the last change (RFC 3339, UTC); empty if it gave none."""
        return self.level2.timestamp

    @property
    def updated(self) -> Optional[datetime]:
        """When the last change was received, by this machine's clock (UTC)."""
        return self.level2.updated

    @property
    def age(self) -> float:
        """Seconds between the exchange's last proof that this state was current and the read."""
        return self.level2.age

    @property
    def version(self) -> int:
        """Increases with every message of the exchange for this book."""
        return self.level2.version

    @property
    def generation(self) -> int:
        """Increases with every fresh snapshot: between two generations there was a gap."""
        return self.level2.generation

    @property
    def bids(self) -> Tuple[Level3Level, ...]:
        """All bids, best (highest) first."""
        return self._levels("_bid_levels", self._bids)

    @property
    def asks(self) -> Tuple[Level3Level, ...]:
        """All asks, best (lowest) first."""
        return self._levels("_ask_levels", self._asks)

    @property
    def best_bid(self) -> Optional[Level]:
        """The highest bid, or None if there is none."""
        return self.level2.best_bid

    @property
    def best_ask(self) -> Optional[Level]:
        """The lowest ask, or None if there is none."""
        return self.level2.best_ask

    def orders_at(self, price: Number) -> Tuple[Level3Order, ...]:
        """Return the visible orders of a price in the order in which they trade; empty if there are none.

        Raises:
            ValueError, TypeError: ``price`` is not a number.
        """
        wanted = decimal_of("price", price)
        for level, orders in (*self._bids, *self._asks):
            if self._price(level) == wanted:
                return self._shown(level, orders)
        return ()

    def queue_position(self, order: Union[str, HasOrderId]) -> Optional[QueuePosition]:
        """Return where an order stands; None if it is not among the visible orders.

        Args:
            order: an ``order_id``, or an order of :attr:`SpotWSClient.orders`.

        Raises:
            TypeError: it is neither.
        """
        order_id = order_id_of(order)
        for side, levels in (("buy", self._bids), ("sell", self._asks)):
            for number, (price, orders) in enumerate(levels):
                for place, (name, _) in enumerate(orders):
                    if name == order_id:
                        found = Place(side, price, number, orders[: place + 1])
                        return position_of(found, self.level2.price_decimals, self.level2.qty_decimals)
        return None

    def to_dict(self) -> Dict[str, Any]:
        """Return the state as a dict that :mod:`json` can write; prices and quantities are texts with all
        their digits.
        """
        made = self.level2.to_dict()
        made["checksum"] = self.checksum
        for name, levels in (("bids", self.bids), ("asks", self.asks)):
            made[name] = [
                {
                    **order._asdict(),
                    "limit_price": f"{order.limit_price:f}",
                    "order_qty": f"{order.order_qty:f}",
                }
                for level in levels
                for order in level.orders
            ]
        return made

    def to_frame(self, *, decimal: bool = False) -> Any:
        """Return a pandas DataFrame of the orders, with the columns ``side``, ``price``, ``qty``,
        ``order_id`` and ``timestamp`` (UTC); best levels first, each in the order in which it trades.

        Args:
            decimal: True for exact Decimals, in columns of objects; by default the numbers are floats.

        Raises:
            ImportError: pandas is not installed.
        """
        rows = [
            {"side": side, "price": order.limit_price, "qty": order.order_qty, **order._asdict()}
            for side, levels in (("bid", self.bids), ("ask", self.asks))
            for level in levels
            for order in level.orders
        ]
        columns = ("side", "price", "qty", "order_id", "timestamp")
        return frame(rows, columns, decimal=decimal, times=["timestamp"])

    def plot(self, ax: Any = None) -> Any:
        """Draw a depth chart; see :meth:`BookSnapshot.plot`."""
        return self.level2.plot(ax)

    def __repr__(self) -> str:
        count = sum(len(orders) for _, orders in (*self._bids, *self._asks))
        return f"<Level3Snapshot {describe(self.level2)} | {count} orders>"

    def _repr_html_(self) -> str:
        return book_html(self.level2, "level 3")

    def _levels(self, name: str, levels: Orders) -> Tuple[Level3Level, ...]:
        cache: Dict[str, Any] = self.__dict__  # frozen forbids setattr, not a cache
        if name not in cache:
            decimals = self.level2.qty_decimals
            cache[name] = tuple(
                Level3Level(
                    self._price(price),
                    to_decimal(quantity(price, text), decimals),
                    self._shown(price, orders),
                )
                for (price, orders), (_, text) in zip(levels, totals(levels))
            )
        found: Tuple[Level3Level, ...] = cache[name]
        return found

    def _price(self, price: int) -> Decimal:
        return to_decimal(price, self.level2.price_decimals)

    def _shown(self, price: int, orders: Iterable[Tuple[str, Queued]]) -> Tuple[Level3Order, ...]:
        shown, decimals = self._price(price), self.level2.qty_decimals
        return tuple(
            Level3Order(name, shown, to_decimal(qty, decimals), time) for name, (qty, time, _) in orders
        )


def position_of(place: Place, price_decimals: int, qty_decimals: int) -> QueuePosition:
    """Return a place as users see it."""
    (name, (qty, time, _)), ahead = place.queue[-1], place.queue[:-1]
    return QueuePosition(
        Level3Order(name, to_decimal(place.price, price_decimals), to_decimal(qty, qty_decimals), time),
        place.side,
        len(ahead),
        to_decimal(sum(queued[0] for _, queued in ahead), qty_decimals),
        place.level,
    )
