"""Questions about the account that are put to a session, answered as frozen values.

Facades pass these functions to ``Connection.read()`` and ``Connection.wait()``, which run them with the lock
held. Facades never see the session itself. Every function requires holding the session's lock.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Callable, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from ..orders.order import CLOSED, UNKNOWN, Order
from ..orders.record import Record
from ..orders.tables import BalanceTable, Diff, OrderTable, Table
from ..wire.announcements import Announcement
from ..wire.channels import ChannelParams, Key
from .dead_mans_switch import SwitchRenewals
from .requests import RequestHeld, TradingRequest
from .session import Session

EXECUTIONS = Key("executions")
TableOf = Callable[[Session], Any]


def order_table(session: Session) -> OrderTable:
    """Return the table of the account's orders."""
    return session.account.orders


def balance_table(session: Session) -> BalanceTable:
    """Return the table of the account's balances."""
    return session.account.balances


def announced(session: Session) -> Tuple[Announcement, ...]:
    """Return the maintenances and emergencies that the exchange announces."""
    return session.exchange.announcements


class TableStatus(NamedTuple):
    """Whether a table is up to date."""

    live: bool
    blind: bool
    """The table was up to date, is still wanted, and is not up to date now."""
    state: str
    reason: str
    begun: bool
    """Whether the table has ever had a snapshot."""


def table_status(session: Session, table_of: TableOf) -> TableStatus:
    """Return whether a table is up to date, and why not."""
    table: Table = table_of(session)
    return TableStatus(table.live, table.blind, str(table.state), table.reason, bool(table.generation))


def is_live(session: Session, table_of: TableOf) -> bool:
    """Return whether a table is up to date."""
    return bool(table_of(session).live)


def diffs(session: Session, table_of: TableOf) -> List[Diff]:
    """Return what fresh snapshots have changed, oldest first."""
    return list(table_of(session).diffs)


def is_subscribed(session: Session, wanted: ChannelParams) -> bool:
    """Return whether the subscription that feeds a table is acknowledged."""
    entry = session.registry.entries.get(wanted.keys()[0])
    return entry is not None and entry.table is not None and entry.live


class TableValue(NamedTuple):
    """A value that was read from a table, with the status of the table at that moment."""

    status: TableStatus
    value: Any


def read_table(
    session: Session, table_of: TableOf, read: Callable[[Any], Any], stale: bool = False
) -> TableValue:
    """Return ``read(table)`` if the table is up to date or ``stale`` is set, else None, with the status.

    ``read`` must be a function of this library: it runs with the lock held.
    """
    now = table_status(session, table_of)
    return TableValue(now, read(table_of(session)) if now.live or stale else None)


# -- orders --------------------------------------------------------------------------------------


def all_orders(table: OrderTable) -> Dict[str, Order]:
    """Return all known orders by ``order_id``."""
    return {name: record.order() for name, record in table.records.items()}


def open_orders(table: OrderTable) -> Dict[str, Order]:
    """Return the orders that can still trade by ``order_id``, oldest first."""
    return {name: record.order() for name, record in table.records.items() if record.open}


def order_named(session: Session, name: Optional[str]) -> Optional[Order]:
    """Return the order with this ``order_id`` or ``cl_ord_id``, even while the table is not up to date."""
    record = session.account.orders.find(name) if name is not None else None
    return record.order() if record is not None else None


def newer_order(session: Session, name: str, seen: Optional[Order]) -> Optional[Order]:
    """Return the order if the table is up to date and its state is not the object ``seen``, else None."""
    orders = session.account.orders
    record = orders.find(name) if orders.live else None
    order = record.order() if record is not None else None
    # A record makes one Order per state and keeps it, so identity tells whether anything has changed.
    return None if order is seen else order


Named = Tuple[str, Any]
"""The kind of an id, such as ``order_id``, and the id itself."""


def statuses(session: Session, names: Sequence[Named]) -> List[Optional[str]]:
    """Return the status of each order; None for an order that is not known."""
    orders = session.account.orders
    found = [orders.find(name) for _, name in names]
    return [record.status if record is not None else None for record in found]


def all_ended(session: Session, names: Sequence[Named]) -> bool:
    """Return whether the table is up to date and none of the orders can trade any more."""
    return session.account.orders.live and all(one in CLOSED for one in statuses(session, names))


def going_elsewhere(session: Session, request: TradingRequest, now: float) -> Optional[str]:
    """Prepare a request that goes another way than over the session's connection, or return why it may not be
    sent now.
    """
    try:
        session.prepare(request, now)
    except RequestHeld as held:  # returned, so that no expected error leaves the lock
        return str(held)
    return None


def charge(session: Session, request: TradingRequest, now: float) -> None:
    """Charge the rate counters for a request that leaves another way than over the session's connection."""
    session.charge(request, now)


def answered_elsewhere(session: Session, request: TradingRequest, now: float) -> None:
    """Take over what the replies tell that came another way."""
    for reply in request.replies:
        session.replies.told(request, reply, reply.error or "", now)


def userrefs(session: Session) -> FrozenSet[int]:
    """Return the ``order_userref`` of every order that is known."""
    found = (record.fields.get("order_userref") for record in session.account.orders.records.values())
    return frozenset(userref for userref in found if userref)


def unbroken_orders(session: Session) -> Optional[Tuple[object, int, int]]:
    """Return what stays the same as long as no report is missed; None while the orders are not up to date."""
    return session.account.orders.unbroken


def watched_since(session: Session, watched: Optional[Tuple[object, int, int]], moment: float) -> bool:
    """Return whether every report until ``moment`` (monotonic seconds) was received, since ``watched`` was
    read from the table of orders.
    """
    unbroken = session.account.orders.unbroken
    if watched is None or unbroken is None:
        return False
    return unbroken[0] is watched[0] and unbroken[1:] == watched[1:] and session.proven_at >= moment


def open_with_userref(session: Session, userref: int) -> List[Named]:
    """Return the open orders with this ``order_userref``; none while the table is not up to date."""
    orders = session.account.orders
    found = orders.with_userref(userref) if orders.live else []
    return [("order_id", record.order_id) for record in found if record.open]


class Known(NamedTuple):
    """One known order, with the evidence about it."""

    order: Order
    created: str
    """The exchange's time of the oldest report that is not a fill (RFC 3339); empty if there is none."""
    doubtful: bool
    """It was acknowledged without a report so far, or a snapshot does not tell all of it: REST must tell."""


def known_orders(session: Session, meant: Callable[[Record], bool]) -> Optional[List[Known]]:
    """Return the orders for which ``meant`` is true; None if the table is not up to date.

    ``meant`` must be a function of this library: it runs with the lock held.
    """
    orders = session.account.orders
    if not orders.live:
        return None
    return [
        Known(record.order(), record.created, order_id in orders.silent or order_id in orders.unsettled)
        for order_id, record in orders.records.items()
        if meant(record)
    ]


def resync_orders(session: Session, reason: str, now: float) -> int:
    """Fetch the open orders anew, because they seem to lack something; return how many snapshots there were
    before.
    """
    session.data.resync(EXECUTIONS, reason, now)
    return session.account.orders.generation


def lacks_order(session: Session, meant: Callable[[Record], bool], generation: int) -> bool:
    """Return whether the table is up to date by a snapshot after that ``generation``, and has no order for
    which ``meant`` is true. As :func:`known_orders`.
    """
    orders = session.account.orders
    return orders.live and orders.generation > generation and not any(map(meant, orders.records.values()))


def settle_orders(
    session: Session, entries: Mapping[str, Any], asked_at: float, now: float, symbol: Optional[str] = None
) -> List[Order]:
    """Apply what REST says about orders, and return their states after that.

    ``asked_at`` is when REST was asked (monotonic seconds): executions that came later win over its answer.
    """
    orders = session.account.orders
    for order_id, entry in entries.items():
        orders.settle(order_id, entry, asked_at, now, symbol)
    return [orders.records[order_id].order() for order_id in entries if order_id in orders.records]


# -- balances ------------------------------------------------------------------------------------


def newer_totals(session: Session, seen: Optional[Mapping[str, Decimal]]) -> Optional[Mapping[str, Decimal]]:
    """Return all totals if the table is up to date and they are another object than ``seen``, else None."""
    balances = session.account.balances
    return balances.totals if balances.live and balances.totals is not seen else None


def status_word(status: Optional[str]) -> str:
    """Return a status for messages to users; ``unknown`` for an order that is not known."""
    return status if status is not None else UNKNOWN


# -- the dead man's switch -----------------------------------------------------------------------


def switch(session: Session) -> Optional[SwitchRenewals]:
    """Return the dead man's switch that is renewed on this connection, if there is one."""
    return session.switch


def use_switch(session: Session, renewals: Optional[SwitchRenewals]) -> bool:
    """Renew this switch from now on; None to renew none. Return False if there is another one already."""
    if renewals is not None and session.switch is not None:
        return False
    session.switch = renewals
    return True
