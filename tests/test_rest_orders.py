"""Orders that a caller sends over REST: the same outcomes as over WebSocket."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any, Callable, Dict, List, Tuple

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, WAIT, S, eventually
from facts import fact
from helpers import background, lose_the_line, placed

from kraken_sync import (
    ClientClosed,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRejected,
    SpotWSClient,
    Timing,
)
from kraken_sync.core.orders.params import prepared
from kraken_sync.core.orders.rest_calls import rest_calls
from kraken_sync.simulator import Simulator

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
            trader.add_order(**LIMIT, via="rest", timeout=1)
        else:
            trader.batch_add(symbol=S, orders=[bare(LIMIT), bare(SELL)], via="rest", timeout=1)
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


NO_ANSWERS = [
    (504, b'{"message":"Endpoint request timed out"}'),
    (524, b'{"title":"Error 524","status":524}'),
    (502, b'{"error":"Bad Gateway"}'),
    (502, b'{"error":["EGeneral:Internal error"]}'),
    (408, b"Request Timeout"),
    (200, b"{}"),
    (200, b'{"error":[]}'),
]


@pytest.mark.parametrize(("code", "text"), NO_ANSWERS)
def test_an_answer_that_is_not_the_exchanges(
    trader: SpotWSClient, exchange: Simulator, code: int, text: bytes
) -> None:
    """A server in between gives up, or a success lacks its result: unknown, for orders and cancels alike."""
    (order,) = placed(trader, exchange, 1)
    (old,) = placed(trader, exchange, 1, order_userref=4)
    lose_the_line(trader, exchange)
    name = order["order_id"]
    calls: List[Tuple[Callable[..., Any], Dict[str, Any]]] = [
        (trader.add_order, LIMIT),
        (trader.amend_order, {"order_id": name, "limit_price": 91000}),
        (trader.edit_order, {"order_id": old["order_id"], "symbol": S, "order_qty": "0.02"}),
        (trader.batch_add, {"symbol": S, "orders": [bare(LIMIT), bare(SELL)]}),
        (trader.cancel_order, {"order_id": name}),
        (trader.cancel_all, {}),
        (trader.cancel_all_orders_after, {"timeout": 0}),
    ]
    for call, params in calls:
        exchange.faults.rest_answers = [(code, text)] * 2  # cancels are repeated
        with pytest.raises(OrderOutcomeUnknown):
            call(**params, via="rest")


def test_a_cancel_that_canceled_nothing(trader: SpotWSClient, exchange: Simulator) -> None:
    """A count of 0 is no success."""
    (order,) = placed(trader, exchange, 1)
    exchange.faults.rest_answers = [(200, b'{"error":[],"result":{"count":0}}')]
    with pytest.raises(OrderRejected, match="EOrder:Invalid order"):
        trader.cancel_order(order_id=order["order_id"], via="rest")


def test_the_gate_shuts_while_others_are_answered(trader: SpotWSClient, exchange: Simulator) -> None:
    """Requests of one key are sent one after the other; the gate is asked again when its turn has come."""
    trader.orders.wait_live(WAIT)
    exchange.faults.rest_delay = 1.5
    rest = trader._ks_runtime.rest
    slow = background(trader.request, "POST", "/0/private/Balance")
    eventually(lambda: rest._http._calls)  # it is its turn
    order = background(trader.add_order, **LIMIT, via="rest")
    eventually(lambda: rest._threads._alive > 1)  # the order has passed the gate, and waits for its turn
    exchange.set_system("cancel_only")
    eventually(lambda: trader.stats()["private"]["system"] == "cancel_only")
    exchange.faults.rest_delay = 0
    for one in (slow, order):
        one["thread"].join(WAIT)

    assert isinstance(order["error"], OrderNotSent)
    assert exchange.orders() == []
    assert trader.trading_rate.count(S) == 0  # what was not sent costs nothing


def test_holding_ends_with_the_client(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """An order that is held for REST does not outlive the client; a closed client says that it is closed."""
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET)
    book = client.book(S)
    client.order_gate.policy = "hold"
    client.order_gate.require(book)
    exchange.faults.refuse_connections = 10**9
    exchange.cut()
    eventually(lambda: str(book.state) != "LIVE")
    held = background(client.add_order, **LIMIT, via="rest", timeout=None)
    assert not held["thread"].join(0.1)
    client.close()
    held["thread"].join(WAIT)
    assert isinstance(held["error"], ClientClosed)
    with pytest.raises(ClientClosed):
        client.add_order(**LIMIT, via="rest")
    assert exchange.orders() == []


def test_the_gate_shuts_between_two_cancels(trader: SpotWSClient, exchange: Simulator) -> None:
    """What was canceled before is not said to be unsent."""
    first, second = placed(trader, exchange, 2)
    exchange.faults.rest_delay = 0.5
    names = [first["order_id"], second["order_id"]]
    call = background(trader.cancel_order, order_id=names, via="rest")
    eventually(lambda: trader.orders[first["order_id"]].status == "canceled")
    exchange.set_system("maintenance")
    eventually(lambda: trader.stats()["private"]["system"] == "maintenance")
    call["thread"].join(WAIT)
    assert [sorted(entry) for entry in call["value"]] == [["order_id"], ["error", "order_id"]]
    assert "maintenance" in call["value"][1]["error"]
    exchange.set_system("online")


def test_a_short_deadline_without_a_connection(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """REST tells the time in whole seconds, which must not use up the deadline."""
    client = alone(new_client)
    assert client.add_order(**LIMIT, via="rest")["order_id"]
    eventually(lambda: 0.7 < time.time() % 1 < 0.8)
    assert client.add_order(**LIMIT, via="rest", deadline=0.6)["order_id"]


def alone(new_client: Callable[..., SpotWSClient], **more: Any) -> SpotWSClient:
    """A client whose private side cannot be reached over WebSocket."""
    return new_client(
        key=CANARY_KEY, secret=CANARY_SECRET, auth_ws_url="ws://127.0.0.1:9", no_public=True, **more
    )


def test_the_type_of_an_order_that_is_not_known_here(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """REST's two prices have no names: what they mean depends on the type, which REST is asked for."""
    other = exchange.client()
    stop = {**SELL, "order_type": "stop-loss-limit", "limit_price": 29900, "triggers": {"price": 30000}}
    placed = other.add_order(**stop, order_userref=5)
    client = alone(new_client)
    exchange.faults.rest_errors = ["EAPI:Rate limit exceeded"]
    with pytest.raises(OrderNotSent, match="the order's type is not known here"):
        client.edit_order(order_id=placed["order_id"], symbol=S, limit_price=29500, via="rest")
    client.edit_order(order_id=placed["order_id"], symbol=S, limit_price=29500, via="rest")
    orders = exchange.call(lambda: list(exchange.exchange.trading.account.orders.values()))
    assert [(one.status, one.price(one.trigger), one.price(one.limit)) for one in orders] == [
        ("canceled", 30000, 29900),
        ("new", 30000, 29500),
    ]
    own = client.add_order(**LIMIT, via="rest")
    exchange.faults.rest_lag = 60  # its type is known from here
    client.amend_order(order_id=own["order_id"], limit_price=59000, via="rest")
    assert exchange.orders()[-1]["limit_price"] == 59000
    other.close()


@pytest.mark.parametrize(
    ("method", "params", "order_type", "expected"),
    [
        ("amend_order", {"limit_price": 5}, "trailing-stop-limit", {"limit_price": "+5"}),
        ("amend_order", {"limit_price": 5}, "limit", {"limit_price": 5}),
        ("edit_order", {"symbol": S, "reduce_only": False}, "limit", {"pair": S}),
        ("edit_order", {"symbol": S, "limit_price": 5}, "stop-loss-limit", {"pair": S, "price2": 5}),
    ],
)
def test_prices_of_what_is_changed(
    method: str, params: Dict[str, Any], order_type: str, expected: Dict[str, Any]
) -> None:
    """A price of a trailing order is a distance, which has a sign in REST."""
    given = {"order_id": "OAAAAA-AAAAA-AAAAAA", **params}
    (call,) = rest_calls(method, prepared(method, given, "rest"), order_type)
    assert call is not None
    assert {name: value for name, value in call.params.items() if name != "txid"} == expected


def test_what_rest_would_take_for_a_userref(trader: SpotWSClient, exchange: Simulator) -> None:
    """Ids that are no order ids hit no order; of a batch the others are canceled."""
    second = placed(trader, exchange, 2, order_userref=4)[1]
    with pytest.raises(OrderRejected, match="form of an order id"):
        trader.edit_order(order_id="4", symbol=S, order_qty=1, via="rest")
    found = trader.batch_cancel(orders=["4", second["order_id"]], via="rest")
    assert [one["status"] for one in found] == ["unknown", "canceled"]
    assert [one["status"] for one in exchange.orders()] == ["new", "canceled"]


def test_distances_of_trailing_orders(trader: SpotWSClient) -> None:
    """REST cannot express another price of them, and the deprecated trigger is the reference."""
    trailing = {**SELL, "order_type": "trailing-stop-limit", "limit_price": 60000}
    with pytest.raises(ValueError, match="distances"):
        trader.add_order(**trailing, triggers={"price": 5, "price_type": "static"}, via="rest")
    with pytest.raises(ValueError, match="distances"):
        trader.add_order(**trailing, limit_price_type="static", triggers={"price": 5}, via="rest")
    stop = {**bare(SELL), "order_type": "stop-loss", "triggers": {"price": 5}, "trigger": "index"}
    del stop["limit_price"]
    (call,) = rest_calls("add_order", prepared("add_order", {**stop, "symbol": S}, "rest"))
    assert call is not None
    assert call.params["trigger"] == "index"


def test_a_key_from_the_environment(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For cancels over REST, too."""
    monkeypatch.setenv("KRAKEN_API_KEY", exchange.key)
    monkeypatch.setenv("KRAKEN_API_SECRET", exchange.secret)
    client = new_client(auth_ws_url="ws://127.0.0.1:9", no_public=True)
    assert client.cancel_all(via="rest") == {"count": 0}


def test_a_userref_does_not_wait_for_the_executions(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """A cancel over REST leaves at once, also while the private line says nothing."""
    other = exchange.client()
    other.add_order(**FAR, order_userref=7)
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, timing=Timing())
    client.start()
    exchange.faults.ack_delay = 60
    started = time.monotonic()
    assert client.cancel_order(order_userref=7, via="rest", timeout=20) == [{"order_userref": 7}]
    assert time.monotonic() - started < 5
    exchange.faults.ack_delay = 0
    other.close()
