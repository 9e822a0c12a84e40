"""The simulated exchange's private side: it must be right, since it is the oracle of the others."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any, Dict, List

import pytest
from conftest import WAIT, S, some_slow
from facts import fact

from kraken_sync import OrderRejected, SpotWSClient
from kraken_sync.simulator import Simulator
from kraken_sync.simulator.credentials import Credentials
from kraken_sync.simulator.exchange import Exchange, Peer
from kraken_sync.simulator.faults import Faults
from kraken_sync.simulator.level3 import OrderView
from kraken_sync.simulator.rate_counter import RateCounters, age_cost

START = 1_700_000_000.0


class Desk:
    """A private connection, without a socket."""

    def __init__(self, seed: int = 1, tier: Any = None) -> None:
        self.credentials = Credentials(seed)
        self.credentials.add("key", "c2VjcmV0")
        self.exchange = Exchange(seed, START, Faults(), self.credentials, tier)
        self.now = START
        self.said: List[Dict[str, Any]] = []
        self.peer: Peer = self.exchange.connect("private", self._hear, START)
        self.token = self.credentials.issue(self.credentials.keys["key"], START).text
        self.ask("subscribe", channel="executions", snap_trades=True)
        self.ask("subscribe", channel="balances")

    def _hear(self, text: str, delay: float) -> None:
        self.said.append(json.loads(text, parse_float=Decimal))

    def ask(self, method: str, **params: Any) -> Dict[str, Any]:
        """The (first) reply to a request."""
        begin = len(self.said)
        message = {"method": method, "params": {"token": self.token, **params}, "req_id": 1}
        self.exchange.receive(self.peer, json.dumps(message, default=float), self.now)
        return next(one for one in self.said[begin:] if one.get("method") == method)

    def place(self, **params: Any) -> str:
        """Place an order that is taken."""
        order = {"symbol": S, "order_type": "limit", "side": "buy", "order_qty": 0.1, **params}
        reply = self.ask("add_order", **order)
        assert reply["success"], reply
        order_id: str = reply["result"]["order_id"]
        return order_id

    def later(self, seconds: float, events: int = 0) -> None:
        """Time passes, and so much happens in the market."""
        self.now += seconds
        self.exchange.happen(events, self.now, [S])
        self.exchange.publish(self.now)

    def told(self, order_id: str) -> List[str]:
        """What was reported of an order."""
        return [
            item["exec_type"]
            for one in self.said
            if one.get("channel") == "executions"
            for item in one["data"]
            if item["order_id"] == order_id
        ]

    def order(self, order_id: str) -> Any:
        return self.exchange.trading.account.orders[order_id]

    @property
    def best(self) -> Any:
        """Best bid and ask as decimals."""
        bid, ask = self.exchange.markets[S].best()
        return Decimal(bid[0]).scaleb(-1), Decimal(ask[0]).scaleb(-1)


def check(desk: Desk) -> None:
    """What must be true at any time."""
    account = desk.exchange.trading.account
    sums: Dict[str, Decimal] = {}
    for entry in account.entries:
        sums[entry.asset] = sums.get(entry.asset, Decimal(0)) + entry.amount - entry.fee
    for asset, total in account.balances.items():
        assert total >= 0, (asset, total)
    for order in account.orders.values():
        assert 0 <= order.filled <= order.qty
        assert order.status != "filled" or order.filled == order.qty
    for market in desk.exchange.markets.values():
        bid, ask = market.best()
        assert not (bid[0] and ask[0]) or bid[0] < ask[0], "crossed"
        for side in market.book.sides.values():
            for rank in range(len(side)):
                price = side.price_at(rank)
                queue = side.queue(price)
                assert sum(one.left for one in queue) == side.total(price)
                for one in queue:
                    assert one.left > 0
                    assert one.owner is None or one.owner.open
    for channel in ("executions", "balances"):
        numbers = [one["sequence"] for one in desk.said if one.get("channel") == channel]
        assert numbers == list(range(1, len(numbers) + 1))


def test_the_life_of_a_limit_order() -> None:
    """Reports in order, sparse where they were recorded so."""
    desk = Desk()
    order_id = desk.place(limit_price=60000.0, cl_ord_id="mine")
    assert desk.told(order_id) == ["pending_new", "new"]
    assert desk.ask("amend_order", cl_ord_id="mine", order_qty=0.2)["result"]["cl_ord_id"] == "mine"
    assert desk.ask("cancel_order", cl_ord_id=["mine"])["result"] == {"cl_ord_id": "mine"}
    assert desk.told(order_id) == ["pending_new", "new", "amended", "canceled"]
    assert desk.ask("cancel_order", cl_ord_id=["mine"])["error"] == "EOrder:Invalid order"
    check(desk)


def test_a_taker_and_its_ledger() -> None:
    """Fees, two ledger entries with one reference, a filled report of its own."""
    desk = Desk()
    order_id = desk.place(order_type="market", order_qty=1)
    assert desk.told(order_id)[-1] == "filled"
    trades = [
        item
        for one in desk.said
        if one.get("channel") == "executions"
        for item in one["data"]
        if "exec_id" in item
    ]
    assert {item["order_status"] for item in trades} == {"partially_filled"}
    entries = desk.exchange.trading.account.entries
    assert [entry.ref_id for entry in entries[:2]] == [trades[0]["exec_id"]] * 2
    order = desk.order(order_id)
    assert order.fee == (order.cost * Decimal("0.004")).quantize(order.fee)
    check(desk)


def test_time_and_price_priority() -> None:
    """An own order is served after those that were there before it, at its price and better."""
    desk = Desk()
    bid, _ = desk.best
    book = desk.exchange.markets[S].book
    ahead = book.bids.total(book.bids.price_at(0))
    order_id = desk.place(limit_price=float(bid), order_qty=1)
    book.take("sell", ahead)
    assert desk.order(order_id).filled == 0
    book.take("sell", 10_000_000)
    assert desk.order(order_id).filled == 10_000_000
    desk.later(0)
    check(desk)


def test_amends_keep_or_lose_the_place() -> None:
    """A lower quantity keeps it, a higher one or another price loses it."""
    desk = Desk()
    bid, _ = desk.best
    order_id = desk.place(limit_price=float(bid) + 0.1, order_qty=1)
    side = desk.exchange.markets[S].book.bids
    second = desk.exchange.markets[S].book.rest("buy", side.price_at(0), 5)
    desk.ask("amend_order", order_id=order_id, order_qty=0.5)
    assert side.queue(side.price_at(0))[0].owner is desk.order(order_id)
    desk.ask("amend_order", order_id=order_id, order_qty=0.8)
    assert side.queue(side.price_at(0))[0] is second
    check(desk)


@pytest.mark.parametrize(
    ("params", "status", "reason"),
    [
        ({"limit_price": 70000.0, "post_only": True}, "canceled", "Post only order"),
        ({"limit_price": 60000.0, "time_in_force": "ioc"}, "canceled", "Immediate or cancel"),
    ],
)
def test_orders_that_end_at_once(params: Dict[str, Any], status: str, reason: str) -> None:
    """Taken, and canceled by the engine."""
    desk = Desk()
    order = desk.order(desk.place(**params))
    assert (order.status, order.reason) == (status, reason)
    check(desk)


@pytest.mark.parametrize(
    ("rule", "left"),
    [("cancel_newest", (True, False)), ("cancel_oldest", (False, True)), ("cancel_both", (False, False))],
)
def test_self_trade_prevention(rule: str, left: Any) -> None:
    """An own order is never traded with."""
    desk = Desk()
    bid, ask = desk.best
    price = float(ask - Decimal("0.1")) if ask - bid > Decimal("0.1") else float(bid) + 0.1
    first = desk.place(side="sell", limit_price=price)
    if not desk.order(first).open:
        pytest.skip("no room inside the spread")
    second = desk.place(limit_price=price, stp_type=rule)
    assert (desk.order(first).open, desk.order(second).open) == left
    assert desk.order(first).trades == []
    check(desk)


@pytest.mark.parametrize(
    ("order_type", "side", "move"),
    [("stop-loss", "sell", "sell"), ("take-profit", "sell", "buy"), ("trailing-stop", "sell", "sell")],
)
def test_triggers(order_type: str, side: str, move: str) -> None:
    """Untriggered until the last trade reaches the price; then a market order."""
    desk = Desk()
    market = desk.exchange.markets[S]
    last = Decimal(market.tape.last).scaleb(-1)
    price = {"stop-loss": last - 30, "take-profit": last + 30, "trailing-stop": Decimal(30)}[order_type]
    triggers = {"price": float(price), **({"price_type": "quote"} if order_type == "trailing-stop" else {})}
    order_id = desk.place(order_type=order_type, side=side, triggers=triggers)
    desk.later(1)
    assert desk.order(order_id).status == "new"
    reach = market.book.sides["buy" if move == "sell" else "sell"]
    for _ in range(400):
        market.book.take(move, reach.total(reach.price_at(0)))
        if abs(market.tape.last - int(last * 10)) > 320:
            break
    desk.later(1)
    assert "status" in desk.told(order_id)
    assert desk.order(order_id).status == "filled"
    check(desk)


def test_conditional_close_expiry_and_the_switch() -> None:
    """A fill creates the closing order; GTD expires; the dead man's switch cancels all."""
    desk = Desk()
    close = {"order_type": "limit", "limit_price": 90000.0}
    parent = desk.place(order_type="market", conditional=close)
    desk.later(1)
    children = [one for one in desk.exchange.trading.account.orders.values() if one.parent == parent]
    assert sum(one.qty for one in children) == desk.order(parent).filled
    gtd = desk.place(limit_price=60000.0, time_in_force="gtd", expire_time="2023-11-14T22:15:00Z")
    desk.later(200)
    assert desk.order(gtd).status == "expired"
    reply = desk.ask("cancel_all_orders_after", timeout=60)
    assert set(reply["result"]) == {"currentTime", "triggerTime"}
    desk.later(61)
    assert {one.reason for one in children} == {"CancelAllOrdersAfter Timeout"}
    assert set(desk.ask("cancel_all_orders_after", timeout=0)["result"]) == {"currentTime"}
    check(desk)


def test_refusals() -> None:
    """In the exchange's words."""
    desk = Desk(tier="starter")
    base = {"symbol": S, "order_type": "limit", "side": "buy", "order_qty": 0.1, "limit_price": 60000.0}
    for change, error in (
        ({"symbol": "XBT/USD"}, "EQuery:Unknown asset pair"),
        ({"limit_price": 60000.01}, "EOrder:Tick size check failed"),
        ({"order_qty": 0.00001}, "EOrder:Order minimum not met"),
        ({"order_qty": 0.001, "limit_price": 1.0}, "EOrder:Cost minimum not met"),
        ({"order_qty": 1000}, "EOrder:Insufficient funds"),
        ({"limit_price": "60000"}, "Limit_price field must be a number_float"),
        ({"colour": 1}, "Unsupported field: 'colour' for the given msg type: add_order"),
        ({"deadline": "2023-11-14T22:00:00.000Z"}, "EService:Deadline elapsed"),
        ({"token": None}, "Token(s) not found"),
        ({"token": "x" * 43}, "ESession:Invalid session"),
        ({"cl_ord_id": "a", "order_userref": 1}, "EGeneral:Invalid arguments:cl_ord_id and order_userref"),
    ):
        assert desk.ask("add_order", **{**base, **change})["error"].startswith(error), change
    for _ in range(60):
        reply = desk.ask("add_order", **base, order_userref=1)
    assert reply["error"] == "EOrder:Rate limit exceeded"
    check(desk)


@fact("tokens")
def test_tokens_live_as_long_as_they_are_used() -> None:
    """15 minutes to the first use; for ever while a subscription keeps them."""
    desk = Desk()
    spare = desk.credentials.issue(desk.credentials.keys["key"], START).text
    desk.now += 901
    assert desk.ask("cancel_all")["success"]
    assert desk.ask("cancel_all", token=spare)["error"] == "ESession:Invalid session"
    desk.exchange.disconnect(desk.peer)
    assert desk.ask("cancel_all")["error"] == "ESession:Invalid session"


def test_the_rate_counter() -> None:
    """Decays, is kept per pair, and refuses above the threshold."""
    counters = RateCounters("intermediate")
    for _ in range(13):
        counters.charge(S, 1 + age_cost("cancel", 2), 0.0)
    assert counters.value(S, 0.0) == 117
    assert not counters.charge(S, 9, 0.0)
    assert counters.charge("ETH/USD", 9, 0.0)
    assert counters.value(S, 60.0) == 0


def test_level3_verifies_naively() -> None:
    """From the texts alone: every checksum of thousands of order events, with queues in their order."""
    desk = Desk(seed=3)
    view: OrderView = desk.exchange.markets[S].order_view(10)
    pair = desk.exchange.markets[S].pair
    sides: Dict[str, Dict[str, List[Any]]] = {"bids": {}, "asks": {}}
    import zlib

    def text(price: str, qty: str) -> str:
        return price.replace(".", "").lstrip("0") + qty.replace(".", "").lstrip("0")

    def apply(message: str) -> int:
        data = json.loads(message, parse_float=str)["data"][0]
        for name, side in sides.items():
            for order in data[name]:
                price, event = order["limit_price"], order.get("event", "add")
                queue = side.setdefault(price, [])
                if event == "add":
                    queue.append([order["order_id"], order["order_qty"]])
                else:
                    (found,) = [one for one in queue if one[0] == order["order_id"]]
                    if event == "delete":
                        queue.remove(found)
                    else:
                        found[1] = order["order_qty"]
            kept = sorted((p for p in side if side[p]), key=float, reverse=name == "bids")[:10]
            for price in [p for p in side if p not in kept]:
                del side[price]
        crc = ""
        for name in ("asks", "bids"):
            for price in sorted(sides[name], key=float, reverse=name == "bids"):
                crc += "".join(text(price, qty) for _, qty in sides[name][price])
        assert zlib.crc32(crc.encode()) == data["checksum"]
        return len(data["bids"]) + len(data["asks"])

    events = apply(view.snapshot(desk.now))
    for _ in range(400):
        desk.exchange.happen(8, desk.now, [S])
        events += sum(apply(message) for message in view.take(desk.now))
    assert events > 1000
    assert pair.symbol == S


@pytest.mark.parametrize("seed", some_slow(12, (0, 5)))
def test_random_requests_break_nothing(seed: int) -> None:
    """All methods with sane and insane parameters, while the market goes on: the invariants hold."""
    rng = random.Random(seed)
    desk = Desk(seed)
    ids: List[str] = ["OAAAAA-AAAAA-AAAAAA"]
    odd: List[Any] = [None, "", "x", -1, 0, 1e25, 1e-25, [], {}, [[1]], True, "NaN", 2**70, {"price": None}]

    def order() -> Dict[str, Any]:
        bid, ask = desk.best
        price = float(round(rng.choice([bid, ask]) + rng.randrange(-300, 300), 1))
        found: Dict[str, Any] = {
            "order_type": rng.choice(
                ["limit", "limit", "limit", "market", "iceberg", "stop-loss", "trailing-stop"]
            ),
            "side": rng.choice(["buy", "sell"]),
            "order_qty": rng.choice([0.001, 0.5, 2, 9]),
        }
        if found["order_type"] in ("limit", "iceberg"):
            found["limit_price"] = price
        if found["order_type"] == "iceberg":
            found["display_qty"] = found["order_qty"] / 10
        if found["order_type"] == "stop-loss":
            found["triggers"] = {"price": rng.choice([-1.0, 1.0]), "price_type": "pct"}
        if found["order_type"] == "trailing-stop":
            found["triggers"] = {"price": 20.0, "price_type": "quote"}
        for name, value in (
            ("post_only", True),
            ("time_in_force", "ioc"),
            ("stp_type", rng.choice(["cancel_oldest", "cancel_both"])),
            ("order_userref", rng.randrange(3)),
            ("conditional", {"order_type": "limit", "limit_price": price}),
        ):
            if rng.random() < 0.15:
                found[name] = value
        return found

    def params_of(method: str) -> Dict[str, Any]:
        made: Dict[str, Any] = {
            "add_order": lambda: {"symbol": S, **order()},
            "amend_order": lambda: {"order_id": rng.choice(ids), "order_qty": rng.choice([0.01, 1, 3])},
            "edit_order": lambda: {"order_id": rng.choice(ids), "symbol": S, "order_qty": 0.3},
            "cancel_order": lambda: {"order_id": rng.sample(ids, 1), "order_userref": [1] * rng.randrange(2)},
            "batch_add": lambda: {"symbol": S, "orders": [order() for _ in range(rng.randrange(2, 5))]},
            "batch_cancel": lambda: {"orders": rng.sample(ids, min(2, len(ids)))},
            "cancel_all": dict,
            "cancel_all_orders_after": lambda: {"timeout": rng.randrange(3)},
        }[method]()
        return made

    for _ in range(250):
        method = rng.choice(
            ["add_order"] * 6
            + ["amend_order", "edit_order", "cancel_order", "cancel_order", "batch_add", "batch_cancel"]
            + (["cancel_all", "cancel_all_orders_after"] if rng.random() < 0.2 else [])
        )
        params = params_of(method)
        if rng.random() < 0.2:
            params[rng.choice([*params, "limit_price", "deadline", "display_qty", "symbol"])] = rng.choice(
                odd
            )
        text = json.dumps({"method": method, "params": {"token": desk.token, **params}, "req_id": 1})
        desk.exchange.receive(desk.peer, text, desk.now)
        ids[:] = list(desk.exchange.trading.account.orders)[-30:] or ids
        desk.later(rng.random(), rng.randrange(6))
        check(desk)
    assert len(desk.exchange.trading.account.orders) > 20


def test_money_that_is_reserved(trader: SpotWSClient, exchange: Simulator) -> None:
    """A market order stops where it would use what another order holds."""
    held = trader.add_order(symbol=S, side="buy", order_type="limit", limit_price=60000, order_qty=3)

    def thin() -> None:
        """The best ask is small, and the next is far away."""
        book = exchange.exchange.markets[S].book
        best, *others = [price for price, _ in book.asks.top(1000)]
        for price in others:
            if price < best + 4200:
                for one in list(book.asks.queue(price)):
                    book.cancel(one)
        book.reduce(book.asks.queue(best)[0], 1_000_000)

    exchange.call(thin)
    taken = trader.add_order(symbol=S, side="buy", order_type="market", order_qty="1.0739")
    done = trader.orders.wait_done(taken["order_id"], WAIT)
    assert (done.status, done.filled > 1) == ("canceled", True)
    exchange.set_price(S, 59990, 59999)
    if exchange.orders()[0]["status"] != "filled":
        exchange.fill(held)
    trader.orders.wait_done(held["order_id"], WAIT)

    assert exchange.balances()["USD"] >= 0


def test_fill_or_kill_does_not_count_on_itself(trader: SpotWSClient, exchange: Simulator) -> None:
    """The account's own orders are not traded with; and it is for limit orders only."""
    ask = trader.book(S).best_ask
    mine = {"symbol": S, "order_type": "limit", "limit_price": ask.price}
    trader.add_order(**mine, side="sell", order_qty=1)
    killed = trader.add_order(**mine, side="buy", order_qty=ask.qty + Decimal("0.2"), time_in_force="fok")
    done = trader.orders.wait_done(killed["order_id"], WAIT)
    assert (done.status, done.filled) == ("canceled", 0)
    market = {"order_type": "market", "side": "buy", "order_qty": 0.01, "symbol": S, "time_in_force": "FOK"}
    with pytest.raises(OrderRejected, match="time_in_force"):
        trader.send_message({"method": "add_order", "params": market})
