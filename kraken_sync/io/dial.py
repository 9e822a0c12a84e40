"""Makes a connected socket, for ``wss`` with verified TLS, within one deadline.

Every address that a name resolves to gets its share of the time, so that a broken IPv6 route costs seconds
and not the whole attempt.
"""

from __future__ import annotations

import base64
import os
import socket
import ssl
import time
from typing import Any, Callable, List, Optional, Union
from urllib.parse import unquote, urlsplit

from ..core.wire.secret import HiddenBytes, Secret
from ..errors import ConnectFailed
from .guarded_socket import wait_ready

MAX_ANSWER = 16 * 1024
"""The largest answer of a proxy, in bytes."""
SLICE = 0.1
"""Seconds between two checks for an abort while connecting."""


class Proxy:
    """An HTTP proxy that makes tunnels: the parts of ``http://user:password@host:port``."""

    def __init__(self, url: Secret) -> None:
        """Parse the URL. Raises ValueError if it does not have this form."""
        host = port = None
        try:
            parts = urlsplit(url.reveal())
            host, port = parts.hostname, parts.port
        except ValueError:
            pass  # the text of urlsplit's error may quote the password
        if host is None or port is None or parts.scheme != "http":
            raise ValueError(
                "proxy must be a URL such as 'http://user:password@host:port'; special characters of the "
                "password are written as %23, %2F and so on"
            )
        self.url = url
        self.host: str = host
        self.port: int = port
        login = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
        self.login = Secret(base64.b64encode(login.encode()).decode() if parts.username else "")

    def __repr__(self) -> str:
        return f"<proxy {self.host}:{self.port}>"


class Endpoint:
    """The parts of a ``ws://`` or ``wss://`` URL, and the proxy to use, if any."""

    def __init__(self, url: str, proxy: Optional[Proxy] = None) -> None:
        """Parse the URL. Raises ValueError if it is not a WebSocket URL."""
        self.proxy = proxy
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname:
            raise ValueError(f"{url!r} is not a WebSocket URL such as 'wss://ws.kraken.com'")
        self.url = url
        self.secure = parts.scheme == "wss"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.secure else 80)

    def __str__(self) -> str:
        return self.host if self.port in (80, 443) else f"{self.host}:{self.port}"


def default_context() -> ssl.SSLContext:
    """Return the default TLS settings, which verify certificates and host names.

    They are the same for WebSocket and REST: the system's certificates (OpenSSL reads ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR`` for them), those of certifi, and those in ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE``,
    with which companies name the certificate authority of their firewall.

    Raises:
        ConnectFailed: a file that one of these variables names cannot be read.
    """
    context = ssl.create_default_context()
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


def dial(
    endpoint: Endpoint,
    context: Optional[ssl.SSLContext],
    deadline: float,
    aborted: Callable[[], bool],
    step: Callable[[str], None],
) -> socket.socket:
    """Connect to ``endpoint``, and return the socket.

    Blocks at most until ``deadline``, except for the system's name resolution, which cannot be interrupted.

    Args:
        endpoint: the host to connect to.
        context: the TLS settings for ``wss``.
        deadline: monotonic seconds.
        aborted: called every 0.1 s; True ends the attempt.
        step: called with the name of each step: ``resolve``, ``connect``, ``tls``.

    Raises:
        ConnectFailed: the error has the step that failed.
    """
    step("resolve")
    first: Union[Proxy, Endpoint] = endpoint.proxy or endpoint
    try:
        addresses = socket.getaddrinfo(first.host, first.port, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConnectFailed(
            f"cannot resolve {first.host} ({_words(error)}). Are you online?", step="resolve"
        ) from error
    step("connect")
    failures: List[str] = []
    for index, (family, kind, protocol, _, address) in enumerate(addresses):
        left = deadline - time.monotonic()
        share = left / (len(addresses) - index)
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:
            failures.append(_words(error))
            continue
        try:
            _connect(sock, address, time.monotonic() + share, aborted)
            if endpoint.proxy is not None:
                _tunnel(sock, endpoint, endpoint.proxy, deadline, aborted)
            if not endpoint.secure:
                return sock
            step("tls")
            return _wrap(sock, endpoint, context or default_context(), deadline, aborted)
        except ConnectFailed:
            sock.close()
            raise
        except OSError as error:
            failures.append(_words(error))
            sock.close()
    what = (
        f"the proxy {first.host}:{first.port} (for {endpoint})"
        if endpoint.proxy is not None
        else str(endpoint)
    )
    raise ConnectFailed(
        f"cannot connect to {what}: {'; '.join(dict.fromkeys(failures))}{_proxy_hint()}",
        step="connect",
    )


def _connect(sock: socket.socket, address: Any, deadline: float, aborted: Callable[[], bool]) -> None:
    sock.setblocking(False)
    # Without it an order could wait for the acknowledgement of the ping before it (Nagle's algorithm).
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Linux only: the connection ends when sent data are not acknowledged for 20 s, not after 15 minutes.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20000)
    try:
        sock.connect(address)
        return
    except (BlockingIOError, InterruptedError):
        pass
    while not wait_ready(sock, True, SLICE):
        _go_on(deadline, aborted)
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _tunnel(
    sock: socket.socket, endpoint: Endpoint, proxy: Proxy, deadline: float, aborted: Callable[[], bool]
) -> None:
    """Ask the proxy for a tunnel to the endpoint (RFC 9110, section 9.3.6, CONNECT)."""
    where = f"{endpoint.host}:{endpoint.port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.login:
        lines.append(f"Proxy-Authorization: Basic {proxy.login.reveal()}")
    asked, answer = HiddenBytes("\r\n".join([*lines, "", ""]).encode()), b""
    while asked:
        try:
            asked = HiddenBytes(asked[sock.send(asked) :])
        except BlockingIOError:
            wait_ready(sock, True, SLICE)
        _go_on(deadline, aborted)
    # Byte by byte, because what follows the header is the beginning of the endpoint's data.
    while not answer.endswith(b"\r\n\r\n"):
        try:
            byte = sock.recv(1)
        except BlockingIOError:
            wait_ready(sock, False, SLICE)
            _go_on(deadline, aborted)
            continue
        if not byte or len(answer) > MAX_ANSWER:
            raise ConnectFailed(f"the proxy {proxy.host}:{proxy.port} gave no valid answer", step="proxy")
        answer += byte
    status = answer.split(b"\r\n", 1)[0].decode("latin-1")
    if status.split(" ")[1:2] != ["200"]:
        raise ConnectFailed(
            f"the proxy {proxy.host}:{proxy.port} refused a tunnel to {where}: {status:.100}", step="proxy"
        )


def _wrap(
    sock: socket.socket,
    endpoint: Endpoint,
    context: ssl.SSLContext,
    deadline: float,
    aborted: Callable[[], bool],
) -> socket.socket:
    wrapped = context.wrap_socket(sock, server_hostname=endpoint.host, do_handshake_on_connect=False)
    try:
        while True:
            try:
                wrapped.do_handshake()
                return wrapped
            except ssl.SSLWantReadError:
                wait_ready(wrapped, False, SLICE)
            except ssl.SSLWantWriteError:
                wait_ready(wrapped, True, SLICE)
            _go_on(deadline, aborted)
    except ssl.SSLCertVerificationError as error:
        wrapped.close()
        raise ConnectFailed(
            f"the certificate of {endpoint.host} is not trusted ({error.verify_message}). "
            "Behind a company firewall, set REQUESTS_CA_BUNDLE to the file of its certificate authority, "
            "or pass ssl_context=",
            step="tls",
            permanent=True,
        ) from error
    except OSError as error:
        wrapped.close()
        raise ConnectFailed(f"TLS with {endpoint} failed: {_words(error)}", step="tls") from error


def _go_on(deadline: float, aborted: Callable[[], bool]) -> None:
    if aborted():
        raise OSError("given up")
    if time.monotonic() >= deadline:
        raise OSError("no answer in time")


def _words(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).strip().lower()


def _proxy_hint() -> str:
    names = [name for name in ("https_proxy", "HTTPS_PROXY", "all_proxy") if os.environ.get(name)]
    return f" ({names[0]} is set, but only proxy= is used)" if names else ""
