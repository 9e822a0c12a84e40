"""One order, put together from reports that each tell a part of it.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/executions, and recorded traffic: a
``new`` report has no symbol; a ``trade`` report says ``partially_filled`` even when it fills the order; fills
are repeated in every snapshot and are identified by ``exec_id``.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation, localcontext
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..wire.numbers import AVERAGES, EXACT
from .order import CLOSED, OPEN, UNKNOWN, Order

_REST_STATUS = {"pending": "pending_new", "closed": "filled", "canceled": "canceled", "expired": "expired"}
OPEN_AT_REST = ("open", "pending")
"""The REST statuses of an order that can still trade."""
ExecutionReport = Mapping[str, Any]
# These describe one fill, so they must not be merged into the fields of the whole order.
_OF_A_FILL = frozenset(
    "exec_id trade_id last_qty last_price cost liquidity_ind fees fee_usd_equiv margin_borrow".split()
)


class Fill(NamedTuple):
    """One trade of an order: its quantity, its cost in quote currency, and its fees by asset."""

    qty: Decimal
    cost: Decimal
    fees: Tuple[Tuple[str, Decimal], ...]


class Record:
    """All that is known of one order. Not thread-safe: the owner serialises."""

    def __init__(self, order_id: str) -> None:
        self.order_id = order_id
        self.fields: Dict[str, Any] = {}
        self.fills: Dict[str, Fill] = {}
        self.settled: Optional[Fill] = None
        """The totals that REST gave for the fills in ``settled_ids``."""
        self.settled_ids: Set[str] = set()
        self.status = ""
        self.created = ""
        self.touched = float("-inf")
        """When it was last heard of (monotonic seconds)."""
        self._order: Optional[Order] = None

    @property
    def open(self) -> bool:
        """Whether it can still trade, as far as is known."""
        return self.status in OPEN

    def merge(self, report: ExecutionReport, now: float) -> None:
        """Apply one execution report. ``now`` is in monotonic seconds."""
        self._order, self.touched = None, now
        # By exec_id, so that a fill repeated in a snapshot counts once.
        fills = report.get("exec_type") == "trade" and isinstance(report.get("exec_id"), str)
        if fills:
            self.fills[report["exec_id"]] = Fill(
                number(report.get("last_qty")), number(report.get("cost")), _fees(report.get("fees"))
            )
        for name, value in report.items():
            if value is not None and name not in _OF_A_FILL:
                self.fields[name] = value
        kind, status = report.get("exec_type"), report.get("order_status")
        if not isinstance(status, str) or not status:
            status = kind if kind in CLOSED else ""
        # An order that has ended does not become open again: reports may come after the final one, such as
        # a fill that says "partially_filled".
        if status and (status in CLOSED or self.status not in CLOSED):
            self.status = status
        # An "amended" report has a reason, too, which is not why the order ends later.
        if self.status not in CLOSED:
            self.fields.pop("reason", None)
        moment = report.get("timestamp")
        if kind != "trade" and isinstance(moment, str) and (not self.created or moment < self.created):
            self.created = moment  # not of fills: their time says nothing about when it was placed

    def report(self) -> ExecutionReport:
        """Return the report with which a snapshot would describe it."""
        return {**self.fields, "order_id": self.order_id, "exec_type": "status", "order_status": self.status}

    @property
    def filled_up(self) -> bool:
        """Whether it is filled and all of its fills are known."""
        return self.status == "filled" and self._known() == number(self.fields.get("order_qty"))

    def doubt(self) -> None:
        """Mark it as unknown: it has ended, and how is not known."""
        self.status, self._order = UNKNOWN, None

    def settle(self, entry: ExecutionReport, now: float) -> None:
        """Apply REST's description of the order, which is complete. ``now`` is in monotonic seconds."""
        if self.status in CLOSED and entry.get("status") in OPEN_AT_REST:
            return  # an order that has ended does not become open again; REST may lag behind
        self._order, self.touched = None, now
        filled = number(entry.get("vol_exec"))
        words = str(entry.get("status", ""))
        # REST says "closed" of a filled order; canceled and expired ones have statuses of their own.
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
        # REST puts the limit into price, except for triggered orders, whose price is the trigger.
        limit = number(descr.get("price2" if kind.endswith("-limit") else "price"))
        if "limit" in kind and limit > 0:
            found["limit_price"] = limit
        self.fields.update({name: value for name, value in found.items() if value is not None})
        # REST gives sums without fills. Fills that it has counted must not be counted again when a snapshot
        # repeats them; without a list, these are the ones known so far.
        trades = entry.get("trades")
        self.settled_ids = set(trades) if isinstance(trades, list) else set(self.fills)
        # REST does not say in which asset the fee was paid; a known fill does.
        quote = next((asset for fill in self.fills.values() for asset, _ in fill.fees), "")
        self.settled = Fill(
            filled,
            number(entry.get("cost")),
            ((quote or _quote(self.fields), number(entry.get("fee"))),),
        )

    def _counted(self) -> List[Fill]:
        """Return the parts that make up what was filled: REST's totals, and the fills that are not
        in them.
        """
        later = [fill for exec_id, fill in self.fills.items() if exec_id not in self.settled_ids]
        return [*([self.settled] if self.settled is not None else []), *later]

    @property
    def complete(self) -> bool:
        """Whether the known fills make up all that was filled."""
        return self._known() >= self._filled()

    def _known(self) -> Decimal:
        with localcontext(EXACT):
            return sum((fill.qty for fill in self._counted()), Decimal(0))

    def _filled(self) -> Decimal:
        return max(number(self.fields.get("cum_qty")), self._known())

    def order(self) -> Order:
        """Return its current state as users see it; the same object until something changes."""
        if self._order is None:
            # This may run in a caller's thread, whose own context may have any precision.
            with localcontext(EXACT):
                self._order = self._make()
        return self._order

    def _make(self) -> Order:
        fields, filled, counted = self.fields, self._filled(), self._counted()
        fees: Dict[str, Decimal] = {}
        for fill in counted:
            for asset, qty in fill.fees:
                fees[asset] = fees.get(asset, Decimal(0)) + qty
        average = fields.get("avg_price") or None
        # The fills in a snapshot come without cum_qty and avg_price, so the reported average may be
        # older.
        if filled and (average is None or number(fields.get("cum_qty")) != filled):
            cost = sum((fill.cost for fill in counted), Decimal(0))
            average = AVERAGES.divide(cost, filled)
        userref = fields.get("order_userref")
        return Order(
            order_id=self.order_id,
            cl_ord_id=_text(fields.get("cl_ord_id")),
            # The exchange reports 0 for an order_userref that was never set.
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


def exact(value: Any) -> Optional[Decimal]:
    """Return a number of the exchange as Decimal, or None if the value is not a finite number."""
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
        return None
    try:
        found = Decimal(value)
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def orders_of_rest(entries: Mapping[str, Any], now: float, symbol: Optional[str]) -> List[Order]:
    """Return the orders that REST describes, by ``order_id``, without anything else that is known of them.

    ``symbol`` is the WebSocket name of their pair, if it is known; REST uses another one.
    """
    orders = []
    for order_id, entry in entries.items():
        record = Record(order_id)
        if symbol:
            record.fields["symbol"] = symbol
        record.settle(entry, now)
        orders.append(record.order())
    return orders


def number(value: Any) -> Decimal:
    """Return a number of the exchange as Decimal, or 0 if the value is not a finite number."""
    return exact(value) or Decimal(0)


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


def _quote(fields: ExecutionReport) -> str:
    return str(fields.get("symbol", "")).partition("/")[2]
