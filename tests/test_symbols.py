"""Any common spelling of a symbol is understood; typos get the nearest names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kraken_sync.core.wire.symbols import SymbolTable, spelled

TABLE = SymbolTable(
    "BTC/USD BTC/USDT BTC/EUR ETH/USD ETH/BTC DOGE/USD XRP/USD".split()
    + "USDT/USD WBTC/USD AAPLx/USD MINA/GBP".split()
)


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTC/USD", "BTC/USD"),
        ("XBT/USD", "BTC/USD"),
        ("xbt/usd", "BTC/USD"),
        ("btc-usd", "BTC/USD"),
        ("btc_usd", "BTC/USD"),
        (" BTC / USD ", "BTC/USD"),
        ("XDG/USD", "DOGE/USD"),
        ("ETH/XBT", "ETH/BTC"),
    ],
)
def test_spelled_without_a_table(text: str, symbol: str) -> None:
    """Two well-known codes tell by themselves."""
    assert spelled(text) == symbol
    assert TABLE.find(text) == symbol


@pytest.mark.parametrize(
    ("text", "symbol"),
    [
        ("BTCUSD", "BTC/USD"),
        ("XBTUSD", "BTC/USD"),
        ("XXBTZUSD", "BTC/USD"),
        ("XETHXXBT", "ETH/BTC"),
        ("xdgusd", "DOGE/USD"),
        ("aaplx/usd", "AAPLx/USD"),
        ("usdtusd", "USDT/USD"),
    ],
)
def test_found_in_the_table(text: str, symbol: str) -> None:
    """The rest is looked up, and the exchange's own case is kept."""
    assert spelled(text) is None
    assert TABLE.find(text) == symbol


@pytest.mark.parametrize("text", ["BTC/USDD", "bitcoin", "", "/", "BTC", "BTC/"])
def test_not_found(text: str) -> None:
    """Nothing is guessed."""
    assert spelled(text) is None
    assert TABLE.find(text) is None


@pytest.mark.parametrize(
    ("text", "suggestions"),
    [
        ("BTC/USDD", ["BTC/USD", "BTC/USDT"]),
        ("BTX/USD", ["BTC/USD"]),
        ("ETH/UDS", ["ETH/USD"]),
        ("BTCUSDD", ["BTC/USD", "BTC/USDT"]),
        ("bitcoin", []),
    ],
)
def test_suggestions(text: str, suggestions: list) -> None:
    """The nearest names come first; what is near nothing gets none."""
    assert TABLE.suggest(text)[: len(suggestions) or 2] == suggestions


def test_real_symbols(captures: Path) -> None:
    """On the exchange's own list every symbol is found under all its names."""
    path = captures / "kraken-data-recorder" / "instrument_snapshot.json"
    symbols = [pair["symbol"] for pair in json.loads(path.read_text("utf-8"))["data"]["pairs"]]
    table = SymbolTable(symbols)
    for symbol in symbols:
        older = "/".join({"BTC": "XBT", "DOGE": "XDG"}.get(code, code) for code in symbol.split("/"))
        assert table.find(symbol) == table.find(symbol.lower()) == table.find(older) == symbol
