"""Small tables in HTML for notebooks: escaped, readable on light and on dark, without scripts, below 4 kB."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Optional, Sequence, Tuple

GOOD, BAD, ODD = "#2e9e5b", "#d2524c", "#c58a1b"
"""Colours that can be read on white and on black."""
COLOURS = {
    **dict.fromkeys(("LIVE", "CONNECTED", "live", "new", "partially_filled", "filled"), GOOD),
    **dict.fromkeys(("CLOSED", "ERROR"), BAD),
}
MOST_ROWS = 12
"""The number of rows that are shown; what is left out is counted."""
LONGEST = 48
"""The number of characters of a cell."""
_TABLE = 'style="border-collapse:collapse;font-variant-numeric:tabular-nums;margin:2px 0"'
_CELL = "padding:1px 10px;text-align:"


class Html(str):
    """Text that is HTML already, and is not escaped again."""


def text(value: Any) -> str:
    """Return a value as text for a cell: decimals in fixed point, nothing for None.

    >>> text(Decimal("1E-8")), text(None), text("<b>")
    ('0.00000001', '', '&lt;b&gt;')
    """
    if isinstance(value, Html):
        return value
    if value is None:
        return ""
    plain = _plain(value)
    # A number that is cut would be another number.
    short = len(plain) <= LONGEST or not isinstance(value, str)
    return _escape(plain if short else plain[: LONGEST - 1] + "…")


def _plain(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _escape(plain: str) -> str:
    from html import escape  # not before it is needed, because it brings a table of all entities

    return escape(plain)


def badge(word: str) -> Html:
    """Return a state in its colour."""
    return Html(f'<b style="color:{COLOURS.get(word, ODD)}">{_escape(word)}</b>')


def table(title: Sequence[Any], columns: Sequence[str], rows: Sequence[Sequence[Any]], note: str = "") -> str:
    """Return a table with its title.

    Args:
        title: the parts of the line above it; the first is bold.
        columns: the headings.
        rows: the cells; texts are on the left, everything else on the right.
        note: the line below it.
    """
    shown = rows[:MOST_ROWS]
    left_out = len(rows) - len(shown)
    more = [f"and {left_out} more"] if left_out else []
    below = "; ".join([*more, *([note] if note else [])])
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in shown)
    heads = "".join(f'<th style="{_CELL}right;opacity:.6">{text(name)}</th>' for name in columns)
    parts = [f"<b>{text(title[0])}</b>", *map(text, title[1:])]
    return (
        f"<div>{' &nbsp; '.join(part for part in parts if part)}"
        + (f"<table {_TABLE}><tr>{heads}</tr>{body}</table>" if rows else "")
        + (f'<span style="opacity:.6">{_escape(below)}</span>' if below else "")
        + "</div>"
    )


def _cell(value: Any) -> str:
    side = "left" if isinstance(value, str) and not isinstance(value, Html) else "right"
    return f'<td style="{_CELL}{side}">{text(value)}</td>'


def counted(count: int, what: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "gap"), counted(2, "gap")
    ('1 gap', '2 gaps')
    """
    return f"{count} {what}{'' if count == 1 else 's'}"


def coloured(value: Any, colour: str) -> Html:
    """Return a value in a colour."""
    return Html(f'<span style="color:{colour}">{text(value)}</span>')


def details(title: Sequence[Any], items: Sequence[Tuple[str, Any]], note: str = "") -> str:
    """Return names with their values, one a row; values that are None are left out."""
    # As texts, so that all values stand on the left, below one another.
    rows = [(name, _plain(value)) for name, value in items if value is not None]
    return table(title, ("", ""), rows, note)


def age(seconds: Optional[float]) -> str:
    """Return an age for a title.

    >>> age(0.25), age(float("inf")), age(None)
    ('proven 0.2 s ago', '', '')
    """
    return "" if seconds is None or seconds == float("inf") else f"proven {seconds:.1f} s ago"
