"""Exact numbers: the exchange's text to scaled integers, and integers back to decimals.

No value passes through a binary float. A number becomes an integer count of its smallest unit: ``"64525.0"``
with one decimal is 645250.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, InvalidOperation
from numbers import Integral, Real
from typing import Any, Tuple, Union

EXACT, AVERAGES = Context(prec=60), Context(prec=28)
"""Whatever the caller's decimal context is (precision, traps), arithmetic here uses one of these: ``EXACT``
where nothing may be rounded, ``AVERAGES`` for quotients."""
# Beyond every real price and quantity: larger numbers are refused, since 1e999999999 would fill the memory.
MAX_DECIMALS = 30
MAX_DIGITS = 60

Number = Union[Decimal, int, str, float]
"""A number as users give it."""
_PLAIN = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

WireNumber = Union[str, int]
"""A number as decoded: text if it had a point or an exponent, else an int."""


def decimals_of(number: WireNumber) -> int:
    """Return the number of digits after the point of a number.

    Raises:
        ValueError: the value is not a number.

    >>> decimals_of("0.10000000"), decimals_of(5), decimals_of("1.2e-7")
    (8, 0, 8)
    """
    if isinstance(number, int) and not isinstance(number, bool):
        return 0
    if not isinstance(number, str):
        raise ValueError(f"not a number: {number!r:.80}")
    point = number.find(".")
    if point >= 0 and number[point + 1 :].isdigit():
        return len(number) - point - 1
    return _exact(number)[1]


def scaled(number: WireNumber, decimals: int) -> Tuple[int, int]:
    """Return ``number`` as an integer count of ``10 ** -decimals``, and the decimals that this count has.

    The returned decimals are more than ``decimals`` if the number has more, and never fewer.

    Raises:
        ValueError: the value is not a finite number of at least 0 and of reasonable size.

    >>> scaled("64525.0", 1), scaled("0.5", 8), scaled("1e-08", 8), scaled("0.125", 1)
    ((645250, 1), (50000000, 8), (1, 8), (125, 3))
    """
    if isinstance(number, int) and not isinstance(number, bool):
        value, own = number, 0
    elif not isinstance(number, str):
        raise ValueError(f"not a price or quantity: {number!r:.80}")
    else:
        whole, _, fraction = number.partition(".")
        if whole.isdigit() and fraction.isdigit() and number.isascii() and len(number) < MAX_DIGITS:
            value, own = int(whole + fraction), len(fraction)
        else:
            value, own = _exact(number)
    if value < 0 or own > MAX_DECIMALS:
        raise ValueError(f"not a price or quantity: {number!r:.80}")
    if own < decimals:
        return value * 10 ** (decimals - own), decimals
    return value, own


def to_decimal(value: int, decimals: int) -> Decimal:
    """Return the exact decimal of a scaled integer, trailing zeros included.

    >>> to_decimal(645250, 1), to_decimal(10, 8)
    (Decimal('64525.0'), Decimal('1.0E-7'))
    """
    return Decimal(fixed(value, decimals))


def fixed(value: int, decimals: int) -> str:
    """Return a scaled integer as fixed-point text, as the exchange writes it.

    >>> fixed(645250, 1), fixed(10, 8), fixed(7, 0)
    ('64525.0', '0.00000010', '7')
    """
    if not decimals:
        return str(value)
    digits = str(value).rjust(decimals + 1, "0")
    return f"{digits[:-decimals]}.{digits[-decimals:]}"


def _exact(text: str) -> Tuple[int, int]:
    """Convert any other spelling, such as an exponent, through Decimal, which is exact, too."""
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:
        raise ValueError(f"not a number: {text!r:.80}") from None
    if not isinstance(exponent, int) or not -MAX_DECIMALS <= exponent <= MAX_DECIMALS:
        raise ValueError(f"not a price or quantity: {text!r:.80}")
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"not a price or quantity: {text!r:.80}")
    value = int("".join(map(str, digits))) * (-1 if sign else 1)
    if exponent > 0:
        return value * 10**exponent, 0
    return value, -exponent


def decimal_of(name: str, value: Any) -> Decimal:
    """Return a number given by a user as the decimal it is written as.

    A float, also one of numpy, stands for the shortest decimal that it can be told by:
    ``numpy.float32(0.1)`` is 0.1, whatever its binary value.

    Raises:
        TypeError: the value is not a number.
        ValueError: the text is not a number, or the number is not finite or too large.

    >>> decimal_of("limit_price", 0.1), decimal_of("order_qty", "0.10")
    (Decimal('0.1'), Decimal('0.10'))
    """
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str, float, Real)):
        raise TypeError(f"{name} must be a number (Decimal, int, str or float), not {value!r:.80}")
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        raise ValueError(f"{name} must be a number such as '0.25', not {value!r:.80}")
    try:
        if isinstance(value, float):  # float.__repr__, since numpy's floats have a repr of their own
            value = float.__repr__(value)
        elif not isinstance(value, (Decimal, str)):
            # numpy.float32 writes itself with as few digits as tell it from its neighbours, as float does
            value = int(value) if isinstance(value, Integral) else str(value)
        number = Decimal(value)
    except InvalidOperation:
        raise ValueError(f"{name} must be a number, not {value!r:.80}") from None
    if not number.is_finite():
        raise ValueError(f"{name} must be a finite number, not {value!r:.80}")
    if abs(number.adjusted()) > MAX_DIGITS:
        raise ValueError(f"{name} is beyond all measure: {value!r:.80}")
    return number
