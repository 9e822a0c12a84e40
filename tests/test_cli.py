"""The command as a user types it: output, exit codes, pipes, signals."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator, List, Tuple

import click
import pytest
from conftest import FAR, eventually, within
from helpers import free_ports

from kraken_sync.cli.group import group
from kraken_sync.cli.main import main
from kraken_sync.recording import Recorder
from kraken_sync.simulator import Simulator

RECORDING = Path(__file__).parent / "data" / "recording.jsonl"
COMMAND = [sys.executable, "-m", "kraken_sync"]


def run(*args: str, timeout: float = 40.0, **options: Any) -> Tuple[int, str, str]:
    """Run to the end: (exit code, stdout, stderr)."""
    done = subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=timeout, **options)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def spawn() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts commands; what still runs at the end is killed."""
    started: List[subprocess.Popen[str]] = []

    def start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def first_line(process: subprocess.Popen[str]) -> dict:
    """The next line of its stdout, as JSON."""
    assert process.stdout is not None
    return json.loads(process.stdout.readline())


def lines(out: str) -> List[dict]:
    """JSON lines."""
    return [json.loads(line) for line in out.splitlines()]


def test_demo() -> None:
    """The demo verifies hundreds of messages over a real socket; the last line is the summary."""
    code, out, err = run("demo", "--seconds", "3", "--json")
    summary = lines(out)[-1]

    assert (code, err) == (0, "")
    assert summary["verified"] == summary["book_messages"] > 200
    assert summary["messages"] > summary["verified"]
    assert (summary["mismatched"], summary["reconnects"]) == (0, 0)
    assert summary["seconds"] >= 3
    assert 0 < float(summary["spreads"]["BTC/USD"]) < 20
    assert any(line.get("channel") == "trade" for line in lines(out))


def test_demo_interrupted(spawn: Callable[..., Any]) -> None:
    """Ctrl-C still gives the summary, and the shell its exit code."""
    process = spawn("demo")
    first_line(process)
    process.send_signal(signal.SIGINT)
    # Not communicate(), which would lose what has been read ahead with the first line.
    out, err = process.stdout.read(), process.stderr.read()

    assert process.wait(20) == 130
    assert err == ""
    assert lines(out)[-1]["mismatched"] == 0


def test_book(exchange: Simulator) -> None:
    """One line for each changed book, exact digits, and nothing while nothing changes."""
    args = ("book", "SHIB/USD", "xbt/usd", "--ws-url", exchange.ws_url, "--seconds", "2")
    code, out, err = run(*args)
    first, second = sorted(lines(out), key=lambda line: line["symbol"])

    assert (code, err) == (0, "")
    assert (first["symbol"], second["symbol"]) == ("BTC/USD", "SHIB/USD")
    assert set(first) == {"symbol", "bids", "asks", "checksum", "timestamp"}
    assert len(first["bids"]) == len(first["asks"]) == 10
    pair = exchange.exchange.markets["SHIB/USD"].pair
    price, qty = exchange.top("SHIB/USD", 1)[0][0]
    assert f'"price":0.{price:0{pair.price_digits}d},' in out
    assert str(qty)[:-8] + "." + str(qty)[-8:] in out


def test_book_survives_the_exchange(spawn: Callable[..., Any]) -> None:
    """The exchange dies and comes back: a gap line, then verified books again."""
    again = ("simulate", "--rate", "100", "--port", str(free_ports()))
    first = spawn(*again)
    address = first_line(first)
    process = spawn("book", "BTC/USD", "--ws-url", address["ws_url"])
    assert first_line(process)["symbol"] == "BTC/USD"
    first.terminate()
    assert first.wait(20) == 0
    second = spawn(*again)
    assert first_line(second)["ws_url"] == address["ws_url"]
    line = {"type": ""}
    while line.get("type") != "gap":
        line = first_line(process)
    assert line["symbol"] == "BTC/USD"
    assert line["since"] < line["until"]
    assert "checksum" in first_line(process)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    second.send_signal(signal.SIGINT)
    assert second.wait(20) == 0


@pytest.mark.parametrize(
    ("args", "keys"),
    [
        (("ticker", "BTC/USD", "ETH/USD", "--count", "2"), {"bid", "ask", "last", "change_pct"}),
        (("trades", "BTC/USD", "--snapshot", "--count", "5"), {"price", "qty", "trade_id"}),
        (("ohlc", "BTC/USD", "--interval", "5", "--count", "3"), {"open", "interval_begin"}),
        (("instruments", "btc"), {"price_precision", "qty_min"}),
    ],
)
def test_feeds(args: tuple, keys: set) -> None:
    """Each feed prints the exchange's own items, one a line, as many as asked for."""
    code, out, err = run(*args, "--simulated")
    items = lines(out)

    assert (code, err) == (0, "")
    assert len(items) == (int(args[-1]) if "--count" in args else 4)
    assert all(keys <= set(item) for item in items)
    assert "e-" not in out


def test_rest_is_never_asked(exchange: Simulator) -> None:
    """With only --ws-url given nothing else is contacted, also for spellings that need the table."""
    exchange._serving.stop_rest()
    code, out, _ = run("book", "BTCUSD", "--ws-url", exchange.ws_url, "--count", "1")

    assert code == 0
    assert lines(out)[0]["symbol"] == "BTC/USD"


def test_row_36_closed_pipe() -> None:
    """Row 36: ``| head -3`` ends silently, also when the feed is quiet afterwards."""
    shell = (
        f"{sys.executable} -m kraken_sync listen trade BTC/USD --param snapshot=true --simulated | head -3"
    )
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {shell}"], capture_output=True, text=True, timeout=40
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(lines(done.stdout)) == 3


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("boook",), 2, "No such command 'boook'"),
        (("book",), 2, "Missing argument"),
        (("book", "BTC/USD", "--depth", "50", "--simulated"), 2, "'50' is not one of '10'"),
        (("ohlc", "BTC/USD", "--interval", "2", "--simulated"), 2, "'2' is not one of '1'"),
        (("book", "BTC/USDD", "--simulated"), 2, "Did you mean 'BTC/USD'"),
        (("trades", "bitcoin", "--simulated"), 2, "Did you mean 'BTC/USD'"),
        (("trades", "nonsense", "--simulated"), 2, "Symbols look like 'BTC/USD'"),
        (("trades", "BTC/USD,ETH/USD", "--simulated"), 2, "separate the symbols with blanks"),
        (("listen", "books"), 2, "books"),
        (("listen", "trade", "BTC/USD", "--param", "x", "--simulated"), 2, "depth=25"),
        (("listen", "book", "BTC/USD", "--param", "depth=11", "--simulated"), 2, "Choose 10, 25"),
        (("balances", "--ws-url", "ws://127.0.0.1:9"), 5, "Set KRAKEN_API_KEY and"),
        (("book", "BTC/USD", "--ca-file", "nosuchfile"), 2, "nosuchfile"),
        (("book", "BTC/USD", "--proxy", "x://y"), 2, "proxy"),
        (("completion", "powershell"), 2, "powershell"),
        (("record", "BTC/USD", "x.jsonl", "--simulated"), 2, "record x.jsonl BTC/USD"),
        (("listen", "trade", "--simulated"), 2, "such as BTC/USD"),
        (("listen", "book", "BTC/USD", "--csv", "--simulated"), 2, "no columns"),
        (("listen", "trade", "BTC/USD", "--csv", "--messages", "--simulated"), 2, "JSON"),
        (("book", "BTC/USD", "--seconds", "0", "--simulated"), 2, "--seconds"),
        (("book", "BTC/USD", "--seconds", "0.01", "--ws-url", "ws://127.0.0.1:9"), 3, "of --seconds"),
        (("instruments", "nothing", "--simulated"), 1, "no pair"),
        (("book", "BTC/USD", "--ws-url", "http://x"), 2, "not a WebSocket URL"),
        (("book", "BTC/USD", "--simulated", "--ws-url", "ws://x"), 2, "--simulated"),
        (("verify", "nosuchfile"), 2, "nosuchfile"),
        (("verify",), 2, "--archive"),
        (("verify", "--archive", "nosuchdir"), 1, "nosuchdir"),
        (("record", "/nosuchdir/x.jsonl", "BTC/USD", "--simulated"), 1, "nosuchdir"),
        (("record", "x.jsonl", "BTC/USD", "--channels", "books", "--simulated"), 2, "--channels"),
        (("record", "x.jsonl", "BTC/USD", "--max-bytes", "many", "--simulated"), 2, "500k"),
        (("replay", "nosuchfile"), 2, "nosuchfile"),
        (("replay", str(RECORDING), "--speed", "warp"), 2, "warp"),
        (("export", str(RECORDING), "--to", "x.txt"), 2, "must end in"),
        (("export", str(RECORDING), "--to", "x.csv"), 2, "does not tell"),
        (("verify", str(RECORDING), "--decimals", "BTC"), 2, "BTC/USD=1,8"),
    ],
)
def test_mistakes(args: tuple, code: int, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every mistake gets a sentence that helps, on stderr, and its exit code; never a traceback."""
    with pytest.raises(SystemExit) as caught:
        main(list(args))  # in this process, since there are so many

    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (code, "")
    assert words in err
    assert "Traceback" not in err


def test_no_network() -> None:
    """No exchange: which step failed, within the time, exit code 3."""
    started = time.monotonic()
    code, out, err = run("book", "BTC/USD", "--ws-url", "ws://nosuchhost.invalid", "--timeout", "1")

    assert (code, out) == (3, "")
    assert "cannot resolve nosuchhost.invalid" in err.splitlines()[-1]
    assert time.monotonic() - started < 8


def test_refused(exchange: Simulator) -> None:
    """A refusal by the exchange is exit code 4, a book that cannot be verified 6."""
    exchange.faults.refused.add("BTC/USD")
    code, _, err = run("trades", "BTC/USD", "--ws-url", exchange.ws_url)
    assert code == 4
    assert "Currency pair not supported BTC/USD" in err
    exchange.faults.bad_snapshot["ETH/USD"] = 1000
    code, _, err = run("book", "ETH/USD", "--ws-url", exchange.ws_url, "--timeout", "1")
    assert code == 6
    assert "no verified snapshot of ETH/USD" in err


def test_simulate(spawn: Callable[..., Any]) -> None:
    """The first line says where everything is; the ports are P and P+1; SIGTERM ends it with 0."""
    port = free_ports()
    process = spawn("simulate", "--port", str(port))
    where = first_line(process)
    assert where["ws_url"] == f"ws://127.0.0.1:{port}"
    assert where["rest_url"] == f"http://127.0.0.1:{port + 1}"
    assert set(where) == {"rest_url", "ws_url", "auth_ws_url", "level3_ws_url", "key", "secret"}
    code, _, err = run("simulate", "--port", str(port))
    assert code == 1
    assert str(port) in err
    process.terminate()
    assert process.wait(20) == 0


def test_verify(tmp_path: Path) -> None:
    """A good recording: exit 0 and the counts; a damaged one: exit 1 and the place."""
    code, out, err = run("verify", str(RECORDING), "--json")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert {
        "messages",
        "book_messages",
        "verified",
        "mismatched",
        "skipped",
        "symbols",
        "seconds",
        "messages_per_second",
    } <= set(report)
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text(
        RECORDING.read_text("utf-8").replace(
            '"type":"update","data":[{"symbol":"BTC/USD","bids":[',
            '"type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":64999.9,"qty":1.00000000},',
            1,
        )
    )
    code, out, err = run("verify", str(damaged))
    assert code == 1
    assert f"{damaged}:" in err
    assert "book BTC/USD: expected" in err
    assert "1 mismatched" in out
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    code, _, err = run("verify", str(empty))
    assert code == 1
    assert "nothing was verified" in err


@pytest.mark.parametrize("ends", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_record_and_verify(tmp_path: Path, ends: int) -> None:
    """A recording is finished by either signal, exit 0; file and archive are proven; a change is found."""
    path = tmp_path / "day.jsonl.gz"
    command = ["record", str(path), "BTC/USD", "xbt/eur", "--channels", "book,trade,ohlc", "--simulated"]
    process = subprocess.Popen([*COMMAND, *command], stderr=subprocess.PIPE, text=True)
    eventually(lambda: path.exists() and path.stat().st_size > 2000)
    process.send_signal(ends)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 0
    recorded = re.search(r"; (\d+) book messages, 0 gaps", err)
    assert recorded
    assert "Traceback" not in err
    code, out, err = run("verify", str(path))
    assert (code, err) == (0, "")
    assert f"{recorded[1]} of them book messages of BTC/EUR, BTC/USD" in out
    code, out, _ = run("verify", "--archive", str(tmp_path), "--json")
    report = json.loads(out)
    assert (code, report["proven"], report["files"][0]["listed"]) == (0, True, True)
    path.write_bytes(path.read_bytes()[:-30])
    code, out, err = run("verify", "--archive", str(tmp_path))
    assert code == 1
    assert "NOT proven" in out
    assert "SHA-256" in out
    assert "everything before it was read" in err


def read_all(master: int) -> bytes:
    """What a process writes to its terminal until it ends."""
    shown = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(master)
    return shown


@pytest.mark.parametrize(
    "args",
    [
        ("demo", "--seconds", "2"),
        ("book", "BTC/USD", "--simulated", "--seconds", "2"),
        ("trades", "BTC/USD", "--simulated", "--seconds", "2", "--snapshot"),
    ],
)
def test_terminal(args: tuple) -> None:
    """On a terminal there is a table; NO_COLOR is honoured."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen([*COMMAND, *args], stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    text = read_all(master).decode()
    assert process.wait(20) == 0
    assert "BTC/USD" in text
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])m", text), "colours"
    assert "Traceback" not in text
    if args[0] == "demo":
        assert "0 mismatched" in text.splitlines()[-1]


def test_a_terminal_without_unicode() -> None:
    """Narrow, and with an encoding that has no ellipsis: numbers are folded, and the cursor is back."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "40", "PYTHONIOENCODING": "ascii"}
    process = subprocess.Popen(
        [*COMMAND, "demo", "--seconds", "2"], stdout=slave, stderr=slave, env=environment
    )
    os.close(slave)
    text = read_all(master).decode("ascii")

    assert process.wait(20) == 0
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1
    assert "0 mismatched" in text.splitlines()[-1]


def test_row_03_without_click(tmp_path: Path) -> None:
    """Row 3: without its extra the command says how to get it."""
    (tmp_path / "click.py").write_text("raise ImportError('no click', name='click')")
    code, out, err = run("demo", env={**os.environ, "PYTHONPATH": str(tmp_path)})

    assert (code, out) == (2, "")
    assert err == 'the command line needs click: pip install "kraken-sync[cli]"\n'


def test_help_is_quick_and_complete() -> None:
    """Every command is in the overview, and has a help text that begins with examples."""
    code, out, _ = run("--help")
    assert code == 0
    for name, command in group.commands.items():
        assert re.search(rf"^  {name} ", out, re.M)
        text = command.get_help(click.Context(command, info_name=f"kraken-sync {name}"))
        assert text.index("kraken-sync ", 20) < text.index("Options:")


def on_a_terminal(*args: str, **environment: str) -> Tuple[int, str]:
    """Run to the end on a terminal of 100 columns: (exit code, what it wrote)."""
    master, slave = pty.openpty()
    where = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30", **environment}
    process = subprocess.Popen([*COMMAND, *args], stdout=slave, stderr=slave, env=where)
    os.close(slave)
    text = read_all(master).decode()
    return process.wait(20), text


def test_row_04_a_ticker() -> None:
    """Row 4: one row, soon."""
    with within(2):
        code, text = on_a_terminal("ticker", "BTC/USD", "--simulated", "--count", "1")
    assert code == 0
    line = r"BTC/USD  bid [\d.]+  ask [\d.]+  last [\d.]+  24h [+-][\d.]+ %  \(at \d\d:\d\d:\d\d\.\d+\)\r\n"
    assert re.fullmatch(line, text.replace("connecting ...\r\x1b[K", ""))


@pytest.mark.parametrize(
    "command", ["book", *(pytest.param(one, marks=pytest.mark.slow) for one in ("trades", "ticker"))]
)
def test_row_37_no_codes_in_a_file(command: str, tmp_path: Path) -> None:
    """Row 37: a file has no escape codes; with NO_COLOR a terminal has no colours."""
    out = tmp_path / "out.txt"
    with out.open("w") as file:
        args = [command, "BTC/USD", "--simulated", "--seconds", "4"]
        assert subprocess.run([*COMMAND, *args], stdout=file, timeout=40).returncode == 0
    assert "\x1b" not in out.read_text()
    code, text = on_a_terminal(*args, NO_COLOR="1")
    assert code == 0
    assert not re.search(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])m", text)


def test_row_45_is_it_me(exchange: Simulator) -> None:
    """Row 45: a line of status; the doctor's verdict on each part of the way, without showing the key."""
    code, out, err = run("status", *places(exchange))
    assert (code, err) == (0, "")
    assert re.fullmatch(r"Kraken: online \(since \S+\)\. You: connected in [\d.]+ s\.\n", out)
    keys = {"KRAKEN_API_KEY": exchange.key, "KRAKEN_API_SECRET": exchange.secret}
    code, out, err = run("doctor", *places(exchange), env={**os.environ, **keys})
    assert (code, err) == (0, "")
    names = [line[6:].partition(":")[0] for line in out.splitlines() if line[:4] in ("ok  ", "note", "FAIL")]
    assert names[:2] == ["machine", "proxy"]
    assert names[-4:] == ["exchange", "clock", "WebSocket", "API key"] or "WebSocket" in names
    assert "heartbeat after" in out
    assert "Nothing is wrong between here and the exchange." in out
    assert exchange.key not in out


def places(exchange: Simulator) -> List[str]:
    """The options of an exchange's addresses."""
    return [
        *("--ws-url", exchange.ws_url, "--auth-ws-url", exchange.auth_ws_url, "--rest-url", exchange.rest_url)
    ]


@pytest.mark.parametrize(
    ("faults", "words", "verdict"),
    [
        ({"refuse_connections": 10**6}, "HTTP status 503", "in between: WebSocket"),
        pytest.param({"no_status": True}, "WebSocket", "in between: WebSocket", marks=pytest.mark.slow),
        ({"rest_errors": ["EAPI:Invalid key"] * 5}, "Invalid key", "in between: API key"),
        ({}, "REST: ", "in between: 127.0.0.1"),
    ],
)
def test_what_the_doctor_finds(faults: dict, words: str, verdict: str, exchange: Simulator) -> None:
    """Each trouble has a FAIL of its own, and exit code 3."""
    for name, value in faults.items():
        setattr(exchange.faults, name, value)
    if not faults:
        exchange._serving.stop_rest()
    keys = {"KRAKEN_API_KEY": exchange.key, "KRAKEN_API_SECRET": exchange.secret}
    code, out, _ = run("doctor", *places(exchange), "--timeout", "2", env={**os.environ, **keys})
    assert code == 3
    assert re.search(rf"^FAIL .*{words}", out, re.M)
    assert verdict in out


def test_the_doctor_without_the_host() -> None:
    """What depends on something that has failed is left out; JSON has the same."""
    code, out, _ = run("doctor", "--ws-url", "ws://127.0.0.1:9", "--json", "--timeout", "2")
    assert code == 3
    assert [(one["name"], one["verdict"]) for one in lines(out)][1:] == [
        ("proxy", "ok"),
        ("127.0.0.1:9", "FAIL"),
    ]


@pytest.mark.parametrize("login", ["http://me:CANARY@", "me:CANARY@", "http://me:CAN@ARY@"])
def test_the_doctor_shows_no_password(login: str) -> None:
    """Neither that of a proxy's URL, in any form, nor that of an address."""
    _, out, _ = run("doctor", "--ws-url", "ws://me:CANARY@127.0.0.1:9", "--proxy", f"{login}127.0.0.1:9",
                    "--rest-url", "http://me:CANARY@127.0.0.1:9", "--timeout", "1")  # fmt: skip
    assert "127.0.0.1:9 (--proxy)" in out
    assert "CANARY" not in out


def test_a_system_that_is_not_online(exchange: Simulator) -> None:
    """status says it, and exits with 4; doctor knows who it is."""
    exchange.set_system("maintenance")
    code, out, _ = run("status", *places(exchange), "--json")
    assert (code, lines(out)[0]["system"]) == (4, "maintenance")
    code, out, _ = run("doctor", *places(exchange))
    assert (code, out.splitlines()[-1]) == (3, "It is the exchange.")


def test_the_account(exchange: Simulator) -> None:
    """Balances, open orders and executions, as JSON, as CSV and as text; nothing can be placed."""
    keys = {**os.environ, "KRAKEN_API_KEY": exchange.key, "KRAKEN_API_SECRET": exchange.secret}
    where = [*places(exchange)]
    with exchange.client() as trader:
        order = trader.add_order(**FAR)["order_id"]
        trader.orders.wait_open(order)
        for form in ("--json", "--csv"):
            code, out, err = run("orders", *where, form, env=keys)
            assert (code, err) == (0, "")
            assert order in out
            code, out, err = run("balances", *where, form, env=keys)
            assert (code, err) == (0, "")
            assert "BTC" in out
        assert "asset,balance,held,available" in out
        assert "BTC,5.0000000000,0.0100000000,4.9900000000\n" in out
        code, out, err = run("executions", *where, "--snapshot", "--count", "1", env=keys)
        assert (code, err) == (0, "")
        assert lines(out)[0]["order_id"] == order
    code, out, _ = run("orders", *where, "--csv", "--no-header", env=keys)
    assert (code, len(out.splitlines())) == (0, 1)


@pytest.mark.parametrize(
    "command", ["trades", *(pytest.param(one, marks=pytest.mark.slow) for one in ("ticker", "ohlc", "book"))]
)
def test_csv(command: str, exchange: Simulator) -> None:
    """A header, then rows of the same length; a gap is a row with its reason at the end."""
    import csv

    process = subprocess.Popen(
        [*COMMAND, command, "BTC/USD", "--csv", *places(exchange)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    header = next(csv.reader([process.stdout.readline()]))
    assert header[0] == "symbol"
    eventually(lambda: exchange.requests("subscribe"))
    exchange.trade("BTC/USD", "buy", 64250, "0.5")
    exchange.step(5)
    row = next(csv.reader([process.stdout.readline()]))
    assert (row[0], len(row)) == ("BTC/USD", len(header))
    if command != "book":
        exchange.cut()
        while row[-1] == "":
            row = next(csv.reader([process.stdout.readline()]))
        assert (row[0], header[-1], len(row)) == ("BTC/USD", "gap", len(header))
        assert "closed" in row[-1]
    process.kill()
    process.communicate()


@pytest.mark.parametrize(
    "command",
    ["book", *(pytest.param(one, marks=pytest.mark.slow) for one in ("ticker", "ohlc", "instruments"))],
)
def test_seconds_bound_everything(command: str) -> None:
    """A host that answers nothing: the time is kept, the failure told once, the exit code the network's."""
    listener = socket.create_server(("127.0.0.1", 0))  # takes connections and says nothing
    try:
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        began = time.monotonic()
        code, out, err = run(command, "BTC/USD", "--ws-url", url, "--seconds", "0.5")
        assert time.monotonic() - began < 8
        assert (code, out, len(err.splitlines())) == (3, "", 1)
    finally:
        listener.close()


def test_a_book_that_is_not_verified(exchange: Simulator) -> None:
    """During maintenance there is no line: it is told after ``--timeout``, and by the exit code."""
    exchange.set_system("maintenance")
    args = ["book", "BTC/USD", "--count", "1", "--timeout", "2", "--ws-url", exchange.ws_url]
    ended = subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (6, "")
    assert "maintenance" in ended.stderr.splitlines()[-1]


def test_level3_of_another_exchange(exchange: Simulator, tmp_path: Path) -> None:
    """Its host has an option of its own, which is named where it is missing."""
    file = str(tmp_path / "x.jsonl")
    urls = ["--ws-url", exchange.ws_url, "--rest-url", exchange.rest_url]
    args = ["record", file, "BTC/USD", "--channels", "level3", "--seconds", "2", *urls]
    keys = {**os.environ, "KRAKEN_API_KEY": exchange.key, "KRAKEN_API_SECRET": exchange.secret}
    ended = subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=60, env=keys)
    assert ended.returncode == 2
    assert "Give --level3-ws-url, too" in ended.stderr
    args += ["--level3-ws-url", exchange.level3_ws_url]
    ended = subprocess.run([*COMMAND, *args], capture_output=True, text=True, timeout=60, env=keys)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    assert " records in x.jsonl" in ended.stderr


def test_lines_are_whole() -> None:
    """A line of the log and one of the command, written at the same time, are two lines."""
    program = """if True:
        import logging, sys, threading
        import click
        from kraken_sync.cli.feed import log_to_stderr
        sys.setswitchinterval(1e-5)
        logger = logging.getLogger("kraken_sync")
        with log_to_stderr(2):
            thread = threading.Thread(target=lambda: [logger.warning("from the log") for _ in range(2000)])
            thread.start()
            for _ in range(2000):
                click.echo("from the command", err=True)
            thread.join()
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    lines = ended.stderr.splitlines()
    assert len(lines) == 4000
    assert all(re.fullmatch(r"from the command|\d\d:\d\d:\d\d WARNING from the log", line) for line in lines)


def test_an_interrupted_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """An interrupt while the file is being finished is told: the recording may not be whole."""

    close = Recorder.close

    def interrupted(self: Any) -> None:
        close(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(Recorder, "close", interrupted)
    with pytest.raises(SystemExit) as ended:
        main(["record", str(tmp_path / "x.jsonl"), "BTC/USD", "--simulated", "--seconds", "2"])
    assert ended.value.code == 130
    assert "records in" not in capsys.readouterr().err
