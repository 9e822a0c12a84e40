"""The simulated market stays a market, however long it runs."""

from __future__ import annotations

import math
from typing import Dict, List

import pytest

from kraken_sync.simulator.exchange import Exchange
from kraken_sync.simulator.faults import Faults

BEGAN = 1767607200.0
EVENTS, PART = 100_000, 50


class Measured:
    """What is seen of one pair in the course of a run."""

    def __init__(self) -> None:
        self.spreads: List[int] = []
        """In ticks."""
        self.prices: List[float] = []
        """Between the best bid and the best ask, in ticks."""
        self.trades = {"buy": 0, "sell": 0}
        self.widest = 0.0
        """The widest gap between two of the best 25 levels of a side, in the pair's typical steps."""

    @property
    def median(self) -> int:
        return sorted(self.spreads)[len(self.spreads) // 2]

    @property
    def late(self) -> int:
        """The largest of the last tenth of all spreads, without the largest one percent of those."""
        last = sorted(self.spreads[-len(self.spreads) // 10 :])
        return last[int(len(last) * 0.99)]

    def basis_points(self, ticks: int) -> float:
        return ticks / self.prices[-1] * 1e4

    def gains(self, every: int) -> List[float]:
        """The logarithms of the price's changes."""
        prices = self.prices[::every]
        return [math.log(later / earlier) for earlier, later in zip(prices, prices[1:])]


def run(seed: int) -> Dict[str, Measured]:
    exchange = Exchange(seed, BEGAN, Faults())
    found = {symbol: Measured() for symbol in exchange.markets}
    for number in range(EVENTS // PART):
        exchange.happen(PART, BEGAN + number * 0.25)
        for symbol, market in exchange.markets.items():
            one, (bid, ask) = found[symbol], market.best()
            one.spreads.append(ask[0] - bid[0])
            one.prices.append((ask[0] + bid[0]) / 2)
            for trade in market.trades:
                one.trades[trade.side] += 1
            market.trades.clear()
            if number % 40 == 0:
                for side in (market.book.bids, market.book.asks):
                    prices = [side.price_at(at) for at in range(min(25, len(side)))]
                    gap = max(abs(far - near) for near, far in zip(prices, prices[1:]))
                    one.widest = max(one.widest, gap / market.pair.step)
    return found


def correlation(first: List[float], second: List[float]) -> float:
    mean = sum(first) / len(first), sum(second) / len(second)
    pairs = [(x - mean[0], y - mean[1]) for x, y in zip(first, second)]
    return sum(x * y for x, y in pairs) / math.sqrt(
        sum(x * x for x, _ in pairs) * sum(y * y for _, y in pairs)
    )


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))])
def test_a_market_stays_a_market(seed: int) -> None:
    """After 100,000 events: narrow spreads, no hole, both sides trade, there are bursts, pairs agree."""
    found = run(seed)
    assert 1 <= found["BTC/USD"].median <= 5
    for symbol, one in found.items():
        traded = sum(one.trades.values())
        if not traded:
            continue  # a pair that is halted
        assert one.basis_points(one.median) <= 35, symbol
        assert one.basis_points(one.late) <= 100, symbol
        tenth = len(one.spreads) // 10
        first, last = sorted(one.spreads[:tenth]), sorted(one.spreads[-tenth:])
        assert last[tenth // 2] <= 2 * first[tenth // 2] + 4, symbol
        assert one.widest <= 40, symbol
        assert min(one.trades.values()) >= 0.3 * traded, symbol
    moves = sorted(map(abs, found["BTC/USD"].gains(20)))
    assert moves[-1] > 3 * moves[len(moves) // 2] > 0
    assert correlation(found["BTC/USD"].gains(50), found["ETH/USD"].gains(50)) > 0.4
    ratio = found["ETH/USD"].prices[-1] / found["BTC/USD"].prices[-1]
    cross = found["ETH/BTC"].prices[-1] / found["ETH/BTC"].prices[0]
    began = found["ETH/USD"].prices[0] / found["BTC/USD"].prices[0]
    assert ratio / began == pytest.approx(cross, rel=0.002)


def test_one_seed_is_one_market() -> None:
    """The same events, to the last order."""
    books = []
    for _ in range(2):
        exchange = Exchange(5, BEGAN, Faults())
        exchange.happen(5000, BEGAN)
        books.append([market.book.bids.top(50) for market in exchange.markets.values()])
    assert books[0] == books[1]
