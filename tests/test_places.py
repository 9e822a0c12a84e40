"""A client of another exchange sends nothing private to Kraken, whatever was left out."""

from __future__ import annotations

import contextlib
import itertools
import socket
from typing import Any, Callable, Dict, List, Mapping

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, WAIT, S

from kraken_sync import ExchangeMismatch, KrakenError, SpotOrderBookClient, SpotWSClient
from kraken_sync.core.wire.places import places
from kraken_sync.simulator import Simulator

URLS = ("ws_url", "auth_ws_url", "level3_ws_url", "rest_url")
KRAKEN = {
    "public": "wss://ws.kraken.com",
    "private": "wss://ws-auth.kraken.com",
    "level3": "wss://ws-l3.kraken.com",
    "rest": "https://api.kraken.com",
}
SANDBOX = "wss://ws.vip.uat.lobster.kraken.com"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> List[str]:
    """The hosts whose names were looked up; none of them is reached."""
    hosts: List[str] = []
    real = socket.getaddrinfo

    def record(host: Any, *args: Any, **kwargs: Any) -> Any:
        hosts.append(str(host))
        if "kraken.com" in str(host):
            raise socket.gaierror(-2, "not in a test")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", record)
    return hosts


def calls(client: SpotWSClient) -> Mapping[str, Callable[[float], Any]]:
    """Each with its timeout."""
    return {
        "rest": lambda left: client.rest.time(timeout=left),
        "request": lambda left: client.request("POST", "/0/private/Balance", timeout=left),
        "token": lambda left: client.get_ws_token(timeout=left),
        "order": lambda left: client.add_order(**FAR, timeout=left),
        "executions": lambda left: client.subscribe({"channel": "executions"}, timeout=left),
        "level3": lambda left: client.level3(S, timeout=left),
        "cancel": lambda left: client.cancel_all(timeout=left),
        "order by rest": lambda left: client.add_order(**FAR, via="rest", timeout=left),
        "cancel by rest": lambda left: client.cancel_all(via="rest", timeout=left),
    }


@pytest.mark.parametrize("keys", ["arguments", "environment"])
@pytest.mark.parametrize(
    ("kind", "endpoint"),
    [(SpotWSClient, "spot"), (SpotOrderBookClient, "spot"), (SpotWSClient, "uws")],
    ids=["client", "book client", "unified"],
)
@pytest.mark.parametrize(
    "given", [set(some) for count in range(1, 5) for some in itertools.combinations(URLS, count)]
)
def test_every_combination(
    given: set,
    kind: Any,
    endpoint: str,
    keys: str,
    asked: List[str],
    exchange: Simulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each call works at the simulator, or says which address is missing; Kraken gets nothing private."""
    options: Dict[str, Any] = {name: getattr(exchange, name) for name in given}
    if keys == "environment":
        monkeypatch.setenv("KRAKEN_API_KEY", CANARY_KEY)
        monkeypatch.setenv("KRAKEN_API_SECRET", CANARY_SECRET)
    else:
        options.update(key=CANARY_KEY, secret=CANARY_SECRET)
    client = kind(timing=FAST, endpoint=endpoint, **options)
    needs = {name: {"auth_ws_url", "rest_url"} for name in ("order", "executions", "cancel")}
    by_rest = ("rest", "request", "token", "order by rest", "cancel by rest")
    needs.update({name: {"rest_url"} for name in by_rest})
    level3 = "level3_ws_url" in given or "auth_ws_url" in given
    needs["level3"] = {"rest_url"} if level3 else {"rest_url", "level3_ws_url"}
    public = {"executions", "order", "cancel", "level3", "order by rest"}
    try:
        for name, call in calls(client).items():
            if name == "level3" and needs[name] <= given and "level3_ws_url" not in given:
                with contextlib.suppress(KrakenError):
                    call(0.4)  # the simulator, as Kraken, does not serve it beside orders any more
            elif needs[name] <= given and ("ws_url" in given or name not in public):
                call(WAIT)
            elif needs[name] <= given:
                with contextlib.suppress(KrakenError):
                    call(0.4)  # the public side cannot be reached here
            else:
                with pytest.raises(ExchangeMismatch, match="would go to Kraken itself"):
                    call(0.4)
    finally:
        client.close()

    public_host = "uws.kraken.com" if endpoint == "uws" else "ws.kraken.com"
    assert {host for host in asked if "kraken.com" in host} <= {public_host}


def test_what_is_krakens_own() -> None:
    """Its production's addresses complete each other; those of its sandboxes are another exchange."""
    assert places({}, KRAKEN).urls == KRAKEN
    assert places({"public": "wss://ws.kraken.com/v2", "private": None}, KRAKEN).refused == {}
    assert set(places({"public": SANDBOX}, KRAKEN).refused) == {"private", "level3", "rest"}
    assert set(places({"rest": "http://127.0.0.1:1"}, KRAKEN).refused) == {"private", "level3"}
    # a subclass whose own default is elsewhere
    assert set(places({}, {**KRAKEN, "private": SANDBOX}).refused) == {"level3", "rest"}
    # what was given is meant
    explicit = {"public": "ws://127.0.0.1:1", "rest": "https://api.kraken.com"}
    assert places(explicit, KRAKEN).urls["rest"] == "https://api.kraken.com"


def test_level3_has_a_host_of_its_own() -> None:
    """python-kraken-sdk's users give it as ``auth_ws_url``; that of orders is not taken for it."""
    level3, auth = KRAKEN["level3"], KRAKEN["private"]
    assert places({"private": auth}, KRAKEN).urls["level3"] == level3
    assert places({"private": "wss://ws-l3.kraken.com/v2"}, KRAKEN).urls["level3"] == f"{level3}/v2"
    assert places({"private": "ws://127.0.0.1:1/auth"}, KRAKEN).urls["level3"] == "ws://127.0.0.1:1/auth"


def test_a_client_of_the_simulator(exchange: Simulator) -> None:
    """The right way is the short one."""
    with exchange.client(timing=FAST) as client, SpotOrderBookClient(**exchange.options) as books:
        assert client.add_order(**FAR)["order_id"]
        assert client.rest.time()["unixtime"]
        assert client.balance["USD"]
        assert books.book(S).state == "LIVE"
