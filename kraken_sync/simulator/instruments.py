"""The pairs and assets of the simulated exchange, with the digits of the real one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, Iterable, List, Tuple

from .wire import number


@dataclass(frozen=True)
class Instrument:
    """One pair. Prices and quantities are integers of the smallest unit."""

    symbol: str
    price_digits: int
    qty_digits: int
    price: int
    """Where the market begins."""
    step: int
    """Typical distance of two levels."""
    qty: int
    """Typical size of an order."""
    levels: int
    """How many levels a side the market aims at."""
    activity: float
    """Its share of the events, relative to the others; 0 for a pair in which nothing happens."""
    qty_min: int
    cost_min: str
    cost_digits: int = 5
    old_name: str = ""
    """The base and quote in their REST form, such as ``XXBT/ZUSD``."""

    @property
    def base(self) -> str:
        """The base asset."""
        return self.symbol.split("/")[0]

    @property
    def quote(self) -> str:
        """The quote asset."""
        return self.symbol.split("/")[1]


INSTRUMENTS: Tuple[Instrument, ...] = (
    Instrument("BTC/USD", 1, 8, 642510, 4, 45_000_000, 1400, 10, 5000, "0.5", old_name="XXBT/ZUSD"),
    Instrument("ETH/USD", 2, 8, 318742, 9, 310_000_000, 600, 6, 100000, "0.5", old_name="XETH/ZUSD"),
    Instrument("BTC/EUR", 1, 8, 589203, 6, 21_000_000, 300, 3, 5000, "0.45", old_name="XXBT/ZEUR"),
    Instrument("ETH/BTC", 6, 8, 49607, 1, 150_000_000, 250, 3, 100000, "0.00002", 10, "XETH/XXBT"),
    Instrument("SOL/USD", 2, 8, 14283, 1, 2_500_000_000, 300, 4, 6000000, "0.5"),
    Instrument("XRP/USD", 5, 8, 223145, 11, 90_000_000_000, 300, 3, 165000000, "0.5", old_name="XXRP/ZUSD"),
    Instrument("ADA/USD", 6, 8, 682340, 37, 120_000_000_000, 200, 2, 440000000, "0.5"),
    Instrument("DOGE/USD", 7, 8, 2164530, 90, 500_000_000_000, 300, 3, 5000000000, "0.5", 9, "XXDG/ZUSD"),
    Instrument("USDT/USD", 5, 8, 99981, 1, 9_000_000_000_000, 60, 2, 500000000, "0.5"),
    Instrument("SHIB/USD", 9, 8, 12543, 7, 23_456_789_012_345_678, 200, 2, 3_900_000_000_000, "0.5"),
    Instrument("MINA/GBP", 4, 8, 1612, 4, 150_000_000_000, 5, 0.5, 1000000000, "0.4"),
    Instrument("XMR/BTC", 6, 8, 2514, 3, 300_000_000, 40, 0, 3000000, "0.00002", 10, "XXMR/XXBT"),
)  # fmt: skip

_ASSET_DIGITS: Dict[str, Tuple[int, int]] = {
    "USD": (4, 2), "EUR": (4, 2), "GBP": (4, 2), "USDT": (8, 4), "BTC": (10, 5),
}  # fmt: skip


def pair_text(pair: Instrument, status: str) -> str:
    """A pair as the ``instrument`` channel writes it."""
    increment = number(1, pair.price_digits)
    return (
        f'{{"symbol":"{pair.symbol}","base":"{pair.base}","quote":"{pair.quote}","status":"{status}",'
        f'"qty_precision":{pair.qty_digits},"qty_increment":{number(1, pair.qty_digits)},'
        f'"price_precision":{pair.price_digits},"cost_precision":{pair.cost_digits},'
        f'"marginable":false,"has_index":true,"cost_min":{pair.cost_min},'
        f'"tick_size":{increment},"price_increment":{increment},'
        f'"qty_min":{number(pair.qty_min, pair.qty_digits)}}}'
    )


def asset_text(asset: str) -> str:
    """An asset as the ``instrument`` channel writes it."""
    digits, shown = _ASSET_DIGITS.get(asset, (10, 5))
    return (
        f'{{"id":"{asset}","status":"enabled","precision":{digits},"precision_display":{shown},'
        '"borrowable":false,"collateral_value":1.00,"margin_rate":0.020000}'
    )


def assets_of(pairs: Iterable[Instrument]) -> List[str]:
    """All assets of these pairs."""
    found = {asset: None for pair in pairs for asset in (pair.base, pair.quote)}
    return list(found)


def asset_digits(asset: str) -> Tuple[int, int]:
    """Ledger digits and shown digits of an asset."""
    return _ASSET_DIGITS.get(asset, (10, 5))
