"""A book that is wrong or late is never shown, and is fetched anew in its turn."""

from __future__ import annotations

import itertools
import threading
import time
from typing import List

import pytest
from conftest import FAST, WAIT, S, eventually
from helpers import BOOK, levels

from kraken_sync import BookNotLive, BookState, SpotWSClient
from kraken_sync.core.book.book import Book
from kraken_sync.core.book.sync import BookSync
from kraken_sync.simulator import Simulator


@pytest.mark.parametrize("fault", ["bad_checksum", "skip_update"])
def test_mismatch_resyncs_that_symbol_only(client: SpotWSClient, exchange: Simulator, fault: str) -> None:
    """A wrong checksum or a lost update is noticed; that one symbol is fetched anew, others go on."""
    book, other = client.book("BTC/USD"), client.book("ETH/USD")
    first = book.snapshot()
    getattr(exchange.faults, fault)["BTC/USD"] = 1
    for _ in range(30):
        exchange.step(5, ["BTC/USD", "ETH/USD"])
    fresh = book.wait_until(lambda state: state.generation > first.generation, timeout=WAIT)

    assert fresh.state == "LIVE"
    eventually(lambda: levels(book, exchange, 10) and levels(other, exchange, 10))
    assert client.stats()["mismatched"] == 1
    assert [(gap["symbol"], gap["reason"]) for gap in client.gaps()] == [("BTC/USD", "checksum mismatch")]
    symbols = [request["params"]["symbol"] for request in exchange.requests("unsubscribe")]
    assert symbols == [["BTC/USD"]]
    assert other.snapshot().generation == 1


def test_bad_snapshot_is_never_shown(client: SpotWSClient, exchange: Simulator) -> None:
    """Snapshots are verified, too: a wrong one is not LIVE, and another is asked for."""
    exchange.faults.bad_snapshot["BTC/USD"] = 2
    book = client.book("BTC/USD")

    assert book.state is BookState.LIVE
    assert client.stats()["mismatched"] == 2
    assert levels(book, exchange, 10)


def test_endless_mismatches_do_not_storm(client: SpotWSClient, exchange: Simulator) -> None:
    """A symbol that never verifies is asked for ever more slowly, and its caller is told."""
    exchange.faults.bad_snapshot["BTC/USD"] = 1000
    other = client.book("ETH/USD")
    with pytest.raises(BookNotLive, match="no verified snapshot of BTC/USD within 2"):
        client.book("BTC/USD", timeout=2.5)

    assert len(exchange.requests("subscribe")) <= 1 + 4
    assert other.state is BookState.LIVE


def test_missing_snapshot_is_asked_for_again(client: SpotWSClient, exchange: Simulator) -> None:
    """Acknowledged, but mute: the symbol is subscribed anew, and the connection stays."""
    exchange.faults.no_snapshot["BTC/USD"] = 1
    book = client.book("BTC/USD")

    assert book.state is BookState.LIVE
    assert exchange.connections == 1


def test_book_timeout_says_why(client: SpotWSClient, exchange: Simulator) -> None:
    """No verified snapshot in time is an error that tells what is known, and leaves nothing behind."""
    exchange.faults.no_snapshot["BTC/USD"] = 1000
    with pytest.raises(BookNotLive, match="waiting for the first snapshot") as caught:
        client.book("BTC/USD", timeout=0.6)

    assert caught.value.symbol == "BTC/USD"
    assert client.active_public_subscriptions == []


def test_raw_frames_tell_mismatches(client: SpotWSClient, exchange: Simulator) -> None:
    """Book frames are verified as well: instead of a bad one comes a gap, then a fresh snapshot."""
    frames = client.subscribe({"channel": "book", "symbol": ["BTC/USD"]})
    exchange.step(30, ["BTC/USD"])
    exchange.faults.bad_checksum["BTC/USD"] = 1
    exchange.step(30, ["BTC/USD"])
    kinds: List[str] = []
    while kinds[-2:] != ["gap", "snapshot"]:
        kinds.append(frames.get(WAIT)["type"])

    assert [kind for kind, _ in itertools.groupby(kinds)] == ["snapshot", "update", "gap", "snapshot"]
    assert frames.gaps[0]["reason"] == "checksum mismatch"


def test_unsubscribe_during_backoff(client: SpotWSClient, exchange: Simulator) -> None:
    """A symbol that waits for its next resync can be left at once."""
    client.book(S)
    exchange.faults.bad_snapshot[S] = exchange.faults.bad_checksum[S] = 1000
    exchange.step(100, [S])
    eventually(lambda: client.stats()["mismatched"] >= 3)

    client.unsubscribe(BOOK, timeout=2.0)


def test_resync_backoff_grows_to_the_end() -> None:
    """Waiting for a resync is not being LIVE, so it does not reset the backoff."""
    sync, now, waits = BookSync(S, 10, Book), 1000.0, []
    for _ in range(10):
        waits.append(sync.resync_delay(now))
        now += waits[-1] + 0.1

    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_healthy_book_is_not_resubscribed(client: SpotWSClient, exchange: Simulator) -> None:
    """A snapshot that came before a lost ack counts."""
    exchange.faults.drop_acks = 1
    book = client.book(S)
    end = time.monotonic() + 3 * FAST.first_data_timeout
    while time.monotonic() < end:
        exchange.step(50, [S])
        threading.Event().wait(0.05)

    assert book.snapshot().generation == 1
    assert client.gaps() == []
    assert exchange.requests("unsubscribe") == []


def test_book_in_backoff_says_so(client: SpotWSClient, exchange: Simulator) -> None:
    """A further caller of a book that waits for its resync is told that."""
    client.book(S)
    exchange.faults.bad_snapshot[S] = exchange.faults.bad_checksum[S] = 1000
    exchange.step(100, [S])
    eventually(lambda: client.stats()["mismatched"] >= 3)
    with pytest.raises(BookNotLive, match="checksum mismatch") as caught:
        client.book(S, 25, timeout=0.3)

    assert caught.value.symbol == S
