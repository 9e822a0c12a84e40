"""The exchange's counter of trading requests, and our mirror of it."""

from __future__ import annotations

import math
import time
from typing import Callable

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, S, eventually
from facts import fact

from kraken_sync import OrderRejected, SpotWSClient
from kraken_sync.core.orders.rate_limits import TIERS, TradingRate, cost, tier_of
from kraken_sync.simulator import Simulator


def test_the_documented_example_of_the_rate_counter() -> None:
    """Intermediate: 13 placed and canceled within 5 s make 117; the 14th breaks 125; empty after 54 s."""
    rate = TradingRate("intermediate")
    for _ in range(13):
        rate.charge("BTC/USD", cost("add_order") + cost("cancel_order", 2.0), 0.0)

    assert rate.count("BTC/USD", 0.0) == 117
    assert rate.wait("BTC/USD", cost("add_order"), 0.0) == 0
    assert rate.wait("BTC/USD", 9, 0.0) == pytest.approx(0.43, abs=0.05)
    assert rate.count("BTC/USD", 50.0) == 0
    assert rate.count("ETH/USD", 0.0) == 0


@fact("counter costs")
@pytest.mark.parametrize(
    ("method", "age", "points"),
    [
        ("amend_order", 4.9, 4), ("amend_order", 9, 3), ("amend_order", 14, 2), ("amend_order", 15, 1),
        ("edit_order", 4, 7), ("edit_order", 44, 3), ("edit_order", 89, 2), ("edit_order", 91, 1),
        ("cancel_order", 4, 8), ("cancel_order", 299, 1), ("cancel_order", 300, 0), ("batch_cancel", 14, 5),
    ],
)  # fmt: skip
def test_costs(method: str, age: float, points: float) -> None:
    """The table of the trading limits."""
    assert cost(method, age) == points


def test_tiers() -> None:
    """By the exchange's figure first."""
    assert tier_of("starter", 180) == TIERS[2]
    assert tier_of(None, None) == TIERS[0]
    with pytest.raises(ValueError, match="intermediate"):
        tier_of("gold", None)


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


@fact("counter of all orders")
def test_what_concerns_no_single_order() -> None:
    """cancel_all costs a point for each pair with open orders; the dead man's switch one of no pair."""
    rate = TradingRate("pro")
    rate.charge_request("cancel_all", {}, 0.0, {"BTC/USD", "ETH/USD"})
    rate.charge_request("cancel_all_orders_after", {"timeout": 60}, 0.0)
    assert [rate.count(pair, 0.0) for pair in ("BTC/USD", "ETH/USD", "SOL/USD", "")] == [1, 1, 0, 1]
    rate.placed("BTC/USD", ("OID", None, 77), 0.0)
    rate.charge_request("cancel_order", {"order_userref": [77]}, 1.0)
    assert rate.count("BTC/USD", 1.0) == pytest.approx(8)


@fact("counter tiers")
def test_a_full_counter_of_the_exchange() -> None:
    """Its refusals are more than the mirror knows: the pair's counter is full then, or all of them."""
    rate = TradingRate("starter")
    rate.exceeded("BTC/USD", 0.0)
    assert (rate.count("BTC/USD", 0.0), rate.count("ETH/USD", 0.0)) == (60, 0)
    rate.exceeded(None, 10.0)
    assert (rate.count("BTC/USD", 10.0), rate.count("ETH/USD", 10.0)) == (60, 60)
    assert rate.count("ETH/USD", 40.0) == 30
    assert rate.wait("ETH/USD", 60, 100.0) == math.inf  # no wait makes room for as much as that


@fact("full counters")
@pytest.mark.parametrize("error", ["EOrder:Rate limit exceeded", "EOrder:Domain rate limit exceeded"])
def test_refusals_fill_the_mirror(trader: SpotWSClient, exchange: Simulator, error: str) -> None:
    """The refused order's pair, or the account."""
    exchange.faults.garble = lambda text: text.replace("EGeneral:Invalid arguments:expire_time", error)
    past = {"time_in_force": "gtd", "expire_time": "2020-01-01T00:00:00Z"}
    with pytest.raises(OrderRejected, match=error):
        trader.add_order(**{**FAR, **past})

    assert trader.trading_rate.wait_for(S, "add_order") > 0
    assert (trader.trading_rate.wait_for("ETH/USD", "add_order") > 0) is ("Domain" in error)


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
