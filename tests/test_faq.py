"""What Kraken's WebSocket FAQ tells its users is true of this client. See also ``docs/porting.rst``."""

from __future__ import annotations

import dataclasses
import queue
import socket
import ssl
import time
from pathlib import Path
from typing import Any, Callable, List

import pytest
import trustme
import websocket
from conftest import FAST, WAIT, S, eventually
from raw_server import RawServer

from kraken_sync import ConnectFailed, SpotWSClient, Timing
from kraken_sync.simulator import Simulator


def test_quiet_pairs_send_only_heartbeats(client: SpotWSClient, exchange: Simulator) -> None:
    """And that proves the book: it stays LIVE, and its age small, without one update."""
    book, messages = client.book("XMR/BTC"), client.messages
    seen: List[str] = []
    started = time.monotonic()
    while time.monotonic() - started < 3.5:
        seen.append(str(messages.get(WAIT).get("channel")))
        assert book.state == "LIVE"
        assert book.age < 2
    assert seen.count("heartbeat") >= 5
    assert client.stats()["reconnects"] == 0


def test_no_subscription_for_longer_than_allowed() -> None:
    """The exchange closes silent connections; ours is never silent."""
    with (
        Simulator(rate=0, idle_timeout=3.0) as exchange,
        SpotWSClient(ws_url=exchange.ws_url, timing=FAST) as client,
    ):
        silent = websocket.create_connection(exchange.ws_url + "/v2", timeout=WAIT)
        eventually(lambda: exchange.connections == 2)
        while silent.recv():  # ends with the connection
            pass
        silent.shutdown()
        assert client.stats()["pings"] >= 1
        assert client.stats()["reconnects"] == 0
        assert exchange.connections == 2, "ours, and the silent one; never a third"


def test_one_sided_updates(client: SpotWSClient, exchange: Simulator) -> None:
    """Bids only, asks only, both: all of them are applied and verified."""
    stream = client.subscribe({"channel": "book", "symbol": [S]})
    kinds = set()
    for _ in range(100):
        exchange.step(1, [S])
        exchange.step(5, [S])
    while len(kinds) < 3:
        frame = stream.get(WAIT)
        if frame["type"] == "update":
            data = frame["data"][0]
            kinds.add((bool(data["bids"]), bool(data["asks"])))
    assert kinds == {(True, False), (False, True), (True, True)}
    assert client.stats()["mismatched"] == 0


def test_a_candle_is_final_when_a_later_one_comes(client: SpotWSClient, exchange: Simulator) -> None:
    """Minutes pass without a trade: the stream says nothing, and nothing is wrong. Then one comes."""
    stream = client.ohlc(S, snapshot=False)
    for minute in range(5):
        exchange.call(lambda ahead=60 * minute: exchange.exchange.publish(time.time() + ahead))
    with pytest.raises(queue.Empty):
        stream.get(1)
    exchange.step(300, [S])

    assert stream.get(WAIT)["symbol"] == S
    assert client.stats()["reconnects"] == 0


def test_patience_with_an_exchange_that_refuses(new_client: Callable[..., SpotWSClient]) -> None:
    """After HTTP 503 or 429 the next attempt comes ``maintenance_retry`` later at the soonest."""
    attempts: List[float] = []

    def refuse(sock: socket.socket) -> None:
        attempts.append(time.monotonic())
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        sock.close()

    patient = dataclasses.replace(FAST, maintenance_retry=0.4)
    with RawServer(refuse) as server, pytest.raises(ConnectFailed):
        new_client(ws_url=server.url, timing=patient).start(timeout=1.5)
    assert Timing().maintenance_retry == 5.0
    assert len(attempts) >= 2
    assert min(later - sooner for sooner, later in zip(attempts, attempts[1:])) >= 0.4


def test_candles_are_silent_at_a_border(exchange: Simulator) -> None:
    """The simulated exchange, too, sends nothing until the next trade."""
    said: List[Any] = []
    exchange.exchange.connect("public", lambda text, delay: said.append(text), 1e9)
    peer = exchange.exchange.peers[-1]
    request = '{"method":"subscribe","params":{"channel":"ohlc","symbol":["BTC/USD"],"interval":1}}'
    exchange.call(lambda: exchange.exchange.receive(peer, request, 1e9))
    before = len(said)
    for minute in range(5):
        exchange.call(lambda moment=1e9 + 60 * minute: exchange.exchange.publish(moment))
    exchange.exchange.disconnect(peer)

    assert len(said) == before


def test_one_req_id_for_all_answers(client: SpotWSClient) -> None:
    """A request for several symbols is answered once for each, with the id of the request."""
    messages = client.messages
    client.subscribe({"channel": "ticker", "symbol": ["BTC/USD", "ETH/USD", "SOL/USD"]}, req_id=77)
    answers = []
    while len(answers) < 3:
        message = messages.get(WAIT)
        if message.get("method") == "subscribe":
            answers.append((message["req_id"], message["result"]["symbol"]))
    assert answers == [(77, "BTC/USD"), (77, "ETH/USD"), (77, "SOL/USD")]


def test_names_through_asset_pairs(client: SpotWSClient) -> None:
    """Every ``wsname`` of AssetPairs, and every altname, is understood."""
    for entry in client.rest.asset_pairs().values():
        for name in (entry["wsname"], entry["altname"]):
            stream = client.subscribe({"channel": "trade", "symbol": [name]})
            base, _, quote = entry["wsname"].partition("/")
            renamed = {"XBT": "BTC", "XDG": "DOGE"}
            assert stream.symbols == (f"{renamed.get(base, base)}/{renamed.get(quote, quote)}",)
            stream.unsubscribe()


def test_the_server_is_named(tmp_path: Path) -> None:
    """SNI is sent, without which the exchange's edge answers 403."""
    names: List[Any] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority = trustme.CA()
    authority.issue_cert("localhost").configure_cert(context)
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    with Simulator(rate=0, ssl_context=context) as exchange:
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        url = exchange.ws_url.replace("127.0.0.1", "localhost")
        with SpotWSClient(ws_url=url, ssl_context=trusting, timing=FAST) as client:
            assert client.book(S).state == "LIVE"
    assert names[0] == "localhost"


def test_a_403_says_what_it_means(new_client: Callable[..., SpotWSClient]) -> None:
    """The status and its usual cause."""

    def refuse(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with RawServer(refuse) as server:
        client = new_client(ws_url=server.url)
        with pytest.raises(ConnectFailed, match="403: blocked by the exchange's edge") as caught:
            client.start(timeout=1)
    assert caught.value.status == 403
