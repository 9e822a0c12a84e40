"""HTTP requests that end at their deadline. The only module that imports requests.

There is one session, which follows no redirect and repeats no request. A request runs on a thread of
:mod:`.rest_threads`, and any other thread can end it.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import threading
import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Set, Tuple, cast
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
from .dial import default_context
from .locks import new_lock
from .patched import shut_down
from .proxies import Proxy, proxy_advice

MAX_BODY = 256 * 1024 * 1024
"""The largest answer in bytes; exported reports are files of many megabytes."""
_PIECE = 64 * 1024
LATE = "no complete answer in time"
# Tells a connection which request uses it: urllib3 takes it from a pool, and gives it nothing of ours.
_local = threading.local()


class HttpCall:
    """One request under way, which another thread can end."""

    def __init__(self, deadline: Optional[float], allowed: Callable[[], None] = lambda: None) -> None:
        self.deadline = deadline
        self.allowed = allowed
        """Called immediately before the request is sent; raises if it may not be sent any more."""
        self.connection: Any = None
        self.why = ""
        self.sent = False
        """Whether any byte of the request may have been sent; the proxy's and TLS's own do not count."""
        self.closed = False
        """Whether it was ended because the client is being closed."""

    def raise_if_cut(self) -> None:
        """Raise OSError if it was ended or its deadline has passed; nothing may be sent after that."""
        if not self.why and self.deadline is not None and time.monotonic() >= self.deadline:
            self.why = LATE
        if self.why:
            raise OSError(self.why)

    def cut(self, why: str) -> None:
        """End the request: the thread that runs it gets an error, at the latest at its next step."""
        self.why = self.why or why
        # Without a socket yet, the next step sees ``why``: while connecting, _mine() checks it.
        sock = getattr(self.connection, "sock", None)
        if sock is None:
            return
        sock = getattr(sock, "sock", sock)
        try:
            shut_down(sock)
        except (OSError, TypeError):
            pass


class DeadlineSocket:
    """A connected socket on which each step ends at the deadline of the request that this thread runs.

    The timeout of requests is for each step, so the answer of a peer that sends one byte now and then would
    be waited for without end.
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
        call = self._bound()
        if call is not None:
            call.sent = True
        self.sock.sendall(*args)

    def makefile(self, *args: Any, **kwargs: Any) -> Any:
        """Return a buffered reader, which http.client asks for."""
        self.sock._io_refs += 1  # as socket.makefile() does: the socket stays open until the reader is closed
        return io.BufferedReader(socket.SocketIO(cast(socket.socket, self), "r"))

    def _bound(self) -> Optional[HttpCall]:
        call: Optional[HttpCall] = getattr(_local, "call", None)
        if call is not None:
            call.raise_if_cut()
            if call.deadline is not None:
                self.sock.settimeout(max(0.001, call.deadline - time.monotonic()))
        return call


class Http:
    """One session of HTTP requests. Any thread may use it.

    Args:
        proxy: the proxy for ``https`` requests, or None.
        context: the TLS settings; None for the default ones.
    """

    def __init__(self, proxy: Optional[Proxy], context: Optional[ssl.SSLContext] = None) -> None:
        self._proxy = proxy
        self._context = context
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
                stream=True,  # so that _read() can check the deadline and the size between two pieces
            )
            # The response refers to its request, and a raw response is returned to the user.
            for name in hidden:
                response.request.headers.pop(name, None)
            call.sent = True  # whatever carried it: it was answered
            text = _read(response, call)
            call.raise_if_cut()  # what was read may be the half that came before the cut
            return response, text
        except (requests.RequestException, OSError, ValueError) as error:
            failure = (
                error if isinstance(error, KrakenError) else _translated(error, call, what, url, self._proxy)
            )
        except BaseException as error:
            failure = error
        finally:
            self._end(call)
        # Raised here, without its context and traceback, whose frames hold the headers with the signature.
        raise failure.with_traceback(None)

    def _begin(self, call: HttpCall) -> None:
        with self._lock:
            closed = self._closed
            if not closed:
                self._calls.add(call)
        if closed:  # raised without the lock, which Python 3.10 may leave taken if a Ctrl-C comes, too
            raise ClientClosed
        _local.call = call

    def _end(self, call: HttpCall) -> None:
        _local.call = None
        with self._lock:
            self._calls.discard(call)

    def _guard_fork(self) -> None:
        """Raise ForkedClient in a forked child, unless the session was never used before the fork."""
        # Parent and child would share the session's connections, and each could get the other's answers.
        if os.getpid() == self._pid:
            return
        if self._session is not None:
            raise ForkedClient
        self._pid, self._lock = os.getpid(), new_lock("http")

    # -- life --------------------------------------------------------------------------------

    def reopen(self) -> None:
        """Allow requests again after :meth:`close`."""
        with self._lock:
            self._closed = False

    def close(self) -> None:
        """End all requests under way; their callers get ClientClosed."""
        with self._lock:
            self._closed = True  # before the list is taken: a call that begins now is refused
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
                self._session = _new_session(self._proxy, self._context or default_context())
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


def _translated(
    error: BaseException, call: HttpCall, what: str, url: str, proxy: Optional[Proxy]
) -> KrakenError:
    """Return the error of this library for one of requests, which must not be kept: it has the headers."""
    import requests

    parts = urlsplit(url)
    host, where = parts.hostname, parts.netloc.rpartition("@")[2]
    if proxy is not None:
        where += f" through the proxy {proxy}"
    if call.closed:
        return ClientClosed(f"{what}: the client was closed meanwhile")
    late = bool(call.why) or isinstance(error, requests.exceptions.Timeout)
    if call.sent and late:  # whatever a cut in the middle looks like to TLS
        return ReplyTimeout(f"{what}: {call.why or 'no answer in time'}")
    if call.sent:
        return ConnectionLost(f"{what} was sent, and got no complete answer: {_cause(error)}")
    words = call.why or _cause(error)  # what was cut off looks as if the peer had ended it
    if isinstance(error, requests.exceptions.SSLError):
        return ConnectFailed(
            f"{host}: TLS failed: {words}; nothing was sent", step="tls", permanent="certificate" in words
        )
    if isinstance(error, requests.exceptions.ProxyError):
        return ConnectFailed(
            f"the proxy {proxy} gives no tunnel to {host}: {words}{proxy_advice(words)}",
            step="proxy",
            permanent="407" in words or "403" in words,
        )
    if proxy is not None and proxy.socks and words.startswith("SOCKS"):
        return ConnectFailed(
            f"the SOCKS proxy {proxy} gives no connection to {host}: {words}",
            step="proxy",
            permanent="authentication" in words,
        )
    if "NameResolution" in str(error):
        return ConnectFailed(f"cannot resolve {proxy or host}. Are you online?", step="resolve")
    if isinstance(error, requests.exceptions.ConnectTimeout) or "NewConnectionError" in str(error):
        return ConnectFailed(f"cannot connect to {where}: {words}. Are you online?", step="connect")
    if isinstance(error, requests.exceptions.InvalidHeader):
        return CredentialsInvalid("the API key has characters that no API key has; copy it again")
    if late:
        return ReplyTimeout(f"{what}: {call.why or 'no answer in time'}; nothing was sent")
    return ConnectFailed(f"cannot connect to {where}: {words}; nothing was sent", step="connect")


def _cause(error: BaseException) -> str:
    """What the operating system or TLS said, far below the words of requests and urllib3."""
    found: Optional[BaseException] = error
    seen: List[BaseException] = []
    while found is not None and found not in seen:
        seen.append(found)
        if isinstance(found, ssl.SSLCertVerificationError):
            return f"the certificate is not trusted ({found.verify_message})"
        if isinstance(found, ssl.SSLError) and found.reason:
            return str(found.reason).replace("_", " ").lower()
        if isinstance(found, socket.timeout):
            return LATE
        if isinstance(found, OSError) and found.strerror:
            return found.strerror.partition(" (_ssl.c")[0].lower()
        inner = [one for one in found.args if isinstance(one, BaseException)]
        below = inner[-1] if inner else getattr(found, "reason", None) or getattr(found, "socket_err", None)
        below = below or found.__cause__ or found.__context__
        if not isinstance(below, BaseException):
            break
        found = below
    last = seen[-1]
    said, kind = str(last), type(last)
    # http.client's words about a tunnel, and those of PySocks, say what a proxy has answered.
    if "unnel" in said or isinstance(last, ValueError) or kind.__module__ == "socks":
        return said
    if isinstance(last, (ConnectionError, EOFError, http.client.IncompleteRead)):
        return "the peer closed the connection"
    if isinstance(last, http.client.HTTPException):
        return f"the answer is not HTTP ({kind.__name__})"
    return f"the connection ended ({kind.__name__})"


def _mine(connection: Any) -> None:
    """Note which connection the request of this thread uses. Raises OSError if the request has ended."""
    call: Optional[HttpCall] = getattr(_local, "call", None)
    if call is not None:
        call.connection = connection
        call.raise_if_cut()


def _new_session(proxy: Optional[Proxy], context: ssl.SSLContext) -> Any:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import connection, connectionpool

    def known(kind: Any) -> Any:
        """Return a subclass of a connection class that can be ended by another thread."""

        # Before and after connecting, because a cut() while the name is resolved has no socket to end; and
        # before each request, because a kept connection was noted by the request before.
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
            super().init_poolmanager(*args, ssl_context=context, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, ssl_context=context, **kwargs)
            # Those of a SOCKS proxy are other ones.
            classes = manager.pool_classes_by_scheme
            manager.pool_classes_by_scheme = {
                scheme: pool(kind, kind.ConnectionCls) for scheme, kind in classes.items()
            }
            return manager

        def proxy_headers(self, url: str) -> Dict[str, str]:
            """Return the login as WebSocket connections have it; requests would encode it in another way."""
            login = proxy.login.reveal() if proxy is not None else ""
            return {"Proxy-Authorization": f"Basic {login}"} if login else {}

        def cert_verify(self, conn: Any, *args: Any) -> None:
            """Leave it all to the context: requests would add its own certificates, and its own mode."""
            conn.cert_reqs = conn.ca_certs = conn.ca_cert_dir = None

    class Session(requests.Session):
        def get_redirect_target(self, resp: Any) -> None:
            """Return None, so that no redirect is followed."""
            # allow_redirects=False is not enough: with it requests still reads the body of a redirect.

    session = Session()
    # Nothing from the environment: its proxies would carry requests that nobody meant to show them, and an
    # entry in .netrc would be sent as an Authorization header.
    session.trust_env = False
    if proxy is not None:
        session.proxies = {"https": (proxy.url if proxy.socks else proxy.bare_url).reveal()}
    session.headers["User-Agent"] = "kraken-sync"
    for prefix in ("https://", "http://"):
        session.mount(prefix, Adapter(max_retries=0))
    return session
