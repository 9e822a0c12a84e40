"""What the commands print into pipes, files and plain terminals: JSON, CSV, or text for reading."""

from __future__ import annotations

import csv
import json
import os
import select
import sys
from decimal import Decimal
from typing import Any, Callable, Dict, List, Mapping, Sequence

from ..core.book.snapshot import BookSnapshot
from ..core.wire.messages import encode
from .plain import change, clock, plain

JSON, CSV, TEXT, LIVE = "json", "csv", "text", "live"

COLUMNS: Mapping[str, Sequence[str]] = {
    channel: names.split()
    for channel, names in {
        "ticker": "symbol bid bid_qty ask ask_qty last volume vwap low high change change_pct timestamp",
        "trade": "symbol side price qty ord_type trade_id timestamp",
        "ohlc": "symbol open high low close vwap trades volume interval_begin interval timestamp",
        "instrument": "symbol base quote status price_precision price_increment qty_precision qty_increment "
        "qty_min cost_min",
        "balances": "asset asset_class balance amount fee type category ledger_id ref_id timestamp",
        "balance": "asset balance held available",
        "orders": "order_id cl_ord_id symbol side order_type order_qty cum_qty limit_price order_status "
        "timestamp",
        "executions": "timestamp exec_type order_status symbol side order_type order_qty cum_qty limit_price "
        "last_qty last_price order_id cl_ord_id exec_id",
    }.items()
}
"""The columns of CSV, by channel."""


def form_of(as_json: bool, as_csv: bool, counted: bool) -> str:
    """Return what to print: what was asked for; else a live screen on a terminal, and JSON in a pipe.

    ``counted`` tells that a number of lines was asked for, so that a terminal gets these.
    """
    if as_json or as_csv:
        return JSON if as_json else CSV
    if not sys.stdout.isatty():
        return JSON
    if counted or os.environ.get("TERM", "dumb") in ("dumb", "unknown", ""):
        return TEXT
    try:
        import rich  # noqa: F401
    except ImportError:
        return TEXT
    return LIVE


def print_json(message: Mapping[str, Any]) -> None:
    """Print one JSON object on a line of its own and flush, with exact digits and in ASCII."""
    # ASCII, so that the output does not depend on the encoding of the terminal or the locale.
    text = encode(message).decode()
    if not text.isascii():
        text = "".join(one if one.isascii() else json.dumps(one)[1:-1] for one in text)
    print_text(text)


def print_text(text: str) -> None:
    """Print a line and flush."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Lines:
    """Prints the items of a channel, one a line.

    Args:
        form: ``json``, ``csv`` or ``text``.
        channel: tells the columns and the text.
        header: whether CSV begins with the names of the columns.
        columns: instead of those of the channel.
        gaps: whether CSV has a last column for the reason of a gap.
    """

    def __init__(
        self, form: str, channel: str, header: bool = True, columns: Sequence[str] = (), gaps: bool = True
    ) -> None:
        self._form = form
        self._channel = channel
        self._columns = list(columns or COLUMNS.get(channel, ()))
        if gaps:
            self._columns.append("gap")
        self._text = TEXTS.get(channel, _any)
        if form == CSV and header:
            self._row(self._columns)

    def item(self, item: Mapping[str, Any]) -> None:
        """Print an item."""
        if self._form == JSON:
            print_json(item)
        elif self._form == CSV:
            self._row([_csv(item.get(name)) for name in self._columns])
        else:
            print_text(self._text(item))

    def gap(self, gap: Mapping[str, Any]) -> None:
        """Print that something is missing. CSV tells it in its last column."""
        if self._form == JSON:
            print_json({"type": "gap", **gap})
        elif self._form == CSV:
            known = {"symbol": gap.get("symbol"), "timestamp": gap.get("until"), "gap": gap.get("reason")}
            self._row([_csv(known.get(name)) for name in self._columns])
        else:
            since, until = clock(gap.get("since"), 8), clock(gap.get("until"), 8)
            where = f"{plain(gap.get('channel'))} {plain(gap.get('symbol') or '')}".strip()
            print_text(f"gap in {where} from {since} to {until}: {plain(gap.get('reason'))}")

    def _row(self, cells: Sequence[str]) -> None:
        csv.writer(sys.stdout, lineterminator="\n").writerow(cells)
        sys.stdout.flush()


def _csv(value: Any) -> str:
    return "" if value is None else plain(value)


def book_columns(depth: int) -> List[str]:
    """Return the columns of a book in CSV."""
    levels = range(1, depth + 1)
    sides = [
        f"{side}_{name}_{level}" for level in levels for side in ("bid", "ask") for name in ("price", "qty")
    ]
    return ["symbol", "timestamp", "checksum", *sides]


def book_item(state: BookSnapshot, form: str) -> Dict[str, Any]:
    """Return a book as an item to print."""
    if form == TEXT:
        return {"state": state}
    if form == JSON:
        return {
            "symbol": state.symbol,
            "bids": [level._asdict() for level in state.bids],
            "asks": [level._asdict() for level in state.asks],
            "checksum": state.checksum,
            "timestamp": state.timestamp,
        }
    row: Dict[str, Any] = {
        "symbol": state.symbol,
        "timestamp": state.timestamp,
        "checksum": state.checksum,
    }
    for side, levels in (("bid", state.bids), ("ask", state.asks)):
        for number, level in enumerate(levels, 1):
            row[f"{side}_price_{number}"], row[f"{side}_qty_{number}"] = level
    return row


def _book(item: Mapping[str, Any]) -> str:
    state = item["state"]
    sides = []
    for name, level in (("bid", state.best_bid), ("ask", state.best_ask)):
        sides.append(f"{name} {level.price:f} x {level.qty:f}" if level else f"{name}s empty")
    best = "  ".join(sides)
    return (
        f"{state.symbol}  {state.state}  {best}  spread {plain(state.spread)}  (proven {state.age:.1f} s ago)"
    )


def _ticker(item: Mapping[str, Any]) -> str:
    prices = "  ".join(f"{name} {plain(item.get(name))}" for name in ("bid", "ask", "last"))
    when = clock(item.get("timestamp"))
    return f"{plain(item.get('symbol'))}  {prices}  24h {change(item.get('change_pct'))}  (at {when})"


def _trade(item: Mapping[str, Any]) -> str:
    return (
        f"{clock(item.get('timestamp'))}  {plain(item.get('symbol'))}  {plain(item.get('side')):4}  "
        f"{plain(item.get('qty'))} at {plain(item.get('price'))}"
    )


def _ohlc(item: Mapping[str, Any]) -> str:
    return f"{clock(item.get('interval_begin'), 5)}  {plain(item.get('symbol'))}  " + "  ".join(
        f"{name} {plain(item.get(name))}" for name in ("open", "high", "low", "close", "volume")
    )


def _execution(item: Mapping[str, Any]) -> str:
    names = (
        "exec_type",
        "symbol",
        "side",
        "order_type",
        "order_qty",
        "limit_price",
        "last_qty",
        "last_price",
    )
    told = [plain(item[name]) for name in names if item.get(name) is not None]
    return f"{clock(item.get('timestamp'))}  {'  '.join(told)}  {plain(item.get('order_id'))}"


def _any(item: Mapping[str, Any]) -> str:
    return encode(item).decode()


TEXTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "book": _book,
    "ticker": _ticker,
    "trade": _trade,
    "ohlc": _ohlc,
    "executions": _execution,
}


def aligned(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], width: int) -> List[str]:
    """Return rows as lines of text in columns, numbers on the right.

    Columns at the end are left out if there is no space for them; the first two never are.
    """
    texts = [list(columns), *([plain(row.get(name)) for name in columns] for row in rows)]
    sizes = [max(len(line[number]) for line in texts) for number in range(len(columns))]
    shown = len(columns)
    while shown > 2 and sum(sizes[:shown]) + 2 * (shown - 1) > width:
        shown -= 1
    right = [any(isinstance(row.get(name), (int, Decimal)) for row in rows) for name in columns]
    return [
        "  ".join(
            cell.rjust(size) if to_right else cell.ljust(size)
            for cell, size, to_right in list(zip(line, sizes, right))[:shown]
        ).rstrip()
        for line in texts
    ]


def pipe_closed() -> bool:
    """Return whether the reader of stdout has closed the pipe.

    Without this a command whose feed is quiet would notice it only with its next line, as it does on Windows,
    which has no ``poll``.
    """
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))
