"""Kraken's Unified WebSocket: full paths, and the asset class in every request about a market."""

from __future__ import annotations

import json
from typing import Any, Callable, Dict

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, WAIT, S, eventually
from facts import fact
from websockets.sync.client import connect

from kraken_sync import SpotOrderBookClient, SpotWSClient
from kraken_sync.core.wire.channels import channel_params
from kraken_sync.simulator import Simulator

KEYS = {"key": CANARY_KEY, "secret": CANARY_SECRET}


def by_argument(exchange: Simulator) -> Dict[str, Any]:
    return {"endpoint": "uws", "auth_ws_url": exchange.ws_url}


def by_path(exchange: Simulator) -> Dict[str, Any]:
    return {"ws_url": f"{exchange.ws_url}/v2/public", "auth_ws_url": f"{exchange.ws_url}/v2/private/"}


@fact("Unified WebSocket")
@pytest.mark.parametrize("how", [by_argument, by_path])
def test_all_of_it(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, how: Callable[..., Dict[str, Any]]
) -> None:
    """Books, streams, the account and orders, before and after a cut, by one argument or by the paths."""
    client = new_client(**KEYS, **how(exchange))
    book, trades = client.book(S), client.trades(S)
    order = client.add_order(**FAR)
    client.amend_order(order_id=order["order_id"], order_qty="0.02")
    assert client.orders.wait_open(order["order_id"]).qty is not None
    assert client.balance["USD"]
    exchange.cut()
    eventually(lambda: client.stats()["reconnects"] and client.stats()["private"]["reconnects"])
    exchange.step(60, [S])
    before = book.wait_until(lambda state: state.generation > 1, WAIT)
    assert before.symbol == S
    assert client.cancel_order(order_id=order["order_id"]) == {"order_id": order["order_id"]}
    assert client.send_message({"method": "cancel_all", "params": {}})["success"]
    with client.dead_mans_switch(60):
        pass
    trades.unsubscribe()
    client.unsubscribe({"channel": "book", "symbol": [S], "asset_class": "spot"})

    asked = [one for one in exchange.requests() if one["method"] != "ping"]
    assert {one["method"] for one in asked} >= {"subscribe", "unsubscribe", "add_order", "cancel_all"}
    assert {one["params"].get("asset_class") for one in asked} == {"spot"}
    assert all("params" not in one for one in exchange.requests("ping"))


def test_books_of_python_kraken_sdk(exchange: Simulator) -> None:
    """The other client class, too."""
    with SpotOrderBookClient(ws_url=exchange.ws_url, endpoint="uws") as books:
        books.add_book(S)
        assert books.get(S)["valid"]


def test_level3_stays_where_it_is(exchange: Simulator) -> None:
    """It has a host of its own, which knows no asset class."""
    with exchange.client(endpoint="uws") as client:
        assert client.level3_book(S).bids
        assert client.book(S).bids
    (asked,) = [one for one in exchange.requests("subscribe") if one["params"]["channel"] == "level3"]
    assert "asset_class" not in asked["params"]


def test_the_spot_websocket_gets_no_asset_class(trader: SpotWSClient, exchange: Simulator) -> None:
    """It may be given, and is not sent where it is not known."""
    stream = trader.subscribe({"channel": "ticker", "symbol": S, "asset_class": "spot"})
    assert stream.get(WAIT)["channel"] == "ticker"
    trader.add_order(**FAR)
    assert not any("asset_class" in one.get("params", {}) for one in exchange.requests())


def test_what_is_refused(exchange: Simulator) -> None:
    """Another asset class, and another endpoint."""
    with pytest.raises(ValueError, match="spot markets"):
        channel_params({"channel": "ticker", "symbol": "PF_XBTUSD", "asset_class": "derivatives"})
    with pytest.raises(ValueError, match="spot, uws"):
        SpotWSClient(endpoint="unified")


@pytest.mark.parametrize(
    ("urls", "level3"),
    [
        ({"auth_ws_url": "ws://127.0.0.1:1/v2/private"}, "ws://127.0.0.1:1/v2"),
        ({"auth_ws_url": "ws://127.0.0.1:1", "endpoint": "uws"}, "ws://127.0.0.1:1/v2"),
        ({"auth_ws_url": "ws://127.0.0.1:1?a=b"}, "ws://127.0.0.1:1/v2?a=b"),
    ],
)
def test_where_level3_is(urls: Dict[str, Any], level3: str) -> None:
    """Never on the path of the Unified WebSocket."""
    client = SpotWSClient(ws_url="ws://127.0.0.1:1", rest_url="http://127.0.0.1:1", **urls)
    assert client._ks_runtime.endpoints["level3"].url == level3


@pytest.mark.parametrize(
    ("name", "path"), [("ws_url", "private"), ("auth_ws_url", "public"), ("level3_ws_url", "private")]
)
def test_paths_of_another_kind(name: str, path: str) -> None:
    """A token must not go to the public path."""
    with pytest.raises(ValueError, match=f"given as {name}"):
        SpotWSClient(**{name: f"wss://uws.kraken.com/v2/{path}"})


def test_the_simulator_wants_it(exchange: Simulator) -> None:
    """In the Unified WebSocket a request without it is refused."""
    with connect(f"{exchange.ws_url}/v2/public") as line:
        assert json.loads(line.recv())["channel"] == "status"
        for params, success in (({}, False), ({"asset_class": "spot"}, True)):
            ask = {"method": "subscribe", "params": {"channel": "ticker", "symbol": [S], **params}}
            line.send(json.dumps(ask))
            assert json.loads(line.recv())["success"] is success
