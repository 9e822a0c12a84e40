"""What a newcomer meets first; what is not here is in the tests of the client, the books and the command."""

from __future__ import annotations

import logging
import re
from typing import Callable

import pytest
from conftest import WAIT, eventually

from kraken_sync import BookNotLive, BookState, SpotWSClient, WSState
from kraken_sync.simulator import Simulator


def test_older_name_is_told_once(client: SpotWSClient, caplog: pytest.LogCaptureFixture) -> None:
    """XBT/USD works, and says once what it is called today."""
    with caplog.at_level(logging.INFO, "kraken_sync"):
        client.book("XBT/USD")
        client.trades("XBT/USD")

    told = [record.getMessage() for record in caplog.records if "XBT" in record.getMessage()]
    assert told == ["'XBT/USD' is called 'BTC/USD' in WebSocket API v2; using BTC/USD"]


def test_pulled_cable(client: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture) -> None:
    """An outage and its end are two lines of the log; reading meanwhile is refused with the reason."""
    book = client.book("BTC/USD")
    with caplog.at_level(logging.INFO, "kraken_sync"):
        exchange.faults.mute, exchange.faults.refuse_connections = True, 10**6
        eventually(lambda: book.state is BookState.STALE)
        with pytest.raises(BookNotLive) as caught:
            book.best_bid
        eventually(lambda: client.state is WSState.RECONNECTING)
        exchange.faults.mute, exchange.faults.refuse_connections = False, 0
        book.wait_until(lambda state: state.generation == 2, timeout=WAIT)
        eventually(lambda: "is live again" in caplog.text)

    assert re.search(
        r"BTC/USD is STALE \((silent|no message) for .* s.*\)\. book\.stale reads", str(caught.value)
    )
    messages = [record.getMessage() for record in caplog.records]
    assert any(re.search(r"silent for \d\.\d s; reconnecting", message) for message in messages)
    assert any(
        re.search(r"reconnected to .* after \d+\.\d s; restoring 1 subs", message) for message in messages
    )
    assert any(
        re.search(r"book/BTC/USD is live again; \d+\.\d s are missing", message) for message in messages
    )


def test_cell_run_three_times(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Asking for the same book again and again is the same book on one subscription."""
    client = new_client()
    books = [client.book("BTC/USD") for _ in range(3)]

    assert books[0] is books[1] is books[2]
    assert len(exchange.requests("subscribe")) == 1
    assert repr(books[0]).startswith("<OrderBook BTC/USD LIVE depth 10 age 0")
