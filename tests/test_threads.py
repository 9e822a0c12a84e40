"""No thread of ours dies unseen, and one that cannot be started leaves nothing behind."""

from __future__ import annotations

import contextlib
import ctypes
import subprocess
import sys
import threading
from typing import Any, Callable

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, WAIT, S, eventually
from helpers import background

from kraken_sync import BookState, ConnectFailed, KrakenError, SpotWSClient
from kraken_sync.io.threads import GuardedThread
from kraken_sync.simulator import Simulator

KINDS = [Exception, SystemExit, KeyboardInterrupt, GeneratorExit, BaseException]


def kill(thread: threading.Thread, kind: type) -> None:
    """Have an exception raised in a thread, wherever it is."""
    assert (
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(kind))
        == 1
    )


not_on_39 = pytest.mark.skipif(
    sys.version_info < (3, 10),
    reason="Python 3.9 raises between any two instructions, so also where a lock has just been taken",
)


def ours(name: str) -> GuardedThread:
    (found,) = [one for one in threading.enumerate() if one.name == f"kraken-sync-{name}"]
    assert isinstance(found, GuardedThread)
    return found


@not_on_39
@pytest.mark.parametrize("kind", KINDS)
def test_the_io_thread(client: SpotWSClient, exchange: Simulator, kind: type) -> None:
    """What is raised in it costs a reconnect."""
    book = client.book(S)
    kill(ours("io-public"), kind)
    exchange.step(10, [S])
    book.wait_until(lambda state: state.generation == 2, timeout=WAIT)

    assert client.send_message({"method": "ping"})


@not_on_39
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["watchdog", "dispatcher", "worker"])
def test_a_helping_thread(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, name: str, kind: type
) -> None:
    """It goes on, or everybody who waits is told that it is dead; nothing hangs."""
    told: list = []
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, callback=told.append)
    book = client.book(S)
    client.orders.wait_live()
    waiting = background(book.wait_until, lambda state: False, None)
    messages = client.messages
    thread = ours(name)
    for _ in range(3):
        if thread.is_alive():
            kill(thread, kind)
        exchange.send_text('{"channel":"novel","type":"update","data":[1]}')
        thread.join(0.2)
    eventually(lambda: not thread.is_alive() or len(told) > 3)
    if thread.is_alive():
        before = len(told)
        exchange.send_text('{"channel":"novel","type":"update","data":[2]}')
        eventually(lambda: len(told) > before or not thread.is_alive())
        # The exception waits until the thread does something, so it may still come.
        with contextlib.suppress(KrakenError):
            assert client.add_order(**FAR)["order_id"]
        if thread.is_alive():
            client.close()
            waiting["thread"].join(WAIT)
            return
    waiting["thread"].join(WAIT)
    assert isinstance(waiting["error"], KrakenError)
    assert kind.__name__ in str(waiting["error"])
    assert client.exception_occur
    with pytest.raises(KrakenError, match="died"):
        client.add_order(**FAR, timeout=1)
    with pytest.raises(KrakenError, match="died"):
        while True:
            messages.get(timeout=WAIT)


@not_on_39
def test_a_dead_watchdog_is_noticed_by_the_io_thread(client: SpotWSClient, exchange: Simulator) -> None:
    """Even if it could tell nobody."""
    book = client.book(S)
    watchdog = ours("watchdog")
    watchdog._died = lambda error: None
    while watchdog.is_alive():
        kill(watchdog, SystemExit)
        watchdog.join(0.05)
    eventually(lambda: client.exception_occur)

    assert book.state is BookState.STALE
    with pytest.raises(KrakenError, match="watchdog is dead"):
        client.send_message({"method": "ping"}, timeout=1)


@pytest.mark.parametrize("name", ["watchdog", "dispatcher", "io-public", "io-private", "worker"])
def test_a_thread_that_cannot_be_started(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A ConnectFailed that says so, nothing left behind, and the next try works."""
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == f"kraken-sync-{name}":
            raise RuntimeError("can't start new thread")
        real(thread)

    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, callback=lambda message: None)
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(ConnectFailed, match="can't start new thread") as caught:
        client.start(timeout=2)
    assert caught.value.step == "thread"
    eventually(lambda: not [one for one in threading.enumerate() if one.name.startswith("kraken-sync")])
    monkeypatch.setattr(threading.Thread, "start", real)
    client.start()

    assert client.add_order(**FAR)["order_id"]


def test_a_replacement_that_cannot_be_started(client: SpotWSClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """start() says so, nothing is lost by it, and the next start() works."""
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "kraken-sync-io-public":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setenv("KRAKEN_API_KEY", CANARY_KEY)
    monkeypatch.setenv("KRAKEN_API_SECRET", CANARY_SECRET)
    client.orders.wait_live()
    client._ks_runtime.connection("public").give_up(ConnectFailed("for good"))
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(ConnectFailed, match="can't start new thread"):
        client.start()
    assert client.orders.state == BookState.LIVE
    monkeypatch.setattr(threading.Thread, "start", real)
    client.start()

    assert client.book(S).best_bid is not None


def test_a_private_thread_that_cannot_be_started(
    client: SpotWSClient, exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the call that needed it fails; the next one tries again."""
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == "kraken-sync-io-private":
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setenv("KRAKEN_API_KEY", CANARY_KEY)
    monkeypatch.setenv("KRAKEN_API_SECRET", CANARY_SECRET)
    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(KrakenError, match="can't start new thread"):
        client.add_order(**FAR, timeout=2)
    monkeypatch.setattr(threading.Thread, "start", real)

    assert client.add_order(**FAR)["order_id"]
    assert client.book(S).state is BookState.LIVE


def test_a_callback_may_raise_anything(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Counted and told, and the next message comes: asyncio.CancelledError is no Exception, either."""
    import asyncio

    seen: list = []
    kinds = iter([asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit, BaseException])

    def callback(message: Any) -> None:
        seen.append(message)
        kind = next(kinds, None)
        if kind is not None:
            raise kind

    client = new_client(callback=callback)
    client.start()
    for _ in range(8):
        exchange.send_text('{"channel":"novel","type":"update","data":[1]}')
    eventually(lambda: len(seen) >= 8)

    assert client.stats()["callback_errors"] == 5


def test_a_parse_float_may_raise_anything(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """It is called where messages are read: on the dispatcher's thread, for a callback."""

    def parse(text: str) -> float:
        if text == "1.5":
            raise SystemExit
        return float(text)

    seen: list = []
    client = new_client(callback=seen.append, parse_float=parse, timing=FAST)
    client.start()
    for number in ("1.5", "2.5"):
        exchange.send_text(f'{{"channel":"novel","type":"update","data":[{number}]}}')
    eventually(lambda: any(message.get("data") == [2.5] for message in seen))

    assert client.stats()["callback_errors"] == 1


def test_a_thread_at_the_interpreters_end() -> None:
    """None is started that would never run: it is refused, and a REST request runs on its caller's."""
    program = """if True:
        import threading
        from kraken_sync.io.rest_threads import Job, RestThreads
        from kraken_sync.io.threads import GuardedThread
        class Late:
            def __del__(self):
                try:
                    GuardedThread("late", print, print).start()
                except RuntimeError as error:
                    print(error)
                job, threads = Job(lambda: print("it was run")), RestThreads()
                threads.submit(job)
                print(threads.wait(job, None))
        late = Late()
        late.self = late
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT)
    assert ended.stdout == "the interpreter is ending\nit was run\nTrue\n", ended.stderr
