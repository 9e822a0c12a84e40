"""Turns recordings into rows of tables: trades, best prices, depth, candles, gaps."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import msgspec

from ..core.book.book import Book
from ..core.wire.channels import Key
from ..core.wire.numbers import to_decimal
from ..core.wire.record_lines import UNREADABLE
from .books import Books
from .manifest import wall_text_ns
from .routing import acknowledged, parts_of
from .source import GAP, LOST, Moment, Source

TEXT, INTEGER, NUMBER, TIME = "text", "integer", "number", "time"
"""The types of columns: text, int, an exact number (a Decimal), a time of the exchange (RFC 3339, UTC)."""


class Table(NamedTuple):
    """A table: its columns with their types, and those that identify a row; all of them if none are named."""

    name: str
    columns: Mapping[str, str]
    key: Sequence[str]


TABLES: Dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            "trades",
            {
                "symbol": TEXT,
                "trade_id": INTEGER,
                "timestamp": TIME,
                "side": TEXT,
                "price": NUMBER,
                "qty": NUMBER,
                "ord_type": TEXT,
            },
            ("symbol", "trade_id"),
        ),
        Table(
            "best",
            {
                "symbol": TEXT,
                "received": TIME,
                "timestamp": TIME,
                "bid": NUMBER,
                "bid_qty": NUMBER,
                "ask": NUMBER,
                "ask_qty": NUMBER,
            },
            (),
        ),
        Table(
            "depth",
            {
                "symbol": TEXT,
                "received": TIME,
                "side": TEXT,
                "level": INTEGER,
                "price": NUMBER,
                "qty": NUMBER,
            },
            (),
        ),
        Table(
            "candles",
            {
                "symbol": TEXT,
                "interval": INTEGER,
                "interval_begin": TIME,
                "open": NUMBER,
                "high": NUMBER,
                "low": NUMBER,
                "close": NUMBER,
                "vwap": NUMBER,
                "volume": NUMBER,
                "trades": INTEGER,
            },
            ("symbol", "interval", "interval_begin"),
        ),
        Table(
            "gaps",
            {
                "received": TIME,
                "channel": TEXT,
                "symbol": TEXT,
                "reason": TEXT,
                "since": TIME,
                "until": TIME,
            },
            (),
        ),
    )
}
Row = Tuple[Any, ...]
Rows = Dict[str, List[Row]]
BATCH = 20_000
"""The number of moments between two times that rows are handed over."""


class _Trade(msgspec.Struct):
    symbol: str
    price: Decimal
    qty: Decimal
    trade_id: int
    side: Optional[str] = ""
    timestamp: Optional[str] = ""
    ord_type: Optional[str] = ""


class _Trades(msgspec.Struct):
    data: List[_Trade]


class _Candle(msgspec.Struct):
    symbol: str
    interval: int
    interval_begin: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    vwap: Optional[Decimal] = None
    trades: int = 0


class _Candles(msgspec.Struct):
    data: List[_Candle]


_trades = msgspec.json.Decoder(_Trades, float_hook=Decimal, strict=False).decode
_candles = msgspec.json.Decoder(_Candles, float_hook=Decimal, strict=False).decode


class Extractor:
    """Reads a source, and makes rows of what is in it. Iterate over :meth:`rows` once.

    Args:
        source: the recordings.
        wanted: the names of the tables.
        every_ms: the time between two rows of ``depth``, in milliseconds of the recording.
        levels: the number of levels a side in ``depth``.
    """

    def __init__(self, source: Source, wanted: Sequence[str], every_ms: int = 1000, levels: int = 10) -> None:
        self._source = source
        self._every = every_ms * 10**6
        self._levels = levels
        self._rows: Rows = {name: [] for name in wanted}
        self._books = Books()
        self._best: Dict[str, Any] = {}
        self._due: Dict[str, int] = {}
        self._last_trade: Dict[str, int] = {}
        self.messages = 0
        """The number of messages of market data."""
        self.unreadable = 0
        """The number of messages that could not be read, or did not verify."""
        self._kinds: Dict[str, Callable[[Moment, Key, bool, bytes], None]] = {
            "book": self._book,
            "trade": self._trade,
            "ohlc": self._candle,
        }

    def rows(self) -> Iterator[Rows]:
        """Return the rows of all tables, in batches."""
        for number, moment in enumerate(self._source, 1):
            self._take(moment)
            if number % BATCH == 0:
                yield self._handed_over()
        yield self._handed_over()

    def _handed_over(self) -> Rows:
        rows, self._rows = self._rows, {name: [] for name in self._rows}
        return rows

    def _take(self, moment: Moment) -> None:
        if moment.kind in (LOST, GAP):
            self._missing(moment)
            return
        frame = moment.frame
        reply = acknowledged(frame)
        if reply is not None:
            self._books.acknowledged(reply)
        if reply is not None and reply.method == "unsubscribe" and "gaps" in self._rows:
            received, key = wall_text_ns(moment.at), reply.key
            row = (received, key.channel, key.symbol or "", "unsubscribed", received, None)
            self._rows["gaps"].append(row)
        for key, snapshot, part in parts_of(frame):
            self.messages += 1
            take = self._kinds.get(key.channel)
            if take is not None and key.symbol is not None:
                try:
                    take(moment, key, snapshot, part)
                except (*UNREADABLE, ValueError, ArithmeticError):
                    self.unreadable += 1

    def _book(self, moment: Moment, key: Key, snapshot: bool, frame: bytes) -> None:
        if not ("best" in self._rows or "depth" in self._rows):
            return
        symbol = key.symbol or ""
        book = self._books.take(symbol, snapshot, frame)
        if book is None:
            return
        received = wall_text_ns(moment.at)
        if "best" in self._rows:
            self._best_row(symbol, received, book)
        if "depth" in self._rows and moment.at >= self._due.get(symbol, 0):
            self._due[symbol] = moment.at - moment.at % self._every + self._every
            for side, levels in zip(("ask", "bid"), book.top(self._levels)):
                for level, (price, qty) in enumerate(levels, 1):
                    numbers = to_decimal(price, book.price_decimals), to_decimal(qty, book.qty_decimals)
                    self._rows["depth"].append((symbol, received, side, level, *numbers))

    def _best_row(self, symbol: str, received: str, book: Book) -> None:
        (asks, bids) = book.top(1)
        if self._best.get(symbol) == (asks, bids):
            return
        self._best[symbol] = asks, bids
        numbers: List[Optional[Decimal]] = []
        for side in (bids, asks):
            if side:
                price, qty = side[0]
                numbers += [to_decimal(price, book.price_decimals), to_decimal(qty, book.qty_decimals)]
            else:
                numbers += [None, None]
        self._rows["best"].append((symbol, received, book.timestamp or None, *numbers))

    def _trade(self, moment: Moment, key: Key, snapshot: bool, frame: bytes) -> None:
        if "trades" not in self._rows:
            return
        # A snapshot after a reconnect repeats trades. Their ids only grow.
        for trade in sorted(_trades(frame).data, key=lambda one: one.trade_id):
            if trade.trade_id > self._last_trade.get(trade.symbol, -1):
                self._last_trade[trade.symbol] = trade.trade_id
                self._rows["trades"].append(
                    (
                        trade.symbol,
                        trade.trade_id,
                        trade.timestamp,
                        trade.side,
                        trade.price,
                        trade.qty,
                        trade.ord_type,
                    )
                )

    def _candle(self, moment: Moment, key: Key, snapshot: bool, frame: bytes) -> None:
        if "candles" not in self._rows:
            return
        for one in _candles(frame).data:
            self._rows["candles"].append(
                (
                    one.symbol,
                    one.interval,
                    one.interval_begin,
                    one.open,
                    one.high,
                    one.low,
                    one.close,
                    one.vwap,
                    one.volume,
                    one.trades,
                )
            )

    def _missing(self, moment: Moment) -> None:
        if moment.kind == LOST and moment.role in ("", "public"):
            self._books.lose()
        if "gaps" not in self._rows:
            return
        received = wall_text_ns(moment.at)
        if moment.kind == LOST:
            times = [wall_text_ns(one) for one in moment.hole] if moment.hole else [received, None]
            row: Row = (received, "", "", moment.frame.decode(), *times)
        else:
            note = json.loads(moment.frame)
            names = (note.get("channel") or "", note.get("symbol") or "")
            row = (received, *names, *(note.get(name) for name in ("reason", "since", "until")))
        self._rows["gaps"].append(row)
