"""Whole processes: they end when they should, and say what a user needs."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Dict

import pytest
import trustme
from conftest import CANARY_KEY, CANARY_SECRET, within
from raw_server import RawServer, drain, greet

from kraken_sync.simulator import Simulator

START = "import sys, os, time, threading; from kraken_sync import *; URL = sys.argv[1]\n"


def skip_without(package: str) -> None:
    """Skip a test for want of a package, without importing it: eventlet makes other tests' forks warn."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


def run(code: str, url: str, *flags: str) -> subprocess.Popen[str]:
    """Start a script that has ``URL``."""
    return subprocess.Popen(
        [sys.executable, *flags, "-c", START + textwrap.dedent(code), url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_patched(patch: str, code: str, url: str) -> subprocess.Popen[str]:
    """The same in a process whose standard library was patched first."""
    text = f"import warnings; warnings.simplefilter('ignore')\n{patch}\n{START}{textwrap.dedent(code)}"
    return subprocess.Popen(
        [sys.executable, "-c", text, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def exchange_urls(exchange: Simulator) -> Dict[str, str]:
    """What a client needs to reach the simulated exchange with everything."""
    return {"ws_url": exchange.ws_url, "auth_ws_url": exchange.auth_ws_url, "rest_url": exchange.rest_url}


def finish(process: subprocess.Popen[str], within: float = 20.0) -> tuple:
    """Wait for its end: (exit code, stdout, stderr)."""
    out, err = process.communicate(timeout=within)
    return process.returncode, out, err


def test_forgotten_close(exchange: Simulator) -> None:
    """A script that forgets to close ends at once; developers are told where the client was made."""
    code = "client = SpotWSClient(ws_url=URL)\nprint(client.book('BTC/USD').best_bid)\nprint(time.time())"
    status, out, err = finish(run(code, exchange.ws_url))
    assert status == 0
    assert err == ""
    assert time.time() - float(out.splitlines()[-1]) < 2.0
    status, _, err = finish(run(code, exchange.ws_url, "-X", "dev"))
    assert status == 0
    assert err.count("ResourceWarning: the SpotWSClient made at <string>:2 was not closed") == 1


def test_forgotten_close_of_a_mute_line(exchange: Simulator) -> None:
    """The same while the exchange does not answer."""
    code = "client = SpotWSClient(ws_url=URL)\nclient.start()\nprint('up', flush=True)\nsys.stdin.readline()"
    process = subprocess.Popen(
        [sys.executable, "-c", START + code, exchange.ws_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "up\n"
    exchange.faults.mute = True
    process.stdin.close()
    with within(0.4):
        assert process.wait(20) == 0
    process.stdout.close()


@pytest.mark.parametrize(
    "call",
    [
        "next(client.trades('XMR/BTC'))",
        "client.book('XMR/BTC').wait_until(lambda state: False)",
        "client.messages.get(); [client.messages.get() for _ in iter(int, 1)]",
    ],
)
def test_ctrl_c(exchange: Simulator, call: str) -> None:
    """Ctrl-C ends every blocking call with one KeyboardInterrupt, and the client still works."""
    code = f"""
        client = SpotWSClient(ws_url=URL)
        client.start()
        print('up', flush=True)
        try:
            {call}
        except KeyboardInterrupt:
            print('interrupted', client.send_message({{'method': 'ping'}})['method'])
        client.close()
    """
    process = run(code, exchange.ws_url)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    time.sleep(0.8)  # the call has no sign by which to see that it blocks
    with within(0.4):
        process.send_signal(signal.SIGINT)
        status, out, err = finish(process)

        assert (status, out, err) == (0, "interrupted pong\n", "")


def test_fork(exchange: Simulator) -> None:
    """A forked child is refused clearly; the parent does not notice."""
    code = """
        client = SpotWSClient(ws_url=URL)
        book = client.book('BTC/USD')
        child = os.fork()
        if child == 0:
            try:
                client.book('BTC/USD')
            except ForkedClient as error:
                print(error, flush=True)
            client.close()
            sys.exit(0)
        os.waitpid(child, 0)
        print(client.send_message({'method': 'ping'})['method'], client.stats()['reconnects'])
        client.close()
    """
    status, out, err = finish(run(code, exchange.ws_url, "-W", "ignore"))

    assert (status, err) == (0, "")
    assert "make a new one in the child process" in out
    assert out.endswith("pong 0\n")
    assert exchange.connections == 1


def test_stopped_process_judges_nothing_rashly(exchange: Simulator) -> None:
    """After a long stop (a closed lid) a healthy connection is read before it is judged."""
    code = """
        timing = Timing(
            silence_ping=0.5, silence_abort=1.0, ping_interval=0.5, pong_timeout=1.0, tick=0.05
        )
        client = SpotWSClient(ws_url=URL, timing=timing)
        book = client.book('XMR/BTC')
        print('up', flush=True)
        sys.stdin.readline()
        pings = client.stats()['pings']
        while client.stats()['pings'] < pings + 3:  # the watchdog has looked many times since
            time.sleep(0.05)
        print(client.stats()['reconnects'], book.wait_until(lambda state: True, timeout=5).state)
        client.close()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", START + textwrap.dedent(code), exchange.ws_url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    os.kill(process.pid, signal.SIGSTOP)
    time.sleep(1.8)  # the fault itself: the process stands still for this long
    os.kill(process.pid, signal.SIGCONT)
    out, _ = process.communicate("go\n", timeout=20)

    assert out == "0 LIVE\n"


PATCHES = {
    "gevent": "from gevent import monkey; monkey.patch_all()",
    "gevent without sockets": "from gevent import monkey; monkey.patch_all(socket=False)",
    "gevent after the import": "import kraken_sync; from gevent import monkey; monkey.patch_all()",
    "eventlet": "import eventlet; eventlet.monkey_patch()",
    "eventlet after the import": "import kraken_sync, eventlet; eventlet.monkey_patch()",
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES.keys())
def test_a_patched_standard_library(patch: str, exchange: Simulator) -> None:
    """With greenlets instead of threads everything works: books, REST, orders, timeouts, close()."""
    skip_without("gevent" if "gevent" in patch else "eventlet")
    exchange.add_key(CANARY_KEY, CANARY_SECRET)
    code = f"""
    client = SpotWSClient({CANARY_KEY!r}, {CANARY_SECRET!r}, **{exchange_urls(exchange)!r})
    book = client.book("BTC/USD")
    try:
        book.wait_until(lambda state: False, timeout=0.5)
    except ReplyTimeout:
        print(book.state, client.rest.time()["unixtime"] > 0)
    far = dict(symbol="BTC/USD", side="sell", order_type="limit", order_qty="0.01", limit_price="90000.0")
    placed = client.add_order(**far)
    print(client.orders.wait_open(placed["order_id"]).status)
    started = time.monotonic()
    client.close()
    print(time.monotonic() - started < 3)
    """
    status, out, err = finish(run_patched(patch, code, exchange.ws_url), within=50)

    assert (status, out.split()) == (0, ["LIVE", "True", "new", "True"]), err[-2000:]


@pytest.mark.parametrize("patch", [PATCHES["gevent"], PATCHES["eventlet"]], ids=["gevent", "eventlet"])
def test_a_patched_standard_library_and_tls(patch: str, tmp_path: Path) -> None:
    """The connection is made and ended over TLS as well."""
    skip_without("gevent" if "gevent" in patch else "eventlet")
    authority, server_side = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_side)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    def play(sock: socket.socket) -> None:
        greet(sock)
        drain(sock)

    with RawServer(play, server_side) as server:
        code = f"""
        client = SpotWSClient(ws_url=URL, ca_file={str(tmp_path / "ca.pem")!r})
        client.start()
        started, state = time.monotonic(), client.state.value
        client.close()
        print(state, time.monotonic() - started < 3)
        """
        status, out, err = finish(run_patched(patch, code, server.url))

    assert (status, out.split()) == (0, ["CONNECTED", "True"]), err[-2000:]


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        ("from gevent import monkey; monkey.patch_all(thread=False)", "queues and sockets, but not threads"),
        ("from gevent import monkey; monkey.patch_all(select=False)", "threads, but not the select module"),
        ("from gevent import monkey; monkey.patch_thread()", "threads, but not the select module"),
        (
            "import eventlet; eventlet.monkey_patch(all=False, thread=True)",
            "threads, but not the select module",
        ),
    ],
)
def test_a_standard_library_that_is_patched_in_part(patch: str, words: str, exchange: Simulator) -> None:
    """What cannot work is refused with what to do, instead of waiting for ever."""
    skip_without("gevent" if "gevent" in patch else "eventlet")
    status, _, err = finish(run_patched(patch, "SpotWSClient(ws_url=URL).start()", exchange.ws_url))

    assert status == 1
    assert f"ConnectFailed: gevent or eventlet has replaced {words}" in err


WINDOWS = """
import os, select, signal, socket, sys
for module, names in {
    select: ("poll", "epoll", "kqueue"),
    os: ("fork", "register_at_fork", "getuid"),
    socket: ("AF_UNIX", "TCP_USER_TIMEOUT", "SO_REUSEPORT"),
    signal: ("SIGHUP", "SIGKILL", "pthread_kill", "setitimer"),
}.items():
    for name in names:
        if hasattr(module, name):
            delattr(module, name)
for name in ("fcntl", "termios", "pty", "resource", "grp", "pwd"):
    sys.modules[name] = None
"""


def test_what_windows_lacks() -> None:
    """Without poll, fork, fcntl and the rest: data, orders, a cut, REST and the command work as elsewhere."""
    code = (
        WINDOWS
        + """
from kraken_sync import SpotWSClient
ws_url, auth_ws_url, rest_url, key, secret = sys.argv[1:]
with SpotWSClient(key, secret, ws_url=ws_url, auth_ws_url=auth_ws_url, rest_url=rest_url) as client:
    book = client.book("BTC/USD")
    order = client.add_order(
        symbol="BTC/USD", side="sell", order_type="limit", order_qty="0.01", limit_price=90000
    )
    print(client.orders.wait_open(order["order_id"]).status, client.rest.time()["unixtime"] > 0)
    print("cut", flush=True)
    sys.stdin.readline()
    print(book.wait_until(lambda state: state.generation == 2, timeout=15).state)
    client.wait_ready(private=True)
    print(client.cancel_all()["count"])
try:
    SpotWSClient(nonce_file="nonces", key=key, secret=secret, rest_url=rest_url, ws_url=ws_url).get_nonce()
except Exception as error:
    print(type(error).__name__, error)
from kraken_sync.cli.main import main
main(["book", "BTC/USD", "--ws-url", ws_url, "--count", "1"])
"""
    )
    with Simulator(rate=0) as exchange:
        places = [exchange.ws_url, exchange.auth_ws_url, exchange.rest_url, exchange.key, exchange.secret]
        process = subprocess.Popen(
            [sys.executable, "-c", code, *places],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stderr is not None
        said = [process.stdout.readline(), process.stdout.readline()]
        exchange.cut()
        process.stdin.write("\n")
        process.stdin.flush()
        rest, err = process.stdout.read(), process.stderr.read()
        assert (process.wait(20), err) == (0, "")
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
        lines = [*said, *rest.splitlines()]
        assert lines[:2] == ["new True\n", "cut\n"]
        assert lines[2:4] == ["LIVE", "1"]
        assert "nonce_file" in lines[4]
        assert '"symbol":"BTC/USD"' in lines[5]
