"""``client.orders`` and ``client.balance``: the account's tables as users read them."""

from __future__ import annotations

import time
from abc import abstractmethod
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any, Callable, Dict, Generic, Iterator, List, Mapping, Optional, TypeVar, Union

from ..core.copying import refuse_copy
from ..core.orders.order import Order
from ..core.orders.tables import BalanceTable, Diff, OrderTable
from ..core.session import account_views
from ..core.session.account_views import TableOf
from ..core.wire.channels import channel_params
from ..core.wire.numbers import EXACT
from ..core.wire.symbols import asset_of
from ..errors import AccountNotLive, OrderEnded, ReplyTimeout
from ..io.connection.connection import Connection
from ..io.connection.subscriptions import TABLE
from ..io.waiting import deadline_of, time_left
from ..io.walltime import wall_text

TABLE_TIMEOUT = 10.0
"""Seconds for which the first read waits for the connection, and again for the first snapshot."""
Value = TypeVar("Value")
Connect = Callable[[Optional[float]], Connection]
"""Returns the private connection, opened within a timeout in seconds."""


class _View(Mapping[str, Value], Generic[Value]):
    """A table of the account, up to date or not. Any thread."""

    name = ""
    channel = ""
    _table: TableOf
    __reduce__ = refuse_copy("pickle dict(...) of it, which is a value")

    def __init__(self, connect: Connect, *, stale: bool = False) -> None:
        self._connect = connect
        self._stale = stale

    def _status(self, timeout: Optional[float] = TABLE_TIMEOUT) -> account_views.TableStatus:
        return self._connect(timeout).read(partial(account_views.table_status, table_of=self._table))

    @property
    def state(self) -> str:
        """``SYNCING``, ``LIVE``, ``STALE``, ``RESYNCING`` or ``CLOSED``.

        Opens the private connection if there is none, which blocks up to 10 seconds; never blocks after that.
        """
        return self._status().state

    @property
    def diffs(self) -> List[Dict[str, Any]]:
        """What fresh snapshots have changed after something was missed, oldest first.

        Each is a dict of ``reason``, ``since`` and ``until`` (RFC 3339, UTC, by this machine's clock) and the
        ids (or assets) that ``appeared``, have ``changed``, or were ``missing`` from the snapshot. Blocks as
        :attr:`state` does.
        """
        found = self._connect(TABLE_TIMEOUT).read(partial(account_views.diffs, table_of=self._table))
        return [_diff(diff) for diff in found]

    def wait_live(self, timeout: Optional[float] = TABLE_TIMEOUT) -> None:
        """Block until the table is up to date, subscribing if that has not been done.

        Args:
            timeout: seconds, None to wait for ever.

        Raises:
            PermissionRefused: the API key lacks the permission to see it.
            AccountNotLive: it was not up to date in time.
        """
        deadline = deadline_of(timeout)
        connection = self._connect(timeout)
        self._subscribe(connection, deadline)
        if not connection.wait(partial(account_views.is_live, table_of=self._table), deadline):
            status = connection.read(partial(account_views.table_status, table_of=self._table))
            raise AccountNotLive(self.name, status.state, status.reason)

    def __repr__(self) -> str:
        try:
            read = partial(account_views.read_table, table_of=self._table, read=self._summary, stale=True)
            status, summary = self._connect(0.0).read(read)  # 0.0: a repr does not wait for a connection
            return f"<{self.name} {status.state if status.begun else 'not read yet'}: {summary}>"
        except Exception:
            # A repr must not raise: debuggers and notebooks call it in every state.
            return f"<{self.name}: no connection>"

    @staticmethod
    @abstractmethod
    def _summary(table: Any) -> str:
        """Return the size of the table in words, for the repr."""

    def _subscribe(self, connection: Connection, deadline: Optional[float]) -> None:
        wanted = channel_params({"channel": self.channel})
        if not connection.read(lambda session: account_views.is_subscribed(session, wanted)):
            connection.subscriptions.subscribe(wanted, deadline, holder=object(), kind=TABLE)

    def _read(self, read: Callable[[Any], Any]) -> Any:
        """Return ``read(table)`` once the table is up to date, or at once for a stale view.

        ``read`` must be a function of this module: it runs with the session's lock held.
        """
        question = partial(account_views.read_table, table_of=self._table, read=read, stale=self._stale)
        status, value = self._connect(TABLE_TIMEOUT).read(question)
        if self._stale or status.live:
            return value
        # A table that was up to date raises at once, since a trading loop must not wait. One that never
        # was is being read for the first time, and is waited for.
        if status.blind:
            raise AccountNotLive(self.name, status.state, status.reason)
        self.wait_live()
        return self._connect(TABLE_TIMEOUT).read(partial(question, stale=True)).value


class Orders(_View[Order]):
    """The account's orders: the open ones, and up to 10 000 that have ended since.

    A mapping of ``order_id`` to :class:`Order`; a ``cl_ord_id`` is accepted as a key, too, and finds its
    latest order. It is built from the snapshot and the updates of the ``executions`` channel, whose numbering
    is checked: if a message is missing, reading raises :class:`AccountNotLive` until a fresh snapshot
    arrives, and ``diffs`` tells what that snapshot changed. An order is in it as soon as its acknowledgement
    has arrived.

    Any thread may read it. The first read opens the private connection and subscribes; it blocks up to 10
    seconds for each. Later reads do not block.

    Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/executions.
    """

    name = "orders"
    channel = "executions"
    _table = staticmethod(account_views.order_table)

    @staticmethod
    def _summary(table: OrderTable) -> str:
        count = sum(record.open for record in table.records.values())
        return f"{count} open of {len(table.records)} known"

    @property
    def stale(self) -> Orders:
        """The same orders, readable while they are not up to date."""
        return Orders(self._connect, stale=True)

    @property
    def open(self) -> Dict[str, Order]:
        """The orders that can still trade by ``order_id``, oldest first."""
        found: Dict[str, Order] = self._read(account_views.open_orders)
        return found

    def wait_until(
        self, name: Union[str, Order], predicate: Callable[[Order], bool], timeout: Optional[float] = None
    ) -> Order:
        """Block until ``predicate(order)`` is true, and return that state of the order.

        Args:
            name: the ``order_id`` or ``cl_ord_id``, or an earlier state of the order. It need not exist yet.
            predicate: called in this thread, without any lock, with the newest state of the order, and again
                when the order has changed; changes during a call are combined into the next state.
            timeout: seconds, None to wait for ever.

        Raises:
            ReplyTimeout: the predicate was not true in time.
        """
        deadline, started = deadline_of(timeout), time.monotonic()
        wanted = name.order_id if isinstance(name, Order) else name
        if not isinstance(wanted, str):
            raise TypeError(f"an order is named by its order_id or cl_ord_id, a string, not {wanted!r:.80}")
        connection = self._connect(timeout)
        self._subscribe(connection, deadline)
        seen: Optional[Order] = None
        while True:
            order = connection.wait(partial(account_views.newer_order, name=wanted, seen=seen), deadline)
            if order is None:
                break
            if predicate(order):
                return order
            seen = order
        waited = time.monotonic() - started
        last = connection.read(lambda session: account_views.order_named(session, wanted))
        state = "is not known" if last is None else f"is {last.status}"
        raise ReplyTimeout(f"order {wanted} {state} after {waited:.1f} s", waited=waited)

    def wait_open(self, name: Union[str, Order], timeout: Optional[float] = 10.0) -> Order:
        """Block until the order is live (``new`` or later), and return its state.

        Args:
            name: the ``order_id`` or ``cl_ord_id``, or an earlier state of the order.
            timeout: seconds, None to wait for ever.

        Raises:
            OrderEnded: the order has ended without a fill.
            ReplyTimeout: the order was not live in time.
        """
        # "unknown" and an empty status say that something is missing, not that the order is live.
        order = self.wait_until(name, lambda one: one.status not in ("pending_new", "unknown", ""), timeout)
        if order.is_done and not order.filled:
            raise OrderEnded(f"order {name} is {order.status}: {order.reason or 'no reason given'}", order)
        return order

    def wait_filled(self, name: Union[str, Order], timeout: Optional[float] = None) -> Order:
        """Block until the order is completely filled, and return its last state.

        Args:
            name: the ``order_id`` or ``cl_ord_id``, or an earlier state of the order.
            timeout: seconds, None to wait for ever.

        Raises:
            OrderEnded: the order was canceled or has expired.
            ReplyTimeout: the order was not filled in time.
        """
        order = self.wait_done(name, timeout)
        if order.status != "filled":
            raise OrderEnded(
                f"order {name} is {order.status}, {order.filled} of {order.qty} filled: "
                f"{order.reason or 'no reason given'}",
                order,
            )
        return order

    def wait_done(self, name: Union[str, Order], timeout: Optional[float] = None) -> Order:
        """Block until the order is filled, canceled or expired, and return its last state.

        Args:
            name: the ``order_id`` or ``cl_ord_id``, or an earlier state of the order.
            timeout: seconds, None to wait for ever.

        Raises:
            ReplyTimeout: the order had not ended in time.
        """
        return self.wait_until(name, lambda one: one.is_done, timeout)

    def __getitem__(self, name: str) -> Order:
        def read(table: OrderTable) -> Optional[Order]:
            record = table.find(name)
            return None if record is None else record.order()

        order: Optional[Order] = self._read(read)
        if order is None:
            raise KeyError(name)
        return order

    def __iter__(self) -> Iterator[str]:
        names: List[str] = self._read(lambda table: list(table.records))
        return iter(names)

    def __len__(self) -> int:
        count: int = self._read(lambda table: len(table.records))
        return count


class Balance(_View[Decimal]):
    """The account's balances: a mapping of asset (``"BTC"``, ``"USD"``) to its total, an exact decimal.

    Totals are the exchange's: what open orders have reserved is included; see ``held``. The mapping is built
    from the ``balances`` channel, whose numbering is checked as that of :class:`Orders`.

    Any thread may read it. The first read opens the private connection and subscribes; it blocks up to 10
    seconds for each. Later reads do not block.

    Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/balances.
    """

    name = "balance"
    channel = "balances"
    _table = staticmethod(account_views.balance_table)

    def __init__(
        self,
        connect: Connect,
        request: Callable[[Optional[float]], Mapping[str, Any]],
        *,
        stale: bool = False,
    ) -> None:
        super().__init__(connect, stale=stale)
        self._request = request

    @staticmethod
    def _summary(table: BalanceTable) -> str:
        return f"{len(table.totals)} assets"

    @property
    def stale(self) -> Balance:
        """The same balances, readable while they are not up to date."""
        return Balance(self._connect, self._request, stale=True)

    @property
    def total(self) -> Dict[str, Decimal]:
        """All totals as one consistent dict."""
        return dict(self._totals())

    @property
    def held(self) -> Dict[str, Decimal]:
        """What open orders have reserved, by asset; assets without any are left out.

        The channel does not tell it, so this asks REST (``BalanceEx``) and blocks up to 10 seconds. REST has
        an asset of its own for each wallet (``SOL.F`` for funds that earn rewards); here they are one, as in
        the totals.
        """
        held: Dict[str, Decimal] = {}
        for name, entry in self._request(TABLE_TIMEOUT).items():
            amount = Decimal(str(entry.get("hold_trade", 0)))
            if amount:
                asset = asset_of(name)
                held[asset] = EXACT.add(held.get(asset, Decimal(0)), amount)
        return held

    @property
    def wallets(self) -> Dict[str, Dict[str, Decimal]]:
        """What each total consists of: by asset and wallet, such as ``{"SOL": {"spot/main": Decimal("0.1"),
        "earn/flex": Decimal("8.0"), "earn/bonded": Decimal("2.0")}}``.

        Funds in ``earn/bonded`` or ``earn/locked`` cannot be traded. An asset whose wallets the exchange has
        not told is missing.
        """
        wallets = self._read(lambda table: table.wallets)
        return {asset: dict(parts) for asset, parts in wallets.items()}

    def wait_until(
        self, predicate: Callable[[Mapping[str, Decimal]], bool], timeout: Optional[float] = None
    ) -> Dict[str, Decimal]:
        """Block until ``predicate(totals)`` is true, and return these totals.

        Args:
            predicate: called in this thread, without any lock, with the newest totals (a read-only mapping),
                and again when one has changed; changes during a call are combined into the next state.
            timeout: seconds, None to wait for ever.

        Raises:
            AccountNotLive: the balances were not up to date in time.
            ReplyTimeout: the predicate was not true in time.
        """
        deadline = deadline_of(timeout)
        self.wait_live(time_left(deadline))
        connection = self._connect(timeout)
        seen: Optional[Mapping[str, Decimal]] = None
        while True:
            totals = connection.wait(partial(account_views.newer_totals, seen=seen), deadline)
            if totals is None:
                raise ReplyTimeout(f"the balance was not as waited for within {timeout} s", waited=timeout)
            if predicate(MappingProxyType(totals)):
                return dict(totals)
            seen = totals

    def _totals(self) -> Mapping[str, Decimal]:
        totals: Mapping[str, Decimal] = self._read(lambda table: table.totals)
        return totals

    def __getitem__(self, asset: str) -> Decimal:
        return self._totals()[asset]

    def __iter__(self) -> Iterator[str]:
        return iter(self._totals())

    def __len__(self) -> int:
        return len(self._totals())


def _diff(diff: Diff) -> Dict[str, Any]:
    return {
        "reason": diff.reason,
        "since": wall_text(diff.since),
        "until": wall_text(diff.until),
        "appeared": list(diff.appeared),
        "changed": list(diff.changed),
        "missing": list(diff.missing),
    }
