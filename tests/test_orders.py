"""Trading against the simulated exchange, over real sockets."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from types import SimpleNamespace
from typing import Any, Callable, Dict, List

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, WAIT, S, clock_known, eventually

from kraken_sync import (
    AccountNotLive,
    ClientClosed,
    ConnectFailed,
    CredentialsInvalid,
    CredentialsMissing,
    OrderEnded,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRejected,
    Outcome,
    PermissionRefused,
    ReplyTimeout,
    SpotWSClient,
    StreamOverflow,
    SubscriptionRefused,
    UnknownSymbol,
)
from kraken_sync.simulator import Simulator


def status(exchange: Simulator, order_id: str) -> str:
    return next(one["status"] for one in exchange.orders() if one["order_id"] == order_id)


def sent(exchange: Simulator, method: str = "add_order") -> List[Dict[str, Any]]:
    return [request["params"] for request in exchange.requests(method)]


# -- connecting ----------------------------------------------------------------------------------


def test_key_and_secret_open_the_private_side_at_start(trader: SpotWSClient, exchange: Simulator) -> None:
    """As arguments they do; a client without them has one connection."""
    assert trader.stats()["private"]["connections"] == 1
    assert exchange.connections == 2


def test_keys_of_the_environment_wait_for_the_first_private_call(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that they can never break a public script."""
    monkeypatch.setenv("KRAKEN_API_KEY", CANARY_KEY)
    monkeypatch.setenv("KRAKEN_API_SECRET", CANARY_SECRET)
    client = new_client()
    client.start()
    assert exchange.connections == 1
    assert client.balance["USD"] == 250000
    assert exchange.connections == 2


def test_no_key(client: SpotWSClient) -> None:
    """Every private thing says what is missing."""
    for act in (
        lambda: client.add_order(**FAR),
        lambda: dict(client.orders),
        lambda: client.executions(),
        lambda: client.get_ws_token(),
        lambda: client.send_message({"method": "cancel_all"}),
    ):
        with pytest.raises(CredentialsMissing, match="KRAKEN_API_KEY"):
            act()


def test_a_wrong_key_stops_at_once(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """One request, one clear error; no hammering."""
    client = new_client(key="unknown", secret=CANARY_SECRET)
    with pytest.raises(CredentialsInvalid, match="does not know this API key"):
        client.start()
    exchange.add_key("other", "b3RoZXI=")
    again = new_client(key="other", secret=CANARY_SECRET)
    with pytest.raises(CredentialsInvalid, match="does not belong"):
        again.start()


def test_missing_permissions_are_named(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """For tokens, channels, REST and orders, in the words of Kraken's page of API keys."""
    exchange.add_key("deaf", CANARY_SECRET, ["query_funds"])
    with pytest.raises(PermissionRefused, match="WebSocket interface") as caught:
        new_client(key="deaf", secret=CANARY_SECRET).start()
    assert caught.value.permission == "WebSocket interface - On"

    exchange.add_key("blind", CANARY_SECRET, ["websockets", "modify_orders"])
    client = new_client(key="blind", secret=CANARY_SECRET)
    client.start()
    with pytest.raises(PermissionRefused, match="Query open orders"):
        dict(client.orders)
    with pytest.raises(PermissionRefused, match="Funds permissions"):
        dict(client.balance)
    with pytest.raises(PermissionRefused, match="Query"):
        client.subscribe({"channel": "executions"})
    placed = client.add_order(**FAR)
    assert client.cancel_order(order_id=placed["order_id"]) == {"order_id": placed["order_id"]}

    exchange.add_key("watching", CANARY_SECRET, ["websockets", "query_orders"])
    watching = new_client(key="watching", secret=CANARY_SECRET)
    with pytest.raises(OrderRejected, match="Create & modify orders"):
        watching.add_order(**FAR)


def test_private_subscriptions_survive_with_a_fresh_token(trader: SpotWSClient, exchange: Simulator) -> None:
    """Executions, balances and level3 come back after a cut, though every old token is dead."""
    executions = trader.subscribe({"channel": "executions"})
    balances = trader.balances()
    orders = trader.level3("BTC/USD", gaps=True)
    assert next(iter(orders))["symbol"] == S
    exchange.revoke_tokens()
    exchange.cut()
    eventually(lambda: trader.stats()["private"]["reconnects"] and trader.stats()["level3"]["reconnects"])
    exchange.fund("EUR", 5)

    assert eventually(lambda: trader.balance.stale["EUR"] == 50005 or None)
    kinds = [executions.get(WAIT)["type"] for _ in range(3)]
    assert kinds == ["snapshot", "gap", "snapshot"]
    assert any(item.get("asset") == "EUR" and item["balance"] == 50005.0 for item in balances)
    found = [next(orders) for _ in range(2)]
    assert found[0]["type"] == "gap"


def test_a_token_that_dies_is_renewed(trader: SpotWSClient, exchange: Simulator) -> None:
    """In an order call and in a subscription; the order is taken once."""
    exchange.revoke_tokens()
    placed = trader.add_order(**FAR)
    assert status(exchange, placed["order_id"]) == "new"
    assert len(exchange.orders()) == 1
    exchange.revoke_tokens()
    assert trader.balance["BTC"] == 5
    assert trader.stats()["private"]["reconnects"] == 0


def test_a_token_that_is_never_accepted(trader: SpotWSClient, exchange: Simulator) -> None:
    """One renewal, then the truth: refused."""
    exchange.faults.refuse_tokens = 100
    with pytest.raises(OrderRejected, match="ESession:Invalid session"):
        trader.add_order(**FAR)
    with pytest.raises(SubscriptionRefused, match="ESession"):
        trader.subscribe({"channel": "balances"})


# -- placing and changing ------------------------------------------------------------------------


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


def test_a_deadline_by_the_exchanges_clock(
    trader: SpotWSClient, exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This machine's clock is ten minutes wrong; the order is taken all the same."""
    wrong = SimpleNamespace(time=lambda: time.time() + 600, monotonic=time.monotonic)
    for module in ("order_sender", "unknown"):
        monkeypatch.setattr(f"kraken_sync.{module}.time", wrong)

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
    for symbol in ("XBT/USD", "btc/usd", "BTCUSD", "BTC/USDD"):
        with pytest.raises(UnknownSymbol, match="BTC/USD"):
            trader.add_order(**{**FAR, "symbol": symbol})
    with pytest.raises(TypeError):
        trader.add_order(FAR)  # type: ignore[call-arg,misc]
    for number in ("0,1", "1_0", " 1 ", "\u0661"):
        with pytest.raises(ValueError, match="must be a number"):
            trader.add_order(**{**FAR, "order_qty": number})
    with pytest.raises(TypeError, match=r"result\['order_id'\]"):
        trader.cancel_order(order_id={"order_id": "x"})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"orders\[1\]: limit_price"):
        order = {name: FAR[name] for name in FAR if name != "symbol"}
        trader.batch_add(symbol=S, orders=[order, {**order, "limit_price": "90000.01"}])
    with pytest.raises(ValueError, match=r"0\.5 to 60"):
        trader.add_order(**FAR, deadline=0.1)
    assert sent(exchange) == []


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
    with pytest.raises(OrderRejected, match="EOrder:Unknown order"):
        trader.cancel_order(order_id="OAAAAA-AAAAA-AAAAAA")
    with pytest.raises(OrderRejected, match="EOrder:Unknown order"):
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


# -- batches and cancels -------------------------------------------------------------------------


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


def test_cancels_of_several(trader: SpotWSClient, exchange: Simulator) -> None:
    """One entry for each id; a userref names as many orders as there are."""
    first, second = (trader.add_order(**FAR)["order_id"] for _ in range(2))
    missing = "OAAAAA-AAAAA-AAAAAA"
    assert trader.cancel_order(order_id=[first, missing, second]) == [
        {"order_id": first},
        {"order_id": missing, "error": "EOrder:Unknown order"},
        {"order_id": second},
    ]
    refs = [trader.add_order(**FAR, order_userref=77)["order_id"] for _ in range(3)]
    entries = trader.cancel_order(order_userref=77)
    assert [entry["order_id"] for entry in entries] == refs
    assert {status(exchange, name) for name in refs} == {"canceled"}
    with pytest.raises(OrderRejected, match="EOrder:Unknown order"):
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


# -- outcomes ------------------------------------------------------------------------------------


def test_a_lost_reply_is_unknown_and_is_reconciled(trader: SpotWSClient, exchange: Simulator) -> None:
    """Never "failed": the order is live, and the library never sends it again."""
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=0.3)
    error = caught.value
    assert error.cl_ord_id is not None
    assert error.cl_ord_id in str(error)
    assert error.deadline is not None
    assert abs(error.sent_at - time.time()) < 60
    assert [one.cl_ord_id for one in trader.unresolved] == [error.cl_ord_id]

    found = trader.reconcile(error)
    assert (found.outcome, found.order is not None) == (Outcome.LIVE, True)
    assert trader.unresolved == []
    assert len(exchange.requests("add_order")) == 1
    assert trader.reconcile(error.cl_ord_id).outcome is Outcome.LIVE
    trader.cancel_all()
    trader.orders.wait_done(error.cl_ord_id, WAIT)
    assert trader.reconcile(error.cl_ord_id).outcome is Outcome.CANCELED


def test_a_late_reply_is_told_and_resolves(
    trader: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """The reply comes after the call has given up."""
    exchange.faults.reply_delay = 0.5
    with caplog.at_level(logging.WARNING, "kraken_sync"), pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=0.2)
    eventually(lambda: "the reply to add_order came after" in caplog.text)

    assert trader.reconcile(caught.value).outcome is Outcome.LIVE


def test_a_late_rejection_is_never_arrived(trader: SpotWSClient, exchange: Simulator) -> None:
    """The exchange refused it, after the call had given up: at once certain."""
    exchange.faults.reply_delay = 0.5
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**{**FAR, "order_qty": 100}, timeout=0.2, deadline=60)
    eventually(lambda: trader.stats()["private"]["late_replies"])
    found = trader.reconcile(caught.value, timeout=2)

    assert (found.outcome, found.order) == (Outcome.NEVER_ARRIVED, None)
    assert "Insufficient funds" in found.reason


def test_an_order_that_arrives_after_the_call_gave_up(trader: SpotWSClient, exchange: Simulator) -> None:
    """ "Never arrived" is not said while the engine can still take it."""
    clock_known(trader)
    exchange.faults.request_delay = 1.0
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=0.5, deadline=3)
    exchange.cut()
    early = trader.reconcile(caught.value, timeout=0.1)
    assert early.outcome is Outcome.STILL_UNKNOWN

    assert trader.reconcile(caught.value).outcome is Outcome.LIVE


def test_a_late_order_misses_its_deadline(trader: SpotWSClient, exchange: Simulator) -> None:
    """The engine refuses it, and it is said that it never arrived."""
    clock_known(trader)
    exchange.faults.request_delay = 2.0
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=0.6, deadline=1.0)
    exchange.cut()
    exchange.faults.request_delay = 0

    assert trader.reconcile(caught.value).outcome is Outcome.NEVER_ARRIVED
    assert exchange.orders() == []


def test_an_internal_error_may_mean_anything(trader: SpotWSClient, exchange: Simulator) -> None:
    """The exchange itself does not know."""
    exchange.faults.internal_errors = 1
    with pytest.raises(OrderOutcomeUnknown, match="Internal error") as caught:
        trader.add_order(**FAR)

    assert trader.reconcile(caught.value).outcome is Outcome.LIVE


def test_reconcile_by_userref_and_by_order_id(trader: SpotWSClient, exchange: Simulator) -> None:
    """Where there is no ``cl_ord_id``."""
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, order_userref=123, timeout=0.3)
    assert caught.value.cl_ord_id is None
    found = trader.reconcile(caught.value)
    assert found.order is not None
    assert found.order.order_userref == 123
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as amend:
        trader.amend_order(order_id=found.order.order_id, order_qty="0.05", timeout=0.3)
    again = trader.reconcile(amend.value)

    assert again.outcome is Outcome.LIVE
    assert again.order is not None
    assert again.order.qty == Decimal("0.05")


def test_reconcile_an_order_of_another_program(
    trader: SpotWSClient, new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """What ended before this client came is found over REST; what nobody knows stays unknown."""
    placed = trader.add_order(symbol=S, side="sell", order_type="market", order_qty="0.01")
    other = new_client(key=CANARY_KEY, secret=CANARY_SECRET, no_public=True)
    assert other.reconcile(placed["cl_ord_id"]).outcome is Outcome.FILLED
    assert other.reconcile(placed["order_id"]).outcome is Outcome.FILLED
    assert other.reconcile("nobody knows", timeout=0.3).outcome is Outcome.STILL_UNKNOWN
    past = time.time() - 10
    assert other.reconcile("nobody knows", deadline=past).outcome is Outcome.NEVER_ARRIVED


def test_reconcile_while_nothing_answers(trader: SpotWSClient, exchange: Simulator) -> None:
    """The time is kept, and nothing is claimed."""
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=0.2)
    exchange.stop()
    started = time.monotonic()
    found = trader.reconcile(caught.value, timeout=0.5)

    assert found.outcome in (Outcome.STILL_UNKNOWN, Outcome.LIVE)
    assert time.monotonic() - started < 2


def test_a_batch_whose_reply_is_lost(trader: SpotWSClient, exchange: Simulator) -> None:
    """Every order of it can be reconciled."""
    exchange.faults.drop_replies = 1
    order = {key: value for key, value in FAR.items() if key != "symbol"}
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.batch_add(symbol=S, orders=[order, order], timeout=0.3)
    assert len(caught.value.names) == 2
    with pytest.raises(ValueError, match="each of"):
        trader.reconcile(caught.value)

    assert {trader.reconcile(name).outcome for name in caught.value.names} == {Outcome.LIVE}


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


def test_close_under_an_order(trader: SpotWSClient, exchange: Simulator) -> None:
    """Sent and then closed: unknown, not an error about the client."""
    exchange.faults.drop_replies = 1
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(trader.add_order, **FAR)
        eventually(lambda: exchange.requests("add_order"))
        trader.close()
        with pytest.raises(OrderOutcomeUnknown, match="closed"):
            future.result(WAIT)
    with pytest.raises(ClientClosed):
        trader.add_order(**FAR)


def test_an_interrupted_order_is_remembered(trader: SpotWSClient, exchange: Simulator) -> None:
    """A Ctrl-C while waiting for the reply: the id is not lost with it."""
    trader.orders.wait_live()
    exchange.faults.drop_replies = 1

    def ctrl_c() -> None:
        eventually(lambda: exchange.requests("add_order"))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=ctrl_c).start()
    with pytest.raises(KeyboardInterrupt):
        trader.add_order(**FAR, timeout=30)

    assert len(trader.unresolved) == 1
    assert trader.reconcile(trader.unresolved[0]).outcome is Outcome.LIVE


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


# -- account -------------------------------------------------------------------------------------


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


def test_unsubscribed_executions_do_not_stop_orders(trader: SpotWSClient) -> None:
    """The next order keeps them again."""
    trader.add_order(**FAR)
    trader.orders.wait_live()
    trader.unsubscribe({"channel": "executions"})
    trader.add_order(**FAR)
    assert eventually(lambda: len(trader.orders.open) == 2)


def test_other_hosts_and_level3(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Nobody who names a simulator means the real exchange for one channel."""
    client = SpotWSClient(CANARY_KEY, CANARY_SECRET, ws_url=exchange.ws_url, rest_url=exchange.rest_url)
    with pytest.raises(ValueError, match="level3_ws_url"):
        client.level3(S)
    client.close()


def test_level3_where_python_kraken_sdk_has_it(exchange: Simulator) -> None:
    """The SDK's way: a client whose ``auth_ws_url`` is the level3 host."""
    with SpotWSClient(
        CANARY_KEY,
        CANARY_SECRET,
        no_public=True,
        auth_ws_url=exchange.level3_ws_url,
        rest_url=exchange.rest_url,
    ) as client:
        stream = client.subscribe({"channel": "level3", "symbol": [S]})

        assert stream.get(WAIT)["type"] == "snapshot"


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
    assert repr(trader.balance) == "<balance not read yet: 0 assets>"


# -- safety --------------------------------------------------------------------------------------


def test_the_gate_refuses_and_holds(trader: SpotWSClient, exchange: Simulator) -> None:
    """In cancel_only orders are refused here, cancels pass; a held order goes out when it may."""
    placed = trader.add_order(**FAR)
    exchange.set_system("cancel_only")
    eventually(lambda: trader.stats()["private"]["system"] == "cancel_only")
    with pytest.raises(OrderNotSent, match="cancel_only"):
        trader.add_order(**FAR)
    assert trader.cancel_order(order_id=placed["order_id"])
    trader.order_gate.policy = "hold"
    threading.Timer(0.3, exchange.set_system, ["online"]).start()
    assert trader.add_order(**FAR)["order_id"]
    exchange.set_system("maintenance")
    eventually(lambda: trader.stats()["private"]["system"] == "maintenance")
    with pytest.raises(OrderNotSent, match="maintenance"):
        trader.cancel_all(timeout=0.2)
    trader.order_gate.policy = "open"
    with pytest.raises(OrderRejected, match="EService:Unavailable"):
        trader.cancel_all()
    with pytest.raises(ValueError, match="refuse, hold, open"):
        SpotWSClient(order_gate="shut")


def test_the_gate_looks_at_books(trader: SpotWSClient, exchange: Simulator) -> None:
    """No order while the book it depends on is not verified."""
    book = trader.book(S)
    trader.order_gate.require(book)
    assert trader.add_order(**FAR)
    exchange.faults.bad_checksum[S] = 1
    exchange.faults.bad_snapshot[S] = 50
    exchange.step(20, [S])
    eventually(lambda: book.state != "LIVE")
    with pytest.raises(OrderNotSent, match="the book BTC/USD is RESYNCING"):
        trader.add_order(**FAR)
    trader.order_gate.forget(book)
    assert trader.add_order(**FAR)


def test_the_dead_mans_switch(trader: SpotWSClient, exchange: Simulator) -> None:
    """Armed, renewed by the watchdog also after a reconnect, disarmed at the end."""
    placed = trader.add_order(**FAR)
    with trader.dead_mans_switch(3) as switch:
        assert 2 < switch.left <= 3
        with pytest.raises(ValueError, match="already"):
            trader.dead_mans_switch(3).__enter__()
        exchange.cut()
        eventually(lambda: len(exchange.requests("cancel_all_orders_after")) >= 4)
        assert switch.failure == ""
    assert sent(exchange, "cancel_all_orders_after")[-1]["timeout"] == 0
    assert exchange.call(lambda: exchange.exchange.trading.cancel_at) is None
    assert status(exchange, placed["order_id"]) == "new"


def test_a_switch_whose_owner_is_stuck(
    trader: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not renewed, says so loudly before the end, and the exchange cancels."""
    placed, told = trader.add_order(**FAR), []
    with (
        pytest.raises(RuntimeError, match="crash"),
        trader.dead_mans_switch(3, stuck_after=0.2, on_failure=told.append),
    ):
        eventually(lambda: told)
        assert "stuck" in told[0]
        assert status(exchange, placed["order_id"]) == "new", "the alarm comes before the end"
        raise RuntimeError("crash")
    assert any(record.levelno == logging.CRITICAL for record in caplog.records)
    order = trader.orders.wait_done(placed["order_id"], WAIT)
    assert (order.status, order.reason) == ("canceled", "CancelAllOrdersAfter Timeout")


def test_the_rate_mirror(new_client: Callable[..., SpotWSClient]) -> None:
    """It counts as the exchange does, and knows how long to wait."""
    with Simulator(seed=5, rate=0, tier="intermediate", key=CANARY_KEY, secret=CANARY_SECRET) as strict:
        with SpotWSClient(
            CANARY_KEY,
            CANARY_SECRET,
            ws_url=strict.ws_url,
            auth_ws_url=strict.auth_ws_url,
            rest_url=strict.rest_url,
            timing=FAST,
        ) as client:
            client.orders.wait_live()
            for _ in range(13):
                client.cancel_order(order_id=client.add_order(**FAR)["order_id"])
            mirror = client.trading_rate
            true = strict.call(lambda: strict.exchange.trading.counters.value(S, time.time()))
            assert mirror.tier.name == "intermediate"
            assert mirror.count(S) == pytest.approx(true, abs=1.5)
            wait = mirror.wait_for(S, "batch_add", count=40)
            assert wait > 0
            client.trading_rate.charge("add_order", {"symbol": S})
            with pytest.raises(OrderRejected, match="EOrder:Rate limit exceeded"):
                for _ in range(20):
                    client.cancel_order(order_id=client.add_order(**FAR)["order_id"])
            assert mirror.wait_for(S) > 0


def test_no_connection_to_the_private_side(new_client: Callable[..., SpotWSClient]) -> None:
    """A call that needs it says so within its time."""
    client = new_client(auth_ws_url="ws://127.0.0.1:9", rest_url="http://127.0.0.1:9")
    client.start()
    client._rest.credentials = SpotWSClient(CANARY_KEY, CANARY_SECRET)._rest.credentials
    started = time.monotonic()
    with pytest.raises(OrderNotSent, match="token"):
        client.add_order(**FAR, timeout=0.5)
    with pytest.raises(ConnectFailed, match="token"):
        client.subscribe({"channel": "executions"}, timeout=0.5)

    assert time.monotonic() - started < 3
