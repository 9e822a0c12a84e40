"""Parameters of the trading methods, grids and minimums."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any, Dict

import pytest

from kraken_sync.core.orders.pair_rules import PairRules
from kraken_sync.core.orders.params import METHODS, ORDER_TYPES, prepared
from kraken_sync.core.wire.messages import encode

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


def test_a_userref_of_zero() -> None:
    """It is what the exchange reports for orders that have none, so it is none."""
    assert "order_userref" not in prepared("add_order", {**LIMIT, "order_userref": 0})
    order = {name: value for name, value in LIMIT.items() if name != "symbol"}
    batch = {"symbol": "BTC/USD", "orders": [{**order, "order_userref": 0}] * 2}
    assert all("order_userref" not in order for order in prepared("batch_add", batch)["orders"])


@pytest.mark.parametrize("way", ["margin", "leverage", "reduce_only"])
def test_a_position_of_unknown_size_is_closed(way: str) -> None:
    """With a quantity of 0, which is none for any other order."""
    order: Dict[str, Any] = {"order_type": "market", "order_qty": Decimal(0)}
    RULES.check({**order, way: 2})
    with pytest.raises(ValueError, match="order_qty must be more than 0"):
        RULES.check(order)


def test_every_documented_parameter_is_known() -> None:
    """All of ``add_order``, and what the others take."""
    documented = set(
        "order_type side order_qty symbol limit_price limit_price_type triggers time_in_force expire_time "
        "effective_time deadline cl_ord_id order_userref post_only reduce_only margin display_qty "
        "fee_preference stp_type cash_order_qty validate sender_sub_id conditional no_mpp stop_price "
        "trigger".split()
    )
    assert set(METHODS["add_order"]) == documented | {"leverage"}  # which only REST has
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
        {"order_type": "trailing-stop", "trigger_price": Decimal("12.34")},
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
