"""A mirror of the exchange's trading-rate counter, and how long until a request fits.

Source: Kraken, "Spot Trading Limits": per account and pair; each transaction costs a fixed part and a part
by the age of the order in seconds; the counter decays steadily; reaching the tier's threshold means
``EOrder:Rate limit exceeded``. Whether the threshold itself is still allowed is not documented; here it is
not.
"""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Optional, Sequence, Tuple


class Tier(NamedTuple):
    """What a verification tier allows."""

    name: str
    threshold: int
    decay: float
    """Per second."""
    open_orders: int
    """Most open orders per pair."""


TIERS = (
    Tier("starter", 60, 1.0, 60),
    Tier("intermediate", 125, 2.34, 80),
    Tier("pro", 180, 3.75, 225),
)
_FIXED: Mapping[str, float] = {
    "add_order": 1,
    "amend_order": 1,
    "edit_order": 1,
    "cancel_order": 0,
    "batch_cancel": 0,
    "batch_add": 0.5,
}
_BY_AGE: Mapping[str, Sequence[Tuple[float, float]]] = {
    "amend_order": ((5, 3), (10, 2), (15, 1)),
    "edit_order": ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1)),
    "cancel_order": ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1)),
}


def cost(method: str, age: Optional[float] = None, count: int = 1) -> float:
    """What a request costs for ``count`` orders; ``age`` is the seconds since creation or the last amend.

    >>> cost("add_order"), cost("cancel_order", 3), cost("batch_add", count=4), cost("amend_order", 12)
    (1.0, 8, 2.0, 2)
    """
    by_age = _BY_AGE.get("cancel_order" if method == "batch_cancel" else method, ())
    extra = 0.0
    if age is not None:
        extra = next((points for limit, points in by_age if age < limit), 0)
    return count * (_FIXED.get(method, 0) + extra)


class TradingRate:
    """The counters of one account, as far as this client has caused them. ``now`` is monotonic seconds."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self._counters: Dict[str, Tuple[float, float]] = {}

    def count(self, symbol: str, now: float) -> float:
        """The counter of a pair."""
        value, since = self._counters.get(symbol, (0.0, now))
        return max(0.0, value - (now - since) * self.tier.decay)

    def charge(self, symbol: str, points: float, now: float) -> None:
        """Count a request that was sent."""
        self._counters[symbol] = (self.count(symbol, now) + points, now)

    def told(self, symbol: str, value: float, now: float) -> None:
        """The exchange has said where the counter is."""
        self._counters[symbol] = (max(0.0, value), now)

    def wait(self, symbol: str, points: float, now: float) -> float:
        """Seconds until a request that costs so much stays below the threshold."""
        excess = self.count(symbol, now) + points - self.tier.threshold
        return 0.0 if excess < 0 else (excess + 0.01) / self.tier.decay


def tier_of(name: Optional[str], max_rate_count: Optional[int]) -> Tier:
    """The tier: by the exchange's ``maxratecount``, else by its name, else the smallest.

    Raises:
        ValueError: there is no tier of this name.
    """
    for tier in TIERS:
        if max_rate_count == tier.threshold:
            return tier
    if name is None:
        return TIERS[0]
    for tier in TIERS:
        if tier.name == name:
            return tier
    raise ValueError(f"tier must be one of {', '.join(tier.name for tier in TIERS)}, not {name!r}")
