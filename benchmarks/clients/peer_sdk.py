"""python-kraken-sdk with one order book, as its documentation has it, but over our certificate."""

from __future__ import annotations

import asyncio
import importlib
import time
from functools import partial
from typing import Any, Dict

from ..feed import PRICE_DIGITS, QTY_DIGITS, SYMBOL
from .common import PATIENCE, context, options, report


class Counter:
    """The callback: counts messages until all have come."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.wrong = 0
        self.done = asyncio.Event()

    def __call__(self, pair: str, message: Dict[str, Any]) -> None:
        """One update of the book; an "error" is a checksum that does not match."""
        if "error" in message:
            self.wrong += 1
            return
        self._left -= 1
        if not self._left:
            self.done.set()


async def measure(url: str, ca: str, count: int) -> None:
    """Measure from connected to all messages applied."""
    connectors = importlib.import_module("kraken.spot.websocket.connectors")
    spot = importlib.import_module("kraken.spot")
    vars(connectors)["connect"] = partial(vars(connectors)["connect"], ssl=context(ca))
    spot.SpotWSClient.WS_URL = url
    counter = Counter(count)
    client = spot.SpotOrderBookClient(depth=10, callback=counter)
    # It would ask REST for the digits of the pair.
    digits = {"pair_decimals": PRICE_DIGITS, "lot_decimals": QTY_DIGITS}
    client._SpotOrderBookClient__market.get_asset_pairs = lambda pair: {pair: digits}
    await client.start()
    cpu, wall = time.process_time(), time.perf_counter()
    await client.add_book(pairs=[SYMBOL])
    await asyncio.wait_for(counter.done.wait(), PATIENCE)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert not counter.wrong
    report(cpu=cpu / count * 1e6, wall=wall / count * 1e6)
    await client.close()


def main() -> None:
    """Run it."""
    given = options(__doc__)
    asyncio.run(measure(given.url, given.ca, given.count))


if __name__ == "__main__":
    main()
