"""Proxies as tests need them: each connects to this machine, whatever name it is asked for."""

from __future__ import annotations

import socket
import threading
from typing import Callable, List


class ProxyServer:
    """Accepts connections, and hands them to ``_serve`` in threads of their own."""

    scheme = "http"

    def __init__(self) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.asked: List[bytes] = []
        """What connections were asked for."""
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its URL, with a login that only tests know."""
        return f"{self.scheme}://user:CANARY%20secret@127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._guarded, args=(client,), daemon=True).start()

    def _guarded(self, client: socket.socket) -> None:
        try:
            self._serve(client)
        except (OSError, IndexError):
            client.close()

    def _serve(self, client: socket.socket) -> None:
        raise NotImplementedError

    def _connect(self, client: socket.socket, port: int, answer: bytes) -> None:
        target = socket.create_connection(("127.0.0.1", port))
        client.sendall(answer)
        for source, sink in ((client, target), (target, client)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        self.server.close()

    def __enter__(self) -> ProxyServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class ConnectProxy(ProxyServer):
    """An HTTP proxy that tunnels, and wants a password unless ``open``."""

    refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"
    open = False

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1) or b"\r\n\r\n"
        self.asked.append(head)
        if not self.open and b"Proxy-Authorization: Basic dXNlcjpDQU5BUlkgc2VjcmV0" not in head:
            client.sendall(self.refusal)
            client.close()
            return
        port = head.split(b" ")[1].rpartition(b":")[2]
        self._connect(client, int(port), b"HTTP/1.1 200 Connection established\r\n\r\n")


class SocksProxy(ProxyServer):
    """A SOCKS5 proxy (RFC 1928) that wants a password (RFC 1929)."""

    scheme = "socks5h"

    def __init__(self, drip: Callable[[], object] = lambda: None) -> None:
        self._drip = drip  # called before each byte of an answer
        super().__init__()

    def _serve(self, client: socket.socket) -> None:
        _, count = client.recv(2)
        client.recv(count)
        self._say(client, b"\x05\x02")
        _, size = client.recv(2)
        user = client.recv(size)
        password = client.recv(client.recv(1)[0])
        if (user, password) != (b"user", b"CANARY secret"):
            self._say(client, b"\x01\x01")
            client.close()
            return
        self._say(client, b"\x01\x00")
        kind = client.recv(4)[3]
        host = client.recv(client.recv(1)[0] if kind == 3 else 4)
        port = int.from_bytes(client.recv(2), "big")
        self.asked.append(host)
        self._connect(client, port, b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")

    def _say(self, client: socket.socket, answer: bytes) -> None:
        for byte in answer:
            self._drip()
            client.sendall(bytes([byte]))


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while True:
            data = source.recv(65536)
            if not data:
                break
            sink.sendall(data)
    except OSError:
        pass
    finally:
        try:  # close() alone says nothing to the peer while the other thread reads from it
            sink.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        sink.close()
