"""Proxies: which one is used, on both transports, and what is told when one refuses."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
from typing import Any, Callable, Dict, Optional

import pytest
from conftest import FAST, WAIT, S, eventually, within
from proxy_servers import ConnectProxy, ProxyServer, SocksProxy
from raw_server import RawServer

from kraken_sync import BookState, ConnectFailed, KrakenError, ReplyTimeout, SpotOrderBookClient, SpotWSClient
from kraken_sync.io.proxies import Proxies, secret_urls
from kraken_sync.simulator import Simulator

VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "wss_proxy", "ws_proxy")
AWAY = "exchange.example.invalid"
"""A name that nobody can resolve, except for the proxies of these tests."""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the machine's own."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def chosen(given: Any, url: str) -> Optional[str]:
    proxy = Proxies(secret_urls(given)).choose(url)
    return None if proxy is None else str(proxy)


@pytest.mark.parametrize(
    ("given", "proxy"),
    [
        ("http://10.0.0.1:3128", "10.0.0.1:3128"),
        ("10.0.0.1:3128", "10.0.0.1:3128"),
        ("HTTP://10.0.0.1:3128/", "10.0.0.1:3128"),
        ("http://10.0.0.1", "10.0.0.1:80"),
        ("http://user:p@ss@10.0.0.1:1", "10.0.0.1:1"),
        ("socks5://10.0.0.1", "10.0.0.1:1080"),
        ({"https": "http://10.0.0.1:1", "http": "http://10.0.0.1:2"}, "10.0.0.1:1"),
        ({"wss": "http://10.0.0.1:3", "https": "http://10.0.0.1:1"}, "10.0.0.1:3"),
        ({"https://ws.kraken.com": "http://10.0.0.1:4", "all": "http://10.0.0.1:1"}, "10.0.0.1:4"),
        ({"all": "socks5h://10.0.0.1:5"}, "10.0.0.1:5"),
        ({"http": "http://10.0.0.1:2", "https": None}, None),
        (None, None),
        ("", None),
        (False, None),
    ],
)
def test_which_proxy(given: Any, proxy: Optional[str]) -> None:
    """A URL in the forms that people write, or a dict as requests has it."""
    assert chosen(given, "wss://ws.kraken.com/v2") == proxy


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({"https_proxy": "http://10.0.0.1:1"}, "wss://ws.kraken.com", "10.0.0.1:1"),
        ({"HTTPS_PROXY": "http://10.0.0.1:1"}, "https://api.kraken.com", "10.0.0.1:1"),
        ({"all_proxy": "socks5h://10.0.0.1:1"}, "https://api.kraken.com", "10.0.0.1:1"),
        ({"https_proxy": "http://10.0.0.1:1", "no_proxy": ".kraken.com"}, "wss://ws.kraken.com", None),
        ({"https_proxy": "http://10.0.0.1:1", "no_proxy": "*"}, "wss://ws.kraken.com", None),
        ({"http_proxy": "http://10.0.0.1:1"}, "wss://ws.kraken.com", None),
        ({"http_proxy": "http://10.0.0.1:1"}, "ws://exchange.test", "10.0.0.1:1"),
        ({"all_proxy": "http://10.0.0.1:1"}, "ws://127.0.0.1:8765", None),
        ({"all_proxy": "http://10.0.0.1:1"}, "http://localhost:8765", None),
        ({"all_proxy": "http://10.0.0.1:1"}, "ws://[::1]:8765", None),
    ],
)
def test_proxies_of_the_environment(
    variables: Dict[str, str], url: str, proxy: Optional[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are used unless ``proxy=`` says otherwise, but never for this machine."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert chosen(None, url) == proxy
    assert chosen(False, url) is None
    assert chosen("http://10.0.0.9:9", url) == "10.0.0.9:9"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("https://10.0.0.1:1", "https:// is not supported"),
        ("ftp://10.0.0.1:1", "ftp:// is not supported"),
        ("http://user:CANARY secret#x@10.0.0.1:1", "written as %23"),
        ({"all": "http://"}, "must be a URL"),
        (True, "a dict of URLs"),
        (5, "a dict of URLs"),
        (b"http://user:CANARY secret@10.0.0.1:1", "a dict of URLs"),
        ({"https": b"http://user:CANARY secret@10.0.0.1:1"}, "a dict of URLs"),
        ({"https": 5}, "a dict of URLs"),
    ],
)
def test_what_is_no_proxy(given: Any, words: str) -> None:
    """It is told when the client is made, without the password."""
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        SpotWSClient(proxy=given)
    assert "CANARY" not in str(caught.value)


def test_a_variable_that_is_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named."""
    monkeypatch.setenv("https_proxy", "gopher://10.0.0.1:1")
    with pytest.raises(ValueError, match="the environment's https_proxy must be a URL"):
        SpotWSClient()


def test_socks_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "socks", None)
    with pytest.raises(ValueError, match=r'pip install "kraken-sync\[socks\]"'):
        SpotWSClient(proxy="socks5h://10.0.0.1:1")


@pytest.mark.parametrize("kind", [ConnectProxy, SocksProxy])
@pytest.mark.parametrize("how", ["argument", "dict", "environment"])
def test_everything_goes_through_it(
    kind: Callable[[], ProxyServer],
    how: str,
    new_client: Callable[..., Any],
    exchange: Simulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """WebSocket and REST; names are resolved by the proxy, which alone knows this one."""
    port = exchange.ws_url.rpartition(":")[2]
    with kind() as proxy, RawServer(lambda sock: sock.close()) as closing:
        options: Dict[str, Any] = {"proxy": proxy.url}
        if how == "environment":
            options = {}
            monkeypatch.setenv("all_proxy", proxy.url)
        elif how == "dict":
            options = {"proxy": {"http": proxy.url, "https": proxy.url}}
        urls = {"ws_url": f"ws://{AWAY}:{port}", "rest_url": f"https://{AWAY}:{closing.port}"}
        client = new_client(SpotOrderBookClient, **urls, **options)
        client.start()
        client.add_book([S])
        assert client.get(S)["valid"]
        assert client.book("ETH/USD").state is BookState.LIVE
        websocket = len(proxy.asked)
        # There is no TLS behind it, but what matters here is who was asked for it.
        with pytest.raises(KrakenError, match="nothing was sent|cannot connect to"):
            client.rest.time(timeout=WAIT)

    assert (websocket, len(proxy.asked)) == (1, 2)
    assert all(AWAY.encode() in asked for asked in proxy.asked)


@pytest.mark.parametrize("kind", [ConnectProxy, SocksProxy])
def test_row_17_a_wrong_password(kind: Callable[[], ProxyServer], exchange: Simulator) -> None:
    """Row 17: it is told at once, on both transports, with the proxy's name and what to do."""
    with kind() as proxy:
        client = SpotWSClient(
            ws_url=exchange.ws_url,
            rest_url=f"https://{AWAY}",
            proxy=proxy.url.replace("user:", "other:"),
            timing=FAST,
        )
        for call in (client.start, client.rest.time):
            with within(0.4):
                with pytest.raises(ConnectFailed, match=f"127.0.0.1:{proxy.port}") as caught:
                    call()
            assert "CANARY" not in str(caught.value)
            if kind is ConnectProxy:
                assert "proxy='http://user:password@host:port'" in str(caught.value)
        client.close()


def test_a_login_that_is_no_password(exchange: Simulator) -> None:
    """A proxy that wants NTLM or Kerberos is told apart."""
    with ConnectProxy() as proxy:
        proxy.refusal = (
            b"HTTP/1.1 407 Proxy Authentication Required\r\n"
            b"Proxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n"
        )
        client = SpotWSClient(ws_url=exchange.ws_url, proxy=f"http://127.0.0.1:{proxy.port}", timing=FAST)
        with pytest.raises(ConnectFailed, match="NTLM or Kerberos"):
            client.start()
        client.close()


def test_a_dripping_socks_proxy(exchange: Simulator) -> None:
    """Neither the deadline of an attempt nor ``close()`` is stretched by single bytes."""
    pause = threading.Event()
    with SocksProxy(drip=lambda: pause.wait(0.4)) as proxy:
        client = SpotWSClient(ws_url=exchange.ws_url, proxy=proxy.url, timing=FAST)
        with within(0.6):
            with pytest.raises(ConnectFailed):
                client.start(timeout=1)
            client.close()
        pause.set()


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_that_says_nothing(scheme: str) -> None:
    """Both transports say that there was no answer in time, and not that anybody had closed a connection."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}"
        client = SpotWSClient(ws_url=f"ws://{AWAY}", rest_url=f"https://{AWAY}", proxy=proxy, timing=FAST)
        for call in (client.start, client.rest.time):
            words = "does not answer within|no complete answer in time"
            with pytest.raises((ConnectFailed, ReplyTimeout), match=words):
                call(timeout=1)
        client.close()


def test_an_odd_password(exchange: Simulator) -> None:
    """Both transports encode it in the same way."""
    with ConnectProxy() as proxy:
        url = f"http://user:p%C3%A9%E2%82%ACss@127.0.0.1:{proxy.port}"
        client = SpotWSClient(ws_url=exchange.ws_url, rest_url=f"https://{AWAY}", proxy=url, timing=FAST)
        for call in (client.start, client.rest.time):
            with pytest.raises(ConnectFailed, match="407"):
                call()
        client.close()
    logins = {line for asked in proxy.asked for line in asked.split(b"\r\n") if b"Authorization" in line}

    assert logins == {b"Proxy-Authorization: Basic " + base64.b64encode("user:pé€ss".encode())}


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_that_drops_connections(scheme: str) -> None:
    """Nothing answers there at all: the attempt ends with the call, and the thread with ``close()``."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):  # its queue is full, so that further attempts are not even refused
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        proxy = f"{scheme}://127.0.0.1:{server.getsockname()[1]}"
        client = SpotWSClient(ws_url=f"ws://{AWAY}", proxy=proxy, timing=FAST)
        with within(0.4):
            with pytest.raises(ConnectFailed):
                client.start(timeout=0.5)
            client.close()
        eventually(lambda: not [one for one in threading.enumerate() if "kraken-sync-io" in one.name])


def test_nobody_listens_there(exchange: Simulator) -> None:
    """The errors name the proxy, not the exchange alone."""
    for scheme in ("http", "socks5h"):
        client = SpotWSClient(
            ws_url=exchange.ws_url, rest_url=f"https://{AWAY}", proxy=f"{scheme}://127.0.0.1:9", timing=FAST
        )
        for call in (lambda client=client: client.start(timeout=1), client.rest.time):
            with pytest.raises(ConnectFailed, match=r"proxy 127\.0\.0\.1:9"):
                call()
        client.close()
