"""What the simulated assets are worth: all wander together, and each by itself, in calm and in bursts.

The fair price of a pair follows from the values of its two assets, so that pairs agree with one another:
ETH/BTC with ETH/USD and BTC/USD, for example.
"""

from __future__ import annotations

import math
import random
from typing import Dict, Iterable, Mapping

from .instruments import Instrument

COMMON, OWN = 3e-6, 2.5e-6
"""How much of its value an asset gains or loses with an event of one of its pairs, typically: what all share,
and what is its own."""
BACK = 2e-5
"""The part of its own gain that an asset loses again with each event; of the common gain it is a tenth."""
STEADY: Mapping[str, float] = {"USD": 0.0, "USDT": 0.05, "EUR": 0.1, "GBP": 0.1}
"""Assets that move less than others, and how much less."""
CALM, BURST = -1.0, 1.4
"""The logarithms of the least and the greatest volatility, relative to the usual one."""


class Values:
    """What the assets are worth. The owner serialises."""

    def __init__(self, pairs: Iterable[Instrument], rng: random.Random) -> None:
        self._rng = rng
        self._common = 0.0
        self._heat = 0.0
        self._own: Dict[str, float] = {}
        for pair in pairs:
            self._own.setdefault(pair.base, 0.0)
            self._own.setdefault(pair.quote, 0.0)

    def happen(self, pair: Instrument) -> None:
        """Let the values move, as far as the pair's assets are concerned."""
        gauss = self._rng.gauss
        self._heat += 0.03 * gauss(0.0, 1.0) - 0.001 * self._heat
        heat = math.exp(min(BURST, max(CALM, self._heat)))
        self._common += COMMON * heat * gauss(0.0, 1.0) - BACK * 0.1 * self._common
        for asset in (pair.base, pair.quote):
            share = STEADY.get(asset, 1.0)
            if share:
                self._own[asset] += share * OWN * heat * gauss(0.0, 1.0) - BACK * self._own[asset]

    def ratio(self, pair: Instrument) -> float:
        """How many times its price at the beginning the pair is worth now."""
        base, quote = pair.base, pair.quote
        common = STEADY.get(base, 1.0) - STEADY.get(quote, 1.0)
        return math.exp(self._own[base] - self._own[quote] + common * self._common)
