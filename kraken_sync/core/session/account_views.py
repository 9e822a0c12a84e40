"""What a session tells of the account, as frozen values. Every function requires holding the session's lock.

Facades hand these to ``Connection.read()`` and ``Connection.wait()``; they never see the session itself.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..orders.order import CLOSED, UNKNOWN, Order
from ..orders.record import Record
from ..orders.tables import BalanceTable, Diff, OrderTable, Table
from ..wire.channels import ChannelParams
from .dead_mans_switch import SwitchRenewals
from .session import Session

TableOf = Callable[[Session], Any]


def order_table(session: Session) -> OrderTable:
    """The account's orders."""
    return session.account.orders


def balance_table(session: Session) -> BalanceTable:
    """The account's balances."""
    return session.account.balances


class TableStatus(NamedTuple):
    """Whether a table is up to date."""

    live: bool
    blind: bool
    """It was up to date, is still wanted, and is not up to date now."""
    state: str
    reason: str
    begun: bool
    """Whether it ever had a snapshot."""


def table_status(session: Session, table_of: TableOf) -> TableStatus:
    """Whether a table is up to date, and why not."""
    table: Table = table_of(session)
    return TableStatus(table.live, table.blind, str(table.state), table.reason, bool(table.generation))


def is_live(session: Session, table_of: TableOf) -> bool:
    """Whether a table is up to date."""
    return bool(table_of(session).live)


def diffs(session: Session, table_of: TableOf) -> List[Diff]:
    """What fresh snapshots have changed, oldest first."""
    return list(table_of(session).diffs)


def is_subscribed(session: Session, wanted: ChannelParams) -> bool:
    """Whether a table's subscription is live."""
    entry = session.registry.entries.get(wanted.keys()[0])
    return entry is not None and entry.table is not None and entry.live


class TableValue(NamedTuple):
    """What was read from a table, and what the table was worth at that moment."""

    status: TableStatus
    value: Any


def read_table(
    session: Session, table_of: TableOf, read: Callable[[Any], Any], stale: bool = False
) -> TableValue:
    """``read(table)``, a function of this library, if the table is up to date (or ``stale`` is set)."""
    now = table_status(session, table_of)
    return TableValue(now, read(table_of(session)) if now.live or stale else None)


# -- orders --------------------------------------------------------------------------------------


def all_orders(table: OrderTable) -> Dict[str, Order]:
    """Every order that is known."""
    return {name: record.order() for name, record in table.records.items()}


def open_orders(table: OrderTable) -> Dict[str, Order]:
    """The orders that can still trade, oldest first."""
    return {name: record.order() for name, record in table.records.items() if record.open}


def order_named(session: Session, name: Optional[str]) -> Optional[Order]:
    """The order of this ``order_id`` or ``cl_ord_id``, whatever the table is worth."""
    record = session.account.orders.find(name) if name is not None else None
    return record.order() if record is not None else None


def newer_order(session: Session, name: str, seen: Optional[Order]) -> Optional[Order]:
    """The order, if the table is up to date and the order is not in the very state ``seen``."""
    orders = session.account.orders
    record = orders.find(name) if orders.live else None
    order = record.order() if record is not None else None
    return None if order is seen else order


Named = Tuple[str, Any]
"""The kind of an id, such as ``order_id``, and the id."""


def statuses(session: Session, names: Sequence[Named]) -> List[Optional[str]]:
    """The status of each order, None for one that is not known."""
    orders = session.account.orders
    found = [orders.find(name) for _, name in names]
    return [record.status if record is not None else None for record in found]


def all_ended(session: Session, names: Sequence[Named]) -> bool:
    """Whether the executions say of each order that it is not open any more."""
    return session.account.orders.live and all(one in CLOSED for one in statuses(session, names))


def open_with_userref(session: Session, userref: int) -> List[Named]:
    """The open orders with this ``order_userref``; none while the table is not up to date."""
    orders = session.account.orders
    found = orders.with_userref(userref) if orders.live else []
    return [("order_id", record.order_id) for record in found if record.open]


class Known(NamedTuple):
    """What is known of one order."""

    order: Order
    created: str
    """The exchange's time of its oldest report that is not a fill; empty if there is none."""
    silent: bool
    """It was acknowledged, and no report of it has come yet."""


def known_orders(session: Session, meant: Callable[[Record], bool]) -> Optional[List[Known]]:
    """The orders for which ``meant`` (a function of this library) holds; None if the table is not live."""
    orders = session.account.orders
    if not orders.live:
        return None
    return [
        Known(record.order(), record.created, order_id in orders.silent)
        for order_id, record in orders.records.items()
        if meant(record)
    ]


def settle_orders(
    session: Session, entries: Mapping[str, Any], asked_at: float, now: float, symbol: Optional[str] = None
) -> List[Order]:
    """Take over what REST says of orders, asked at ``asked_at``; returns their states after that."""
    orders = session.account.orders
    for order_id, entry in entries.items():
        orders.settle(order_id, entry, asked_at, now, symbol)
    return [orders.records[order_id].order() for order_id in entries if order_id in orders.records]


# -- balances ------------------------------------------------------------------------------------


def newer_totals(session: Session, seen: Optional[Mapping[str, Decimal]]) -> Optional[Mapping[str, Decimal]]:
    """All totals, if the table is up to date and they are not the very ones that were ``seen``."""
    balances = session.account.balances
    return balances.totals if balances.live and balances.totals is not seen else None


def status_word(status: Optional[str]) -> str:
    """A status for people; ``unknown`` for an order that is not known."""
    return status if status is not None else UNKNOWN


# -- the dead man's switch -----------------------------------------------------------------------


def switch(session: Session) -> Optional[SwitchRenewals]:
    """The switch that is renewed on this connection, if there is one."""
    return session.switch


def use_switch(session: Session, renewals: Optional[SwitchRenewals]) -> None:
    """Renew this switch from now on; None to renew none."""
    session.switch = renewals
