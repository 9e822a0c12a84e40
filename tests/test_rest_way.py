"""REST as a second way: for cancels while there is no private connection, and for who asks for it."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from decimal import Decimal
from typing import Any, Callable, Dict, List

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, WAIT, S, eventually
from facts import fact
from helpers import status
from raw_server import RawServer, read_request

from kraken_sync import OrderNotSent, OrderOutcomeUnknown, OrderRejected, SpotWSClient
from kraken_sync.simulator import Simulator


def placed(client: SpotWSClient, exchange: Simulator, count: int, **more: object) -> List[dict]:
    """Orders from a time when all was well."""
    orders = [client.add_order(**FAR, **more) for _ in range(count)]
    for order in orders:
        client.orders.wait_open(order["order_id"])
    return orders


def lose_the_line(client: SpotWSClient, exchange: Simulator) -> None:
    exchange.faults.refuse_connections = 10**9
    exchange.cut()
    eventually(lambda: not client._ks_runtime.connection("private").open)


def test_a_cancel_in_under_a_second(trader: SpotWSClient, exchange: Simulator) -> None:
    """By each kind of id, one or several; the results have the form that they have over WebSocket."""
    first, second, third = placed(trader, exchange, 3)
    ours = placed(trader, exchange, 2, order_userref=77)
    lose_the_line(trader, exchange)
    started = time.monotonic()
    assert trader.cancel_order(order_id=first["order_id"]) == {"order_id": first["order_id"]}
    assert time.monotonic() - started < 1

    assert trader.cancel_order(cl_ord_id=second["cl_ord_id"]) == {"cl_ord_id": second["cl_ord_id"]}
    gone, open_ = first["order_id"], third["order_id"]
    assert trader.cancel_order(order_id=[gone, open_]) == [
        {"order_id": gone, "error": "EOrder:Unknown order"},
        {"order_id": open_},
    ]
    started = time.monotonic()
    assert trader.cancel_order(order_userref=77) == [{"order_userref": 77}]
    assert time.monotonic() - started < 1
    with pytest.raises(OrderRejected, match="EOrder:Unknown order"):
        trader.cancel_order(order_id=gone)
    assert {status(exchange, one["order_id"]) for one in [first, second, third, *ours]} == {"canceled"}
    assert not exchange.requests("cancel_order")


def test_everything_at_once(trader: SpotWSClient, exchange: Simulator) -> None:
    """cancel_all, batch_cancel and arming the switch."""
    orders = placed(trader, exchange, 4)
    lose_the_line(trader, exchange)
    ids = [order["order_id"] for order in orders]
    trader.batch_cancel(orders=ids[:2], timeout=3)
    assert [status(exchange, name) for name in ids] == ["canceled", "canceled", "new", "new"]
    assert "triggerTime" in trader.cancel_all_orders_after(timeout=60)
    assert trader.cancel_all() == {"count": 2}
    assert {status(exchange, name) for name in ids} == {"canceled"}


def test_the_switch_is_renewed(trader: SpotWSClient, exchange: Simulator) -> None:
    """As long as there is no connection, and again over WebSocket afterwards."""
    with trader.dead_mans_switch(3) as switch:
        armed = exchange.exchange.trading.cancel_at
        lose_the_line(trader, exchange)
        eventually(lambda: exchange.exchange.trading.cancel_at > armed + 1)
        assert switch.left > 1
        assert switch.failure == ""
        exchange.faults.refuse_connections = 0
    assert exchange.exchange.trading.cancel_at is None


def test_a_renewal_under_way_does_not_arm_again(trader: SpotWSClient, exchange: Simulator) -> None:
    """The block is left while a renewal is on its way over REST, and all is disarmed."""
    with trader.dead_mans_switch(3) as switch:
        lose_the_line(trader, exchange)
        exchange.faults.rest_delay = 1.0
        eventually(lambda: switch._switch is not None and switch._switch.elsewhere)
        exchange.faults.refuse_connections = 0
    exchange.faults.rest_delay = 0.0
    trader.orders.wait_live(WAIT)

    assert exchange.exchange.trading.cancel_at is None


def test_an_answer_that_does_not_come(trader: SpotWSClient, exchange: Simulator) -> None:
    """What REST may have carried out is unknown."""
    (order,) = placed(trader, exchange, 1)
    lose_the_line(trader, exchange)
    exchange.faults.rest_delay = 30
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.cancel_order(order_id=order["order_id"], timeout=2)
    assert caught.value in trader.unresolved
    exchange.faults.rest_delay = 0
    assert trader.cancel_all()["count"] <= 1
    assert status(exchange, order["order_id"]) == "canceled"


def test_a_connection_that_never_was(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """The private side cannot be reached from the start: a cancel gets through all the same."""
    other = exchange.client()
    order = other.add_order(**FAR)
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, auth_ws_url="ws://127.0.0.1:9", no_public=True)
    started = time.monotonic()
    assert client.cancel_order(order_id=order["order_id"])
    assert time.monotonic() - started < 2
    assert status(exchange, order["order_id"]) == "canceled"
    other.close()


@pytest.mark.parametrize("how", ["while it is under way", "after it timed out"])
def test_a_late_renewal_does_not_arm_again(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, how: str
) -> None:
    """A renewal over REST that reaches the exchange after the disarming is refused by its nonce."""
    held, timing = threading.Event(), dataclasses.replace(FAST, connect_timeout=1.0)

    def relay(sock: socket.socket) -> None:
        while True:
            request = read_request(sock)
            if not request:
                return
            if b"CancelAllOrdersAfter" in request and b"timeout=3" in request and how.startswith("after"):
                held.wait(WAIT)
            with socket.create_connection(("127.0.0.1", int(exchange.rest_url.rpartition(":")[2]))) as there:
                there.sendall(request.replace(b"Connection: keep-alive", b"Connection: close"))
                while True:
                    piece = there.recv(65536)
                    if not piece:
                        break
                    with contextlib.suppress(OSError):
                        sock.sendall(piece)

    with RawServer(relay) as server:
        client = new_client(
            key=CANARY_KEY, secret=CANARY_SECRET, rest_url=server.url.replace("ws:", "http:"), timing=timing
        )
        client.start()
        with client.dead_mans_switch(3) as switch:
            exchange.faults.refuse_connections = 10**9
            exchange.cut()
            eventually(lambda: switch._switch is not None and (switch._switch.elsewhere or switch.failure))
            if how.startswith("after"):
                eventually(lambda: switch._switch is not None and switch._switch.doubtful)
        held.set()
        exchange.faults.refuse_connections = 0
        order = exchange.client()
        placed = order.add_order(**FAR)
        threading.Event().wait(0.5)  # what was held back arrives now

        assert exchange.exchange.trading.cancel_at is None
        assert status(exchange, placed["order_id"]) == "new"
        order.close()


def test_what_names_no_order_cancels_none(trader: SpotWSClient, exchange: Simulator) -> None:
    """REST's ``txid`` takes a userref, too: an order id that looks like one must not hit another order."""
    (order,) = placed(trader, exchange, 1, order_userref=4)
    lose_the_line(trader, exchange)
    with pytest.raises(OrderRejected, match="form of an order id"):
        trader.cancel_order(order_id="4")
    with pytest.raises(OrderNotSent):  # a plain message goes over WebSocket only
        trader.send_message({"method": "cancel_order", "params": {"order_id": "O4-x"}}, timeout=0.5)
    assert status(exchange, order["order_id"]) == "new"


@pytest.mark.parametrize("error", ["EAPI:Rate limit exceeded", "EService:Unavailable", "EAPI:Invalid nonce"])
def test_what_is_wrong_with_rest_is_no_refusal(trader: SpotWSClient, exchange: Simulator, error: str) -> None:
    """The call waits for the connection instead."""
    (order,) = placed(trader, exchange, 1)
    lose_the_line(trader, exchange)
    exchange.faults.rest_errors += [error] * 4
    back = threading.Timer(0.8, lambda: setattr(exchange.faults, "refuse_connections", 0))
    back.start()
    trader.cancel_order(order_id=order["order_id"], timeout=8)
    back.join()
    assert status(exchange, order["order_id"]) == "canceled"


def test_a_dead_line_that_nobody_has_noticed(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """The repetition goes the other way, so the cancel arrives while the line still looks alive."""
    quiet = dataclasses.replace(FAST, ping_interval=60, silence_ping=60, silence_abort=120, pong_timeout=60)
    trader = new_client(key=CANARY_KEY, secret=CANARY_SECRET, timing=quiet)
    (order,) = placed(trader, exchange, 1)
    exchange.faults.request_delay = 60
    assert trader.cancel_order(order_id=order["order_id"], timeout=3) == {"order_id": order["order_id"]}
    assert status(exchange, order["order_id"]) == "canceled"


def test_the_switch_armed_over_rest_knows_its_time(trader: SpotWSClient, exchange: Simulator) -> None:
    """No alarm, and the time that is left."""
    lose_the_line(trader, exchange)
    with trader.dead_mans_switch(60) as switch:
        assert 55 < switch.left <= 60
    assert exchange.exchange.trading.cancel_at is None


def test_statuses_of_a_batch_over_rest(trader: SpotWSClient, exchange: Simulator) -> None:
    """Not those of tables that are out of date."""
    orders = [order["order_id"] for order in placed(trader, exchange, 3)]
    lose_the_line(trader, exchange)
    found = trader.batch_cancel(orders=orders[:2])
    assert [one["status"] for one in found] == ["canceled", "canceled"]
    found = trader.batch_cancel(orders=orders)  # one of three
    assert [one["status"] for one in found] == ["unknown"] * 3


# -- orders that a caller sends over REST --------------------------------------------------------

LIMIT = {"symbol": S, "side": "buy", "order_type": "limit", "order_qty": "0.5", "limit_price": "60000.1"}
SELL = {**LIMIT, "side": "sell", "limit_price": "70000"}
LATER = "2026-12-20T10:00:00Z"
EVERY_KIND: Dict[str, Dict[str, Any]] = {
    "limit": LIMIT,
    "market": {**FAR, "order_type": "market", "limit_price": None},
    "cash": {"symbol": S, "side": "buy", "order_type": "market", "cash_order_qty": "500"},
    "post-only": {**LIMIT, "post_only": True, "fee_preference": "base", "stp_type": "cancel_both"},
    "fok": {**LIMIT, "time_in_force": "fok"},
    "ioc": {**LIMIT, "time_in_force": "ioc"},
    "userref": {**LIMIT, "order_userref": 77},
    "own id": {**LIMIT, "cl_ord_id": "mine"},
    "iceberg": {**LIMIT, "order_type": "iceberg", "display_qty": "0.1"},
    "stop-loss": {
        **LIMIT,
        "order_type": "stop-loss",
        "limit_price": None,
        "triggers": {"price": "66000", "reference": "index"},
    },
    "take-profit, percent": {
        **SELL,
        "order_type": "take-profit",
        "limit_price": None,
        "triggers": {"price": "5", "price_type": "pct"},
    },
    "stop-loss-limit, quote": {
        **SELL,
        "order_type": "stop-loss-limit",
        "limit_price": "59000",
        "triggers": {"price": "-2000", "price_type": "quote"},
    },
    "trailing-stop": {
        **SELL,
        "order_type": "trailing-stop",
        "limit_price": None,
        "triggers": {"price": "2", "price_type": "pct"},
    },
    "trailing-stop-limit": {
        **SELL,
        "order_type": "trailing-stop-limit",
        "limit_price": "-50",
        "limit_price_type": "quote",
        "triggers": {"price": "700", "price_type": "quote"},
    },
    "conditional": {
        **LIMIT,
        "conditional": {"order_type": "stop-loss-limit", "trigger_price": "58000", "limit_price": "57900"},
    },
}


def ledger(exchange: Simulator) -> List[Dict[str, Any]]:
    """The exchange's orders, without what differs from one order to another that is the same."""
    unique = ("order_id", "cl_ord_id", "order_userref", "exec_ids", "average_price", "cost", "fee", "filled")
    return [
        {name: value for name, value in order.items() if name not in unique} for order in exchange.orders()
    ]


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_kind_of_order_both_ways(trader: SpotWSClient, exchange: Simulator, kind: str) -> None:
    """REST's names, signs and flags bring about the same order as WebSocket's."""
    order = EVERY_KIND[kind]
    results = []
    for via in ("websocket", "rest"):
        results.append(trader.add_order(**order, via=via))
        if "cl_ord_id" in order or "conditional" in order:
            trader.cancel_all()
    first, second = ledger(exchange)
    if kind == "cash":  # the first order has moved the price
        assert abs(first.pop("qty") - second.pop("qty")) < Decimal("0.0001")
    details = [one.params.get("conditional") for one in exchange.exchange.trading.account.orders.values()]
    prices = [(one.trigger, one.limit) for one in exchange.exchange.trading.account.orders.values()]

    assert first == second
    assert prices[0] == prices[1]
    assert details[0] == details[1]
    assert set(results[0]) == set(results[1])
    assert results[1]["order_id"] == exchange.orders()[1]["order_id"]
    assert len(exchange.requests("add_order")) == 1
    assert trader.orders[results[1]["order_id"]].order_type == order["order_type"]


def test_without_the_private_line(trader: SpotWSClient, exchange: Simulator) -> None:
    """Adding, amending, editing and a batch get through; client.orders catches up when the line is back."""
    (there,) = placed(trader, exchange, 1, order_userref=5)
    lose_the_line(trader, exchange)
    with pytest.raises(OrderNotSent):
        trader.add_order(**LIMIT, timeout=0.3)
    order = trader.add_order(**LIMIT, via="rest")
    assert trader.amend_order(order_id=order["order_id"], order_qty="0.25", via="rest").keys() == {
        "amend_id",
        "order_id",
    }
    edited = trader.edit_order(order_id=there["order_id"], symbol=S, limit_price="91000", via="rest")
    assert edited["original_order_id"] == there["order_id"]
    batch = trader.batch_add(
        symbol=S, orders=[bare(LIMIT), {**bare(SELL), "order_qty": "1000000"}], via="rest"
    )
    assert batch[0]["order_id"]
    assert batch[1]["error"] == "EOrder:Insufficient funds"
    trader.cancel_order(order_id=batch[0]["order_id"], via="rest")

    exchange.faults.refuse_connections = 0
    trader.orders.wait_live(WAIT)
    shown = {name: (one.status, one.qty, one.limit_price) for name, one in trader.orders.items()}
    assert shown[order["order_id"]] == ("new", Decimal("0.25"), Decimal("60000.1"))
    assert shown[edited["order_id"]] == ("new", Decimal("0.01"), Decimal("91000"))
    assert {one["status"] for one in exchange.orders()} == {"new", "canceled"}


def bare(order: Dict[str, Any]) -> Dict[str, Any]:
    return {name: value for name, value in order.items() if name != "symbol"}


def test_a_client_that_never_connects(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Orders over REST need no WebSocket at all; their deadline is by the exchange's clock."""
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, auth_ws_url="ws://127.0.0.1:9", no_public=True)
    order = client.add_order(**LIMIT, via="rest")
    assert client.cancel_order(order_id=order["order_id"], via="rest") == {"order_id": order["order_id"]}
    assert client.cancel_all(via="rest") == {"count": 0}
    assert client.batch_cancel(orders=[order["order_id"], "OAAAAA-AAAAA-AAAAAA"], via="rest")
    assert "triggerTime" in client.cancel_all_orders_after(timeout=60, via="rest")
    assert exchange.connections == 0
    assert [one["status"] for one in exchange.orders()] == ["canceled"]


def test_validated_over_rest(trader: SpotWSClient, exchange: Simulator) -> None:
    """Nothing is placed, and the result says so."""
    assert trader.add_order(**LIMIT, validate=True, via="rest") == {"validated": True, "placed": False}
    two = trader.batch_add(symbol=S, orders=[bare(LIMIT), bare(SELL)], validate=True, via="rest")
    assert two == [{"validated": True, "placed": False}] * 2
    assert exchange.orders() == []
    assert not trader.orders


@fact("leverage")
@fact("price types of conditional")
def test_refusals_over_rest(trader: SpotWSClient, exchange: Simulator) -> None:
    """In the exchange's words; a relative closing price and leverage are for REST alone."""
    with pytest.raises(OrderRejected, match="EOrder:Insufficient funds"):
        trader.add_order(**{**LIMIT, "order_qty": "1000"}, via="rest")
    with pytest.raises(OrderRejected, match="EOrder:Unknown order"):
        trader.amend_order(order_id="OAAAAA-AAAAA-AAAAAA", order_qty=1, via="rest")
    with pytest.raises(OrderRejected, match="EOrder:Cannot open position"):
        trader.add_order(**LIMIT, leverage=2, via="rest")
    exchange.faults.rest_errors.append("EService:Deadline elapsed")
    with pytest.raises(OrderRejected, match="EService:Deadline elapsed"):
        trader.add_order(**LIMIT, via="rest")
    exchange.faults.rest_errors.append("EAPI:Invalid nonce")
    with pytest.raises(OrderRejected, match="EAPI:Invalid nonce"):  # never sent a second time
        trader.add_order(**LIMIT, via="rest")
    for wrong, words in (
        ({"leverage": 2}, 'via="rest"'),
        ({"margin": True, "via": "rest"}, "leverage"),
        ({"sender_sub_id": "x", "via": "rest"}, "sender_sub_id"),
        ({"via": "fax"}, "'rest', 'websocket' or None"),
    ):
        with pytest.raises(ValueError, match=words):
            trader.add_order(**LIMIT, **wrong)
    assert exchange.orders() == []
    trader.add_order(
        **{**LIMIT, "order_type": "market", "limit_price": None},
        conditional={"order_type": "limit", "limit_price": "5", "limit_price_type": "pct"},
        via="rest",
    )
    first, closing, *_ = eventually(lambda: len(exchange.orders()) > 1 and exchange.orders())
    assert closing["side"] == "sell"
    assert closing["limit_price"] > first["average_price"] * Decimal("1.04")


@pytest.mark.parametrize("method", ["add_order", "batch_add"])
def test_an_order_whose_answer_is_lost(trader: SpotWSClient, exchange: Simulator, method: str) -> None:
    """It is unknown, not sent again, and found by its name; the executions prove one that never came."""
    trader.orders.wait_live(WAIT)
    exchange.faults.rest_delay = 30
    with pytest.raises(OrderOutcomeUnknown) as caught:
        if method == "add_order":
            trader.add_order(**LIMIT, via="rest", timeout=0.5)
        else:
            trader.batch_add(symbol=S, orders=[bare(LIMIT), bare(SELL)], via="rest", timeout=0.5)
    exchange.faults.rest_delay = 0
    assert caught.value.method == method
    assert trader.unresolved == [caught.value]
    outcomes = {str(trader.reconcile(name).outcome) for name in caught.value.names}
    assert outcomes == {"live"}
    assert len(exchange.orders()) == len(caught.value.names)
    assert trader.unresolved == []


def test_the_gate_and_rest(trader: SpotWSClient, exchange: Simulator) -> None:
    """The books that were given to it count, the exchange's status too; the private line does not."""
    book = trader.book(S)
    trader.order_gate.require(book)
    trader.orders.wait_live(WAIT)
    exchange.set_system("cancel_only")
    eventually(lambda: trader.stats()["private"]["system"] == "cancel_only")
    with pytest.raises(OrderNotSent, match="cancel_only"):
        trader.add_order(**LIMIT, via="rest")
    exchange.set_system("online")
    eventually(lambda: trader.stats()["private"]["system"] == "online")
    lose_the_line(trader, exchange)
    eventually(lambda: str(book.state) != "LIVE")
    with pytest.raises(OrderNotSent, match="BTC/USD is STALE"):
        trader.add_order(**LIMIT, via="rest")
    trader.order_gate.forget(book)
    assert trader.add_order(**LIMIT, via="rest")["order_id"]


def test_websocket_only(trader: SpotWSClient, exchange: Simulator) -> None:
    """``via="websocket"`` keeps a cancel from going by REST."""
    (order,) = placed(trader, exchange, 1)
    lose_the_line(trader, exchange)
    with pytest.raises(OrderNotSent):
        trader.cancel_order(order_id=order["order_id"], via="websocket", timeout=0.5)
    assert status(exchange, order["order_id"]) == "new"
    exchange.faults.refuse_connections = 0
    assert trader.cancel_order(order_id=order["order_id"], via="websocket")
