"""Logging: a user's handlers and filters run on no thread of ours, and change nothing that a call says."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Iterator, List

import pytest
from conftest import WAIT, S, eventually

from kraken_sync import BookState, SpotWSClient, WSState
from kraken_sync.simulator import Simulator


class Handler(logging.Handler):
    """Does ``act`` with each record."""

    def __init__(self, act: Callable[[logging.LogRecord], Any]) -> None:
        super().__init__()
        self.act = act

    def emit(self, record: logging.LogRecord) -> None:
        self.act(record)


@pytest.fixture
def handle() -> Iterator[Callable[[Callable[[logging.LogRecord], Any]], Handler]]:
    """Adds a handler to the library's logger; it is taken away in the end."""
    logger, added = logging.getLogger("kraken_sync"), []

    def add(act: Callable[[logging.LogRecord], Any]) -> Handler:
        handler = Handler(act)
        logger.addHandler(handler)
        added.append(handler)
        return handler

    yield add
    for handler in added:
        logger.removeHandler(handler)


def fail(error: BaseException) -> Callable[[logging.LogRecord], Any]:
    def act(record: logging.LogRecord) -> None:
        raise error

    return act


@pytest.mark.parametrize(
    "error",
    [ValueError("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()],
    ids=lambda e: type(e).__name__,
)
def test_a_raising_handler_changes_nothing(
    client: SpotWSClient, exchange: Simulator, handle: Any, error: BaseException, capsys: Any
) -> None:
    """Through a cut, an unreadable frame and a mismatch: all is restored, all threads live."""
    book = client.book(S)
    handle(fail(error))
    for fault in (exchange.cut, lambda: exchange.send_text("garbage")):
        generation = book.stale.snapshot().generation
        fault()
        book.wait_until(lambda state, before=generation: state.generation > before, timeout=WAIT)
    exchange.faults.bad_checksum[S] = 1
    exchange.step(100, [S])
    eventually(lambda: book.state is BookState.LIVE and book.snapshot().generation >= 4)

    assert client.state is WSState.CONNECTED
    assert not client.exception_occur
    assert client.send_message({"method": "ping"})


def test_a_raising_filter_changes_nothing(client: SpotWSClient, exchange: Simulator) -> None:
    """A filter is called before any handler, and the standard library does not guard it."""
    logger = logging.getLogger("kraken_sync")

    def bad(record: logging.LogRecord) -> bool:
        raise RuntimeError("filter")

    logger.addFilter(bad)
    try:
        book = client.book(S)
        exchange.cut()
        book.wait_until(lambda state: state.generation == 2, timeout=WAIT)
    finally:
        logger.removeFilter(bad)


def test_a_slow_handler_holds_up_nothing(client: SpotWSClient, exchange: Simulator, handle: Any) -> None:
    """While it takes its time frames are read, books are verified, orders could go out."""
    book, go_on, entered = client.book(S), threading.Event(), threading.Event()

    def act(record: logging.LogRecord) -> None:
        entered.set()
        go_on.wait(WAIT)

    handle(act)
    exchange.send_text("garbage")
    assert entered.wait(WAIT)
    book.wait_until(lambda state: state.generation == 2, timeout=WAIT)
    version = book.snapshot().version
    exchange.step(50, [S])
    book.wait_until(lambda state: state.version > version, timeout=WAIT)
    started = time.monotonic()
    assert client.send_message({"method": "ping"})
    assert time.monotonic() - started < 1
    go_on.set()


def test_records_are_those_of_the_moment(client: SpotWSClient, exchange: Simulator, handle: Any) -> None:
    """The thread, the place and the time are where it was logged, not where it is handled."""
    seen: List[logging.LogRecord] = []
    handlers: List[str] = []

    def act(record: logging.LogRecord) -> None:
        seen.append(record)
        handlers.append(threading.current_thread().name)

    handle(act)
    before = time.time()
    exchange.send_text("garbage")
    record = eventually(lambda: [one for one in seen if "cannot be read" in one.getMessage()])[0]

    assert record.threadName == "kraken-sync-io-public"
    assert record.filename == "telling.py"
    assert before <= record.created <= time.time()
    assert "kraken-sync-log" in handlers
