"""An order as users see it, and the groups of its statuses."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Dict, Mapping, Optional, Tuple

from ..html import badge, details
from ..wire.numbers import EXACT

OPEN = ("pending_new", "new", "partially_filled")
CLOSED = ("filled", "canceled", "expired")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Order:
    """One state of an order. Immutable; read ``client.orders`` again for a newer state.

    Prices are in quote currency, quantities in base currency. What has no attribute here, such as a stop
    order's trigger, is in ``raw``, under the exchange's name.

    Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/executions.
    """

    order_id: str
    cl_ord_id: Optional[str]
    order_userref: Optional[int]
    symbol: str
    side: str
    order_type: str
    status: str
    """``pending_new``, ``new``, ``partially_filled``, ``filled``, ``canceled`` or ``expired``, or ``unknown``
    while the exchange is being asked what became of the order."""
    qty: Optional[Decimal]
    """The ordered quantity in base currency; None if the exchange has not told it."""
    filled: Decimal
    """The filled quantity in base currency."""
    limit_price: Optional[Decimal]
    average_price: Optional[Decimal]
    """The average price of the filled quantity; None if nothing is filled."""
    fee: Decimal
    """The sum of all fees so far; see ``fees`` if they are in more than one asset."""
    fees: Tuple[Tuple[str, Decimal], ...]
    """The fees so far as pairs of asset and amount."""
    reason: str
    """Why the order ended, in the exchange's words; empty if it has not ended or no reason was given."""
    created: str
    """The exchange's time of the oldest report that is not a fill (RFC 3339, UTC); empty if there is none."""
    updated: str
    """The exchange's time of the last report (RFC 3339, UTC); empty if it had none."""
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    """Every field that was ever reported, with its latest value; numbers are Decimals."""

    def to_dict(self) -> Dict[str, Any]:
        """Return the order as a dict that :mod:`json` can write: its attributes without ``raw``; prices,
        quantities and fees are texts with all their digits.
        """
        made: Dict[str, Any] = {}
        for one in fields(self):
            value = getattr(self, one.name)
            if one.name == "raw":
                continue
            made[one.name] = f"{value:f}" if isinstance(value, Decimal) else value
        made["fees"] = {asset: f"{amount:f}" for asset, amount in self.fees}
        return made

    def _repr_html_(self) -> str:
        return details(
            (f"{self.side} {self.symbol}", badge(self.status)),
            [
                ("order_id", self.order_id),
                ("cl_ord_id", self.cl_ord_id),
                ("type", self.order_type),
                ("limit price", self.limit_price),
                ("filled", f"{self.filled:f} of {'?' if self.qty is None else f'{self.qty:f}'}"),
                ("average price", self.average_price),
                ("fees", ", ".join(f"{amount:f} {asset}" for asset, amount in self.fees) or None),
                ("reason", self.reason or None),
                ("updated", self.updated or None),
            ],
        )

    @property
    def remaining(self) -> Optional[Decimal]:
        """The quantity that is not filled, in base currency; None if ``qty`` is not known."""
        return None if self.qty is None else max(Decimal(0), EXACT.subtract(self.qty, self.filled))

    @property
    def is_open(self) -> bool:
        """Whether the order can still trade."""
        return self.status in OPEN

    @property
    def is_done(self) -> bool:
        """Whether the order has ended: filled, canceled or expired."""
        return self.status in CLOSED
