"""What the tests share: a simulated exchange, clients with short times, and a check for leaks."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, Callable, Iterator

import pytest

from kraken_sync import SpotWSClient, Timing
from kraken_sync.simulator import Simulator

FAST = Timing(
    connect_timeout=5.0,
    ping_interval=2.0,
    silence_ping=1.0,
    silence_abort=2.5,
    ack_timeout=0.5,
    first_data_timeout=0.5,
    tick=0.02,
    good_after=5.0,
    first_retry=0.05,
    retry_base=0.02,
    retry_cap=0.2,
    maintenance_retry=0.1,
)
WAIT = 15.0
"""Seconds after which a test gives up waiting; nothing here takes that long."""

CAPTURES = Path(os.environ.get("KRAKEN_CAPTURES", Path(__file__).parents[2] / "shared" / "captures"))


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
    with Simulator(seed=11, rate=0, heartbeat_interval=0.25) as simulator:
        yield simulator


@pytest.fixture
def new_client(exchange: Simulator) -> Iterator[Callable[..., SpotWSClient]]:
    """Makes clients of ``exchange``; they are closed at the end."""
    made = []

    def make(kind: type = SpotWSClient, **options: Any) -> SpotWSClient:
        options.setdefault("ws_url", exchange.ws_url)
        options.setdefault("timing", FAST)
        client = kind(**options)
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(new_client: Callable[..., SpotWSClient]) -> SpotWSClient:
    """A started client of ``exchange``."""
    made = new_client()
    made.start()
    return made


@pytest.fixture
def captures() -> Path:
    """The folder of recorded traffic, where there is one."""
    if not CAPTURES.is_dir():
        pytest.skip("no recorded traffic here (set KRAKEN_CAPTURES to its folder)")
    return CAPTURES


def _ours() -> set:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("kraken-sync")}


@pytest.fixture(autouse=True)
def no_leaked_threads() -> Iterator[None]:
    """Every test must leave no thread of ours behind."""
    before = _ours()
    yield
    deadline = time.monotonic() + 3
    while _ours() - before and time.monotonic() < deadline:
        threading.Event().wait(0.01)
    assert not _ours() - before, "threads were left behind"
