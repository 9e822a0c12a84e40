"""What the tests share: a simulated exchange, clients with short times, and a check for leaks."""

from __future__ import annotations

import base64
import dataclasses
import logging
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List

import pytest

from kraken_sync import SpotWSClient, testing
from kraken_sync.simulator import Simulator

FAST = dataclasses.replace(testing.FAST, ack_timeout=0.5, first_data_timeout=0.5, good_after=5.0)
"""Short limits, which a busy machine with two cores still keeps."""
PINGING = dataclasses.replace(FAST, pong_timeout=1.4)
"""For tests that wait for a ping to stay unanswered."""
collect_ignore_glob = ["interop/*_peer.py", "typing/*.py"]  # what the tests run or check

CANARY_KEY = "CANARYkeyKRAKENSYNCq8w7e6r5t4y3u2i1o0p9"
CANARY_SECRET = base64.b64encode(
    b"CANARY secret of kraken_sync: if this text shows up, it is a leak"
).decode()
CANARY_TOKEN = "CANARYtokenKRAKENSYNC"
"""What must never be printed, logged, raised or recorded; see :func:`pytest_runtest_makereport`."""
CANARIES = (CANARY_KEY, CANARY_SECRET, CANARY_SECRET[:24], "CANARY secret", CANARY_TOKEN)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # run in the background of a shell
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the processes of the tests must hear it

WAIT = 15.0
"""Seconds after which a test gives up waiting; nothing here takes that long."""

S = "BTC/USD"
FAR: Dict[str, Any] = {
    "symbol": S,
    "side": "sell",
    "order_type": "limit",
    "order_qty": "0.01",
    "limit_price": 90000,
}
"""An order that rests far from the market."""

CAPTURES = Path(os.environ.get("KRAKEN_CAPTURES", Path(__file__).parents[2] / "shared" / "captures"))


def some_slow(count: int, usual: Iterable[int]) -> List[Any]:
    """The seeds 0 to ``count``; those beyond the ``usual`` ones are left to ``-m slow``."""
    return [seed if seed in usual else pytest.param(seed, marks=pytest.mark.slow) for seed in range(count)]


STRETCH = float(os.environ.get("KRAKEN_SYNC_STRETCH", "10"))
"""By how much the times that a user should wait are stretched, since the tests share a machine."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The block must take at most ``seconds``, stretched by :data:`STRETCH`."""
    began = time.monotonic()
    yield
    taken = time.monotonic() - began
    assert taken <= seconds * STRETCH, f"{taken:.2f} s instead of {seconds} s (times {STRETCH:g})"


def eventually(condition: Callable[[], Any], what: str = "it") -> Any:
    """Wait until ``condition()`` is true and return it; fail if it never is."""
    deadline = time.monotonic() + WAIT
    pause = threading.Event()
    while time.monotonic() < deadline:
        result = condition()
        if result:
            return result
        pause.wait(0.005)
    raise AssertionError(f"{what} did not happen within {WAIT} s")


@pytest.fixture
def exchange() -> Iterator[Simulator]:
    """A simulated exchange whose market only moves when told to."""
    with Simulator(
        seed=11,
        rate=0,
        heartbeat_interval=0.25,
        key=CANARY_KEY,
        secret=CANARY_SECRET,
        tier=None,
        token_prefix=CANARY_TOKEN,
    ) as simulator:
        yield simulator
        assert not simulator.errors


@pytest.fixture
def new_client(exchange: Simulator) -> Iterator[Callable[..., SpotWSClient]]:
    """Makes clients of ``exchange``; they are closed at the end."""
    made = []

    def make(kind: type = SpotWSClient, **options: Any) -> SpotWSClient:
        options.setdefault("ws_url", exchange.ws_url)
        options.setdefault("auth_ws_url", exchange.auth_ws_url)
        options.setdefault("level3_ws_url", exchange.level3_ws_url)
        options.setdefault("rest_url", exchange.rest_url)
        options.setdefault("timing", FAST)
        client = kind(**options)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Any]:
    """A running Redis of the test's own; skips if there is none."""
    pytest.importorskip("redis")
    from redis_server import RedisServer

    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
def client(new_client: Callable[..., SpotWSClient]) -> SpotWSClient:
    """A started client of ``exchange``."""
    made = new_client()
    made.start()
    return made


@pytest.fixture
def trader(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> SpotWSClient:
    """A started client of ``exchange`` with its API key."""
    made = new_client(key=exchange.key, secret=exchange.secret)
    made.start()
    return made


@pytest.fixture
def captures() -> Path:
    """The folder of recorded traffic, where there is one."""
    if not CAPTURES.is_dir():
        pytest.skip("no recorded traffic here (set KRAKEN_CAPTURES to its folder)")
    return CAPTURES


def _ours() -> set:
    # A start() that was interrupted before a thread began stays in this list for ever, without an ident.
    begun = [thread for thread in threading.enumerate() if thread.ident is not None]
    return {thread.name for thread in begun if thread.name.startswith("kraken-sync")}


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Every test must leave no thread of ours behind."""
    before = _ours()
    yield
    deadline = time.monotonic() + 3
    while _ours() - before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    left = _ours() - before
    if left:
        frames = sys._current_frames()
        where = [
            "".join(traceback.format_stack(frames[thread.ident])[-4:])
            for thread in threading.enumerate()
            if thread.name in left and thread.ident in frames
        ]
        pytest.fail(f"threads were left behind: {left}\n" + "\n".join(where))


@pytest.fixture(autouse=True)
def no_keys_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key of the machine that runs the tests is ever used."""
    for name in list(os.environ):
        if (name.startswith("KRAKEN_") and name.endswith("KEY")) or name == "KRAKEN_API_SECRET":
            monkeypatch.delenv(name)


def pytest_configure(config: pytest.Config) -> None:
    """Everything is logged, so that a leak anywhere is seen."""
    logging.getLogger().setLevel(logging.DEBUG)
    logging.getLogger("websockets").setLevel(logging.INFO)  # the simulated exchange may see the keys


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Iterator[None]:
    """A planted secret in the output, the log or the error of any test fails that test."""
    outcome = yield
    report = outcome.get_result()
    texts = [content for _, content in report.sections]
    if report.longrepr is not None:
        texts.append(str(report.longrepr))
    if call.excinfo is not None:
        texts.append(str(call.excinfo.getrepr(showlocals=True, chain=True)))
    leaked = [name for name in CANARIES for text in texts if name in text]
    if leaked:
        report.outcome = "failed"
        report.sections = []  # it is enough to have been shown once
        report.longrepr = (
            f"a planted secret was shown in the {report.when} phase of {item.nodeid}: {leaked[0][:6]}..."
        )


def clock_known(trader: SpotWSClient) -> None:
    """The exchange's clock was read once: an order needs it for its deadline."""
    trader.orders.wait_live()
    line: Any = trader._ks_runtime.connection("private")
    eventually(lambda: line.read(lambda session: session.clock.known))
