"""Bare receiving, by ``--kind``.

It is ``ours`` (our transport), ``stock`` (websocket-client's ``recv_data`` without its UTF-8 check),
``checked`` (with it) or ``pieces`` (``SSLSocket.recv`` of the same bytes, which are not looked at).
"""

from __future__ import annotations

import socket
import ssl
import time
from functools import partial
from typing import Any, Callable, Dict
from urllib.parse import urlsplit

import websocket

from .. import internals
from ..frames import handshake
from .common import context, options, report


def stock(url: str, tls: ssl.SSLContext, count: int, checked: bool = False) -> float:
    """CPU seconds of websocket-client."""
    client: Any = websocket.create_connection(url, sslopt={"context": tls}, skip_utf8_validation=not checked)
    cpu, size = time.process_time(), 0
    for _ in range(count):
        size += len(client.recv_data()[1])
    cpu = time.process_time() - cpu
    client.shutdown()
    assert size
    return cpu


def pieces(url: str, tls: ssl.SSLContext, size: int) -> float:
    """CPU seconds of reading so many bytes and doing nothing with them."""
    sock = connected(url, tls)
    cpu = time.process_time()
    while size > 0:
        received = sock.recv(65_536)
        assert received, "the server has left"
        size -= len(received)
    cpu = time.process_time() - cpu
    sock.close()
    return cpu


def connected(url: str, tls: ssl.SSLContext) -> ssl.SSLSocket:
    """A socket after the handshake, from which nothing of the messages was read."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 443
    plain = socket.create_connection((host, port))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock = tls.wrap_socket(plain, server_hostname=host)
    sock.sendall(handshake(host))
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += sock.recv(1)
    return sock


def main() -> None:
    """Measure one kind."""
    given = options(__doc__, kind="ours", size=0)
    tls, started = context(given.ca), time.perf_counter()
    if given.kind == "pieces":
        cpu = pieces(given.url, tls, given.size)
    else:
        kinds: Dict[str, Callable[[str, ssl.SSLContext, int], float]]
        kinds = {"ours": internals.receive, "stock": stock, "checked": partial(stock, checked=True)}
        cpu = kinds[given.kind](given.url, tls, given.count)
    wall = time.perf_counter() - started  # the handshake is in it
    report(cpu=cpu / given.count * 1e6, wall=wall / given.count * 1e6)


if __name__ == "__main__":
    main()
