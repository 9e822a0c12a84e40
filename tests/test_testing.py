"""What users have for the tests of their own programs."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Callable, List

import pytest
from conftest import WAIT, S, eventually
from helpers import background

import pytest_kraken_sync
from kraken_sync import ConnectFailed, ReplyTimeout, SpotWSClient
from kraken_sync.simulator import Simulator

PAGE = Path(__file__).parents[1] / "docs" / "testing.rst"
EXAMPLE = Path(__file__).parents[1] / "examples" / "testing"
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_kraken_sync", "-p", "no:cacheprovider"]
ROOT = str(Path(pytest_kraken_sync.__file__).parent)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """pytest in a process of its own, as a user runs it."""
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "pytest_kraken_sync",
            "-p",
            "no:cacheprovider",
            *arguments,
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=390,
        env={"PATH": "", "PYTHONPATH": ROOT, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )


def blocks(page: str) -> List[str]:
    """The Python programs of a page."""
    found = re.findall(r"\.\. code-block:: python\n\n((?:    .*\n|\n)+)", page)
    return [textwrap.dedent(block) for block in found]


def test_the_page(tmp_path: Path) -> None:
    """The bot and its test, copied from the page, pass."""
    bot, test = blocks(PAGE.read_text("utf-8"))
    (tmp_path / "bot.py").write_text(bot, "utf-8")
    (tmp_path / "test_bot.py").write_text(test, "utf-8")
    done = run(tmp_path, "--strict-markers")
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    for text, name in ((bot, "bot.py"), (test, "test_bot.py")):
        assert text.strip() == (EXAMPLE / name).read_text("utf-8").strip()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_page_a_hundred_times(tmp_path: Path) -> None:
    """Every time."""
    bot, test = blocks(PAGE.read_text("utf-8"))
    (tmp_path / "bot.py").write_text(bot, "utf-8")
    hundred = "\n\nimport pytest\npytestmark = pytest.mark.parametrize('again', range(100))\n"
    (tmp_path / "test_bot.py").write_text(test.replace("kraken_client):", "kraken_client, again):") + hundred)
    done = run(tmp_path, "-p", "xdist.plugin", "-n", "4")
    assert "300 passed" in done.stdout, done.stdout


def test_a_report_shows_the_ledger(tmp_path: Path) -> None:
    """Of a test that has failed, and only of that; the marker's arguments are the simulator's."""
    (tmp_path / "test_it.py").write_text(
        """
import pytest

@pytest.mark.kraken(seed=5)
def test_failing(kraken_exchange, kraken_client):
    order = {"symbol": "BTC/USD", "side": "sell", "order_type": "limit", "order_qty": "0.01"}
    kraken_client.add_order(**order, limit_price=90000, cl_ord_id="mine")
    assert kraken_exchange.seed == 6

def test_passing(kraken_exchange):
    assert kraken_exchange.seed == 1
"""
    )
    done = run(tmp_path)
    assert "1 failed, 1 passed" in done.stdout
    (ledger,) = re.findall(r"O\S+ mine sell 0.01\d* BTC/USD limit at 90000.*: new", done.stdout)
    assert ledger
    assert "add_order {" in done.stdout
    assert "'token'" not in done.stdout.partition("kraken_exchange -")[2]


def test_nothing_is_imported_for_other_tests(tmp_path: Path) -> None:
    """pytest loads the plugin in every run of a user."""
    (tmp_path / "test_it.py").write_text(
        "import sys\n\ndef test_it():\n    assert not {'kraken_sync', 'websocket'} & set(sys.modules)\n"
    )
    done = run(tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_ready(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """It blocks until books and tables are live, and names what is missing."""
    client = new_client(key=exchange.key, secret=exchange.secret)
    client.wait_ready()
    client.wait_ready(private=True, timeout=WAIT)
    assert client.orders == {}
    book = client.book(S)
    exchange.faults.no_snapshot[S] = 10**6
    exchange.faults.bad_checksum[S] = 1
    exchange.step(30, [S])
    eventually(lambda: str(book.state) != "LIVE")
    with pytest.raises(ReplyTimeout, match="the client is not ready: book BTC/USD is"):
        client.wait_ready(timeout=0.2)
    waiting = background(client.wait_ready, timeout=WAIT)
    exchange.faults.no_snapshot[S] = 0
    waiting["thread"].join(WAIT)
    assert waiting["value"] is None
    assert str(book.state) == "LIVE"
    exchange.faults.mute = True
    eventually(lambda: str(book.state) == "STALE")  # by time alone: nothing tells so
    with pytest.raises(ReplyTimeout, match="book BTC/USD is STALE"):
        client.wait_ready(timeout=0.1)
    exchange.faults.mute = False
    client.wait_ready(timeout=WAIT)
    with exchange.offline("private"):
        eventually(lambda: not client._ks_runtime.connection("private").open)
        with pytest.raises(ConnectFailed):
            client.wait_ready(timeout=0.2)


def test_markers(tmp_path: Path) -> None:
    """Those of a class and of a test add up; a seed without its name is told."""
    (tmp_path / "test_it.py").write_text(
        """
import pytest

@pytest.mark.kraken(seed=7, tier="pro")
class TestIt:
    @pytest.mark.kraken(tier=None)
    def test_both(self, kraken_exchange):
        assert kraken_exchange.seed == 7

@pytest.mark.kraken(7)
def test_nameless(kraken_exchange):
    pass

def test_odd_requests(kraken_exchange, kraken_client):
    kraken_client.send_message({"method": "ping", "params": [1]}, raw=True)
    kraken_exchange.settle()
    assert False, "told"
"""
    )
    done = run(tmp_path)
    assert "1 failed, 1 passed, 1 error" in done.stdout
    assert "the marker kraken takes keyword arguments" in done.stdout
    assert "ping [1]" in done.stdout
