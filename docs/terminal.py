"""Draws ``pictures/terminal.svg``, what ``kraken-sync demo`` shows: ``python docs/terminal.py``"""

from __future__ import annotations

import io
from collections import deque
from decimal import Decimal
from pathlib import Path
from typing import Any, Deque, Dict

from rich.console import Console
from rich.text import Text

from kraken_sync import SpotWSClient
from kraken_sync.cli.views.book import ladder, overview
from kraken_sync.cli.views.feeds import tape
from kraken_sync.cli.views.parts import UNICODE, beside
from kraken_sync.simulator import Simulator

WIDTH, HEIGHT, SIDE = 118, 24, 52


def main() -> None:
    """Let a simulated market run for some minutes of its own time, and draw the last moment."""
    market = Simulator(seed=1, start_time=1_795_910_400.0, rate=200)
    with market as sim, sim.client(parse_float=Decimal) as client:
        lines = _lines(sim, client)
    console = Console(
        record=True, width=WIDTH, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for line in lines[:HEIGHT]:
        console.print(line, no_wrap=True, crop=False)
    picture = console.export_svg(title="kraken-sync demo")
    Path(__file__).with_name("pictures").joinpath("terminal.svg").write_text(picture, "utf-8")


def _lines(sim: Any, client: SpotWSClient) -> Any:
    books = [client.book(symbol, 25) for symbol in ("BTC/USD", "ETH/USD", "SOL/USD", "SHIB/USD")]
    trades = client.trades("BTC/USD", snapshot=True)
    mids: Dict[str, Deque[Decimal]] = {book.symbol: deque(maxlen=60) for book in books}
    for _ in range(40):
        sim.run(2)
        for book in books:
            mids[book.symbol].append(book.stale.mid or Decimal(0))
    latest: Deque[Any] = deque(maxlen=30)
    while not trades.over and len(latest) < 5000:
        try:
            latest.appendleft(trades.get(0.2))
        except TimeoutError:
            break
    states = [book.snapshot() for book in books]
    lines = [Text("a simulated Kraken", "bold"), *overview(states, WIDTH, mids, UNICODE), Text()]
    left, height = WIDTH - SIDE - 3, HEIGHT - len(lines)
    return lines + beside(
        [(ladder(states[0], left, height, UNICODE), left), (tape(latest, SIDE, height, symbols=False), SIDE)]
    )


if __name__ == "__main__":
    main()
