"""``client.orders``: the account's orders as users read them."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, Union

from ..core.frames import frame
from ..core.orders.order import Order
from ..core.orders.tables import OrderTable
from ..core.session import account_views
from ..errors import OrderEnded, ReplyTimeout
from ..io.waiting import deadline_of
from .account_table import AccountTable

FRAME = (
    "order_id", "cl_ord_id", "symbol", "side", "order_type", "status", "qty", "filled", "limit_price",
    "average_price", "fee", "reason", "created", "updated",
)  # fmt: skip
"""The columns of the DataFrame of orders."""
NUMBERS = ("qty", "filled", "limit_price", "average_price", "fee")


class Orders(AccountTable[Order]):
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

    _columns = ("symbol", "side", "type", "qty", "filled", "limit price", "status", "order_id")

    @staticmethod
    def _rows(table: OrderTable) -> List[Tuple[Any, ...]]:
        return [
            (
                one.symbol,
                one.side,
                one.order_type,
                one.qty,
                one.filled,
                one.limit_price,
                one.status,
                one.order_id,
            )
            for one in account_views.open_orders(table).values()
        ]

    def to_frame(self, *, decimal: bool = False) -> Any:
        """Return a pandas DataFrame of all known orders, by ``order_id``; times are UTC. May block as any
        first read.

        Args:
            decimal: True for exact Decimals, in columns of objects; by default the numbers are floats.

        Raises:
            ImportError: pandas is not installed.
        """
        listed: List[Order] = self._read(lambda table: [one.order() for one in table.records.values()])
        rows = [{name: getattr(one, name) for name in FRAME} for one in listed]
        return frame(
            rows, FRAME, decimal=decimal, times=("created", "updated"), numbers=NUMBERS, index="order_id"
        )

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
