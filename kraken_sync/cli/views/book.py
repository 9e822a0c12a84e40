"""The view of order books: a ladder with depth bars, several books side by side, and an overview."""

from __future__ import annotations

from decimal import Decimal
from typing import List, Mapping, NamedTuple, Optional, Sequence

from rich.text import Text

from ...core.book.snapshot import BookSnapshot, Level
from ...core.wire.numbers import EXACT
from ..plain import plain
from .parts import DOWN, FAINT, NOTICE, TITLE, UP, Cell, Column, Glyphs, bar, beside, sparkline, table, words

STATES = {"LIVE": UP, "CLOSED": DOWN}
WIDEST_BAR = 30
LEAST = 3
"""The smallest number of levels a side that is worth showing."""


class Row(NamedTuple):
    """A level and the quantity of it and everything before it."""

    level: Level
    total: Decimal


def state_style(state: str) -> str:
    """Return the colour of a book's state."""
    return STATES.get(state, NOTICE)


def title(state: BookSnapshot, width: int) -> Text:
    """Return the line above a book; what is less important is left out in a narrow terminal."""
    points = _basis_points(state)
    spread = "one side is empty" if state.spread is None else f"spread {plain(state.spread)}"
    return words(
        [
            Cell(state.symbol, TITLE),
            Cell(state.state, state_style(state.state)),
            Cell(spread),
            Cell(f"{points} bp" if points else "", FAINT),
            Cell(f"proven {state.age:.1f} s ago", FAINT),
            Cell(f"mid {plain(state.mid)}" if state.mid is not None else "", FAINT),
            Cell(f"depth {state.depth}", FAINT),
        ],
        width,
    )


def _basis_points(state: BookSnapshot) -> str:
    if state.spread is None or not state.mid:
        return ""
    return f"{float(state.spread / state.mid) * 10_000:.2g}"


def ladder(state: BookSnapshot, width: int, height: int, glyphs: Glyphs) -> List[Text]:
    """Return a book in ``width`` by ``height`` cells: bids and asks side by side, or one above the other."""
    lines = _facing(state, width, height - 1, glyphs) or _stacked(state, width, height - 1, glyphs)
    return [title(state, width), *lines]


def _facing(state: BookSnapshot, width: int, height: int, glyphs: Glyphs) -> List[Text]:
    """Bids on the left and asks on the right, the best levels first; empty if there is no space for it."""
    count = min(max(len(state.bids), len(state.asks)), height - 1)
    if count < 1:
        return []
    bids, asks = _rows(state.bids[:count]), _rows(state.asks[:count])
    price, qty, total = _sizes(bids + asks)
    least = 2 * (price + qty + 2) + 3
    if least > width:
        return []
    left = width - least
    totals = left >= 2 * (total + 2)
    left -= 2 * (total + 2) if totals else 0
    bars = min(WIDEST_BAR, left // 2 - 2)
    bars = bars if bars >= 4 else 0
    most = max((row.total for row in bids + asks), default=Decimal(1)) or Decimal(1)

    def side(row: Optional[Row], is_bid: bool) -> Text:
        style = UP if is_bid else DOWN
        cells = [
            (plain(row.level.price if row else "").rjust(price), style),
            (plain(row.level.qty if row else "").rjust(qty), ""),
        ]
        if totals:
            cells.append((plain(row.total if row else "").rjust(total), FAINT))
        if bars:
            cells.append((bar(float(row.total / most) if row else 0.0, bars, glyphs, right=is_bid), style))
        line = Text()
        for number, (text, look) in enumerate(reversed(cells) if is_bid else cells):
            line.append(("  " if number else "") + text, look)
        return line

    heading_cells = [("bid", price), ("qty", qty)] + ([("total", total)] if totals else [])
    heading_cells += [("", bars)] if bars else []
    left_head = "  ".join(name.rjust(size) for name, size in reversed(heading_cells))
    right_head = "  ".join(("ask" if name == "bid" else name).rjust(size) for name, size in heading_cells)
    lines = [Text(f"{left_head} {glyphs.line} {right_head}".rstrip(), FAINT)]
    for number in range(count):
        bid = bids[number] if number < len(bids) else None
        ask = asks[number] if number < len(asks) else None
        line = side(bid, True)
        line.append(f" {glyphs.line} ", FAINT)
        line.append_text(side(ask, False))
        line.rstrip()
        lines.append(line)
    return lines


def _stacked(state: BookSnapshot, width: int, height: int, glyphs: Glyphs) -> List[Text]:
    """Asks above bids, the best levels in the middle."""
    count = max(1, (height - 1) // 2)
    bids, asks = _rows(state.bids[:count]), _rows(state.asks[:count])
    price, qty, total = _sizes(bids + asks)
    if price + qty + 2 > width:  # a level takes two lines
        count = max(1, (height - 1) // 4)
        bids, asks = bids[:count], asks[:count]
    totals = width >= price + qty + total + 4 + 6
    used = price + qty + 2 + (total + 2 if totals else 0)
    bars = min(WIDEST_BAR, width - used - 2)
    most = max((row.total for row in bids + asks), default=Decimal(1)) or Decimal(1)
    columns = [Column("price"), Column("qty")]
    columns += [Column("total", 1)] if totals else []
    columns += [Column("", 2, right=False)] if bars >= 4 else []

    def cells(row: Row, style: str) -> List[Cell]:
        made = [Cell(plain(row.level.price).rjust(price), style), Cell(plain(row.level.qty).rjust(qty))]
        if totals:
            made.append(Cell(plain(row.total).rjust(total), FAINT))
        if bars >= 4:
            made.append(Cell(bar(float(row.total / most), bars, glyphs), style))
        return made

    above = table(columns, [cells(row, DOWN) for row in reversed(asks)], width, heading=False)
    below = table(columns, [cells(row, UP) for row in bids], width, heading=False)
    between = Text(glyphs.dash * min(width, used), FAINT)
    if not asks:
        above = [Text("no asks", FAINT)]
    if not bids:
        below = [Text("no bids", FAINT)]
    return [*above, between, *below]


def _rows(levels: Sequence[Level]) -> List[Row]:
    rows, total = [], Decimal(0)
    for level in levels:
        total = EXACT.add(total, level.qty)  # a program may have set another precision
        rows.append(Row(level, total))
    return rows


def _sizes(rows: Sequence[Row]) -> List[int]:
    """Return the widths of price, quantity and total."""
    columns = [(5, [row.level.price for row in rows])]
    columns += [(3, [row.level.qty for row in rows]), (5, [row.total for row in rows])]
    return [max([least, *(len(plain(value)) for value in values)]) for least, values in columns]


def gallery(states: Sequence[BookSnapshot], width: int, height: int, glyphs: Glyphs) -> Optional[List[Text]]:
    """Return several books side by side, or None if there is no space for all of them."""
    needed = max(sum(_sizes(_rows(state.bids[:10]) + _rows(state.asks[:10]))[:2]) + 2 for state in states)
    needed = max(needed, 26)
    across = min(len(states), (width + 3) // (needed + 3))
    if across < 1:
        return None
    down = -(-len(states) // across)
    each = (height - (down - 1)) // down
    if each < 2 + 2 * LEAST:
        return None
    size = (width + 3) // across - 3
    lines: List[Text] = []
    for begin in range(0, len(states), across):
        blocks = [
            ([title(state, size), *_stacked(state, size, each - 1, glyphs)], size)
            for state in states[begin : begin + across]
        ]
        lines += [*([Text()] if lines else []), *beside(blocks)]
    return lines


def overview(
    states: Sequence[BookSnapshot], width: int, mids: Mapping[str, Sequence[Decimal]], glyphs: Glyphs
) -> List[Text]:
    """Return books as a table with one row each."""
    columns = [
        Column("symbol", right=False),
        Column("bid"),
        Column("ask"),
        Column("spread", 1),
        Column("bp", 3),
        Column("state", 1, right=False),
        Column("bid qty", 4),
        Column("ask qty", 4),
        Column("mid", 2, right=False),
    ]
    rows = []
    for state in states:
        bid, ask = state.best_bid, state.best_ask
        rows.append(
            [
                Cell(state.symbol, TITLE),
                Cell(plain(bid.price if bid else None), UP),
                Cell(plain(ask.price if ask else None), DOWN),
                Cell(plain(state.spread)),
                Cell(_basis_points(state), FAINT),
                Cell(state.state, state_style(state.state)),
                Cell(plain(bid.qty if bid else None), FAINT),
                Cell(plain(ask.qty if ask else None), FAINT),
                Cell(sparkline(mids.get(state.symbol, ()), 16, glyphs)),
            ]
        )
    return table(columns, rows, width)
