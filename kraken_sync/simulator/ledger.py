"""What the simulated exchange says of the account afterwards: the truth to compare a program with."""

from __future__ import annotations

from typing import Any, Dict

from .account import AccountOrder


def order_entry(order: AccountOrder) -> Dict[str, Any]:
    """An order and what became of it; see :meth:`Simulator.orders`."""
    return {
        "order_id": order.order_id,
        "cl_ord_id": order.cl_ord_id,
        "order_userref": order.userref,
        "symbol": order.pair.symbol,
        "side": order.side,
        "order_type": order.kind,
        "status": order.status,
        "qty": order.amount(order.qty),
        "filled": order.amount(order.filled),
        "limit_price": None if order.limit is None else order.price(order.limit),
        "average_price": order.average if order.trades else None,
        "cost": order.cost,
        "fee": order.fee,
        "reason": order.reason,
        "exec_ids": [trade.exec_id for trade in order.trades],
    }
