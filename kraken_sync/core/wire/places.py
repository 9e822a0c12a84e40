"""Where each kind of request goes, and which may not go to Kraken itself.

A client that was given the address of another exchange (a simulator, a sandbox of Kraken's), and not all of
its addresses, must not complete them with Kraken's own: a test would trade for real. Public market data are
no danger.
"""

from __future__ import annotations

from typing import Dict, Mapping, NamedTuple, Optional
from urllib.parse import urlsplit, urlunsplit

from ...errors import ExchangeMismatch
from .printable import without_login

PUBLIC, PRIVATE, LEVEL3, REST = "public", "private", "level3", "rest"
PRODUCTION = ("ws.kraken.com", "ws-auth.kraken.com", "ws-l3.kraken.com", "api.kraken.com", "uws.kraken.com")
"""The hosts of Kraken's production; its sandboxes are other exchanges."""
LEVEL3_HOST, UNIFIED_HOST = "ws-l3.kraken.com", "uws.kraken.com"
_NAMES = {PUBLIC: "ws_url", PRIVATE: "auth_ws_url", LEVEL3: "level3_ws_url", REST: "rest_url"}
_WHAT = {PRIVATE: "tokens and orders", LEVEL3: "tokens", REST: "requests, signed ones included,"}


ENDPOINTS = ("spot", "uws")
"""Kraken's Spot WebSocket, with a host for each kind of connection, and its Unified WebSocket."""
_UNIFIED = {PUBLIC: "/v2/public", PRIVATE: "/v2/private"}


def full_url(url: str, kind: str, endpoint: str = "spot") -> str:
    """Return a WebSocket URL with its path; a path that is whole already stays as it is.

    Source: https://docs.kraken.com/exchange/api-reference/unified-websocket for the Unified WebSocket.

    Raises:
        ValueError: the path is that of another kind of connection.

    >>> full_url("wss://ws.kraken.com/", "public"), full_url("wss://uws.kraken.com", "private")
    ('wss://ws.kraken.com/v2', 'wss://uws.kraken.com/v2/private')
    >>> full_url("ws://host?x=1", "public", "uws"), full_url("ws://host/auth/v2", "private")
    ('ws://host/v2/public?x=1', 'ws://host/auth/v2')
    """
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if is_unified(path):
        if not path.endswith(_UNIFIED.get(kind, "-")):
            raise ValueError(
                f"{without_login(url)!r} is given as {_NAMES[kind]}, and its path is that of another"
            )
    else:
        unified = endpoint == "uws" or parts.hostname == UNIFIED_HOST
        base = path[: -len("/v2")] if path.endswith("/v2") else path
        path = base + (_UNIFIED.get(kind, "/v2") if unified else "/v2")
    return urlunsplit(parts._replace(path=path))


def _without_unified(url: str) -> str:
    """Return a URL without the path of the Unified WebSocket, which has no level3."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    tail = next((one for one in _UNIFIED.values() if path.endswith(one)), "")
    return urlunsplit(parts._replace(path=path[: len(path) - len(tail)]))


def is_unified(path: str) -> bool:
    """Return whether the path of a URL is one of the Unified WebSocket."""
    return path.endswith(tuple(_UNIFIED.values()))


class Places(NamedTuple):
    """The address of each kind, and for each kind that has none, why it may not be used."""

    urls: Mapping[str, str]
    refused: Mapping[str, str]

    def check(self, what: str, *kinds: str) -> None:
        """Raise ExchangeMismatch if one of these kinds, all of which ``what`` needs, may not be used."""
        for kind in kinds:
            if kind in self.refused:
                raise ExchangeMismatch(f"{what}: {self.refused[kind]}")


def places(given: Mapping[str, Optional[str]], defaults: Mapping[str, str]) -> Places:
    """Choose the address of each kind.

    Args:
        given: the caller's, by kind; None or empty for the default one.
        defaults: the default addresses, by kind.

    >>> kraken = {"public": "wss://ws.kraken.com", "rest": "https://api.kraken.com"}
    >>> places({"public": "ws://127.0.0.1:8765", "rest": None}, kraken).urls
    {'public': 'ws://127.0.0.1:8765'}
    """
    # python-kraken-sdk has no parameter for the level3 host: its users give it as auth_ws_url. Another
    # exchange may have both at one address, which Kraken has not had since December 2025.
    auth = given.get(PRIVATE)
    if auth and not given.get(LEVEL3) and LEVEL3 in defaults:
        host = urlsplit(auth).hostname
        if host == LEVEL3_HOST or host not in PRODUCTION:
            given = {**given, LEVEL3: _without_unified(auth)}
    urls: Dict[str, str] = {}
    refused: Dict[str, str] = {}
    there = {kind: given.get(kind) or default for kind, default in defaults.items()}
    elsewhere = [kind for kind, url in there.items() if urlsplit(url).hostname not in PRODUCTION]
    for kind, url in there.items():
        if elsewhere and kind != PUBLIC and kind not in elsewhere and not given.get(kind):
            other, name = elsewhere[0], _NAMES[kind]
            refused[kind] = (
                f"{_NAMES[other]} is {there[other]}, which is not Kraken's, and {name} was not given: "
                f"{_WHAT[kind]} would go to Kraken itself. Give {name}, too; for a simulator, "
                "SpotWSClient(**simulator.options)"
            )
        else:
            urls[kind] = url
    return Places(urls, refused)
