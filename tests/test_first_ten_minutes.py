"""What a newcomer meets first; what is not here is in the tests of the client, the books and the command."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import Any, Callable

import pytest
from conftest import WAIT, eventually

from kraken_sync import BookNotLive, BookState, ReplyTimeout, SpotWSClient, WSState
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
        r"BTC/USD is STALE \((silent|not proven) for .* s.*\)\. book\.stale reads",
        str(caught.value),
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


def test_bug_in_a_handler_is_visible_without_logging(exchange: Simulator) -> None:
    """A program that set up no logging sees a traceback, once."""
    code = (
        "import sys, threading; from kraken_sync import SpotWSClient; done = threading.Event()\n"
        "def handler(message):\n"
        "    message.get('channel') == 'status' or done.set()\n"
        "    message['nope']\n"
        "with SpotWSClient(callback=handler, ws_url=sys.argv[1]) as client:\n"
        "    client.trades('BTC/USD', snapshot=True); done.wait(10)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, exchange.ws_url], capture_output=True, text=True, timeout=40
    )

    assert done.returncode == 0
    assert done.stderr.count("Traceback") == 1
    assert "KeyError: 'nope'" in done.stderr


def test_async_handlers_are_refused() -> None:
    """The habit of another library is told at once."""

    async def handler(message: Any) -> None: ...

    class Client(SpotWSClient):
        async def on_message(self, message: Any) -> None: ...

    with pytest.raises(TypeError, match="handler must be a plain function: drop the 'async'"):
        SpotWSClient(callback=handler)
    with pytest.raises(TypeError, match="on_message must be a plain function"):
        Client()


def test_figures_outlive_the_client(exchange: Simulator) -> None:
    """What happened can be read after the with block."""
    with SpotWSClient(ws_url=exchange.ws_url) as client:
        client.book("BTC/USD")

    assert client.stats()["verified"] == 1
    assert client.stats()["state"] == "CLOSED"
    assert client.gaps() == []


def test_messages_start_the_client(new_client: Callable[..., SpotWSClient]) -> None:
    """Reading everything needs no start()."""
    assert next(new_client().messages)["channel"] == "status"


@pytest.mark.parametrize(
    ("mistake", "words"),
    [
        (lambda client, book: client.messages.get("5"), "timeout must be seconds"),
        (lambda client, book: client.trades("BTC/USD", timeout=float("nan")), "timeout must be seconds"),
        (lambda client, book: next(book.changes("x")), "timeout must be seconds"),
        (lambda client, book: book.wait_until(5), "predicate must be callable"),
        (lambda client, book: book.vwap("buy", "abc"), "qty must be a number"),
        (lambda client, book: book.vwap("buy", None), "qty must be a number"),
        (lambda client, book: book.imbalance("5"), "levels must be an int"),
        (lambda client, book: book.snapshot(2.5), "levels must be an int"),
        (lambda client, book: client.symbols(5), "search must be a string"),
        (lambda client, book: SpotWSClient(ws_url=5), "a URL must be a string"),
        (lambda client, book: SpotWSClient(timing=5), "timing must be a Timing"),
        (lambda client, book: SpotWSClient(ws_url="localhost"), "'localhost' is not a WebSocket URL"),
        (lambda client, book: client.book("BTC/USD", depth=10.0), "depth=10.0 is not offered"),
        (lambda client, book: client.subscribe("ticker"), "Pass the params alone"),
        (
            lambda client, book: client.subscribe({"method": "subscribe", "params": {}}),
            "Pass the params alone",
        ),
        (
            lambda client, book: client.subscribe({"channel": "ticker", "symbols": ["BTC/USD"]}),
            "mean 'symbol'?",
        ),
        (
            lambda client, book: client.subscribe({"channel": "trade", "symbol": ["BTC/USD"], 5: 6}),
            "parameter 5",
        ),
        (lambda client, book: client.trades(["BTC/USDD", "foo"]), "'foo' is not traded"),
        (lambda client, book: client.book("BTC"), "Did you mean 'BTC/"),
        (lambda client, book: client.book(5), "pair must be a string"),
    ],
)
def test_mistakes_are_named(client: SpotWSClient, mistake: Callable[..., Any], words: str) -> None:
    """A wrong argument is a sentence about that argument."""
    book = client.book("BTC/USD")
    with pytest.raises((TypeError, ValueError)) as caught:
        mistake(client, book)

    assert words in str(caught.value)


def test_waiting_in_vain_says_so(client: SpotWSClient) -> None:
    """The condition was looked at, and was not true."""
    with pytest.raises(ReplyTimeout, match="not true in any of 1 states of BTC/USD"):
        client.book("BTC/USD").wait_until(lambda state: False, timeout=0.2)


def test_simulator_names_mistakes(exchange: Simulator) -> None:
    """A test with a typo in a fault would prove nothing, so it fails."""
    assert exchange.start() is exchange
    with pytest.raises(AttributeError, match="no such fault: 'bad_checksums'"):
        exchange.faults.bad_checksums = 1
    with pytest.raises(ValueError, match="no such pairs: FOO"):
        exchange.step(1, "FOO")
    with pytest.raises(ValueError, match="system must be one of"):
        exchange.set_system("bla")
    assert exchange.ws_url in repr(exchange)
