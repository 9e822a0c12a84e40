"""Unknown outcomes: what is said of them, and how they are found out."""

from __future__ import annotations

import base64
import dataclasses
import logging
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any, Callable, Dict, List

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, WAIT, S, clock_known, eventually, within
from facts import fact
from helpers import interrupted
from helpers import placed as resting
from raw_server import RawServer, read_request

from kraken_sync import ClientClosed, OrderOutcomeUnknown, Outcome, SpotWSClient
from kraken_sync.simulator import Simulator


def test_a_lost_reply_is_unknown_and_is_reconciled(trader: SpotWSClient, exchange: Simulator) -> None:
    """Never "failed": the order is live, and the library never sends it again."""
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=1)
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
    exchange.faults.reply_delay = 1.5
    with caplog.at_level(logging.WARNING, "kraken_sync"), pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=1)
    eventually(lambda: "the reply to add_order came after" in caplog.text)

    assert trader.reconcile(caught.value).outcome is Outcome.LIVE


def test_a_late_rejection_is_never_arrived(trader: SpotWSClient, exchange: Simulator) -> None:
    """The exchange refused it, after the call had given up: at once certain."""
    exchange.faults.reply_delay = 1.5
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**{**FAR, "order_qty": 100}, timeout=1, deadline=60)
    eventually(lambda: trader.stats()["private"]["late_replies"])
    found = trader.reconcile(caught.value, timeout=2)

    assert (found.outcome, found.order) == (Outcome.NEVER_ARRIVED, None)
    assert "Insufficient funds" in found.reason


def test_an_order_that_arrives_after_the_call_gave_up(trader: SpotWSClient, exchange: Simulator) -> None:
    """ "Never arrived" is not said while the engine can still take it."""
    clock_known(trader)
    exchange.faults.request_delay = 2.0
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=1, deadline=5)
    exchange.cut()
    early = trader.reconcile(caught.value, timeout=0.1)
    assert early.outcome is Outcome.STILL_UNKNOWN

    assert trader.reconcile(caught.value).outcome is Outcome.LIVE


def test_a_late_order_misses_its_deadline(trader: SpotWSClient, exchange: Simulator) -> None:
    """The engine refuses it, and it is said that it never arrived."""
    clock_known(trader)
    exchange.faults.request_delay = 2.5
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=1, deadline=1.2)
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
        trader.add_order(**FAR, order_userref=123, timeout=1)
    assert caught.value.cl_ord_id is None
    found = trader.reconcile(caught.value)
    assert found.order is not None
    assert found.order.order_userref == 123
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as amend:
        trader.amend_order(order_id=found.order.order_id, order_qty="0.05", timeout=1)
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


@pytest.mark.parametrize("cut", [False, True], ids=["watched", "with a hole"])
def test_never_arrived_needs_evidence_that_cannot_lag(
    trader: SpotWSClient, exchange: Simulator, cut: bool
) -> None:
    """The executions without a hole, or REST so long after the deadline as it may be behind."""
    clock_known(trader)
    trader.orders.wait_live()
    exchange.faults.rest_lag = 0.9
    exchange.faults.request_delay = 2.5
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=1, deadline=1.2)
    if cut:
        exchange.cut()
    exchange.faults.drop_replies = 1
    eventually(lambda: not exchange.requests("add_order") or time.time() > caught.value.deadline + 1.1)
    exchange.faults.request_delay = 0
    found = trader.reconcile(caught.value)

    assert found.outcome is Outcome.NEVER_ARRIVED
    assert ("no hole since it was sent" in found.reason) is not cut
    assert exchange.orders() == []


def test_executions_that_miss_the_last_reports(trader: SpotWSClient, exchange: Simulator) -> None:
    """What REST has open exists, whatever the executions say: they are fetched anew, and know it then."""
    trader.orders.wait_live(WAIT)
    before = trader.stats()["private"]["resyncs"]
    exchange.faults.skip_executions = 2  # all that is told of the order; no later message shows the hole
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=1, deadline=1)
    found = trader.reconcile(caught.value, timeout=WAIT)

    assert found.outcome is Outcome.LIVE
    assert trader.stats()["private"]["resyncs"] > before
    assert trader.orders[caught.value.cl_ord_id].is_open


def test_a_late_reply_is_no_evidence_that_it_is_live(trader: SpotWSClient, exchange: Simulator) -> None:
    """It was acknowledged and canceled at once; the reports are missing, and REST is behind."""
    trader.orders.wait_live(WAIT)
    exchange.faults.rest_lag, exchange.faults.reply_delay, exchange.faults.skip_executions = 30.0, 1.3, 2
    crossing = {**FAR, "side": "buy", "limit_price": 65000, "post_only": True}
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**crossing, timeout=1, deadline=1)
    eventually(lambda: trader.stats()["private"]["late_replies"])
    table = trader._ks_runtime.connection("private").read(lambda session: session.account.orders)
    eventually(lambda: table.unsettled, "REST is asked")
    found = trader.reconcile(caught.value, timeout=0.5)

    assert exchange.orders()[0]["status"] == "canceled"
    assert found.outcome is Outcome.STILL_UNKNOWN
    exchange.faults.rest_lag = 0
    assert trader.reconcile(caught.value, timeout=WAIT).outcome is Outcome.CANCELED


@pytest.mark.parametrize("end", ["live", "filled", "canceled", "never arrived"])
def test_rest_alone(trader: SpotWSClient, exchange: Simulator, end: str) -> None:
    """With the private line down for good, REST decides, and "live" says that it may be behind."""
    trader.orders.wait_live(WAIT)
    order = {**FAR, "order_type": "market", "limit_price": None} if end == "filled" else FAR
    if end == "never arrived":
        exchange.faults.refuse_connections = 10**6
        exchange.cut()
        exchange.faults.rest_errors = ["EService:Timeout"] * 50  # not carried out, and nobody knows
    else:
        exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**order, timeout=1, deadline=1, via="rest" if end == "never arrived" else None)
    exchange.faults.rest_errors.clear()
    exchange.faults.refuse_connections = 10**6
    exchange.cut()
    eventually(lambda: not trader._ks_runtime.connection("private").open)
    if end == "canceled":
        assert trader.cancel_all() == {"count": 1}
    found = trader.reconcile(caught.value, timeout=WAIT)

    assert str(found.outcome) == end
    if end == "live":
        assert found.order is not None
        assert (found.order.symbol, found.order.qty) == (S, Decimal("0.01"))
        assert "may be 1 s behind" in found.reason
    assert trader.unresolved == []


@fact("REST lags")
def test_rest_that_lags_behind_says_nothing(trader: SpotWSClient, exchange: Simulator) -> None:
    """An order that has arrived is not said to be lost, however far REST is behind."""
    clock_known(trader)
    exchange.faults.rest_lag = 30.0
    exchange.faults.drop_replies = exchange.faults.skip_executions = 1
    taken = {**FAR, "limit_price": 60000, "order_type": "limit", "time_in_force": "ioc", "side": "sell"}
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**taken, timeout=1, deadline=1)
    exchange.cut()
    found = trader.reconcile(caught.value, timeout=0.5)

    assert exchange.orders()[0]["status"] == "filled"
    assert found.outcome in (Outcome.FILLED, Outcome.STILL_UNKNOWN)


@fact("conditional")
def test_a_conditional_order_is_found_by_its_userref(trader: SpotWSClient, exchange: Simulator) -> None:
    """The exchange takes no cl_ord_id with it, so the client chooses an order_userref."""
    close = {"order_type": "limit", "limit_price": 95000}
    placed = trader.add_order(**FAR, conditional=close)
    assert set(placed) == {"order_id", "order_userref"}
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, conditional=close, timeout=1)
    userref = caught.value.order_userref
    assert userref not in (None, placed["order_userref"])
    found = trader.reconcile(order_userref=userref)

    assert found.outcome is Outcome.LIVE
    assert found.order is not None
    assert found.order.order_userref == userref
    with pytest.raises(ValueError, match="no cl_ord_id together with conditional"):
        trader.add_order(**FAR, conditional=close, cl_ord_id="mine")
    with pytest.raises(TypeError, match="one of order and order_userref"):
        trader.reconcile()


def test_reconcile_while_nothing_answers(trader: SpotWSClient, exchange: Simulator) -> None:
    """The time is kept, and nothing is claimed."""
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=1)
    exchange.stop()
    with within(0.4):
        found = trader.reconcile(caught.value, timeout=0.5)

        assert found.outcome in (Outcome.STILL_UNKNOWN, Outcome.LIVE)


def test_a_batch_whose_reply_is_lost(trader: SpotWSClient, exchange: Simulator) -> None:
    """Every order of it can be reconciled."""
    exchange.faults.drop_replies = 1
    order = {key: value for key, value in FAR.items() if key != "symbol"}
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.batch_add(symbol=S, orders=[order, order], timeout=1)
    assert len(caught.value.names) == 2
    with pytest.raises(ValueError, match="each of"):
        trader.reconcile(caught.value)

    assert {trader.reconcile(name).outcome for name in caught.value.names} == {Outcome.LIVE}


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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_order_is_remembered(trader: SpotWSClient, exchange: Simulator) -> None:
    """A Ctrl-C while waiting for the reply: the id is not lost with it."""
    trader.orders.wait_live()
    exchange.faults.drop_replies = 1

    with interrupted(lambda: exchange.requests("add_order")):
        trader.add_order(**FAR, timeout=30)

    assert len(trader.unresolved) == 1
    assert trader.reconcile(trader.unresolved[0]).outcome is Outcome.LIVE


def test_the_orders_of_a_lost_batch_are_settled_one_by_one(trader: SpotWSClient, exchange: Simulator) -> None:
    """Reconciling the first does not forget the second."""
    clock_known(trader)
    exchange.faults.drop_replies = 1
    order = {name: value for name, value in FAR.items() if name != "symbol"}
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.batch_add(symbol=S, orders=[order, order], timeout=1)
    first, second = caught.value.names

    assert trader.reconcile(first).outcome is Outcome.LIVE
    assert trader.unresolved == [caught.value]
    assert trader.reconcile(second).outcome is Outcome.LIVE
    assert trader.unresolved == []


def test_a_reply_that_names_no_order_is_unknown(
    trader: SpotWSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success without an order id: nobody knows what was placed."""
    trader.orders.wait_live()
    monkeypatch.setattr(trader._ks_runtime, "decode", lambda frame: {"result": ["odd"]})
    with pytest.raises(OrderOutcomeUnknown, match="names no order") as caught:
        trader.add_order(**FAR)
    monkeypatch.undo()

    assert trader.reconcile(caught.value).outcome is Outcome.LIVE


def test_a_snapshot_that_comes_while_rest_is_asked(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """That the executions have become up to date meanwhile does not mean that they lack the order."""
    trader = new_client(
        key=CANARY_KEY, secret=CANARY_SECRET, timing=dataclasses.replace(FAST, rest_lag=60.0, ack_timeout=5.0)
    )
    clock_known(trader)  # or a ping for it would be late, too
    trader.orders.wait_live(WAIT)
    exchange.faults.rest_lag = 60.0
    exchange.faults.skip_executions = 10
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=1, deadline=1)
    exchange.faults.skip_executions = 0
    exchange.faults.ack_delay = exchange.faults.rest_delay = 0.6  # both are slow
    found = trader.reconcile(caught.value, timeout=WAIT)
    exchange.faults.ack_delay = exchange.faults.rest_delay = 0

    assert found.outcome is Outcome.LIVE


@pytest.mark.parametrize(
    "kind",
    [
        {"time_in_force": "ioc"},
        pytest.param({"limit_price": 50000, "post_only": True}, marks=pytest.mark.slow),
        pytest.param({"order_type": "market"}, marks=pytest.mark.slow),
    ],
)
def test_an_order_that_may_end_at_once(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, kind: Dict[str, Any]
) -> None:
    """It is in no snapshot, so REST is asked, too, as late as that may be behind."""
    trader = new_client(key=CANARY_KEY, secret=CANARY_SECRET, timing=dataclasses.replace(FAST, rest_lag=60.0))
    clock_known(trader)  # or a ping for it would be late, too
    trader.orders.wait_live(WAIT)
    exchange.faults.rest_lag = 60.0
    exchange.faults.skip_executions = 10
    exchange.faults.drop_replies = 1
    order = {**FAR, **kind}
    if kind.get("order_type"):
        del order["limit_price"]
        exchange.faults.request_delay = 3.0  # it misses its deadline
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**order, timeout=1, deadline=1)
    exchange.faults.skip_executions = 0
    found = trader.reconcile(caught.value, timeout=3)

    assert found.outcome is Outcome.STILL_UNKNOWN
    assert "may be 60 s behind" in found.reason


def test_a_name_that_was_used_before_over_rest(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """Without the executions, too, an order that was acknowledged, or is on the other side, is another."""
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, auth_ws_url="ws://127.0.0.1:9", no_public=True)
    client.add_order(**FAR, order_userref=7, via="rest")
    there = exchange.client()
    there.add_order(**{**FAR, "side": "buy", "limit_price": 30000}, order_userref=7)
    exchange.faults.rest_errors = ["EService:Timeout"]  # it does not arrive, and nobody knows
    with pytest.raises(OrderOutcomeUnknown) as caught:
        client.add_order(**FAR, order_userref=7, via="rest", deadline=0.5)
    assert client.reconcile(caught.value, timeout=WAIT).outcome is Outcome.NEVER_ARRIVED
    there.close()


@pytest.mark.parametrize("lag", [pytest.param(0.0, marks=pytest.mark.slow), 60.0])
def test_a_name_that_was_used_before(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, lag: float
) -> None:
    """The earlier order is live, and is no reason to say that nothing is known of the lost one."""
    trader = new_client(
        key=CANARY_KEY, secret=CANARY_SECRET, timing=dataclasses.replace(FAST, rest_lag=lag or 1.0)
    )
    before = trader.add_order(**FAR, order_userref=7)
    trader.orders.wait_open(before["order_id"])
    exchange.faults.rest_lag = lag
    exchange.faults.request_delay = 2.0  # it misses its deadline
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, order_userref=7, timeout=1, deadline=1)
    exchange.faults.request_delay = 0.0
    found = trader.reconcile(caught.value, timeout=WAIT)

    assert (found.outcome, found.order) == (Outcome.NEVER_ARRIVED, None)


def test_a_change_over_rest_that_may_be_behind(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """That REST has an order unchanged decides only when it cannot be behind any more."""
    there = exchange.client()
    order = there.add_order(**FAR, order_userref=7)
    client = new_client(
        key=CANARY_KEY,
        secret=CANARY_SECRET,
        auth_ws_url="ws://127.0.0.1:9",
        no_public=True,
        timing=dataclasses.replace(FAST, rest_lag=60.0),
    )
    exchange.call(lambda: setattr(exchange.exchange.trading.account.orders[order["order_id"]], "moment", 0))
    exchange.faults.rest_lag = 30.0
    exchange.faults.rest_answers = [(504, b"{}")]
    with pytest.raises(OrderOutcomeUnknown) as caught:
        client.edit_order(order_id=order["order_id"], symbol=S, order_qty="0.02", deadline=0.5, via="rest")
    found = client.reconcile(caught.value, timeout=3)

    assert found.outcome is Outcome.STILL_UNKNOWN
    assert "REST may be behind" in found.reason
    there.close()


def test_a_line_that_cannot_be_had_is_asked_for_once(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """Neither connections nor the clock are asked for with each attempt."""
    asked: List[bytes] = []

    def refuse(sock: socket.socket) -> None:
        asked.append(read_request(sock))
        sock.sendall(b"HTTP/1.1 503 no\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    with RawServer(refuse) as server:
        client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, auth_ws_url=server.url, no_public=True)
        exchange.faults.rest_errors = ["EService:Timeout"]
        with pytest.raises(OrderOutcomeUnknown) as caught:
            client.add_order(**FAR, via="rest", deadline=0.5)
        found = client.reconcile(caught.value, timeout=WAIT)
        client.close()

    assert found.outcome is Outcome.NEVER_ARRIVED
    assert "REST does not know it" in found.reason
    assert len(asked) <= 20  # the attempts of one connection in two seconds, by the retries of the tests


def test_a_key_without_websocket(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Its orders are found over REST alone."""
    secret = base64.b64encode(b"x" * 64).decode()
    exchange.add_key("RESTONLY", secret, ["query_orders", "modify_orders"])
    client = new_client(key="RESTONLY", secret=secret, no_public=True)
    exchange.faults.rest_answers = [(504, b"{}")]
    with pytest.raises(OrderOutcomeUnknown) as caught:
        client.add_order(**FAR, via="rest")
    assert client.reconcile(caught.value, timeout=WAIT).outcome is Outcome.LIVE


@pytest.mark.parametrize("deadline", [5, "soon", float("nan"), -1])
def test_a_deadline_that_is_no_moment(trader: SpotWSClient, deadline: Any) -> None:
    """A number of seconds from now would be a moment in 1970, and any order would be lost."""
    with pytest.raises(ValueError, match="give the moment"):
        trader.reconcile("mine", deadline=deadline)
    for name in (0, ""):
        with pytest.raises(ValueError, match="no order has"):
            trader.reconcile(name)


def test_an_edit_has_one_name(trader: SpotWSClient, exchange: Simulator) -> None:
    """The userref that it gives is the new order's, and names nothing that was there before."""
    (there,) = resting(trader, exchange, 1, order_userref=8)
    (order,) = resting(trader, exchange, 1, order_userref=5)
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.edit_order(order_id=order["order_id"], symbol=S, limit_price=91000, order_userref=8, timeout=1)
    assert caught.value.names == (order["order_id"],)
    found = trader.reconcile(caught.value, timeout=WAIT)
    assert found.order is not None
    assert found.order.order_id not in (order["order_id"], there["order_id"])
