"""What a test of a trading program makes happen in the simulator: each call is the same each time."""

from __future__ import annotations

import queue
import random
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Callable, List

import pytest
from conftest import FAR, FAST, WAIT, S, eventually
from helpers import background

from kraken_sync import KrakenError, OrderNotSent, OrderOutcomeUnknown, OrderRejected, SpotWSClient
from kraken_sync.simulator import Simulator

BUY = {"symbol": S, "side": "buy", "order_type": "limit", "order_qty": "0.5", "limit_price": 60000}


def best(client: SpotWSClient) -> Any:
    book = client.book(S)
    return book.best_bid.price, book.best_ask.price


def test_a_price(trader: SpotWSClient, exchange: Simulator) -> None:
    """Best prices are as given, what was run over is filled, the rest stays, and the market goes on there."""
    below, above = trader.add_order(**BUY), trader.add_order(**FAR)
    book = trader.book(S)
    trader.orders.wait_open(above["order_id"])
    exchange.set_price(S, 59000, "59000.1")
    book.wait_until(lambda state: state.best_ask.price == Decimal("59000.1"), WAIT)
    done = trader.orders.wait_done(below["order_id"], WAIT)

    assert best(trader) == (59000, Decimal("59000.1"))
    assert (done.status, done.average_price, done.filled) == ("filled", 60000, Decimal("0.5"))
    exchange.set_price(S, 95000, 95001)
    assert trader.orders.wait_done(above["order_id"], WAIT).status == "filled"
    exchange.step(500, [S])
    eventually(lambda: abs(best(trader)[0] - 95000) < 300)
    assert trader.stats()["mismatched"] == 0


def test_an_order_between_the_prices(trader: SpotWSClient, exchange: Simulator) -> None:
    """It is not run over, and so it is the best price."""
    order = trader.add_order(**{**BUY, "limit_price": 64251})
    trader.orders.wait_open(order["order_id"])
    exchange.set_price(S, 64000, 64300)
    trader.book(S).wait_until(lambda state: state.best_ask.price == 64300, WAIT)
    assert best(trader) == (64251, 64300)


def test_a_trade(trader: SpotWSClient, exchange: Simulator) -> None:
    """It is in the stream and triggers stops, and changes nothing in the book."""
    trades, before = trader.trades(S), best(trader)
    stop = trader.add_order(
        symbol=S, side="sell", order_type="stop-loss", order_qty="0.1", triggers={"price": 63000}
    )
    trader.orders.wait_open(stop["order_id"])
    exchange.trade(S, "sell", 62999, "0.25")
    printed = trades.get(WAIT)
    assert (printed["side"], printed["price"], printed["qty"]) == ("sell", 62999, 0.25)
    assert trader.orders.wait_done(stop["order_id"], WAIT).status == "filled"
    assert best(trader)[1] == before[1]


def test_a_fill(trader: SpotWSClient, exchange: Simulator) -> None:
    """This order, so much of it, whatever stands before it; by any of its names."""
    order = trader.add_order(**FAR)
    shown = trader.orders.wait_open(order["order_id"])
    exchange.fill(shown, "0.004")
    partly = trader.orders.wait_until(order["order_id"], lambda one: one.status == "partially_filled", WAIT)
    assert (partly.filled, partly.qty) == (Decimal("0.004"), Decimal("0.01"))
    with pytest.raises(ValueError, match=r"0\.00600000 of it"):
        exchange.fill(order, 1)
    exchange.fill(order["cl_ord_id"])
    assert trader.orders.wait_done(order["order_id"], WAIT).average_price == 90000
    with pytest.raises(ValueError, match="is filled"):
        exchange.fill(order)
    with pytest.raises(ValueError, match="no order 'mine'"):
        exchange.fill("mine")


def test_an_iceberg_is_filled_whole(trader: SpotWSClient, exchange: Simulator) -> None:
    """Slice by slice."""
    order = trader.add_order(**{**FAR, "order_type": "iceberg", "display_qty": "0.002"})
    exchange.fill(order)
    assert trader.orders.wait_done(order["order_id"], WAIT).filled == Decimal("0.01")


@pytest.mark.parametrize("via", ["websocket", "rest"])
def test_a_refusal(trader: SpotWSClient, exchange: Simulator, via: str) -> None:
    """In the words of one's choice, and nothing is carried out."""
    exchange.reject_next("EOrder:Orders limit exceeded", 2)
    for _ in range(2):
        with pytest.raises(OrderRejected, match="Orders limit exceeded"):
            trader.add_order(**FAR, via=via)
    assert exchange.orders() == []
    assert trader.add_order(**FAR, via=via)["order_id"]


def test_offline(trader: SpotWSClient, exchange: Simulator) -> None:
    """The kinds of connections that are named are down in the block; the others stay."""
    book = trader.book(S)
    with exchange.offline("private"):
        with pytest.raises(OrderNotSent):
            trader.add_order(**FAR, timeout=0.3)
        assert str(book.state) == "LIVE"
    with exchange.offline():
        eventually(lambda: str(book.state) != "LIVE")
    eventually(lambda: str(book.state) == "LIVE")
    trader.orders.wait_live(WAIT)
    assert trader.add_order(**FAR, timeout=WAIT)["order_id"]
    with pytest.raises(ValueError, match="futures"), exchange.offline("futures"):
        pass


def test_a_maintenance(trader: SpotWSClient, exchange: Simulator) -> None:
    """Everybody is told; afterwards it is over."""
    with exchange.maintenance():
        eventually(lambda: trader.stats()["private"]["system"] == "maintenance")
        with pytest.raises(OrderNotSent, match="maintenance"):
            trader.add_order(**FAR)
    eventually(lambda: trader.stats()["private"]["system"] == "online")
    assert trader.add_order(**FAR)["order_id"]


def test_what_cannot_be(exchange: Simulator) -> None:
    """It is said, with what can."""
    with pytest.raises(ValueError, match="no such pair: 'BTC/XYZ'. There are: BTC/USD"):
        exchange.set_price("BTC/XYZ", 1, 2)
    with pytest.raises(ValueError, match="must be less than ask"):
        exchange.set_price(S, 2, 1)
    with pytest.raises(ValueError, match=r"price 0\.01 is no price"):
        exchange.trade(S, "buy", 0.01, 1)
    with pytest.raises(ValueError, match="side must be"):
        exchange.trade(S, "bid", 1, 1)


# -- one seed is one run -----------------------------------------------------------------------


def transcript(seed: int, steps: int = 25) -> List[Any]:
    """What a bot sees and does on a day with losses, lost replies and refusals; and the ledger."""
    said: List[Any] = []
    rng = random.Random(seed)
    with Simulator(seed, rate=0, tier=None, start_time="2026-01-05T10:00:00Z") as sim:
        with sim.client(timing=FAST, parse_float=Decimal) as client:
            book, trades = client.book(S, 25), client.trades([S, "ETH/USD"])
            client.wait_ready(private=True)

            def call(method: Callable[..., Any], **params: Any) -> None:
                try:
                    said.append(method(**params, timeout=1))
                except KrakenError as error:
                    said.append((type(error).__name__, getattr(error, "error", "")))
                    if isinstance(error, OrderOutcomeUnknown):
                        said.append(client.reconcile(error).outcome)
                sim.settle()

            for number in range(steps):
                sim.step(rng.randrange(1, 40), [S, "ETH/USD"])
                state = book.snapshot()
                said.append((state.checksum, state.timestamp, state.best_bid, state.best_ask))
                choice = rng.random()
                name = f"order {number}"
                new = {"symbol": S, "side": "buy", "order_qty": "0.01", "cl_ord_id": name}
                if choice < 0.3:
                    call(client.add_order, **new, order_type="market")
                elif choice < 0.5:
                    call(client.add_order, **new, order_type="limit", limit_price=state.best_bid.price)
                elif choice < 0.6:
                    sim.cut()
                elif choice < 0.7:
                    sim.faults.drop_replies = 1
                    call(client.add_order, **new, order_type="limit", limit_price=60000)
                elif choice < 0.8:
                    sim.reject_next("EOrder:Insufficient funds")
                    call(client.add_order, **new, order_type="market")
                elif choice < 0.9:
                    with sim.offline(rng.choice(["private", "public"])):
                        call(client.add_order, **new, order_type="market")
                else:
                    call(client.cancel_all)
                    sim.run(rng.randrange(1, 400))
                said += [(one.cl_ord_id, one.status, one.filled) for one in client.orders.values()]
                while True:
                    try:
                        said.append(trades.get(0))
                    except queue.Empty:
                        break
            said += [sim.orders(), sim.balances(), dict(client.balance.stale), str(sim.now)]
    return said


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_one_seed_is_one_run(seed: int) -> None:
    """Every call, every outcome, every state that was seen, and the ledger."""
    first = transcript(seed, steps=12)
    assert len(first) > 60
    assert transcript(seed, steps=12) == first


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_seed_is_one_run_a_hundred_times() -> None:
    """Without an exception."""
    first = transcript(3)
    for _ in range(99):
        assert transcript(3) == first


def test_time_of_its_own() -> None:
    """It moves only when it is told to; what it ends, ends; clients count deadlines by it."""
    with Simulator(rate=0, start_time="2026-01-05T10:00:00Z") as sim, sim.client(timing=FAST) as client:
        expires = {"time_in_force": "gtd", "expire_time": "2026-01-05T10:30:00Z"}
        placed = client.add_order(**FAR, **expires)["order_id"]
        sim.run(1790)
        assert client.orders[placed].is_open
        sim.run(20)
        assert client.orders[placed].status == "expired"
        assert client.orders[placed].updated.startswith("2026-01-05T10:30:")
        assert client.add_order(**FAR, deadline=2)["order_id"]
        client.cancel_all_orders_after(timeout=60)
        sim.run(61)
        assert client.orders.open == {}
        assert str(sim.now).startswith("2026-01-05 10:31:")
        candles = client.rest.ohlc(S)
        assert candles
    for wrong in ("yesterday", datetime(2026, 1, 5), object()):
        with pytest.raises(ValueError, match="start_time"):
            Simulator(start_time=wrong)
    with Simulator(start_time=datetime(2026, 1, 5, tzinfo=timezone.utc)) as sim:
        assert sim.now == datetime(2026, 1, 5, tzinfo=timezone.utc)
        with pytest.raises(ValueError, match="seconds"):
            sim.run(-1)


def test_a_minute_is_a_minute() -> None:
    """To the microsecond: what ends in a minute has ended, and does not trade after its end."""
    with Simulator(rate=0, start_time="2026-01-05T10:00:00Z") as sim, sim.client(timing=FAST) as client:
        placed = client.add_order(**FAR, time_in_force="gtd", expire_time="2026-01-05T10:01:00Z")["order_id"]
        sim.run(60)
        assert str(sim.now) == "2026-01-05 10:01:00+00:00"
        assert client.orders[placed].status == "expired"
        client.add_order(**FAR)
        client.cancel_all_orders_after(timeout=10)
        sim.run(10)
        assert client.orders.open == {}
        with pytest.raises(ValueError, match="events"):
            sim.step(-1)


def test_blocks_within_blocks() -> None:
    """Each ends what it has begun."""
    with Simulator(rate=0, start_time="2026-01-05T10:00:00Z") as sim, sim.client(timing=FAST) as client:
        book = client.book(S)
        with sim.maintenance("cancel_only"):
            with sim.maintenance():
                pass
            assert client.stats()["system"] == "cancel_only"
        assert client.stats()["system"] == "online"
        one, two = sim.offline("private"), sim.offline("public")
        one.__enter__()
        assert str(book.state) == "LIVE"
        two.__enter__()
        one.__exit__(None, None, None)
        assert str(book.state) == "STALE"
        two.__exit__(None, None, None)
        assert str(book.state) == "LIVE"
        with sim.offline("private"):
            sim.cut()
            assert client._ks_runtime.connection("public").open


def test_requests_on_their_way(trader: SpotWSClient, exchange: Simulator) -> None:
    """settle() waits for them."""
    trader.orders.wait_live(WAIT)
    exchange.faults.request_delay = 0.5
    calling = background(trader.add_order, **FAR)
    eventually(lambda: exchange._sockets._arriving)
    exchange.settle()
    assert len(exchange.orders()) == 1
    calling["thread"].join(WAIT)
