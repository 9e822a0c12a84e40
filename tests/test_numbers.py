"""Wire numbers are exact, whatever their spelling."""

from __future__ import annotations

import random
from decimal import Context, Decimal, FloatOperation, Inexact, InvalidOperation, localcontext

import pytest
from conftest import FAR

from kraken_sync import SpotWSClient
from kraken_sync.core.wire.numbers import decimal_of, decimals_of, fixed, scaled, to_decimal


def test_the_decimal_context_of_the_caller(trader: SpotWSClient) -> None:
    """Programs set their own precision and traps; prices, sums and checks here do not depend on them."""
    book = trader.book("BTC/USD")
    strict = Context(prec=3, traps=[Inexact, FloatOperation, InvalidOperation])
    with localcontext(strict):
        assert None not in (book.vwap("buy", "0.5"), book.mid, book.spread)
        order_id = trader.add_order(**{**FAR, "order_qty": "0.12345678"})["order_id"]
        left = trader.orders[order_id].remaining
        imbalance, held = book.imbalance(3), trader.balance.held
        with pytest.raises(ValueError, match="nearest valid value is 30000.1"):
            trader.add_order(**{**FAR, "limit_price": "30000.123"})

    assert left == Decimal("0.12345678")
    assert imbalance is not None
    assert held == {"BTC": Decimal("0.12345678")}


@pytest.mark.parametrize(
    ("text", "decimals", "expected"),
    [
        ("45285.2", 1, (452852, 1)),
        ("0.00100000", 8, (100000, 8)),
        (100, 0, (100, 0)),
        (100, 1, (1000, 1)),
        ("5e-08", 8, (5, 8)),
        ("1.2E-6", 8, (120, 8)),
        ("1E+2", 1, (1000, 1)),
        ("0.0", 1, (0, 1)),
        ("0.5", 8, (50000000, 8)),
        ("0.125", 1, (125, 3)),
        ("123456789012.12345678", 8, (12345678901212345678, 8)),
    ],
)
def test_scaled(text: object, decimals: int, expected: tuple) -> None:
    """The integer and its decimals are exact; more decimals than asked for are kept."""
    assert scaled(text, decimals) == expected


@pytest.mark.parametrize("text", ["-1.0", -1, "1E+999", "1e-999", "Infinity", "NaN", "abc", "9" * 100 + ".0"])
def test_scaled_refuses(text: object) -> None:
    """What no price or quantity can be is refused."""
    with pytest.raises(ValueError):
        scaled(text, 8)


def test_round_trip() -> None:
    """Text to integer and back gives the same text, for any number of digits."""
    rng = random.Random(5)
    for _ in range(2000):
        decimals = rng.randrange(0, 12)
        value = rng.randrange(10 ** rng.randrange(1, 22))
        text = fixed(value, decimals)

        assert to_decimal(value, decimals) == Decimal(text)
        assert format(to_decimal(value, decimals), "f") == text
        assert decimals_of(text if decimals else int(text)) == decimals
        assert scaled(text if decimals else int(text), decimals) == (value, decimals)


def test_numbers_of_other_libraries() -> None:
    """numpy's float64 is a float that writes itself differently; its integers are no ints."""

    class Float64(float):
        def __repr__(self) -> str:
            return f"np.float64({float(self)})"

    assert decimal_of("qty", Float64(0.1)) == Decimal("0.1")
    for absurd in ("1e3000000", "1e-3000000"):
        with pytest.raises(ValueError, match="beyond all measure"):
            decimal_of("qty", absurd)
