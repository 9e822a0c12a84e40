"""A port from python-kraken-sdk: change the import, delete ``async`` and ``await``."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, WAIT, S

from kraken_sync import (
    CredentialsMissing,
    OrderOutcomeUnknown,
    Outcome,
    SpotWSClient,
    SubscriptionRefused,
    UnknownChannel,
    WSState,
)
from kraken_sync.simulator import Simulator

HERE = Path(__file__).parent
EXAMPLES = sorted((HERE.parent / "examples" / "porting").glob("*.py"))
SAID = {
    "authenticated_class": ["'channel': 'ticker'", "'channel': 'executions'"],
    "callback_instance": ["'channel': 'ticker'"],
    "context_manager": ["'channel': 'ticker'"],
    "custom_class": ["'channel': 'ticker'"],
    "order_book_callback": ["'channel': 'book'", "'type': 'update'"],
    "order_book_class": ["Bid     Volume", "('"],
    "other_instances": ["CONNECTED", "900"],
    "trading_messages": [
        "'order_id'",
        "original_order_id",
        "amend_id",
        "EOrder:Invalid order",
        "triggerTime",
        "'count': 0",
        "'channel': 'book'",
    ],
}


def calling_back(new_client: Callable[..., SpotWSClient]) -> Tuple[SpotWSClient, queue.Queue[Any]]:
    """A client with a key, and what its callback is called with."""
    messages: queue.Queue[Any] = queue.Queue()
    return new_client(key=CANARY_KEY, secret=CANARY_SECRET, callback=messages.put), messages


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_of_the_manual(path: Path, tmp_path: Path) -> None:
    """Each runs as it stands; only the hosts are others."""
    with Simulator(rate=300, tier=None) as exchange:
        environment = {
            **os.environ,
            "KRAKEN_API_KEY": exchange.key,
            "KRAKEN_API_SECRET": exchange.secret,
            "WS_URL": exchange.ws_url,
            "AUTH_WS_URL": exchange.auth_ws_url,
            "REST_URL": exchange.rest_url,
        }
        urls = [exchange.ws_url, exchange.auth_ws_url, exchange.rest_url]
        lines = {"other_instances": "2", "order_book_class": "40"}.get(path.stem, "12")
        done = subprocess.run(
            [sys.executable, str(HERE / "run_port.py"), str(path), *urls, lines],
            capture_output=True,
            text=True,
            timeout=50,
            env=environment,
        )
        assert not exchange.errors

    assert (done.returncode, done.stderr) == (0, "")
    assert [words for words in SAID[path.stem] if words not in done.stdout] == []
    assert "async " not in path.read_text("utf-8").split('"""', 2)[2]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ([], "The ``message`` must be type dict!"),
        ({}, "The message must contain the ``method`` key with a valid string!"),
        ({"method": 5}, "The message must contain the ``method`` key with a valid string!"),
        ({"method": "subscribe"}, "The message must contain the ``params`` key with a value as type dict!"),
        (
            {"method": "unsubscribe", "params": []},
            "The message must contain the ``params`` key with a value as",
        ),
        (
            {"method": "subscribe", "params": {}},
            "The message must contain the ``params`` key with a value as type dict!",
        ),
        (
            {"method": "subscribe", "params": {"channel": ""}},
            "The message must contain the ``params`` key that points to a dictionary containing the ",
        ),
        ({"method": ""}, "The message must contain the ``method`` key with a valid string!"),
    ],
)
def test_checks_have_the_same_texts(client: SpotWSClient, message: Any, words: str) -> None:
    """TypeErrors that a port may match."""
    with pytest.raises(TypeError, match=words):
        client.send_message(message)
    with pytest.raises(TypeError, match=words):
        client.send_message(message, raw=True)


def test_names(trader: SpotWSClient) -> None:
    """The lists, and what stands in them."""
    assert trader.public_channel_names == ["book", "instrument", "ohlc", "ticker", "trade"]
    assert trader.private_channel_names == ["balances", "executions", "level3"]
    assert set(trader.private_methods) == {
        "add_order",
        "amend_order",
        "batch_add",
        "batch_cancel",
        "cancel_all",
        "cancel_all_orders_after",
        "cancel_order",
        "edit_order",
    }
    assert SpotWSClient.WS_URL == "wss://ws.kraken.com"
    assert SpotWSClient.AUTH_WS_URL == "wss://ws-auth.kraken.com"
    assert SpotWSClient.API_V == "/v2"


def test_overridden_names_change_what_is_accepted_and_where_it_goes(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """A channel that only the user knows, on the side that the user says."""

    class More(SpotWSClient):
        @property
        def private_channel_names(self) -> List[str]:
            return [*super().private_channel_names, "secret_feed"]

        @property
        def public_channel_names(self) -> List[str]:
            return [name for name in super().public_channel_names if name != "trade"]

        @property
        def private_methods(self) -> List[str]:
            return [*super().private_methods, "get_moon"]

    client = new_client(More, key=CANARY_KEY, secret=CANARY_SECRET)
    client.start()
    with pytest.raises(SubscriptionRefused, match="Subscription name invalid|Public market data"):
        client.subscribe({"channel": "secret_feed"})
    with pytest.raises(UnknownChannel, match="trade"):
        client.subscribe({"channel": "trade", "symbol": [S]})
    with pytest.raises(Exception, match="Unsupported event"):
        client.send_message({"method": "get_moon"})
    sent = [request for request in exchange.requests() if request["method"] in ("subscribe", "get_moon")]
    assert all(request["params"]["token"].startswith("CANARY") for request in sent)


def test_private_without_a_key(client: SpotWSClient) -> None:
    """As the SDK's ``KrakenAuthenticationError``, by the name it has here; ``no_public`` as there."""
    with pytest.raises(CredentialsMissing):
        client.send_message({"method": "add_order", "params": {}})
    with pytest.raises(ValueError, match=r"Missing credentials\."):
        client.request("POST", "/0/private/Balance")
    with pytest.raises(ConnectionError, match="Private connection does not exist!"):
        _ = client.active_private_subscriptions


def test_without_the_public_side(new_client: Callable[..., SpotWSClient]) -> None:
    """``no_public=True``: the texts of the SDK."""
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, no_public=True)
    client.start()
    with pytest.raises(ConnectionError, match="Public connection does not exist!"):
        _ = client.active_public_subscriptions
    with pytest.raises(AttributeError, match="Could not found any connected websocket!"):
        client.subscribe({"channel": "ticker", "symbol": [S]})
    client.subscribe({"channel": "executions"})
    assert client.active_private_subscriptions[0]["channel"] == "executions"
    client.unsubscribe({"channel": "executions"})
    assert client.active_private_subscriptions == []
    client.async_close()


def test_a_callback_counts_every_fill_once(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """Also over a reconnect, whose snapshot has the fills for our table; unless they are asked for."""
    client, messages = calling_back(new_client)
    client.subscribe({"channel": "executions"})
    bought = client.add_order(symbol=S, side="buy", order_type="market", order_qty="0.01")
    client.orders.wait_filled(bought["order_id"], WAIT)
    exchange.cut()
    counted, snapshots = [], 0
    while snapshots < 2:  # of the first connection, and of the second
        message = messages.get(timeout=WAIT)
        if message.get("channel") == "executions" and message["type"] != "gap":
            snapshots += message["type"] == "snapshot"
            counted += [item["exec_id"] for item in message["data"] if item.get("exec_type") == "trade"]

    assert counted
    assert len(counted) == len(set(counted))


def test_what_nobody_asked_for_is_shown_to_nobody(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """The executions behind an order, and the table of pairs; then they are asked for, and come."""
    client, messages = calling_back(new_client)
    placed = client.add_order(**FAR)
    client.orders.wait_open(placed["order_id"])
    assert client.active_private_subscriptions == []
    with pytest.raises(ValueError, match="NOPE"):
        client.subscribe({"channel": "ticker", "symbol": ["NOPE/USD"]})
    client.subscribe({"channel": "executions", "ratecounter": True}, req_id=4711)
    seen: List[Any] = []
    while not (seen and seen[-1].get("channel") == "executions"):
        seen.append(messages.get(timeout=WAIT))

    assert seen[-1]["type"] == "snapshot"
    channels = {(message.get("result") or {}).get("channel") for message in seen if "method" in message}
    assert "instrument" not in channels
    assert [m["req_id"] for m in seen if m.get("method") == "subscribe" and m["success"]] == [4711]
    assert client.orders[placed["order_id"]].status == "new"
    assert client.active_private_subscriptions[0]["ratecounter"] is True


def test_a_subclass_may_have_names_of_its_own(exchange: Simulator) -> None:
    """``self.orders = {}`` is what bots have; it hides ours, and breaks nothing."""

    class Bot(SpotWSClient):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.orders = {}
            self.messages = self.rest = self.balance = None

        def stats(self) -> Dict[str, Any]:
            return {}

    options = {"ws_url": exchange.ws_url, "auth_ws_url": exchange.auth_ws_url, "rest_url": exchange.rest_url}
    with Bot(key=CANARY_KEY, secret=CANARY_SECRET, timing=FAST, **options) as bot:
        placed = bot.add_order(**FAR)
        assert bot.cancel_order(order_id=[placed["order_id"]]) == [{"order_id": placed["order_id"]}]
        assert bot.orders == {}
        assert "CONNECTED" in repr(bot)
    assert bot.state == "CLOSED"
    assert bot.state is WSState.CLOSED


def test_every_name_may_be_taken(exchange: Simulator) -> None:
    """A bot's own attributes may have any public name of ours that can be set; all goes on inside."""

    class Bot(SpotWSClient):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.taken = set()
            for name in [name for name in dir(SpotWSClient) if not name.startswith("_")]:
                try:
                    setattr(self, name, {"mine": name})
                    self.taken.add(name)
                except AttributeError:
                    pass  # the properties of python-kraken-sdk, which has them read-only, too

    options = {"ws_url": exchange.ws_url, "auth_ws_url": exchange.auth_ws_url, "rest_url": exchange.rest_url}
    bot = Bot(key=CANARY_KEY, secret=CANARY_SECRET, timing=FAST, **options)
    ours = SpotWSClient
    with bot:
        assert "CONNECTED" in repr(bot)
        book = ours.book(bot, S)
        with ours.trades(bot, "XBT/USD", snapshot=True) as trades:
            assert trades.get(WAIT)["symbol"] == S
        with ours.dead_mans_switch(bot, 60) as switch:
            assert switch.left > 50
        exchange.faults.drop_replies = 1
        with pytest.raises(OrderOutcomeUnknown) as caught:
            ours.add_order(bot, **FAR, timeout=1)
        assert ours.reconcile(bot, caught.value).outcome is Outcome.LIVE
        placed = ours.add_order(bot, **FAR)
        ours.amend_order(bot, order_id=placed["order_id"], order_qty="0.02")
        assert ours.cancel_all(bot) == {"count": 2}
        assert ours.request(bot, "POST", "/0/private/Balance")
        assert ours.send_message(bot, {"method": "ping"})["method"] == "pong"
        assert str(book.state) == "LIVE"
    assert str(book.state) == "CLOSED"
    assert bot.taken >= {"orders", "book", "start", "close", "subscribe", "request", "on_message", "rest"}
    assert all(getattr(bot, name) == {"mine": name} for name in bot.taken)


def test_no_key_given_is_no_key(exchange: Simulator) -> None:
    """``key=os.getenv(...)`` of what is not set."""
    with SpotWSClient(key=None, secret=None, ws_url=exchange.ws_url, timing=FAST) as client:
        assert client.active_public_subscriptions == []
    assert client.active_public_subscriptions == []
