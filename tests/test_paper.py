"""Paper trading: real prices, an account of its own, and no way to the real one."""

from __future__ import annotations

import gc
import json
import os
import random
import time
import weakref
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAST, WAIT, S, eventually, within
from helpers import background

from kraken_sync import KrakenError, OrderNotSent, OrderRejected, UnknownSymbol
from kraken_sync.paper import PaperClient
from kraken_sync.paper.market import PaperMarket, RealMarket
from kraken_sync.recording import Recorder
from kraken_sync.replay import Replay
from kraken_sync.simulator import Simulator
from kraken_sync.simulator.instruments import INSTRUMENTS
from kraken_sync.simulator.matching import BUY, SELL


@pytest.fixture
def new_paper(exchange: Simulator) -> Iterator[Callable[..., PaperClient]]:
    """Makes paper clients of ``exchange``'s market data; the exchange must never see more than that."""
    made: List[PaperClient] = []

    def make(balances: Any = None, **options: Any) -> PaperClient:
        options = {"ws_url": exchange.ws_url, "public_rest_url": exchange.rest_url, "timing": FAST, **options}
        made.append(PaperClient(balances or {"USD": 100_000, "BTC": 2}, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()
        assert client._ks_exchange.errors == []
    methods = {str(one.get("method")) for one in exchange.requests()}
    assert methods <= {"subscribe", "unsubscribe", "ping"}
    assert not any('"token"' in json.dumps(one, default=str) for one in exchange.requests())
    assert exchange.orders() == []


@pytest.fixture
def paper(new_paper: Callable[..., PaperClient]) -> PaperClient:
    """A started paper client."""
    client = new_paper()
    client.start()
    return client


def order(client: PaperClient, side: str, qty: str, price: Any = None, **more: Any) -> Any:
    kind = {"order_type": "market"} if price is None else {"order_type": "limit", "limit_price": price}
    return client.add_order(**{"symbol": S, "side": side, "order_qty": qty, **kind, **more})


def still_open(client: PaperClient) -> Any:
    """Let the paper exchange look at all orders, and return the identifiers of those that are then open."""
    exchange = client._ks_exchange
    exchange._sockets.call(lambda: exchange._exchange.publish(time.time()))
    return client.request("POST", "/0/private/OpenOrders")["open"].keys()


def test_a_market_order_takes_the_real_book(paper: PaperClient, exchange: Simulator) -> None:
    """Level by level, at the real prices; what was taken is used up until the level is gone."""
    book = paper.book(S, 100)
    asks = book.asks
    qty = asks[0].qty + asks[1].qty / 2
    qty = qty.quantize(Decimal("1e-8"))
    done = paper.orders.wait_done(order(paper, "buy", str(qty))["order_id"], WAIT)
    cost = asks[0].price * asks[0].qty + asks[1].price * (qty - asks[0].qty)

    assert (done.status, done.filled) == ("filled", qty)
    assert abs(done.average_price - cost / qty) <= Decimal("0.1")
    assert paper.balance["BTC"] == 2 + qty
    exchange.step(1, "ETH/USD")  # the real level is still there, but not for this account
    again = paper.orders.wait_done(order(paper, "buy", "0.0001")["order_id"], WAIT)
    assert again.average_price == asks[1].price
    assert book.asks == asks  # nothing of it has moved the market


def test_a_limit_order_is_filled_when_the_market_comes(paper: PaperClient, exchange: Simulator) -> None:
    """At its own price, by so much as stands there."""
    placed = order(paper, "buy", "0.2", 60000)
    assert paper.orders.wait_open(placed["order_id"]).filled == 0
    exchange.set_price(S, 59990, 59999)  # 0.45 BTC stand there
    done = paper.orders.wait_done(placed["order_id"], WAIT)

    assert (done.status, done.average_price, done.fee) == ("filled", 60000, Decimal("30.00000"))


def test_the_place_in_the_queue(paper: PaperClient, exchange: Simulator) -> None:
    """Trades at the price of an order fill what stood before it first; trades beyond it fill it at once."""
    exchange.set_price(S, 60000, 60010)  # 0.45 BTC bid
    eventually(lambda: paper.book(S).best_bid.price == 60000)
    ahead = paper.book(S).best_bid.qty
    placed = order(paper, "buy", "0.1", 60000)["order_id"]
    paper.orders.wait_open(placed)
    exchange.trade(S, "sell", 60000, ahead)
    exchange.trade(S, "sell", 60000, "0.03")
    eventually(lambda: paper.orders[placed].filled)
    assert paper.orders[placed].filled == Decimal("0.03")
    exchange.trade(S, "sell", 59999, "5")

    assert paper.orders.wait_done(placed, WAIT).average_price == 60000


def test_a_stop_is_triggered_by_real_trades(paper: PaperClient, exchange: Simulator) -> None:
    """And then takes the real book."""
    placed = paper.add_order(
        symbol=S, side="sell", order_type="stop-loss", order_qty="0.1", triggers={"price": 60000}
    )
    paper.orders.wait_open(placed["order_id"])
    exchange.trade(S, "sell", 59999, "0.01")
    done = paper.orders.wait_done(placed["order_id"], WAIT)

    assert done.status == "filled"
    assert abs(done.average_price - paper.book(S).best_bid.price) < 100


def test_no_book_of_single_orders(paper: PaperClient) -> None:
    """The paper exchange does not know the real orders, and does not make any up."""
    order(paper, "buy", "0.01")
    with pytest.raises(KrakenError, match="a PaperClient has no level3"):
        paper.level3_book(S)
    with pytest.raises(KrakenError, match="a PaperClient has no level3"):
        paper.subscribe({"channel": "level3", "symbol": [S]})


def test_no_orders_without_a_market(paper: PaperClient, exchange: Simulator) -> None:
    """While the real book is not live nothing is taken or filled; afterwards everything goes on."""
    resting = order(paper, "sell", "0.1", 90000)["order_id"]
    with exchange.offline("public"):
        eventually(lambda: str(paper._ks_follower._books[S].state) != "LIVE")

        def refused() -> bool:
            try:
                order(paper, "buy", "0.0001")
            except OrderRejected as error:
                return "cancel_only" in str(error)
            return False

        eventually(refused)
        exchange.set_price(S, 90001, 90002)
        assert resting in still_open(paper)
    eventually(lambda: not refused())

    assert paper.orders.wait_done(resting, WAIT).average_price == 90000


def test_everything_of_a_client(paper: PaperClient, exchange: Simulator) -> None:
    """Amends, batches, cancels, funds, REST: as for a real account."""
    with pytest.raises(OrderRejected, match="Insufficient funds"):
        order(paper, "buy", "100")
    one, two = paper.batch_add(
        symbol=S,
        orders=[
            {"order_type": "limit", "side": "sell", "order_qty": "0.1", "limit_price": price}
            for price in (90000, 91000)
        ],
    )
    paper.amend_order(order_id=one["order_id"], limit_price=90500)
    eventually(lambda: paper.orders[one["order_id"]].limit_price == 90500)
    assert len(paper.request("POST", "/0/private/OpenOrders")["open"]) == 2
    assert paper.request("GET", "/0/public/Time", auth=False)["unixtime"] > 0
    assert paper.rest.ohlc(S)
    assert paper.cancel_order(order_id=two["order_id"], via="rest")
    message = {"order_type": "market", "side": "buy", "order_qty": 0.001, "symbol": "ETH/BTC"}
    with pytest.raises(OrderRejected, match="minimum"):
        paper.send_message({"method": "add_order", "params": {**message, "order_qty": 0.00001}})
    assert paper.send_message({"method": "add_order", "params": message})["success"]
    assert paper.cancel_all() == {"count": 1}
    with pytest.raises(KrakenError):
        paper.request("POST", "/0/private/Withdraw", {"asset": "XBT", "amount": 1})
    with pytest.raises(UnknownSymbol):
        order(paper, "buy", "0.1", symbol="NOSUCH/USD")


def test_no_way_to_a_real_account(
    new_paper: Callable[..., PaperClient], exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the environment holds: no key of it is used, and no private address can be given."""
    monkeypatch.setenv("KRAKEN_API_KEY", CANARY_KEY)
    monkeypatch.setenv("KRAKEN_API_SECRET", CANARY_SECRET)
    with new_paper() as client:
        assert order(client, "buy", "0.001")["order_id"]
        assert client.balance["USD"] < 100_000
        for one in (client, client._ks_source):
            assert one._ks_runtime.rest.credentials.key.reveal() == "PAPER-KEY"
            for kind, endpoint in one._ks_runtime.endpoints.items():
                assert kind == "public" or endpoint.host == "127.0.0.1"
        assert client._ks_source._ks_runtime.connection("private") is None
    with pytest.raises(ValueError, match="no certificates"):  # it is a setting of the public connection
        PaperClient(ca_file="/nosuch.pem")
    for wrong in ("key", "secret", "auth_ws_url", "rest_url", "level3_ws_url", "api_key", "otp", "endpoint"):
        with pytest.raises(TypeError, match="no way to a real account"):
            PaperClient(**{wrong: "x"})
    with pytest.raises(ValueError, match="takes orders"):
        PaperClient(ws_url="wss://ws-auth.kraken.com")
    with pytest.raises(ValueError, match="takes orders"):
        PaperClient(ws_url="wss://colo-ws-auth.kraken.com")
    for balances in (
        {"USD": "much"},
        {"USD": -1},
        {1: 1},
        {"USD": float("nan")},
        {"XBT": 1},
        {"USD": "1e400"},
        [],
    ):
        with pytest.raises(ValueError, match="balances are like"):
            PaperClient(balances)
    with pytest.raises(TypeError):
        PaperClient(nosuch=1)


def test_closed_and_started_again(new_paper: Callable[..., PaperClient], exchange: Simulator) -> None:
    """The account stays; its orders do, too. A client that is dropped takes its threads with it."""
    client = new_paper()
    with client:
        placed = order(client, "sell", "0.3", 80000)["order_id"]
        client.orders.wait_open(placed)
    exchange.set_price(S, 79990, 79999)
    with client:
        assert client.orders.wait_open(placed).is_open
        order(client, "buy", "0.001", symbol="ETH/USD")
        other = order(client, "buy", "0.001")["order_id"]  # the pair is followed again
        assert client.orders.wait_done(other, WAIT).average_price == Decimal("79999.0")
        exchange.set_price(S, 80005, 80010)
        assert client.orders.wait_done(placed, WAIT).average_price == 80000
    dropped = PaperClient(ws_url=exchange.ws_url, public_rest_url=exchange.rest_url, timing=FAST)
    known = weakref.ref(dropped._ks_exchange._sockets)
    assert known().running
    sockets = dropped._ks_exchange._sockets
    del dropped
    gc.collect()
    eventually(lambda: not sockets.running)


def test_on_a_recorded_day(exchange: Simulator, tmp_path: Path) -> None:
    """A replay is a market, too: a strategy trades on yesterday's prices."""
    with exchange.client(timing=FAST) as client, Recorder(client, tmp_path / "day.jsonl"):
        client.book(S, 100)
        client.trades(S)
        client.subscribe({"channel": "instrument"})
        for _ in range(50):
            exchange.step(20, S)
        exchange.set_price(S, 70000, 70001)
        eventually(lambda: client.book(S, 100).best_bid.price == 70000)
    with Replay(tmp_path / "day.jsonl", speed="max", paused=True) as day:
        with PaperClient({"BTC": 1}, ws_url=day.ws_url, public_rest_url=day.rest_url, timing=FAST) as paper:
            placed = order(paper, "sell", "0.3", 69000)["order_id"]
            assert paper.orders.wait_open(placed).filled == 0
            day.play()
            assert paper.orders.wait_done(placed, WAIT).average_price == 69000


@pytest.mark.parametrize("seed", range(8))
def test_the_mirror(seed: int) -> None:
    """After any walk, strangers show the real book less what was taken, and nothing crosses."""
    rng = random.Random(seed)
    market = RealMarket(INSTRUMENTS[0], None, 0, 0.0)
    market.on_own_fill = lambda fill, trade: fills.append((fill.maker, fill.qty, fill.price))
    paper, book = PaperMarket(market, 8), market.book
    fills: List[Any] = []
    resting: List[Any] = []
    taken: Dict[Any, int] = {}
    middle = 1000
    for _ in range(300):
        middle += rng.randrange(-2, 3)
        bids = {middle - n: rng.randrange(1, 20) for n in rng.sample(range(1, 12), 8)}
        asks = {middle + n: rng.randrange(1, 20) for n in rng.sample(range(12), 8)}
        before = {id(one): one.left for one in resting}
        paper.mirror(sorted(bids.items(), reverse=True), sorted(asks.items()))
        real = {BUY: bids, SELL: asks}
        for side, price in list(taken):
            worst = min(bids) if side == BUY else max(asks)
            beyond = price < worst if side == BUY else price > worst
            if price not in real[side] and not beyond:  # it is gone; one that is too far away may be there
                del taken[side, price]
        for maker, qty, price in fills:
            assert price == maker.price  # at its own price
            assert before[id(maker)] >= qty
        # What filled them is used up: the best real levels first.
        for maker, qty, _ in fills:
            side = SELL if maker.side == BUY else BUY
            for price in sorted(real[side], reverse=side == BUY):
                reached = price <= maker.price if side == SELL else price >= maker.price
                part = min(qty, real[side][price] - taken.get((side, price), 0)) if reached else 0
                if part > 0:
                    taken[side, price] = taken.get((side, price), 0) + part
                    qty -= part
            assert qty == 0
        fills.clear()
        for name, side in book.sides.items():
            shown = {
                price: sum(one.left for one in side.queue(price) if one.owner is None)
                for price, _ in side.top(len(side))
            }
            expected = {p: q - taken.get((name, p), 0) for p, q in real[name].items()}
            assert {p: q for p, q in shown.items() if q} == {p: q for p, q in expected.items() if q > 0}
        if book.bids.top(1) and book.asks.top(1):
            assert book.bids.price_at(0) < book.asks.price_at(0)
        resting = [one for one in resting if one.left]
        choice = rng.random()
        side = rng.choice([BUY, SELL])
        if choice < 0.3:
            price = middle + rng.randrange(-6, 7)
            if book.next_maker(side, price) is None:
                resting.append(book.rest(side, price, rng.randrange(1, 30), object()))
        elif choice < 0.5:
            maker = book.next_maker(side)
            if maker is not None and maker.owner is None:
                fill = book.fill(side, maker, rng.randrange(1, 10))
                taken[maker.side, fill.price] = taken.get((maker.side, fill.price), 0) + fill.qty


def test_nothing_is_filled_from_a_stale_book(paper: PaperClient, exchange: Simulator) -> None:
    """Neither what triggers meanwhile, nor what rests; both meet the book that is live again."""
    bid = paper.book(S).best_bid.price
    stop = paper.add_order(
        symbol=S, side="sell", order_type="stop-loss", order_qty="0.1", triggers={"price": int(bid) - 500}
    )["order_id"]
    resting = order(paper, "buy", "0.1", int(bid) - 700)["order_id"]
    paper.orders.wait_open(resting)
    exchange.faults.bad_checksum[S] = exchange.faults.bad_snapshot[S] = 10**6
    exchange.set_price(S, int(bid) - 5000, int(bid) - 4999)
    eventually(lambda: paper._ks_exchange._markets[S].market.halted)
    exchange.trade(S, "sell", int(bid) - 5000, 1)
    eventually(lambda: paper._ks_exchange._markets[S]._waiting)
    assert paper.orders[stop].filled == paper.orders[resting].filled == 0
    exchange.faults.bad_checksum[S] = exchange.faults.bad_snapshot[S] = 0
    done = paper.orders.wait_done(stop, WAIT)

    assert abs(done.average_price - (int(bid) - 5000)) < 100
    assert paper.orders.wait_done(resting, WAIT).average_price == int(bid) - 700


def test_followed_again(new_paper: Callable[..., PaperClient], exchange: Simulator) -> None:
    """After a close, orders of the pairs from before are filled again, at the prices of now."""
    client = new_paper()
    with client:
        bid = int(client.book(S).best_bid.price)
        resting = order(client, "buy", "0.1", bid - 1000)["order_id"]
        client.orders.wait_open(resting)
    exchange.set_price(S, bid + 5000, bid + 5001)
    with client:
        client.amend_order(order_id=resting, limit_price=bid + 6000)
        assert client.orders.wait_done(resting, WAIT).average_price == bid + 5001


def test_another_spelling_leaves_the_pair_alone(paper: PaperClient, exchange: Simulator) -> None:
    """It is refused, as for a real order, and the pair is followed further."""
    resting = order(paper, "buy", "0.1", 60000)["order_id"]
    for name in ("XBT/USD", "btc/usd", "BTCUSD"):
        with pytest.raises(UnknownSymbol, match="BTC/USD"):
            order(paper, "buy", "0.1", symbol=name)
    assert order(paper, "buy", "0.001")["order_id"]
    exchange.set_price(S, 59990, 59999)
    assert paper.orders.wait_done(resting, WAIT).status == "filled"


def test_own_fills_are_no_real_trades(new_paper: Callable[..., PaperClient]) -> None:
    """A take-profit waits for the market, not for what the account itself has paid."""
    paper = new_paper({"USD": 10**8, "BTC": 5})
    asks = paper.book(S, 100).asks
    waiting = paper.add_order(
        symbol=S, side="sell", order_type="take-profit", order_qty="0.1", triggers={"price": asks[20].price}
    )["order_id"]
    taken = order(paper, "buy", str(sum(level.qty for level in asks[:30]).quantize(Decimal("0.01"))))
    assert paper.orders.wait_done(taken["order_id"], WAIT).average_price > asks[1].price

    assert waiting in still_open(paper)


def test_a_pair_without_a_trade(paper: PaperClient, exchange: Simulator) -> None:
    """The middle of the book stands for the last price, so that no stop is triggered by nothing."""
    exchange.call(lambda: exchange.exchange.markets[S].tape.trades.clear())
    placed = paper.add_order(
        symbol=S, side="sell", order_type="stop-loss", order_qty="0.1", triggers={"price": 50000}
    )
    assert paper.orders.wait_open(placed["order_id"]).filled == 0

    assert placed["order_id"] in still_open(paper)


def test_the_status_of_the_pair(paper: PaperClient, exchange: Simulator) -> None:
    """Is that of the real one."""
    assert order(paper, "buy", "0.001")["order_id"]

    def refused() -> bool:
        try:
            order(paper, "buy", "0.0001")
        except OrderRejected:
            return True
        return False

    exchange.set_pair_status(S, "cancel_only")
    eventually(refused)
    exchange.set_pair_status(S, "online")
    eventually(lambda: not refused())


def test_the_time_of_a_call(paper: PaperClient, exchange: Simulator) -> None:
    """It includes everything that the first order of a pair waits for; then nothing was sent."""
    exchange.faults.no_snapshot[S] = 10**6
    with within(0.5):
        with pytest.raises(OrderNotSent, match="real book"):
            order(paper, "buy", "0.001", timeout=1)


def test_two_threads_that_wait_for_the_market(paper: PaperClient, exchange: Simulator) -> None:
    """None waits for the other for longer than it was told, and closing ends both."""
    exchange.faults.no_snapshot[S] = 10**6
    first = background(order, paper, "buy", "0.001", timeout=60)
    eventually(lambda: any(one["params"].get("channel") == "book" for one in exchange.requests("subscribe")))
    with pytest.raises(OrderNotSent, match="another thread"):
        order(paper, "buy", "0.001", timeout=0.1)
    assert first["thread"].is_alive()
    paper.close()
    first["thread"].join(WAIT)
    assert isinstance(first["error"], KrakenError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child(paper: PaperClient) -> None:
    """Closing there ends at once, and ends nothing here."""
    child = os.fork()
    if child == 0:
        paper.close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0
    assert order(paper, "buy", "0.001")["order_id"]


class Owner:
    """Stands for an order of the account."""


def market_of(depth: int) -> Any:
    fills: List[Any] = []
    market = RealMarket(INSTRUMENTS[0], None, 0, 0.0)
    market.on_own_fill = lambda fill, trade: fills.append((fill.price, fill.qty))
    paper = PaperMarket(market, depth)
    return paper, market.book, fills


def test_a_book_that_is_ahead_of_its_trades() -> None:
    """What stood before an order and has traded is counted once, whichever is told first."""
    paper, book, fills = market_of(100)
    paper.mirror([(100, 5)], [(101, 5)])
    book.rest(BUY, 100, 1, Owner())
    paper.mirror([(100, 5)], [(101, 5)])
    paper.mirror([(99, 5)], [(101, 5)])
    paper.traded(SELL, 100, 5)
    assert fills == []
    paper.traded(SELL, 100, 1)
    assert fills == [(100, 1)]


def test_two_orders_behind_the_same_strangers() -> None:
    """They stood before both, and are traded with once."""
    paper, book, fills = market_of(100)
    paper.mirror([(100, 5)], [(101, 5)])
    book.rest(BUY, 100, 1, Owner())
    book.rest(BUY, 100, 1, Owner())
    paper.traded(SELL, 100, 7)
    assert fills == [(100, 1), (100, 1)]


def test_a_level_that_is_out_of_sight() -> None:
    """It is not gone: what was taken of it stays taken, and who stood before an order stands there."""
    paper, book, fills = market_of(2)
    paper.mirror([(100, 5), (99, 5)], [(101, 5), (102, 5)])
    assert book.take(BUY, 5, 101)
    paper.mirror([(96, 5), (95, 5)], [(97, 5), (98, 5)])  # the asks at 101 are too far away to be seen
    paper.mirror([(100, 5), (99, 5)], [(101, 5), (102, 5)])
    assert not book.take(BUY, 5, 101)
    book.rest(BUY, 99, 1, Owner())
    paper.mirror([(100, 5), (99, 5)], [(101, 5), (102, 5)])
    paper.mirror([(104, 5), (103, 5)], [(105, 5), (106, 5)])  # the bids at 99 are too far away to be seen
    paper.mirror([(100, 5), (99, 5)], [(101, 5), (102, 5)])
    paper.traded(SELL, 99, 3)
    assert fills == []


def test_an_iceberg_below_a_trade() -> None:
    """All of its slices are filled by a trade that goes past them."""
    paper, book, fills = market_of(100)
    paper.mirror([(100, 5)], [(101, 5)])
    left = [10]

    def refill(fill: Any, trade: Any) -> None:
        fills.append((fill.price, fill.qty))
        left[0] -= fill.qty
        if left[0] > 0 and not fill.maker.left:
            book.rest(BUY, 100, min(2, left[0]), fill.maker.owner)

    paper.market.on_own_fill = refill
    book.rest(BUY, 100, 2, Owner())
    paper.traded(SELL, 99, 50)
    assert sum(qty for _, qty in fills) == 10
