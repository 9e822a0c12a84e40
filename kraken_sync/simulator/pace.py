"""How time passes in the simulated exchange, and what happens meanwhile."""

from __future__ import annotations

from functools import partial
from typing import Callable, Iterator, Sequence

from .clock import Clock
from .exchange import Exchange

SLICE = 0.05
"""Seconds of market that go into one message."""
MOST_SLICES = 1000
"""The largest number of moments that a time in which nothing happens is made of."""
STEP = 1000
"""Microseconds from one event of :meth:`Pace.step` to the next, so that one is later than the other."""


class Pace:
    """Lets things happen. Where the exchange lives.

    Args:
        exchange: to which they happen.
        clock: its time, which is moved if it is one of its own.
    """

    def __init__(self, exchange: Exchange, clock: Clock) -> None:
        self._exchange = exchange
        self._clock = clock

    def step(self, events: int, symbols: Sequence[str]) -> None:
        """Let so many things happen in these markets, and publish them."""
        self._clock.move(STEP * events)
        now = self._clock.now()
        self._exchange.happen(events, now, symbols)
        self._exchange.publish(now)

    def moments(self, seconds: float, rate: float) -> Iterator[Callable[[], None]]:
        """Return what is to be called one after the other for so much time to pass, with ``rate`` events a
        second.
        """
        micros, slices, owed = round(seconds * 1e6), max(1, round(seconds / SLICE)), 0.0
        if not rate:
            slices = min(MOST_SLICES, slices)
        for number in range(slices):
            owed += rate * seconds / slices
            events, owed = int(owed), owed - int(owed)
            passed = micros * (number + 1) // slices - micros * number // slices
            yield partial(self._pass, passed, events)

    def _pass(self, micros: int, events: int) -> None:
        self._clock.move(micros)
        now = self._clock.now()
        self._exchange.trading.tick(now)  # what ends now does not trade any more
        self._exchange.happen(events, now)
        self._exchange.publish(now)
