"""Asks a proxy for a connection to a host, over a socket that is connected to the proxy."""

from __future__ import annotations

import socket
import time
from typing import Any, Callable, Tuple

from ..core.wire.printable import printable
from ..core.wire.secret import HiddenBytes
from ..errors import ConnectFailed
from .guarded_socket import wait_ready
from .proxies import Proxy, proxy_advice

MAX_ANSWER = 16 * 1024
"""The largest answer of a proxy, in bytes."""
SLICE = 0.1
"""Seconds between two checks for an abort while connecting."""

Where = Tuple[str, int]


def tunnelled(
    sock: socket.socket, where: Where, proxy: Proxy, deadline: float, aborted: Callable[[], bool]
) -> socket.socket:
    """Return the socket, or another one in its place, whose peer is now the host ``where``.

    Blocks at most until ``deadline`` (monotonic seconds).

    Raises:
        ConnectFailed: the proxy refused.
        OSError: the connection to the proxy ended, it did not answer in time, or ``aborted()`` was true.
    """
    if proxy.socks:
        return _through_socks(sock, where, proxy, deadline, aborted)
    _ask_for_tunnel(sock, where, proxy, deadline, aborted)
    return sock


def _ask_for_tunnel(
    sock: socket.socket, where: Where, proxy: Proxy, deadline: float, aborted: Callable[[], bool]
) -> None:
    """Ask an HTTP proxy (RFC 9110, section 9.3.6, CONNECT)."""
    target = f"{where[0]}:{where[1]}"
    asked, answer = _request(target, proxy), b""
    while asked:
        try:
            asked = HiddenBytes(asked[sock.send(asked) :])
        except BlockingIOError:
            wait_ready(sock, True, SLICE)
        go_on(deadline, aborted)
    # Byte by byte, because what follows the header is the beginning of the endpoint's data.
    while not answer.endswith(b"\r\n\r\n"):
        try:
            byte = sock.recv(1)
        except BlockingIOError:
            wait_ready(sock, False, SLICE)
            go_on(deadline, aborted)
            continue
        if not byte or len(answer) > MAX_ANSWER:
            raise ConnectFailed(f"the proxy {proxy} gave no valid answer", step="proxy")
        answer += byte
    status, *headers = answer.decode("latin-1").split("\r\n")
    code = status.partition(" ")[2][:3]
    if not code.startswith("2"):
        offered = " ".join(line for line in headers if line.lower().startswith("proxy-authenticate"))
        raise ConnectFailed(
            f"the proxy {proxy} refused a tunnel to {target}: {printable(status):.100}"
            f"{proxy_advice(status, offered)}",
            step="proxy",
            permanent=code in ("403", "407"),
        )


def _request(target: str, proxy: Proxy) -> HiddenBytes:
    # In a frame of its own, because what follows raises: the login must not be among the locals of that.
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.login:
        lines.append(f"Proxy-Authorization: Basic {proxy.login.reveal()}")
    return HiddenBytes("\r\n".join([*lines, "", ""]).encode())


def _through_socks(
    sock: socket.socket, where: Where, proxy: Proxy, deadline: float, aborted: Callable[[], bool]
) -> socket.socket:
    """Ask a SOCKS proxy (RFC 1928)."""
    import socks

    class Bounded(socks.socksocket):  # type: ignore[misc]
        def recv_into(self, *args: Any) -> int:
            """Read what the proxy says, within the deadline of the whole attempt."""
            while not wait_ready(self, False, SLICE):
                go_on(deadline, aborted)
            received: int = super().recv_into(*args)
            return received

    kind = socks.SOCKS5 if proxy.socks.startswith("socks5") else socks.SOCKS4
    # PySocks would connect by itself, in one call that nothing can end, and over IPv4 only. So it gets the
    # connected socket, and is asked for the negotiation alone.
    kinds = sock.family, sock.type, sock.proto
    asking = Bounded(*kinds, fileno=sock.detach())
    try:
        asking.settimeout(max(0.01, deadline - time.monotonic()))
        _set_proxy(asking, kind, proxy)
        asking._proxy_negotiators[kind](asking, *where)
    except socks.ProxyError as error:
        asking.close()
        raise ConnectFailed(
            f"the SOCKS proxy {proxy} gives no connection to {where[0]}: {words_of(error)}",
            step="proxy",
            permanent=isinstance(error, socks.SOCKS5AuthError),
        ) from None
    except BaseException:
        asking.close()
        raise
    plain = socket.socket(*kinds, fileno=asking.detach())
    plain.setblocking(False)
    return plain


def _set_proxy(asking: Any, kind: int, proxy: Proxy) -> None:
    user, password = proxy.user.reveal() or None, proxy.password.reveal() or None
    asking.set_proxy(kind, proxy.host, proxy.port, proxy.socks in ("socks5h", "socks4a"), user, password)


def go_on(deadline: float, aborted: Callable[[], bool]) -> None:
    """Raise OSError if the attempt was aborted or its deadline (monotonic seconds) has passed."""
    if aborted():
        raise OSError("given up")
    if time.monotonic() >= deadline:
        raise OSError("no answer in time")


def words_of(error: BaseException) -> str:
    """Return what an error says, for other errors."""
    return printable(str(getattr(error, "strerror", None) or error).strip().lower())
