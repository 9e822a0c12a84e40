"""Clients that nobody here wrote judge the simulator: it is ``kraken-sync simulate`` that they talk to."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, Iterator

import pytest

HERE = Path(__file__).parent


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
