"""What has traded: the last trades, the candles, the figures of the last 24 hours."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass
from typing import Deque, Dict, List, Tuple

from .instruments import Instrument
from .matching import BUY, SELL, Fill
from .wire import number, timestamp

INTERVALS = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
KEPT_TRADES = 1000
KEPT_CANDLES = 720


@dataclass(frozen=True)
class Trade:
    """A trade on the tape."""

    trade_id: int
    side: str
    price: int
    qty: int
    kind: str
    moment: float


@dataclass
class Candle:
    """One interval in which something traded."""

    begin: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    turnover: int
    trades: int

    def add(self, price: int, qty: int) -> None:
        """Count a trade."""
        self.high, self.low, self.close = max(self.high, price), min(self.low, price), price
        self.volume += qty
        self.turnover += price * qty
        self.trades += 1

    @property
    def vwap(self) -> int:
        """Average price, weighted by volume."""
        return self.turnover // self.volume if self.volume else self.close


class Tape:
    """The trades of one pair, and what follows from them."""

    def __init__(self, pair: Instrument, rng: random.Random, now: float, past: bool = True) -> None:
        self._pair = pair
        self._last_id = rng.randrange(10_000_000, 90_000_000)
        self.trades: Deque[Trade] = deque(maxlen=KEPT_TRADES)
        self.candles: Dict[int, Deque[Candle]] = {
            interval: deque(maxlen=KEPT_CANDLES) for interval in INTERVALS
        }
        self.opened = self.high = self.low = self.volume = self.turnover = self.count = self.last = 0
        if past:
            self._past(rng, now)
            day = self.candles[60]
            self.opened = day[0].open
            self.high, self.low = max(c.high for c in day), min(c.low for c in day)
            self.volume = sum(c.volume for c in day)
            self.turnover = sum(c.turnover for c in day)
            self.count = sum(c.trades for c in day)
            self.last = self.trades[-1].price

    def add(self, fill: Fill, moment: float, kind: str = "limit") -> Trade:
        """Put a trade on the tape."""
        trade = self._append(fill.taker, fill.price, fill.qty, kind, moment)
        self.last = trade.price
        self.opened = self.opened or trade.price
        self.high, self.low = max(self.high, trade.price), min(self.low or trade.price, trade.price)
        self.volume += trade.qty
        self.turnover += trade.price * trade.qty
        self.count += 1
        for interval, candles in self.candles.items():
            begin = int(moment // (interval * 60)) * interval * 60
            if not candles or candles[-1].begin != begin:
                price = trade.price
                candles.append(Candle(begin, price, price, price, price, 0, 0, 0))
            candles[-1].add(trade.price, trade.qty)
        return trade

    def _append(self, side: str, price: int, qty: int, kind: str, moment: float) -> Trade:
        self._last_id += 1
        trade = Trade(self._last_id, side, price, qty, kind, moment)
        self.trades.append(trade)
        return trade

    def _past(self, rng: random.Random, now: float) -> None:
        pair = self._pair
        for interval, candles in self.candles.items():
            price, found = pair.price, []
            for back in range(40):
                begin = (int(now // (interval * 60)) - back) * interval * 60
                spread = max(1, pair.step * 5)
                low, high = price - rng.randrange(spread), price + rng.randrange(spread)
                opened = rng.randint(max(1, low), high)
                volume, trades = pair.qty * rng.randrange(1, 40), rng.randrange(1, 60)
                turnover = volume * ((low + high) // 2)
                found.append(Candle(begin, opened, high, max(1, low), price, volume, turnover, trades))
                price = opened
            candles.extend(reversed(found))
        for back in range(50, 0, -1):
            side = rng.choice((BUY, SELL))
            price = max(1, pair.price + rng.randrange(-pair.step, pair.step + 1))
            self._append(side, price, max(1, pair.qty // rng.randrange(2, 30)), "limit", now - back)

    # -- as text -----------------------------------------------------------------------------

    def trade_text(self, trade: Trade) -> str:
        """A trade as the ``trade`` channel writes it."""
        pair = self._pair
        return (
            f'{{"symbol":"{pair.symbol}","side":"{trade.side}",'
            f'"price":{number(trade.price, pair.price_digits)},'
            f'"qty":{number(trade.qty, pair.qty_digits)},"ord_type":"{trade.kind}",'
            f'"trade_id":{trade.trade_id},"timestamp":"{timestamp(trade.moment)}"}}'
        )

    def candle_text(self, candle: Candle, interval: int) -> str:
        """A candle as the ``ohlc`` channel writes it."""
        pair, digits = self._pair, self._pair.price_digits
        return (
            f'{{"symbol":"{pair.symbol}","open":{number(candle.open, digits)},'
            f'"high":{number(candle.high, digits)},"low":{number(candle.low, digits)},'
            f'"close":{number(candle.close, digits)},"trades":{candle.trades},'
            f'"volume":{number(candle.volume, pair.qty_digits)},'
            f'"vwap":{number(candle.vwap, digits)},'
            f'"interval_begin":"{timestamp(candle.begin, 9)}","interval":{interval},'
            f'"timestamp":"{timestamp(candle.begin + interval * 60)}"}}'
        )

    def ticker_text(self, bid: Tuple[int, int], ask: Tuple[int, int], moment: float) -> str:
        """The ticker as the ``ticker`` channel writes it."""
        pair, digits = self._pair, self._pair.price_digits
        vwap = self.turnover // self.volume
        change = self.last - self.opened
        percent = round(change * 10000 / self.opened)
        fields: List[Tuple[str, str]] = [
            ("bid", number(bid[0], digits)),
            ("bid_qty", number(bid[1], pair.qty_digits)),
            ("ask", number(ask[0], digits)),
            ("ask_qty", number(ask[1], pair.qty_digits)),
            ("last", number(self.last, digits)),
            ("volume", number(self.volume, pair.qty_digits)),
            ("vwap", number(vwap, digits)),
            ("low", number(self.low, digits)),
            ("high", number(self.high, digits)),
            ("change", number(change, digits)),
            ("change_pct", number(percent, 2)),
            ("trades", str(self.count)),
            ("timestamp", f'"{timestamp(moment)}"'),
        ]
        body = ",".join(f'"{name}":{text}' for name, text in fields)
        return f'{{"symbol":"{pair.symbol}",{body}}}'
