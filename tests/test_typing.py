"""What type checkers say about a user's code: nothing about good code, something about each typo."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Set, get_args

import pytest

from kraken_sync import types
from kraken_sync.core.orders import params
from kraken_sync.core.wire import channels
from kraken_sync.core.wire.shapes import Candle, Instrument, Ticker, Trade
from kraken_sync.io.streams import POLICIES
from kraken_sync.simulator import Simulator

HERE = Path(__file__).parent / "typing"
TYPOS = (HERE / "typos.py").read_text("utf-8").splitlines()
WRONG = {number for number, line in enumerate(TYPOS, 1) if "# wrong:" in line}


def mypy(path: Path, tmp_path: Path) -> Set[int]:
    """The lines about which mypy --strict complains."""
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-version",
        "3.10",
        "--cache-dir",
        str(tmp_path),
    ]
    done = subprocess.run(
        [*command, "--config-file", "", "--follow-imports", "silent", str(path)],
        capture_output=True,
        text=True,
    )
    assert "error" in done.stdout or "Success" in done.stdout, done.stderr
    return set(map(int, re.findall(rf"{path.name}:(\d+): error", done.stdout)))


def basedpyright(path: Path, tmp_path: Path) -> Set[int]:
    """The same for basedpyright, strict."""
    settings = {
        "typeCheckingMode": "strict",
        "pythonVersion": "3.10",
        "include": [str(path)],
        "extraPaths": [str(HERE.parents[1])],
        "reportMissingTypeStubs": False,
        "reportAny": False,
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [
        sys.executable,
        "-m",
        "basedpyright",
        "--outputjson",
        "-p",
        str(tmp_path),
        "--pythonpath",
        sys.executable,
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {
        one["range"]["start"]["line"] + 1
        for one in found
        if one["severity"] == "error" and one["file"].endswith(path.name)
    }


CHECKERS = [
    pytest.param(
        checker,
        marks=pytest.mark.skipif(
            shutil.which(checker.__name__, path=str(Path(sys.executable).parent)) is None,
            reason=f"{checker.__name__} is not installed",
        ),
    )
    for checker in (mypy, basedpyright)
]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("checker", CHECKERS)
def test_good_code_passes(checker: Any, tmp_path: Path) -> None:
    """Strict, and silent."""
    assert checker(HERE / "good.py", tmp_path) == set()


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("checker", CHECKERS)
def test_typos_are_caught(checker: Any, tmp_path: Path) -> None:
    """Each of them, and nothing else."""
    assert len(WRONG) >= 20
    assert checker(HERE / "typos.py", tmp_path) == WRONG


@pytest.mark.parametrize(
    ("literal", "values"),
    [
        (types.ChannelName, channels.CHANNELS),
        (types.Depth, channels.DEPTHS),
        (types.OrderDepth, channels.ORDER_DEPTHS),
        (types.Interval, channels.INTERVALS),
        (types.Policy, POLICIES),
        (types.OrderType, params.ORDER_TYPES),
        (types.PriceType, params.PRICE_TYPES),
        (types.TimeInForce, params.METHODS["add_order"]["time_in_force"]),
        (types.FeePreference, params.METHODS["add_order"]["fee_preference"]),
        (types.SelfTradePrevention, params.METHODS["add_order"]["stp_type"]),
        (types.Side, params.METHODS["add_order"]["side"]),
        (types.EventTrigger, channels.CHANNELS["ticker"].params["event_trigger"]),
    ],
)
def test_words_are_those_that_are_checked(literal: Any, values: Any) -> None:
    """What a type checker lets through is what the library lets through."""
    assert set(get_args(literal)) == set(values)


@pytest.mark.parametrize(
    ("channel", "shape"), [("ticker", Ticker), ("trade", Trade), ("ohlc", Candle), ("instrument", Instrument)]
)
def test_shapes_are_those_of_the_messages(channel: str, shape: Any, exchange: Simulator) -> None:
    """Every required key is in the exchange's items."""
    with exchange.client() as client:
        symbol = None if channel == "instrument" else "BTC/USD"
        found: Any = client.collect(channel, symbol, n=1, snapshot=True)[0]  # type: ignore[arg-type]
    assert shape.__required_keys__ <= set(found)


def test_shapes_of_recorded_messages(captures: Path) -> None:
    """The same for the real exchange's, where there are recordings."""
    shapes = {"ticker": Ticker, "trade": Trade, "ohlc": Candle}
    seen = set()
    for path in captures.rglob("*.jsonl"):
        for line in path.read_text("utf-8", errors="replace").splitlines()[:3000]:
            match = re.search(r'\{"channel": ?"(ticker|trade|ohlc)".*\}', line.replace('\\"', '"'))
            if match is None:
                continue
            try:
                message = json.loads(match[0])
            except ValueError:
                continue
            for item in message.get("data", ()):
                assert shapes[match[1]].__required_keys__ <= set(item), (path.name, item)
                seen.add(match[1])
    assert seen
