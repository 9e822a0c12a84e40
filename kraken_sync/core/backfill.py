"""Fills the holes in a stream of trades with what REST has of them, in order and without doubles.

The trades of a symbol have ids that increase. A hole begins with a gap of the stream. It is filled when REST
has told a trade up to which everything is there: the one before the first trade that came after the gap, or
that trade itself. Until then the trades after the gap are held back, since REST may be behind.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade (``trade_id`` is unique and
sequential for a symbol) and https://docs.kraken.com/api-reference/market-data/get-recent-trades.
"""

from __future__ import annotations

from math import inf
from typing import Any, Dict, List, Mapping, Optional, Sequence

from .wire.numbers import decimal_of
from .wire.times import parse_time, time_text

Trade = Dict[str, Any]
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds between two questions for trades that REST does not have yet; the last value repeats."""
EARLIER = 1.0
"""REST is asked for trades from so many seconds before the last one: its times may be rounded."""


class TradeTape:
    """The trades of one symbol as one reader has got them. Times are in monotonic seconds.

    Args:
        symbol: the exchange's name of the pair.
    """

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol
        self.not_before = inf
        """When REST should be asked next; infinite if nothing is missing, or nothing more can be known."""
        self.open = False
        """Whether there is a hole that may not be filled yet."""
        self.since = 0.0
        """From when on trades are missing (seconds since the epoch)."""
        self._began = 0.0
        self._tries = 0
        self._last: Optional[int] = None
        self._last_time: Optional[float] = None
        self._held: List[List[Trade]] = []
        """The trades that are held back, a list for each gap that they came after; each list has no hole."""

    def missed(self, since: Any, now: float) -> None:
        """Note a gap; ``since`` is its beginning (RFC 3339), by this machine's clock."""
        begins = self._last_time or parse_time(since)
        if begins is None:
            return  # nothing tells from when on to ask
        if not self.open:
            self.open, self._began, self.since = True, now, begins - EARLIER
        if not self._held or self._held[-1]:
            self._held.append([])
        self.not_before, self._tries = now, 0

    def came(self, trade: Trade, now: float) -> List[Trade]:
        """Take over a trade of the stream, and return what the reader gets."""
        if not self.open:
            # The exchange's snapshot after a reconnect has some of them again.
            return [] if self._is_told(trade) else self._told([trade])
        self._held[-1].append(trade)
        found = self._settled()
        if self.open:
            self.not_before = min(self.not_before, now)
        return found

    def answered(self, trades: Sequence[Trade], now: float) -> List[Trade]:
        """Take over REST's trades since :attr:`since`, oldest first, and return what the reader gets."""
        held = {trade["trade_id"]: trade for part in self._held for trade in part}
        # Those that came over the stream, too, are not marked as filled in.
        fresh = [held.get(trade["trade_id"], trade) for trade in trades if not self._is_told(trade)]
        found = self._told(fresh) + self._settled()
        if self.open:
            self.since = (self._last_time or self.since + EARLIER) - EARLIER
            self.again(now)
        return found

    def again(self, now: float) -> None:
        """Ask once more, later: REST could not be asked, or is behind."""
        pause = PAUSES[min(self._tries, len(PAUSES) - 1)]
        self._tries += 1
        # Without a trade that came after the gap nothing tells whether REST has all of them.
        self.not_before = now + pause if any(self._held) or self._tries <= 1 else inf

    def given_up(self, now: float, patience: float) -> Optional[List[Trade]]:
        """Return the trades that were held back if the hole was not filled for so many seconds, else None."""
        if not any(self._held) or now - self._began < patience:
            return None
        held = [trade for part in self._held for trade in part]
        self._close()
        return self._told([trade for trade in held if not self._is_told(trade)])

    def _settled(self) -> List[Trade]:
        """Return those of the trades that were held back that have nothing missing before them any more."""
        found: List[Trade] = []
        while self._held and self._held[0]:
            part = self._held[0]
            rest = [trade for trade in part if not self._is_told(trade)]
            follows = len(rest) < len(part) or rest[0]["trade_id"] == (self._last or 0) + 1
            if not follows:
                break
            found += self._told(rest)
            del self._held[0]
            if not self._held:
                self._close()
        return found

    def _close(self) -> None:
        self.open, self.not_before = False, inf
        self._held.clear()

    def _is_told(self, trade: Trade) -> bool:
        return self._last is not None and bool(trade["trade_id"] <= self._last)

    def _told(self, trades: List[Trade]) -> List[Trade]:
        for trade in trades:
            self._last = trade["trade_id"]
            self._last_time = parse_time(trade.get("timestamp")) or self._last_time
        return trades


def rest_trades(symbol: str, rows: Sequence[Any]) -> List[Mapping[str, Any]]:
    """Return REST's rows as trades in the form of the ``trade`` channel, marked with ``backfilled``.

    Rows that are not as documented are left out.

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
            continue
    return trades
