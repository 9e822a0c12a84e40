"""``client.trading_rate``: the used part of the exchange's trading rate, and how long to wait."""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, Optional, TypeVar

from ..core.orders.params import PRIVATE_METHODS
from ..core.orders.rate_limits import Tier, TradingRate
from ..io.connection.connection import Connection

Value = TypeVar("Value")


class RateMirror:
    """A mirror of the exchange's rate counters, one per pair. Any thread; does not block.

    It counts what this client sends. Other clients of the account are not seen, unless ``executions`` is
    subscribed with ``ratecounter=True``: then the exchange's own figures are taken over. The tier is the one
    that the exchange tells (``maxratecount``); until that is known, the one given to the client, or the
    smallest.

    Source: Kraken's guide "Spot Trading Limits".
    """

    def __init__(self, rate: TradingRate, connection: Callable[[], Optional[Connection]]) -> None:
        self._rate = rate
        self._connection = connection

    @property
    def tier(self) -> Tier:
        """The tier: ``name``, ``threshold`` (points), ``decay`` (points per second), ``open_orders`` (per
        pair).
        """
        return self._rate.tier

    def count(self, symbol: str) -> float:
        """Return the counter of a pair in points; the exchange refuses orders when it reaches the
        threshold.
        """
        return self._read(lambda rate: rate.count(symbol, time.monotonic()))

    def wait_for(
        self, symbol: str, method: str = "add_order", order_id: Optional[str] = None, count: int = 1
    ) -> float:
        """Return the seconds until a request fits below the threshold; 0 if it does now.

        Args:
            symbol: the pair.
            method: the exchange's name of the method, such as ``add_order`` or ``amend_order``.
            order_id: the order to be changed or canceled; young orders cost more.
            count: the number of orders, for ``batch_add`` and ``batch_cancel``.

        Raises:
            ValueError: there is no such method.
        """
        if method not in PRIVATE_METHODS:
            raise ValueError(f"method must be one of {', '.join(PRIVATE_METHODS)}, not {method!r}")
        return self._read(lambda rate: rate.wait_for(symbol, method, order_id, count, time.monotonic()))

    def charge(self, method: str, params: Mapping[str, Any]) -> None:
        """Count a request of the account that this client did not send, by REST for example."""
        self._read(lambda rate: rate.charge_request(method, params, time.monotonic()))

    def _read(self, question: Callable[[TradingRate], Value]) -> Value:
        """Run ``question`` under the lock of the session that changes the counters, if there is one."""
        connection = self._connection()
        if connection is None:
            return question(self._rate)
        return connection.read(lambda session: question(self._rate))

    def __repr__(self) -> str:
        return f"<trading rate {self.tier.name}: {self.tier.threshold} points, {self.tier.decay} a second>"
