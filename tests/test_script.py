"""What a test of a trading program makes happen in the simulator: each call is the same each time."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from conftest import FAR, WAIT, S, eventually

from kraken_sync import OrderNotSent, OrderRejected, SpotWSClient
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
