"""The tables of orders and balances, numbered by the exchange and read through a client."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

import pytest
from conftest import FAR, WAIT, S, eventually

from kraken_sync import AccountNotLive, ReplyTimeout, SpotWSClient, StreamOverflow, SubscriptionRefused
from kraken_sync.core.freshness import BookState
from kraken_sync.core.orders.tables import BalanceTable
from kraken_sync.core.session.session import Session
from kraken_sync.core.timing import Timing
from kraken_sync.core.wire.channels import channel_params
from kraken_sync.core.wire.secret import Secret
from kraken_sync.simulator import Simulator


def subscribed(channel: str) -> Session:
    session = Session(Timing(), private=True)
    session.opened(0.0)
    session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
    session.use_token(Secret("t"), 0.0)
    session.subscriptions.subscribe_table(channel_params({"channel": channel}))
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
    assert told.notes[0].reason.startswith("a message is missing")
    assert table.diffs[-1].changed == ("USD",)


def test_a_table_that_misses_again_and_again_waits_longer() -> None:
    """Resyncs of one table are spread out."""
    balances = BalanceTable()
    balances.begin(0.0)
    balances.numbered(1)
    waits = [balances.resync_delay(1.0) for _ in range(9)]

    assert waits == [0, 1, 2, 4, 8, 16, 32, 60, 60]


def test_nothing_is_sent_without_a_token() -> None:
    """A private session asks for nothing until it has one, and asks again when it is refused."""
    session = Session(Timing(), private=True)
    session.opened(0.0)
    session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
    session.subscriptions.subscribe_table(channel_params({"channel": "executions"}))
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

    assert not session.registry.entries, "a second refusal is final"


def test_a_hole_in_the_executions(trader: SpotWSClient, exchange: Simulator) -> None:
    """A message is missing: a gap, a fresh snapshot, a diff, and the right table again."""
    placed = trader.add_order(**FAR)
    trader.orders.wait_open(placed["order_id"])
    stream = trader.executions(gaps=True)
    exchange.faults.skip_executions = 1
    trader.cancel_order(order_id=placed["order_id"])
    trader.add_order(**FAR)
    gap = next(item for item in stream if item.get("type") == "gap")
    order = trader.orders.wait_done(placed["order_id"], WAIT)

    assert "a message is missing" in gap["data"][0]["reason"]
    assert order.status == "canceled"
    assert trader.orders.diffs[0]["missing"] == [placed["order_id"]]
    assert trader.gaps()[0]["channel"] == "executions"
    assert trader.stats()["private"]["resyncs"] == 1


def test_a_hole_in_the_balances(trader: SpotWSClient, exchange: Simulator) -> None:
    """The same for balances."""
    assert trader.balance["USD"] == 250000
    exchange.faults.skip_balances = 1
    exchange.fund("USD", 1)
    exchange.fund("EUR", 1)

    assert trader.balance.wait_until(lambda totals: totals["USD"] == 250001, WAIT)["EUR"] == 50001
    assert trader.balance.diffs[0]["changed"] == ["USD", "EUR"]


def test_what_ended_while_the_line_was_down(trader: SpotWSClient, exchange: Simulator) -> None:
    """More fills than a snapshot has, and cancels: settled over REST, to the last digit."""
    bid = trader.book(S).best_bid
    assert bid is not None
    exchange.fund("USD", 10_000_000)
    order = {"symbol": S, "side": "buy", "order_type": "limit", "limit_price": bid.price + Decimal("0.1")}
    filled = trader.add_order(**order, order_qty=20)["order_id"]
    canceled = trader.add_order(**FAR)["order_id"]
    trader.orders.wait_open(canceled)
    exchange.faults.refuse_connections = 10**6
    exchange.cut()
    for _ in range(3000):
        exchange.step(20, [S])
        if len(next(one for one in exchange.orders() if one["order_id"] == filled)["exec_ids"]) > 60:
            break
    exchange.call(lambda: exchange.exchange.trading.cancel_all({}, time.time()))
    exchange.faults.refuse_connections = 0
    ledger = {one["order_id"]: one for one in exchange.orders()}
    found = trader.orders.wait_done(filled, WAIT)

    assert len(ledger[filled]["exec_ids"]) > 60
    assert trader.orders.wait_done(canceled, WAIT).status == "canceled"
    assert found.status == ledger[filled]["status"]
    assert eventually(lambda: trader.orders[filled].fee == ledger[filled]["fee"])
    assert trader.orders[filled].filled == ledger[filled]["filled"]
    assert trader.balance.wait_until(lambda totals: totals["BTC"] > 5, WAIT) == exchange.balances()


def test_readers_of_streams_and_tables_share_one_subscription(
    trader: SpotWSClient, exchange: Simulator
) -> None:
    """A stream that begins later starts with what is open."""
    placed = trader.add_order(**FAR)
    trader.orders.wait_open(placed["order_id"])
    stream = trader.subscribe({"channel": "executions"})
    frame = stream.get(WAIT)

    assert frame["type"] == "snapshot"
    assert [item["order_id"] for item in frame["data"]] == [placed["order_id"]]
    assert len(exchange.requests("subscribe")) <= 3
    with pytest.raises(SubscriptionRefused, match="order_status"):
        trader.subscribe({"channel": "executions", "order_status": False})
    assert trader.active_private_subscriptions == [{"channel": "executions", "snap_orders": True}]


def test_executions_that_the_exchange_ends_are_subscribed_again(
    trader: SpotWSClient, exchange: Simulator
) -> None:
    """Without being asked: orders are judged by the table, so it is fetched anew, and nothing is missed."""
    placed = trader.add_order(**FAR)
    trader.orders.wait_open(placed["order_id"])
    exchange.end_subscriptions("executions")
    exchange.call(lambda: exchange.exchange.trading.cancel_all({}, time.time()))

    assert trader.orders.wait_done(placed["order_id"], timeout=WAIT).status == "canceled"
    assert trader.orders.state == "LIVE"


def test_unsubscribed_executions_do_not_stop_orders(trader: SpotWSClient) -> None:
    """The next order keeps them again."""
    trader.add_order(**FAR)
    trader.orders.wait_live()
    trader.unsubscribe({"channel": "executions"})
    trader.add_order(**FAR)
    assert eventually(lambda: len(trader.orders.open) == 2)


def test_a_subscription_that_leaves_something_out(trader: SpotWSClient) -> None:
    """The tables do not pretend to know what they cannot."""
    trader.subscribe({"channel": "executions", "snap_orders": False})
    with pytest.raises(SubscriptionRefused, match="leave something out"):
        dict(trader.orders)


def test_private_streams_lose_nothing_silently(trader: SpotWSClient, exchange: Simulator) -> None:
    """A slow reader gets an error, not a shorter story."""
    stream = trader.subscribe({"channel": "balances"}, maxlen=3)
    for _ in range(10):
        exchange.fund("USD", 1)
    eventually(lambda: stream.dropped)
    with pytest.raises(StreamOverflow):
        for _ in range(10):
            stream.get(WAIT)


def test_waiting_has_its_limits(trader: SpotWSClient) -> None:
    """Timeouts say how far it is."""
    placed = trader.add_order(**FAR)
    with pytest.raises(ReplyTimeout, match="is new"):
        trader.orders.wait_filled(placed["order_id"], 0.3)
    with pytest.raises(ReplyTimeout, match="not known"):
        trader.orders.wait_open("OAAAAA-AAAAA-AAAAAA", 0.1)
    with pytest.raises(KeyError):
        trader.orders["OAAAAA-AAAAA-AAAAAA"]
    assert "OAAAAA-AAAAA-AAAAAA" not in trader.orders
    assert "1 open" in repr(trader.orders)
    assert repr(trader.balance) == "<balance not read yet; wait_live() and every read fetch it>"


def test_an_unreadable_report_is_a_hole(trader: SpotWSClient) -> None:
    """The table says that it is not live, instead of going on without it."""
    line: Any = trader._ks_runtime.connection("private")
    trader.orders.wait_live()
    with line._room.lock:
        expected = line._room.session.account.orders.expected
        frame = b'{"channel":"executions","type":"update","data":[null],"sequence":%d}' % expected
        line._room.session.receive(frame, line._room.session.proven_at)
        assert line._room.session.account.orders.state is BookState.RESYNCING
    line._wake_watchdog()
    trader.orders.wait_live()


def test_a_timed_out_reader_takes_nothing_from_others(trader: SpotWSClient, exchange: Simulator) -> None:
    """``wait_live()`` gives up; the executions that an order wanted stay wished for."""
    exchange.faults.ack_delay = 0.3
    line: Any = trader._ks_runtime.private("a test", WAIT)
    line.keep_orders()
    with pytest.raises((ReplyTimeout, AccountNotLive)):
        trader.orders.wait_live(0.05)

    eventually(lambda: line.read(lambda session: session.account.orders.live))
    assert exchange.requests("unsubscribe") == []
