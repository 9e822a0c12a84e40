"""A mirror of the exchange's trading-rate counter, and how long until a request fits.

Source: Kraken, "Spot Trading Limits": per account and pair; each transaction costs a fixed part and a part
by the age of the order in seconds; the counter decays steadily; reaching the tier's threshold means
``EOrder:Rate limit exceeded``. Whether the threshold itself is still allowed is not documented; here it is
not.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .params import named_order, names_of

KEPT = 10_000
"""How many orders' ages are remembered."""


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


class _Placed:
    """An order, whatever it is called: its pair, and since when it is as it is (monotonic seconds)."""

    def __init__(self, symbol: str, since: float) -> None:
        self.symbol = symbol
        self.since = since


class TradingRate:
    """The counters of one account: what this client has caused, and what the exchange says of them.

    ``now`` is monotonic seconds. Not thread-safe: the owner serialises.

    Args:
        named: the tier's name, until the exchange tells its threshold; the smallest tier if not given.
    """

    def __init__(self, named: Optional[str] = None) -> None:
        self.tier = tier_of(named, None)
        self._named = named
        self._counters: Dict[str, Tuple[float, float]] = {}
        self._placed: Dict[str, _Placed] = {}

    def count(self, symbol: str, now: float) -> float:
        """The counter of a pair."""
        value, since = self._counters.get(symbol, (0.0, now))
        return max(0.0, value - (now - since) * self.tier.decay)

    def charge(self, symbol: str, points: float, now: float) -> None:
        """Count a request that was sent."""
        self._counters[symbol] = (self.count(symbol, now) + points, now)

    def charge_request(self, method: str, params: Mapping[str, Any], now: float) -> None:
        """Count a request that is being sent, by its parameters."""
        for symbol, points in self._points(method, params, now):
            self.charge(symbol, points, now)
        name = named_order(params)
        if method in ("amend_order", "edit_order") and name in self._placed:
            self._placed[name].since = now

    def placed(self, symbol: str, names: Iterable[Any], now: float) -> None:
        """An order was taken; its age counts from now. ``names`` are all its ids."""
        placed = _Placed(symbol, now)
        self._placed.update((name, placed) for name in names if name is not None)
        while len(self._placed) > KEPT:
            del self._placed[next(iter(self._placed))]

    def told(self, reports: Iterable[Mapping[str, Any]], now: float) -> None:
        """The exchange's own figures, in reports of ``executions`` with ``ratecounter``."""
        for report in reports:
            value = report.get("ratecount", report.get("rate_count", report.get("ratecounter")))
            if isinstance(value, (int, Decimal)) and isinstance(report.get("symbol"), str):
                self._counters[report["symbol"]] = (max(0.0, float(value)), now)

    def told_threshold(self, threshold: int) -> None:
        """The exchange has said where the threshold is (``maxratecount``)."""
        self.tier = tier_of(self._named, threshold)

    def wait(self, symbol: str, points: float, now: float) -> float:
        """Seconds until a request that costs so much stays below the threshold."""
        excess = self.count(symbol, now) + points - self.tier.threshold
        return 0.0 if excess < 0 else (excess + 0.01) / self.tier.decay

    def wait_for(self, symbol: str, method: str, order_id: Optional[str], count: int, now: float) -> float:
        """Seconds until this request stays below the threshold."""
        return self.wait(symbol, cost(method, self._age(order_id, now), count), now)

    def _points(self, method: str, params: Mapping[str, Any], now: float) -> List[Tuple[str, float]]:
        symbol, orders = params.get("symbol"), params.get("orders")
        if method == "add_order":
            return [(str(symbol), cost(method))]
        if method == "batch_add":
            count = len(orders) if isinstance(orders, (list, tuple)) else 0
            return [(str(symbol), cost(method, count=count))]
        found = names_of(params)
        names = (*found.cl_ord_ids, *found.order_ids)
        if symbol and not names:
            return [(str(symbol), cost(method))]
        points = []
        for name in names:
            placed = self._placed.get(name)
            pair = placed.symbol if placed is not None else symbol
            if pair:
                points.append((str(pair), cost(method, self._age(name, now))))
        return points

    def _age(self, name: Any, now: float) -> Optional[float]:
        placed = self._placed.get(name)
        return now - placed.since if placed is not None else None


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
