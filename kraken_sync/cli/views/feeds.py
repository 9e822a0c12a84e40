"""The views of trades, tickers and candles."""

from __future__ import annotations

from itertools import islice
from typing import Any, List, Mapping, Sequence

from rich.text import Text

from ..plain import clock, number, plain
from .parts import DOWN, FAINT, NOTICE, TITLE, UP, Cell, Column, Glyphs, blocks, moved, sparkline, table

Item = Mapping[str, Any]
SPARK = 20
"""The number of values in a sparkline."""


def tape(items: Sequence[Item], width: int, height: int, symbols: bool = True) -> List[Text]:
    """Return the latest trades (and gaps), the newest first; ``items`` begin with the newest."""
    items = list(islice(items, max(0, height - 1)))
    columns = [
        Column("time", 1, right=False),
        *([Column("symbol", 0, right=False)] if symbols else []),
        Column("side", 0, right=False),
        Column("price"),
        Column("qty"),
        Column("type", 3, right=False),
        Column("id", 4),
    ]
    trades = [item for item in items if item.get("type") != "gap"]
    rows = []
    for item in trades:
        style = UP if item.get("side") == "buy" else DOWN
        rows.append(
            [
                Cell(clock(item.get("timestamp")), FAINT),
                *([Cell(plain(item.get("symbol")), TITLE)] if symbols else []),
                Cell(plain(item.get("side")), style),
                Cell(plain(item.get("price")), style),
                Cell(plain(item.get("qty"))),
                Cell(plain(item.get("ord_type")), FAINT),
                Cell(plain(item.get("trade_id")), FAINT),
            ]
        )
    if not items:
        return [Text("no trade yet"[:width], FAINT)]
    made, lines = blocks(columns, rows, width)
    left = iter(lines)
    for item in items:  # gaps stand at their places among the trades
        made += [gap_line(item, width)] if item.get("type") == "gap" else next(left)
    return made[:height]


def gap_line(item: Item, width: int) -> Text:
    """Return the line of a gap."""
    gap = item["data"][0]
    symbol = f" {plain(gap['symbol'])}" if gap.get("symbol") else ""
    return Text(f"gap{symbol}: {plain(gap['reason'])}"[:width], NOTICE)


def tickers(
    latest: Mapping[str, Item], past: Mapping[str, Sequence[Any]], width: int, glyphs: Glyphs
) -> List[Text]:
    """Return the latest tickers, one row a symbol."""
    columns = [
        Column("symbol", right=False),
        Column("last"),
        Column("24 h", 1),
        Column("bid", 2),
        Column("ask", 2),
        Column("last prices", 3, right=False),
        Column("volume", 4),
        Column("low", 5),
        Column("high", 5),
        Column("vwap", 6),
        Column("bid qty", 7),
        Column("ask qty", 7),
    ]
    rows = []
    for symbol, item in latest.items():
        day = moved(item.get("change_pct"))
        rows.append(
            [
                Cell(symbol, TITLE),
                Cell(plain(item.get("last")), day.style),
                day,
                Cell(plain(item.get("bid")), UP),
                Cell(plain(item.get("ask")), DOWN),
                Cell(sparkline(past[symbol], SPARK, glyphs), day.style),
                *(
                    Cell(plain(item.get(name)), FAINT)
                    for name in ("volume", "low", "high", "vwap", "bid_qty", "ask_qty")
                ),
            ]
        )
    return table(columns, rows, width) if rows else [Text("no ticker yet"[:width], FAINT)]


def candles(
    latest: Mapping[str, Item], past: Mapping[str, Sequence[Any]], width: int, glyphs: Glyphs
) -> List[Text]:
    """Return the current candles, one row a symbol."""
    columns = [
        Column("symbol", right=False),
        Column("begin", 3, right=False),
        Column("open", 1),
        Column("high", 1),
        Column("low", 1),
        Column("close"),
        Column("change", 1),
        Column("closes", 2, right=False),
        Column("volume", 4),
        Column("trades", 5),
        Column("vwap", 6),
    ]
    rows = []
    for symbol, item in latest.items():
        opened, closed = number(item.get("open")), number(item.get("close"))
        day = moved(100 * (closed - opened) / opened if opened and closed is not None else None)
        rows.append(
            [
                Cell(symbol, TITLE),
                Cell(clock(item.get("interval_begin"), 5), FAINT),
                *(Cell(plain(item.get(name))) for name in ("open", "high", "low")),
                Cell(plain(item.get("close")), day.style),
                day,
                Cell(sparkline(past[symbol], SPARK, glyphs), day.style),
                *(Cell(plain(item.get(name)), FAINT) for name in ("volume", "trades", "vwap")),
            ]
        )
    return table(columns, rows, width) if rows else [Text("no candle yet"[:width], FAINT)]
