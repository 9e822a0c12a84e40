"""``client.orders`` and ``client.balance``: the account's tables as users read them."""

from __future__ import annotations

import time
from abc import abstractmethod
from decimal import Decimal
from typing import Any, Callable, Dict, Generic, Iterator, List, Mapping, Optional, TypeVar, Union

from ..core.orders import tables as tables
from ..core.orders.order import Order
from ..core.orders.tables import Diff
from ..core.session.registry import Phase
from ..core.wire.channels import check
from ..core.wire.symbols import modern_asset
from ..errors import AccountNotLive, OrderEnded, ReplyTimeout
from ..io.connection.connection import TABLE
from ..io.connection.private import PrivateConnection
from ..io.deadline import deadline_of, time_left
from ..io.walltime import wall_text

TABLE_TIMEOUT = 10.0
"""Seconds for which the first read waits for the first snapshot."""
Value = TypeVar("Value")
Line = Callable[[Optional[float]], PrivateConnection]


class _View(Mapping[str, Value], Generic[Value]):
    """A table of the account, up to date or not. Any thread."""

    name = ""
    channel = ""

    def __init__(self, line: Line, *, stale: bool = False) -> None:
        self._line = line
        self._stale = stale

    @abstractmethod
    def _table(self, line: PrivateConnection) -> Any:
        """The table that is shown."""

    @property
    def state(self) -> str:
        """``SYNCING``, ``LIVE``, ``STALE``, ``RESYNCING`` or ``CLOSED``. Does not block once it has begun."""
        line = self._line(TABLE_TIMEOUT)
        with line.changed:
            return str(self._table(line).state)

    @property
    def diffs(self) -> List[Dict[str, Any]]:
        """What fresh snapshots have changed after something was missed, oldest first.

        Each is a dict of ``reason``, ``since``, ``until`` and the ids (or assets) that ``appeared``,
        ``changed``, or were ``missing`` from the snapshot.
        """
        line = self._line(TABLE_TIMEOUT)
        with line.changed:
            return [_diff(diff) for diff in self._table(line).diffs]

    def wait_live(self, timeout: Optional[float] = TABLE_TIMEOUT) -> None:
        """Block until it is up to date, subscribing if nobody has.

        Raises:
            PermissionRefused: the API key may not see it.
            AccountNotLive: not in time.
        """
        deadline = deadline_of(timeout)
        line = self._line(timeout)
        self._subscribe(line, deadline)
        with line.changed:
            table = self._table(line)
            if line.wait(lambda: table.live, deadline):
                return
            raise AccountNotLive(self.name, str(table.state), table.reason)

    def __repr__(self) -> str:
        try:
            line = self._line(0.0)
            with line.changed:
                table = self._table(line)
                begun = table.state if table.generation else "not read yet"
                return f"<{self.name} {begun}: {self._summary(table)}>"
        except Exception:
            return f"<{self.name}: no connection>"

    @abstractmethod
    def _summary(self, table: Any) -> str:
        """How much it holds, for people."""

    def _subscribe(self, line: PrivateConnection, deadline: Optional[float]) -> None:
        ask = check({"channel": self.channel})
        with line.changed:
            wish = line.session.registry.wishes.get(ask.keys()[0])
            if wish is not None and wish.table is not None and wish.phase is Phase.LIVE:
                return
        line.subscribe(ask, deadline, holder=object(), kind=TABLE)

    def _read(self, read: Callable[[Any], Any]) -> Any:
        line = self._line(TABLE_TIMEOUT)
        with line.changed:
            table = self._table(line)
            if self._stale or table.live:
                return read(table)
            if table.blind:
                raise AccountNotLive(self.name, str(table.state), table.reason)
        self.wait_live()
        with line.changed:
            return read(self._table(line))


class Orders(_View[Order]):
    """The account's orders: open ones, and up to 10 000 that have ended since.

    A mapping of ``order_id`` to :class:`Order`; a ``cl_ord_id`` finds its latest order, too. Built from the
    snapshot and the updates of the ``executions`` channel, whose numbering is checked: if a message is
    missing, reading raises :class:`AccountNotLive` until a fresh snapshot, and ``diffs`` tells what that has
    changed. An order whose acknowledgement has come is in it at once. The first read subscribes, and blocks
    up to 10 seconds.
    """

    name = "orders"
    channel = "executions"

    def _table(self, line: PrivateConnection) -> tables.Orders:
        return line.session.account.orders

    def _summary(self, table: tables.Orders) -> str:
        count = sum(record.open for record in table.records.values())
        return f"{count} open of {len(table.records)} known"

    @property
    def stale(self) -> Orders:
        """The same orders, readable while they are not up to date."""
        return Orders(self._line, stale=True)

    @property
    def open(self) -> Dict[str, Order]:
        """The orders that can still trade, oldest first."""
        found: Dict[str, Order] = self._read(
            lambda table: {name: record.order() for name, record in table.records.items() if record.open}
        )
        return found

    def wait_until(
        self, name: Union[str, Order], predicate: Callable[[Order], bool], timeout: Optional[float] = None
    ) -> Order:
        """Block until ``predicate(order)`` is true of the order with this ``order_id`` or ``cl_ord_id``.

        It is called under a lock: it must be quick and must not call the client.

        Raises:
            ReplyTimeout: not in time (seconds; None for ever).
        """
        deadline = deadline_of(timeout)
        name = name.order_id if isinstance(name, Order) else name
        if not isinstance(name, str):
            raise TypeError(f"an order is named by its order_id or cl_ord_id, a string, not {name!r:.80}")
        line = self._line(timeout)
        self._subscribe(line, deadline)
        found: List[Order] = []

        def met() -> bool:
            table = self._table(line)
            record = table.find(name)
            if record is None or not table.live or not predicate(record.order()):
                return False
            found.append(record.order())
            return True

        started = time.monotonic()
        with line.changed:
            if line.wait(met, deadline):
                return found[-1]
            record = self._table(line).find(name)
        waited = time.monotonic() - started
        state = "is not known" if record is None else f"is {record.status}"
        raise ReplyTimeout(f"order {name} {state} after {waited:.1f} s", waited=waited)

    def wait_open(self, name: Union[str, Order], timeout: Optional[float] = 10.0) -> Order:
        """Block until the order is live (``new`` or later).

        Raises:
            OrderEnded: it ended without a fill.
            ReplyTimeout: not in time.
        """
        order = self.wait_until(name, lambda one: one.status not in ("pending_new", "unknown", ""), timeout)
        if order.is_done and not order.filled:
            raise OrderEnded(f"order {name} is {order.status}: {order.reason or 'no reason given'}", order)
        return order

    def wait_filled(self, name: Union[str, Order], timeout: Optional[float] = None) -> Order:
        """Block until the order is completely filled.

        Raises:
            OrderEnded: it was canceled or has expired.
            ReplyTimeout: not in time.
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

        Raises:
            ReplyTimeout: not in time.
        """
        return self.wait_until(name, lambda one: one.is_done, timeout)

    def __getitem__(self, name: str) -> Order:
        def read(table: tables.Orders) -> Order:
            record = table.find(name)
            if record is None:
                raise KeyError(name)
            return record.order()

        order: Order = self._read(read)
        return order

    def __iter__(self) -> Iterator[str]:
        names: List[str] = self._read(lambda table: list(table.records))
        return iter(names)

    def __len__(self) -> int:
        count: int = self._read(lambda table: len(table.records))
        return count


class Balance(_View[Decimal]):
    """The account's balances: a mapping of asset (``"BTC"``, ``"USD"``) to its total, an exact decimal.

    Totals are what the exchange says: what open orders have reserved is still in them; see ``held``. Built
    from the ``balances`` channel, whose numbering is checked as that of :class:`Orders`.
    """

    name = "balance"
    channel = "balances"

    def __init__(
        self, line: Line, request: Callable[[Optional[float]], Mapping[str, Any]], *, stale: bool = False
    ) -> None:
        super().__init__(line, stale=stale)
        self._request = request

    def _table(self, line: PrivateConnection) -> tables.Balances:
        return line.session.account.balances

    def _summary(self, table: tables.Balances) -> str:
        return f"{len(table.totals)} assets"

    @property
    def stale(self) -> Balance:
        """The same balances, readable while they are not up to date."""
        return Balance(self._line, self._request, stale=True)

    @property
    def total(self) -> Dict[str, Decimal]:
        """All totals, as one consistent dict."""
        found: Dict[str, Decimal] = self._read(lambda table: dict(table.totals))
        return found

    @property
    def held(self) -> Dict[str, Decimal]:
        """What open orders have reserved, by asset. Asks REST (``BalanceEx``): blocks up to 10 seconds.

        The channel does not tell it. Assets of which nothing is reserved are left out.
        """
        result = self._request(TABLE_TIMEOUT)
        held = {
            modern_asset(name): Decimal(str(entry.get("hold_trade", 0))) for name, entry in result.items()
        }
        return {asset: amount for asset, amount in held.items() if amount}

    def wait_until(
        self, predicate: Callable[[Mapping[str, Decimal]], bool], timeout: Optional[float] = None
    ) -> Dict[str, Decimal]:
        """Block until ``predicate(totals)`` is true, and return them.

        It is called under a lock: it must be quick and must not call the client.

        Raises:
            ReplyTimeout: not in time (seconds; None for ever).
        """
        deadline = deadline_of(timeout)
        self.wait_live(time_left(deadline))
        line = self._line(timeout)
        with line.changed:
            table = self._table(line)
            if line.wait(lambda: table.live and predicate(table.totals), deadline):
                return dict(table.totals)
        raise ReplyTimeout(f"the balance was not as waited for within {timeout} s", waited=timeout)

    def __getitem__(self, asset: str) -> Decimal:
        total: Decimal = self._read(lambda table: table.totals[asset])
        return total

    def __iter__(self) -> Iterator[str]:
        assets: List[str] = self._read(lambda table: list(table.totals))
        return iter(assets)

    def __len__(self) -> int:
        count: int = self._read(lambda table: len(table.totals))
        return count


def _diff(diff: Diff) -> Dict[str, Any]:
    return {
        "reason": diff.reason,
        "since": wall_text(diff.since),
        "until": wall_text(diff.until),
        "appeared": list(diff.appeared),
        "changed": list(diff.changed),
        "missing": list(diff.missing),
    }
