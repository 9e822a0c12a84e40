"""A socket for one reading thread and many writing threads, with absolute deadlines.

websocket-client encodes and decodes frames over this object, which it gets through its public ``socket=``
option. This module adds what websocket-client lacks: only one thread at a time is inside the TLS object (an
OpenSSL connection must not be used by two threads at once), deadlines are absolute, messages are bounded,
data are read ahead and cut into frames, and an abort wakes all threads and never blocks.

Only :meth:`GuardedSocket.dispose` closes the file descriptor, and only the reading thread calls it, when it
has done everything else. So no thread can use a descriptor that the system has given to another file.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from functools import partial
from typing import Any, Callable, List, Optional, Tuple, Union

from ..core.wire.framing import begins_usual, cut
from .locks import new_lock
from .patched import shut_down
from .tls import TlsSocket

READ_AHEAD = 65536
"""The number of bytes read at once, so that a system call serves many messages."""
MUCH = 4096
"""A read of so many bytes is a sign that there are more; after a smaller one the next read waits first."""
WRITE_PIECE = 16384
"""The number of bytes written at once, which is the largest TLS record (RFC 8446, section 5.1)."""
WAIT_SLICE = 0.5
"""The longest single wait in seconds, after which the deadline and an abort are checked."""

NOT_READY = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError, InterruptedError)
"""What a socket that does not block raises if it has no data, or no room, at the moment."""


class Broken(Exception):
    """The socket cannot be used any more; the text says why."""


class GuardedSocket:
    """Wraps a connected socket. :meth:`recv` is for the reading thread only, :meth:`send` for any thread."""

    def __init__(self, sock: Union[socket.socket, TlsSocket]) -> None:
        # Non-blocking, so that a thread never waits inside the TLS object while it holds the lock: a writer
        # must be able to send while the reader waits for data.
        sock.setblocking(False)
        self._sock = sock
        self._tls = sock if isinstance(sock, TlsSocket) else None
        self._io = new_lock("socket")
        self._ending = new_lock("descriptor")
        """Held while the descriptor is shut down or closed, so that neither affects a reused descriptor.
        It is not the other lock, because an abort must not wait for a read or a write."""
        self._buffer = b""
        self._position = 0
        self._budget = READ_AHEAD  # bytes that the current message may still have
        self._begun = False  # whether a byte of the current message was read
        self._more = True
        """Whether there is probably something to read, so that it is not worth waiting for it first."""
        self._wait_readable = reader_of(sock)
        self.broken: Optional[str] = None
        """Why the socket cannot be used any more, or None; the first reason stays."""
        self.byte_at = time.monotonic()
        """When bytes were last received (monotonic seconds)."""
        self.message_at: Optional[float] = None
        """Since when a message has been incomplete (monotonic seconds), or None."""
        self.read_deadline: Optional[float] = None
        self.write_deadline: Optional[float] = None
        self.accepted = 0
        """The number of bytes of the last :meth:`send` that the TLS object or the system has accepted."""
        self._closed = False

    # -- what websocket-client asks of a socket ---------------------------------------------

    def gettimeout(self) -> float:
        """Return 0, so that websocket-client does not wait itself; :meth:`recv` and :meth:`send` do."""
        # With another value it would wait in select() itself, for a time that is not the deadline.
        return 0.0

    def settimeout(self, timeout: Optional[float]) -> None:
        """Do nothing: ``read_deadline`` and ``write_deadline`` take the place of timeouts."""

    def fileno(self) -> int:
        """Return the file descriptor."""
        return self._sock.fileno()

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """Abort the socket."""
        self.abort("shut down")

    def close(self) -> None:
        """Abort the socket; only :meth:`dispose` closes the descriptor."""
        self.abort("closed")

    def recv(self, size: int) -> bytes:
        """Return at least one and at most ``size`` bytes. Reading thread only; blocks until there are some.

        Raises:
            Broken: the connection has ended, ``read_deadline`` has passed, or the message is too big.
        """
        if self._position >= len(self._buffer):
            self._fill()
        start = self._position
        piece = self._buffer[start : start + size]
        self._position = start + len(piece)
        self._begun = True
        # Counted here and not by frame: a message may come in any number of fragments.
        self._budget -= len(piece)
        if self._budget < 0:
            self.abort("message too big")  # the rest would be taken for the next message
            raise Broken(self.broken)
        return piece

    def take_frames(self) -> List[bytes]:
        """Return the text messages that have arrived, or an empty list. Reading thread only.

        Blocks until there is a message, or something that is no usual frame and must be read with
        :meth:`recv`; then the list is empty.

        Raises:
            Broken: the connection has ended, or ``read_deadline`` has passed.
        """
        while True:
            if self._position < len(self._buffer):
                frames, self._position = cut(self._buffer, self._position)
                if frames or not begins_usual(self._buffer, self._position):
                    return frames
            self._fill()

    def send(self, data: bytes) -> int:
        """Send all of ``data``, or end the connection. Any thread, one at a time.

        Blocks at most until ``write_deadline``.

        Raises:
            Broken: nothing or only a part may have been sent; ``accepted`` tells how much.
        """
        view, sent = memoryview(data), 0
        self.accepted = 0
        while sent < len(view) or (self._tls is not None and self._tls.unsent):
            if self.broken:
                raise Broken(self.broken)
            if sent < len(view):
                taken, error = self._locked(self._sock.send, view[sent : sent + WRITE_PIECE])
            else:
                taken, error = self._locked(self._flush, None)
            if error is None:
                sent += taken
                self.accepted = sent
                continue
            if not isinstance(error, NOT_READY):
                self.abort(f"sending failed: {error}")
                continue  # the loop's first test raises, with the first reason
            # A key update of TLS: sending has to wait for the peer's data.
            for_writing = not isinstance(error, ssl.SSLWantReadError)
            if not self._wait(for_writing, self.write_deadline):
                self.abort("the peer takes no data")
        return len(view)

    # -- ours --------------------------------------------------------------------------------

    def begin_message(self, budget: int) -> None:
        """Note that the next bytes begin a message of at most ``budget`` bytes."""
        self._budget = budget
        self._begun = False
        self.message_at = None

    def abort(self, why: str) -> None:
        """End the connection, so that every thread in :meth:`recv` or :meth:`send` raises. Never blocks."""
        if self.broken is None:
            self.broken = why
        try:
            # Not close(), because only this wakes the threads that wait for the descriptor.
            with self._ending:
                if not self._closed:
                    shut_down(self._sock)
        except OSError:
            pass  # not connected any more

    def dispose(self) -> None:
        """Close the descriptor. Reading thread only, when it has done everything else."""
        self.abort("closed")
        # Both locks: no thread may be inside the TLS object, and none about to shut the descriptor down.
        with self._io, self._ending:
            self._closed = True
            self._sock.close()
        self._buffer = b""

    def _fill(self) -> None:
        """Read what is there behind the bytes that are not taken yet, and wait for at least one byte."""
        rest = self._buffer[self._position :]
        for_writing = False
        while True:
            if self.broken:
                raise Broken(self.broken)
            if self._more:
                data, error = self._locked(self._sock.recv, READ_AHEAD)
                if error is None:
                    if not data:
                        self.abort("the peer closed the connection")
                        continue
                    self._buffer, self._position = rest + data, 0
                    self._more = len(data) >= MUCH
                    self.byte_at = time.monotonic()
                    return
                if not isinstance(error, NOT_READY):
                    self.abort(f"reading failed: {error}")
                    continue
                for_writing = isinstance(error, ssl.SSLWantWriteError)
            # Noted only when the message is not complete after all that was there: this costs nothing for the
            # usual message that arrives in one piece.
            if (self._begun or rest) and self.message_at is None:
                self.message_at = self.byte_at
            if not self._wait(for_writing, self.read_deadline):
                self.abort("no answer in time")
            self._more = True

    def _locked(self, call: Callable[[Any], Any], argument: Any) -> Tuple[Any, Optional[OSError]]:
        """Call the socket with the lock held, for a moment since it does not block; its error is returned."""
        # No expected error leaves the with block: Python 3.10 looks for a Ctrl-C once more before it releases
        # the lock on the way of an exception, and the lock would stay taken.
        with self._io:
            try:
                return call(argument), None
            except OSError as error:
                return None, error

    def _flush(self, _: None) -> int:
        assert self._tls is not None
        self._tls.flush()
        return 0

    def _wait(self, for_writing: bool, deadline: Optional[float]) -> bool:
        """Wait, without the lock, until the socket may be ready; False once ``deadline`` has passed."""
        left = WAIT_SLICE if deadline is None else min(WAIT_SLICE, deadline - time.monotonic())
        if left <= 0:
            return False
        try:
            wait_ready(self._sock, True, left) if for_writing else self._wait_readable(left)
        except (OSError, ValueError) as error:  # ValueError: the descriptor is -1 after dispose()
            self.abort(f"waiting failed: {error}")
        return True


def wait_ready(sock: Union[socket.socket, TlsSocket], for_writing: bool, timeout: float) -> bool:
    """Wait up to ``timeout`` seconds until ``sock`` is readable (or writable), and return whether it is."""
    # poll() where there is one: select() fails for descriptors of 1024 and above.
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLOUT if for_writing else select.POLLIN)
        return bool(poll.poll(timeout * 1000))
    lists = ([], [sock], [sock]) if for_writing else ([sock], [], [sock])
    return any(select.select(*lists, timeout))


def reader_of(sock: Union[socket.socket, TlsSocket]) -> Callable[[float], object]:
    """Return what waits until ``sock`` is readable, as :func:`wait_ready` does; for many waits."""
    if not hasattr(select, "poll"):
        return partial(wait_ready, sock, False)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return lambda timeout: poll.poll(timeout * 1000)
