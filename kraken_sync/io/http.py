"""HTTP requests that end at their deadline. The only importer of requests.

One session, no redirects, nothing sent twice. A request runs on a thread of :mod:`.rest_threads`, and any
other thread can cut it."""

from __future__ import annotations

import io
import os
import re
import socket
import threading
import time
from typing import Any, Dict, Mapping, Optional, Set, Tuple
from urllib.parse import urlsplit

from ..core.wire.secret import Secret
from ..errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    CredentialsInvalid,
    ForkedClient,
    KrakenError,
    ReplyTimeout,
)
from .dial import Proxy
from .locks import new_lock

MAX_BODY = 256 * 1024 * 1024
_PIECE = 64 * 1024
LATE = "no complete answer in time"
_local = threading.local()


class HttpCall:
    """One request under way, which another thread can cut."""

    def __init__(self, deadline: Optional[float]) -> None:
        self.deadline = deadline
        self.connection: Any = None
        self.why = ""
        self.closed = False
        """It was cut because the client is being closed."""

    def raise_if_cut(self) -> None:
        """Raise OSError if it was cut, or is over; nothing may be sent after that."""
        if not self.why and self.deadline is not None and time.monotonic() >= self.deadline:
            self.why = LATE
        if self.why:
            raise OSError(self.why)

    def cut(self, why: str) -> None:
        """End it now: the thread that carries it out gets an error, at the latest at its next step."""
        self.why = self.why or why
        sock = getattr(self.connection, "sock", None)
        if sock is None:
            return
        sock = getattr(sock, "sock", sock)
        try:
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # the base class: see GuardedSocket.abort
        except (OSError, TypeError):
            pass


class DeadlineSocket:
    """A connected socket whose every step ends at the deadline of the request that this thread carries out.

    requests knows only a timeout per step, so a peer that drips its answer would be waited for without end.
    """

    def __init__(self, sock: Any) -> None:
        self.sock = sock

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)

    def recv_into(self, *args: Any) -> int:
        """See :meth:`socket.socket.recv_into`."""
        self._bound()
        received: int = self.sock.recv_into(*args)
        return received

    def sendall(self, *args: Any) -> None:
        """See :meth:`socket.socket.sendall`."""
        self._bound()
        self.sock.sendall(*args)

    def makefile(self, *args: Any, **kwargs: Any) -> Any:
        """A buffered reader, which is what http.client asks for."""
        self.sock._io_refs += 1  # as socket.makefile() does: the socket stays open until the reader is closed
        return io.BufferedReader(socket.SocketIO(self, "r"))  # type: ignore[arg-type]

    def _bound(self) -> None:
        call: Optional[HttpCall] = getattr(_local, "call", None)
        if call is None:
            return
        call.raise_if_cut()
        if call.deadline is not None:
            self.sock.settimeout(max(0.001, call.deadline - time.monotonic()))


class Http:
    """One session of HTTP requests. Any thread.

    Args:
        proxy: what ``https`` goes through.
    """

    def __init__(self, proxy: Optional[Proxy]) -> None:
        self._proxy = proxy
        self._session: Any = None
        self._lock = new_lock("http")
        self._pid = os.getpid()
        self._calls: Set[HttpCall] = set()
        self._closed = False

    def exchange(
        self,
        method: str,
        url: str,
        data: bytes,
        headers: Dict[str, str],
        hidden: Mapping[str, Secret],
        call: HttpCall,
        what: str,
    ) -> Tuple[Any, bytes]:
        """Send, and read the whole answer."""
        import requests

        failure: BaseException
        session, deadline = self._open(), call.deadline
        try:
            self._begin(call)
            left = None if deadline is None else max(0.01, deadline - time.monotonic())
            response = session.request(
                method,
                url,
                data=data or None,
                headers={**headers, **{name: secret.reveal() for name, secret in hidden.items()}},
                timeout=left,
                allow_redirects=False,
                stream=True,
            )
            for name in hidden:
                response.request.headers.pop(name, None)
            text = _read(response, call)
            call.raise_if_cut()  # what was read may be the half that came before the cut
            return response, text
        except (requests.RequestException, OSError, ValueError) as error:
            failure = error if isinstance(error, KrakenError) else _translated(error, call, what, url)
        except BaseException as error:
            failure = error
        finally:
            self._end(call)
        raise failure.with_traceback(None)  # out here: no frame that saw the headers hangs on it

    def _begin(self, call: HttpCall) -> None:
        with self._lock:
            if self._closed:
                raise ClientClosed
            self._calls.add(call)
        _local.call = call

    def _end(self, call: HttpCall) -> None:
        _local.call = None
        with self._lock:
            self._calls.discard(call)

    def _guard_fork(self) -> None:
        """In a forked child the connections are the parent's; what was never used may be used here."""
        if os.getpid() == self._pid:
            return
        if self._session is not None:
            raise ForkedClient
        self._pid, self._lock = os.getpid(), new_lock("http")

    # -- life --------------------------------------------------------------------------------

    def reopen(self) -> None:
        """After :meth:`close`, allow requests again."""
        with self._lock:
            self._closed = False

    def close(self) -> None:
        """End everything under way; its callers get an error."""
        with self._lock:
            self._closed = True
            calls, session, self._session = list(self._calls), self._session, None
        for call in calls:
            call.closed = True
            call.cut("the client is closed")
        if session is not None:
            session.close()

    def _open(self) -> Any:
        self._guard_fork()
        with self._lock:
            if self._session is None:
                self._session = _new_session(self._proxy)
            return self._session


def _read(response: Any, call: HttpCall) -> bytes:
    pieces, size = [], 0
    for piece in response.iter_content(_PIECE):
        call.raise_if_cut()
        size += len(piece)
        if size > MAX_BODY:
            raise ValueError("the answer is too big")
        pieces.append(piece)
    response._content = text = b"".join(pieces)  # so that a raw response has its content
    return text


def _translated(error: BaseException, call: HttpCall, what: str, url: str) -> KrakenError:
    """Our error for one of requests', which holds the request and so is not kept."""
    import requests

    host = urlsplit(url).hostname
    if call.closed:
        return ClientClosed(f"{what}: the client was closed meanwhile")
    words = re.sub(r"^.*(?:object at \w+>|HTTPS?Connection\w*|Known)\(?[^:]*\)?: ", "", str(error))
    words = words.strip("()'\" ")
    if isinstance(error, requests.exceptions.SSLError):
        return ConnectFailed(
            f"{host}: TLS failed: {words:.200}", step="tls", permanent="certificate" in words
        )
    cause = repr(getattr(error.args[0] if error.args else None, "reason", None))
    if isinstance(error, requests.exceptions.ProxyError):
        return ConnectFailed(f"the proxy gives no tunnel to {host}: {words[-160:]}", step="proxy")
    if "NameResolution" in cause or "NameResolution" in str(error):
        return ConnectFailed(f"cannot resolve {host}. Are you online?", step="resolve")
    if isinstance(error, requests.exceptions.ConnectTimeout) or "NewConnectionError" in cause:
        where = urlsplit(url).netloc
        return ConnectFailed(f"cannot connect to {where}: {words[-120:]}. Are you online?", step="connect")
    if isinstance(error, requests.exceptions.InvalidHeader):
        return CredentialsInvalid("the API key has characters that no API key has; copy it again")
    if call.why or isinstance(error, requests.exceptions.Timeout):
        return ReplyTimeout(f"{what}: {call.why or 'no answer in time'}")
    return ConnectionLost(f"{what} was sent, but the connection ended before the answer: {words:.200}")


def _mine(connection: Any) -> None:
    """Tell the call of this thread what it uses; raises OSError if the call is over."""
    call: Optional[HttpCall] = getattr(_local, "call", None)
    if call is not None:
        call.connection = connection
        call.raise_if_cut()


def _new_session(proxy: Optional[Proxy]) -> Any:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import connection, connectionpool

    def known(kind: Any) -> Any:
        """``kind``, telling the call that uses it."""

        def connect(self: Any) -> None:
            _mine(self)
            kind.connect(self)
            self.sock = DeadlineSocket(self.sock)
            _mine(self)

        def request(self: Any, *args: Any, **kwargs: Any) -> Any:
            _mine(self)
            return kind.request(self, *args, **kwargs)

        return type("Known", (kind,), {"connect": connect, "request": request})

    def pool(kind: Any, connection_kind: Any) -> Any:
        return type(kind.__name__, (kind,), {"ConnectionCls": known(connection_kind)})

    pools = {
        "http": pool(connectionpool.HTTPConnectionPool, connection.HTTPConnection),
        "https": pool(connectionpool.HTTPSConnectionPool, connection.HTTPSConnection),
    }

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = pools
            return manager

    class Session(requests.Session):
        def get_redirect_target(self, resp: Any) -> None:
            """None is followed, nor read."""

    session = Session()
    session.trust_env = False  # no proxy that nobody asked for
    if proxy is not None:
        session.proxies = {"https": proxy.url.reveal()}
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.headers["User-Agent"] = "kraken-sync"
    for prefix in ("https://", "http://"):
        session.mount(prefix, Adapter(max_retries=0))
    return session
