"""All that is known of one order, from reports that each tell a part.

Source: Kraken, "executions" page, and recorded traffic: ``new`` names no symbol; a ``trade`` says
``partially_filled`` even when it fills the order; fills are told again in every snapshot, known by
``exec_id``.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

from .order import CLOSED, OPEN, UNKNOWN, Order

_REST_STATUS = {"pending": "pending_new", "closed": "filled", "canceled": "canceled", "expired": "expired"}
Report = Mapping[str, Any]
_OF_A_FILL = frozenset(
    "exec_id trade_id last_qty last_price cost liquidity_ind fees fee_usd_equiv margin_borrow".split()
)


class Fill(NamedTuple):
    """One trade of an order."""

    qty: Decimal
    cost: Decimal
    fees: Tuple[Tuple[str, Decimal], ...]


class Record:
    """All that is known of one order."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        self.fields: Dict[str, Any] = {}
        self.fills: Dict[str, Fill] = {}
        self.settled: Optional[Fill] = None
        """Totals that the exchange gave for the fills in ``settled_ids``."""
        self.settled_ids: Set[str] = set()
        self.status = ""
        self.created = ""
        self.touched = float("-inf")
        """When it was last heard of (monotonic)."""
        self._order: Optional[Order] = None

    @property
    def open(self) -> bool:
        """Whether it can still trade, as far as is known."""
        return self.status in OPEN

    def merge(self, report: Report, now: float) -> None:
        """Take over what a report says."""
        self._order, self.touched = None, now
        fills = report.get("exec_type") == "trade" and isinstance(report.get("exec_id"), str)
        if fills:
            self.fills[report["exec_id"]] = Fill(
                number(report.get("last_qty")), number(report.get("cost")), _fees(report.get("fees"))
            )
        for name, value in report.items():
            if value is not None and name not in _OF_A_FILL:
                self.fields[name] = value
        status = report.get("order_status")
        if status not in CLOSED:  # the reason of an amend is not why the order ended
            self.fields.pop("reason", None)
        if isinstance(status, str) and status:
            self.status = status
        if not self.created and isinstance(report.get("timestamp"), str):
            self.created = report["timestamp"]

    @property
    def filled_up(self) -> bool:
        """Whether it is filled, and all of its fills are known."""
        known = sum((fill.qty for fill in self._counted()), Decimal(0))
        return self.status == "filled" and known == number(self.fields.get("order_qty"))

    def doubt(self) -> None:
        """It is not known what became of it."""
        self.status, self._order = UNKNOWN, None

    def settle(self, entry: Report, now: float) -> None:
        """Take over what REST says of it, which is complete."""
        if self.status in CLOSED and entry.get("status") in ("open", "pending"):
            return  # an order that has ended does not come back; REST may lag behind
        self._order, self.touched = None, now
        filled = number(entry.get("vol_exec"))
        words = str(entry.get("status", ""))
        self.status = _REST_STATUS.get(words, words) or UNKNOWN
        if words == "open":
            self.status = "partially_filled" if filled else "new"
        descr = entry.get("descr")
        descr = descr if isinstance(descr, Mapping) else {}
        found = {
            "order_qty": number(entry.get("vol")),
            "cum_qty": filled,
            "cum_cost": number(entry.get("cost")),
            "avg_price": number(entry.get("price")),
            "side": descr.get("type"),
            "order_type": descr.get("ordertype"),
            "cl_ord_id": entry.get("cl_ord_id"),
            "order_userref": entry.get("userref"),
            "reason": entry.get("reason"),
        }
        kind = str(descr.get("ordertype"))
        limit = number(descr.get("price2" if kind.endswith("-limit") else "price"))
        if "limit" in kind and limit > 0:
            found["limit_price"] = limit
        self.fields.update({name: value for name, value in found.items() if value is not None})
        trades = entry.get("trades")
        self.settled_ids = set(trades) if isinstance(trades, list) else set(self.fills)
        quote = next((asset for fill in self.fills.values() for asset, _ in fill.fees), "")
        self.settled = Fill(
            filled,
            number(entry.get("cost")),
            ((quote or _quote(self.fields), number(entry.get("fee"))),),
        )

    def _counted(self) -> List[Fill]:
        later = [fill for exec_id, fill in self.fills.items() if exec_id not in self.settled_ids]
        return [*([self.settled] if self.settled is not None else []), *later]

    @property
    def complete(self) -> bool:
        """Whether the known fills make up all that has been filled."""
        return sum((fill.qty for fill in self._counted()), Decimal(0)) >= self._filled()

    def _filled(self) -> Decimal:
        known = sum((fill.qty for fill in self._counted()), Decimal(0))
        return max(number(self.fields.get("cum_qty")), known)

    def order(self) -> Order:
        """Its state now, as users see it."""
        if self._order is None:
            self._order = self._make()
        return self._order

    def _make(self) -> Order:
        fields, filled, counted = self.fields, self._filled(), self._counted()
        fees: Dict[str, Decimal] = {}
        for fill in counted:
            for asset, qty in fill.fees:
                fees[asset] = fees.get(asset, Decimal(0)) + qty
        average = fields.get("avg_price") or None
        if filled and (average is None or number(fields.get("cum_qty")) != filled):
            cost = sum((fill.cost for fill in counted), Decimal(0))
            average = cost / filled
        userref = fields.get("order_userref")
        return Order(
            order_id=self.order_id,
            cl_ord_id=_text(fields.get("cl_ord_id")),
            order_userref=userref if isinstance(userref, int) and userref else None,
            symbol=_text(fields.get("symbol")) or "",
            side=_text(fields.get("side")) or "",
            order_type=_text(fields.get("order_type")) or "",
            status=self.status,
            qty=_optional(fields.get("order_qty")),
            filled=filled,
            limit_price=_optional(fields.get("limit_price")),
            average_price=_optional(average),
            fee=sum(fees.values(), Decimal(0)),
            fees=tuple(sorted(fees.items())),
            reason=_text(fields.get("reason")) or "",
            created=self.created,
            updated=_text(fields.get("timestamp")) or "",
            raw=dict(fields),
        )


def number(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value if value.is_finite() else Decimal(0)
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    if isinstance(value, str):
        try:
            return number(Decimal(value))
        except InvalidOperation:
            return Decimal(0)
    return Decimal(0)


def _optional(value: Any) -> Optional[Decimal]:
    return None if value is None else number(value)


def _text(value: Any) -> Optional[str]:
    return value if isinstance(value, str) and value else None


def _fees(fees: Any) -> Tuple[Tuple[str, Decimal], ...]:
    if not isinstance(fees, list):
        return ()
    return tuple(
        (str(fee.get("asset", "")), number(fee.get("qty"))) for fee in fees if isinstance(fee, Mapping)
    )


def _quote(fields: Report) -> str:
    return str(fields.get("symbol", "")).partition("/")[2]
