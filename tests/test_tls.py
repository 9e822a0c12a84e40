"""TLS in memory: everything that has arrived at once, whole pieces before an error, and all that was sent."""

from __future__ import annotations

import socket
import ssl
import time
from typing import Callable, Iterator, List, Tuple

import pytest
import trustme
from conftest import WAIT
from helpers import background

from kraken_sync.io.guarded_socket import Broken, GuardedSocket, wait_ready
from kraken_sync.io.tls import TlsSocket

Pair = Tuple[TlsSocket, ssl.SSLSocket]


def tcp_pair() -> Tuple[socket.socket, socket.socket]:
    """Two connected sockets."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return socket.create_connection(listener.getsockname()), listener.accept()[0]


@pytest.fixture(scope="module")
def contexts() -> Tuple[ssl.SSLContext, ssl.SSLContext]:
    """The settings of a server and of a client that trusts it."""
    authority, server = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture
def connect(contexts: Tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[Callable[..., Pair]]:
    """Makes a connected client of ours and the server's side of it; ``between`` may put something there."""
    made: List[socket.socket] = []

    def make(name: str = "localhost") -> Pair:
        ours, theirs = tcp_pair()
        made.extend((ours, theirs))
        theirs.settimeout(WAIT)
        server = background(contexts[0].wrap_socket, theirs, server_side=True)
        ours.setblocking(False)
        client = TlsSocket(ours, contexts[1], name)
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                wait_ready(client, False, WAIT)
        server["thread"].join(WAIT)
        made.append(server["value"])
        return client, server["value"]

    yield make
    for one in made:
        one.close()


def read(sock: TlsSocket) -> bytes:
    """What comes next."""
    while True:
        try:
            return sock.recv(65536)
        except ssl.SSLWantReadError:
            assert wait_ready(sock, False, WAIT)


def test_many_records_at_once(connect: Callable[..., Pair]) -> None:
    """Each message has a record of its own, and they are read together."""
    client, server = connect()
    read_first = background(read, client)
    server.sendall(b"ready")
    read_first["thread"].join(WAIT)
    messages = [b"message %d," % number for number in range(100)]
    for message in messages:
        server.sendall(message)

    assert read_first["value"] == b"ready"
    got, reads = b"", 0
    while len(got) < len(b"".join(messages)):
        got += read(client)
        reads += 1
    assert got == b"".join(messages)
    assert reads < 50
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(65536)


def test_a_record_in_pieces(connect: Callable[..., Pair]) -> None:
    """A part of a record is no message, and is not lost."""
    client, server = connect()
    server.sendall(b"first")  # and with it the tickets that follow a handshake
    assert read(client) == b"first"
    wire, away = socket.socketpair()
    with wire, away:
        real, client._sock = client._sock, away
        away.setblocking(False)
        server.sendall(b"whole")
        wait_ready(client, False, WAIT)
        record = real.recv(65536)
        for at in range(len(record) - 1):
            wire.sendall(record[at : at + 1])
            with pytest.raises(ssl.SSLWantReadError):
                client.recv(65536)
        wire.sendall(record[-1:] + b"\x17\x03\x03\x00\x20" + bytes(32))  # and one that is damaged

        assert client.recv(65536) == b"whole", "what is whole comes before the error"
        with pytest.raises(ssl.SSLError):
            client.recv(65536)


def test_the_end(connect: Callable[..., Pair]) -> None:
    """An end that is told, and one that is not, are both an end."""
    client, server = connect()
    server.sendall(b"last")
    background(server.unwrap)
    assert read(client) == b"last"
    assert read(client) == b""
    client, server = connect()
    server.close()
    assert read(client) == b""


def test_a_slow_peer_gets_everything(connect: Callable[..., Pair]) -> None:
    """The send ends when the system has taken the last byte, and data that come meanwhile are there."""
    client, server = connect()
    guard, whole = GuardedSocket(client), bytes(range(256)) * 40_000
    guard.write_deadline = time.monotonic() + WAIT
    sending = background(guard.send, whole)
    server.sendall(b"hello")
    assert guard.recv(65536) == b"hello"
    sending["thread"].join(0.2)
    assert sending["thread"].is_alive()
    got = bytearray()
    while len(got) < len(whole):
        got += server.recv(1 << 20)
    sending["thread"].join(WAIT)

    assert sending["value"] == len(whole) == guard.accepted
    assert bytes(got) == whole
    guard.dispose()


def test_a_peer_that_takes_nothing(connect: Callable[..., Pair]) -> None:
    """The deadline ends the send, and the connection."""
    client, _ = connect()
    guard = GuardedSocket(client)
    guard.write_deadline = time.monotonic() + 0.3
    with pytest.raises(Broken, match="takes no data"):
        guard.send(bytes(20_000_000))
    guard.dispose()


def test_another_name(contexts: Tuple[ssl.SSLContext, ssl.SSLContext], connect: Callable[..., Pair]) -> None:
    """A certificate of another host is refused, and the peer is told."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(WAIT)
    server = background(contexts[0].wrap_socket, theirs, server_side=True)
    ours.setblocking(False)
    client = TlsSocket(ours, contexts[1], "elsewhere.invalid")
    with pytest.raises(ssl.SSLCertVerificationError):
        while True:
            try:
                client.do_handshake()
            except ssl.SSLWantReadError:
                wait_ready(client, False, WAIT)
    server["thread"].join(WAIT)
    ours.close()
    if "value" in server:  # in TLS 1.3 a server's handshake is over before the client has looked
        with server["value"] as theirs, pytest.raises(ssl.SSLError, match="(?i)alert"):
            theirs.recv(1)
    else:
        assert isinstance(server["error"], ssl.SSLError)
