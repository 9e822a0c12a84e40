"""Values as text: what the live views and the printed lines have in common."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Optional


def plain(value: Optional[Any]) -> str:
    """Return a value as text: decimals in fixed point, and no control characters for the terminal.

    >>> plain(Decimal("1E-8")), plain(None), plain("a\\x1b[31mb")
    ('0.00000001', '-', 'a?[31mb')
    """
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return format(value, "f")
    return "".join(character if character.isprintable() else "?" for character in str(value))


def clock(timestamp: Any, digits: int = 12) -> str:
    """Return the time of day of an RFC 3339 time.

    >>> clock("2026-11-29T12:00:01.123456Z"), clock("2026-11-29T12:00:01Z"), clock(None)
    ('12:00:01.123', '12:00:01', '-')
    """
    return plain(timestamp)[11 : 11 + digits].rstrip("Z") if timestamp else "-"


def number(value: Optional[Any]) -> Optional[Decimal]:
    """Return what the exchange sent as a number; in tickers it may send texts.

    >>> number("1.10"), number(None), number("n/a")
    (Decimal('1.10'), None, None)
    """
    try:
        found = None if value is None else Decimal(str(value))
    except ArithmeticError:
        return None
    return found if found is not None and found.is_finite() else None


def change(value: Optional[Any]) -> str:
    """Return a change in percent with its sign.

    >>> change(Decimal("1.1")), change("-0.25"), change(None)
    ('+1.10 %', '-0.25 %', '-')
    """
    percent = number(value)
    return "-" if percent is None else f"{percent:+.2f} %"
