"""A TCP proxy that cuts or stalls a connection at an exact byte."""

from __future__ import annotations

import select
import socket
import struct
import threading
from typing import List, Optional, Tuple


class Proxy:
    """Forwards to ``port`` on loopback, until it is told not to.

    ``up`` is from the client to the server. ``arm`` lets so many more bytes pass in one direction; then the
    connection is cut, or only goes quiet (``stall``).
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        self._lock = threading.Lock()
        self._left: dict = {"up": None, "down": None}
        self._stall = False
        self._stalled: set = set()
        """The sources that have gone quiet: nothing of theirs passes any more."""
        self._pairs: List[Tuple[socket.socket, socket.socket]] = []
        self.connections = 0
        self._open = True
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def arm(self, direction: str, count: int, *, stall: bool = False) -> None:
        """After ``count`` more bytes in this direction: cut, or stall."""
        with self._lock:
            self._left[direction], self._stall = count, stall
        if count == 0 and not stall:
            self.cut()

    def disarm(self) -> None:
        """Let everything pass; a stalled connection is cut."""
        with self._lock:
            self._left, self._stall = {"up": None, "down": None}, False
            stalled = any(source in pair for source in self._stalled for pair in self._pairs)
        if stalled:
            self.cut()

    def cut(self) -> None:
        """Cut every connection, without a goodbye."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
            if not self._stall:
                self._left = {"up": None, "down": None}
        for pair in pairs:
            for sock in pair:
                try:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self) -> None:
        """End it."""
        self._open = False
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            for sock in (client, server):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            with self._lock:
                self._pairs.append((client, server))
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        ways = {client: ("up", server), server: ("down", client)}
        try:
            while True:
                ready, _, _ = select.select(list(ways), [], [], 0.5)
                for source in ready:
                    direction, target = ways[source]
                    data = source.recv(65536)
                    if not data:
                        return
                    passed, over = self._allowed(direction, source, data)
                    if passed:
                        target.sendall(passed)
                    if over:
                        self.cut()
                        return
                with self._lock:
                    if (client, server) not in self._pairs:
                        return
        except (OSError, ValueError):
            pass
        finally:
            with self._lock:
                if (client, server) in self._pairs:
                    self._pairs.remove((client, server))
                self._stalled -= {client, server}
            client.close()
            server.close()

    def _allowed(self, direction: str, source: socket.socket, data: bytes) -> Tuple[bytes, bool]:
        """What of ``data`` may pass, and whether the connection is to be cut then."""
        with self._lock:
            if source in self._stalled:
                return b"", False
            left: Optional[int] = self._left[direction]
            if left is None:
                return data, False
            passed = data[:left]
            self._left[direction] = left - len(passed)
            if self._stall and len(passed) < len(data):
                self._stalled.add(source)
            return passed, len(data) >= left and not self._stall
