"""A server that sends exactly the bytes a test wants, over TCP or TLS."""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
import threading
from typing import Callable, List, Optional

STATUS = (
    b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online",'
    b'"api_version":"v2","connection_id":18125794168470749634}]}'
)


def frame(payload: bytes, opcode: int = 1, *, fin: bool = True, masked: bool = False) -> bytes:
    """A WebSocket frame as a server sends it."""
    head = bytes([(0x80 if fin else 0) | opcode])
    bit, size = (0x80 if masked else 0), len(payload)
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if masked:
        return head + b"\0\0\0\0" + payload
    return head + payload


def read_request(sock: socket.socket) -> bytes:
    """A whole HTTP request; empty if the connection ends."""
    request = b""
    while b"\r\n\r\n" not in request or len(request) < _length_of(request):
        piece = sock.recv(65536)
        if not piece:
            return b""
        request += piece
    return request


def _length_of(request: bytes) -> int:
    head = request.partition(b"\r\n\r\n")[0]
    found = re.search(rb"Content-Length: (\d+)", head)
    return len(head) + 4 + (int(found[1]) if found else 0)


class RawServer:
    """Accepts connections and lets ``script(sock)`` play each of them in a thread of its own."""

    def __init__(self, script: Callable[[socket.socket], None], tls: Optional[ssl.SSLContext] = None) -> None:
        self._script = script
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self.accepted = 0
        self._open: List[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, name="raw-server", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'wss' if self._tls else 'ws'}://{'localhost' if self._tls else '127.0.0.1'}:{self.port}"

    def __enter__(self) -> RawServer:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()
        for sock in self._open:
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._play, args=(sock,), daemon=True).start()

    def _play(self, sock: socket.socket) -> None:
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
            self._open.append(sock)
            self._script(sock)
        except (OSError, ValueError):
            pass  # the client has gone, which tests may well want


def upgrade(sock: socket.socket) -> None:
    """Answer the WebSocket handshake."""
    request = b""
    while b"\r\n\r\n" not in request:
        request += sock.recv(4096)
    lines = request.decode().split("\r\n")
    key = next(
        line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("sec-websocket-key")
    )
    magic = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(magic) + b"\r\n\r\n"
    )


def greet(sock: socket.socket) -> None:
    """Answer the handshake and send the status message."""
    upgrade(sock)
    sock.sendall(frame(STATUS))


def drain(sock: socket.socket) -> None:
    """Read and forget until the client is gone."""
    while sock.recv(65536):
        pass
