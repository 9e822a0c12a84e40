"""What reviewers broke, private side and ports; each of these failed once."""

from __future__ import annotations

import queue
import signal
import threading
from decimal import Decimal, localcontext
from typing import Any, Callable, Dict, List, Tuple

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, WAIT, S, clock_known, eventually
from kraken_sync.core.session.session.requests import InFlight, Request

from kraken_sync import (
    AccountNotLive,
    CredentialsMissing,
    OrderOutcomeUnknown,
    Outcome,
    ReplyTimeout,
    SpotOrderBookClient,
    SpotWSClient,
    WSState,
)
from kraken_sync.core.freshness import BookState
from kraken_sync.core.orders.gate import closed_for
from kraken_sync.core.orders.tables import Balances, Orders
from kraken_sync.core.wire.messages import decode_envelope
from kraken_sync.core.wire.numbers import decimal_of
from kraken_sync.core.wire.times import ServerClock, time_text
from kraken_sync.simulator import Simulator
from kraken_sync.trading.replies import error_of


def test_an_interrupt_does_not_end_the_request_ids() -> None:
    """A Ctrl-C while an id is looked for costs that id and no other."""
    calls: List[int] = []

    def asked(req_id: int) -> bool:
        calls.append(req_id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return False

    flying = InFlight(asked)
    first = flying.new_id()
    with pytest.raises(KeyboardInterrupt):
        flying.new_id()
    assert flying.new_id() > first


def test_an_interrupted_token_fetch_leaves_nobody_waiting(trader: SpotWSClient, exchange: Simulator) -> None:
    """The next caller has its token, though the one who began was interrupted."""
    exchange.faults.rest_delay = 1.0

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            trader.get_ws_token()
    finally:
        signal.signal(signal.SIGALRM, before)
    exchange.faults.rest_delay = 0.0

    assert trader.get_ws_token(timeout=5)["token"]
    eventually(lambda: not [one for one in threading.enumerate() if "rest-deadline" in one.name])


def test_the_orders_of_a_lost_batch_are_settled_one_by_one(trader: SpotWSClient, exchange: Simulator) -> None:
    """Reconciling the first does not forget the second."""
    clock_known(trader)
    exchange.faults.drop_replies = 1
    order = {name: value for name, value in FAR.items() if name != "symbol"}
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.batch_add(symbol=S, orders=[order, order], timeout=0.5)
    first, second = caught.value.names

    assert trader.reconcile(first).outcome is Outcome.LIVE
    assert trader.unresolved == [caught.value]
    assert trader.reconcile(second).outcome is Outcome.LIVE
    assert trader.unresolved == []


def test_cancel_all_is_repeated_and_clears_its_list(trader: SpotWSClient, exchange: Simulator) -> None:
    """Twice has the same effect as once; a success stands for every lost one before it."""
    trader.add_order(**FAR)
    exchange.faults.drop_replies = 1
    assert trader.cancel_all(timeout=2) == {"count": 0}
    assert len(exchange.requests("cancel_all")) == 2
    exchange.faults.drop_replies = 2
    with pytest.raises(OrderOutcomeUnknown, match="Call it again"):
        trader.cancel_all(timeout=1)
    assert len(trader.unresolved) == 1
    trader.cancel_all()
    assert trader.unresolved == []


def test_a_cancel_uses_all_of_its_time(trader: SpotWSClient, exchange: Simulator) -> None:
    """The first of two tries may take half of it; but when nothing could be sent, the rest counts, too."""
    trader.orders.wait_live()
    exchange.faults.refuse_connections = 10**6
    exchange.cut()
    eventually(lambda: trader.state == "RECONNECTING")
    back = threading.Timer(3.5, lambda: setattr(exchange.faults, "refuse_connections", 0))
    back.start()
    try:
        assert trader.cancel_all(timeout=6.5) == {"count": 0}
    finally:
        back.cancel()


def test_an_end_without_a_status_ends_the_order() -> None:
    """``order_status`` is not promised in every report; and what has ended does not come back."""
    orders = Orders()
    orders.take([], True, 0.0, 0.0)
    orders.begin(0.0)
    new = {"order_id": "OA", "exec_type": "new", "order_status": "new", "timestamp": "2026-01-05T10:00:00Z"}
    orders.take([new], False, 0.0, 1.0)
    orders.take([{"order_id": "OA", "exec_type": "canceled"}], False, 0.0, 2.0)
    assert orders.records["OA"].status == "canceled"
    orders.take([{**new, "exec_type": "status"}], False, 0.0, 3.0)
    assert orders.records["OA"].status == "canceled"


def test_a_fill_does_not_tell_when_its_order_was_placed() -> None:
    """Snapshots tell fills again, before the older report of the order itself."""
    orders = Orders()
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
    orders.take([fill, placed], True, 0.0, 0.0)

    assert orders.records["OA"].order().created == "2026-01-05T10:00:00Z"


def test_exact_whatever_the_callers_context() -> None:
    """A caller who computes with three digits reads all of ours."""
    orders = Orders()
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
    orders.take(fills, True, 0.0, 0.0)
    with localcontext() as context:
        context.prec = 3
        order = orders.records["OA"].order()

    assert (order.filled, order.fee) == (Decimal("0.37037034"), Decimal("61.62962457"))


def test_an_unreadable_report_is_a_hole(trader: SpotWSClient) -> None:
    """The table says that it is not live, instead of going on without it."""
    line: Any = trader._line("private")
    trader.orders.wait_live()
    with line.changed:
        expected = line.session.account.orders.expected
        frame = b'{"channel":"executions","type":"update","data":[null],"sequence":%d}' % expected
        line.session.receive(frame, line.session.proven_at)
        assert line.session.account.orders.state is BookState.RESYNCING
    line.pump()
    trader.orders.wait_live()


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b'{"method":"add_order","req_id":1,"result":{"order_id":"O"}}', None),
        (b'{"method":"add_order","req_id":1,"success":null,"result":{"order_id":"O"}}', None),
        (b'{"method":"add_order","req_id":1,"success":false}', "no reason given"),
        (b'{"method":"add_order","req_id":1,"error":"EOrder:x"}', "EOrder:x"),
    ],
)
def test_only_a_no_is_a_no(reply: bytes, error: Any) -> None:
    """A reply that does not say that it failed has not failed."""
    from kraken_sync.core.session.session.requests import Reply

    assert error_of(Reply(reply, decode_envelope(reply))) == error


def test_a_reply_that_names_no_order_is_unknown(
    trader: SpotWSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Success without an order id: nobody knows what was placed."""
    trader.orders.wait_live()
    monkeypatch.setattr(trader, "_decode", lambda frame: {"result": ["odd"]})
    with pytest.raises(OrderOutcomeUnknown, match="names no order") as caught:
        trader.add_order(**FAR)
    monkeypatch.undo()

    assert trader.reconcile(caught.value).outcome is Outcome.LIVE


def test_one_refusal_of_several_does_not_end_the_others() -> None:
    """Each order of a cancel has its own reply, also when the first says no."""
    flying = InFlight(lambda req_id: False)
    request = Request("cancel_order", 2)
    flying.add(request, 5, 0.0)
    reply: Any = object()
    flying.take(request, reply, "EOrder:Rate limit exceeded")
    assert not request.done
    flying.take(request, reply, "")
    assert request.done


def test_a_clock_that_has_jumped_is_read_anew() -> None:
    """This machine slept: a less sure reading that contradicts the old one wins."""
    clock = ServerClock()
    clock.heard(time_text(1000.0), 0.0, 0.001)
    clock.heard(time_text(5000.0), 100.0, 100.1)

    assert clock.read(100.1) == pytest.approx(5000.05, abs=0.1)


def test_numbers_of_other_libraries() -> None:
    """numpy's float64 is a float that writes itself differently; its integers are no ints."""

    class Float64(float):
        def __repr__(self) -> str:
            return f"np.float64({float(self)})"

    assert decimal_of("qty", Float64(0.1)) == Decimal("0.1")
    for absurd in ("1e3000000", "1e-3000000"):
        with pytest.raises(ValueError, match="beyond all measure"):
            decimal_of("qty", absurd)


def test_no_key_is_told_at_once() -> None:
    """Not after the timeout of the question."""
    client = SpotWSClient(ws_url="ws://127.0.0.1:1", timing=FAST)
    with pytest.raises(CredentialsMissing):
        client.reconcile("x")


def test_a_timed_out_reader_takes_nothing_from_others(trader: SpotWSClient, exchange: Simulator) -> None:
    """``wait_live()`` gives up; the executions that an order wanted stay wished for."""
    exchange.faults.ack_delay = 0.3
    line: Any = trader._private("a test", WAIT)
    line.keep_orders()
    with pytest.raises((ReplyTimeout, AccountNotLive)):
        trader.orders.wait_live(0.05)

    eventually(lambda: line.session.account.orders.live)
    assert exchange.requests("unsubscribe") == []


def test_the_switch_does_not_end_unheard(trader: SpotWSClient, exchange: Simulator) -> None:
    """A client that is closed under an armed switch says so, and so does the switch."""
    told: queue.Queue[str] = queue.Queue()
    switch = trader.dead_mans_switch(60, on_failure=told.put)
    switch.__enter__()
    trader.close()

    assert "the exchange cancels all orders in" in told.get(timeout=WAIT)
    assert switch.failure == "the client was closed"


def test_disarming_is_tried_in_maintenance() -> None:
    """The gate holds back what the exchange would not take; disarming is worth a try."""
    assert closed_for("cancel_all", {}, "maintenance")
    assert closed_for("cancel_all_orders_after", {}, "maintenance") is None


def test_the_exchanges_own_rate_is_taken_over_at_once(new_client: Callable[..., SpotWSClient]) -> None:
    """Before this client has sent any order: the tier, and the count of other clients."""
    with Simulator(seed=5, rate=0, tier="pro", key=CANARY_KEY, secret=CANARY_SECRET) as strict:
        options = {
            "ws_url": strict.ws_url,
            "auth_ws_url": strict.auth_ws_url,
            "rest_url": strict.rest_url,
            "nonce_file": None,
        }
        watching = new_client(key=CANARY_KEY, secret=CANARY_SECRET, **options)
        trading = new_client(key=CANARY_KEY, secret=CANARY_SECRET, **options)
        watching.executions(ratecounter=True)
        for _ in range(5):
            trading.cancel_order(order_id=trading.add_order(**FAR)["order_id"])

        eventually(lambda: watching.trading_rate.count(S) > 8)
        assert watching.trading_rate.tier.name == "pro"


def test_rest_that_lags_behind_does_not_open_an_order() -> None:
    """A fresh snapshot has it no more: it has ended, and is unknown until REST knows that, too."""
    orders = Orders()
    orders.take([{"order_id": "OA", "exec_type": "new", "order_status": "new"}], True, 0.0, 0.0)
    orders.take([], True, 1.0, 1.0)
    orders.settle("OA", {"status": "open", "vol": "1"}, 2.0, 2.0)
    assert orders.records["OA"].status == "unknown"
    assert list(orders.unsettled) == ["OA"]
    orders.settle("OA", {"status": "canceled", "vol": "1"}, 3.0, 3.0)
    assert orders.records["OA"].status == "canceled"


def test_numbers_of_balances() -> None:
    """Kraken mixes numbers and texts; what is neither is left out, and counted."""
    balances = Balances()
    items = [{"asset": "USD", "balance": "1.50"}, {"asset": "BTC", "balance": None}]
    balances.take(items, True, 0.0, 0.0)

    assert balances.totals == {"USD": Decimal("1.50")}
    assert balances.strange == 1


# -- ports -----------------------------------------------------------------------------------


def calling_back(new_client: Callable[..., SpotWSClient]) -> Tuple[SpotWSClient, queue.Queue[Any]]:
    """A client with a key, and what its callback is called with."""
    messages: queue.Queue[Any] = queue.Queue()
    return new_client(key=CANARY_KEY, secret=CANARY_SECRET, callback=messages.put), messages


def test_a_callback_counts_every_fill_once(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """Also over a reconnect, whose snapshot has the fills for our table; unless they are asked for."""
    client, messages = calling_back(new_client)
    client.subscribe({"channel": "executions"})
    bought = client.add_order(symbol=S, side="buy", order_type="market", order_qty="0.01")
    client.orders.wait_filled(bought["order_id"], WAIT)
    exchange.cut()
    counted, snapshots = [], 0
    while snapshots < 2:  # of the first connection, and of the second
        message = messages.get(timeout=WAIT)
        if message.get("channel") == "executions" and message["type"] != "gap":
            snapshots += message["type"] == "snapshot"
            counted += [item["exec_id"] for item in message["data"] if item.get("exec_type") == "trade"]

    assert counted
    assert len(counted) == len(set(counted))


def test_what_nobody_asked_for_is_shown_to_nobody(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """The executions behind an order, and the table of pairs; then they are asked for, and come."""
    client, messages = calling_back(new_client)
    placed = client.add_order(**FAR)
    client.orders.wait_open(placed["order_id"])
    assert client.active_private_subscriptions == []
    with pytest.raises(ValueError, match="NOPE"):
        client.subscribe({"channel": "ticker", "symbol": ["NOPE/USD"]})
    client.subscribe({"channel": "executions", "ratecounter": True}, req_id=4711)
    seen: List[Any] = []
    while not (seen and seen[-1].get("channel") == "executions"):
        seen.append(messages.get(timeout=WAIT))

    assert seen[-1]["type"] == "snapshot"
    channels = {(message.get("result") or {}).get("channel") for message in seen if "method" in message}
    assert "instrument" not in channels
    assert [m["req_id"] for m in seen if m.get("method") == "subscribe"] == [4711]
    assert client.orders[placed["order_id"]].status == "new"
    assert client.active_private_subscriptions[0]["ratecounter"] is True


def test_a_subclass_may_have_names_of_its_own(exchange: Simulator) -> None:
    """``self.orders = {}`` is what bots have; it hides ours, and breaks nothing."""

    class Bot(SpotWSClient):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.orders = {}  # type: ignore[assignment,misc]
            self.messages = self.rest = self.balance = None  # type: ignore[assignment,misc]

        def stats(self) -> Dict[str, Any]:
            return {}

    options = {"ws_url": exchange.ws_url, "auth_ws_url": exchange.auth_ws_url, "rest_url": exchange.rest_url}
    with Bot(key=CANARY_KEY, secret=CANARY_SECRET, timing=FAST, **options) as bot:
        placed = bot.add_order(**FAR)
        assert bot.cancel_order(order_id=[placed["order_id"]]) == [{"order_id": placed["order_id"]}]
        assert bot.orders == {}
        assert "CONNECTED" in repr(bot)
    assert bot.state == "CLOSED"
    assert bot.state is WSState.CLOSED


def test_the_book_client_keeps_what_is_subscribed(exchange: Simulator) -> None:
    """As with ``add_book``, and not after ``unsubscribe``."""
    told: queue.Queue[Any] = queue.Queue()
    with SpotOrderBookClient(
        callback=lambda pair, message: told.put(pair), ws_url=exchange.ws_url, timing=FAST
    ) as books:
        books.subscribe({"channel": "book", "depth": 10, "symbol": ["XBT/USD"]})
        assert told.get(timeout=WAIT) == S
        book = books.get("XBT/USD")
        assert book is not None
        assert book["valid"]
        books.unsubscribe({"channel": "book", "depth": 10, "symbol": ["XBT/USD"]})
        assert books.get("XBT/USD") is None


def test_no_key_given_is_no_key(exchange: Simulator) -> None:
    """``key=os.getenv(...)`` of what is not set."""
    with SpotWSClient(key=None, secret=None, ws_url=exchange.ws_url, timing=FAST) as client:
        assert client.active_public_subscriptions == []
    assert client.active_public_subscriptions == []


def test_a_coroutine_is_told(new_client: Callable[..., SpotWSClient]) -> None:
    """One ``async`` was left in: an error that is logged and counted, not silence."""

    async def handle(message: Any) -> None:
        """Never runs."""

    client = new_client(callback=lambda message: handle(message))
    client.start()
    eventually(lambda: client.stats()["callback_errors"])


def test_a_further_stream_of_trades_has_their_snapshot(client: SpotWSClient, exchange: Simulator) -> None:
    """The same cell, run twice."""
    first = client.trades(S, snapshot=True)
    earlier = [first.get(WAIT)["trade_id"] for _ in range(3)]
    second = client.trades(S, snapshot=True)

    assert [second.get(WAIT)["trade_id"] for _ in range(3)] == earlier
    with pytest.raises(queue.Empty):
        client.trades(S).get(0.2)
