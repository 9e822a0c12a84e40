"""Makes a connected (and for ``wss`` a verified TLS) socket within one deadline.

Every address that a name resolves to gets its share of the time, so that a broken IPv6 route costs
seconds, not the connection.
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
SLICE = 0.1
"""How often an abort is looked for while dialling, in seconds."""


class Proxy:
    """An HTTP proxy that tunnels: the parts of ``http://user:password@host:port``."""

    def __init__(self, url: Secret) -> None:
        """Raises ValueError for anything else."""
        host = port = None
        try:
            parts = urlsplit(url.reveal())
            host, port = parts.hostname, parts.port
        except ValueError:
            pass  # its text quotes what may be the password
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
    """Where to connect: the parts of a ``ws://`` or ``wss://`` URL, and the proxy on the way, if any."""

    def __init__(self, url: str, proxy: Optional[Proxy] = None) -> None:
        """Raises ValueError for anything that is no WebSocket URL."""
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
    """The TLS settings used unless the caller brings some: certificates are always verified."""
    context = ssl.create_default_context()
    try:
        import certifi
    except ImportError:  # certifi comes with requests; the system's certificates are there anyway
        return context
    context.load_verify_locations(certifi.where())
    return context


def dial(
    endpoint: Endpoint,
    context: Optional[ssl.SSLContext],
    deadline: float,
    aborted: Callable[[], bool],
    step: Callable[[str], None],
) -> socket.socket:
    """Connect to ``endpoint``. Blocks until ``deadline`` (monotonic) at most, name resolution aside.

    Args:
        endpoint: where to.
        context: TLS settings for ``wss``.
        deadline: monotonic seconds.
        aborted: asked now and then; True ends the attempt.
        step: told what is being tried: ``resolve``, ``connect``, ``tls``.

    Raises:
        ConnectFailed: with the step that failed.
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
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: unacknowledged data end the connection too
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
    """Ask the proxy for a tunnel to the endpoint (RFC 9110, CONNECT)."""
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
    while not answer.endswith(b"\r\n\r\n"):  # byte by byte: what follows belongs to the endpoint
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
            "Behind a company firewall, pass ssl_context= with its certificate authority",
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
