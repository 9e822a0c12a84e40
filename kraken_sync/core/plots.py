"""Pictures with matplotlib, which is imported when it is needed: a depth chart, and candles."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, List, Mapping, NamedTuple, Sequence, Tuple, Union

from .html import BAD, GOOD
from .wire.times import parse_time


class Drawn(NamedTuple):
    """What is drawn of a candle; ``begin`` in seconds since the epoch."""

    begin: float
    open: float
    high: float
    low: float
    close: float


def new_axes(axes: Any, what: str) -> Any:
    """Return ``axes``, or those of a new figure. Raises ImportError without matplotlib."""
    if axes is not None:
        return axes
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError(f'{what} needs matplotlib: pip install "kraken-sync[plot]"') from None
    return pyplot.subplots(figsize=(8, 3.5), layout="constrained")[1]


def plot_depth(
    symbol: str,
    bids: Sequence[Tuple[Decimal, Decimal]],
    asks: Sequence[Tuple[Decimal, Decimal]],
    axes: Any = None,
) -> Any:
    """Draw how much can be sold and bought down and up to each price, and return the Axes."""
    drawn = new_axes(axes, "plot()")
    for levels, colour, name in ((bids, GOOD, "bids"), (asks, BAD, "asks")):
        prices, totals, total = [], [], 0.0
        for price, qty in levels:
            total += float(qty)
            prices.append(float(price))
            totals.append(total)
        if prices:
            # A level counts from its own price on outwards, so the best one has no area inside the spread.
            drawn.step(prices, totals, where="post", color=colour, label=name)
            drawn.fill_between(prices, totals, step="post", color=colour, alpha=0.2)
    base, _, quote = symbol.partition("/")
    drawn.set_title(symbol)
    drawn.set_xlabel(f"price ({quote})")
    drawn.set_ylabel(f"total quantity ({base})")
    drawn.set_ylim(bottom=0)
    drawn.ticklabel_format(axis="x", useOffset=False, style="plain")
    drawn.margins(x=0)
    if bids or asks:
        drawn.legend()
    return drawn


def plot_candles(candles: Union[Sequence[Mapping[str, Any]], Mapping[str, Any]], ax: Any = None) -> Any:
    """Draw candles, and return the matplotlib Axes.

    Args:
        candles: dicts of the channel ``ohlc``, such as those of ``client.collect("ohlc", "BTC/USD", n=60)``
            (of several of the same interval the last one counts), or the result of ``client.rest.ohlc()``.
            They must be of one symbol.
        ax: where to draw; the default is a new figure.

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: there is no candle, or there are several symbols.
    """
    name, found = _candles(candles)
    if not found:
        raise ValueError("there is no candle to draw")
    axes = new_axes(ax, "plot_candles()")
    from matplotlib import dates

    calendar: Any = dates  # it has no types

    begins = [calendar.date2num(datetime.fromtimestamp(one.begin, timezone.utc)) for one in found]
    width = 0.8 * min([b - a for a, b in zip(begins, begins[1:]) if b > a], default=1 / 1440)
    colours = [GOOD if one.close >= one.open else BAD for one in found]
    low, high = min(one.low for one in found), max(one.high for one in found)
    axes.vlines(begins, [one.low for one in found], [one.high for one in found], color=colours, linewidth=1)
    axes.bar(
        begins,
        [max(abs(one.close - one.open), (high - low) / 500) for one in found],
        width,
        [min(one.open, one.close) for one in found],
        color=colours,
    )
    margin = 0.05 * (high - low or high)
    axes.set_ylim(low - margin, high + margin)  # by itself it would end at the edges of the bars
    axes.xaxis_date("UTC")
    axes.xaxis.set_major_formatter(calendar.ConciseDateFormatter(axes.xaxis.get_major_locator()))
    axes.set_title(name)
    axes.set_xlabel("UTC")
    axes.ticklabel_format(axis="y", useOffset=False, style="plain")
    return axes


def _candles(given: Any) -> Tuple[str, List[Drawn]]:
    if isinstance(given, Mapping):  # REST: {pair: [[time, open, high, low, close, ...], ...], "last": ...}
        names = [name for name in given if name != "last"]
        if len(names) != 1:
            raise ValueError(f"candles of one symbol can be drawn, not of {len(names)}")
        return names[0], [Drawn(*(float(value) for value in row[:5])) for row in given[names[0]]]
    symbols = list(dict.fromkeys(one["symbol"] for one in given))
    if len(symbols) > 1:
        raise ValueError(f"candles of one symbol can be drawn, not of {', '.join(symbols)}")
    last = {one["interval_begin"]: one for one in given}
    found = []
    for begin, one in last.items():
        moment = parse_time(begin)
        if moment is not None:
            found.append(Drawn(moment, *(float(one[name]) for name in ("open", "high", "low", "close"))))
    return "".join(symbols), sorted(found)
