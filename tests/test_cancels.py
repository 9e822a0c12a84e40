"""Cancels: of one, of several, of all; asked once more when their reply is lost."""

from __future__ import annotations

import json
import threading
from typing import Callable, List

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, WAIT, eventually
from facts import fact
from helpers import background, placed, status

from kraken_sync import OrderOutcomeUnknown, OrderRejected, SpotWSClient
from kraken_sync.simulator import Simulator


@fact("echoed ids")
def test_cancels_of_several(trader: SpotWSClient, exchange: Simulator) -> None:
    """One entry for each id; a userref names as many orders as there are."""
    first, second = (trader.add_order(**FAR)["order_id"] for _ in range(2))
    missing = "OAAAAA-AAAAA-AAAAAA"
    assert trader.cancel_order(order_id=[first, missing, second]) == [
        {"order_id": first},
        {"order_id": missing, "error": "EOrder:Invalid order"},
        {"order_id": second},
    ]
    assert trader.cancel_order(order_id=[missing]) == [{"order_id": missing, "error": "EOrder:Invalid order"}]
    refs = [trader.add_order(**FAR, order_userref=77)["order_id"] for _ in range(3)]
    entries = trader.cancel_order(order_userref=77)
    assert [entry["order_id"] for entry in entries] == refs
    assert {status(exchange, name) for name in refs} == {"canceled"}
    with pytest.raises(OrderRejected, match="EOrder:Invalid order"):
        trader.cancel_order(order_userref=77)
    trader.add_order(**FAR)
    assert trader.cancel_all() == {"count": 1}
    assert trader.cancel_all() == {"count": 0}


@pytest.mark.parametrize("how", ["lost reply", "cut"])
def test_a_cancel_whose_reply_is_lost(trader: SpotWSClient, exchange: Simulator, how: str) -> None:
    """It is looked up, or asked once more; the order is canceled and the call says so."""
    placed = trader.add_order(**FAR)
    trader.orders.wait_open(placed["order_id"])
    exchange.faults.drop_replies = 1
    if how == "cut":
        exchange.faults.request_delay = 0.3
        threading.Timer(0.1, exchange.cut).start()
    result = trader.cancel_order(order_id=placed["order_id"], timeout=4)

    assert result == {"order_id": placed["order_id"]}
    assert status(exchange, placed["order_id"]) == "canceled"
    assert len(exchange.requests("cancel_order")) <= 2
    assert trader.unresolved == []


def test_cancel_all_is_repeated_and_clears_its_list(trader: SpotWSClient, exchange: Simulator) -> None:
    """Twice has the same effect as once; a success stands for every lost one before it."""
    trader.add_order(**FAR)
    exchange.faults.drop_replies = 1
    assert trader.cancel_all(timeout=2)["count"] == 0
    assert len(exchange.requests("cancel_all")) == 1  # the repetition goes by REST: this way may be dead
    exchange.faults.drop_replies = 1
    exchange.faults.rest_delay = 5
    with pytest.raises(OrderOutcomeUnknown, match="Call it again"):
        trader.cancel_all(timeout=1)
    assert len(trader.unresolved) == 1
    exchange.faults.rest_delay = 0
    trader.cancel_all()
    assert trader.unresolved == []


def test_a_cancel_uses_all_of_its_time(trader: SpotWSClient, exchange: Simulator) -> None:
    """The first of two tries may take half of it; but when nothing could be sent, the rest counts, too."""
    trader.orders.wait_live()
    exchange.faults.refuse_connections = 10**6
    exchange.cut()
    eventually(lambda: trader.state == "RECONNECTING")
    back = threading.Timer(1.8, lambda: setattr(exchange.faults, "refuse_connections", 0))
    back.start()
    try:
        assert trader.cancel_all(timeout=3.4) == {"count": 0}
    finally:
        back.cancel()


@fact("gone orders")
@pytest.mark.parametrize(
    "text", ["EOrder:Invalid order", pytest.param("EOrder:Unknown order", marks=pytest.mark.slow)]
)
def test_a_repeated_cancel_of_what_is_gone(
    trader: SpotWSClient, new_client: Callable[..., SpotWSClient], exchange: Simulator, text: str
) -> None:
    """ "Nothing open has this id" is no refusal then: the executions, or else REST, say what happened."""
    exchange.faults.gone_text = text
    placed = trader.add_order(**FAR)
    ids = {"order_id": placed["order_id"]}
    trader.orders.wait_open(placed["order_id"])
    exchange.faults.drop_replies = 1
    assert trader.cancel_order(**ids, timeout=4) == ids

    other = new_client(key=CANARY_KEY, secret=CANARY_SECRET)  # its executions have never had the order
    other.wait_ready(private=True)  # before that, the cancel goes by REST
    exchange.faults.drop_replies = 1
    assert other.cancel_order(**ids, timeout=4) == ids
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown):
        other.cancel_order(order_id="OAAAAA-AAAAA-AAAAAA", timeout=2)


@pytest.mark.parametrize("method", ["cancel_order", "cancel_all"])
def test_a_refused_repetition_proves_nothing(trader: SpotWSClient, exchange: Simulator, method: str) -> None:
    """The exchange takes no second attempt, which says nothing about the first one: that stays unknown."""
    order_id = trader.add_order(**FAR)["order_id"]
    trader.orders.wait_open(order_id)
    exchange.faults.drop_replies = exchange.faults.skip_executions = 1
    ids = {"order_id": order_id} if method == "cancel_order" else {}
    call = background(getattr(trader, method), **ids, via="websocket", timeout=4)
    eventually(lambda: status(exchange, order_id) == "canceled")
    exchange.faults.rejections = ["EService:Unavailable"]
    call["thread"].join(WAIT)

    assert isinstance(call["error"], OrderOutcomeUnknown)
    assert "the request was repeated, and refused: EService:Unavailable" in str(call["error"])
    assert [one.method for one in trader.unresolved] == [method]


def test_a_userref_whose_executions_are_late(trader: SpotWSClient, exchange: Simulator) -> None:
    """The replies say that the order was canceled: no error is made up because the report is missing."""
    (order,) = placed(trader, exchange, 1, order_userref=7)
    exchange.faults.skip_executions = 1
    assert trader.cancel_order(order_userref=7) == [{"order_id": order["order_id"]}]
    with pytest.raises(ValueError, match="order_userref=0 names no order"):
        trader.cancel_order(order_userref=0)


def test_one_reply_of_several_that_may_mean_anything(trader: SpotWSClient, exchange: Simulator) -> None:
    """It is no refusal of its order, which is looked up, or asked for once more."""
    ids = [order["order_id"] for order in placed(trader, exchange, 2)]
    replies: List[str] = []

    def garble(text: str) -> str:
        if '"method":"cancel_order"' not in text:
            return text
        replies.append(text)
        if len(replies) != 2:
            return text
        message = {**json.loads(text), "success": False, "error": "EGeneral:Internal error"}
        del message["result"]
        return json.dumps(message)

    exchange.faults.garble = garble
    assert trader.cancel_order(order_id=ids, timeout=4) == [{"order_id": name} for name in ids]


@pytest.mark.parametrize("count", [1, 2])
def test_a_refusal_that_is_not_about_an_order(trader: SpotWSClient, exchange: Simulator, count: int) -> None:
    """It is of the whole request, however many ids the list has."""
    exchange.faults.garble = lambda text: text.replace("EOrder:Invalid order", "EAPI:Rate limit exceeded")
    with pytest.raises(OrderRejected, match="Rate limit exceeded"):
        trader.cancel_order(order_id=["OAAAAA-AAAAA-AAAAAA", "OBBBBB-BBBBB-BBBBBB"][:count])


@fact("batch_cancel")
def test_a_batch_names_order_ids(trader: SpotWSClient, exchange: Simulator) -> None:
    """On the wire, ``orders`` has the exchange's own ids."""
    ids = [trader.add_order(**FAR)["order_id"] for _ in range(2)]
    trader.batch_cancel(orders=ids)
    assert exchange.requests("batch_cancel")[0]["params"]["orders"] == ids


@fact("success")
def test_a_reply_that_says_nothing(trader: SpotWSClient, exchange: Simulator) -> None:
    """Neither success nor failure is taken from it: the cancel is looked up, or asked once more."""
    order = trader.add_order(**FAR)
    trader.orders.wait_open(order["order_id"])

    def garble(text: str) -> str:
        if '"method":"cancel_order"' not in text:
            return text
        message = json.loads(text)
        return json.dumps({name: message[name] for name in ("method", "req_id")})

    exchange.faults.garble = garble
    with pytest.raises(OrderOutcomeUnknown, match="neither that it succeeded"):
        trader.cancel_order(order_id="OAAAAA-AAAAA-AAAAAA", via="websocket", timeout=2)
    assert trader.cancel_order(order_id=order["order_id"], timeout=4) == {"order_id": order["order_id"]}
    assert status(exchange, order["order_id"]) == "canceled"
