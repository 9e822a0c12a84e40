"""Any common spelling of a symbol is understood; typos get the nearest names."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from conftest import FAR, WAIT, S, eventually, within
from helpers import background

from kraken_sync import ReplyTimeout, SpotWSClient, StreamTimeout, UnknownSymbol, WSState
from kraken_sync.core.orders.pair_rules import PairRules
from kraken_sync.core.session import entry
from kraken_sync.core.wire.symbols import SymbolTable, spelled
from kraken_sync.simulator import Simulator

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
        ("bitcoin", ["BTC/USD"]),
        ("Ethereum/usd", ["ETH/USD"]),
        ("nonsense", []),
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


def test_table_of_symbols_beside_instruments_without_snapshot(client: SpotWSClient) -> None:
    """Reference data without a snapshot do not keep a spelling from being understood."""
    client.instruments(snapshot=False)

    assert client.book("btcusd").symbol == S


@pytest.mark.parametrize("text", ["XBT", "xbt/usd", "XXBTZUSD", "btc"])
def test_search_by_older_codes(text: str) -> None:
    """Older codes are translated in a search, so that no hint to search finds nothing."""
    assert "BTC/USD" in TABLE.search(text)


def test_a_pair_that_is_listed_while_the_client_runs(
    trader: SpotWSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A symbol that an older table does not have is looked up in a new one, for data and for orders. If no
    new one can be had, the exchange is asked."""
    symbols = trader._ks_market._symbols

    def age() -> None:
        symbols.learn({"BTC/USD": PairRules("BTC/USD", None, None, None, None)})
        symbols._fetched -= 10

    age()
    assert trader.book("ethusd").symbol == "ETH/USD"
    age()
    assert trader.add_order(**{**FAR, "symbol": "ETH/USD"}, validate=True)

    monkeypatch.setattr("kraken_sync.market.symbols._fetch", lambda *args: [])
    age()
    with pytest.raises(UnknownSymbol, match="NEWCOIN/USD"):
        trader.book("NEWCOIN/USD")
    age()
    assert trader.book("ETH/USD").state == "LIVE"
    assert trader.add_order(**{**FAR, "symbol": "ETH/USD"}, validate=True)


def test_the_table_has_tokenized_stocks(client: SpotWSClient, exchange: Simulator) -> None:
    """The exchange leaves them out unless it is asked for them."""
    client.book("btcusd")
    asked = [one["params"] for one in exchange.requests("subscribe")]

    assert {"channel": "instrument", "include_tokenized_assets": True, "snapshot": True} in asked


def test_table_of_symbols_in_time(client: SpotWSClient, exchange: Simulator) -> None:
    """A caller with little time does not wait for another's table of symbols."""
    exchange.faults.drop_acks = 1000
    slow = background(client.book, "nosuch0", timeout=1.5)
    eventually(lambda: exchange.requests("subscribe"))
    with within(0.24):
        with pytest.raises(ReplyTimeout):
            client.book("nosuch1", timeout=0.3)
    slow["thread"].join(WAIT)


def test_the_table_of_a_late_reader(
    client: SpotWSClient, exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is whole and of now, however many updates there were before, and few messages make it up."""
    monkeypatch.setattr(entry, "KEPT_INSTRUMENT_FRAMES", 5)
    first = client.subscribe({"channel": "instrument"})
    changes = [(S, "cancel_only"), ("ETH/USD", "post_only"), ("SOL/USD", "reduce_only")] * 5
    changes.append((S, "limit_only"))
    for symbol, status in changes:
        exchange.set_pair_status(symbol, status)
    for _ in range(len(changes) + 1):
        first.get(WAIT)

    late, frames = client.subscribe({"channel": "instrument"}), []
    with contextlib.suppress(StreamTimeout):
        while True:
            frames.append(late.get(0.05))
    assert [frame["type"] for frame in frames] == ["snapshot"]
    status = {pair["symbol"]: pair["status"] for frame in frames for pair in frame["data"]["pairs"]}
    assert {symbol: status[symbol] for symbol, _ in changes} == dict(changes)
    assert len(status) == len(exchange.exchange.markets)


def test_instruments_without_snapshot_through_an_outage(client: SpotWSClient, exchange: Simulator) -> None:
    """The table of symbols is had although the outage interrupted a subscription without snapshot."""
    client.instruments(snapshot=False)
    exchange.faults.refuse_connections = 5
    exchange.cut()
    eventually(lambda: client.state is WSState.RECONNECTING)

    assert client.book("btcusd").symbol == S
