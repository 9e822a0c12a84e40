"""The live views as lines of text, at every width of a terminal."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any, Dict, List, Sequence

import pytest
from rich.text import Text

from kraken_sync import BookSnapshot
from kraken_sync.cli.views import book, feeds, parts
from kraken_sync.cli.views.parts import ASCII, UNICODE, Cell, Column, Glyphs

WIDTHS = [30, 36, 44, 52, 60, 72, 80, 100, 120, 160, 200]
PAIRS = {"BTC/USD": (642_500, 1, 8), "SHIB/USD": (12_545, 9, 8), "MINA/GBP": (1611, 4, 8)}
"""A price in units, and the decimals of price and quantity."""


def snapshot(symbol: str, random_: random.Random, levels: int = 10, sides: str = "ba") -> BookSnapshot:
    """A random book, with quantities from tiny to huge."""
    price, price_decimals, qty_decimals = PAIRS[symbol]

    def side(sign: int) -> tuple:
        rows = []
        for step in range(levels):
            at = price + sign * (step + 1) * random_.randint(1, 3)
            rows.append((at, f"{at}{random_.randint(1, 10 ** random_.randint(3, 18))}"))
        return tuple(rows)

    return BookSnapshot(
        symbol=symbol,
        depth=levels,
        state="LIVE",
        checksum=1,
        timestamp="2026-11-29T12:00:00.000000Z",
        updated=None,
        age=0.2,
        version=1,
        generation=1,
        price_decimals=price_decimals,
        qty_decimals=qty_decimals,
        _bids=side(-1) if "b" in sides else (),
        _asks=side(1) if "a" in sides else (),
    )


def joined(lines: Sequence[Text]) -> str:
    """What is on the screen, with folded numbers put together again."""
    return "".join(line.plain for line in lines)


def shown_whole(text: str, numbers: List[Decimal]) -> bool:
    """Whether each of these numbers is somewhere with all its digits."""
    return all(format(number, "f") in text for number in numbers)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_a_ladder_fits_and_cuts_no_number(width: int, glyphs: Glyphs) -> None:
    """Random books: no line is too wide, no view too high, and every number that is begun is whole."""
    random_ = random.Random(width)
    for _ in range(60):
        symbol, height = random_.choice(list(PAIRS)), random_.randint(6, 40)
        state = snapshot(
            symbol, random_, random_.choice([1, 3, 10, 25]), random_.choice(["ba", "b", "a", ""])
        )
        lines = book.ladder(state, width, height, glyphs)

        assert max(len(line) for line in lines) <= width
        assert len(lines) <= height
        assert glyphs is UNICODE or joined(lines).isascii()
        best = [level for level in (state.best_bid, state.best_ask) if level is not None]
        assert shown_whole(joined(lines), [number for level in best for number in level])


def test_the_widest_ladder_has_everything() -> None:
    """Bars and totals are there when there is room, and are the first to go."""
    state = snapshot("BTC/USD", random.Random(1))
    wide, narrow = (book.ladder(state, width, 12, UNICODE) for width in (160, 70))

    assert "total" in wide[1].plain
    assert "█" in joined(wide)
    assert "total" not in narrow[1].plain
    total = sum((level.qty for level in state.bids), Decimal(0))
    assert format(total, "f") in joined(wide), "the last total is the sum of all levels that are shown"


def test_books_side_by_side_or_in_a_table() -> None:
    """As many as fit, else one row each; never a part of them."""
    states = [snapshot(symbol, random.Random(3)) for symbol in PAIRS]
    beside = book.gallery(states, 180, 30, UNICODE)
    assert beside is not None
    assert all(state.symbol in beside[0].plain for state in states)
    above = book.gallery(states[:2], 60, 40, UNICODE)
    assert above is not None
    assert [state.symbol in joined(above) for state in states] == [True, True, False]
    assert book.gallery(states, 50, 16, UNICODE) is None
    for width in WIDTHS:
        lines = book.overview(states, width, {}, UNICODE)
        assert max(len(line) for line in lines) <= width
        assert shown_whole(joined(lines), [level.price for s in states for level in (s.bids[0], s.asks[0])])


def item(symbol: str, **more: Any) -> Dict[str, Any]:
    """An item of a feed."""
    return {"symbol": symbol, "timestamp": "2026-11-29T12:00:01.123456Z", **more}


TRADES = [
    item(
        "SHIB/USD", side="buy", price=Decimal("0.000012545"), qty=Decimal("1116249041.63950974"), trade_id=1
    ),
    {"type": "gap", "channel": "trade", "data": [{"symbol": "BTC/USD", "reason": "the connection was lost"}]},
    item("BTC/USD", side="sell", price=Decimal("64250.1"), qty=Decimal("0.10000000"), trade_id=2),
]


@pytest.mark.parametrize("width", WIDTHS)
def test_rows_fit_and_cut_no_number(width: int) -> None:
    """Trades, tickers and candles at every width."""
    trades = [one for one in TRADES if "side" in one]
    tape = feeds.tape(TRADES, width, 20)
    assert shown_whole(joined(tape), [one[name] for one in trades for name in ("price", "qty")])
    latest = {
        one["symbol"]: {
            **one,
            **dict.fromkeys(("last", "bid", "ask", "low", "high", "open", "close"), one["price"]),
            "change_pct": Decimal("-1.25"),
            "volume": one["qty"],
            "interval_begin": "2026-11-29T12:00:00Z",
        }
        for one in trades
    }
    past = {symbol: [Decimal(1), Decimal(2)] for symbol in latest}
    for view, name in ((feeds.tickers, "last"), (feeds.candles, "close")):
        lines = view(latest, past, width, UNICODE)
        assert max(len(line) for line in lines) <= width
        assert shown_whole(joined(lines), [one[name] for one in latest.values()])
    assert max(len(line) for line in tape) <= width


def test_a_gap_stands_at_its_place_in_the_tape() -> None:
    """Between the trades before and after it."""
    lines = [line.plain for line in feeds.tape(TRADES, 80, 20)]
    assert [line.split()[1 if number != 2 else 0] for number, line in enumerate(lines)][1:] == [
        "SHIB/USD",
        "gap",
        "BTC/USD",
    ]
    assert "BTC/USD: the connection was lost" in lines[2]


def test_columns_are_left_out_by_priority() -> None:
    """The highest number first, and 0 never: then the row is folded."""
    columns = [Column("a"), Column("b", 2), Column("c", 1)]
    row = [Cell("1111"), Cell("2222"), Cell("3333")]

    def shown(width: int) -> List[str]:
        return [line.plain for line in parts.table(columns, [row], width, heading=False)]

    assert shown(16) == ["1111  2222  3333"]
    assert shown(15) == ["1111  3333"]
    assert shown(9) == ["1111"]
    assert shown(3) == ["111", "1"]


@pytest.mark.parametrize(
    ("values", "drawn"),
    [([], ""), ([1], "▄"), ([1, 1], "▄▄"), ([1, 8], "▁█"), ([9, 1, 2, 3], "▁▄█")],
)
def test_sparkline(values: List[int], drawn: str) -> None:
    """From the lowest to the highest of the latest values; a flat line is in the middle."""
    assert parts.sparkline([Decimal(value) for value in values], 3, UNICODE) == drawn


def test_bars() -> None:
    """In eighths to the right, in halves to the left, and never longer than their room."""
    assert parts.bar(0.5, 4, UNICODE) == "██  "
    assert parts.bar(0.53, 4, UNICODE) == "██▏ "
    assert parts.bar(0.5, 4, UNICODE, right=True) == "  ██"
    assert parts.bar(9, 4, UNICODE) == "████"
    assert parts.bar(-1, 4, ASCII) == "    "
