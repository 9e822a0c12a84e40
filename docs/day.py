"""Draws ``pictures/day.svg``: a day of the simulated market, ten events a second. ``python docs/day.py``"""

from __future__ import annotations

from pathlib import Path
from typing import List, Tuple

from kraken_sync.simulator.exchange import Exchange
from kraken_sync.simulator.faults import Faults

BEGAN, PARTS, EVENTS = 1767571200.0, 1440, 600
WIDTH, HEIGHT, LEFT, TOP, GAP = 900, 130, 70, 24, 34


def measured() -> Tuple[List[float], List[float], List[float]]:
    """The price of BTC/USD, its spread (both in dollars), and what stands within 0.1 % of it (in BTC)."""
    exchange = Exchange(1, BEGAN, Faults())
    market = exchange.markets["BTC/USD"]
    tick, unit = 10.0**-market.pair.price_digits, 10.0**-market.pair.qty_digits
    prices, spreads, depths = [], [], []
    for part in range(PARTS):
        exchange.happen(EVENTS, BEGAN + part * 60)
        (bid, _), (ask, _) = market.best()
        middle = (bid + ask) / 2
        prices.append(middle * tick)
        spreads.append((ask - bid) * tick)
        near = [
            total
            for side in market.book.sides.values()
            for price, total in side.top(len(side))
            if abs(price - middle) < middle * 0.001
        ]
        depths.append(sum(near) * unit)
    return prices, spreads, depths


def panel(number: int, title: str, values: List[float]) -> str:
    top, low, high = TOP + number * (HEIGHT + GAP), min(values), max(values)
    scale = HEIGHT / ((high - low) or 1.0)
    points = " ".join(
        f"{LEFT + at * WIDTH / len(values):.1f},{top + HEIGHT - (value - low) * scale:.1f}"
        for at, value in enumerate(values)
    )
    return (
        f'<text x="{LEFT}" y="{top - 7}">{title}</text>'
        f'<rect x="{LEFT}" y="{top}" width="{WIDTH}" height="{HEIGHT}" class="frame"/>'
        f'<text x="{LEFT - 6}" y="{top + 10}" class="number">{high:,.1f}</text>'
        f'<text x="{LEFT - 6}" y="{top + HEIGHT}" class="number">{low:,.1f}</text>'
        f'<polyline points="{points}"/>\n'
    )


def main() -> None:
    prices, spreads, depths = measured()
    titles = ("BTC/USD, price in USD", "spread in USD", "quantity within 0.1 % of the price, in BTC")
    panels = "".join(panel(number, *one) for number, one in enumerate(zip(titles, (prices, spreads, depths))))
    bottom = TOP + 3 * (HEIGHT + GAP)
    hours = "".join(
        f'<text x="{LEFT + hour * WIDTH / 24}" y="{bottom - 12}" class="hour">{hour}:00</text>'
        for hour in range(0, 25, 4)
    )
    style = (
        "text{font:13px sans-serif;fill:#333}.number{text-anchor:end;font-size:11px}"
        ".hour{text-anchor:middle;font-size:11px}.frame{fill:#fff;stroke:#ccc}"
        "polyline{fill:none;stroke:#5741d9;stroke-width:1}"
    )
    size = f'viewBox="0 0 {LEFT + WIDTH + 20} {bottom}"'
    text = f'<svg xmlns="http://www.w3.org/2000/svg" {size}><style>{style}</style>\n{panels}{hours}</svg>\n'
    Path(__file__).with_name("pictures").joinpath("day.svg").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
