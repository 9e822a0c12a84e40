"""TLS over a socket that does not block, with both of them apart.

:class:`ssl.SSLSocket` reads one TLS record in two system calls, and gives up the interpreter for each record.
Here everything that has arrived is read in one call and then decrypted in memory, so that many small messages
cost little more than one, also while another thread keeps the interpreter busy.
"""

from __future__ import annotations

import socket
import ssl
from typing import List, Optional, Union

READ = 65536
"""The number of encrypted bytes that are read at once."""
_PIECE = 16384
"""The largest number of bytes in one record (RFC 8446, section 5.1)."""


class TlsSocket:
    """A connected socket whose content is encrypted. No method blocks. Not thread-safe: the owner serialises.

    It has the methods of a socket that :class:`~.guarded_socket.GuardedSocket` needs. They raise
    :class:`ssl.SSLWantReadError` and :class:`ssl.SSLWantWriteError` when they are to be called again later.

    Args:
        sock: does not block.
        context: the TLS settings.
        server_hostname: the name that the certificate must have.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_hostname: str) -> None:
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self.unsent = b""
        """What was taken to be sent, and the system has not taken so far; encrypted."""
        self._error: Optional[ssl.SSLError] = None
        self._ended = False
        self.fileno, self.setblocking, self.shutdown = sock.fileno, sock.setblocking, sock.shutdown
        self.version, self.getpeercert = self._tls.version, self._tls.getpeercert

    def do_handshake(self) -> None:
        """Go on with the handshake; returns when it is over. Raises as :meth:`recv` does, until then."""
        while True:
            self.flush()
            try:
                self._tls.do_handshake()
                self.flush()
                return
            except ssl.SSLWantReadError:
                self.flush()  # first what was said
                self._receive()
            except ssl.SSLError:
                self._try_to_flush()  # the alert that tells the peer what was wrong
                raise

    def recv(self, size: int) -> bytes:
        """Return what has arrived, of any size; nothing if the peer has closed the connection."""
        if self._error is not None:
            raise self._error
        if not (self._incoming.pending or self._ended):
            self._receive()
        pieces: List[bytes] = []
        # With nothing pending there may still be a part of a record inside; asking for it would only raise.
        while self._incoming.pending and not self._ended:
            try:
                piece = self._tls.read(_PIECE)
                pieces.append(piece)
                self._ended = not piece
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:
                if not pieces:
                    raise
                self._error = error  # what came before it is whole
                break
        self._try_to_flush()  # the answer to a key update
        if not (pieces or self._ended or self._incoming.eof):
            raise ssl.SSLWantReadError
        return b"".join(pieces)

    def send(self, data: Union[bytes, memoryview]) -> int:
        """Take ``data`` to be sent, and return its size; :meth:`flush` sends the rest."""
        self.flush()
        size = self._tls.write(data)
        self._try_to_flush()
        return size

    def flush(self) -> None:
        """Send what was taken."""
        if self._outgoing.pending:
            self.unsent += self._outgoing.read()
        try:
            while self.unsent:
                self.unsent = self.unsent[self._sock.send(self.unsent) :]
        except BlockingIOError:
            raise ssl.SSLWantWriteError from None

    def close(self) -> None:
        """Close the descriptor."""
        self._sock.close()

    def _receive(self) -> None:
        try:
            data = self._sock.recv(READ)
        except BlockingIOError:
            raise ssl.SSLWantReadError from None
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _try_to_flush(self) -> None:
        if self.unsent or self._outgoing.pending:
            try:
                self.flush()
            except OSError:
                pass  # if it is more than want of room, the next call meets it again
