"""An order as users see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Mapping, Optional, Tuple

OPEN = ("pending_new", "new", "partially_filled")
CLOSED = ("filled", "canceled", "expired")
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Order:
    """One state of an order. Immutable; ask ``client.orders`` again for the next one.

    What has no field here, such as a stop order's trigger, is in ``raw``, as the exchange names it.
    """

    order_id: str
    cl_ord_id: Optional[str]
    order_userref: Optional[int]
    symbol: str
    side: str
    order_type: str
    status: str
    """``pending_new``, ``new``, ``partially_filled``, ``filled``, ``canceled``, ``expired``, or ``unknown``
    while the exchange is being asked what became of it."""
    qty: Optional[Decimal]
    """In base currency; None if the exchange has not said it."""
    filled: Decimal
    limit_price: Optional[Decimal]
    average_price: Optional[Decimal]
    """Of what is filled; None if nothing is."""
    fee: Decimal
    """All fees so far; see ``fees`` if they are in more than one asset."""
    fees: Tuple[Tuple[str, Decimal], ...]
    """Asset and amount."""
    reason: str
    """Why it ended, in the exchange's words."""
    created: str
    """The exchange's time of its oldest report that is not a fill (RFC 3339, UTC); empty if there is none."""
    updated: str
    """Of the last one."""
    raw: Mapping[str, Any] = field(repr=False, compare=False)
    """Every field that was ever reported, the latest values, numbers as Decimal."""

    @property
    def remaining(self) -> Optional[Decimal]:
        """What is not filled, in base currency."""
        return None if self.qty is None else max(Decimal(0), self.qty - self.filled)

    @property
    def is_open(self) -> bool:
        """Whether it can still trade."""
        return self.status in OPEN

    @property
    def is_done(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.status in CLOSED
