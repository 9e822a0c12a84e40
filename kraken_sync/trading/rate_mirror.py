"""``client.trading_rate``: how far this client has used up the exchange's trading rate, and how long to
wait."""

from __future__ import annotations

import time
from typing import Any, Callable, Mapping, Optional, TypeVar

from ..core.orders.params import PRIVATE_METHODS
from ..core.orders.rate_limits import Tier, TradingRate
from ..io.connection.connection import Connection

Value = TypeVar("Value")


class RateMirror:
    """A mirror of the exchange's rate counter, per pair. Any thread.

    It counts what this client sends. Other clients of the account are not seen, unless ``executions`` is
    subscribed with ``ratecounter=True``: then the exchange's own figures are taken over. The tier is the
    exchange's word (``maxratecount``) as soon as it is known, until then the one given to the client, or the
    smallest.
    """

    def __init__(self, rate: TradingRate, connection: Callable[[], Optional[Connection]]) -> None:
        self._rate = rate
        self._connection = connection

    @property
    def tier(self) -> Tier:
        """The tier: its ``name``, ``threshold``, ``decay`` a second, and most ``open_orders`` per pair."""
        return self._rate.tier

    def count(self, symbol: str) -> float:
        """The counter of a pair, from 0 to the tier's ``threshold``."""
        return self._read(lambda rate: rate.count(symbol, time.monotonic()))

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
        return self._read(lambda rate: rate.wait_for(symbol, method, order_id, count, time.monotonic()))

    def charge(self, method: str, params: Mapping[str, Any]) -> None:
        """Count a request of the account that this client did not send (by REST, say)."""
        self._read(lambda rate: rate.charge_request(method, params, time.monotonic()))

    def _read(self, question: Callable[[TradingRate], Value]) -> Value:
        """The counters belong to the private connection's session; without one nobody changes them."""
        connection = self._connection()
        if connection is None:
            return question(self._rate)
        return connection.read(lambda session: question(self._rate))

    def __repr__(self) -> str:
        return f"<trading rate {self.tier.name}: {self.tier.threshold} points, {self.tier.decay} a second>"
