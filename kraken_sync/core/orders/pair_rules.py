"""The price and quantity grid of a pair, its minimums, and the nearest value that complies.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/instrument (``price_increment``,
``qty_increment``, ``qty_min``, ``cost_min``) and Kraken's REST page "Get Tradable Asset Pairs"
(``tick_size``, ``lot_decimals``, ``ordermin``, ``costmin``); both give the same values.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any, Mapping, Optional

from ..wire.numbers import EXACT, decimal_of
from .params import LIMIT_TYPES

LARGEST = Decimal("1e17")
"""The largest price or quantity that is checked; beyond it the arithmetic here would not be exact."""


@dataclass(frozen=True)
class PairRules:
    """The rules for orders of one pair; an attribute is None where the exchange gives no rule.

    Attributes:
        symbol: the exchange's name of the pair.
        status: the pair's trading status, such as ``online`` or ``cancel_only``.
        price_increment: the step of prices, in quote currency.
        qty_increment: the step of quantities, in base currency.
        qty_min: the smallest quantity, in base currency.
        cost_min: the smallest price times quantity, in quote currency.
    """

    symbol: str
    status: str = "online"
    price_increment: Optional[Decimal] = None
    qty_increment: Optional[Decimal] = None
    qty_min: Optional[Decimal] = None
    cost_min: Optional[Decimal] = None

    def check(self, order: Mapping[str, Any]) -> None:
        """Check the numbers of an add, an amend or an edit.

        Raises:
            ValueError: a number breaks a rule; the text names the nearest valid value.
        """
        with localcontext(EXACT):
            self._check(order)

    def _check(self, order: Mapping[str, Any]) -> None:
        # Only absolute prices are on the grid. Offsets ("pct", "quote") are not; for trailing-stop-limit
        # the exchange's default of limit_price_type is "quote".
        static = order.get("limit_price_type", "static") == "static"
        if order.get("order_type") == "trailing-stop-limit" and "limit_price_type" not in order:
            static = False
        if static:
            self._check_price("limit_price", order.get("limit_price"))
        triggers = order.get("triggers") or {}
        trailing = str(order.get("order_type", "")).startswith("trailing")
        if triggers.get("price_type", "static") == "static" and not trailing:
            self._check_price("triggers.price", triggers.get("price"))
        # Whether an amend of a trailing order without a type means a price or a distance is not documented.
        if order.get("trigger_price_type", "" if trailing else "static") == "static":
            self._check_price("trigger_price", order.get("trigger_price"))
        qty = order.get("order_qty")
        closing = order.get("order_type") == "settle-position" or any(
            order.get(name) for name in ("margin", "leverage", "reduce_only")
        )
        if qty is not None and not (qty == 0 and closing):  # 0 closes a margin position of any size
            self._check_qty(qty, order)
        self._check_step("display_qty", order.get("display_qty"), self.qty_increment)

    def _check_price(self, name: str, price: Optional[Decimal]) -> None:
        if price is None:
            return
        if price <= 0:
            raise ValueError(f"{name} must be more than 0, not {price}")
        self._check_step(name, price, self.price_increment)

    def _check_step(self, name: str, value: Optional[Decimal], step: Optional[Decimal]) -> None:
        if value is None or step is None:
            return
        if abs(value) > LARGEST:
            raise ValueError(f"{name}={value:g} is too large")
        if value % step == 0:
            return
        near = max(step, nearest_step(value, step))
        raise ValueError(
            f"{name}={value:f} is not on {self.symbol}'s grid of {step:f}. "
            f"The nearest valid value is {near:f}"
        )

    def _check_qty(self, qty: Decimal, order: Mapping[str, Any]) -> None:
        if qty <= 0:
            raise ValueError(f"order_qty must be more than 0, not {qty:f}")
        if self.qty_min is not None and qty < self.qty_min:
            raise ValueError(
                f"order_qty={qty:f} is less than {self.symbol}'s minimum. "
                f"The nearest valid value is {self.qty_min:f}"
            )
        self._check_step("order_qty", qty, self.qty_increment)
        # The cost of a market or triggered order is not known before it trades.
        price = order.get("limit_price")
        if price is None or self.cost_min is None or order.get("order_type", "limit") not in LIMIT_TYPES:
            return
        if order.get("limit_price_type", "static") == "static" and price > 0 and qty * price < self.cost_min:
            step = self.qty_increment or Decimal("0.00000001")
            least = (self.cost_min / price / step).to_integral_value(ROUND_CEILING) * step
            raise ValueError(
                f"order_qty={qty:f} at {price:f} costs {qty * price:f}, less than {self.symbol}'s minimum of "
                f"{self.cost_min:f}. The nearest valid order_qty is {max(least, self.qty_min or least):f}"
            )


def nearest_step(value: Decimal, step: Decimal) -> Decimal:
    """Return the multiple of ``step`` that is nearest to ``value``.

    >>> nearest_step(Decimal("64250.13"), Decimal("0.1"))
    Decimal('64250.1')
    """
    return (value / step).to_integral_value(ROUND_HALF_EVEN) * step


def of_instrument(pair: Any) -> PairRules:
    """Return the rules from a pair of the ``instrument`` channel."""

    def number(name: str) -> Optional[Decimal]:
        value = getattr(pair, name, None)
        return None if value in (None, "") else decimal_of(name, value)

    return PairRules(
        pair.symbol,
        str(pair.status or "online"),
        # tick_size is the deprecated name.
        number("price_increment") or number("tick_size"),
        number("qty_increment"),
        number("qty_min"),
        number("cost_min"),
    )


def of_asset_pair(symbol: str, entry: Mapping[str, Any]) -> PairRules:
    """Return the rules from an entry of REST ``AssetPairs``."""
    tick = entry.get("tick_size") or Decimal(1).scaleb(-int(entry.get("pair_decimals", 8)))
    return PairRules(
        symbol,
        str(entry.get("status", "online")),
        decimal_of("tick_size", tick),
        Decimal(1).scaleb(-int(entry.get("lot_decimals", 8))),
        decimal_of("ordermin", entry["ordermin"]) if entry.get("ordermin") else None,
        decimal_of("costmin", entry["costmin"]) if entry.get("costmin") else None,
    )
