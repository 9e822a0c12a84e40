"""The account's tables: merging reports, holes, diffs, settling; and real recorded messages."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Dict, List

import pytest

from kraken_sync.core.freshness import BookState
from kraken_sync.core.orders.tables import Balances, Orders, decode_items
from kraken_sync.core.session.session import Session
from kraken_sync.core.timing import Timing
from kraken_sync.core.wire.channels import check
from kraken_sync.core.wire.messages import MalformedFrame
from kraken_sync.core.wire.secret import Secret

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


def table(*reports: Dict[str, Any]) -> Orders:
    orders = Orders()
    orders.take([], True, 0.0, 0.0)
    orders.begin(0.0)
    orders.numbered(1)
    for report in reports:
        orders.take([report], False, 0.0, 1.0)
    return orders


def test_an_order_is_merged_from_sparse_reports() -> None:
    """``new`` names no symbol; a trade that completes the order does not finish it; ``filled`` does."""
    orders = table(NEW, {"order_id": "OA", "exec_type": "new", "order_status": "new"})
    order = orders.records["OA"].order()
    assert (order.status, order.symbol, order.qty, order.filled) == ("new", "BTC/USD", 1, 0)

    orders.take([fill("T1", "0.4", "0.4")], False, 0, 2)
    orders.take([fill("T2", "0.6", "1.0")], False, 0, 3)
    order = orders.records["OA"].order()
    assert (order.status, order.filled, order.fee) == ("partially_filled", 1, Decimal("0.10"))
    assert order.is_open

    orders.take([{"order_id": "OA", "exec_type": "filled", "order_status": "filled"}], False, 0, 4)
    assert orders.records["OA"].order().is_done


def test_fills_are_counted_once() -> None:
    """A snapshot tells them again."""
    orders = table(NEW, fill("T1", "0.4", "0.4"))
    orders.leave(BookState.STALE, "cut", 2.0)
    again = {**NEW, "order_status": "partially_filled", "cum_qty": Decimal("0.4"), "exec_type": "new"}
    orders.take([fill("T1", "0.4"), again], True, 3.0, 3.0)
    orders.begin(3.0)
    orders.numbered(1)

    order = orders.records["OA"].order()
    assert (order.filled, order.fee) == (Decimal("0.4"), Decimal("0.04"))
    assert not orders.unsettled


def test_what_a_snapshot_lacks_is_unknown_until_settled() -> None:
    """An open order that is not in a fresh snapshot is asked for, and said to be unknown meanwhile."""
    orders = table(NEW)
    orders.leave(BookState.STALE, "cut", 2.0)
    orders.take([], True, 3.0, 3.0)
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
    orders.take([], True, 3.0, 3.0)
    orders.begin(3.0)
    orders.numbered(1)
    orders.take([{"order_id": "OA", "exec_type": "filled", "order_status": "filled"}], False, 0, 3.5)
    orders.settle("OA", {"status": "open", "vol": "1.0", "vol_exec": "0"}, 3.2, 4.0)

    assert orders.records["OA"].status == "filled"


def test_fills_that_were_missed_are_asked_for() -> None:
    """The total says 0.9, the known fills say 0.4: the fee would be wrong."""
    orders = table(NEW, fill("T1", "0.4", "0.4"))
    orders.leave(BookState.STALE, "cut", 2.0)
    later = {**NEW, "order_status": "partially_filled", "cum_qty": Decimal("0.9"), "exec_type": "new"}
    orders.take([later], True, 3.0, 3.0)
    assert list(orders.unsettled) == ["OA"]
    entry = {"status": "open", "vol": "1.0", "vol_exec": "0.9", "fee": "0.09", "trades": ["T1", "T2"]}
    orders.settle("OA", entry, 3.9, 4.0)
    orders.take([fill("T3", "0.1", "1.0")], False, 0, 5.0)

    assert orders.records["OA"].order().fee == Decimal("0.10")
    assert orders.records["OA"].complete


def test_an_acknowledged_order_is_there_at_once() -> None:
    """Before its reports, and after them."""
    orders = table()
    orders.acknowledged("OA", {"symbol": "BTC/USD", "cl_ord_id": "mine"}, 1.0)
    assert orders.find("mine") is orders.records["OA"]
    assert orders.records["OA"].order().status == "pending_new"
    orders.take([{**NEW, "order_status": "new"}], False, 0, 2.0)
    orders.acknowledged("OA", {"symbol": "XXX"}, 3.0)

    assert orders.records["OA"].order().status == "new"
    assert orders.records["OA"].order().symbol == "BTC/USD"


def test_an_order_younger_than_the_snapshot_is_not_missing() -> None:
    """It was acknowledged after the snapshot was asked for."""
    orders = table()
    orders.leave(BookState.STALE, "cut", 2.0)
    orders.acknowledged("OA", {"symbol": "BTC/USD"}, 5.0)
    orders.take([], True, 4.0, 6.0)
    orders.begin(6.0)
    orders.numbered(1)
    assert orders.records["OA"].status == "pending_new"
    orders.look_for_silent(7.0, 2.0)
    assert not orders.unsettled
    orders.look_for_silent(9.0, 2.0)
    assert list(orders.unsettled) == ["OA"], "but if nothing is heard of it, it is asked for"


def test_a_late_acknowledgement_does_not_make_an_order_younger() -> None:
    """Its reports came, the line was cut, it ended; the caller's thread takes the reply only now."""
    orders = table({**NEW, "order_status": "new"})
    orders.leave(BookState.STALE, "cut", 2.0)
    orders.acknowledged("OA", {}, 5.0)
    orders.take([], True, 4.0, 6.0)

    assert orders.records["OA"].status == "unknown"
    assert list(orders.unsettled) == ["OA"]


def test_an_order_of_which_a_snapshot_tells_only_fills() -> None:
    """It has ended, and older fills may be missing: unknown until it is asked for."""
    orders = table(NEW)
    orders.leave(BookState.STALE, "cut", 2.0)
    orders.take([fill("T9", "0.5", order_status="canceled")], True, 3.0, 3.0)
    assert orders.records["OA"].status == "unknown"
    entry = {"status": "canceled", "vol": "1.0", "vol_exec": "0.8", "fee": "0.08", "trades": ["T8", "T9"]}
    orders.settle("OA", entry, 3.5, 4.0)
    order = orders.records["OA"].order()

    assert (order.status, order.filled, order.fee) == ("canceled", Decimal("0.8"), Decimal("0.08"))


def test_balances() -> None:
    """Each update states a new total; a snapshot replaces all."""
    balances = Balances()
    balances.take([{"asset": "USD", "balance": Decimal("10.5")}], True, 0, 0)
    balances.begin(0)
    balances.numbered(1)
    balances.take([{"asset": "BTC", "balance": 2, "amount": 2}], False, 0, 1)
    assert balances.totals == {"USD": Decimal("10.5"), "BTC": Decimal(2)}
    balances.leave(BookState.STALE, "cut", 2)
    balances.take([{"asset": "USD", "balance": Decimal("9")}], True, 0, 3)

    assert balances.totals == {"USD": Decimal(9)}
    assert balances.diffs[-1].changed == ("USD",)
    assert balances.diffs[-1].missing == ("BTC",)


def test_strange_items_are_left_out() -> None:
    """Reports without an id, numbers that are none, fields nobody knows."""
    orders = table(NEW)
    strange: List[Any] = [
        {"exec_type": "new"},
        {"order_id": 7},
        {"order_id": "OA", "last_qty": "x", "exec_type": "trade", "exec_id": "T1", "fees": "none"},
        {"order_id": "OA", "order_status": "a_new_word", "brand_new": {"deep": [1, 2]}, "cum_qty": "0.1"},
    ]
    orders.take(strange, False, 0, 2)

    assert orders.strange == 2
    assert orders.records["OA"].order().status == "a_new_word"
    assert orders.records["OA"].order().raw["brand_new"] == {"deep": [1, 2]}


# -- in a session: the numbering -----------------------------------------------------------------


def subscribed(channel: str) -> Session:
    session = Session(Timing(), private=True)
    session.opened(0.0)
    session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
    session.use_token(Secret("t"), 0.0)
    session.subscribe_table(check({"channel": channel}))
    frame = session.due(0.0, 0.0, None)[0]
    req_id = json.loads(frame)["req_id"]
    reply = {"method": "subscribe", "req_id": req_id, "success": True, "result": {"channel": channel}}
    session.receive(json.dumps(reply).encode(), 0.1)
    return session


def message(channel: str, kind: str, data: list, sequence: Any) -> bytes:
    return json.dumps({"channel": channel, "type": kind, "data": data, "sequence": sequence}).encode()


def test_a_hole_in_the_numbers_is_a_gap_and_a_fresh_snapshot() -> None:
    """Number 3 after number 1: not live any more, subscribed anew, told as a gap."""
    session = subscribed("balances")
    table = session.account.balances
    session.receive(message("balances", "snapshot", [{"asset": "USD", "balance": 1}], 1), 1.0)
    assert table.live
    session.receive(message("balances", "update", [{"asset": "USD", "balance": 2}], 3), 2.0)
    assert (table.live, table.totals) == (False, {"USD": 1})
    assert "sequence 3 came instead of 2" in table.reason

    unsubscribe = json.loads(session.due(2.0, 2.0, None)[0])
    assert unsubscribe["method"] == "unsubscribe"
    assert unsubscribe["params"] == {"channel": "balances", "token": "t"}
    reply = {"method": "unsubscribe", "req_id": unsubscribe["req_id"], "success": True, "result": {}}
    session.receive(json.dumps(reply).encode(), 2.1)
    assert json.loads(session.due(2.2, 2.2, None)[0])["method"] == "subscribe"
    told = session.receive(message("balances", "snapshot", [{"asset": "USD", "balance": 5}], 1), 3.0)

    assert (table.live, table.totals) == (True, {"USD": 5})
    assert told.notes[0].reason.startswith("a message is missing")  # type: ignore[union-attr]
    assert table.diffs[-1].changed == ("USD",)


def test_a_table_that_misses_again_and_again_waits_longer() -> None:
    """Resyncs of one table are spread out."""
    balances = Balances()
    balances.begin(0.0)
    balances.numbered(1)
    waits = [balances.resync_delay(1.0) for _ in range(9)]

    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_nothing_is_sent_without_a_token() -> None:
    """A private session asks for nothing until it has one, and asks again when it is refused."""
    session = Session(Timing(), private=True)
    session.opened(0.0)
    session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
    session.subscribe_table(check({"channel": "executions"}))
    assert [json.loads(frame)["method"] for frame in session.due(0.0, 0.0, None)] == ["ping"]
    assert session.wants_token

    session.use_token(Secret("first"), 1.0)
    request = json.loads(session.due(1.0, 1.0, None)[0])
    assert request["params"]["token"] == "first"
    error = "ESession:Invalid session"
    refusal = {"method": "subscribe", "req_id": request["req_id"], "success": False, "error": error}
    session.receive(json.dumps(refusal).encode(), 1.1)
    assert session.wants_token
    session.use_token(Secret("second"), 2.0)
    again = json.loads(session.due(2.0, 2.0, None)[0])
    assert again["params"]["token"] == "second"
    session.receive(json.dumps({**refusal, "req_id": again["req_id"]}).encode(), 2.1)

    assert not session.registry.wishes, "a second refusal is final"


# -- real messages -------------------------------------------------------------------------------


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


def test_recorded_messages_go_into_the_tables(captures: Path) -> None:
    """Everything Kraken was recorded to send on the private channels, and what others made of it."""
    orders, balances, seen = Orders(), Balances(), 0
    for recorded in private_messages(captures):
        raw = json.dumps(recorded["data"], default=float).encode()
        items = decode_items(raw)
        target: Any = orders if recorded["channel"] == "executions" else balances
        target.take(items, recorded.get("type") == "snapshot", 0.0, 1.0)
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


def test_recorded_replies_are_understood(captures: Path) -> None:
    """Every recorded reply and error ends the request that it belongs to."""
    from kraken_sync.core.session.session.requests import Request

    from kraken_sync.trading.replies import error_of, refusal

    for name in ("trading_responses", "errors"):
        for line in (captures / "kraken-async-rs" / f"{name}.jsonl").read_text("utf-8").splitlines():
            reply = json.loads(line)
            session = Session(Timing(), private=True)
            session.opened(0.0)
            session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
            session.use_token(Secret("t"), 0.0)
            request = Request(reply["method"])
            session.expect(request, reply["req_id"] or 5, 0.0)
            session.receive(json.dumps({**reply, "req_id": reply["req_id"] or 5}).encode(), 1.0)
            assert request.complete, line
            assert error_of(request.replies[0]) == reply.get("error")
            assert refusal(request) == reply.get("error")


def test_recorded_closed_orders_settle(captures: Path) -> None:
    """REST's closed orders, as recorded, become orders with the same figures."""
    page = json.loads((captures / "kraken-async-rs" / "rest_ClosedOrders_page1.json").read_text("utf-8"))
    closed = page.get("result", page)["closed"]
    orders = Orders()
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
