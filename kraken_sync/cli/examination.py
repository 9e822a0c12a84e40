"""The checks of ``kraken-sync doctor``: from the name of a host to the permissions of the API key.

Each check says what was found, and gives a verdict. A check that depends on one that has failed is left out.
"""

from __future__ import annotations

import os
import platform
import re
import socket
import ssl
import time
from contextlib import closing
from decimal import Decimal
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple
from urllib.parse import urlsplit
from urllib.request import getproxies

from ..client import SpotWSClient
from ..core.wire.credentials import VARIABLES
from ..core.wire.secret import Secret
from ..errors import ConnectFailed, KrakenError, RestRefused
from ..io.dial import Endpoint, default_context, dial
from ..io.proxies import Proxies, Proxy, secret_urls
from ..io.tls import TlsSocket
from ..version import __version__
from .plain import plain

OK, NOTE, FAIL = "ok", "note", "FAIL"
CLOCK_OFF = 2.0
"""Seconds from which a clock is worth a note: orders have deadlines, and nonces come from the clock."""
CLOCK_BAD = 60.0
KEY = 56
"""The length of an API key."""
HEARTBEAT = 4.0
"""The seconds to wait for the exchange's heartbeat, which comes about once per second."""
READS: Mapping[str, str] = {
    "Balance": "query funds",
    "OpenOrders": "query open orders & trades",
    "ClosedOrders": "query closed orders & trades",
}
"""What is tried if the exchange does not tell a key's permissions: requests that only read."""


class Check(NamedTuple):
    """The outcome of one check."""

    name: str
    verdict: str
    text: str
    advice: str = ""


class Examination:
    """Examines the way to the exchange, and the API key.

    Args:
        places: where the exchange is, as arguments of a client; those that are None are Kraken's.
        ways: ``proxy`` and ``ca_file``, as arguments of a client.
        timeout: seconds for each check.
    """

    def __init__(self, places: Mapping[str, Any], ways: Mapping[str, Any], timeout: float) -> None:
        self._places, self._ways, self._timeout = places, ways, timeout
        self._own = any(places.get(name) for name in ("ws_url", "rest_url", "auth_ws_url"))

    def checks(self) -> Iterator[Check]:
        """Make the checks one after the other. Blocks up to ``timeout`` for each."""
        yield self._machine()
        proxy = self._proxy()
        yield proxy
        reached = proxy.verdict != FAIL
        if not reached:
            return
        public, *others = self._urls()
        for url in (public, *others):
            for check in self._host(url):
                yield check
                reached = reached and (check.verdict != FAIL or url != public)
        if not reached:
            return
        with closing(SpotWSClient(**self._places, **self._ways, parse_float=Decimal)) as client:
            yield from self._exchange(client)
            yield from self._line(client)
            yield from self._key(client)

    # -- the machine and the network ---------------------------------------------------------

    def _machine(self) -> Check:
        trust = "the operating system decides on certificates (truststore)"
        if "truststore" not in type(default_context()).__module__:
            trust = ssl.OPENSSL_VERSION
        python = f"Python {platform.python_version()}, {platform.platform(terse=True)}"
        return Check("machine", OK, f"kraken_sync {__version__}, {python}, {trust}")

    def _proxy(self) -> Check:
        given = self._ways.get("proxy")
        if given is False:
            return Check("proxy", OK, "none is used (--proxy none)")
        try:
            if given:
                return Check("proxy", OK, f"{Proxy(Secret(str(given)))} (--proxy)")
            found = {
                scheme: plain(url) if scheme == "no" else str(Proxy(Secret(url), f"{scheme}_proxy"))
                for scheme, url in sorted(getproxies().items())
            }
        except (ValueError, ImportError) as error:
            return Check("proxy", FAIL, str(error), _advice("proxy"))
        if not found:
            return Check("proxy", OK, "no proxy in the environment or the system's settings")
        told = ", ".join(f"{scheme}_proxy={url}" for scheme, url in found.items())
        return Check("proxy", NOTE, told, "" if "no" in found else "no_proxy= names hosts that need none")

    def _urls(self) -> List[str]:
        """Return the URLs that a client would use."""
        kind = SpotWSClient
        known = [self._places.get("ws_url") or kind.WS_URL]
        for name, default in (("auth_ws_url", kind.AUTH_WS_URL), ("rest_url", kind.REST_URL)):
            url = self._places.get(name) or (None if self._own else default)
            if url:
                known.append(url)
        # A simulator has one address for public and private data.
        return list({urlsplit(url).netloc: url for url in reversed(known)}.values())[::-1]

    def _host(self, url: str) -> Iterator[Check]:
        """Check the name, the connection and the TLS of one host."""
        as_ws = re.sub(r"^http", "ws", url)
        try:
            proxy = Proxies(secret_urls(self._ways.get("proxy"))).choose(re.sub(r"^ws", "http", as_ws))
            endpoint = Endpoint(as_ws, proxy)
        except (ValueError, ImportError) as error:
            yield Check("address", FAIL, str(error))
            return
        steps: Dict[str, float] = {}
        begun = time.monotonic()
        addresses: List[str] = []

        def begin(step: str) -> None:
            steps[step] = time.monotonic()

        if proxy is None:
            try:
                found = socket.getaddrinfo(endpoint.host, endpoint.port, 0, socket.SOCK_STREAM)
                addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
            except (OSError, UnicodeError):
                pass  # dial() says it in its words
        try:
            context = default_context(self._ways.get("ca_file")) if endpoint.secure else None
            sock = dial(
                endpoint,
                context,
                begun + self._timeout,
                lambda: False,
                begin,
            )
        except (ConnectFailed, ValueError) as error:
            text = str(error).partition(" kraken-sync doctor")[0]  # the advice to ask what is being asked
            step = getattr(error, "step", "")
            at_proxy = proxy is not None and step in ("resolve", "connect")
            yield Check(str(endpoint), FAIL, text, _advice("proxy" if at_proxy else step))
            return
        ended = time.monotonic()
        try:
            way = f"through the proxy {proxy}" if proxy is not None else ", ".join(addresses[:3])
            text = f"{way}; connected in {1000 * (steps.get('tls', ended) - steps['connect']):.0f} ms"
            if isinstance(sock, TlsSocket):
                text += f"; {_tls(sock, endpoint.host)} in {1000 * (ended - steps['tls']):.0f} ms"
            else:
                text += "; not encrypted"
        finally:
            sock.close()
        yield Check(str(endpoint), OK, text)

    # -- the exchange ------------------------------------------------------------------------

    def _exchange(self, client: SpotWSClient) -> Iterator[Check]:
        if self._own and not self._places.get("rest_url"):
            yield Check("exchange", NOTE, "not asked by REST: --rest-url was not given")
            return
        try:
            system = client.rest.system_status(timeout=self._timeout)
            asked = time.time()
            told = client.rest.time(timeout=self._timeout)
            answered = time.time()
            status, since, unixtime = system["status"], system.get("timestamp"), float(told["unixtime"])
        except KrakenError as error:
            yield Check("REST", FAIL, str(error))
            return
        except (AttributeError, KeyError, TypeError, ValueError):
            yield Check(
                "REST", FAIL, "what came back is no answer of the exchange", "something may be in between"
            )
            return
        online = status == "online"
        yield Check(
            "exchange",
            OK if online else FAIL,
            f"{plain(status)} since {plain(since)}",
            "" if online else "see https://status.kraken.com; the client waits for it by itself",
        )
        yield clock_check(unixtime, asked, answered)

    def _line(self, client: SpotWSClient) -> Iterator[Check]:
        begun = time.monotonic()
        try:
            client.start(self._timeout)
        except KrakenError as error:
            yield Check("WebSocket", FAIL, str(error))
            return
        greeted = time.monotonic() - begun
        try:
            client.subscribe({"channel": "instrument", "snapshot": False}, timeout=self._timeout)
            beat = _heartbeat(client, HEARTBEAT)
        except KrakenError as error:
            yield Check("WebSocket", FAIL, f"connected, but a subscription failed: {error}")
            return
        stats = client.stats()
        rtt = f", ping {1000 * stats['rtt']:.0f} ms" if stats.get("rtt") is not None else ""
        yield Check(
            "WebSocket",
            OK if beat else NOTE,
            f"connected and greeted in {1000 * greeted:.0f} ms{rtt}, {beat or 'no heartbeat'}",
            "" if beat else f"nothing came for {HEARTBEAT:.0f} s; a proxy may hold messages back",
        )

    # -- the API key -------------------------------------------------------------------------

    def _key(self, client: SpotWSClient) -> Iterator[Check]:
        where = key_in_environment()
        if self._places.get("key"):
            where = "the simulator's", str(self._places["key"])
        if where is None:
            names = ", ".join("/".join(pair) for pair in VARIABLES)
            yield Check("API key", OK, f"none ({names}): public data only")
            return
        name, key = where
        if self._own and not self._places.get("rest_url"):
            yield Check("API key", NOTE, f"{name} {masked_key(key)} is not used: --rest-url was not given")
            return
        try:
            client.get_ws_token(self._timeout)
        except KrakenError as error:
            yield Check("API key", FAIL, f"{name} {masked_key(key)}: {error}")
            return
        yield Check("API key", OK, f"{name} {masked_key(key)} is valid and may use WebSockets")
        yield self._permissions(client)

    def _permissions(self, client: SpotWSClient) -> Check:
        try:
            told = client.request("POST", "/0/private/GetApiKeyInfo", timeout=self._timeout)
            return Check("permissions", OK, permissions_in(told))
        except RestRefused:
            pass  # an exchange without this request, or without permissions in the answer
        except (KrakenError, ValueError) as error:
            return Check("permissions", NOTE, f"not known: {error}")
        allowed, refused = [], []
        for name, permission in READS.items():
            try:
                client.request("POST", f"/0/private/{name}", timeout=self._timeout)
                allowed.append(permission)
            except KrakenError:
                refused.append(permission)
        text = f"may {', '.join(allowed) or 'read nothing'}"
        return Check("permissions", OK, text + (f"; may not {', '.join(refused)}" if refused else ""))


def clock_check(unixtime: float, asked: float, answered: float) -> Check:
    """Compare this machine's clock with the exchange's.

    The exchange tells whole seconds, so the difference is known to about a second.

    Args:
        unixtime: the exchange's time, in whole seconds since the epoch.
        asked: when it was asked, by this machine's clock.
        answered: when the answer was there, by this machine's clock.

    >>> clock_check(1000, 1000.2, 1000.4).text
    'agrees with the exchange to a second'
    >>> clock_check(1312, 1000.2, 1000.4)[1:3]
    ('FAIL', '312.2 s behind the exchange')
    """
    # It was this time at some moment between the two, and up to a second later.
    if unixtime <= answered and asked <= unixtime + 1:
        return Check("clock", OK, "agrees with the exchange to a second")
    off = unixtime + 0.5 - (asked + answered) / 2
    text = f"{abs(off):.1f} s {'behind' if off > 0 else 'ahead of'} the exchange"
    verdict = FAIL if abs(off) > CLOCK_BAD else NOTE if abs(off) > CLOCK_OFF else OK
    return Check("clock", verdict, text, "" if verdict == OK else "set this machine's clock (NTP)")


def permissions_in(told: Any) -> str:
    """Return the permissions and limits in the exchange's answer about a key.

    Source: https://docs.kraken.com/api-reference/account-data/get-api-key-info.

    Raises:
        ValueError: there are none in it.

    >>> permissions_in({"permissions": ["query-funds", "trade"], "valid_until": "0"})
    'query-funds, trade'
    >>> permissions_in({"permissions": {"query-funds": True, "trade": False}, "ip_allowlist": ["10.0.0.1"]})
    'query-funds; only from 10.0.0.1'
    """
    listed = told.get("permissions") if isinstance(told, dict) else None
    if isinstance(listed, dict):
        listed = [name for name, allowed in listed.items() if allowed]
    if not isinstance(listed, list):
        raise ValueError("the exchange's answer lists no permissions")
    text = ", ".join(plain(one) for one in listed) or "none"
    allowlist = told.get("ip_allowlist")
    if allowlist:
        text += f"; only from {', '.join(map(plain, allowlist))}"
    if str(told.get("valid_until") or "0") not in ("0", "None"):
        text += f"; valid until {plain(told['valid_until'])}"
    return text


def key_in_environment() -> Optional[Tuple[str, str]]:
    """Return the variable that has the API key, and the key; None if there is none."""
    for names in VARIABLES:
        if any(os.environ.get(name) for name in names):
            return names[0], os.environ.get(names[0], "")
    return None


def masked_key(key: str) -> str:
    """Return a key of which only the ends can be read.

    >>> masked_key("abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrst"), masked_key("short")
    ('abcd...qrst', '(5 characters)')
    """
    # Only what has the length of a key: somebody may have put the secret there.
    return f"{plain(key[:4])}...{plain(key[-4:])}" if len(key) == KEY else f"({len(key)} characters)"


def _heartbeat(client: SpotWSClient, seconds: float) -> str:
    """Wait for the next message, which is a heartbeat if nothing else is to be sent."""
    begun, before = time.monotonic(), client.stats()["messages"]
    while time.monotonic() - begun < seconds:
        if client.stats()["messages"] > before:
            return f"heartbeat after {time.monotonic() - begun:.1f} s"
        time.sleep(0.05)
    return ""


def _tls(sock: TlsSocket, host: str) -> str:
    """Return what the certificate and the handshake were."""
    certificate: Any = sock.getpeercert()
    if not certificate:  # truststore has let the operating system verify it
        return f"{sock.version()} for {host}, certificate accepted"
    issuer = {name: value for part in certificate.get("issuer", ()) for name, value in part}
    who = issuer.get("organizationName") or issuer.get("commonName") or "an unknown issuer"
    text = f"{sock.version()} for {host}, certificate of {plain(who)}"
    if certificate.get("notAfter"):
        ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
        text += f" until {time.strftime('%Y-%m-%d', time.gmtime(ends))}"
    return text


def _advice(step: str) -> str:
    return {
        "resolve": "the name server does not answer: check the network, VPN and DNS settings",
        "connect": "a firewall may block it, or the host is down: https://status.kraken.com",
        "proxy": "check the proxy's address and login, or leave it out with --proxy none",
        "tls": "a firewall that reads TLS has a certificate authority of its own: --ca-file or truststore",
    }.get(step, "")
