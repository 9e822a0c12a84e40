"""Clients that nobody here wrote judge the simulator: it is ``kraken-sync simulate`` that they talk to."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest
from conftest import eventually

from kraken_sync.recording import Recorder
from kraken_sync.simulator import Simulator

HERE = Path(__file__).parent
RECORDED = ["BTC/USD", "ETH/USD"]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some seconds of a lively market, with books deeper than the peers ask for."""
    path = tmp_path_factory.mktemp("day") / "day.jsonl.gz"
    with Simulator(seed=8, rate=4000) as sim, sim.client() as client, Recorder(client, path):
        books = [client.book(symbol, 100) for symbol in RECORDED]
        held = [client.trades(RECORDED), client.ticker(RECORDED), client.ohlc(RECORDED, 5)]
        client.subscribe({"channel": "instrument"})
        eventually(lambda: client.stats()["verified"] > 6000)
        assert books
        assert held
    return path


@pytest.fixture(params=["max", "4"])
def replay(request: pytest.FixtureRequest, recording: Path) -> Iterator[Dict[str, str]]:
    """The command: the addresses that it prints."""
    command = [sys.executable, "-m", "kraken_sync", "replay", str(recording), "--speed", request.param]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert (out, err) == ("", ""), "the replay had something to complain about"


@pytest.fixture
def simulator() -> Iterator[Dict[str, str]]:
    """The command, with a lively market; the addresses and the key that it prints.

    One for each peer: their nonces are of different sizes, and one key needs one kind, as at the real
    exchange.
    """
    command = [sys.executable, "-m", "kraken_sync", "simulate", "--rate", "1500", "--seed", "4"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield json.loads(process.stdout.readline())
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert (out, err) == ("", ""), "the simulator had something to complain about"


def run(script: str, *arguments: str) -> Dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / script), *arguments], capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: Dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def needs(name: str) -> Any:
    missing = importlib.util.find_spec(name) is None
    return pytest.mark.skipif(missing, reason=f'{name} is not installed: pip install ".[interop]"')


@needs("kraken")
@pytest.mark.timeout(150)
def test_its_order_books_stay_valid_on_a_replay(replay: Dict[str, str]) -> None:
    """python-kraken-sdk runs on yesterday's data unchanged, in another depth than the recorded one."""
    seen = run("sdk_peer.py", "books", *where(replay), "1500", *RECORDED)

    assert seen["updates"] >= 1500
    assert (seen.get("invalid", 0), seen.get("error", 0)) == (0, 0)


@needs("kraken")
@pytest.mark.timeout(150)
@pytest.mark.parametrize("replay", ["1"], indirect=True)
def test_its_channels_on_a_replay(replay: Dict[str, str]) -> None:
    """Snapshots and updates of everything that was recorded."""
    seen = run("sdk_peer.py", "channels", *where(replay))

    assert set(seen) == {"ticker", "book", "trade", "ohlc", "instrument"}


@needs("ccxt")
@pytest.mark.timeout(150)
@pytest.mark.parametrize("replay", ["0.2"], indirect=True)
def test_ccxt_on_a_replay(replay: Dict[str, str]) -> None:
    """Markets from REST, the book, trades."""
    seen = run("ccxt_peer.py", *where(replay), "50")

    assert seen["markets"] >= 2
    assert (seen["crossed"], seen["levels"]) == (False, [10, 10])
    assert seen["trade"][1] is True


def where(simulator: Dict[str, str]) -> list:
    return [simulator[name] for name in ("ws_url", "auth_ws_url", "rest_url", "key", "secret")]


@needs("kraken")
@pytest.mark.timeout(150)
def test_its_order_books_stay_valid(simulator: Dict[str, str]) -> None:
    """python-kraken-sdk keeps four books valid for thousands of updates, without one mismatch."""
    seen = run("sdk_peer.py", "books", *where(simulator))

    assert seen["updates"] >= 3000
    assert (seen.get("invalid", 0), seen.get("error", 0)) == (0, 0)


@needs("kraken")
@pytest.mark.timeout(150)
def test_its_client_trades(simulator: Dict[str, str]) -> None:
    """python-kraken-sdk receives every channel, and places, amends and cancels an order."""
    seen = run("sdk_peer.py", "client", *where(simulator))

    assert seen["replies"] == [True, True, True]
    assert seen["told"] == ["pending_new", "new", "amended", "canceled"]
    assert set(seen) >= {"ticker", "book", "trade", "ohlc", "instrument", "executions"}


@needs("ccxt")
@pytest.mark.timeout(150)
def test_ccxt_watches_and_trades(simulator: Dict[str, str]) -> None:
    """ccxt watches book, trades and balance, and places and cancels an order."""
    seen = run("ccxt_peer.py", *where(simulator))

    assert seen["markets"] == 12
    assert (seen["crossed"], seen["levels"]) == (False, [10, 10])
    assert seen["trade"][1] is True
    assert seen["balance"] >= 5
    assert seen["open"] == [seen["placed"]]
    assert seen["open_after"] == 0
