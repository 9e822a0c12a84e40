"""Placing and changing orders at the simulated exchange, over real sockets."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Callable, Dict, List

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, WAIT, S, eventually
from facts import fact
from helpers import sent, status

from kraken_sync import (
    AccountNotLive,
    OrderEnded,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRejected,
    Outcome,
    SpotWSClient,
    UnknownSymbol,
)
from kraken_sync.simulator import Simulator


def test_the_life_of_an_order(trader: SpotWSClient, exchange: Simulator) -> None:
    """Placed, open, amended, canceled; each step is in ``client.orders``."""
    placed = trader.add_order(**FAR)
    assert placed["order_id"] in trader.orders
    order = trader.orders.wait_open(placed["order_id"])
    assert (order.symbol, order.side, order.qty) == (S, "sell", Decimal("0.01"))
    assert order.limit_price == 90000
    assert order.cl_ord_id == placed["cl_ord_id"]
    assert trader.orders[placed["cl_ord_id"]] == order
    assert list(trader.orders.open) == [placed["order_id"]]

    amended = trader.amend_order(order_id=placed["order_id"], order_qty="0.02", limit_price="90000.5")
    assert amended["order_id"] == placed["order_id"]
    order = trader.orders.wait_until(placed["order_id"], lambda one: one.qty == Decimal("0.02"), WAIT)
    assert order.limit_price == Decimal("90000.5")
    assert trader.balance.held == {"BTC": Decimal("0.02")}

    assert trader.cancel_order(cl_ord_id=placed["cl_ord_id"]) == {"cl_ord_id": placed["cl_ord_id"]}
    order = trader.orders.wait_done(placed["order_id"], WAIT)
    assert (order.status, order.reason) == ("canceled", "User requested")
    assert trader.orders.open == {}
    with pytest.raises(OrderEnded, match="canceled"):
        trader.orders.wait_filled(placed["order_id"], WAIT)


def test_what_goes_out(trader: SpotWSClient, exchange: Simulator) -> None:
    """Numbers as given, an id and a deadline of ours, no id beside a userref, nothing that is None."""
    trader.add_order(**{**FAR, "order_qty": "0.0100"})
    trader.add_order(**FAR, order_userref=5, deadline=30)
    first, second = sent(exchange)

    assert str(first["order_qty"]) == "0.0100"
    assert len(first["cl_ord_id"]) == 36
    assert set(first) == {*FAR, "cl_ord_id", "deadline", "token"}
    assert "cl_ord_id" not in second
    assert second["order_userref"] == 5
    assert second["deadline"] > first["deadline"]


@fact("deadline")
def test_a_deadline_by_the_exchanges_clock(
    trader: SpotWSClient, exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's clock is ten minutes wrong; the order is taken all the same."""
    wrong = SimpleNamespace(time=lambda: time.time() + 600, monotonic=time.monotonic)
    monkeypatch.setattr("kraken_sync.trading.sender.time", wrong)

    assert trader.add_order(**FAR)["order_id"]


def test_every_order_type(trader: SpotWSClient, exchange: Simulator) -> None:
    """All that the simulated exchange can take, with all their parameters."""
    last = exchange.call(lambda: exchange.exchange.markets[S].tape.last) / Decimal(10)
    common = {"symbol": S, "side": "sell", "order_qty": "0.001"}
    orders: List[Dict[str, Any]] = [
        {"order_type": "limit", "limit_price": 90000, "post_only": True, "stp_type": "cancel_oldest"},
        {"order_type": "market", "fee_preference": "quote", "sender_sub_id": "desk"},
        {"order_type": "iceberg", "limit_price": 90000, "display_qty": "0.0005"},
        {"order_type": "stop-loss", "triggers": {"price": last - 5000, "reference": "last"}},
        {
            "order_type": "stop-loss-limit",
            "limit_price": 50000,
            "triggers": {"price": -5, "price_type": "pct"},
        },
        {"order_type": "take-profit", "triggers": {"price": last + 5000}},
        {"order_type": "take-profit-limit", "limit_price": 90000, "triggers": {"price": last + 5000}},
        {"order_type": "trailing-stop", "triggers": {"price": 500, "price_type": "quote"}},
        {
            "order_type": "trailing-stop-limit",
            "limit_price": -1,
            "triggers": {"price": 5, "price_type": "pct"},
        },
        {"order_type": "limit", "limit_price": 50000, "time_in_force": "ioc"},
        {
            "order_type": "limit",
            "limit_price": 90000,
            "conditional": {"order_type": "limit", "limit_price": 1000},
        },
    ]
    for order in orders:
        result = trader.add_order(**common, **order)
        assert status(exchange, result["order_id"]) in ("new", "filled", "partially_filled")
    bought = trader.add_order(symbol=S, side="buy", order_type="market", cash_order_qty=1000)
    assert trader.orders.wait_filled(bought["order_id"], WAIT).filled == pytest.approx(
        Decimal("0.0155"), abs=Decimal("0.001")
    )
    book = trader.book(S)
    money = sum(level.price * level.qty for level in book.asks[:2]) - 1  # through more than one level
    spent = trader.add_order(symbol=S, side="buy", order_type="market", cash_order_qty=f"{money:.5f}")
    order = trader.orders.wait_filled(spent["order_id"], WAIT)
    assert order.average_price is not None
    assert abs(order.filled * order.average_price - money) < 1
    before = len(exchange.orders())
    assert "order_id" not in trader.add_order(**FAR, validate=True)
    assert len(exchange.orders()) == before


def test_bad_orders_are_told_before_anything_is_sent(trader: SpotWSClient, exchange: Simulator) -> None:
    """The grid, the minimum, the spelling of a symbol: nothing is guessed, nothing leaves."""
    for change, words in (
        ({"limit_price": "90000.01"}, "nearest valid value is 90000.0"),
        ({"order_qty": "0.00001"}, "nearest valid value is 0.00005"),
        ({"order_type": "limt"}, "Did you mean 'limit'"),
    ):
        with pytest.raises(ValueError, match=words):
            trader.add_order(**{**FAR, **change})
    for symbol in ("XBT/USD", "btc/usd", "BTCUSD"):
        with pytest.raises(UnknownSymbol, match="BTC/USD"):
            trader.add_order(**{**FAR, "symbol": symbol})
    with pytest.raises(TypeError):
        trader.add_order(FAR)
    for number in ("0,1", "1_0", " 1 ", "\u0661"):
        with pytest.raises(ValueError, match="must be a number"):
            trader.add_order(**{**FAR, "order_qty": number})
    with pytest.raises(TypeError, match=r"result\['order_id'\]"):
        trader.cancel_order(order_id={"order_id": "x"})
    with pytest.raises(ValueError, match=r"orders\[1\]: limit_price"):
        order = {name: FAR[name] for name in FAR if name != "symbol"}
        trader.batch_add(symbol=S, orders=[order, {**order, "limit_price": "90000.01"}])
    with pytest.raises(ValueError, match=r"0\.5 to 60"):
        trader.add_order(**FAR, deadline=0.1)
    assert sent(exchange) == []


@fact("validate")
def test_a_validated_order_is_not_placed(trader: SpotWSClient, exchange: Simulator) -> None:
    """The result says so plainly, and nothing enters ``client.orders``."""
    order = {name: FAR[name] for name in FAR if name != "symbol"}
    assert trader.add_order(**FAR, validate=True) == {"validated": True, "placed": False}
    good = {"validated": True, "placed": False}
    assert trader.batch_add(symbol=S, orders=[order, order], validate=True) == [good, good]
    message = {"method": "add_order", "params": {**FAR, "limit_price": 90000, "order_qty": 0.01}}
    message["params"]["validate"] = True
    assert trader.send_message(message)["result"] == {"order_id": ""}
    trader.orders.wait_live()

    assert dict(trader.orders) == {}
    assert exchange.orders() == []


@fact("iceberg and reduce_only")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"order_type": "iceberg"}, "iceberg order needs display_qty"),
        ({"reduce_only": True}, "reduce_only needs margin"),
        ({"order_type": "market", "limit_price": None, "time_in_force": "fok"}, "fok"),
    ],
)
def test_what_belongs_together(trader: SpotWSClient, change: dict, words: str) -> None:
    """Told before anything is sent."""
    with pytest.raises(ValueError, match=words):
        trader.add_order(**{**FAR, **change})


@fact("fok")
def test_fill_or_kill(trader: SpotWSClient, exchange: Simulator) -> None:
    """All or nothing, at once."""
    price = exchange.top(S, 1)[1][0][0] / 10
    order = {**FAR, "side": "buy", "time_in_force": "fok", "order_qty": "0.001"}
    filled = trader.add_order(**{**order, "limit_price": price + 10})
    killed = trader.add_order(**{**order, "limit_price": price - 1000})

    assert trader.orders.wait_done(filled["order_id"]).status == "filled"
    assert trader.orders.wait_done(killed["order_id"]).status == "canceled"


@fact("one kind of id")
def test_one_kind_of_id_in_a_cancel(trader: SpotWSClient, exchange: Simulator) -> None:
    """The exchange takes one kind, so mixed ones are refused here."""
    with pytest.raises(ValueError, match="only one of them"):
        trader.cancel_order(order_id="O", cl_ord_id="mine")
    message = {"method": "cancel_order", "params": {"order_id": ["O"], "cl_ord_id": ["mine"]}}
    with pytest.raises(OrderRejected, match="mutually exclusive"):
        trader.send_message(message)


@fact("unknown fields")
def test_fields_that_websocket_does_not_have(trader: SpotWSClient, exchange: Simulator) -> None:
    """What is sent as it is, is refused in the exchange's words."""
    for name in ("leverage", "shoe_size"):
        params = {**FAR, "limit_price": 90000, "order_qty": 0.01, name: 2}
        with pytest.raises(OrderRejected, match=f"Unsupported field: '{name}'"):
            trader.send_message({"method": "add_order", "params": params})
    assert exchange.orders() == []


@fact("display_qty in an amend")
def test_an_amended_iceberg(trader: SpotWSClient, exchange: Simulator) -> None:
    """Sources disagree whether WebSocket takes it: it is sent as given, and the exchange decides."""
    order = trader.add_order(**{**FAR, "order_type": "iceberg", "order_qty": 1, "display_qty": "0.1"})
    assert trader.amend_order(order_id=order["order_id"], display_qty="0.2")["amend_id"]
    assert sent(exchange, "amend_order")[0]["display_qty"] == Decimal("0.2")


def test_a_pair_that_is_in_no_table(trader: SpotWSClient, exchange: Simulator) -> None:
    """The exchange judges it, and its refusal comes back with the names that may have been meant."""
    order = {name: FAR[name] for name in FAR if name != "symbol"}
    for send in (
        lambda: trader.add_order(symbol="BTC/USDD", **order),
        lambda: trader.batch_add(symbol="BTC/USDD", orders=[order, order]),
    ):
        with pytest.raises(OrderRejected, match=r"EQuery:Unknown asset pair\. Did you mean 'BTC/USD'"):
            send()
    assert [len(exchange.requests(method)) for method in ("add_order", "batch_add")] == [1, 1]


def test_rules_without_the_public_side(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Taken from REST, and just as exact."""
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, no_public=True)
    client.start()
    with pytest.raises(ValueError, match=r"nearest valid value is 90000\.0"):
        client.add_order(**{**FAR, "limit_price": "90000.01"})
    with pytest.raises(UnknownSymbol):
        client.add_order(**{**FAR, "symbol": "XBT/USD"})
    assert client.add_order(**FAR)["order_id"]


def test_rejections(trader: SpotWSClient, exchange: Simulator) -> None:
    """The exchange's code and words; the order is nowhere."""
    with pytest.raises(OrderRejected) as caught:
        trader.add_order(**{**FAR, "order_qty": 100})
    assert (caught.value.code, caught.value.method) == ("EOrder:Insufficient funds", "add_order")
    with pytest.raises(OrderRejected, match="EOrder:Invalid order"):
        trader.cancel_order(order_id="OAAAAA-AAAAA-AAAAAA")
    with pytest.raises(OrderRejected, match="EOrder:Invalid order"):
        trader.amend_order(order_id="OAAAAA-AAAAA-AAAAAA", order_qty=1)
    trader.add_order(**FAR, cl_ord_id="twice")
    with pytest.raises(OrderRejected, match="cl_ord_id"):
        trader.add_order(**FAR, cl_ord_id="twice")
    assert len(exchange.orders()) == 1


def test_edit(trader: SpotWSClient, exchange: Simulator) -> None:
    """Cancel and replace: a new id, the old one is canceled."""
    with pytest.raises(ValueError, match="cl_ord_id"):
        trader.edit_order(order_id=trader.add_order(**FAR)["order_id"], symbol=S, limit_price=91000)
    placed = trader.add_order(**FAR, order_userref=9)
    edited = trader.edit_order(order_id=placed["order_id"], symbol=S, limit_price=91000)

    assert edited["original_order_id"] == placed["order_id"]
    assert trader.orders.wait_open(edited["order_id"]).limit_price == 91000
    assert trader.orders.wait_done(placed["order_id"], WAIT).status == "canceled"


def test_a_fill_in_parts(trader: SpotWSClient, exchange: Simulator) -> None:
    """Partial fills, the exact fee, the balance: equal to the ledger."""
    bid = trader.book(S).best_bid
    assert bid is not None
    placed = trader.add_order(
        symbol=S, side="buy", order_type="limit", order_qty=2, limit_price=bid.price + Decimal("0.1")
    )
    while status(exchange, placed["order_id"]) != "filled":
        exchange.step(50, [S])
    order = trader.orders.wait_filled(placed["order_id"], WAIT)
    ledger = exchange.orders()[0]

    assert len(ledger["exec_ids"]) > 1
    assert (order.filled, order.fee, order.average_price) == (
        ledger["filled"],
        ledger["fee"],
        ledger["average_price"],
    )
    assert trader.balance.wait_until(lambda totals: totals["BTC"] == 7, WAIT) == exchange.balances()


def test_a_batch_of_which_one_order_may_be_there(trader: SpotWSClient, exchange: Simulator) -> None:
    """The exchange does not know it of one order itself: each of them can be looked up."""
    order = {key: value for key, value in FAR.items() if key != "symbol"}
    orders = [order, {**order, "order_qty": 100}]
    exchange.faults.garble = lambda text: text.replace("EOrder:Insufficient funds", "EGeneral:Internal error")
    with pytest.raises(OrderOutcomeUnknown, match="about one of them, which may mean anything") as caught:
        trader.batch_add(symbol=S, orders=orders)
    assert trader.reconcile(caught.value.names[0], timeout=WAIT).outcome is Outcome.LIVE
    tried = trader.batch_add(symbol=S, orders=orders, validate=True)  # nothing can be there
    assert [one["placed"] for one in tried] == [False, False]
    exchange.faults.garble = None
    assert [one.names for one in trader.unresolved] == [caught.value.names]


def test_batches_answer_per_order(trader: SpotWSClient, exchange: Simulator) -> None:
    """One order without funds does not hide the others; what a cancel did is known per order."""
    orders = [
        {key: value for key, value in FAR.items() if key != "symbol"},
        {"side": "sell", "order_type": "limit", "order_qty": 100, "limit_price": 90000},
        {"side": "buy", "order_type": "limit", "order_qty": "0.01", "limit_price": 100, "order_userref": 3},
    ]
    entries = trader.batch_add(symbol=S, orders=orders)
    assert [("error" in entry, "order_id" in entry) for entry in entries] == [
        (False, True),
        (True, False),
        (False, True),
    ]
    assert entries[1]["error"] == "EOrder:Insufficient funds"
    assert entries[2]["order_userref"] == 3
    ids = [entry["order_id"] for entry in entries if "order_id" in entry]
    exchange.faults.old_batch_cancel = True
    assert trader.batch_cancel(orders=[*ids, "OAAAAA-AAAAA-AAAAAA"]) == [
        {"order_id": ids[0], "status": "canceled"},
        {"order_id": ids[1], "status": "canceled"},
        {"order_id": "OAAAAA-AAAAA-AAAAAA", "status": "unknown"},
    ]
    with pytest.raises(OrderRejected, match="EOrder:Cannot open position"):
        trader.batch_add(symbol=S, orders=[orders[0], {**orders[0], "margin": True}])
    with pytest.raises(ValueError, match="2 to 15"):
        trader.batch_add(symbol=S, orders=orders[:1])


@fact("system")
def test_not_sent(trader: SpotWSClient, exchange: Simulator) -> None:
    """No connection: certainly nothing reached the exchange."""
    trader.orders.wait_live()
    exchange.stop()
    eventually(lambda: trader.stats()["private"]["last_message_age"] is None)
    with pytest.raises(OrderNotSent, match="no connection"):
        trader.add_order(**FAR, timeout=1)
    with pytest.raises(OrderNotSent, match="no connection"):
        trader.cancel_order(order_id="OAAAAA-AAAAA-AAAAAA", timeout=0.3)
    with pytest.raises(AccountNotLive):
        dict(trader.orders)
    assert dict(trader.orders.stale) == {}


def test_many_threads_place_orders(trader: SpotWSClient, exchange: Simulator) -> None:
    """Each gets its own answer."""

    def place(number: int) -> Any:
        return trader.add_order(**{**FAR, "limit_price": 80000 + number})["order_id"]

    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(place, range(64)))
    ledger = {order["order_id"]: order["limit_price"] for order in exchange.orders()}

    assert [ledger[name] for name in ids] == [80000 + number for number in range(64)]
    assert set(eventually(lambda: len(trader.orders.open) == 64 and trader.orders.open)) == set(ids)


def test_send_message(trader: SpotWSClient, exchange: Simulator) -> None:
    """Raw trading messages: the token is added, the reply is returned, the caller's dict is untouched."""
    message = {"method": "add_order", "params": dict(FAR, order_qty=0.01), "req_id": 42}
    before = {"method": "add_order", "params": dict(FAR, order_qty=0.01), "req_id": 42}
    reply = trader.send_message(message)
    assert (reply["req_id"], reply["success"]) == (42, True)
    assert message == before
    order_id = reply["result"]["order_id"]
    assert "cl_ord_id" not in sent(exchange)[0]
    replies = trader.send_message(
        {"method": "cancel_order", "params": {"order_id": [order_id, "OAAAAA-AAAAA-AAAAAA"]}}
    )
    assert [one["success"] for one in replies] == [True, False]
    with pytest.raises(OrderRejected):
        trader.send_message({"method": "cancel_order", "params": {"order_id": [order_id]}})
    assert trader.send_message({"method": "cancel_all"})["result"] == {"count": 0}
    token = trader.get_ws_token()["token"]
    raw = {"method": "cancel_all", "params": {"token": token}, "req_id": 7}
    messages = trader.messages
    assert trader.send_message(raw, raw=True) is None
    assert eventually(lambda: messages.get(WAIT).get("req_id") == 7)
