"""A socket for one reading and many writing threads, with deadlines that hold.

websocket-client is used as a frame codec over this object (through its public ``socket=`` option). All that
it does not give is here: no two threads inside one TLS object (OpenSSL forbids it), absolute deadlines,
bounded messages, a read-ahead, and an abort that wakes everybody and never blocks.

The file descriptor is closed by :meth:`GuardedSocket.dispose` alone, which only the reading thread calls as
its last act; so no thread can ever touch a reused descriptor.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from typing import Optional

from .locks import new_lock

READ_AHEAD = 65536
WRITE_PIECE = 16384
WAIT_SLICE = 0.5
"""Longest single wait of a reader; an abort wakes it at once anyway."""


class Broken(Exception):
    """The socket is of no use any more; the text says why."""


class GuardedSocket:
    """Wraps a connected, non-blocking socket. ``recv`` belongs to one thread, ``send`` is for all."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._io = new_lock("socket")
        self._ending = new_lock("descriptor")
        """Held while the descriptor is shut down or closed, so that neither hits a reused one."""
        self._buffer = b""
        self._position = 0
        self._budget = READ_AHEAD
        self._begun = False
        self.broken: Optional[str] = None
        """Why nothing works any more; the first reason stays."""
        self.byte_at = time.monotonic()
        """When bytes last came."""
        self.message_at: Optional[float] = None
        """Since when a message is incomplete, or None."""
        self.read_deadline: Optional[float] = None
        self.write_deadline: Optional[float] = None
        self.accepted = 0
        """How many bytes of the last :meth:`send` have left, or may have."""
        self._closed = False

    # -- what websocket-client asks of a socket ---------------------------------------------

    def gettimeout(self) -> float:
        """0: the codec must not wait on its own; ``recv`` and ``send`` here do."""
        return 0.0

    def settimeout(self, timeout: Optional[float]) -> None:
        """Nothing: deadlines are absolute and ours."""

    def fileno(self) -> int:
        """The descriptor."""
        return self._sock.fileno()

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """As an abort."""
        self.abort("shut down")

    def close(self) -> None:
        """As an abort: only :meth:`dispose` closes the descriptor."""
        self.abort("closed")

    def recv(self, size: int) -> bytes:
        """At least one and at most ``size`` bytes. Reading thread only.

        Raises:
            Broken: the peer is gone, the deadline passed, or the message is too big.
        """
        if self._position >= len(self._buffer):
            self._fill()
        start = self._position
        piece = self._buffer[start : start + size]
        self._position = start + len(piece)
        self._begun = True
        self._budget -= len(piece)
        if self._budget < 0:
            self.abort("message too big")
            raise Broken(self.broken)
        return piece

    def send(self, data: bytes) -> int:
        """All of ``data``, or the connection is condemned. Any thread, one at a time.

        Raises:
            Broken: nothing, or only a part, may have left.
        """
        view, sent = memoryview(data), 0
        self.accepted = 0
        while sent < len(view):
            if self.broken:
                raise Broken(self.broken)
            try:
                with self._io:
                    sent += self._sock.send(view[sent : sent + WRITE_PIECE])
                self.accepted = sent
                continue
            except ssl.SSLWantReadError:
                for_writing = False
            except (ssl.SSLWantWriteError, BlockingIOError, InterruptedError):
                for_writing = True
            except OSError as error:
                self.abort(f"sending failed: {error}")
                continue
            if not self._wait(for_writing, self.write_deadline):
                self.abort("the peer takes no data")
        return len(view)

    # -- ours --------------------------------------------------------------------------------

    def begin_message(self, budget: int) -> None:
        """The next bytes begin a message of at most ``budget`` bytes."""
        self._budget = budget
        self._begun = False
        self.message_at = None

    def abort(self, why: str) -> None:
        """End it: every thread in here wakes up and raises. Any thread, any time, never blocks."""
        if self.broken is None:
            self.broken = why
        try:
            # The base class on purpose: SSLSocket.shutdown() first drops the TLS object, and a send
            # in another thread would then go out in clear.
            with self._ending:
                if not self._closed:
                    socket.socket.shutdown(self._sock, socket.SHUT_RDWR)
        except OSError:
            pass  # not connected any more

    def dispose(self) -> None:
        """Close the descriptor. Reading thread only, as its last act."""
        self.abort("closed")
        with self._io, self._ending:
            self._closed = True
            self._sock.close()
        self._buffer = b""

    def _fill(self) -> None:
        while True:
            if self.broken:
                raise Broken(self.broken)
            try:
                with self._io:
                    data = self._sock.recv(READ_AHEAD)
            except (ssl.SSLWantReadError, BlockingIOError, InterruptedError):
                for_writing = False
            except ssl.SSLWantWriteError:
                for_writing = True
            except OSError as error:
                self.abort(f"reading failed: {error}")
                continue
            else:
                if not data:
                    self.abort("the peer closed the connection")
                    continue
                self._buffer, self._position = data, 0
                self.byte_at = time.monotonic()
                return
            if self._begun and self.message_at is None:
                self.message_at = self.byte_at
            if not self._wait(for_writing, self.read_deadline):
                self.abort("no answer in time")

    def _wait(self, for_writing: bool, deadline: Optional[float]) -> bool:
        """Wait, outside the lock, until the socket may be ready; False once the deadline passed."""
        left = WAIT_SLICE if deadline is None else min(WAIT_SLICE, deadline - time.monotonic())
        if left <= 0:
            return False
        try:
            wait_ready(self._sock, for_writing, left)
        except (OSError, ValueError) as error:
            self.abort(f"waiting failed: {error}")
        return True


def wait_ready(sock: socket.socket, for_writing: bool, timeout: float) -> bool:
    """Wait up to ``timeout`` seconds until ``sock`` is readable (or writable)."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLOUT if for_writing else select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    lists = ([], [sock], [sock]) if for_writing else ([sock], [], [sock])
    return any(select.select(*lists, timeout))
