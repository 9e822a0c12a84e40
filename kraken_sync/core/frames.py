"""Tables for pandas, which is imported when it is needed: numbers as floats or exact, times as UTC."""

from __future__ import annotations

from decimal import Decimal
from math import nan
from typing import Any, Iterable, Mapping, Sequence


def frame(
    rows: Iterable[Mapping[str, Any]],
    columns: Sequence[str],
    *,
    decimal: bool,
    times: Sequence[str] = (),
    numbers: Sequence[str] = (),
    index: str = "",
) -> Any:
    """Return a pandas DataFrame.

    Args:
        rows: dicts; a column that one lacks is empty in its row.
        columns: the names, in this order.
        decimal: True for numbers as they are, in columns of objects; else they are floats, with which pandas
            can calculate.
        numbers: columns of numbers also if there is none in them; others are found by their Decimals.
        times: the columns with RFC 3339 times, which become UTC timestamps.
        index: the column that becomes the index, if any.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise ImportError('to_frame() needs pandas: pip install "kraken-sync[pandas]"') from None
    if not isinstance(decimal, bool):
        raise TypeError(f"decimal must be True or False, not {decimal!r:.80}")
    listed = list(rows)
    cells = [[row.get(name) for name in columns] for row in listed]
    # As objects, so that pandas does not round what it takes for numbers.
    made = pandas.DataFrame(cells, columns=list(columns), dtype=object)
    for name in columns:
        if name in times:
            made[name] = pandas.to_datetime(made[name], utc=True, format="ISO8601")
        elif not decimal and (name in numbers or any(isinstance(row.get(name), Decimal) for row in listed)):
            made[name] = [_float(row.get(name)) for row in listed]
    if not decimal:
        made = made.infer_objects()
    return made.set_index(index) if index else made


def _float(value: Any) -> float:
    """Return what the exchange sent as a number; in tickers it may send texts."""
    try:
        return nan if value is None else float(value)
    except (TypeError, ValueError):
        return nan
