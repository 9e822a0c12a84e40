"""The tables by themselves: merged from sparse reports, counted once, settled over REST."""

from __future__ import annotations

import json
from decimal import Decimal, localcontext
from pathlib import Path
from typing import Any, Dict, List

import pytest

from kraken_sync.core.freshness import BookState
from kraken_sync.core.orders.tables import BalanceTable, OrderTable, decode_items
from kraken_sync.core.wire.messages import MalformedFrame
from kraken_sync.trading.balance import Balance

NEW = {
    "order_id": "OA",
    "symbol": "BTC/USD",
    "order_qty": Decimal("1.0"),
    "cum_cost": Decimal("0"),
    "exec_type": "pending_new",
    "side": "buy",
    "order_type": "limit",
    "limit_price": Decimal("100.0"),
    "order_status": "pending_new",
    "timestamp": "2026-01-05T10:00:00.000000Z",
}


def fill(exec_id: str, qty: str, cum: str = "", **more: Any) -> Dict[str, Any]:
    report = {
        "order_id": "OA",
        "exec_id": exec_id,
        "exec_type": "trade",
        "last_qty": Decimal(qty),
        "cost": Decimal(qty) * 100,
        "fees": [{"asset": "USD", "qty": Decimal(qty) / 10}],
        "order_status": "partially_filled",
        **more,
    }
    if cum:
        report.update(cum_qty=Decimal(cum), avg_price=Decimal("100.0"))
    return report


def table(*reports: Dict[str, Any]) -> OrderTable:
    orders = OrderTable()
    orders.apply([], True, 0.0, 0.0)
    orders.begin(0.0)
    orders.numbered(1)
    for report in reports:
        orders.apply([report], False, 0.0, 1.0)
    return orders


def private_messages(captures: Path) -> List[Dict[str, Any]]:
    found = []
    for path in [
        *sorted(captures.glob("kraken-async-rs/*.jsonl")),
        *captures.glob("single-messages/*.jsonl"),
    ]:
        for line in path.read_text("utf-8").splitlines():
            try:
                parsed = json.loads(line, parse_float=Decimal)
            except ValueError:
                continue
            if (
                isinstance(parsed, dict)
                and "data" in parsed
                and parsed["channel"] in ("executions", "balances")
            ):
                found.append({**parsed, "text": line})
    for path in captures.glob("nautilus_trader/handmade_ws/*.json"):
        text = path.read_text("utf-8")
        parsed = json.loads(text, parse_float=Decimal)
        if isinstance(parsed, dict) and "data" in parsed and parsed["channel"] in ("executions", "balances"):
            found.append({**parsed, "text": text})
    return found


def test_an_order_is_merged_from_sparse_reports() -> None:
    """``new`` names no symbol; a trade that completes the order does not finish it; ``filled`` does."""
    orders = table(NEW, {"order_id": "OA", "exec_type": "new", "order_status": "new"})
    order = orders.records["OA"].order()
    assert (order.status, order.symbol, order.qty, order.filled) == ("new", "BTC/USD", 1, 0)

    orders.apply([fill("T1", "0.4", "0.4")], False, 0, 2)
    orders.apply([fill("T2", "0.6", "1.0")], False, 0, 3)
    order = orders.records["OA"].order()
    assert (order.status, order.filled, order.fee) == ("partially_filled", 1, Decimal("0.10"))
    assert order.is_open

    orders.apply([{"order_id": "OA", "exec_type": "filled", "order_status": "filled"}], False, 0, 4)
    assert orders.records["OA"].order().is_done


def test_fills_are_counted_once() -> None:
    """A snapshot tells them again."""
    orders = table(NEW, fill("T1", "0.4", "0.4"))
    orders.leave(BookState.STALE, "cut", 2.0)
    again = {**NEW, "order_status": "partially_filled", "cum_qty": Decimal("0.4"), "exec_type": "new"}
    orders.apply([fill("T1", "0.4"), again], True, 3.0, 3.0)
    orders.begin(3.0)
    orders.numbered(1)

    order = orders.records["OA"].order()
    assert (order.filled, order.fee) == (Decimal("0.4"), Decimal("0.04"))
    assert not orders.unsettled


def test_what_a_snapshot_lacks_is_unknown_until_settled() -> None:
    """An open order that is not in a fresh snapshot is asked for, and said to be unknown meanwhile."""
    orders = table(NEW)
    orders.leave(BookState.STALE, "cut", 2.0)
    orders.apply([], True, 3.0, 3.0)
    orders.begin(3.0)
    orders.numbered(1)
    assert orders.records["OA"].order().status == "unknown"
    assert list(orders.unsettled) == ["OA"]
    assert orders.diffs[-1].missing == ("OA",)

    entry = {
        "status": "canceled",
        "vol": "1.0",
        "vol_exec": "0.3",
        "cost": "30.0",
        "fee": "0.03",
        "price": "100.0",
        "reason": "User requested",
        "trades": ["T1"],
    }
    orders.settle("OA", entry, 3.9, 4.0)
    order = orders.records["OA"].order()
    assert (order.status, order.filled, order.fee, order.reason) == (
        "canceled",
        Decimal("0.3"),
        Decimal("0.03"),
        "User requested",
    )
    assert not orders.unsettled


def test_settling_does_not_undo_what_came_meanwhile() -> None:
    """REST answers a question asked earlier; a report that came since is later."""
    orders = table(NEW)
    orders.leave(BookState.STALE, "cut", 2.0)
    orders.apply([], True, 3.0, 3.0)
    orders.begin(3.0)
    orders.numbered(1)
    orders.apply([{"order_id": "OA", "exec_type": "filled", "order_status": "filled"}], False, 0, 3.5)
    orders.settle("OA", {"status": "open", "vol": "1.0", "vol_exec": "0"}, 3.2, 4.0)

    assert orders.records["OA"].status == "filled"


def test_fills_that_were_missed_are_asked_for() -> None:
    """The total says 0.9, the known fills say 0.4: the fee would be wrong."""
    orders = table(NEW, fill("T1", "0.4", "0.4"))
    orders.leave(BookState.STALE, "cut", 2.0)
    later = {**NEW, "order_status": "partially_filled", "cum_qty": Decimal("0.9"), "exec_type": "new"}
    orders.apply([later], True, 3.0, 3.0)
    assert list(orders.unsettled) == ["OA"]
    entry = {"status": "open", "vol": "1.0", "vol_exec": "0.9", "fee": "0.09", "trades": ["T1", "T2"]}
    orders.settle("OA", entry, 3.9, 4.0)
    orders.apply([fill("T3", "0.1", "1.0")], False, 0, 5.0)

    assert orders.records["OA"].order().fee == Decimal("0.10")
    assert orders.records["OA"].complete


def test_an_acknowledged_order_is_there_at_once() -> None:
    """Before its reports, and after them."""
    orders = table()
    orders.acknowledged("OA", {"symbol": "BTC/USD", "cl_ord_id": "mine"}, 1.0)
    assert orders.find("mine") is orders.records["OA"]
    assert orders.records["OA"].order().status == "pending_new"
    orders.apply([{**NEW, "order_status": "new"}], False, 0, 2.0)
    orders.acknowledged("OA", {"symbol": "XXX"}, 3.0)

    assert orders.records["OA"].order().status == "new"
    assert orders.records["OA"].order().symbol == "BTC/USD"


def test_an_order_younger_than_the_snapshot_is_not_missing() -> None:
    """It was acknowledged after the snapshot was asked for."""
    orders = table()
    orders.leave(BookState.STALE, "cut", 2.0)
    orders.acknowledged("OA", {"symbol": "BTC/USD"}, 5.0)
    orders.apply([], True, 4.0, 6.0)
    orders.begin(6.0)
    orders.numbered(1)
    assert orders.records["OA"].status == "pending_new"
    orders.look_for_silent(7.0, 2.0)
    assert not orders.unsettled
    orders.look_for_silent(9.0, 2.0)
    assert list(orders.unsettled) == ["OA"], "but if nothing is heard of it, it is asked for"


def test_what_nobody_knows_is_unknown() -> None:
    """An acknowledged order that neither executions nor REST know is not said to be open."""
    orders = table()
    orders.acknowledged("OA", {"symbol": "BTC/USD"}, 5.0)
    orders.look_for_silent(9.0, 2.0)
    orders.settle("OA", None, 9.0, 10.0)

    assert orders.records["OA"].status == "unknown"
    assert not orders.unsettled


def test_a_late_acknowledgement_does_not_make_an_order_younger() -> None:
    """Its reports came, the line was cut, it ended; the caller's thread takes the reply only now."""
    orders = table({**NEW, "order_status": "new"})
    orders.leave(BookState.STALE, "cut", 2.0)
    orders.acknowledged("OA", {}, 5.0)
    orders.apply([], True, 4.0, 6.0)

    assert orders.records["OA"].status == "unknown"
    assert list(orders.unsettled) == ["OA"]


def test_an_order_of_which_a_snapshot_tells_only_fills() -> None:
    """It has ended, and older fills may be missing: unknown until it is asked for."""
    orders = table(NEW)
    orders.leave(BookState.STALE, "cut", 2.0)
    orders.apply([fill("T9", "0.5", order_status="canceled")], True, 3.0, 3.0)
    assert orders.records["OA"].status == "unknown"
    entry = {"status": "canceled", "vol": "1.0", "vol_exec": "0.8", "fee": "0.08", "trades": ["T8", "T9"]}
    orders.settle("OA", entry, 3.5, 4.0)
    order = orders.records["OA"].order()

    assert (order.status, order.filled, order.fee) == ("canceled", Decimal("0.8"), Decimal("0.08"))


def test_balances() -> None:
    """Each update states a new total; a snapshot replaces all."""
    balances = BalanceTable()
    balances.apply([{"asset": "USD", "balance": Decimal("10.5")}], True, 0, 0)
    balances.begin(0)
    balances.numbered(1)
    balances.apply([{"asset": "BTC", "balance": 2, "amount": 2}], False, 0, 1)
    assert balances.totals == {"USD": Decimal("10.5"), "BTC": Decimal(2)}
    balances.leave(BookState.STALE, "cut", 2)
    balances.apply([{"asset": "USD", "balance": Decimal("9")}], True, 0, 3)

    assert balances.totals == {"USD": Decimal(9)}
    assert balances.diffs[-1].changed == ("USD",)
    assert balances.diffs[-1].missing == ("BTC",)


def test_wallets_of_balances() -> None:
    """Each total consists of wallets; an update tells the change of one of them."""
    table = BalanceTable()
    wallets = [
        {"type": "spot", "id": "main", "balance": Decimal("0.1")},
        {"type": "earn", "id": "flex", "balance": Decimal("8.0")},
    ]
    sol = {"asset": "SOL", "balance": Decimal("8.1"), "wallets": wallets}
    table.apply([sol, {"asset": "USD", "balance": Decimal(5), "wallets": []}], True, 0.0, 0.0)
    assert table.wallets == {"SOL": {"spot/main": Decimal("0.1"), "earn/flex": Decimal("8.0")}}

    moved = {"asset": "SOL", "wallet_type": "earn", "balance": Decimal("10.0"), "fee": Decimal("0.1")}
    table.apply([{**moved, "wallet_id": "bonded", "amount": Decimal("2.0")}], False, 1.0, 1.0)
    assert table.wallets["SOL"]["earn/bonded"] == Decimal("1.9")
    assert sum(table.wallets["SOL"].values()) == table.totals["SOL"]

    table.apply([{"asset": "SOL", "balance": Decimal(13), "amount": Decimal(1)}], False, 1.5, 1.5)
    assert table.wallets == {}  # whose change it was is not told
    table.apply([sol], True, 1.6, 1.6)
    usd = {"asset": "USD", "balance": Decimal(6), "amount": Decimal(1)}
    table.apply([usd, {**moved, "amount": "?"}], False, 2.0, 2.0)
    assert table.wallets == {}  # not known any more


def test_held_is_of_the_asset() -> None:
    """REST has an asset of its own for each wallet; here they are one, as in the totals."""
    rest = {
        "SOL": {"balance": "0.1", "hold_trade": "0"},
        "SOL.F": {"balance": "8.0", "hold_trade": "3.0"},
        "SOL.B": {"balance": "2.0", "hold_trade": "0.5"},
        "ZUSD": {"balance": "5"},
        "XBT.F": {"balance": "1", "hold_trade": "0.25"},
        "DOT28.S": {"balance": "1", "hold_trade": "1"},
    }
    balance = Balance(lambda timeout: None, lambda timeout: rest)

    assert balance.held == {"SOL": Decimal("3.5"), "BTC": Decimal("0.25"), "DOT": Decimal(1)}


def test_strange_items_are_left_out() -> None:
    """Reports without an id, numbers that are none, fields nobody knows."""
    orders = table(NEW)
    strange: List[Any] = [
        {"exec_type": "new"},
        {"order_id": 7},
        {"order_id": "OA", "last_qty": "x", "exec_type": "trade", "exec_id": "T1", "fees": "none"},
        {"order_id": "OA", "order_status": "a_new_word", "brand_new": {"deep": [1, 2]}, "cum_qty": "0.1"},
    ]
    orders.apply(strange, False, 0, 2)

    assert orders.strange == 2
    assert orders.records["OA"].order().status == "a_new_word"
    assert orders.records["OA"].order().raw["brand_new"] == {"deep": [1, 2]}


def test_recorded_messages_go_into_the_tables(captures: Path) -> None:
    """Everything Kraken was recorded to send on the private channels, and what others made of it."""
    orders, balances, seen = OrderTable(), BalanceTable(), 0
    for recorded in private_messages(captures):
        raw = json.dumps(recorded["data"], default=float).encode()
        items = decode_items(raw)
        target: Any = orders if recorded["channel"] == "executions" else balances
        target.apply(items, recorded.get("type") == "snapshot", 0.0, 1.0)
        for item in items:
            seen += 1
            if recorded["channel"] == "executions":
                order = orders.records[item["order_id"]].order()
                assert order.status == item["order_status"]
                assert order.updated == item.get("timestamp", order.updated)
            else:
                assert balances.totals[item["asset"]] == Decimal(str(item["balance"]))

    assert seen >= 10
    assert (orders.strange, balances.strange) == (0, 0)


def test_recorded_closed_orders_settle(captures: Path) -> None:
    """REST's closed orders, as recorded, become orders with the same figures."""
    page = json.loads((captures / "kraken-async-rs" / "rest_ClosedOrders_page1.json").read_text("utf-8"))
    closed = page.get("result", page)["closed"]
    orders = OrderTable()
    for order_id, entry in closed.items():
        orders.settle(order_id, entry, 0.5, 1.0)
        order = orders.records[order_id].order()
        words = {"closed": "filled", "canceled": "canceled", "expired": "expired"}
        assert order.status == words[entry["status"]]
        assert (order.qty, order.filled, order.fee) == (
            Decimal(entry["vol"]),
            Decimal(entry["vol_exec"]),
            Decimal(entry["fee"]),
        )

    assert len(closed) == 50


@pytest.mark.parametrize("raw", [b"{}", b"[1]", b"nothing", b"[[]]"])
def test_what_is_no_list_of_objects_is_malformed(raw: bytes) -> None:
    """It is dropped as a whole; the numbering then tells that something is missing."""
    with pytest.raises(MalformedFrame):
        decode_items(raw)


def test_an_end_without_a_status_ends_the_order() -> None:
    """``order_status`` is not promised in every report; and what has ended does not come back."""
    orders = OrderTable()
    orders.apply([], True, 0.0, 0.0)
    orders.begin(0.0)
    new = {"order_id": "OA", "exec_type": "new", "order_status": "new", "timestamp": "2026-01-05T10:00:00Z"}
    orders.apply([new], False, 0.0, 1.0)
    orders.apply([{"order_id": "OA", "exec_type": "canceled"}], False, 0.0, 2.0)
    assert orders.records["OA"].status == "canceled"
    orders.apply([{**new, "exec_type": "status"}], False, 0.0, 3.0)
    assert orders.records["OA"].status == "canceled"


def test_a_fill_does_not_tell_when_its_order_was_placed() -> None:
    """Snapshots tell fills again, before the older report of the order itself."""
    orders = OrderTable()
    fill = {
        "order_id": "OA",
        "exec_type": "trade",
        "exec_id": "T1",
        "last_qty": Decimal("0.1"),
        "order_status": "partially_filled",
        "timestamp": "2026-01-06T10:00:00Z",
    }
    placed = {
        "order_id": "OA",
        "exec_type": "status",
        "order_status": "new",
        "timestamp": "2026-01-05T10:00:00Z",
    }
    orders.apply([fill, placed], True, 0.0, 0.0)

    assert orders.records["OA"].order().created == "2026-01-05T10:00:00Z"


def test_exact_whatever_the_callers_context() -> None:
    """A caller who computes with three digits reads all of ours."""
    orders = OrderTable()
    fills = [
        {
            "order_id": "OA",
            "exec_type": "trade",
            "exec_id": f"T{index}",
            "last_qty": Decimal("0.12345678"),
            "cost": Decimal("7901.23392"),
            "fees": [{"asset": "USD", "qty": Decimal("20.54320819")}],
        }
        for index in range(3)
    ]
    orders.apply(fills, True, 0.0, 0.0)
    with localcontext() as context:
        context.prec = 3
        order = orders.records["OA"].order()

    assert (order.filled, order.fee) == (Decimal("0.37037034"), Decimal("61.62962457"))


def test_rest_that_lags_behind_does_not_open_an_order() -> None:
    """A fresh snapshot has it no more: it has ended, and is unknown until REST knows that, too."""
    orders = OrderTable()
    orders.apply([{"order_id": "OA", "exec_type": "new", "order_status": "new"}], True, 0.0, 0.0)
    orders.apply([], True, 1.0, 1.0)
    orders.settle("OA", {"status": "open", "vol": "1"}, 2.0, 2.0)
    assert orders.records["OA"].status == "unknown"
    assert list(orders.unsettled) == ["OA"]
    orders.settle("OA", {"status": "canceled", "vol": "1"}, 3.0, 3.0)
    assert orders.records["OA"].status == "canceled"


def test_numbers_of_balances() -> None:
    """Kraken mixes numbers and texts; what is neither is left out, and counted."""
    balances = BalanceTable()
    items = [{"asset": "USD", "balance": "1.50"}, {"asset": "BTC", "balance": None}]
    balances.apply(items, True, 0.0, 0.0)

    assert balances.totals == {"USD": Decimal("1.50")}
    assert balances.strange == 1
