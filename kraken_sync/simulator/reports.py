"""Reports of the ``executions`` channel, with the fields that were recorded for each kind.

Source: Kraken, "executions" page, and recorded traffic: ``pending_new`` has the whole order, ``new`` hardly
anything, a ``trade`` says ``partially_filled`` even when it completes the order, and ``filled`` comes as a
report of its own.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Dict, List

from .account import Account, AccountOrder, Trade
from .intake import TRIGGERED
from .wire import timestamp

Report = Dict[str, Any]


def full(order: AccountOrder, exec_type: str, now: float) -> Report:
    """Everything about an order, but for its fills."""
    report: Report = {
        "order_id": order.order_id,
        "symbol": order.pair.symbol,
        "order_qty": order.amount(order.qty),
        "cum_cost": order.cost,
        "time_in_force": str(order.params.get("time_in_force", "gtc")).upper(),
        "exec_type": exec_type,
        "side": order.side,
        "order_type": order.kind,
        "order_userref": order.userref,
        "limit_price_type": "static",
        "stop_price": order.price(0),
        "order_status": order.status,
        "fee_usd_equiv": usd(order, order.fee),
        "fee_ccy_pref": "fciq",
        "timestamp": timestamp(now),
    }
    if order.cl_ord_id is not None:
        report["cl_ord_id"] = order.cl_ord_id
    if order.limit is not None:
        report["limit_price"] = order.price(order.limit)
    if order.params.get("post_only"):
        report["post_only"] = True
    if order.parent:
        report["ord_ref_id"] = order.parent
    if order.display is not None:
        report["display_qty"] = order.amount(order.display)
        report["display_qty_remain"] = order.amount(order.resting.left if order.resting else 0)
    if order.kind in TRIGGERED:
        report["triggers"] = triggers(order, now)
        report["trigger"] = report["triggers"]["reference"]
    for name in ("expire_time", "effective_time", "sender_sub_id", "conditional"):
        if order.params.get(name) is not None:
            report["contingent" if name == "conditional" else name] = order.params[name]
    return report


def triggers(order: AccountOrder, now: float) -> Report:
    """The ``triggers`` of a report."""
    asked = order.params.get("triggers", {})
    return {
        "reference": asked.get("reference", "last"),
        "price": asked.get("price", Decimal(0)),
        "price_type": asked.get("price_type", "static"),
        "actual_price": order.price(order.trigger or 0),
        "status": "triggered" if order.triggered else "untriggered",
        "timestamp": timestamp(now),
    }


def sparse(order: AccountOrder, exec_type: str, now: float) -> Report:
    """What ``new`` says."""
    return {
        "timestamp": timestamp(now),
        "order_status": order.status,
        "exec_type": exec_type,
        "order_userref": order.userref,
        "order_id": order.order_id,
    }


def totals(order: AccountOrder, exec_type: str, now: float) -> Report:
    """How an order ended: ``filled``, ``canceled``, ``expired``."""
    report = {
        "timestamp": timestamp(now),
        "order_status": order.status,
        "exec_type": exec_type,
        "cum_qty": order.amount(order.filled),
        "cum_cost": order.cost,
        "fee_usd_equiv": usd(order, order.fee),
        "avg_price": order.average,
        "order_userref": order.userref,
    }
    if order.cl_ord_id is not None:
        report["cl_ord_id"] = order.cl_ord_id
    if order.reason:
        report["cancel_reason"] = report["reason"] = order.reason
    return {**report, "order_id": order.order_id}


def amended(order: AccountOrder, now: float) -> Report:
    """What changed by an amend."""
    report: Report = {
        "timestamp": timestamp(now),
        "exec_type": "amended",
        "order_status": order.status,
        "cum_qty": order.amount(order.filled),
        "reason": "User requested",
        "amended": True,
        "order_qty": order.amount(order.qty),
        "limit_price_type": "static",
        "order_userref": order.userref,
        "order_id": order.order_id,
    }
    if order.limit is not None:
        report["limit_price"] = order.price(order.limit)
    if order.kind in TRIGGERED:
        report["triggers"] = triggers(order, now)
    return report


def trade(order: AccountOrder, fill: Trade, *, with_totals: bool) -> Report:
    """A fill; in a snapshot without the order's totals."""
    report: Report = {
        "order_id": order.order_id,
        "order_userref": order.userref,
        "exec_id": fill.exec_id,
        "exec_type": "trade",
        "trade_id": fill.trade_id,
        "symbol": order.pair.symbol,
        "side": order.side,
        "last_qty": order.amount(fill.qty),
        "last_price": order.price(fill.price),
        "liquidity_ind": "m" if fill.maker else "t",
        "cost": fill.cost,
        "order_type": order.kind,
        "timestamp": timestamp(fill.moment),
        "order_status": order.status,
    }
    if order.cl_ord_id is not None:
        report["cl_ord_id"] = order.cl_ord_id
    if with_totals:
        report["cum_qty"] = order.amount(order.filled)
        report["cum_cost"] = order.cost
        report["avg_price"] = order.average
    report["fee_usd_equiv"] = usd(order, fill.fee)
    report["fees"] = [{"asset": order.pair.quote, "qty": fill.fee}]
    return report


def snapshot(account: Account, orders: bool, trades: bool, now: float) -> List[Report]:
    """The last 50 fills and the open orders, oldest first."""
    found: List[Report] = []
    if trades:
        fills = [(fill.moment, order, fill) for order in account.orders.values() for fill in order.trades]
        fills.sort(key=lambda one: (one[0], one[2].trade_id))
        found += [trade(order, fill, with_totals=False) for _, order, fill in fills[-50:]]
    if orders:
        for order in account.open_orders():
            report = full(order, "new" if order.status != "pending_new" else "pending_new", order.moment)
            report["cum_qty"], report["avg_price"] = order.amount(order.filled), order.average
            found.append(report)
    return found


def usd(order: AccountOrder, fee: Decimal) -> Decimal:
    """A fee in dollars, where that is easy to say."""
    return fee if order.pair.quote == "USD" else order.money(0)
