"""Clients are started, closed, forked and dropped."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import os
import queue
import signal
import socket
import ssl
import threading
import warnings
import weakref
from typing import Any, Callable

import pytest
import trustme
from conftest import CANARY_SECRET, FAST, WAIT, S, eventually, within
from helpers import TRADE, background
from raw_server import RawServer, drain, greet

from kraken_sync import BookState, ClientClosed, ConnectFailed, CredentialsInvalid, SpotWSClient, WSState
from kraken_sync.io import budget
from kraken_sync.simulator import Simulator


def test_life(new_client: Callable[..., SpotWSClient]) -> None:
    """Made, started, used, closed, started again: the state tells each."""
    client = new_client()
    assert client.state is WSState.INIT
    client.start()
    client.start()
    assert client.state is WSState.CONNECTED
    client.close()
    client.close()
    assert client.state is WSState.CLOSED
    with pytest.raises(ClientClosed):
        client.subscribe(TRADE)
    client.start()
    assert client.send_message({"method": "ping"})["method"] == "pong"
    client.stop()
    assert not client.exception_occur


def test_first_call_starts(new_client: Callable[..., SpotWSClient]) -> None:
    """Nobody has to call start()."""
    assert new_client().book("BTC/USD").best_bid is not None


def test_nobody_there() -> None:
    """No exchange: the call says so within its timeout, and leaves nothing running."""
    client = SpotWSClient(ws_url="ws://127.0.0.1:9", timing=FAST)
    with within(0.6):
        with pytest.raises(ConnectFailed, match=r"127.0.0.1:9.*refused") as caught:
            client.start(timeout=0.5)

    assert caught.value.step == "connect"
    assert client.state is WSState.INIT


def test_no_name() -> None:
    """A name that does not resolve is named."""
    client = SpotWSClient(ws_url="wss://nosuchhost.invalid", timing=FAST)
    with pytest.raises(ConnectFailed, match="cannot resolve nosuchhost.invalid") as caught:
        client.start(timeout=2)

    assert caught.value.step == "resolve"


def test_no_status(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Connected but not greeted is not connected."""
    exchange.faults.no_status = True
    with pytest.raises(ConnectFailed, match="status message"):
        new_client().start(timeout=0.5)


def test_streams_end_on_close(client: SpotWSClient) -> None:
    """Whoever iterates is let go when the client closes."""
    stream = client.trades("BTC/USD")
    threading.Timer(0.1, client.close).start()

    assert list(stream) == []


def test_close_is_quick_in_every_state(exchange: Simulator) -> None:
    """Connected, mute, in backoff, dialling: close() returns within two seconds."""
    for prepare in ("connected", "mute", "backoff", "black hole"):
        url = exchange.ws_url if prepare != "black hole" else "ws://127.255.255.254:9"
        client = SpotWSClient(ws_url=url, timing=FAST)
        if prepare != "black hole":
            client.start()
            client.book("BTC/USD")
        else:
            thread = threading.Thread(
                target=lambda c=client: pytest.raises((ClientClosed, ConnectFailed), c.start)
            )
            thread.start()
        exchange.faults.mute = prepare == "mute"
        if prepare == "backoff":
            exchange.faults.refuse_connections = 10**6
            exchange.cut()
            eventually(lambda c=client: c.state is WSState.RECONNECTING)
        with within(0.4):
            client.close()
        if prepare == "black hole":
            thread.join(WAIT)
        exchange.faults.mute, exchange.faults.refuse_connections = False, 0


def test_fifty_lives(exchange: Simulator) -> None:
    """Starting and closing leaves nothing behind."""
    before = threading.active_count()
    for _ in range(50):
        with SpotWSClient(ws_url=exchange.ws_url, timing=FAST) as client:
            client.send_message({"method": "ping"})

    assert threading.active_count() <= before


def test_collected_client_stops(exchange: Simulator) -> None:
    """A client nobody holds any more stops, and says that it was not closed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)
        client.start()
        gone = weakref.ref(client)
        del client
        eventually(lambda: gc.collect() is not None and gone() is None)
        eventually(lambda: caught)

    assert [warning.category for warning in caught] == [ResourceWarning]
    assert "test_lifecycle.py" in str(caught[0].message)


def test_a_client_that_calls_back_lives_until_it_is_closed(exchange: Simulator) -> None:
    """As python-kraken-sdk's does: many scripts make it in a function and keep nothing."""
    received: queue.Queue[Any] = queue.Queue()

    def made() -> weakref.ref[SpotWSClient]:
        client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST, callback=received.put)
        client.subscribe(TRADE)
        return weakref.ref(client)

    alive = made()
    gc.collect()
    exchange.step(300, ["BTC/USD"])
    while received.get(timeout=WAIT).get("channel") != "trade":
        pass
    client = alive()
    assert client is not None
    client.close()


def test_stream_keeps_its_client(exchange: Simulator) -> None:
    """A stream or a book that is held keeps its client working."""
    trades = SpotWSClient(ws_url=exchange.ws_url, timing=FAST).trades("BTC/USD")
    book = SpotWSClient(ws_url=exchange.ws_url, timing=FAST).book("BTC/USD")
    gc.collect()
    exchange.step(300, ["BTC/USD"])

    assert trades.get(WAIT)["symbol"] == "BTC/USD"
    assert book.best_bid is not None
    trades._owner.close()
    book._owner.close()


def test_start_during_an_outage_spares_the_running_client(new_client: Callable[..., SpotWSClient]) -> None:
    """start() on a client that lost its line does not end what it has."""
    exchange = Simulator(rate=0, heartbeat_interval=0.25).start()
    client = new_client(ws_url=exchange.ws_url)
    book, stream = client.book(S), client.trades(S)
    exchange.stop()
    eventually(lambda: book.state is BookState.STALE)
    with pytest.raises(ConnectFailed):
        client.start(timeout=0.2)

    assert not stream.ended
    assert client.state is WSState.RECONNECTING
    exchange.start()
    book.wait_until(lambda state: state.generation == 2, timeout=WAIT)
    exchange.stop()


def test_impatient_starter_spares_the_patient(exchange: Simulator) -> None:
    """Two threads start one client; the one that gives up does not end the other's try."""
    exchange.faults.refuse_connections = 8
    client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)
    patient = background(client.start, timeout=WAIT)
    with pytest.raises(ConnectFailed):
        client.start(timeout=0.05)
    patient["thread"].join(WAIT)

    assert "error" not in patient
    assert client.state is WSState.CONNECTED
    client.close()


def test_start_that_is_cut_off(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Connected and cut before the greeting is a ConnectFailed, and nothing is left running."""
    exchange.faults.no_status = True
    client = new_client()
    starting = background(client.start, timeout=1.0)
    eventually(lambda: exchange.connections)
    exchange.close_all(1013, "busy")
    starting["thread"].join(WAIT)

    assert isinstance(starting["error"], ConnectFailed)
    assert client.state is WSState.INIT


def test_close_while_the_next_line_begins(exchange: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """close() at the very moment of a new attempt leaves no thread and no connection."""
    taken, go_on, real = threading.Event(), threading.Event(), budget.take

    def late(*args: Any) -> float:
        result = real(*args)
        taken.set()
        go_on.wait(WAIT)
        return result

    monkeypatch.setattr(budget, "take", late)
    client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)
    starting = background(client.start)
    assert taken.wait(WAIT)
    closing = background(client.close, 0.2)
    closing["thread"].join(WAIT)
    go_on.set()
    starting["thread"].join(WAIT)

    assert isinstance(starting["error"], ClientClosed)
    eventually(lambda: not any(t.name.startswith("kraken-sync-io") for t in threading.enumerate()))
    assert exchange.connections == 0


def test_kept_errors_do_not_grow() -> None:
    """The error of a client that was given up is raised anew each time."""
    client = SpotWSClient(ws_url="ws://127.0.0.1:9", timing=FAST)
    seen = []
    for _ in range(3):
        with pytest.raises(ConnectFailed) as caught:
            client.start(timeout=0.1)
        seen.append(caught.value)

    assert len({id(error) for error in seen}) == 3


def test_dropped_client_in_a_cycle(exchange: Simulator) -> None:
    """A client in a cycle with its owner, which had a stream, is collected and stops by itself."""

    class Strategy:
        def __init__(self) -> None:
            self.client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)
            self.stream = self.client.ticker(S)
            self.client.owner = self

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        strategy = Strategy()
        strategy.stream.get(WAIT)
        gone = weakref.ref(strategy.client)
        del strategy
        eventually(lambda: gc.collect() is not None and gone() is None)
        eventually(lambda: any("was not closed" in str(warning.message) for warning in caught))
    eventually(lambda: not exchange.call(lambda: exchange.exchange.peers))


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # that is what is tested
def test_fork_while_a_stream_is_left(client: SpotWSClient, exchange: Simulator) -> None:
    """A forked child that leaves a stream does not unsubscribe the parent's."""
    stream = client.trades(S)
    child = os.fork()
    if child == 0:
        try:
            with stream:
                pass
            repr(client)
            client.gaps()
            client.close()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    exchange.step(300, [S])

    assert stream.get(WAIT)["symbol"] == S
    assert exchange.requests("unsubscribe") == []


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # that is what is tested
def test_fork_while_a_stream_is_locked(client: SpotWSClient) -> None:
    """A forked child hangs on no lock that another thread held."""
    stream = client.trades(S)
    locked, go_on = threading.Event(), threading.Event()

    def hold() -> None:
        with stream._ready, client._ks_runtime._life, budget._lock:
            locked.set()
            go_on.wait(WAIT)

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait(WAIT)
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            stream.unsubscribe()
            client.close()
            SpotWSClient(ws_url="ws://127.0.0.1:9", timing=FAST).start(timeout=0.1)
        except ConnectFailed:
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitpid(child, 0)[1]
    go_on.set()
    holder.join(WAIT)

    assert status == 0


@pytest.mark.parametrize("pause", [0.1, 600.0])
def test_a_certificate_that_is_wrong_for_a_while(pause: float) -> None:
    """At the first connection it is final. Later, as behind a captive portal, it is told and passes."""
    good, other = trustme.CA(), trustme.CA()
    contexts, lines = [], []
    for authority in (good, other):
        contexts.append(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
        authority.issue_cert("localhost").configure_cert(contexts[-1])
    trust = ssl.create_default_context()
    good.configure_trust(trust)

    def play(sock: socket.socket) -> None:
        lines.append(sock)
        greet(sock)
        drain(sock)

    timing = dataclasses.replace(FAST, permanent_retry=pause)
    with RawServer(play, contexts[1]) as server, contextlib.ExitStack() as made:
        client = made.enter_context(
            contextlib.closing(SpotWSClient(ws_url=server.url, ssl_context=trust, timing=timing))
        )
        for _ in range(2):
            with pytest.raises(ConnectFailed, match="not trusted"):
                client.start()
        assert not lines

        server._tls = contexts[0]
        client.start()  # always a new attempt
        server._tls = contexts[1]
        lines[0].shutdown(socket.SHUT_RDWR)
        eventually(lambda: server.accepted >= 4)
        with pytest.raises(ConnectFailed, match="not trusted"):
            client.start()  # at once, although the pause may be minutes
        assert client.state is WSState.RECONNECTING
        assert not client.exception_occur

        server._tls = contexts[0]
        if pause > 1:
            client.start(timeout=WAIT)
        eventually(lambda: client.state is WSState.CONNECTED)


def test_started_again_after_its_threads_died(new_client: Callable[..., SpotWSClient]) -> None:
    """A client that was given up for good is made anew by start()."""
    client = new_client()
    client.start()
    client._ks_runtime.connection("public").give_up(ConnectFailed("for good", permanent=True))
    with pytest.raises(ConnectFailed, match="for good"):
        client.ticker(S)
    assert client.exception_occur

    client.start()
    assert client.book(S).best_bid is not None
    assert not client.exception_occur


def test_a_refused_key_leaves_public_data_alone(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """The private connection is given up; the callback and ``messages`` go on with the public one."""
    told: queue.Queue[Any] = queue.Queue()
    client = new_client(key="wrong", secret=CANARY_SECRET, callback=told.put)
    messages = client.messages
    with pytest.raises(CredentialsInvalid):
        client.start()
    book = client.book(S)
    eventually(lambda: client._ks_runtime.connection("private").failure)
    for _ in range(3):  # each is a second, in which the watchdog has looked at everything
        pings = client.stats()["pings"]
        eventually(lambda before=pings: client.stats()["pings"] > before)
    exchange.send_text('{"channel":"novel","type":"update","data":[1]}')

    assert book.state is BookState.LIVE
    for stream in (told, messages):
        eventually(lambda source=stream: source.get(timeout=WAIT).get("channel") == "novel")
