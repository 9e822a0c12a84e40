"""Immutable states of an order book, in exact decimals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any, Dict, NamedTuple, Optional, Tuple

from ..frames import frame
from ..html import BAD, GOOD, age, badge, coloured, table
from ..plots import plot_depth
from ..wire.numbers import AVERAGES, EXACT, Number, decimal_of, fixed, to_decimal
from .book import Rows, quantity

SHOWN = 5
"""The number of levels of the table for notebooks."""


class Level(NamedTuple):
    """One price level: ``price`` in quote currency, and ``qty``, the total quantity there, in base
    currency.
    """

    price: Decimal
    qty: Decimal


def check_taking(side: str, qty: Number) -> Decimal:
    """Return ``qty`` as a number; raise ValueError or TypeError if it or ``side`` is not valid."""
    if side not in ("buy", "sell"):
        raise ValueError(f"side must be 'buy' or 'sell', not {side!r}")
    wanted = decimal_of("qty", qty)
    if wanted <= 0:
        raise ValueError(f"qty must be more than 0, not {qty!r}")
    return wanted


@dataclass(frozen=True, repr=False)
class BookSnapshot:
    """One state of an order book. Immutable, so it can be kept and passed between threads.

    The exchange's checksum of exactly this state matched, unless the snapshot was read through
    ``book.stale``.
    """

    symbol: str
    depth: int
    """The largest number of levels a side."""
    state: str
    """The state of the book when this was read: ``LIVE``, or any state if read through ``book.stale``."""
    checksum: Optional[int]
    """The exchange's checksum of this state."""
    timestamp: str
    """The exchange's time of the last change (RFC 3339, UTC); empty if it gave none."""
    updated: Optional[datetime]
    """When the last change was received, by this machine's clock (UTC)."""
    age: float
    """Seconds between the exchange's last proof that this state was current and the read."""
    version: int
    """Increases with every message of the exchange for this book."""
    generation: int
    """Increases with every fresh snapshot: between two generations there was a gap."""
    price_decimals: int
    qty_decimals: int
    _asks: Rows
    _bids: Rows

    @property
    def bids(self) -> Tuple[Level, ...]:
        """All bids, best (highest) first."""
        return self._levels("_bid_levels", self._bids)

    @property
    def asks(self) -> Tuple[Level, ...]:
        """All asks, best (lowest) first."""
        return self._levels("_ask_levels", self._asks)

    @property
    def best_bid(self) -> Optional[Level]:
        """The highest bid, or None if there is none."""
        return self._level(self._bids[0]) if self._bids else None

    @property
    def best_ask(self) -> Optional[Level]:
        """The lowest ask, or None if there is none."""
        return self._level(self._asks[0]) if self._asks else None

    @property
    def mid(self) -> Optional[Decimal]:
        """The exact mean of best bid and best ask, in quote currency; None if a side is empty."""
        if not (self._asks and self._bids):
            return None
        # Half a unit is five tenths of it, so one more decimal keeps the mean exact.
        return to_decimal((self._asks[0][0] + self._bids[0][0]) * 5, self.price_decimals + 1)

    @property
    def spread(self) -> Optional[Decimal]:
        """Best ask minus best bid, in quote currency; None if a side is empty."""
        if not (self._asks and self._bids):
            return None
        difference = self._asks[0][0] - self._bids[0][0]
        # For a book that is not LIVE, which may be crossed.
        sign = "-" if difference < 0 else ""
        return Decimal(sign + fixed(abs(difference), self.price_decimals))

    def vwap(self, side: str, qty: Number) -> Optional[Decimal]:
        """Return the average price of taking ``qty`` from the book at once.

        Args:
            side: ``"buy"`` takes asks, ``"sell"`` takes bids.
            qty: the quantity in base currency, more than 0.

        Returns:
            The price in quote currency, rounded to 28 digits, or None if the book does not hold that
            quantity.

        Raises:
            ValueError, TypeError: ``side`` or ``qty`` is not valid.
        """
        wanted = check_taking(side, qty)
        # The caller's decimal context may have any precision; 60 digits hold every product exactly.
        with localcontext(EXACT):
            return self._average(side, wanted)

    def _average(self, side: str, wanted: Decimal) -> Optional[Decimal]:
        left, cost = wanted, Decimal(0)
        for level in self.asks if side == "buy" else self.bids:
            taken = min(left, level.qty)
            cost += taken * level.price
            left -= taken
            if not left:
                return AVERAGES.divide(cost, wanted)
        return None

    def imbalance(self, levels: int = 10) -> Optional[Decimal]:
        """Return (bids - asks) / (bids + asks) of the quantities in the best ``levels`` of each side.

        The result is between -1 (only asks) and 1 (only bids); None for an empty book.

        Raises:
            ValueError: ``levels`` is not an int of 1 or more.
        """
        check_levels(levels)
        bids = sum(quantity(*row) for row in self._bids[:levels])
        asks = sum(quantity(*row) for row in self._asks[:levels])
        return AVERAGES.divide(Decimal(bids - asks), Decimal(bids + asks)) if bids + asks else None

    def to_dict(self) -> Dict[str, Any]:
        """Return the state as a dict that :mod:`json` can write; prices and quantities are texts with all
        their digits.
        """
        return {
            "symbol": self.symbol,
            "state": str(self.state),
            "bids": [{"price": f"{price:f}", "qty": f"{qty:f}"} for price, qty in self.bids],
            "asks": [{"price": f"{price:f}", "qty": f"{qty:f}"} for price, qty in self.asks],
            "checksum": self.checksum,
            "timestamp": self.timestamp,
            "generation": self.generation,
        }

    def to_frame(self, *, decimal: bool = False) -> Any:
        """Return a pandas DataFrame with the columns ``side``, ``price`` and ``qty``, best levels first.

        Args:
            decimal: True for exact Decimals, in columns of objects; by default the numbers are floats.

        Raises:
            ImportError: pandas is not installed.
        """
        rows = [
            {"side": side, "price": price, "qty": qty}
            for side, levels in (("bid", self.bids), ("ask", self.asks))
            for price, qty in levels
        ]
        return frame(rows, ("side", "price", "qty"), decimal=decimal)

    def plot(self, ax: Any = None) -> Any:
        """Draw a depth chart, and return the matplotlib Axes.

        Args:
            ax: where to draw; the default is a new figure.

        Raises:
            ImportError: matplotlib is not installed.
        """
        return plot_depth(self.symbol, self.bids, self.asks, ax)

    def __repr__(self) -> str:
        return f"<BookSnapshot {describe(self)}>"

    def _repr_html_(self) -> str:
        return book_html(self)

    def _level(self, row: Tuple[int, str]) -> Level:
        price = to_decimal(row[0], self.price_decimals)
        return Level(price, to_decimal(quantity(*row), self.qty_decimals))

    def _levels(self, name: str, rows: Rows) -> Tuple[Level, ...]:
        cache: Dict[str, Any] = self.__dict__  # frozen forbids setattr, not a cache
        if name not in cache:
            cache[name] = tuple(map(self._level, rows))
        levels: Tuple[Level, ...] = cache[name]
        return levels


def check_levels(levels: int) -> int:
    """Return ``levels`` if it is a valid number of levels. Raises ValueError."""
    if isinstance(levels, bool) or not isinstance(levels, int) or levels < 1:
        raise ValueError(f"levels must be an int of 1 or more, not {levels!r:.80}")
    return levels


def describe(snapshot: BookSnapshot) -> str:
    """Return one line that describes a book."""
    sides = []
    for name, level in (("bid", snapshot.best_bid), ("ask", snapshot.best_ask)):
        sides.append(f"{name} {level.price:f} x {level.qty:f}" if level else f"{name}s: empty")
    return (
        f"{snapshot.symbol} {snapshot.state} depth {snapshot.depth} age {snapshot.age:.1f} s  "
        + " | ".join(sides)
    )


def book_html(snapshot: BookSnapshot, more: str = "") -> str:
    """Return the best levels of a book, with its state and its age; ``more`` is added below."""
    bids, asks = snapshot.bids[:SHOWN], snapshot.asks[:SHOWN]
    rows = []
    for place in range(max(len(bids), len(asks))):
        bid: Any = bids[place] if place < len(bids) else None
        ask: Any = asks[place] if place < len(asks) else None
        rows.append(
            (
                bid.qty if bid else None,
                coloured(bid.price if bid else None, GOOD),
                coloured(ask.price if ask else None, BAD),
                ask.qty if ask else None,
            )
        )
    spread = "" if snapshot.spread is None else f"spread {snapshot.spread:f}"
    empty = [name for name, side in (("bids", bids), ("asks", asks)) if not side]
    notes = [*([f"{' and '.join(empty)}: empty"] if empty else []), f"depth {snapshot.depth}", more]
    return table(
        (snapshot.symbol, badge(str(snapshot.state)), spread, age(snapshot.age)),
        ("qty", "bid", "ask", "qty"),
        rows,
        ", ".join(note for note in notes if note),
    )
