"""What :meth:`SpotWSClient.reconcile` finds out."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Optional

from ..core.orders.order import Order


class Outcome(str, enum.Enum):
    """What became of a request whose reply was lost."""

    __str__ = str.__str__

    LIVE = "live"
    """The order can still trade."""
    FILLED = "filled"
    CANCELED = "canceled"
    """The order was canceled or has expired, perhaps after a part was filled."""
    NEVER_ARRIVED = "never arrived"
    """There is no such order, and there cannot be one any more: its deadline has passed, or it was
    rejected."""
    STILL_UNKNOWN = "still unknown"
    """The exchange could not be asked, or the order's deadline is still ahead."""


@dataclass(frozen=True)
class Reconciled:
    """The answer of :meth:`SpotWSClient.reconcile`."""

    outcome: Outcome
    order: Optional[Order]
    """Its state, if there is such an order."""
    reason: str
    """How this is known, or why nothing is."""
