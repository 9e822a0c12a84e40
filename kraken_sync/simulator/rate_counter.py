"""The trading engine's rate counter, per pair.

Source: Kraken, "Spot Trading Limits": a cost per transaction, higher for orders that live briefly, a steady
decay, a threshold per tier. Where the guide is silent: nothing is refused below the threshold, and cancels
are charged but never refused.
"""

from __future__ import annotations

from typing import Dict, Optional, Tuple

TIERS = {"starter": (60, 1.0, 60), "intermediate": (125, 2.34, 80), "pro": (180, 3.75, 225)}
"""Threshold, decay per second, most open orders per pair."""
_BY_AGE = {
    "amend": ((5, 3), (10, 2), (15, 1)),
    "edit": ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1)),
    "cancel": ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1)),
}


def age_cost(action: str, age: float) -> int:
    """The part of the cost that depends on the order's age in seconds."""
    return next((cost for limit, cost in _BY_AGE[action] if age < limit), 0)


class RateCounters:
    """One counter for each pair. ``tier`` None counts, but never refuses."""

    def __init__(self, tier: Optional[str]) -> None:
        if tier is not None and tier not in TIERS:
            raise ValueError(f"tier must be one of {', '.join(TIERS)} or None, not {tier!r}")
        self.threshold, self.decay, self.most_open = TIERS[tier or "pro"]
        self.limited = tier is not None
        self._counters: Dict[str, Tuple[float, float]] = {}

    def value(self, symbol: str, now: float) -> float:
        """The counter now."""
        value, since = self._counters.get(symbol, (0.0, now))
        return max(0.0, value - (now - since) * self.decay)

    def charge(self, symbol: str, cost: float, now: float, *, refusable: bool = True) -> bool:
        """Count a transaction. False if it must be refused; it is then not counted."""
        value = self.value(symbol, now) + cost
        if refusable and self.limited and value > self.threshold:
            return False
        self._counters[symbol] = (value, now)
        return True
