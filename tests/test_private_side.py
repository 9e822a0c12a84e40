"""The private side: keys, permissions, tokens, hosts."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAR, FAST, WAIT, S, eventually, within
from facts import fact
from helpers import background, interrupted, status

from kraken_sync import (
    ConnectFailed,
    CredentialsInvalid,
    CredentialsMissing,
    KrakenError,
    OrderNotSent,
    OrderRejected,
    PermissionRefused,
    SpotWSClient,
    SubscriptionRefused,
)
from kraken_sync.core.session.session import Session
from kraken_sync.core.wire.secret import Secret
from kraken_sync.io.connection.tokens import Tokens
from kraken_sync.io.rest import FetchedToken
from kraken_sync.simulator import Simulator


def test_key_and_secret_open_the_private_side_at_start(trader: SpotWSClient, exchange: Simulator) -> None:
    """As arguments they do; a client without them has one connection."""
    assert trader.stats()["private"]["connections"] == 1
    assert exchange.connections == 2


def test_keys_of_the_environment_wait_for_the_first_private_call(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that they can never break a public script."""
    monkeypatch.setenv("KRAKEN_API_KEY", CANARY_KEY)
    monkeypatch.setenv("KRAKEN_API_SECRET", CANARY_SECRET)
    client = new_client()
    client.start()
    assert exchange.connections == 1
    assert client.balance["USD"] == 250000
    assert exchange.connections == 2


def test_no_key(client: SpotWSClient) -> None:
    """Every private thing says what is missing."""
    for act in (
        lambda: client.add_order(**FAR),
        lambda: dict(client.orders),
        lambda: client.executions(),
        lambda: client.get_ws_token(),
        lambda: client.send_message({"method": "cancel_all"}),
    ):
        with pytest.raises(CredentialsMissing, match="KRAKEN_API_KEY"):
            act()


@fact("stale tokens")
def test_a_wrong_key_stops_at_once(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """One request, one clear error; no hammering."""
    client = new_client(key="unknown", secret=CANARY_SECRET)
    with pytest.raises(CredentialsInvalid, match="does not know this API key"):
        client.start()
    exchange.add_key("other", "b3RoZXI=")
    again = new_client(key="other", secret=CANARY_SECRET)
    with pytest.raises(CredentialsInvalid, match="does not belong"):
        again.start()


def test_missing_permissions_are_named(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """For tokens, channels, REST and orders, in the words of Kraken's page of API keys."""
    exchange.add_key("deaf", CANARY_SECRET, ["query_funds"])
    with pytest.raises(PermissionRefused, match="WebSocket interface") as caught:
        new_client(key="deaf", secret=CANARY_SECRET).start()
    assert caught.value.permission == "WebSocket interface - On"

    exchange.add_key("blind", CANARY_SECRET, ["websockets", "modify_orders"])
    client = new_client(key="blind", secret=CANARY_SECRET)
    client.start()
    with pytest.raises(PermissionRefused, match="Query open orders"):
        dict(client.orders)
    with pytest.raises(PermissionRefused, match="Funds permissions"):
        dict(client.balance)
    with pytest.raises(PermissionRefused, match="Query"):
        client.subscribe({"channel": "executions"})
    placed = client.add_order(**FAR)
    assert client.cancel_order(order_id=placed["order_id"]) == {"order_id": placed["order_id"]}

    exchange.add_key("watching", CANARY_SECRET, ["websockets", "query_orders"])
    watching = new_client(key="watching", secret=CANARY_SECRET)
    with pytest.raises(OrderRejected, match="Create & modify orders"):
        watching.add_order(**FAR)


def test_private_subscriptions_survive_with_a_fresh_token(trader: SpotWSClient, exchange: Simulator) -> None:
    """Executions, balances and level3 come back after a cut, though every old token is dead."""
    executions = trader.subscribe({"channel": "executions"})
    balances = trader.balances()
    orders = trader.level3("BTC/USD", gaps=True)
    assert next(iter(orders))["symbol"] == S
    exchange.revoke_tokens()
    exchange.cut()
    eventually(lambda: trader.stats()["private"]["reconnects"] and trader.stats()["level3"]["reconnects"])
    exchange.fund("EUR", 5)

    assert eventually(lambda: trader.balance.stale["EUR"] == 50005 or None)
    kinds = [executions.get(WAIT)["type"] for _ in range(3)]
    assert kinds == ["snapshot", "gap", "snapshot"]
    assert any(item.get("asset") == "EUR" and item["balance"] == 50005.0 for item in balances)
    found = [next(orders) for _ in range(2)]
    assert found[0]["type"] == "gap"


@fact("stale tokens")
def test_a_token_that_dies_is_renewed(trader: SpotWSClient, exchange: Simulator) -> None:
    """In an order call and in a subscription; the order is taken once."""
    exchange.revoke_tokens()
    placed = trader.add_order(**FAR)
    assert status(exchange, placed["order_id"]) == "new"
    assert len(exchange.orders()) == 1
    trader.orders.wait_live(WAIT)  # or a token that is on its way for it would be revoked, too
    exchange.revoke_tokens()
    assert trader.balance["BTC"] == 5
    assert trader.stats()["private"]["reconnects"] == 0


def test_a_token_that_was_on_its_way(trader: SpotWSClient, exchange: Simulator) -> None:
    """Who asks after a refusal does not share a token that was asked for before it."""
    rest, issued = trader._ks_runtime.rest, exchange.exchange.credentials.tokens
    trader.orders.wait_live(WAIT)
    before = len(issued)
    exchange.faults.rest_delay = 0.5  # a token is issued, and its answer comes so much later
    deadline = time.monotonic() + WAIT
    asking = [background(rest.ws_token, deadline) for _ in range(2)]
    eventually(lambda: len(issued) > before)
    refused_at = time.monotonic()
    late = rest.ws_token(deadline, refused_at)
    for one in asking:
        one["thread"].join(WAIT)
    first, second = (one["value"].result["token"].reveal() for one in asking)

    assert first == second != late.result["token"].reveal()
    assert late.asked_at >= refused_at


class Line:
    """A connection for :class:`Tokens`: a session, and nothing else."""

    def __init__(self) -> None:
        self.session = Session(FAST, private=True)
        self.session.opened(0.0)
        self.session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)

    def read(self, question: Callable[[Session], Any]) -> Any:
        return question(self.session)

    change = read

    def refuse(self) -> None:
        """A request with the present token is refused."""
        self.session._token_refused(None, time.monotonic())


def test_a_thread_that_comes_late_with_its_token() -> None:
    """Another has used the same one meanwhile, and it was refused since: it is not used again."""
    line = Line()
    line.refuse()
    answers = ["shared", "fresh"]

    class Answers:
        def ws_token(self, deadline: Any, since: float) -> FetchedToken:
            asked_at, text = time.monotonic(), answers.pop(0)
            if text == "shared":
                line.session.use_token(Secret(text), time.monotonic())
                line.refuse()
            return FetchedToken({"token": Secret(text)}, asked_at)

    Tokens(Answers(), None, FAST).renew(line, None)

    assert line.session.token == b'"fresh"'
    assert answers == []


def test_a_token_that_is_never_accepted(trader: SpotWSClient, exchange: Simulator) -> None:
    """One renewal, then the truth: refused."""
    exchange.faults.refuse_tokens = 100
    with pytest.raises(OrderRejected, match="ESession:Invalid session"):
        trader.add_order(**FAR)
    with pytest.raises(SubscriptionRefused, match="ESession"):
        trader.subscribe({"channel": "balances"})


@fact("level3 host")
def test_other_hosts_and_level3(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Nobody who names a simulator means the real exchange for one channel."""
    client = SpotWSClient(CANARY_KEY, CANARY_SECRET, ws_url=exchange.ws_url, rest_url=exchange.rest_url)
    with pytest.raises(ValueError, match="level3_ws_url"):
        client.level3(S)
    client.close()


def test_level3_where_python_kraken_sdk_has_it(exchange: Simulator) -> None:
    """The SDK's way: a client whose ``auth_ws_url`` is the level3 host."""
    with SpotWSClient(
        CANARY_KEY,
        CANARY_SECRET,
        no_public=True,
        auth_ws_url=exchange.level3_ws_url,
        rest_url=exchange.rest_url,
    ) as client:
        stream = client.subscribe({"channel": "level3", "symbol": [S]})

        assert stream.get(WAIT)["type"] == "snapshot"


def test_no_connection_to_the_private_side(new_client: Callable[..., SpotWSClient]) -> None:
    """A call that needs it says so within its time."""
    client = new_client(auth_ws_url="ws://127.0.0.1:9", rest_url="http://127.0.0.1:9")
    client.start()
    client._ks_runtime.rest.credentials = SpotWSClient(CANARY_KEY, CANARY_SECRET)._ks_runtime.rest.credentials
    with within(0.6):
        with pytest.raises(OrderNotSent, match="token"):
            client.add_order(**FAR, timeout=0.5)
        with pytest.raises(ConnectFailed, match="token"):
            client.subscribe({"channel": "executions"}, timeout=0.5)


def test_a_token_that_does_not_come(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """REST does not answer: that is the cause, and not the host that nothing was asked of yet."""
    exchange.faults.rest_delay = 60.0
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, no_public=True)
    with pytest.raises(ConnectFailed, match=r"REST gives no WebSocket token within 0\.\d s") as caught:
        client.start(timeout=0.5)
    assert caught.value.step == "token"
    with pytest.raises(OrderNotSent, match="REST gives no WebSocket token"):
        client.add_order(**FAR, timeout=0.5)


def test_a_key_that_is_refused_on_an_open_line(
    new_client: Callable[..., SpotWSClient], exchange: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Its token has died, and no other is given: told as an error, and tried again, since that may pass."""
    trader = new_client(key=CANARY_KEY, secret=CANARY_SECRET)
    placed = trader.add_order(**FAR)
    trader.orders.wait_open(placed["order_id"])
    exchange.call(lambda: exchange.exchange.credentials.keys.pop(CANARY_KEY))
    exchange.revoke_tokens()
    with pytest.raises(KrakenError):
        trader.cancel_order(order_id=placed["order_id"], timeout=0.5)
    eventually(lambda: "EAPI:Invalid key" in caplog.text)
    exchange.add_key(CANARY_KEY, CANARY_SECRET)

    assert trader.orders.wait_open(placed["order_id"], timeout=WAIT).status == "new"
    assert not trader.exception_occur


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_token_fetch_leaves_nobody_waiting(trader: SpotWSClient, exchange: Simulator) -> None:
    """The next caller has its token, though the one who began was interrupted."""
    exchange.faults.rest_delay = 3.0
    tokens = exchange.exchange.credentials.tokens
    given = len(tokens)
    with interrupted(lambda: len(tokens) > given):
        trader.get_ws_token()
    exchange.faults.rest_delay = 0.0

    assert trader.get_ws_token(timeout=5)["token"]
    eventually(lambda: not [one for one in threading.enumerate() if "kraken-sync-rest" in one.name])


def test_no_key_is_told_at_once() -> None:
    """Not after the timeout of the question."""
    client = SpotWSClient(ws_url="ws://127.0.0.1:1", timing=FAST)
    with pytest.raises(CredentialsMissing):
        client.reconcile("x")
