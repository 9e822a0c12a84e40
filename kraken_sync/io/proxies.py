"""Which proxy a host is reached through, and what proxies say when they refuse."""

from __future__ import annotations

import base64
import re
from typing import Mapping, NamedTuple, Optional, Union
from urllib.parse import unquote, urlsplit

from ..core.wire.secret import Secret

_PORTS = {"http": 80, "socks4": 1080, "socks4a": 1080, "socks5": 1080, "socks5h": 1080}
_LIKE = {"wss": "https", "ws": "http"}


class Proxy:
    """A proxy: the parts of ``http://user:password@host:port`` or ``socks5h://user:password@host:port``.

    Args:
        url: the URL. Without a scheme it is that of an HTTP proxy.
        source: where it was given, for errors: ``proxy`` or the name of a variable.
    """

    def __init__(self, url: Secret, source: str = "proxy") -> None:
        """Parse the URL. Raises ValueError if it does not have this form, or its kind cannot be used."""
        # The plain text stays in another frame, because what follows raises.
        parts = _parsed(url)
        if parts is None or parts.scheme not in _PORTS:
            kind = f" ({parts.scheme}:// is not supported)" if parts is not None else ""
            raise ValueError(
                f"{source} must be a URL such as 'http://user:password@host:port' or "
                f"'socks5h://host:port'{kind}; special characters of the password are written as %23, %2F "
                "and so on"
            )
        self.socks = parts.scheme if parts.scheme.startswith("socks") else ""
        """The kind of SOCKS proxy, such as ``socks5h``; empty for an HTTP proxy."""
        if self.socks:
            _need_socks(source)
        self.url, self.host, self.port = parts.url, parts.host, parts.port
        host = f"[{self.host}]" if ":" in self.host else self.host
        self.bare_url = Secret(f"{parts.scheme}://{host}:{self.port}")
        """The URL without the login."""
        self.user, self.password = parts.user, parts.password

    @property
    def login(self) -> Secret:
        """User and password as HTTP Basic authentication has them; empty without a user."""
        if not self.user:
            return Secret("")
        return Secret(base64.b64encode(f"{self.user.reveal()}:{self.password.reveal()}".encode()).decode())

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"<proxy {self}>"


class _Parts(NamedTuple):
    scheme: str
    host: str
    port: int
    user: Secret
    password: Secret
    url: Secret


def _parsed(url: Secret) -> Optional[_Parts]:
    """Return the parts of a URL, or None if it is none."""
    text = url.reveal()
    text = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if not host:
        return None
    user, password = Secret(unquote(parts.username or "")), Secret(unquote(parts.password or ""))
    whole = Secret(f"{parts.scheme}://{text.partition('://')[2]}")
    return _Parts(parts.scheme, host, port, user, password, whole)


Given = Union[Secret, Mapping[str, Secret], bool, None]


def secret_urls(given: Union[str, Mapping[str, str], bool, None]) -> Given:
    """Return the argument ``proxy`` without plain texts. Raises TypeError if it has another type."""
    if isinstance(given, str):
        return Secret(given)
    if given is None or given is False:
        return given
    if isinstance(given, Mapping) and all(isinstance(url, (str, type(None))) for url in given.values()):
        return {str(scheme): Secret(url) for scheme, url in given.items() if url}
    given = None  # bytes, for example: what crash reporters see of this frame must not have the password
    raise TypeError("proxy must be a URL, a dict of URLs as in requests, None, or False")


class Proxies:
    """Chooses the proxy for a URL.

    Args:
        given: a proxy's URL for everything; a mapping of schemes to URLs, as requests has it (``wss`` is like
            ``https``); None or an empty URL for the environment's (and on Windows and macOS the system's),
            False for none.
    """

    def __init__(self, given: Given) -> None:
        self._environment = given is None or (isinstance(given, Secret) and not given)
        self._proxies: Mapping[str, Secret] = {}
        if self._environment:
            from urllib.request import getproxies  # not needed before, and the slowest of all imports

            self._proxies = {scheme: Secret(url) for scheme, url in getproxies().items() if scheme != "no"}
            return
        if isinstance(given, Secret):
            self._proxies = {"all": given}
        elif isinstance(given, Mapping):
            self._proxies = given
        for url in self._proxies.values():
            Proxy(url)  # raises now what is not valid, whichever host it is for

    def choose(self, url: str) -> Optional[Proxy]:
        """Return the proxy for a URL, or None. Raises ValueError if the environment names an unusable one."""
        parts = urlsplit(url)
        host, scheme = parts.hostname or "", _LIKE.get(parts.scheme, parts.scheme)
        # A simulator on this machine is never behind a proxy of the environment, whatever no_proxy says.
        if self._environment and (is_loopback(host) or _bypassed(host)):
            return None
        for name in (f"{scheme}://{host}", parts.scheme, scheme, f"all://{host}", "all"):
            if name in self._proxies:
                source = f"the environment's {name}_proxy" if self._environment else "proxy"
                return Proxy(self._proxies[name], source)
        return None


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("localhost.example.com")
    (True, True, False)
    """
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d+){3}", host) is not None


def proxy_advice(said: str, offered: str = "") -> str:
    """Return a sentence that helps with a proxy's refusal, or an empty text.

    Args:
        said: the status line of its answer.
        offered: the ``Proxy-Authenticate`` headers of its answer, if they are known.

    >>> proxy_advice("HTTP/1.1 407 Proxy Authentication Required", "NTLM")[:40]
    '. It wants another login than a password'
    """
    words = offered.lower()
    if "407" not in said:
        return ""
    if words and "basic" not in words:
        return (
            ". It wants another login than a password (NTLM or Kerberos), which a helper program on this "
            "machine can do, such as px or cntlm"
        )
    return (
        ". It wants a login: proxy='http://user:password@host:port', with special characters of the password "
        "written as %23, %2F and so on"
    )


def _need_socks(source: str) -> None:
    try:
        import socks  # noqa: F401
    except ImportError:
        raise ValueError(
            f'{source} is a SOCKS proxy, which needs PySocks: pip install "kraken-sync[socks]"'
        ) from None


def _bypassed(host: str) -> bool:
    from urllib.request import proxy_bypass

    return bool(proxy_bypass(host))
