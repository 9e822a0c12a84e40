"""``client.trading_rate``: how far this client has used up the exchange's trading rate, and how long to
wait."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from typing import Any, Dict, List, Mapping, Optional, Tuple

from ..core.orders.params import PRIVATE_METHODS, named_order
from ..core.orders.rate_limits import Tier, TradingRate, cost, tier_of
from ..core.session.session import Session
from .unknown import names_of

KEPT = 10_000


class _Placed:
    """An order, whatever it is called: its pair, and since when it is as it is."""

    def __init__(self, symbol: str, since: float) -> None:
        self.symbol = symbol
        self.since = since


class RateMirror:
    """A mirror of the exchange's rate counter, per pair. Any thread.

    It counts what this client sends. Other clients of the account are not seen, unless ``executions`` is
    subscribed with ``ratecounter=True``: then the exchange's own figures are taken over. The tier is the
    exchange's word (``maxratecount``) as soon as it is known, until then the one given to the client, or the
    smallest.
    """

    _rate = TradingRate(tier_of(None, None))

    def __init__(self, tier: Optional[str] = None) -> None:
        self._named = tier
        self._rate = TradingRate(tier_of(tier, None))
        self._lock = threading.Lock()
        self._placed: Dict[str, _Placed] = {}

    @property
    def tier(self) -> Tier:
        """The tier: its ``name``, ``threshold``, ``decay`` a second, and most ``open_orders`` per pair."""
        return self._rate.tier

    def count(self, symbol: str) -> float:
        """The counter of a pair, from 0 to the tier's ``threshold``."""
        with self._lock:
            return self._rate.count(symbol, time.monotonic())

    def wait_for(
        self, symbol: str, method: str = "add_order", order_id: Optional[str] = None, count: int = 1
    ) -> float:
        """Seconds until a request fits below the threshold; 0 if it does now.

        Args:
            symbol: the pair.
            method: such as ``add_order`` or ``amend_order``.
            order_id: the order to be changed or canceled; young ones cost more.
            count: how many orders, for ``batch_add`` and ``batch_cancel``.
        """
        if method not in PRIVATE_METHODS:
            raise ValueError(f"method must be one of {', '.join(PRIVATE_METHODS)}, not {method!r}")
        now = time.monotonic()
        with self._lock:
            points = cost(method, self._age(order_id, now), count)
            return self._rate.wait(symbol, points, now)

    def watch(self, session: Session) -> None:
        """Take over what the exchange says on this line: the tier, and its own figures."""
        session.feeds.on_reports, session.on_rate_limit = self._told, self._told_limit

    def _told_limit(self, limit: int) -> None:
        with self._lock:
            self._rate.tier = tier_of(self._named, limit)

    def charge(self, method: str, params: Mapping[str, Any]) -> None:
        """A request was sent."""
        now = time.monotonic()
        with self._lock:
            for symbol, points in self._points(method, params, now):
                self._rate.charge(symbol, points, now)
            name = named_order(params)
            if method in ("amend_order", "edit_order") and name in self._placed:
                self._placed[name].since = now

    def placed(self, symbol: str, *names: Any) -> None:
        """An order was taken; its age counts from now. ``names`` are all its ids."""
        with self._lock:
            placed = _Placed(symbol, time.monotonic())
            self._placed.update((name, placed) for name in names if name is not None)
            while len(self._placed) > KEPT:
                del self._placed[next(iter(self._placed))]

    def _points(self, method: str, params: Mapping[str, Any], now: float) -> List[Tuple[str, float]]:
        symbol, orders = params.get("symbol"), params.get("orders")
        if method == "batch_add":
            count = len(orders) if isinstance(orders, (list, tuple)) else 0
            return [(str(symbol), cost(method, count=count))]
        found = names_of(params)
        names = (*found.cl_ord_ids, *found.order_ids)
        if method == "add_order" or (symbol and not names):
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

    def _told(self, reports: List[Dict[str, Any]], now: float) -> None:
        for report in reports:
            value = report.get("ratecount", report.get("rate_count", report.get("ratecounter")))
            if isinstance(value, (int, Decimal)) and isinstance(report.get("symbol"), str):
                with self._lock:
                    self._rate.told(report["symbol"], float(value), now)

    def __repr__(self) -> str:
        return f"<trading rate {self.tier.name}: {self.tier.threshold} points, {self.tier.decay} a second>"
