"""One WebSocket connection: connect, receive, send, abort. The only module that imports websocket-client.

websocket-client does the handshake, sends, and reads every frame that is not a usual one; the usual ones are
cut out of the buffer of the socket below it, a :class:`~kraken_sync.io.guarded_socket.GuardedSocket`. A
transport is used for one connection only, so no state of an old connection can get into a new one.
"""

from __future__ import annotations

import ssl
import threading
import time
from functools import partial
from typing import Any, Callable, List, Optional

from ..core.wire.printable import printable
from ..errors import ConnectFailed, ConnectionLost
from .dial import Endpoint, dial
from .guarded_socket import Broken, GuardedSocket
from .hidden_import import check_import
from .locks import new_rlock
from .tls import TlsSocket
from .waiting import Value, run_locked

MAX_MESSAGE = 16 * 1024 * 1024
"""The largest message in bytes; the largest one known, the snapshot of ``instrument``, has about 1 MiB."""
MAX_HANDSHAKE = 64 * 1024
"""The largest response to the handshake in bytes; websocket-client itself has no limit."""
_FINAL_STATUS = (400, 401, 403, 404)
"""HTTP statuses that will be the same for the next attempt; those for too much load (429, 5xx) pass."""
USER_AGENT = "User-Agent: kraken-sync"
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_NORMAL, _NO_UTF8 = (1000).to_bytes(2, "big"), (1007).to_bytes(2, "big")
"""Close codes; RFC 6455, section 7.4.1."""

check_import()


class Transport:
    """One connection to ``endpoint``.

    :meth:`connect`, :meth:`receive` and :meth:`dispose` may be called by the reading thread only, all other
    methods by any thread.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        context: Optional[ssl.SSLContext] = None,
        sending: Callable[[bytes], None] = lambda frame: None,
        pinged: Callable[[], None] = lambda: None,
    ) -> None:
        self._endpoint = endpoint
        self._sending, self._pinged = sending, pinged
        self._context = context
        self._guard: Optional[GuardedSocket] = None
        self._codec: Any = None
        """A websocket.WebSocket; untyped, because its types differ between releases."""
        self._aborted: Optional[str] = None
        self._pong: Optional[bytes] = None  # the payload of a ping that is not answered yet
        self.step = "connect"
        """The step of connecting: ``token``, ``resolve``, ``connect``, ``proxy``, ``tls``, ``handshake``."""
        self._send_lock = new_rlock("send")
        """Held by the sending thread; guards the order of frames on the wire."""
        self._sender: Optional[int] = None
        """The thread that may send now; not the lock's owner, which a signal handler would be, too."""
        self.close_code: Optional[int] = None
        self.ignored = 0
        """The number of binary messages dropped; the exchange sends text only."""

    # -- reading thread ----------------------------------------------------------------------

    def connect(self, deadline: float) -> None:
        """Connect and do the handshake. Blocks at most until ``deadline`` (monotonic seconds).

        Raises:
            ConnectFailed: the error has the step that failed.
        """
        sock = dial(
            self._endpoint, self._context, deadline, lambda: self._aborted is not None, self._set_step
        )
        # A second look at what must never be wrong: tokens and orders go over this socket.
        if isinstance(sock, TlsSocket) != self._endpoint.secure:
            sock.close()
            raise ConnectFailed("a wss:// connection without TLS was refused", step="tls")
        self._set_step("handshake")
        guard = self._guard = GuardedSocket(sock)
        # Asked after the guard is in place: an abort() that came before found no guard to abort.
        if self._aborted:
            guard.abort(self._aborted)
        guard.read_deadline = guard.write_deadline = deadline
        guard.begin_message(MAX_HANDSHAKE)
        self._handshake(guard)
        guard.read_deadline = None  # from here on the watchdog judges silence

    def receive(self) -> List[bytes]:
        """Return the next text messages: all that have arrived. Blocks until there is one.

        Raises:
            ConnectionLost: the connection ended; the error has the close code if there was one.
        """
        guard, codec = self._connected()
        while True:
            guard.begin_message(MAX_MESSAGE)
            try:
                frames = guard.take_frames()
            except Broken as error:
                raise self._lost(error) from error
            if frames:
                return frames
            message = self._unusual(guard, codec)
            if message is not None:
                return [message]

    def _unusual(self, guard: GuardedSocket, codec: Any) -> Optional[bytes]:
        """Read a message that is no usual frame; None if it is a control frame or is dropped."""
        # Frames are put together here and not by websocket-client's recv(), which answers pings and close
        # frames itself, from the reading thread, and has no limit for a message in many fragments. The
        # checks are those of RFC 6455, sections 5.1, 5.4 and 5.5.
        pieces: List[bytes] = []
        size = 0
        kind = _CONTINUATION
        while True:
            frame = self._frame(codec)
            opcode, data = frame.opcode, frame.data
            if frame.mask_value:
                self._violation("a masked frame")
            if opcode >= _CLOSE:
                if not frame.fin or len(data) > 125:
                    self._violation("a bad control frame")
                if opcode == _PING:
                    self._pong = bytes(data)  # the watchdog's thread answers it
                    self._pinged()
                elif opcode == _CLOSE:
                    self._closed(bytes(data))
                # Between the fragments of a message the budget and the message's age go on.
                if not pieces:
                    return None
                continue
            if (opcode == _CONTINUATION) != bool(pieces):
                self._violation("a stray or missing continuation")
            if not pieces:
                kind = opcode
            size += len(data)
            if size > MAX_MESSAGE:
                self._violation("a message that is too big")
            pieces.append(bytes(data))
            if frame.fin:
                if kind == _TEXT:
                    return b"".join(pieces)
                self.ignored += 1
                return None

    def dispose(self) -> None:
        """Close the descriptor. Called by the reading thread when it has done everything else."""
        if self._guard is not None:
            self._guard.dispose()
        codec, self._codec = self._codec, None
        # websocket-client's objects refer to each other. What they have read may be large, so it is dropped
        # here instead of whenever the garbage collector runs.
        if codec is not None:
            codec.frame_buffer.recv_buffer = []
            vars(codec.frame_buffer).pop("recv_length", None)

    # -- any thread --------------------------------------------------------------------------

    def exclusively(self, timeout: float, work: Callable[[], Value]) -> Optional[Value]:
        """Call ``work()``, which may send, while no other thread sends, and return its result.

        None if another thread is sending for ``timeout`` seconds (-1: no limit), or if this thread is sending
        already: a signal handler that interrupts a send must not put a frame into the middle of another one.
        """
        return run_locked(self._send_lock, timeout, partial(self._alone, work))

    def _alone(self, work: Callable[[], Value]) -> Optional[Value]:
        if self._sender is not None:
            return None
        try:
            self._sender = threading.get_ident()
            return work()
        finally:
            self._sender = None

    def send(self, frame: bytes, timeout: float) -> None:
        """Send one text message completely. Only within :meth:`exclusively`.

        Blocks up to ``timeout`` seconds. A failure ends the connection, since a part of the frame may have
        been sent.

        Raises:
            ConnectionLost: the connection has ended; ``sent`` is False if no byte of the frame was sent.
        """
        assert self._sender == threading.get_ident()
        guard, _ = self._connected()
        guard.write_deadline = time.monotonic() + timeout
        guard.accepted = 0
        self._sending(frame)  # before it leaves, because the reply may come at once
        try:
            import websocket

            guard.send(websocket.ABNF.create_frame(frame, _TEXT).format())  # which sends all of it, or raises
        # Also a Ctrl-C: after half a frame the next one would be read as the rest of it.
        except BaseException as error:
            guard.abort(f"sending failed: {str(error) or type(error).__name__}")
            if not isinstance(error, Exception):
                raise
            lost = self._lost(error)
            lost.sent = guard.accepted > 0
            raise lost from error

    def send_pong(self, timeout: float) -> None:
        """Answer the last WebSocket ping, if there is one. Only within :meth:`exclusively`."""
        payload, self._pong = self._pong, None
        if payload is None:
            return
        guard, codec = self._connected()
        guard.write_deadline = time.monotonic() + timeout
        try:
            codec.send(payload, _PONG)
        except Exception as error:
            guard.abort(f"sending failed: {error}")

    def say_goodbye(self, timeout: float) -> None:
        """Send a close frame if that is possible within ``timeout`` seconds, then abort. Never raises."""
        guard, codec = self._guard, self._codec
        if guard is None or codec is None:
            self.abort("closed")
            return
        self.exclusively(timeout, partial(self._send_close, _NORMAL, timeout))
        self.abort("closed")

    def _send_close(self, payload: bytes, timeout: float) -> None:
        try:
            guard, codec = self._connected()  # the reading thread may have disposed of them just now
            guard.write_deadline = time.monotonic() + timeout
            codec.send(payload, _CLOSE)
        except Exception:
            pass  # the connection is aborted next

    def abort(self, why: str) -> None:
        """End the connection: ``connect``, ``receive`` and ``send`` raise. Does not block."""
        if self._aborted is None:
            self._aborted = why  # before the guard is looked at; see connect()
        guard = self._guard
        if guard is not None:
            guard.abort(why)

    @property
    def byte_at(self) -> float:
        """When bytes were last received (monotonic seconds)."""
        return self._guard.byte_at if self._guard else float("-inf")

    @property
    def message_at(self) -> Optional[float]:
        """Since when a message has been incomplete (monotonic seconds), or None."""
        return self._guard.message_at if self._guard else None

    # -- inside ------------------------------------------------------------------------------

    def _set_step(self, step: str) -> None:
        self.step = step

    def _connected(self) -> tuple[GuardedSocket, Any]:
        if self._guard is None or self._codec is None:
            raise ConnectionLost("not connected", sent=False)
        return self._guard, self._codec

    def _handshake(self, guard: GuardedSocket) -> None:
        import websocket  # here, because the import takes as long as that of the whole library

        # UTF-8 is checked when the JSON is decoded, and this class has a lock of its own for sending.
        codec: Any = websocket.WebSocket(skip_utf8_validation=True, enable_multithread=False)
        try:
            codec.connect(
                self._endpoint.url,
                socket=guard,
                redirect_limit=0,
                suppress_origin=True,
                header=[USER_AGENT],
            )
        except websocket.WebSocketBadStatusException as error:
            guard.dispose()
            raise self._bad_status(error.status_code, error.resp_headers or {}) from None
        except Exception as error:
            broken = guard.broken
            guard.dispose()
            reason = broken if isinstance(error, Broken) and broken else str(error)
            raise ConnectFailed(
                f"{self._endpoint} is no WebSocket endpoint, or did not answer as one: {reason:.200}",
                step="handshake",
            ) from error
        # Releases of websocket-client differ in whether they raise for a redirect.
        if codec.getstatus() != 101:
            guard.dispose()
            raise self._bad_status(codec.getstatus(), codec.getheaders() or {})
        granted = {name.lower(): value for name, value in (codec.getheaders() or {}).items()}
        for name in ("sec-websocket-extensions", "sec-websocket-protocol"):
            # RFC 6455, section 4.1: the client must fail for an extension or a subprotocol that it did not
            # ask for. websocket-client lets them pass, and compressed frames would then look like bad data.
            if granted.get(name):
                guard.dispose()
                raise ConnectFailed(
                    f"{self._endpoint} answered with {name}: {printable(granted[name]):.60}, which was not "
                    "asked for; is something in between?",
                    step="handshake",
                )
        _limit_frames(codec.frame_buffer)
        self._codec = codec

    def _bad_status(self, status: int, headers: dict[str, str]) -> ConnectFailed:
        advice = {
            301: "it redirects, which an exchange does not; is this the exchange's address?",
            302: "it redirects, which an exchange does not; is this the exchange's address?",
            401: "it asks for a login, which the exchange does not; is something in between?",
            403: "blocked by the exchange's edge; is your address or region allowed?",
            404: "nothing is served at this path; is this the exchange's address?",
            429: "too many connections from your address; use one client for everything",
        }.get(status, "try again later" if status >= 500 else "is this the exchange's address?")
        # Retry-After may also be a date (RFC 9110); then the usual delay applies.
        try:
            retry_after: Optional[float] = float(headers.get("retry-after", ""))
        except ValueError:
            retry_after = None
        return ConnectFailed(
            f"{self._endpoint} refused the connection with HTTP status {status}: {advice}",
            step="handshake",
            status=status,
            permanent=status in _FINAL_STATUS,
            retry_after=retry_after,
        )

    def _frame(self, codec: Any) -> Any:
        try:
            return codec.recv_frame()
        # Bad data make websocket-client raise errors of many classes, not all of them its own.
        except Exception as error:
            if self._guard is not None:
                self._guard.abort(f"bad data: {error}")
            raise self._lost(error) from error

    def _lost(self, error: BaseException) -> ConnectionLost:
        reason = (self._guard and self._guard.broken) or str(error)
        return ConnectionLost(
            f"the connection to {self._endpoint} ended: {reason}",
            code=self.close_code,
            reason=reason,
        )

    def _violation(self, what: str) -> None:
        assert self._guard is not None
        self._guard.abort(f"the peer sent {what}")
        raise self._lost(Broken(what))

    def _closed(self, payload: bytes) -> None:
        """Handle the peer's close frame: keep its code and text, answer it if possible, and end."""
        guard, _ = self._connected()
        if len(payload) >= 2:
            self.close_code = int.from_bytes(payload[:2], "big")
        answer = payload[:2]
        try:
            words = payload[2:].decode()
        except UnicodeDecodeError:  # RFC 6455, section 8.1: such a text fails the connection
            words, answer = payload[2:].decode("utf-8", "replace"), _NO_UTF8
        words = printable(words)
        reason = f"closed by the exchange ({self.close_code or 'no code'}{': ' + words if words else ''})"
        # The answer must not delay the end: only if nobody is sending, and for 0.1 s at most.
        self.exclusively(0.0, partial(self._send_close, answer, 0.1))
        guard.broken = reason  # not only the first reason: the peer's explains more than a failed answer
        guard.abort(reason)
        raise self._lost(Broken(reason))


def _limit_frames(buffer: Any) -> None:
    """Make websocket-client's reader refuse a frame that is too big by its header, before its payload."""
    # websocket-client has no such limit; the socket's budget would end it only after 16 MiB were buffered.
    measure = buffer.recv_length

    def recv_length() -> None:
        measure()
        if (buffer.length or 0) > MAX_MESSAGE:
            raise Broken(f"a frame of {buffer.length} bytes, which is too big")

    buffer.recv_length = recv_length


MakeTransport = Callable[..., Transport]
"""Makes a transport of an endpoint, TLS settings, ``sending(frame)``, ``pinged()``, ``missed(keys, reason)``;
the last is for transports that know what is missing, and is called on the reading thread."""


def over_websocket(
    endpoint: Endpoint,
    context: Optional[ssl.SSLContext],
    sending: Callable[[bytes], None],
    pinged: Callable[[], None],
    missed: Callable[..., None],
) -> Transport:
    """Return a transport over WebSocket, on which nothing can be missing."""
    return Transport(endpoint, context, sending, pinged)
