"""Fills the holes in a stream of trades with what REST has of them, in order and without doubles.

The trades of a symbol have ids that increase. A hole begins with a gap of the stream. It is filled when REST
has told a trade up to which everything is there: the one before the first trade that came after the gap, or
that trade itself. Until then the trades after the gap are held back, since REST may be behind.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade (``trade_id`` is unique and
sequential for a symbol) and https://docs.kraken.com/api-reference/market-data/get-recent-trades.
"""

from __future__ import annotations

from math import inf
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence

from .wire.numbers import decimal_of
from .wire.times import parse_time, time_text

Trade = Dict[str, Any]
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between two questions for trades that REST does not have yet; the last value repeats."""
PAGE_PAUSE = 1.0
"""Seconds between two pages of an answer: REST takes about one question a second."""
EARLIER = 1.0
"""REST is asked for trades from so many seconds before the last one: its times may be rounded."""
LAG = 60.0
"""Seconds after a gap for which REST is asked although no trade has come that proves a loss."""


class _Part:
    """What came after one gap, and before the next."""

    def __init__(self) -> None:
        self.trades: List[Trade] = []
        """The trades that are held back; none is missing between them."""
        self.began = inf
        """When the first of them came."""
        self.marks: List[Any] = []
        """What readers get before the first of them, in its place: gap frames."""


class TradeTape:
    """The trades of one symbol as one reader gets them. Times are in monotonic seconds.

    Args:
        symbol: the exchange's name of the pair.
        tell: gives a trade or a gap frame to the reader. The tape counts it as told only after that, so an
            interrupt loses nothing: it makes a hole, and REST fills holes.
    """

    def __init__(self, symbol: str, tell: Callable[[Any], None]) -> None:
        self.symbol = symbol
        self.not_before = inf
        """When REST should be asked next; infinite if nothing is missing, or nothing more can be known."""
        self._tell = tell
        self._last: Optional[Trade] = None
        self._begins = 0.0
        """From when on trades are missing (seconds since the epoch), if none was ever told."""
        self._parts: List[_Part] = []
        self._gap_at = 0.0
        self._tries = 0
        self._blocked = -inf
        self._page: Optional[int] = None

    @property
    def open(self) -> bool:
        """Whether there is a hole that may not be filled yet."""
        return bool(self._parts)

    @property
    def holds(self) -> bool:
        """Whether trades are held back."""
        return any(part.trades for part in self._parts)

    @property
    def missing_since(self) -> float:
        """From when on trades are missing (seconds since the epoch)."""
        last = parse_time(self._last.get("timestamp")) if self._last is not None else None
        return self._begins if last is None else last

    @property
    def since(self) -> int:
        """From when on REST is to be asked (nanoseconds since the epoch), as its ``since``."""
        return self._page if self._page is not None else int((self.missing_since - EARLIER) * 1e9)

    def missed(self, begins: Optional[float], now: float, mark: Any = None) -> None:
        """Note a gap.

        Args:
            begins: its beginning (seconds since the epoch, by the exchange's clock), which is used if no
                trade was told so far; None if that is not known.
            now: the time.
            mark: the gap frame to be told in its place; None for none.
        """
        if self._last is None and begins is None and not self.open:
            if mark is not None:
                self._tell(mark)
            return  # nothing tells from when on to ask
        if not self.open:
            self._begins = begins if begins is not None else self._begins
        if not self._parts or self._parts[-1].trades:
            self._parts.append(_Part())
        if mark is not None and len(self._parts) == 1:
            self._tell(mark)
        elif mark is not None:
            self._parts[-1].marks.append(mark)
        self._gap_at, self._tries, self._page = now, 0, None
        self._ask_from(now)

    def came(self, trade: Trade, now: float) -> None:
        """Take over a trade of the stream."""
        if not self.open:
            if not self._is_told(trade):  # the exchange's snapshot after a reconnect has some of them again
                self._told(trade)
            return
        part = self._parts[-1]
        part.trades.append(trade)
        if len(part.trades) == 1:  # only now: a read must not take longer the more trades are held back
            part.began = now
            self._settle()
            if self.open and self._page is None:
                self._tries = 0
                self._ask_from(min(self.not_before, now))

    def answered(self, trades: Sequence[Trade], now: float, page: Optional[int] = None) -> None:
        """Take over REST's trades since :attr:`since`, oldest first and without a hole.

        ``page`` is the ``since`` of the next page if there are more.
        """
        fresh = [trade for trade in trades if not self._is_told(trade) and self._is_wanted(trade)]
        if fresh and self.open:
            newest = fresh[-1]["trade_id"]
            found = {trade["trade_id"]: trade for trade in fresh}
            # Those that came over the stream, too, are not marked as filled in; and one that REST's answer
            # lacks is not lost for that.
            for part in self._parts:
                for trade in part.trades:
                    if trade["trade_id"] > newest:
                        break
                    if not self._is_told(trade):
                        found[trade["trade_id"]] = trade
            for trade_id in sorted(found):
                while len(self._parts) > 1 and trade_id > self._parts[0].trades[-1]["trade_id"]:
                    self._next_part()
                self._told(found[trade_id])
        self._settle()
        if not self.open:
            return
        self._page = page
        if page is not None:
            self._ask_from(now + PAGE_PAUSE)
        else:
            self.again(now)

    def again(self, now: float, patience: float = 0.0) -> None:
        """Ask once more, later: REST could not be asked, or is behind.

        ``patience`` is for how many seconds REST must not be asked at all.
        """
        self._blocked = max(self._blocked, now + patience)
        pause = PAUSES[min(self._tries, len(PAUSES) - 1)]
        self._tries += 1
        # Without a trade that came after the gap nothing proves that some are missing.
        self._ask_from(now + pause if self.holds or now - self._gap_at < LAG else inf)

    def wakes(self, patience: float) -> float:
        """Return when the oldest trades that are held back are to be given up."""
        return self._parts[0].began + patience if self._parts else inf

    def give_up(self, mark: Any = None) -> None:
        """Tell ``mark`` and the oldest trades that are held back, although some are missing before them."""
        if mark is not None:
            self._tell(mark)
        self._tell_part()
        self._settle()

    def until(self) -> Optional[str]:
        """Return the exchange's time of the oldest trade that is held back (RFC 3339)."""
        held = self._parts[0].trades if self._parts else []
        return held[0].get("timestamp") if held else None

    def _ask_from(self, moment: float) -> None:
        self.not_before = max(moment, self._blocked)

    def _settle(self) -> None:
        """Tell those of the trades that were held back that have nothing missing before them any more."""
        while self._parts and self._parts[0].trades:
            last = self._last["trade_id"] if self._last is not None else 0
            if self._parts[0].trades[0]["trade_id"] > last + 1:
                return
            self._tell_part()

    def _tell_part(self) -> None:
        for trade in self._parts[0].trades:
            if not self._is_told(trade):
                self._told(trade)
        self._next_part()

    def _next_part(self) -> None:
        del self._parts[0]
        if not self._parts:
            self.not_before, self._page = inf, None
            return
        marks, self._parts[0].marks = self._parts[0].marks, []
        for mark in marks:
            self._tell(mark)

    def _is_told(self, trade: Trade) -> bool:
        return self._last is not None and bool(trade["trade_id"] <= self._last["trade_id"])

    def _is_wanted(self, trade: Trade) -> bool:
        """Return whether the trade is not one from before the stream began."""
        if self._last is not None:
            return True
        moment = parse_time(trade.get("timestamp"))
        return moment is None or moment >= self._begins

    def _told(self, trade: Trade) -> None:
        self._tell(trade)
        self._last = trade


def rest_trades(symbol: str, rows: Sequence[Any]) -> List[Mapping[str, Any]]:
    """Return REST's rows as trades in the form of the ``trade`` channel, marked with ``backfilled``.

    They end before the first row that is not as documented: what comes after it is not known to be without a
    hole.

    >>> rest_trades("BTC/USD", [["64250.1", "0.5", 1767607200.25, "b", "l", "", 7]])[0]["timestamp"]
    '2026-01-05T10:00:00.250000Z'
    """
    trades: List[Mapping[str, Any]] = []
    for row in rows:
        try:
            price, qty, moment, side, kind, _, trade_id = row[:7]
            trades.append(
                {
                    "symbol": symbol,
                    "side": {"b": "buy", "s": "sell"}[side],
                    "price": decimal_of("price", price),
                    "qty": decimal_of("qty", qty),
                    "ord_type": {"m": "market", "l": "limit"}[kind],
                    "trade_id": int(trade_id),
                    "timestamp": time_text(float(moment), 6),
                    "backfilled": True,
                }
            )
        except (ValueError, TypeError, LookupError, OverflowError):
            break
    return trades
