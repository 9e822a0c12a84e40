"""The account's orders and balances, as the exchange reports them, and whether they are complete.

Both tables begin with a snapshot and follow the updates by their ``sequence``: 1 on the snapshot, one more
with each message. A missing number means a missing message: the table is not live until a fresh snapshot
arrives, and what that snapshot changed is kept as a :class:`Diff`.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/executions and
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/balances, and recorded traffic: a ``new``
report has no symbol; a ``trade`` report says ``partially_filled`` even when it fills the order; fills are
repeated in every snapshot and are identified by ``exec_id``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from decimal import Decimal, InvalidOperation
from typing import Any, Deque, Dict, List, Mapping, NamedTuple, Optional, Set, Tuple

import msgspec

from ..freshness import BookState, Freshness
from ..wire.messages import MalformedFrame, account_snapshot
from ..wire.numbers import EXACT
from .order import CLOSED, UNKNOWN, Order
from .record import OPEN_AT_REST, ExecutionReport, Record, exact

KEPT_CLOSED = 10_000
"""How many ended orders are kept."""
KEPT_FILLS = 50  # as many as the exchange's own snapshot has
KEPT_DIFFS = 1000

_decode = msgspec.json.Decoder(List[Dict[str, Any]], float_hook=Decimal).decode


def decode_items(raw: bytes) -> List[Dict[str, Any]]:
    """Return the items of a private message, with exact numbers. Raises MalformedFrame."""
    try:
        return _decode(raw)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, ValueError, InvalidOperation) as error:
        raise MalformedFrame(str(error)) from error


class Diff(NamedTuple):
    """The changes that a fresh snapshot showed after something was missed. Times are in monotonic seconds."""

    table: str
    reason: str
    since: float
    until: float
    appeared: Tuple[str, ...]
    changed: Tuple[str, ...]
    missing: Tuple[str, ...]
    """Orders that were open and are not in the snapshot (the exchange is asked about them), or assets."""


class Table(Freshness, ABC):
    """A table of the account, with its state. Not thread-safe: the owner serialises."""

    def __init__(self, name: str) -> None:
        super().__init__("not subscribed")
        self.name = name
        self.diffs: Deque[Diff] = deque(maxlen=KEPT_DIFFS)
        self.strange = 0
        """The number of items that could not be used, such as an order without an id; they are left out."""
        self._sequence = 0

    def _note(self, diff: Diff) -> None:
        if diff.appeared or diff.changed or diff.missing:
            self.diffs.append(diff)

    def numbered(self, sequence: Any) -> None:
        """Note the ``sequence`` of the snapshot that was applied."""
        self._sequence = sequence if isinstance(sequence, int) else 0

    def drop(self, reason: str, proven_at: float) -> None:
        """Note that the table is no longer subscribed; it begins anew with the next subscription."""
        self.leave(BookState.STALE, reason, proven_at)
        if self.state is not BookState.CLOSED:
            self.state, self.reason, self.blind = BookState.SYNCING, f"not subscribed: {reason}", False

    @abstractmethod
    def apply(self, items: List[Dict[str, Any]], snapshot: bool, asked_at: float, now: float) -> None:
        """Apply the items of one message.

        Args:
            items: the decoded items.
            snapshot: whether they are a snapshot, which replaces what was known.
            asked_at: when the snapshot's subscription was confirmed (monotonic seconds).
            now: the time (monotonic seconds).
        """

    @property
    def expected(self) -> int:
        """The ``sequence`` that the next update should have."""
        return self._sequence + 1

    def follows(self, sequence: Any) -> bool:
        """Return whether an update is the next one, and take its number as the current one."""
        if not self._sequence:
            return True  # the snapshot had no number, so there is nothing to check
        if not isinstance(sequence, int):
            return False
        expected, self._sequence = self._sequence + 1, sequence
        return sequence == expected


class OrderTable(Table):
    """All open orders of the account, and those that have ended lately."""

    def __init__(self) -> None:
        super().__init__("orders")
        self.records: Dict[str, Record] = {}
        self.recent: Deque[ExecutionReport] = deque(maxlen=KEPT_FILLS)
        """The last fills, as reported."""
        self.unsettled: Dict[str, None] = {}
        """The ids of orders that the exchange must be asked about; a dict, to keep their order."""
        self.silent: Dict[str, float] = {}
        """The ids of acknowledged orders without a report so far, and when they were acknowledged."""
        self._closed: Dict[str, None] = {}

    def apply(self, reports: List[Dict[str, Any]], snapshot: bool, asked_at: float, now: float) -> None:
        """Apply execution reports; see :meth:`Table.apply`.

        A snapshot has all open orders and the last 50 fills. An order that was open before and is not in it
        has ended; how it ended must be asked of REST, unless the fills tell all of it.
        """
        if not snapshot:
            for report in reports:
                self._merge(report, now)
            return
        # Everything about the time before is read first, since merging changes the records.
        since, reason = self.since, self.reason
        before = [name for name, record in self.records.items() if record.open]
        known = set(self.records)
        told = {str(report["order_id"]) for report in reports if report.get("order_id")}
        states = {name: self.records[name].order() for name in before}
        whole = {str(report.get("order_id")) for report in reports if report.get("exec_type") != "trade"}
        touched = {name: self.records[name].touched for name in before}
        for report in reports:
            self._merge(report, now)
        missing = []
        for name in before:
            record = self.records[name]
            if name in whole:
                continue
            if name not in told and touched[name] >= asked_at:
                # It was heard of after the subscription was confirmed, so it may be younger than the
                # snapshot. If no report comes, look_for_silent() has it asked for.
                self.silent[name] = now
            elif not record.filled_up:
                # It has ended, and the snapshot does not tell how, or tells only some of its fills.
                record.doubt()
                missing.append(name)
                self.unsettled[name] = None
        for name in told & set(self.records):
            record = self.records[name]
            before_us = name not in known and record.status in CLOSED and name not in whole
            # A fill in a snapshot says "filled" of an order that this table never saw: there may have been
            # more fills than the last 50.
            if before_us or not record.complete:
                self.unsettled[name] = None
        if since is not None:
            changed = [name for name in states if name in told and _differs(states[name], self.records[name])]
            appeared = [name for name in told if name not in known]
            self._note(Diff("orders", reason, since, now, tuple(appeared), tuple(changed), tuple(missing)))

    def _merge(self, report: ExecutionReport, now: float) -> None:
        order_id = report.get("order_id")
        if not isinstance(order_id, str) or not order_id:
            self.strange += 1
            return
        record = self.records.get(order_id)
        if record is None:
            record = self.records[order_id] = Record(order_id)
        self.silent.pop(order_id, None)
        # One strange report must not stop the others: it is counted and logged by the caller.
        try:
            record.merge(report, now)
        except (ValueError, TypeError, ArithmeticError):
            self.strange += 1
            return
        if report.get("exec_type") == "trade" and report not in self.recent:
            self.recent.append(report)
        self._remember(record)

    def acknowledged(self, order_id: str, fields: ExecutionReport, now: float) -> None:
        """Enter an order that the exchange has accepted; its reports may come later, or came before."""
        record = self.records.get(order_id)
        if record is None:
            record = self.records[order_id] = Record(order_id)
            record.status = "pending_new"
            record.touched = self.silent[order_id] = now
        for name, value in fields.items():
            # A report knows better than the request, and the exchange promises no order between reply and
            # reports.
            record.fields.setdefault(name, value)
        record._order = None

    def look_for_silent(self, now: float, patience: float) -> None:
        """Have the exchange asked about orders that were acknowledged and not reported for so many seconds.

        Such an order may have ended while the connection was down.
        """
        for order_id, moment in list(self.silent.items()):
            if now - moment > patience and self.live:
                del self.silent[order_id]
                if order_id in self.records:
                    self.unsettled[order_id] = None

    def settle(
        self,
        order_id: str,
        entry: Optional[ExecutionReport],
        asked_at: float,
        now: float,
        symbol: Optional[str] = None,
    ) -> None:
        """Apply what REST says about an order.

        Args:
            order_id: the order.
            entry: REST's description of it; None if REST does not know it.
            asked_at: when REST was asked (monotonic seconds).
            now: the time (monotonic seconds).
            symbol: the exchange's WebSocket name of the pair, if it is known; REST uses another one.
        """
        record = self.records.get(order_id)
        opens = entry is not None and entry.get("status") in OPEN_AT_REST
        if record is None and opens:
            return  # the executions have every open order, and REST may be behind
        if record is not None and record.touched >= asked_at and record.status != UNKNOWN:
            return  # a report is newer than this answer; what is still missing will be asked for again
        if record is not None and record.status == UNKNOWN and opens:
            return  # it was missing from a snapshot, so it has ended; REST may lag behind
        self.unsettled.pop(order_id, None)
        self.silent.pop(order_id, None)
        if entry is None:
            if record is not None and record.open:
                record.doubt()  # nobody knows it any more
            return
        if record is None:
            record = self.records[order_id] = Record(order_id)
        if symbol:
            record.fields.setdefault("symbol", symbol)
        record.settle(entry, now)
        self._remember(record)

    def find(self, name: Any) -> Optional[Record]:
        """Return the order with this ``order_id``, else the latest one with this ``cl_ord_id``, else None."""
        record = self.records.get(name)
        if record is not None:
            return record
        # A cl_ord_id is unique among open orders only, so ended ones may have the same.
        found = [one for one in self.records.values() if one.fields.get("cl_ord_id") == name]
        return found[-1] if found else None

    @property
    def unbroken(self) -> Optional[Tuple[object, int, int]]:
        """What stays the same as long as every report is received and understood; None while that cannot be
        told.
        """
        return (self, self.generation, self.strange) if self.live and self._sequence else None

    @property
    def open_pairs(self) -> Set[str]:
        """The pairs in which orders are open."""
        opened = [record.fields for record in self.records.values() if record.open]
        return {str(fields["symbol"]) for fields in opened if "symbol" in fields}

    def with_userref(self, userref: int) -> List[Record]:
        """Return all orders with this ``order_userref``."""
        return [one for one in self.records.values() if one.fields.get("order_userref") == userref]

    def _remember(self, record: Record) -> None:
        if record.status not in CLOSED:
            return
        # Moved to the end: a late report of an ended order makes it young again.
        self._closed.pop(record.order_id, None)
        self._closed[record.order_id] = None
        while len(self._closed) > KEPT_CLOSED:
            oldest = next(iter(self._closed))
            del self._closed[oldest]
            self.records.pop(oldest, None)


Wallets = Mapping[str, Mapping[str, Decimal]]


class BalanceTable(Table):
    """The total of every asset, and the wallets that it consists of."""

    # Both mappings are replaced with every message and never changed, so that readers may keep them.

    def __init__(self) -> None:
        super().__init__("balance")
        self.totals: Mapping[str, Decimal] = {}
        """The totals by asset."""
        self.wallets: Wallets = {}
        """By asset and wallet (``spot/main``, ``earn/flex``); those that are not known are missing."""

    def apply(self, items: List[Dict[str, Any]], snapshot: bool, asked_at: float, now: float) -> None:
        """Apply a message; each item states the new total of one asset. See :meth:`Table.apply`."""
        found: Dict[str, Decimal] = {}
        wallets = {} if snapshot else dict(self.wallets)
        for item in items:
            asset, balance = item.get("asset"), item.get("balance")
            amount = exact(balance)
            if not isinstance(asset, str) or amount is None:
                self.strange += 1
                continue
            found[asset] = amount
            wallets[asset] = _told(item) if snapshot else _moved(wallets.get(asset, {}), item)
        self.wallets = {asset: parts for asset, parts in wallets.items() if parts}
        if snapshot:
            before, self.totals = self.totals, found
            if self.since is not None:
                appeared = tuple(asset for asset in found if asset not in before)
                changed = tuple(a for a in found if a in before and before[a] != found[a])
                gone = tuple(asset for asset in before if asset not in found)
                self._note(Diff("balance", self.reason, self.since, now, appeared, changed, gone))
        else:
            self.totals = {**self.totals, **found}


class Account:
    """The tables of one account."""

    def __init__(self) -> None:
        self.orders = OrderTable()
        self.balances = BalanceTable()

    def snapshot_frame(self, channel: str, fills: bool) -> bytes:
        """Return what a further reader of a live subscription begins with, as the exchange would send it."""
        if channel == "executions":
            table: Table = self.orders
            items: List[ExecutionReport] = [*self.orders.recent] if fills else []
            items += [record.report() for record in self.orders.records.values() if record.open]
        else:
            table = self.balances
            items = [
                {
                    "asset": asset,
                    "asset_class": "currency",
                    "balance": total,
                    "wallets": [
                        {"type": name.partition("/")[0], "id": name.partition("/")[2], "balance": part}
                        for name, part in self.balances.wallets.get(asset, {}).items()
                    ],
                }
                for asset, total in self.balances.totals.items()
            ]
        return account_snapshot(channel, items, table.expected - 1)

    def table(self, channel: str, params: Mapping[str, Any]) -> Optional[Table]:
        """Return the table that a subscription with these parameters feeds; None if they leave
        something out.
        """
        # With users="all" the exchange sends no snapshot, and mixes the orders of subaccounts into the
        # updates.
        whole = params.get("snapshot", True) and params.get("users") is None
        if channel == "executions" and whole and params.get("snap_orders", True):
            # With order_status=False fills and amends are not reported.
            return self.orders if params.get("order_status", True) else None
        if channel == "balances" and whole:
            return self.balances
        return None


def _told(item: Mapping[str, Any]) -> Dict[str, Decimal]:
    """Return the wallets that a snapshot tells of one asset."""
    listed = item.get("wallets")
    found = {}
    for wallet in listed if isinstance(listed, list) else []:
        part = exact(wallet.get("balance")) if isinstance(wallet, dict) else None
        if part is None or not (wallet.get("type") and wallet.get("id")):
            return {}  # an incomplete list is none
        found[f"{wallet['type']}/{wallet['id']}"] = part
    return found


def _moved(wallets: Mapping[str, Decimal], item: Mapping[str, Any]) -> Dict[str, Decimal]:
    """Return the wallets of one asset after an update, which tells only the change of one of them; empty if
    they are not known any more.
    """
    kind, name = item.get("wallet_type"), item.get("wallet_id")
    amount, fee = exact(item.get("amount")), exact(item.get("fee", 0))
    if amount is None or fee is None or not wallets or not (kind and name):
        return {}
    before = wallets.get(f"{kind}/{name}", Decimal(0))
    return {**wallets, f"{kind}/{name}": EXACT.add(before, EXACT.subtract(amount, fee))}


def _differs(before: Order, record: Record) -> bool:
    after = record.order()
    return any(
        getattr(before, name) != getattr(after, name)
        for name in ("status", "qty", "filled", "limit_price", "fee")
    )
