"""``publish``, and the commands that read what it writes, as a user types them, with a real Redis."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, Callable, Iterator, List, Tuple, cast

import pytest

pytest.importorskip("redis")

from redis_server import RedisServer

from kraken_sync import ConnectFailed, KrakenError
from kraken_sync.cli import sharing
from kraken_sync.cli.main import main
from kraken_sync.shared.publisher import STANDING_BY

COMMAND = [sys.executable, "-m", "kraken_sync"]
WAIT = 30.0
Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def spawn(redis: RedisServer) -> Iterator[Spawn]:
    """Starts commands that use the server; what still runs at the end is killed."""
    started: List[subprocess.Popen[str]] = []

    def start(*args: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *args, *(() if "--redis" in args else ("--redis", redis.url))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def told(process: subprocess.Popen[str]) -> str:
    """The next line of its stderr."""
    assert process.stderr is not None
    return process.stderr.readline().rstrip("\n")


def ended(process: subprocess.Popen[str]) -> Tuple[int, str, str]:
    """Wait for the end: (exit code, stdout, stderr)."""
    out, err = process.communicate(timeout=WAIT)
    return process.returncode, out, err


def in_this_process(capsys: pytest.CaptureFixture[str], *args: str) -> Tuple[Any, str, str]:
    """Run to the end in this process: (exit code, stdout, stderr)."""
    with pytest.raises(SystemExit) as caught:
        main(list(args))
    out, err = capsys.readouterr()
    return caught.value.code, out, err


def test_publish_and_read(redis: RedisServer, spawn: Spawn) -> None:
    """One process publishes; others read, each in its form, and are told what is not published."""
    publisher = spawn("publish", "BTC/USD", "eth/usd", "--depth", "100", "--simulated")
    where = f"redis://127.0.0.1:{redis.port}/0"
    assert told(publisher) == (
        f"publishing book (depth 100), trade, ticker of BTC/USD, eth/usd to {where} as 'kraken'"
    )
    assert re.fullmatch(r"\d\d:\d\d:\d\d in office", told(publisher))
    book = spawn("book", "BTC/USD", "--count", "2", "--json")
    deep = spawn("listen", "book", "ETH/USD", "--param", "depth=100", "--count", "1", "--messages")
    trades = spawn("trades", "BTC/USD", "eth/usd", "--count", "3")
    pairs = spawn("instruments", "btc", "--json")
    unknown = spawn("book", "SOL/USD")

    code, out, err = ended(book)
    assert (code, err) == (0, "")
    for line in map(json.loads, out.splitlines()):
        assert (line["symbol"], len(line["bids"]), len(line["asks"])) == ("BTC/USD", 10, 10)
    code, out, err = ended(deep)
    assert (code, err) == (0, "")
    message = json.loads(out)
    assert (message["type"], len(message["data"][0]["bids"])) == ("snapshot", 100)
    code, out, err = ended(trades)
    assert (code, err, len(out.splitlines())) == (0, "", 3)
    assert {json.loads(line)["symbol"] for line in out.splitlines()} <= {"BTC/USD", "ETH/USD"}
    assert {json.loads(line)["symbol"] for line in ended(pairs)[1].splitlines()} >= {"BTC/USD", "ETH/BTC"}
    code, out, err = ended(unknown)
    assert (code, out, len(err.splitlines())) == (4, "", 1)
    assert "book:SOL/USD is not published (there is: book:BTC/USD, book:ETH/USD, instrument, " in err

    publisher.send_signal(signal.SIGINT)
    code, out, err = ended(publisher)
    assert (code, out) == (0, "")
    assert re.fullmatch(r"[\d,]+ messages published\n", err)


@pytest.mark.slow
def test_one_stands_by(redis: RedisServer, spawn: Spawn) -> None:
    """The second publisher says what it does, and takes over; SIGTERM is the usual end, as is --seconds."""
    first = spawn("publish", "BTC/USD", "--channels", "book", "--simulated", "--name", "mine")
    assert told(first).endswith("as 'mine'")
    assert told(first).endswith(" in office")
    second = spawn("publish", "BTC/USD", "--channels", "book", "--simulated", "--name", "mine")
    told(second)
    assert told(second).endswith(" standing by: another publisher is in office")
    first.send_signal(signal.SIGTERM)
    assert told(second).endswith(" in office")
    assert ended(first)[0] == 0

    # A terminal shows the ladder, also if no trades are published.
    master, slave = pty.openpty()
    args = ["book", "BTC/USD", "--name", "mine", "--redis", redis.url]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    screen = subprocess.Popen([*COMMAND, *args], stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    try:
        shown = b""
        while b"verified" not in shown:
            shown += os.read(master, 65536)  # it fails if the command ends
        screen.send_signal(signal.SIGTERM)
        with suppress(OSError):
            while os.read(master, 65536):
                pass
        assert screen.wait(WAIT) == 130
        assert b"BTC/USD" in shown
    finally:
        os.close(master)
        screen.kill()
        screen.wait()
    second.send_signal(signal.SIGTERM)
    assert ended(second)[0] == 0


def test_nobody_is_there(redis: RedisServer, capsys: pytest.CaptureFixture[str]) -> None:
    """No publisher and no Redis: one line each, without login, and the exit code of the network."""
    args = ("book", "BTC/USD", "--timeout", "2", "--redis")
    code, out, err = in_this_process(capsys, *args, redis.url)
    assert (code, out, len(err.splitlines())) == (3, "", 1)
    assert "nothing is published as 'kraken' in Redis at 127.0.0.1" in err
    code, out, err = in_this_process(capsys, *args, "redis://me:CANARY@127.0.0.1:9")
    assert (code, out, len(err.splitlines())) == (3, "", 1)
    assert "Redis at 127.0.0.1:9 cannot be used" in err
    assert "CANARY" not in err


def test_publish_without_redis(spawn: Spawn) -> None:
    """It says why nothing is published, without the login, and goes on."""
    login = "redis://me:CANARY@127.0.0.1:9/0?password=CANARY"
    publisher = spawn("publish", "BTC/USD", "--simulated", "--redis", login)
    # Redis may be found missing before or after the line that says what is published.
    trouble, what = sorted((told(publisher), told(publisher)))
    assert what.endswith(" to redis://127.0.0.1:9/0 as 'kraken'")
    assert " WARNING Redis at 127.0.0.1:9: not publishing: Redis: " in trouble
    assert "CANARY" not in trouble
    publisher.send_signal(signal.SIGTERM)
    assert ended(publisher) == (0, "", "0 messages published\n")


def test_an_interrupt_at_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the usual end from the start on, also before the first line is complete."""

    def interrupted(*args: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(sharing, "_described", interrupted)
    ended = in_this_process(capsys, "publish", "BTC/USD", "--simulated", "--redis", "redis://127.0.0.1:9")
    assert (ended[0], ended[1], ended[2].splitlines()[-1]) == (0, "", "0 messages published")


def test_how_publishing_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """A publisher that has died, or could never reach Redis until the time was over, is a failure."""
    over = SimpleNamespace(over=lambda: True)
    publisher: Any = SimpleNamespace(in_office=False, published=0, ended=False, trouble=STANDING_BY)
    sharing._watch(cast(Any, over), publisher)
    publisher.trouble = "Redis: refused"
    with pytest.raises(ConnectFailed, match="nothing was published: Redis: refused"):
        sharing._watch(cast(Any, over), publisher)
    publisher.ended, publisher.trouble = True, "internal error: ..."
    with pytest.raises(KrakenError, match="the publisher has ended: internal error"):
        sharing._watch(cast(Any, SimpleNamespace(over=lambda: False)), publisher)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("book", "BTC/USD", "--redis", "redis://x", "--simulated"), "leave --simulated out"),
        (("trades", "BTC/USD", "--redis", "redis://x", "--ws-url", "ws://x"), "leave --ws-url out"),
        (("ohlc", "BTC/USD", "--redis", "redis://x", "--proxy", "none"), "leave --proxy out"),
        (("ticker", "BTC/USD", "--redis", "http://x"), "a URL of Redis looks like"),
        (("book", "BTC/USD", "--name", "x"), "give --redis, too"),
        (("listen", "executions", "--redis", "redis://x"), "executions is not published by anybody"),
        (("executions", "--redis", "redis://x"), "No such option"),
        (("publish",), "Missing argument"),
        (("publish", "BTC/USD", "--redis", "x", "--simulated"), "a URL of Redis looks like"),
        (("publish", "BTC/USD", "--channels", "book,level3"), "some of book, trade, ticker, ohlc"),
        (("publish", "BTC/USD", "--channels", ","), "some of book, trade, ticker, ohlc"),
        (("publish", "BTC/USD", "--depth", "11"), "'11' is not one of '10'"),
    ],
)
def test_mistakes(args: Tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Every mistake gets a sentence that helps, and nothing is connected to."""
    code, out, err = in_this_process(capsys, *args)
    assert (code, out) == (2, "")
    assert words in err


@pytest.mark.parametrize(
    "args", [("publish", "BTC/USD", "--simulated"), ("book", "BTC/USD", "--redis", "redis://127.0.0.1:9")]
)
def test_without_redis_py(
    args: Tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its extra the command says how to get it, before it connects to anything."""
    monkeypatch.setitem(sys.modules, "redis", None)
    code, out, err = in_this_process(capsys, *args)
    assert (code, out) == (1, "")
    assert err == 'error: this needs redis-py: pip install "kraken-sync[shared]"\n'
