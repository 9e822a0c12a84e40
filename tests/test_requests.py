"""Requests on their way: their ids, their replies, and whose reply it is."""

from __future__ import annotations

import json
import threading
from typing import Any, List

import pytest
from conftest import WAIT, S, eventually, within
from facts import fact
from helpers import TRADE, background

from kraken_sync import (
    ConnectionLost,
    CredentialsMissing,
    RateLimited,
    ReplyTimeout,
    RequestRefused,
    SpotWSClient,
    UnknownChannel,
    WSState,
)
from kraken_sync.core.session.requests import FIRST_REQ_ID, InFlight, Request
from kraken_sync.core.session.session import Session
from kraken_sync.core.timing import Timing
from kraken_sync.core.wire.channels import channel_params
from kraken_sync.simulator import Simulator


def test_one_req_id_for_all_answers(client: SpotWSClient, exchange: Simulator) -> None:
    """A request of several symbols has one req_id, and each symbol its own answer with it."""
    replies = client.send_message(
        {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD", "ETH/USD"]}, "req_id": 7}
    )

    assert [reply["req_id"] for reply in replies] == [7, 7]
    assert [reply["result"]["symbol"] for reply in replies] == ["BTC/USD", "ETH/USD"]
    assert len(exchange.requests("subscribe")) == 1


def test_send_message(client: SpotWSClient, exchange: Simulator) -> None:
    """Requests are answered with the reply, or raise the exchange's refusal."""
    reply = client.send_message({"method": "ping", "req_id": 101})
    assert (reply["method"], reply["req_id"]) == ("pong", 101)
    with pytest.raises(RequestRefused, match="Unsupported event") as caught:
        client.send_message({"method": "dance"})
    assert caught.value.method == "dance"
    assert client.send_message({"method": "ping", "req_id": 5}, raw=True) is None
    with pytest.raises(CredentialsMissing):
        client.send_message({"method": "add_order", "params": {}})
    with pytest.raises(CredentialsMissing):
        client.subscribe({"channel": "executions"})
    reply = client.send_message({"method": "subscribe", "params": TRADE})
    assert reply["result"]["symbol"] == "BTC/USD"
    assert client.send_message({"method": "subscribe", "params": TRADE}) is None
    reply = client.send_message({"method": "unsubscribe", "params": TRADE})
    assert reply["success"]


def test_req_id_in_use(client: SpotWSClient, exchange: Simulator) -> None:
    """A req_id that waits for its answer cannot be used again."""
    exchange.faults.drop_pongs = True
    waiter = threading.Thread(
        target=lambda: pytest.raises(
            ReplyTimeout, client.send_message, {"method": "ping", "req_id": 9}, timeout=1.0
        )
    )
    waiter.start()
    eventually(lambda: [one for one in exchange.requests("ping") if one.get("req_id") == 9])
    with pytest.raises(ValueError, match="req_id 9 is in use"):
        client.send_message({"method": "ping", "req_id": 9})
    with pytest.raises(TypeError, match="req_id must be an int"):
        client.subscribe(TRADE, req_id="7")
    waiter.join(WAIT)


def test_lost_reply(client: SpotWSClient, exchange: Simulator) -> None:
    """A request whose connection ends says so at once, not at its timeout."""
    exchange.faults.drop_pongs = True
    threading.Timer(0.2, exchange.cut).start()
    with within(0.6):
        with pytest.raises(ConnectionLost, match="ended before the reply"):
            client.send_message({"method": "ping"}, timeout=WAIT)


def test_rate_limited_request(client: SpotWSClient, exchange: Simulator) -> None:
    """A plain request that is refused for its rate raises an error of its own."""
    exchange.faults.message_rate = 0
    with pytest.raises(RateLimited, match="Exceeded msg rate"):
        client.send_message({"method": "ping"})


def test_req_id_waiting_to_be_sent_is_in_use(client: SpotWSClient, exchange: Simulator) -> None:
    """Two requests with one id cannot both be on their way, sent or not."""
    exchange.faults.refuse_connections = 10**6
    exchange.cut()
    eventually(lambda: client.state is WSState.RECONNECTING)
    first = background(client.subscribe, TRADE, 7, timeout=WAIT)
    eventually(lambda: client.stats()["subscriptions"] == 1)
    with pytest.raises(ValueError, match="in use"):
        client.subscribe({"channel": "ticker", "symbol": [S]}, 7)
    exchange.faults.refuse_connections = 0
    first["thread"].join(WAIT)

    assert first["value"].channel == "trade"


def test_req_id_is_free_after_a_timeout(client: SpotWSClient, exchange: Simulator) -> None:
    """An id whose answer never came can be used again."""
    exchange.faults.drop_acks = 1
    with pytest.raises(ReplyTimeout):
        client.subscribe(TRADE, 7, timeout=0.2)
    eventually(lambda: client.stats()["subscriptions"] == 0)

    assert client.subscribe(TRADE, 7).channel == "trade"


def test_replies_are_of_the_own_request(client: SpotWSClient, exchange: Simulator) -> None:
    """A subscribe right after an unsubscribe returns its own reply only, also when it was slowed down."""
    exchange.faults.ack_delay = 0.1
    client.trades(S).unsubscribe()
    reply = client.send_message({"method": "subscribe", "params": TRADE})
    assert (reply["method"], reply["success"]) == ("subscribe", True)
    exchange.faults.message_rate = 1
    reply = client.send_message(
        {"method": "subscribe", "params": {"channel": "trade", "symbol": ["ETH/USD"]}}
    )
    assert (reply["method"], reply["success"]) == ("subscribe", True)


def test_an_interrupt_does_not_end_the_request_ids() -> None:
    """A Ctrl-C while an id is looked for costs that id and no other."""
    calls: List[int] = []

    def asked(req_id: int) -> bool:
        calls.append(req_id)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return False

    flying = InFlight(asked)
    flying.check_free(FIRST_REQ_ID + 1000)  # a caller's own id among ours: from now on each is looked for
    first = flying.new_id()
    with pytest.raises(KeyboardInterrupt):
        flying.new_id()
    assert flying.new_id() > first


def test_one_refusal_of_several_does_not_end_the_others() -> None:
    """Each order of a cancel has its own reply, also when the first says no."""
    flying = InFlight(lambda req_id: False)
    request = Request("cancel_order", replies=2, own_id=5)
    flying.add(request, 0.0)
    reply: Any = object()
    flying.replied(request, reply, "EOrder:Rate limit exceeded")
    assert not request.done
    flying.replied(request, reply, "")
    assert request.done


@fact("req_id")
def test_a_text_is_no_req_id(client: SpotWSClient, exchange: Simulator) -> None:
    """It is not sent, and a reply that has one belongs to no request."""
    with pytest.raises(TypeError, match="req_id must be an int"):
        client.send_message({"method": "ping", "req_id": "7"})
    exchange.faults.drop_pongs = True
    call = background(client.send_message, {"method": "ping", "req_id": 7}, timeout=0.4)
    eventually(lambda: any(one.get("req_id") == 7 for one in exchange.requests("ping")))
    exchange.send_text('{"method":"pong","req_id":"7"}')
    call["thread"].join(WAIT)
    assert isinstance(call["error"], ReplyTimeout)


@fact("status subscribed")
def test_subscribing_to_status(client: SpotWSClient, exchange: Simulator) -> None:
    """The exchange sends it unasked; who asks all the same gets it, a refusal, and no harm is done."""
    with pytest.raises(UnknownChannel, match="sends it on its own"):
        client.subscribe({"channel": "status"})
    messages = client.messages
    client.send_message({"method": "subscribe", "params": {"channel": "status"}, "req_id": 9}, raw=True)
    found = [messages.get(WAIT) for _ in range(2)]
    assert [found[0]["channel"], found[1]["error"]] == ["status", "Symbol(s) not found"]
    assert client.book("BTC/USD").bids


@fact("refused subscriptions")
@pytest.mark.parametrize("error", ["Subscription name invalid", "Currency pair not supported X/Y"])
def test_a_refusal_that_names_nothing(error: str) -> None:
    """Neither channel nor symbol: its req_id alone tells which request it is about."""
    session = Session(Timing())
    session.opened(0.0)
    session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
    refused, other = (
        session.subscriptions.subscribe(channel_params({"channel": "ticker", "symbol": symbol}), req_id)
        for symbol, req_id in (("X/Y", 5), ("BTC/USD", 6))
    )
    session.due(0.1, 0.1, None)
    frame = {"error": error, "method": "subscribe", "req_id": 5, "success": False}
    session.receive(json.dumps(frame).encode(), 0.2)

    assert refused.refused == {"X/Y": error}
    assert not other.done
