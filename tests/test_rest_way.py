"""REST as a second way: for cancels while there is no private connection."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
from typing import Callable

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, WAIT, eventually, within
from helpers import lose_the_line, placed, status
from raw_server import RawServer, read_request

from kraken_sync import OrderNotSent, OrderOutcomeUnknown, OrderRejected, SpotWSClient
from kraken_sync.simulator import Simulator


def test_a_cancel_in_under_a_second(trader: SpotWSClient, exchange: Simulator) -> None:
    """By each kind of id, one or several; the results have the form that they have over WebSocket."""
    first, second, third = placed(trader, exchange, 3)
    ours = placed(trader, exchange, 2, order_userref=77)
    lose_the_line(trader, exchange)
    with within(0.2):
        assert trader.cancel_order(order_id=first["order_id"]) == {"order_id": first["order_id"]}

    assert trader.cancel_order(cl_ord_id=second["cl_ord_id"]) == {"cl_ord_id": second["cl_ord_id"]}
    gone, open_ = first["order_id"], third["order_id"]
    assert trader.cancel_order(order_id=[gone, open_]) == [
        {"order_id": gone, "error": "EOrder:Unknown order"},
        {"order_id": open_},
    ]
    with within(0.2):
        assert trader.cancel_order(order_userref=77) == [{"order_userref": 77}]
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
    with within(0.4):
        assert client.cancel_order(order_id=order["order_id"])
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


def test_websocket_only(trader: SpotWSClient, exchange: Simulator) -> None:
    """``via="websocket"`` keeps a cancel from going by REST."""
    (order,) = placed(trader, exchange, 1)
    lose_the_line(trader, exchange)
    with pytest.raises(OrderNotSent):
        trader.cancel_order(order_id=order["order_id"], via="websocket", timeout=0.5)
    assert status(exchange, order["order_id"]) == "new"
    exchange.faults.refuse_connections = 0
    assert trader.cancel_order(order_id=order["order_id"], via="websocket")
