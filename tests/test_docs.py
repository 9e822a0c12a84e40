"""The documents are true: examples run, and every name and command is described."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, List, Tuple

import pytest
from conftest import FAR
from helpers import free_ports

import kraken_sync
from kraken_sync import errors
from kraken_sync.cli.group import group
from kraken_sync.simulator import Simulator

ROOT = Path(__file__).parents[1]
PACKAGE = Path(kraken_sync.__file__).parent
README = (ROOT / "README.rst").read_text("utf-8")
DOCS = {path.name: path.read_text("utf-8") for path in (ROOT / "docs").glob("*.rst")}


def test_readme_example() -> None:
    """The lines of the README run as they stand and print what stands below them."""
    code = textwrap.dedent(re.findall(r"code-block:: python\n\n((?:    .*\n|\n)+)", README)[0])
    printed = textwrap.dedent(re.findall(r"They print::\n\n((?:    .*\n)+)", README)[0])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40)

    assert (done.stdout, done.stderr) == (printed, "")
    assert len([line for line in code.splitlines() if line.strip()]) <= 6


def test_readme_is_plain() -> None:
    """PyPI renders no Sphinx directives or roles; the first screen has the two commands."""
    assert not re.search(r":(?:class|func|meth|ref|doc):`", README)
    assert set(re.findall(r"^\.\. ([a-z-]+)::", README, re.M)) <= {"code-block", "image"}
    screen = "\n".join(README.splitlines()[:45])
    assert "kraken-sync demo" in screen
    assert "pytest" in screen


@pytest.mark.parametrize("name", [name for name in kraken_sync.__all__ if not name.startswith("_")])
def test_every_name_is_described(name: str) -> None:
    """Every public name appears in the documents."""
    described = {
        "Level": "best_bid",
        "BookSnapshot": "snapshot()",
        "BookState": "RESYNCING",
        "WSState": "client.state",
    }

    assert described.get(name, name) in README + "".join(DOCS.values())


@pytest.mark.parametrize("command", sorted(group.commands))
def test_every_command_is_described(command: str) -> None:
    """Every command and option appears on the command's page."""
    assert f"``{command}" in DOCS["cli.rst"]
    for parameter in group.commands[command].params:
        for option in parameter.opts:
            if option.startswith("--") and option not in ("--verbose", "--help"):
                assert option in DOCS["cli.rst"], option


def test_every_page_is_linked() -> None:
    """No page is lost."""
    assert {name[: -len(".rst")] for name in DOCS if name != "index.rst"} == set(
        re.findall(r"^   ([a-z0-9-]+)$", DOCS["index.rst"], re.M)
    )


def messages() -> List[Tuple[str, str]]:
    """Where each text of an error or a log line is made, and its longest part that is always the same."""
    found = []
    ours = {name for name in vars(errors) if isinstance(getattr(errors, name), type)}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        if place.parts[0] in ("simulator", "cli", "recording", "replay", "paper"):
            continue  # they have pages of their own
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            logs = getattr(getattr(node.func, "value", None), "id", "") == "log" or name == "Notice"
            if logs or name in ours or (place.name == "errors.py" and name == "__init__"):
                texts = [
                    one for one in (*node.args, *(word.value for word in node.keywords)) if one is not None
                ]
                part = max((constant(one) for one in texts), key=len, default="")
                if len(part) >= 12:
                    found.append((f"{place}:{node.lineno}", part))
    return found


def constant(node: ast.AST) -> str:
    """The longest part of a text that does not depend on anything."""
    if isinstance(node, ast.JoinedStr):
        parts = [one.value for one in node.values if isinstance(one, ast.Constant)]
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        parts = re.split(r"%[-+.\d]*[sdrfg]", node.value)
    else:
        return ""
    return max((str(part) for part in parts), key=len, default="").strip(" ;:,.()'")


def test_every_message_is_explained() -> None:
    """Who searches the documents for the words of an error or of the log finds them."""
    page = " ".join(DOCS["troubleshooting.rst"].replace("``", "").split())
    missing = [f"{where}: {part}" for where, part in messages() if " ".join(part.split()) not in page]
    assert len(messages()) > 90
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("ticker", ["BTC/USD", "--count", "2"], "bid"),
        ("order_book", ["BTC/USD", "--count", "3"], "to buy 1 at once"),
        ("trades_to_csv", ["OUT", "BTC/USD", "--count", "20"], ""),
        ("callback", ["BTC/USD", "--count", "5"], "trade_id"),
        pytest.param("survive_disconnect", None, "generation 2, after a gap", marks=pytest.mark.slow),
    ],
)
def test_examples(name: str, args: list, words: str, tmp_path: Path) -> None:
    """Each example runs against the simulator."""
    with Simulator(rate=500) as exchange:
        out = str(tmp_path / "out.csv")
        where = (
            []
            if args is None
            else [out if one == "OUT" else one for one in args] + ["--url", exchange.ws_url]
        )
        command = [sys.executable, str(ROOT / "examples" / f"{name}.py"), *where]
        done = subprocess.run(command, capture_output=True, text=True, timeout=50)

    assert (done.returncode, done.stderr) == (0, "")
    assert words in done.stdout
    if name == "trades_to_csv":
        assert len(Path(out).read_text("utf-8").splitlines()) == 21


def test_tables_are_made_from_the_code() -> None:
    """The states of a subscription and the order of locks stand in the documents as they are."""
    made = runpy.run_path(str(ROOT / "docs" / "tables.py"))
    for (page, name), make in made["TABLES"].items():
        assert make() in DOCS[page], "run: python docs/tables.py"
        assert made["placed"](DOCS[page], name, make()) == DOCS[page]


HOWTO = ROOT / "examples" / "howto"


def howto(name: str, exchange: Simulator, *args: str, **environment: str) -> Any:
    """Run a program of the guides against the exchange, to its end."""
    where = {"WS_URL": exchange.ws_url, "AUTH_WS_URL": exchange.auth_ws_url, "REST_URL": exchange.rest_url}
    keys = {"KRAKEN_API_KEY": exchange.key, "KRAKEN_API_SECRET": exchange.secret}
    return subprocess.run(
        [sys.executable, str(HOWTO / f"{name}.py"), *args],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, **where, **keys, **environment},
    )


def test_every_howto_is_shown_and_tested() -> None:
    """No program is forgotten by the pages or by the tests here."""
    shown = set(re.findall(r"examples/howto/([\w.-]+)", "".join(DOCS.values())))
    assert shown == {path.name for path in HOWTO.iterdir() if path.is_file()}
    tests = Path(__file__).read_text("utf-8")
    assert [name for name in shown if name.rpartition(".")[0] not in tests] == []


def test_cron_prices(exchange: Simulator, tmp_path: Path) -> None:
    """A line for each run; a failure is one line on stderr, and exit code 1."""
    out = tmp_path / "prices.csv"
    for _ in range(2):
        done = howto("cron_prices", exchange, "BTC/USD", str(out))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert re.fullmatch(r"(\S+Z,BTC/USD,64\d+\.\d+\n){2}", out.read_text("utf-8"))
    done = howto("cron_prices", exchange, "BTC/USDD", str(out))
    assert done.returncode == 1
    assert re.fullmatch(r"BTC/USDD: .*Did you mean 'BTC/USD'.*\n", done.stderr)


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="systemd is not here")
def test_systemd_service(exchange: Simulator, tmp_path: Path) -> None:
    """What systemd hears: READY when the book is there, WATCHDOG while it is proven, STOPPING on SIGTERM."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(address)
        heard.settimeout(20)
        environment = {
            **os.environ, "WS_URL": exchange.ws_url, "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "200000"
        }  # fmt: skip
        service = subprocess.Popen([sys.executable, str(HOWTO / "systemd_service.py")], env=environment)
        assert heard.recv(1000) == b"READY=1"
        assert heard.recv(1000).startswith(b"WATCHDOG=1\nSTATUS=BTC/USD 64")
        service.terminate()
        while heard.recv(1000) != b"STOPPING=1":
            pass
        assert service.wait(20) == 0
    unit = (HOWTO / "kraken-prices.service").read_text("utf-8")
    assert "Type=notify" in unit
    assert "WatchdogSec=" in unit


def test_logging_setup(exchange: Simulator, tmp_path: Path) -> None:
    """Everything is in the file; the terminal has warnings only, and there is none."""
    done = howto("logging_setup", exchange, str(tmp_path / "kraken.log"))
    assert (done.returncode, done.stderr) == (0, "")
    logged = (tmp_path / "kraken.log").read_text("utf-8")
    assert "INFO kraken_sync connected to" in logged
    assert "subscribed to book/BTC/USD" in logged
    assert "is closed" in logged


@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="there is no screen, and no xvfb-run")
def test_tk_ticker(exchange: Simulator) -> None:
    """A window opens, shows the price, and is closed."""
    pytest.importorskip("tkinter")
    command = ["xvfb-run", "-a", sys.executable, str(HOWTO / "tk_ticker.py"), "1"]
    environment = {**os.environ, "WS_URL": exchange.ws_url}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, env=environment)
    assert (done.returncode, done.stdout) == (0, "closed\n")


def test_flask_app(exchange: Simulator) -> None:
    """The price over HTTP, from many threads, through one client; none is made before it is needed."""
    pytest.importorskip("flask")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import flask_app as made\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "assert made._client is None\n"
        "def ask(number):\n"
        "    return made.app.test_client().get('/price/BTC/USD')\n"
        "answers = list(ThreadPoolExecutor(8).map(ask, range(20)))\n"
        "assert {one.status_code for one in answers} == {200}\n"
        "print(answers[0].json['symbol'], answers[0].json['state'])\n"
        "made._client.close(); print(made.app.test_client().get('/price/BTC/USD').status_code)\n"
        "made.post_fork(None, None); print(made._client)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(HOWTO)],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, "WS_URL": exchange.ws_url},
    )
    assert done.stdout.splitlines()[0] == "BTC/USD LIVE", done.stderr
    assert done.stdout.splitlines()[-1] == "None"


def test_worker_processes() -> None:
    """Snapshots go to another process, and its results come back."""
    with Simulator(rate=300) as exchange:
        done = howto("worker_processes", exchange)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"(BTC/USD -?[\d.E-]+\n){3}", done.stdout)


def test_trades_to_sqlite(tmp_path: Path) -> None:
    """Each trade once, however often it is run."""
    with Simulator(rate=60) as exchange:
        path = str(tmp_path / "trades.sqlite")
        first = howto("trades_to_sqlite", exchange, path, "BTC/USD", "60")
        again = howto("trades_to_sqlite", exchange, path, "BTC/USD", "60")
    assert (first.returncode, first.stderr, first.stdout) == (0, "", "60 trades\n")
    assert 60 < int(again.stdout.split()[0]) < 120, "the snapshots overlap"


def test_balances_to_excel(exchange: Simulator, tmp_path: Path) -> None:
    """A workbook with two sheets of numbers."""
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("openpyxl")
    path = str(tmp_path / "account.xlsx")
    with exchange.client() as client:
        client.add_order(**FAR)
    done = howto("balances_to_excel", exchange, path)
    assert (done.returncode, done.stderr) == (0, "")
    sheets = pandas.read_excel(path, sheet_name=None)
    assert dict(zip(sheets["balances"].asset, sheets["balances"].balance))["USD"] == 250_000
    assert list(sheets["orders"].limit_price) == [90_000]


def test_one_feed() -> None:
    """One process serves, two others read."""
    with Simulator(rate=300) as exchange:
        port = str(free_ports())
        environment = {**os.environ, "WS_URL": exchange.ws_url}
        command = [sys.executable, str(HOWTO / "one_feed.py")]
        feed = subprocess.Popen([*command, "serve", port], env=environment, stdout=subprocess.PIPE)
        try:
            assert feed.stdout is not None
            feed.stdout.readline()
            for _ in range(2):
                done = subprocess.run(
                    [*command, "read", port, "3"], capture_output=True, text=True, timeout=50
                )
                assert re.fullmatch(r"(BTC/USD 64\d+\.\d LIVE\n){3}", done.stdout)
        finally:
            feed.kill()
            feed.communicate()


def test_pictures_are_there() -> None:
    """Every picture that a page shows exists, and every one is shown."""
    shown = set(re.findall(r"(?:image|figure):: pictures/(\S+)", "".join(DOCS.values())))
    assert shown == {path.name for path in (ROOT / "docs" / "pictures").iterdir()}
