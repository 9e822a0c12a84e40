"""Receiving: how fast frames come off a TLS (or plain) socket on loopback, in microseconds a message.

The server is another process, so each side has a core of its own. Three readers of the same feed in one run:
stock websocket-client, our transport, and our transport with the session that decodes, applies and verifies
every book message. Compare only figures of one run.

    python benchmarks/bench_receive.py            # TLS; needs trustme
    python benchmarks/bench_receive.py --plain
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import multiprocessing
import socket
import ssl
import tempfile
import time
from typing import Any, Callable, List, Optional, Tuple

from bench_book import SYMBOL, feed

from kraken_sync.core.session.session import Session
from kraken_sync.core.timing import Timing
from kraken_sync.core.wire.channels import channel_params
from kraken_sync.io.dial import Endpoint
from kraken_sync.io.transport import Transport

STATUS = b'{"channel":"status","type":"update","data":[{"system":"online"}]}'
READERS = 3


def framed(payload: bytes) -> bytes:
    """A server's text frame."""
    size = len(payload)
    if size < 126:
        return bytes([0x81, size]) + payload
    return b"\x81\x7e" + size.to_bytes(2, "big") + payload


def serve(listener: socket.socket, files: Optional[Tuple[str, str]], payload: bytes, clients: int) -> None:
    """Upgrade so many clients, one after the other, and send each the payload as fast as it takes it."""
    for _ in range(clients):
        sock, _ = listener.accept()
        if files is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*files)
            sock = context.wrap_socket(sock, server_side=True)
        request = b""
        while b"\r\n\r\n" not in request:
            request += sock.recv(4096)
        key = next(
            line.split(b":", 1)[1].strip()
            for line in request.split(b"\r\n")
            if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        try:
            sock.sendall(payload)
            sock.recv(4096)
        except OSError:
            pass  # the reader has what it wanted
        sock.close()


def stock(url: str, context: Optional[ssl.SSLContext], count: int, checked: bool = False) -> float:
    """Seconds for stock websocket-client, with or without its UTF-8 check."""
    import websocket

    options = {"context": context} if context is not None else {}
    client = websocket.create_connection(url, sslopt=options, skip_utf8_validation=not checked)
    started = time.perf_counter()
    for _ in range(count):
        client.recv_data()
    seconds = time.perf_counter() - started
    client.shutdown()
    return seconds


def transport_only(url: str, context: Optional[ssl.SSLContext], count: int) -> float:
    """Seconds for our transport."""
    transport = Transport(Endpoint(url), context)
    transport.connect(time.monotonic() + 10)
    recv = transport.recv
    started = time.perf_counter()
    for _ in range(count):
        recv()
    seconds = time.perf_counter() - started
    transport.dispose()
    return seconds


def with_session(url: str, context: Optional[ssl.SSLContext], count: int) -> float:
    """Seconds for our transport and the session, every book message verified."""
    transport, session = Transport(Endpoint(url), context), Session(Timing())
    transport.connect(time.monotonic() + 10)
    session.opened(time.monotonic())
    session.receive(STATUS, time.monotonic())
    session.subscriptions.subscribe_book(channel_params({"channel": "book", "symbol": [SYMBOL], "depth": 10}))
    session.due(time.monotonic(), 0.0, None)
    recv, receive, clock = transport.recv, session.receive, time.monotonic
    started = time.perf_counter()
    for _ in range(count):
        receive(recv(), clock())
    seconds = time.perf_counter() - started
    transport.dispose()
    assert session.counters.verified == count, vars(session.counters)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--plain", action="store_true", help="without TLS")
    options = parser.parse_args()
    frames = feed(10, options.messages)
    payload, files, context = b"".join(map(framed, frames)), None, None
    with tempfile.TemporaryDirectory() as folder:
        if not options.plain:
            import trustme

            authority = trustme.CA()
            certificate = authority.issue_cert("localhost")
            files = (f"{folder}/cert.pem", f"{folder}/key.pem")
            certificate.cert_chain_pems[0].write_to_path(files[0])
            certificate.private_key_pem.write_to_path(files[1])
            context = ssl.create_default_context()
            authority.configure_trust(context)
        listener = socket.create_server(("127.0.0.1", 0))
        url = f"{'ws' if options.plain else 'wss'}://localhost:{listener.getsockname()[1]}/v2"
        server = multiprocessing.get_context("fork").Process(
            target=serve, args=(listener, files, payload, READERS), daemon=True
        )
        server.start()
        readers: List[Tuple[str, Callable[..., Any]]] = [
            ("stock websocket-client", stock),
            ("our transport", transport_only),
            ("our transport, books verified", with_session),
        ]
        first = 0.0
        for name, reader in readers:
            cost = reader(url, context, len(frames)) / len(frames) * 1e6
            first = first or cost
            print(
                f"{name:30} {cost:6.2f} us a message   {cost / first:5.2f} of stock   {1e6 / cost:8,.0f} /s"
            )
        server.terminate()


if __name__ == "__main__":
    main()
