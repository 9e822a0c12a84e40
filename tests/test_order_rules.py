"""Parameters of the trading methods, grids and minimums, the gate, the rate counter."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any, Dict

import pytest
from kraken_sync.core.session.session.dead_mans_switch import DeadMan

from kraken_sync.core.orders.gate import closed_for
from kraken_sync.core.orders.pair_rules import PairRules
from kraken_sync.core.orders.params import METHODS, ORDER_TYPES, prepared
from kraken_sync.core.orders.rate_limits import TIERS, TradingRate, cost, tier_of
from kraken_sync.core.wire.messages import encode
from kraken_sync.core.wire.times import ServerClock, parse_time, time_text

RULES = PairRules(
    "BTC/USD", "online", Decimal("0.1"), Decimal("0.00000001"), Decimal("0.00005"), Decimal("0.5")
)
LIMIT: Dict[str, Any] = {
    "symbol": "BTC/USD",
    "side": "buy",
    "order_type": "limit",
    "order_qty": "0.1",
    "limit_price": 100,
}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("0.10", b"0.10"),
        (0.1, b"0.1"),
        (1e-07, b"0.0000001"),
        (Decimal("64250.10"), b"64250.10"),
        (5, b"5"),
        ("1e3", b"1000"),
        (123456789012.12345678, b"123456789012.12346"),
    ],
)
def test_numbers_go_out_as_given(given: Any, sent: bytes) -> None:
    """Whatever type they come in, and never through another rounding."""
    params = prepared("add_order", {**LIMIT, "order_qty": given})

    assert b'"order_qty":' + sent + b"," in encode(params) + b","


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"order_type": "limt"}, "Did you mean 'limit'"),
        ({"order_type": "stop_loss"}, "Did you mean 'stop-loss'"),
        ({"side": "Buy"}, "Choose one of: buy, sell"),
        ({"limit_price": None}, "needs limit_price"),
        ({"order_qty": None}, "needs order_qty"),
        ({"order_qty": "many"}, "must be a number"),
        ({"order_qty": float("nan")}, "finite"),
        ({"order_qty": True}, "must be a number"),
        ({"post_only": 1}, "True or False"),
        ({"cl_ord_id": "x" * 19}, "18 ASCII"),
        ({"cl_ord_id": "a", "order_userref": 1}, "exclude each other"),
        ({"order_userref": 2**31}, "32-bit"),
        ({"order_type": "market"}, "takes no limit_price"),
        ({"order_type": "stop-loss-limit"}, "needs triggers"),
        ({"triggers": {"price": 1}}, "takes no triggers"),
        ({"time_in_force": "gtd"}, "belong together"),
        ({"conditional": {"order_tpye": "limit"}}, "Did you mean 'order_type'"),
        ({"quantity": 1}, "has no parameter 'quantity'"),
        ({"cash_order_qty": 5}, "order_qty"),
    ],
)
def test_bad_parameters_are_explained(change: Dict[str, Any], words: str) -> None:
    """Before anything is sent."""
    with pytest.raises((ValueError, TypeError), match=words):
        prepared("add_order", {**LIMIT, **change})


def test_every_documented_parameter_is_known() -> None:
    """All of ``add_order``, and what the others take."""
    documented = set(
        "order_type side order_qty symbol limit_price limit_price_type triggers time_in_force expire_time "
        "effective_time deadline cl_ord_id order_userref post_only reduce_only margin display_qty "
        "fee_preference stp_type cash_order_qty validate sender_sub_id conditional no_mpp stop_price "
        "trigger".split()
    )
    assert set(METHODS["add_order"]) == documented
    assert len(ORDER_TYPES) == 10
    assert len(METHODS) == 8


@pytest.mark.parametrize(
    ("order", "nearest"),
    [
        ({"limit_price": "64250.13", "order_qty": 1}, "64250.1"),
        ({"limit_price": "64250.17", "order_qty": 1}, "64250.2"),
        ({"limit_price": "0.01", "order_qty": 1}, "0.1"),
        ({"limit_price": 100, "order_qty": "0.000049"}, "0.00005"),
        ({"limit_price": 100, "order_qty": "0.1000000012"}, "0.10000000"),
        ({"limit_price": 100, "order_qty": "0.001"}, "0.005"),
        ({"order_type": "stop-loss", "order_qty": 1, "triggers": {"price": "99.99"}}, "100.0"),
        ({"trigger_price": "1.26", "order_qty": 1}, "1.3"),
        (
            {"order_type": "iceberg", "limit_price": 100, "order_qty": 1, "display_qty": "0.123456789"},
            "0.12345679",
        ),
    ],
)
def test_the_nearest_valid_value(order: Dict[str, Any], nearest: str) -> None:
    """Off the grid or below a minimum: the error has the value that would do."""
    numbers = {
        name: Decimal(value) if isinstance(value, (str, int)) and name != "order_type" else value
        for name, value in order.items()
    }
    if "triggers" in order:
        numbers["triggers"] = {"price": Decimal(order["triggers"]["price"])}
    with pytest.raises(ValueError, match="nearest valid") as caught:
        RULES.check({"order_type": "limit", **numbers})

    assert str(caught.value).endswith(f"is {nearest}")


def test_valid_values_pass_and_the_advice_is_valid() -> None:
    """Random orders: what is accepted keeps the rules, and what is advised is accepted."""
    rng = random.Random(4)
    for _ in range(2000):
        price = Decimal(rng.randrange(1, 10**7)).scaleb(-rng.choice([1, 1, 2, 3]))
        qty = Decimal(rng.randrange(1, 10**7)).scaleb(-rng.choice([4, 8, 8, 9]))
        order = {"order_type": "limit", "limit_price": price, "order_qty": qty}
        for _ in range(3):
            try:
                RULES.check(order)
            except ValueError as error:
                advice = Decimal(str(error).rpartition(" is ")[2])
                name = "limit_price" if str(error).startswith("limit_price") else "order_qty"
                order[name] = advice
            else:
                break
        RULES.check(order)
        assert order["limit_price"] % Decimal("0.1") == 0
        assert order["order_qty"] * order["limit_price"] >= Decimal("0.5")


@pytest.mark.parametrize(
    "order",
    [
        {"order_type": "stop-loss", "triggers": {"price": Decimal("-2.05"), "price_type": "pct"}},
        {"order_type": "trailing-stop", "triggers": {"price": Decimal("12.34"), "price_type": "quote"}},
        {
            "order_type": "trailing-stop-limit",
            "limit_price": Decimal("-1.23"),
            "triggers": {"price": Decimal(5)},
        },
    ],
)
def test_offsets_have_no_grid(order: Dict[str, Any]) -> None:
    """A percentage, or a distance, is not a price."""
    RULES.check({"order_qty": Decimal(1), **order})


@pytest.mark.parametrize(
    ("system", "method", "params", "open_"),
    [
        ("online", "add_order", {}, True),
        ("maintenance", "add_order", {}, False),
        ("maintenance", "cancel_all", {}, False),
        ("cancel_only", "add_order", {}, False),
        ("cancel_only", "cancel_order", {}, True),
        ("post_only", "add_order", {}, False),
        ("post_only", "add_order", {"post_only": True}, True),
        ("post_only", "batch_add", {"orders": [{"post_only": True}, {}]}, False),
    ],
)
def test_the_gate(system: str, method: str, params: Dict[str, Any], open_: bool) -> None:
    """What each state of the exchange lets through."""
    assert (closed_for(method, params, system) is None) is open_


def test_the_documented_example_of_the_rate_counter() -> None:
    """Intermediate: 13 placed and canceled within 5 s make 117; the 14th breaks 125; empty after 54 s."""
    rate = TradingRate(tier_of("intermediate", None))
    for _ in range(13):
        rate.charge("BTC/USD", cost("add_order") + cost("cancel_order", 2.0), 0.0)

    assert rate.count("BTC/USD", 0.0) == 117
    assert rate.wait("BTC/USD", cost("add_order"), 0.0) == 0
    assert rate.wait("BTC/USD", 9, 0.0) == pytest.approx(0.43, abs=0.05)
    assert rate.count("BTC/USD", 50.0) == 0
    assert rate.count("ETH/USD", 0.0) == 0


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


def test_the_exchanges_clock() -> None:
    """Learned from the quickest replies, and not from this machine's clock."""
    clock = ServerClock()
    assert clock.read(0.0) is None
    clock.heard("2026-01-05T10:00:00.500000Z", 0.0, 1.0)
    assert clock.read(0.5) == pytest.approx(1767607200.5)
    clock.heard("2026-01-05T10:00:10.900000Z", 2.0, 20.0)
    assert clock.read(0.5) == pytest.approx(1767607200.5), "a slow reply tells less"
    clock.heard("2026-01-05T10:00:30.100000Z", 30.0, 30.2)
    assert clock.read(30.1) == pytest.approx(1767607230.1)
    clock.heard("nonsense", 40.0, 40.0)
    assert parse_time(time_text(1767607200.123)) == pytest.approx(1767607200.123)
    assert parse_time("2026-13-05T10:00:00Z") is None


def test_the_switch_is_renewed_and_raises_the_alarm() -> None:
    """Renewed each third of the time; alarm when a third is left; silence when the owner is stuck."""
    switch = DeadMan(60, None, 0.0)

    assert not switch.due(19.9)
    assert switch.due(20.0)
    assert switch.alarm(39.0) is None
    words = switch.alarm(41.0)
    assert words is not None
    assert "in 19 s" in words
    assert switch.alarm(42.0) is None, "once per episode"
    switch.armed(43.0)
    assert switch.alarm(44.0) is None
    assert switch.left(53.0) == 50.0

    stuck = DeadMan(30, 10.0, 0.0)
    stuck.feed(5.0)
    assert stuck.due(14.9)
    assert not stuck.due(15.1)
    assert "stuck" in (stuck.alarm(45.0) or "")
