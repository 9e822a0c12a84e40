"""How healthy a recording is: its message rate, the spread of its books, and where something is missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Dict, List, Sequence, Tuple, Union

from .books import Books, NotVerified
from .files import PathLike, paths_of
from .routing import acknowledged, parts_of
from .source import FRAME, GAP, LOST, Source

POINTS = 1500
"""About the number of points of a line in the plot."""


@dataclass
class Health:
    """What :func:`health` has found. Times are seconds since the epoch."""

    begin: float = 0.0
    end: float = 0.0
    rates: Dict[str, Dict[int, int]] = field(default_factory=dict)
    """Messages by channel and second."""
    spreads: Dict[str, List[Tuple[float, float]]] = field(default_factory=dict)
    """By symbol, once a second: the time, and the spread in basis points of the middle."""
    missing: List[Tuple[float, float, str]] = field(default_factory=list)
    """From when to when something is missing, and why."""
    mismatched: List[float] = field(default_factory=list)
    """When a checksum did not match."""


def health(files: Union[PathLike, Sequence[PathLike]]) -> Health:
    """Read recordings, and return how healthy they are. Raises OSError."""
    found = Health()
    books = Books()
    lost: Dict[str, Tuple[float, str]] = {}
    for moment in Source(paths_of(files)):
        at = moment.at / 1e9
        if moment.kind == LOST:
            reason = f"{moment.role} connection lost" if moment.role else moment.frame.decode()
            if moment.hole is not None:
                found.missing.append((moment.hole[0] / 1e9, moment.hole[1] / 1e9, reason))
            else:
                lost.setdefault(moment.role, (at, reason))
            if moment.role in ("", "public"):
                books.lose()
        if moment.kind in (LOST, GAP):
            continue
        reply = acknowledged(moment.frame)
        if reply is not None:
            books.acknowledged(reply)
        for key, snapshot, frame in parts_of(moment.frame):
            if moment.kind == FRAME:
                found.begin, found.end = found.begin or at, at
                found.rates.setdefault(key.channel, Counter())[int(at)] += 1
                for role in [role for role in lost if role in ("", moment.role)]:
                    since, reason = lost.pop(role)
                    found.missing.append((since, at, reason))
            if key.channel == "book":
                _book(found, books, key.symbol or "", at, snapshot, frame)
    return found


def _book(found: Health, books: Books, symbol: str, at: float, snapshot: bool, frame: bytes) -> None:
    try:
        book = books.take(symbol, snapshot, frame)
    except NotVerified:
        found.mismatched.append(at)
        return
    spreads = found.spreads.setdefault(symbol, [])
    asks, bids = book.rows(1) if book is not None else ((), ())
    if not (asks and bids):
        return
    if not spreads or int(spreads[-1][0]) < int(at):
        ask, bid = asks[0][0], bids[0][0]
        spreads.append((at, 20000.0 * (ask - bid) / (ask + bid)))


def plot_health(files: Union[PathLike, Sequence[PathLike]]) -> Any:
    """Return a matplotlib figure of a recording's health: message rates, spreads, and what is missing.

    Needs matplotlib. Raises ImportError, OSError, and ValueError if there is no market data.
    """
    try:
        from matplotlib import dates as matplotlib_dates
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('a plot needs matplotlib: pip install "kraken-sync[notebook]"') from error

    dates: Any = matplotlib_dates
    found = health(files)
    if not found.rates:
        raise ValueError("the recording has no market data")
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    rate, spread = figure.subplots(2, 1, sharex=True)
    seconds = max(1, int((found.end - found.begin) / POINTS))
    for channel, counts in sorted(found.rates.items()):
        sums: Dict[int, int] = Counter()
        for second, count in counts.items():
            sums[second // seconds] += count
        span = range(int(found.begin) // seconds, int(found.end) // seconds + 1)
        rate.plot(
            [_day(slot * seconds) for slot in span],
            [sums.get(slot, 0) / seconds for slot in span],
            label=channel,
            linewidth=1,
        )
    rate.set_ylabel("messages a second")
    rate.legend(loc="upper right", fontsize="small", ncols=3)
    for symbol, points in sorted(found.spreads.items()):
        step = max(1, len(points) // POINTS)
        spread.plot(
            [_day(at) for at, _ in points[::step]],
            [max(value, 1e-3) for _, value in points[::step]],
            label=symbol,
            linewidth=1,
        )
    spread.set_yscale("log")
    spread.set_ylabel("spread, basis points")
    if 0 < len(found.spreads) <= 12:
        spread.legend(loc="upper right", fontsize="small", ncols=3)
    for axes in (rate, spread):
        for begin, end, _ in found.missing:
            axes.axvspan(_day(begin), _day(end), color="tab:red", alpha=0.25, linewidth=0)
        for at in found.mismatched:
            axes.axvline(_day(at), color="tab:red", linewidth=0.8)
    locator = dates.AutoDateLocator()
    spread.xaxis.set_major_locator(locator)
    spread.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    missing = sum(end - begin for begin, end, _ in found.missing)
    length = found.end - found.begin
    rate.set_title(
        f"{datetime.fromtimestamp(found.begin, timezone.utc):%Y-%m-%d %H:%M:%S} UTC, {length:,.0f} s: "
        f"{sum(sum(counts.values()) for counts in found.rates.values()):,} messages, "
        f"{len(found.missing)} outages ({missing:.1f} s, red), {len(found.mismatched)} mismatches",
        fontsize="medium",
    )
    return figure


def _day(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, timezone.utc)
