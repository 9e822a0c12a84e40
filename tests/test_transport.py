"""The line itself, against a server that sends exactly the bytes a test wants."""

from __future__ import annotations

import random
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Callable, Iterator, List, Optional

import pytest
import trustme
from conftest import WAIT, within
from raw_server import RawServer, drain, frame, greet, upgrade

from kraken_sync import ConnectFailed, SpotWSClient
from kraken_sync.errors import ConnectionLost
from kraken_sync.io.dial import Endpoint
from kraken_sync.io.guarded_socket import Broken, GuardedSocket
from kraken_sync.io.transport import MAX_MESSAGE, Transport
from kraken_sync.simulator import Simulator


@pytest.fixture
def connect() -> Iterator[Callable[..., Transport]]:
    """Makes connected transports."""
    made: List[Transport] = []

    def make(server: RawServer, timeout: float = 5.0, context: object = None) -> Transport:
        transport = Transport(Endpoint(f"{server.url}/v2"), context)
        made.append(transport)
        transport.connect(time.monotonic() + timeout)
        return transport

    yield make
    for transport in made:
        transport.dispose()


@pytest.fixture(scope="module")
def tls() -> tuple:
    """A server's and a client's TLS settings."""
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


def sends(*pieces: bytes, pause: float = 0.0) -> Callable[[socket.socket], None]:
    """A script: shake hands, send these bytes, stay."""

    def script(sock: socket.socket) -> None:
        upgrade(sock)
        for piece in pieces:
            sock.sendall(piece)
            if pause:
                threading.Event().wait(pause)
        drain(sock)

    return script


def test_messages(connect: Callable[..., Transport]) -> None:
    """Text of every size, in one frame or in many, with pings in between, however it is cut up."""
    big = b"x" * 200_000
    stream = b"".join(
        [
            frame(b"a"),
            frame(b"b" * 126),
            frame(big),
            frame(b"he", 1, fin=False),
            frame(b"ping", 9),
            frame(b"ll", 0, fin=False),
            frame(b"o", 0),
            frame(b"binary", 2),
            frame(b"", 10),
            frame(b"end"),
        ]
    )
    for size in (len(stream), 1000, 70_001):
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        with RawServer(sends(*pieces)) as server:
            transport = connect(server)
            received = list(islice(messages_of(transport), 5))

            assert received == [b"a", b"b" * 126, big, b"hello", b"end"]
            assert transport.ignored == 1
            transport.exclusively(1.0, partial(transport.send_pong, 1.0))


def messages_of(transport: Transport) -> Iterator[bytes]:
    while True:
        yield from transport.receive()


@pytest.mark.parametrize("seed", range(4))
def test_any_pieces(connect: Callable[..., Transport], seed: int) -> None:
    """Whatever the sizes, the kinds and the borders of what arrives are, the messages are the same."""
    chosen = random.Random(seed)
    sizes = (0, 1, 2, 3, 60, 124, 125, 126, 127, 128, 255, 256, 257, 3000, 65_535, 65_536)
    wanted, stream = [], b""
    for number in range(120):
        message = bytes(chosen.choices(b'{}":,abc', k=chosen.choice(sizes[: 16 if number % 40 == 0 else 14])))
        wanted.append(message)
        at = chosen.randrange(len(message) + 1)
        stream += chosen.choice(
            (
                frame(message),
                frame(message),
                frame(message),
                frame(b"", 10) + frame(message),
                frame(b"\x00\xff", 2) + frame(message),
                frame(message[:at], fin=False) + frame(b"hi", 9) + frame(message[at:], 0),
            )
        )
    pieces = []
    while stream:
        size = chosen.choice((1, 2, 3, 4, 5, 100, 127, 1000, 40_000))
        pieces.append(stream[:size])
        stream = stream[size:]
    with RawServer(sends(*pieces)) as server:
        transport = connect(server)

        assert list(islice(messages_of(transport), len(wanted))) == wanted
        transport.exclusively(1.0, partial(transport.send_pong, 1.0))


def test_byte_by_byte(connect: Callable[..., Transport]) -> None:
    """A message that comes one byte at a time is whole in the end."""
    text = frame(b'{"channel":"heartbeat"}')
    with RawServer(sends(*[text[at : at + 1] for at in range(len(text))], pause=0.002)) as server:
        assert connect(server).receive() == [b'{"channel":"heartbeat"}']


def test_many_fragments_take_linear_time(connect: Callable[..., Transport]) -> None:
    """Eight thousand fragments are joined in one go."""
    parts = [frame(b"y" * 1000, 1 if n == 0 else 0, fin=n == 7999) for n in range(8000)]
    with RawServer(sends(b"".join(parts))) as server:
        transport = connect(server)
        assert list(map(len, transport.receive())) == [8_000_000]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (frame(b"x", masked=True), "masked"),
        (frame(b"x", 0), "continuation"),
        (frame(b"x", 1, fin=False) + frame(b"y", 1), "continuation"),
        (frame(b"x", 9, fin=False), "ping frame"),
        (frame(b"x" * 126, 10), "control frame"),
        (frame(b"x", 3), "opcode"),
        (b"\xc1\x01x", "rsv"),
        (b"\x81\x7f" + (2**40).to_bytes(8, "big") + b"x" * (MAX_MESSAGE + 10), "too big"),
        (b"".join(frame(b"x" * 2**20, 1 if n == 0 else 0, fin=False) for n in range(18)), "too big"),
        (frame(b"x", 8), ""),
    ],
    ids=[
        "masked",
        "stray",
        "nested",
        "cut ping",
        "long pong",
        "opcode",
        "rsv",
        "1 TiB",
        "endless",
        "short close",
    ],
)
def test_violations_end_the_connection(connect: Callable[..., Transport], data: bytes, words: str) -> None:
    """What the protocol forbids is refused, with the reason; nothing grows without bound."""
    with RawServer(sends(data)) as server:
        transport = connect(server)
        with pytest.raises(ConnectionLost, match=f"(?i){words}"):
            while True:
                transport.receive()


@pytest.mark.parametrize("then", ["stays", "resets"])
def test_close_code_is_kept(connect: Callable[..., Transport], then: str) -> None:
    """What the exchange says when it closes is in the error, even if it hangs up at once."""

    def script(sock: socket.socket) -> None:
        upgrade(sock)
        sock.sendall(frame(b"\x03\xf5going away", 8))
        if then == "resets":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            threading.Event().wait(0.05)
            sock.close()
        else:
            drain(sock)

    for _ in range(5):
        with RawServer(script) as server:
            transport = connect(server)
            if then == "resets":
                threading.Event().wait(0.02)
            with pytest.raises(ConnectionLost, match=r"1013: going away") as caught:
                transport.receive()
            assert caught.value.code == 1013


def test_end_without_close(connect: Callable[..., Transport]) -> None:
    """A connection that just ends is told as that."""
    with RawServer(lambda sock: upgrade(sock)) as server:
        transport = connect(server)
        server.__exit__()
        with pytest.raises(ConnectionLost, match="closed the connection"):
            transport.receive()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\nSet-Cookie: a=SECRET\r\n\r\n<html>...",
            "HTTP status 403: blocked",
        ),
        (
            b"HTTP/1.1 429 Too Many\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n",
            "HTTP status 429: too many",
        ),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "HTTP status 503: try again later"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP status 200"),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", "(?i)redirect"),
        (
            b"HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: x\r\n\r\n",
            "no WebSocket",
        ),
        (b"SSH-2.0-OpenSSH\r\n", "no WebSocket endpoint"),
        (b"", "no WebSocket endpoint"),
    ],
)
def test_row_19_refused_handshakes(connect: Callable[..., Transport], answer: bytes, words: str) -> None:
    """Row 19: a refused handshake is one short sentence, without the page and its cookies."""

    def script(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(answer)
        sock.close()

    with RawServer(script) as server:
        with pytest.raises(ConnectFailed, match=words) as caught:
            connect(server)

    assert caught.value.step == "handshake"
    assert len(str(caught.value)) < 300
    assert "SECRET" not in str(caught.value)
    assert caught.value.retry_after == (30 if b"Retry-After" in answer else None)


@pytest.mark.parametrize("drip", [b"HTTP/1.1 101", b"X-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n" * 50])
def test_endless_handshake(connect: Callable[..., Transport], drip: bytes) -> None:
    """A handshake that never ends is given up at the deadline, or when it is absurdly long."""

    def script(sock: socket.socket) -> None:
        while True:
            sock.sendall(drip)
            threading.Event().wait(0.02)

    with within(0.6):
        with RawServer(script) as server:
            with pytest.raises(ConnectFailed):
                connect(server, timeout=0.7)


def test_row_18_tls(connect: Callable[..., Transport], tls: tuple) -> None:
    """Row 18: the certificate is checked, and nobody is advised not to; the server's name is sent."""
    names = []
    tls[0].sni_callback = lambda sock, name, context: names.append(name)
    with RawServer(sends(frame(b"secure")), tls[0]) as server:
        assert connect(server, context=tls[1]).receive() == [b"secure"]
        with pytest.raises(ConnectFailed, match="certificate of localhost is not trusted") as caught:
            connect(server)

    assert caught.value.permanent
    assert caught.value.step == "tls"
    assert "ca_file=" in str(caught.value)
    assert not re.search("verify=False|CERT_NONE|disable", str(caught.value))
    assert names[0] == "localhost"


def test_tls_that_is_none(connect: Callable[..., Transport], tls: tuple) -> None:
    """A server that does not answer TLS is told; nothing is sent in clear."""
    with RawServer(lambda sock: sock.sendall(b"220 hello\r\n")) as server:
        server._tls = None
        target = Endpoint(f"wss://127.0.0.1:{server.port}/v2")
        with pytest.raises(ConnectFailed, match="TLS with 127.0.0.1") as caught:
            Transport(target, tls[1]).connect(time.monotonic() + 5)

    assert caught.value.step == "tls"


def test_tls_in_both_directions_at_once(tls: tuple) -> None:
    """Reading and writing at full speed from two threads loses no connection and no message."""
    count = 2000
    with Simulator(rate=0, ssl_context=tls[0]) as exchange:
        target = Endpoint(f"{exchange.ws_url.replace('127.0.0.1', 'localhost')}/v2")
        transport = Transport(target, tls[1])
        transport.connect(time.monotonic() + 5)
        stop, written = threading.Event(), [0]

        def write() -> None:
            while not stop.is_set() and written[0] < 5000:
                transport.exclusively(5.0, lambda: transport.send(b'{"method":"ping"}', 5.0))
                written[0] += 1

        writer = threading.Thread(target=write)
        writer.start()
        for number in range(0, count, 100):
            for one in range(number, number + 100):
                exchange.send_text(f"{one:0400d}")
        numbers: List[int] = []
        while len(numbers) < count:
            numbers += [int(message) for message in transport.receive() if message[:1] == b"0"]
        stop.set()
        writer.join(WAIT)
        transport.dispose()

    assert numbers == list(range(count))
    assert written[0] > 1000


@pytest.mark.parametrize("secure", [False, True])
def test_abort_wakes_everybody(connect: Callable[..., Transport], tls: tuple, secure: bool) -> None:
    """An abort returns at once and wakes a reader and a writer, whatever they wait for."""

    def script(sock: socket.socket) -> None:
        upgrade(sock)
        threading.Event().wait(WAIT)  # never reads, never sends

    with RawServer(script, tls[0] if secure else None) as server:
        transport = connect(server, context=tls[1] if secure else None)
        ends: List[str] = []

        def read() -> None:
            try:
                transport.receive()
            except ConnectionLost as error:
                ends.append(error.reason)

        def write() -> None:
            try:
                while True:
                    transport.exclusively(5.0, lambda: transport.send(b"w" * 1_000_000, 30.0))
            except ConnectionLost as error:
                ends.append(error.reason)

        threads = [threading.Thread(target=read), threading.Thread(target=write)]
        for thread in threads:
            thread.start()
        threading.Event().wait(0.3)
        with within(0.1):
            transport.abort("enough")
        for thread in threads:
            thread.join(2)

    assert ends == ["enough", "enough"]


def test_a_signal_handler_sends_nothing_into_a_message(connect: Callable[..., Transport]) -> None:
    """It runs in the thread that is sending: its message would go into the middle of the other one."""
    with RawServer(sends()) as server:
        transport = connect(server)
        inner = transport.exclusively(1.0, lambda: [transport.exclusively(0.0, lambda: "sent")])
        again = transport.exclusively(1.0, lambda: "sent")

    assert inner == [None]
    assert again == "sent"


def test_send_deadline_condemns(connect: Callable[..., Transport]) -> None:
    """A peer that takes no data: the send ends at its deadline and nothing is ever sent again."""

    def script(sock: socket.socket) -> None:
        upgrade(sock)
        threading.Event().wait(WAIT)

    with RawServer(script) as server:
        transport = connect(server)
        with within(0.6):
            with pytest.raises(ConnectionLost, match="takes no data"):
                transport.exclusively(5.0, lambda: transport.send(b"w" * 12_000_000, 0.4))
        with pytest.raises(ConnectionLost):
            transport.exclusively(5.0, lambda: transport.send(b"order", 0.4))
        with pytest.raises(ConnectionLost):
            transport.receive()


def test_second_address_is_tried(monkeypatch: pytest.MonkeyPatch, connect: Callable[..., Transport]) -> None:
    """A name with a dead first address still connects."""
    with RawServer(sends(frame(b"hello"))) as server:
        real = socket.getaddrinfo("127.0.0.1", server.port, 0, socket.SOCK_STREAM)
        dead = [(*real[0][:4], ("127.0.0.1", 9))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *args: dead + real)

        assert connect(server).receive() == [b"hello"]


def test_descriptor_is_closed_by_the_reader_only() -> None:
    """An abort keeps the descriptor; disposing frees it, and everything raises afterwards."""
    ours, theirs = socket.socketpair()
    guard = GuardedSocket(ours)
    guard.abort("first reason")
    guard.abort("second reason")

    assert guard.fileno() >= 0
    with pytest.raises(Broken, match="first reason"):
        guard.recv(1)
    with pytest.raises(Broken, match="first reason"):
        guard.send(b"x")
    guard.dispose()
    assert guard.fileno() == -1
    theirs.close()


def test_connection_id_beyond_63_bits() -> None:
    """A greeting with the exchange's large connection id is understood."""
    from kraken_sync import SpotWSClient

    def script(sock: socket.socket) -> None:
        greet(sock)
        drain(sock)

    with RawServer(script) as server, SpotWSClient(ws_url=server.url) as client:
        assert client.stats()["system"] == "online"


def test_a_goodbye_to_what_has_ended_meanwhile() -> None:
    """The reading thread disposes of the connection while another one says goodbye: that never raises."""
    with RawServer(sends()) as server:
        transport = Transport(Endpoint(f"{server.url}/v2"))
        transport.connect(time.monotonic() + 5)
        real = transport.exclusively

        def first_disposed(timeout: float, work: Callable[[], object]) -> object:
            transport.dispose()
            return real(timeout, work)

        transport.exclusively = first_disposed
        transport.say_goodbye(0.2)


def test_interrupted_send_condemns_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Ctrl-C inside a send may have left half a frame: nothing is sent on that line again."""

    def script(sock: socket.socket) -> None:
        greet(sock)
        drain(sock)

    with RawServer(script) as server:
        transport = Transport(Endpoint(f"{server.url}/v2"))
        transport.connect(time.monotonic() + 5)

        def interrupted(data: bytes) -> int:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(transport._guard, "send", interrupted)
            transport.exclusively(1.0, lambda: transport.send(b"half", 1.0))
        with pytest.raises(ConnectionError):
            transport.exclusively(1.0, lambda: transport.send(b"order", 1.0))
        transport.dispose()


def test_dripping_tls_handshake() -> None:
    """A TLS handshake that comes byte by byte ends at the deadline."""

    def script(sock: socket.socket) -> None:
        sock.recv(4096)
        sock.sendall(b"\x16\x03\x03\x3f\xff")
        while True:
            sock.sendall(b"\x02")
            threading.Event().wait(0.02)

    with RawServer(script) as server:
        with within(0.5):
            with pytest.raises(ConnectFailed):
                Transport(Endpoint(f"wss://127.0.0.1:{server.port}/v2")).connect(time.monotonic() + 0.5)


@pytest.mark.parametrize("package", [False, True])
def test_a_file_that_hides_websocket_client(package: bool, tmp_path: Path) -> None:
    """The import says which file is in the way: the user's own, or another package of the name."""
    path = tmp_path / ("websocket/__init__.py" if package else "websocket.py")
    path.parent.mkdir(exist_ok=True)
    path.write_text("x = 1", "utf-8")
    done = subprocess.run(
        [sys.executable, "-c", "import kraken_sync"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )

    assert f"ImportError: {path} hides websocket-client" in done.stderr


@pytest.mark.parametrize("truststore", [True, False], ids=["with truststore", "without"])
@pytest.mark.parametrize("how", ["ssl_context", "ca_file", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", None])
def test_one_trust_for_both_transports(
    how: Optional[str], truststore: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is trusted for WebSocket is trusted for REST, however it was said; nothing else is."""
    if truststore:
        pytest.importorskip("truststore")
    else:
        monkeypatch.setitem(sys.modules, "truststore", None)
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_side)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    if how is not None and how.isupper():
        monkeypatch.setenv(how, str(tmp_path / "ca.pem"))

    def answer(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"error":[],"result": 5}')

    def play(sock: socket.socket) -> None:
        greet(sock)
        drain(sock)

    with RawServer(play, server_side) as stream, RawServer(answer, server_side) as rest:
        client = SpotWSClient(
            ws_url=stream.url,
            rest_url=rest.url.replace("wss:", "https:"),
            ssl_context=trusting if how == "ssl_context" else None,
            ca_file=tmp_path / "ca.pem" if how == "ca_file" else None,
        )
        if how is None:
            for call in (client.start, client.rest.time):
                with pytest.raises(ConnectFailed, match="not trusted"):
                    call()
        else:
            client.start()
            assert client.rest.time() == 5
        client.close()
    assert trusting.verify_mode is ssl.CERT_REQUIRED


def test_a_bundle_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable and the file are named, on both transports."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    client = SpotWSClient(ws_url="wss://127.0.0.1:9", rest_url="https://127.0.0.1:9")
    with pytest.raises(ConnectFailed, match="REQUESTS_CA_BUNDLE=/nowhere/ca.pem"):
        client.rest.time()
    with pytest.raises(ValueError, match="no certificates can be read from ca_file='/nowhere/ca.pem'"):
        SpotWSClient(ca_file="/nowhere/ca.pem")
    with pytest.raises(ValueError, match="ssl_context or ca_file"):
        SpotWSClient(ca_file="ca.pem", ssl_context=ssl.create_default_context())


def test_a_context_that_verifies_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """It is allowed, and told."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    SpotWSClient(ssl_context=context)

    assert "does not verify certificates" in caplog.text
