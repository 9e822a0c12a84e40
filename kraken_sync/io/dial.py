"""Makes a connected socket, for ``wss`` with verified TLS, within one deadline.

Every address that a name resolves to gets its share of the time, so that a broken IPv6 route costs seconds
and not the whole attempt.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import ssl
import time
from typing import Any, Callable, List, Optional, Union
from urllib.parse import urlsplit

from ..core.wire.channels import ASSET_CLASS
from ..core.wire.places import is_unified
from ..core.wire.printable import without_login
from ..errors import ConnectFailed
from .guarded_socket import wait_ready
from .proxies import Proxy
from .tls import TlsSocket
from .tunnels import SLICE, go_on, tunnelled, words_of


class Endpoint:
    """The parts of a ``ws://`` or ``wss://`` URL, and the proxy to use, if any.

    :class:`kraken_sync.shared.endpoint.RedisEndpoint` takes its place for a feed that comes over Redis.

    Attributes:
        asset_class: what requests about a market must name there: the Unified WebSocket has derivatives, too,
            so there it is ``spot``; elsewhere None.
        limited: whether there is a budget of attempts to connect.
    """

    limited = True

    def __init__(self, url: str, proxy: Optional[Proxy] = None) -> None:
        """Parse the URL. Raises ValueError if it is not a WebSocket URL."""
        self.proxy = proxy
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"{without_login(url)!r} is not a WebSocket URL such as 'wss://ws.kraken.com'")
        self.url = url
        self.secure = parts.scheme == "wss"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)
        self._path = parts.path
        self.asset_class = ASSET_CLASS if is_unified(parts.path) else None

    @property
    def place(self) -> str:
        """The URL without login and parameters."""
        return f"{'wss' if self.secure else 'ws'}://{self}{self._path}"

    @property
    def way(self) -> str:
        """The endpoint, and the proxy that leads to it, for errors."""
        return f"{self} through the proxy {self.proxy}" if self.proxy is not None else str(self)

    def __str__(self) -> str:
        return self.host if self.port in (80, 443) else f"{self.host}:{self.port}"


def unanswered(endpoint: Endpoint, step: str) -> str:
    """Return in words what a connection still waits for at this step, for an error."""
    proxy = endpoint.proxy
    named = endpoint.host if proxy is None else f"the proxy {proxy.host}"
    return {
        "token": "REST gives no WebSocket token",
        "resolve": f"cannot resolve {named} (no DNS answer)",
        "connect": f"{endpoint.way} does not answer",
        "proxy": f"the proxy {proxy} does not answer",
        "tls": f"{endpoint.way} does not complete the TLS handshake",
        "handshake": f"{endpoint.way} does not send a status message",
    }[step]


def default_context(ca_file: Union[str, os.PathLike[str], None] = None) -> ssl.SSLContext:
    """Return the default TLS settings, which verify certificates and host names.

    They are the same for WebSocket and REST: the system's certificates (OpenSSL reads ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR`` for them), those of certifi, and those in ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE``,
    with which companies name the certificate authority of their firewall. If truststore is installed, the
    operating system itself decides, which on macOS knows what an administrator has installed.

    Args:
        ca_file: more certificates, in PEM format.

    Raises:
        ConnectFailed: a file that one of these variables names cannot be read.
        ValueError: ``ca_file`` cannot be read.
    """
    context = _system_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:  # ssl.SSLError is one, too
            raise ValueError(
                f"no certificates can be read from ca_file={str(ca_file)!r} ({error.strerror or error})"
            ) from error
    try:
        import certifi

        context.load_verify_locations(certifi.where())
    except ImportError:  # certifi is installed with requests; without it there are the system's certificates
        pass
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        path = os.environ.get(name)
        if path:
            try:
                folder = os.path.isdir(path)
                context.load_verify_locations(None if folder else path, path if folder else None)
            except OSError as error:  # ssl.SSLError is one, too
                raise ConnectFailed(
                    f"{name}={path}: no certificates can be read from it ({error.strerror or error})",
                    step="tls",
                    permanent=True,
                ) from error
            break
    return context


def _system_context() -> ssl.SSLContext:
    try:
        import truststore
    except ImportError:
        return ssl.create_default_context()
    # Before 0.10.1 it does not verify what handshakes by itself, as _wrap() does; and it cannot use sockets
    # of gevent and eventlet.
    old = [int(part) for part in re.findall(r"\d+", truststore.__version__)[:3]] < [0, 10, 1]
    if old or ssl.SSLSocket.__module__ != "ssl":
        return ssl.create_default_context()
    context: ssl.SSLContext = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return context


def dial(
    endpoint: Endpoint,
    context: Optional[ssl.SSLContext],
    deadline: float,
    aborted: Callable[[], bool],
    step: Callable[[str], None],
) -> Union[socket.socket, TlsSocket]:
    """Connect to ``endpoint``, and return the socket.

    Blocks at most until ``deadline``, except for the system's name resolution, which cannot be interrupted.

    Args:
        endpoint: the host to connect to.
        context: the TLS settings for ``wss``.
        deadline: monotonic seconds.
        aborted: called every 0.1 s; True ends the attempt.
        step: called with the name of each step: ``resolve``, ``connect``, ``proxy``, ``tls``.

    Raises:
        ConnectFailed: the error has the step that failed.
    """
    sock = _connected(endpoint, deadline, aborted, step)
    try:
        if not endpoint.secure:
            return sock
        step("tls")
        return _wrap(sock, endpoint, context or default_context(), deadline, aborted)
    except BaseException:
        sock.close()
        raise


def _connected(
    endpoint: Endpoint, deadline: float, aborted: Callable[[], bool], step: Callable[[str], None]
) -> socket.socket:
    """Return a socket that is connected to the endpoint, directly or through a tunnel."""
    first: Union[Proxy, Endpoint] = endpoint.proxy or endpoint
    step("connect" if _is_address(first.host) else "resolve")
    try:
        addresses = socket.getaddrinfo(first.host, first.port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        what = f"the proxy {first.host}" if endpoint.proxy is not None else first.host
        raise ConnectFailed(
            f"cannot resolve {what} ({words_of(error)}). Are you online? "
            "kraken-sync doctor examines the way there",
            step="resolve",
        ) from error
    step("connect")
    failures: List[str] = []
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        now = time.monotonic()
        until = now + (deadline - now) / (len(addresses) - index)
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            failures.append(words_of(error))
            continue
        try:
            _connect(sock, address, until, aborted)
            if endpoint.proxy is not None:
                step("proxy")
                sock = tunnelled(sock, (endpoint.host, endpoint.port), endpoint.proxy, until, aborted)
            return sock
        except ConnectFailed:
            sock.close()
            raise
        except OSError as error:
            failures.append(words_of(error))
            sock.close()
    what = f"the proxy {endpoint.proxy} (for {endpoint})" if endpoint.proxy is not None else str(endpoint)
    raise ConnectFailed(f"cannot connect to {what}: {'; '.join(dict.fromkeys(failures))}", step="connect")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _tune(sock: socket.socket) -> None:
    sock.setblocking(False)
    # Without it an order could wait for the acknowledgement of the ping before it (Nagle's algorithm).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Linux only: the connection ends when sent data are not acknowledged for 20 s, not after 15 minutes.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20000)


def _connect(sock: socket.socket, address: Any, deadline: float, aborted: Callable[[], bool]) -> None:
    _tune(sock)
    try:
        sock.connect(address)
        return
    except (BlockingIOError, InterruptedError):
        pass
    while not wait_ready(sock, True, SLICE):
        go_on(deadline, aborted)
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _wrap(
    sock: socket.socket,
    endpoint: Endpoint,
    context: ssl.SSLContext,
    deadline: float,
    aborted: Callable[[], bool],
) -> TlsSocket:
    wrapped = TlsSocket(sock, context, endpoint.host)
    try:
        while True:
            try:
                wrapped.do_handshake()
                return wrapped
            except ssl.SSLWantReadError:
                wait_ready(wrapped, False, SLICE)
            except ssl.SSLWantWriteError:
                wait_ready(wrapped, True, SLICE)
            go_on(deadline, aborted)
    except ssl.SSLCertVerificationError as error:
        wrapped.close()
        raise ConnectFailed(
            f"the certificate of {endpoint.host} is not trusted ({error.verify_message}). "
            "Behind a company firewall, pass the file of its certificate authority as ca_file=, or name it "
            "in REQUESTS_CA_BUNDLE",
            step="tls",
            permanent=True,
        ) from error
    except OSError as error:
        wrapped.close()
        raise ConnectFailed(f"TLS with {endpoint} failed: {words_of(error)}", step="tls") from error
