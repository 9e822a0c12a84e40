"""Who holds what: leaving takes back the own part of a subscription and no other."""

from __future__ import annotations

import gc
import weakref

import pytest
from conftest import WAIT, S, eventually
from helpers import BOOK, TRADE, background

from kraken_sync import BookNotLive, BookState, SpotWSClient, SubscriptionRefused
from kraken_sync.core.wire.channels import Key
from kraken_sync.simulator import Simulator


def test_timed_out_book_spares_another_caller(client: SpotWSClient, exchange: Simulator) -> None:
    """Two callers wait for one book; the impatient one gives up, the other gets it."""
    exchange.faults.no_snapshot[S] = 1
    patient = background(client.book, S, timeout=WAIT)
    with pytest.raises(BookNotLive):
        client.book(S, timeout=0.2)
    patient["thread"].join(WAIT)

    assert patient["value"].state is BookState.LIVE


def test_closed_books_do_not_count_as_holders(client: SpotWSClient) -> None:
    """A book that was closed long ago does not keep another from unsubscribing."""
    first = client.book(S, 10)
    client.unsubscribe(BOOK)
    client.book(S, 25).unsubscribe()
    eventually(lambda: client.active_public_subscriptions == [])

    assert first.state is BookState.CLOSED


def test_frames_that_are_gone_do_not_fix_the_depth(client: SpotWSClient) -> None:
    """Once raw frames are unsubscribed, a book may have any depth again."""
    frames = client.subscribe({**BOOK, "depth": 10})
    small = client.book(S)
    frames.unsubscribe()
    large = client.book(S, 25)

    assert len(large.bids) == 25
    assert small.state is BookState.LIVE
    client.subscribe({**BOOK, "depth": 25}).unsubscribe()
    assert len(client.book(S, 100).bids) == 100


def test_refused_call_spares_a_book_made_meanwhile(client: SpotWSClient, exchange: Simulator) -> None:
    """Undoing a refused subscribe takes back its own part only."""
    client.symbols()
    exchange.faults.ack_delay = 0.2
    exchange.faults.refused.add("ETH/USD")
    refused = background(client.subscribe, {"channel": "book", "symbol": [S, "ETH/USD"]})
    eventually(lambda: len(exchange.requests("subscribe")) == 2)
    book = client.book(S)
    refused["thread"].join(WAIT)
    exchange.faults.ack_delay = 0.0

    assert isinstance(refused["error"], SubscriptionRefused)
    assert client.send_message({"method": "ping"})
    assert book.state is BookState.LIVE


def test_refused_call_leaves_nothing_behind(client: SpotWSClient, exchange: Simulator) -> None:
    """What others let go while a refused call was on its way is let go."""
    first = client.trades(S)
    client.symbols()
    exchange.faults.ack_delay = 0.2
    exchange.faults.refused.add("ETH/USD")
    refused = background(client.subscribe, {"channel": "trade", "symbol": [S, "SOL/USD", "ETH/USD"]})
    eventually(lambda: len(exchange.requests("subscribe")) >= 3)
    first.unsubscribe()
    refused["thread"].join(WAIT)

    eventually(lambda: client.active_public_subscriptions == [])


def test_other_peoples_holds_survive(client: SpotWSClient) -> None:
    """A stream that ends, even twice, and the table of symbols end nobody else's subscription."""
    assert client.messages is not None
    client.send_message({"method": "subscribe", "params": {"channel": "instrument"}})
    client.send_message({"method": "subscribe", "params": TRADE})
    client.symbols("BTC")
    with client.trades(S) as stream:
        stream.unsubscribe()

    assert sorted(one["channel"] for one in client.active_public_subscriptions) == ["instrument", "trade"]


def test_dropped_streams_leave_nothing(client: SpotWSClient, exchange: Simulator) -> None:
    """A stream that nobody holds is gone, and so is every trace of it."""
    client.ticker(S, event_trigger="bbo")
    gone = weakref.ref(client.ticker(S, event_trigger="bbo"))
    for _ in range(50):
        client.ticker(S, event_trigger="bbo")
    exchange.step(50, [S])
    client.send_message({"method": "ping"})
    eventually(lambda: gc.collect() is not None and gone() is None)
    holder = client.ticker(S, event_trigger="bbo")

    assert len(holder._connection._room.holders.refs(Key("ticker", S))) == 1


def test_old_book_ends_no_new_one(client: SpotWSClient) -> None:
    """Unsubscribing a book that has ended already, or twice, concerns nobody else."""
    first = client.book(S)
    client.unsubscribe(BOOK)
    second = client.book(S)
    first.unsubscribe()
    assert second.state is BookState.LIVE
    second.unsubscribe()
    third = client.book(S)
    second.unsubscribe()

    assert client.send_message({"method": "ping"})
    assert third.state is BookState.LIVE


def test_polled_book_is_one_hold(client: SpotWSClient, exchange: Simulator) -> None:
    """Asking for the book in a loop piles nothing up, and one unsubscribe ends it."""
    for _ in range(50):
        assert client.book(S).best_bid is not None
    client.book(S).unsubscribe()
    eventually(lambda: client.active_public_subscriptions == [])

    assert len(exchange.requests("subscribe")) == 1


def test_frames_gone_while_a_book_is_awaited(client: SpotWSClient, exchange: Simulator) -> None:
    """A book that waited beside raw frames is not taken for raw frames later."""
    exchange.faults.no_snapshot[S] = 1
    frames = client.subscribe({**BOOK, "depth": 10})
    waiting = background(client.book, S, timeout=WAIT)
    eventually(
        lambda: (
            len(client._ks_runtime.connection("public")._room.holders._holders.get(Key("book", S), ())) == 1
        )
    )
    frames.unsubscribe()
    waiting["thread"].join(WAIT)

    assert len(client.book(S, 25).bids) == 25
