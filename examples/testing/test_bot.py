from decimal import Decimal

import pytest
from bot import Seller

from kraken_sync import OrderNotSent


def test_it_sells_at_its_target(kraken_exchange, kraken_client):
    bot = Seller(kraken_client, 70000)
    assert bot.look() is None
    kraken_exchange.set_price("BTC/USD", 70000, 70001)
    bot.look()
    kraken_exchange.settle()  # the report of the fill has arrived
    done = bot.look()
    assert (done.filled, done.average_price) == (Decimal("0.1"), 70000)


def test_a_lost_reply_sells_once(kraken_exchange, kraken_client):
    bot = Seller(kraken_client, 70000)
    kraken_exchange.set_price("BTC/USD", 70000, 70001)
    kraken_exchange.faults.drop_replies = 1
    bot.look()
    kraken_exchange.settle()
    assert bot.look().status == "filled"
    assert [order["status"] for order in kraken_exchange.orders()] == ["filled"]


def test_it_sells_after_an_outage(kraken_exchange, kraken_client):
    bot = Seller(kraken_client, 70000)
    kraken_exchange.set_price("BTC/USD", 70000, 70001)
    with kraken_exchange.offline("private"), pytest.raises(OrderNotSent):
        bot.look()
    bot.look()
    kraken_exchange.run(seconds=60)
    assert bot.look().status == "filled"
