"""Logging: a user's handlers and filters run on no thread of ours, and change nothing that a call says."""

from __future__ import annotations

import contextvars
import logging
import subprocess
import sys
import threading
import time
from typing import Any, Callable, Iterator, List, Tuple

import pytest
from conftest import WAIT, S, eventually, within
from helpers import Handler

from kraken_sync import BookState, SpotWSClient, WSState
from kraken_sync.io import logs
from kraken_sync.io.logs import log
from kraken_sync.simulator import Simulator


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
    with within(0.2):
        assert client.send_message({"method": "ping"})
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


WHERE = contextvars.ContextVar("WHERE", default="nowhere")


def test_records_of_the_main_thread(handle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are handled when the call returns, in its context, on a thread that no Ctrl-C interrupts."""
    monkeypatch.setattr(logs, "PATIENCE", WAIT)
    seen: List[Tuple[str, str, str]] = []
    handle(lambda record: seen.append((record.getMessage(), WHERE.get(), threading.current_thread().name)))
    WHERE.set("here")
    for number in range(3):
        log.warning("number %d", number)
        assert seen[-1] == (f"number {number}", "here", "kraken-sync-log")
    assert len(seen) == 3


def test_a_handler_that_waits_for_the_caller(handle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that the main thread holds is no deadlock: it goes on, waits no more, and nothing is lost."""
    monkeypatch.setattr(logs, "PATIENCE", 0.5)
    lock, seen = threading.Lock(), []

    def act(record: logging.LogRecord) -> None:
        with lock:
            seen.append(record.getMessage())

    handle(act)
    texts = [f"number {number}" for number in range(10)]
    with lock:
        with within(0.6):
            for text in texts:
                log.warning(text)
        assert seen == []
    log.flush(WAIT)
    assert seen == texts


def test_a_record_without_a_thread(handle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no thread can be had, as at the interpreter's end, the main thread handles it itself."""
    seen: List[str] = []
    handle(lambda record: seen.append(threading.current_thread().name))
    log.flush(WAIT)

    def none(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    log.warning("alone")
    assert seen == ["MainThread"]


def test_a_handler_may_flush(handle: Any) -> None:
    """flush() waits for nothing in a handler (close() calls it), else until the thread has ended."""
    took: List[float] = []

    def act(record: logging.LogRecord) -> None:
        started = time.monotonic()
        log.flush(WAIT)
        took.append(time.monotonic() - started)

    handle(act)
    log.warning("flush")
    log.flush(WAIT)
    assert len(took) == 1
    assert took[0] < 1
    assert "kraken-sync-log" not in [thread.name for thread in threading.enumerate()]


def test_what_is_thrown_into_a_thread_of_the_users(handle: Any) -> None:
    """It is raised there, also if it comes while a handler runs: a timeout of gevent's, for example."""

    class Thrown(BaseException):
        pass

    raised: List[BaseException] = []

    def work() -> None:
        try:
            log.warning("here")
        except BaseException as error:
            raised.append(error)

    handle(fail(Thrown()))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [type(one) for one in raised] == [Thrown]


def test_records_at_the_end() -> None:
    """What is logged by an exit handler, and by finalizers while the interpreter ends, is handled."""
    program = """if True:
        import atexit, logging, sys
        from kraken_sync.io.logs import log
        logging.basicConfig(stream=sys.stdout, format="%(message)s")
        class Late:
            def __del__(self):
                log.flush(10)
                log.warning("in a finalizer")
                log.warning("and again")
        late = Late()
        late.self = late
        atexit.register(lambda: log.warning("at exit"))
        log.warning("before")
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT)
    texts = "before\nat exit\nin a finalizer\nand again\n"
    assert (ended.stdout, ended.returncode) == (texts, 0), ended.stderr


def test_a_handler_that_is_slow_at_the_end() -> None:
    """The interpreter stops the thread within the handler, with its lock: nobody waits for that lock."""
    program = """if True:
        import atexit
        atexit.register(lambda: logs.log.warning("at exit"))  # after logging's own, which is registered later
        import gc, logging, time
        from kraken_sync.io import logs
        logs.PATIENCE = 0.05
        class Slow(logging.Handler):
            def emit(self, record):
                time.sleep(3)
        logging.getLogger().addHandler(Slow())
        class Late:
            def __del__(self):
                logs.log.warning("in a finalizer")
                print("ended")
        def make():
            late = Late()
            late.self = late
        gc.disable()
        make()  # garbage, which is collected at the end
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT)
    assert (ended.stdout, ended.returncode) == ("ended\n", 0), ended.stderr
