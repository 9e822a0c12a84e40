"""A mirror of the exchange's trading-rate counters.

Source: Kraken's guide "Spot Trading Limits": there is one counter per account and pair. Each transaction
costs a fixed part and a part that depends on the age of the order in seconds; the counter decays steadily;
reaching the tier's threshold means ``EOrder:Rate limit exceeded``. Whether a counter exactly at the threshold
is still accepted is not documented; here it is not.
"""

from __future__ import annotations

from decimal import Decimal
from math import inf
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from .params import named_order, names_of

NO_PAIR = ""
"""The counter of requests that concern no pair."""
KEPT = 10_000
"""The number of order ids whose age is kept."""


class Tier(NamedTuple):
    """The limits of a verification tier."""

    name: str
    threshold: int
    decay: float
    """Points per second by which a counter decreases."""
    open_orders: int
    """The largest number of open orders per pair."""


TIERS = (
    Tier("starter", 60, 1.0, 60),
    Tier("intermediate", 125, 2.34, 80),
    Tier("pro", 180, 3.75, 225),
)
# Points per order, whatever its age.
_FIXED: Mapping[str, float] = {
    "add_order": 1,
    "amend_order": 1,
    "edit_order": 1,
    "cancel_order": 0,
    "batch_cancel": 0,
    "batch_add": 0.5,
}
# Additional points for an order that is younger than so many seconds; the first that applies counts.
_BY_AGE: Mapping[str, Sequence[Tuple[float, float]]] = {
    "amend_order": ((5, 3), (10, 2), (15, 1)),
    "edit_order": ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1)),
    "cancel_order": ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1)),
}


def cost(method: str, age: Optional[float] = None, count: int = 1) -> float:
    """Return the points that a request costs.

    Args:
        method: the exchange's name of the method, such as ``add_order``.
        age: seconds since the order was created or last amended; None if that is not known.
        count: the number of orders.

    >>> cost("add_order"), cost("cancel_order", 3), cost("batch_add", count=4), cost("amend_order", 12)
    (1.0, 8, 2.0, 2)
    """
    by_age = _BY_AGE.get("cancel_order" if method == "batch_cancel" else method, ())
    extra = 0.0
    if age is not None:
        extra = next((points for limit, points in by_age if age < limit), 0)
    return count * (_FIXED.get(method, 0) + extra)


class _Placed:
    """One order under all of its ids: its pair, and when it was placed or last amended (monotonic
    seconds).
    """

    def __init__(self, symbol: str, since: float) -> None:
        self.symbol = symbol
        self.since = since


class TradingRate:
    """The counters of one account: what this client has sent, corrected by what the exchange reports.

    ``now`` is in monotonic seconds. Not thread-safe: the owner serialises.

    Args:
        named: the tier's name, used until the exchange tells its threshold; None for the smallest tier.
    """

    def __init__(self, named: Optional[str] = None) -> None:
        self.tier = tier_of(named, None)
        self._named = named
        self._counters: Dict[str, Tuple[float, float]] = {}
        self._account = (0.0, 0.0)
        """The least value of every counter, and since when, after the account's counter was full."""
        self._placed: Dict[Any, _Placed] = {}

    def count(self, symbol: str, now: float) -> float:
        """Return the counter of a pair, in points."""
        counters = (self._counters.get(symbol, (0.0, now)), self._account)
        return max(0.0, *(value - (now - since) * self.tier.decay for value, since in counters))

    def charge(self, symbol: str, points: float, now: float) -> None:
        """Add points to the counter of a pair."""
        self._counters[symbol] = (self.count(symbol, now) + points, now)

    def charge_request(
        self, method: str, params: Mapping[str, Any], now: float, open_pairs: Iterable[str] = ()
    ) -> None:
        """Charge a request that is being sent, by its parameters.

        ``open_pairs`` are the pairs of all open orders, each of which ``cancel_all`` touches.
        """
        if method == "cancel_all":
            for pair in open_pairs:
                self.charge(pair, 1, now)
        elif method == "cancel_all_orders_after":
            self.charge(NO_PAIR, 1, now)
        for symbol, points in self._points(method, params, now):
            self.charge(symbol, points, now)
        name = named_order(params)
        # The age counts from the last amend, so an amended order is expensive to cancel once more.
        if method in ("amend_order", "edit_order") and name in self._placed:
            self._placed[name].since = now

    def exceeded(self, symbol: Optional[str], now: float) -> None:
        """Note that the exchange has found the counter of a pair (None: of the account) to be full."""
        full = float(self.tier.threshold)
        if symbol is None:
            self._account = full, now
        else:
            self._counters[symbol] = max(self.count(symbol, now), full), now

    def placed(self, symbol: str, names: Iterable[Any], now: float) -> None:
        """Note that an order was accepted; its age counts from now. ``names`` are all of its ids."""
        placed = _Placed(symbol, now)
        self._placed.update((name, placed) for name in names if name is not None)
        while len(self._placed) > KEPT:
            del self._placed[next(iter(self._placed))]

    def told(self, reports: Iterable[Mapping[str, Any]], now: float) -> None:
        """Take over the exchange's own counters from ``executions`` reports with ``ratecounter``."""
        for report in reports:
            # The page of executions does not give the field's name; v1 called it ratecount.
            value = report.get("ratecount", report.get("rate_count", report.get("ratecounter")))
            if isinstance(value, (int, Decimal)) and isinstance(report.get("symbol"), str):
                self._counters[report["symbol"]] = (max(0.0, float(value)), now)

    def told_threshold(self, threshold: int) -> None:
        """Take over the threshold that the exchange reports as ``maxratecount``."""
        self.tier = tier_of(self._named, threshold)

    def wait(self, symbol: str, points: float, now: float) -> float:
        """Return the seconds until a request of this cost stays below the threshold; inf if it never does."""
        if points >= self.tier.threshold:
            return inf
        excess = self.count(symbol, now) + points - self.tier.threshold
        # Strictly below: a hundredth of a point more, so that rounding cannot end exactly at the threshold.
        return 0.0 if excess < 0 else (excess + 0.01) / self.tier.decay

    def wait_for(self, symbol: str, method: str, order_id: Optional[str], count: int, now: float) -> float:
        """Return the seconds until this request stays below the threshold."""
        return self.wait(symbol, cost(method, self._age(order_id, now), count), now)

    def pairs_of(self, method: str, params: Mapping[str, Any], now: float) -> List[str]:
        """Return the pairs whose counters a request concerns, as far as they are known."""
        return [pair for pair, _ in self._points(method, params, now)]

    def _points(self, method: str, params: Mapping[str, Any], now: float) -> List[Tuple[str, float]]:
        symbol, orders = params.get("symbol"), params.get("orders")
        if method == "add_order":
            return [(str(symbol), cost(method))]
        if method == "batch_add":
            count = len(orders) if isinstance(orders, (list, tuple)) else 0
            return [(str(symbol), cost(method, count=count))]
        found = names_of(params)
        names = (*found.cl_ord_ids, *found.order_ids, *found.userrefs)
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
    """Return the tier with the exchange's ``maxratecount``, else the one with this name, else the smallest.

    Raises:
        ValueError: no tier has this name.
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
