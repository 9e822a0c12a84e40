"""What a newcomer meets in the first ten minutes, in 45 rows; each has a test with its number.

The rows that belong to the command are in ``test_cli.py``, those of notebooks in ``test_notebook.py``, those
of proxies and TLS in ``test_proxies.py`` and ``test_transport.py``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import re
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

import pytest
from conftest import FAR, WAIT, eventually, within

import kraken_sync
from kraken_sync import (
    BookNotLive,
    BookSnapshot,
    BookState,
    ConnectFailed,
    CredentialsInvalid,
    CredentialsMissing,
    OrderOutcomeUnknown,
    PermissionRefused,
    ReplyTimeout,
    RequestRefused,
    SpotWSClient,
    StreamTimeout,
    SubscriptionRefused,
    UnknownChannel,
    UnknownSymbol,
    WSState,
)
from kraken_sync.simulator import Simulator


def test_row_06_an_older_name_is_told_once(client: SpotWSClient, caplog: pytest.LogCaptureFixture) -> None:
    """Row 6: XBT/USD works, and says once what it is called today."""
    with caplog.at_level(logging.INFO, "kraken_sync"):
        client.book("XBT/USD")
        client.trades("XBT/USD")

    told = [record.getMessage() for record in caplog.records if "XBT" in record.getMessage()]
    assert told == ["'XBT/USD' is called 'BTC/USD' in WebSocket API v2; using BTC/USD"]


def test_rows_28_and_29_a_pulled_cable(
    client: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Rows 28 and 29: an outage and its end are two lines of the log; reading meanwhile is refused."""
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


def test_row_31_a_bug_in_a_handler_is_visible_without_logging(exchange: Simulator) -> None:
    """Row 31: a program that set up no logging sees a traceback, once."""
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


# -- the rows -------------------------------------------------------------------------------------


def python(code: str, *args: str, options: Tuple[str, ...] = (), **environment: str) -> Any:
    """Run a program of a newcomer's."""
    return subprocess.run(
        [sys.executable, *options, "-c", code, *args],
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, **environment},
    )


def test_every_row_has_a_test() -> None:
    """None of the 45 is forgotten."""
    found = set()
    for path in Path(__file__).parent.glob("test_*.py"):
        for numbers in re.findall(r"def test_rows?_((?:\d\d_(?:and_)?)+)", path.read_text("utf-8")):
            found.update(map(int, re.findall(r"\d\d", numbers)))
    assert found == set(range(1, 46))


def test_row_01_few_small_packages() -> None:
    """Row 1: four packages, eight with what they need; nothing is compiled but msgspec, which has wheels."""
    needed, queue = set(), ["kraken-sync"]
    while queue:
        for line in metadata.requires(queue.pop()) or ():
            name = re.split(r"[\s<>=!~;\[(]", line)[0].lower()
            if "extra ==" not in line and name not in needed:
                needed.add(name)
                queue.append(name)
    assert needed <= {
        *("msgspec", "requests", "sortedcontainers", "websocket-client"),
        *("certifi", "charset-normalizer", "charset_normalizer", "idna", "urllib3"),
    }


def test_row_02_import() -> None:
    """Row 2: quick, without a thread; the help begins with an example."""
    with within(0.5):  # the interpreter itself included
        code = (
            "import threading, kraken_sync as ks; print(ks.__version__, threading.active_count(), ks.__doc__)"
        )
        done = python(code)
    assert done.stderr == ""
    assert done.stdout.startswith(f"{kraken_sync.__version__} 1 ")
    assert "with SpotWSClient() as client:" in done.stdout
    heavy = python("import sys, kraken_sync; print([n for n in sys.argv[1:] if n in sys.modules])",
                   "pandas", "matplotlib", "rich", "click", "websockets", "IPython", "asyncio")  # fmt: skip
    assert heavy.stdout == "[]\n"


def test_row_05_a_ticker_needs_a_client(client: SpotWSClient) -> None:
    """Row 5, which the design overrides: everything goes through a client, whose threads end with it."""
    assert not hasattr(kraken_sync, "ticker")
    assert client.ticker("BTC/USD").get(WAIT)["symbol"] == "BTC/USD"


@pytest.mark.parametrize("spelling", ["BTCUSD", "btc-usd", "XXBTZUSD", "xbt/usd"])
def test_row_07_spellings(spelling: str, trader: SpotWSClient) -> None:
    """Row 7: data understand them all; orders never guess."""
    assert trader.book(spelling).symbol == "BTC/USD"
    with pytest.raises(UnknownSymbol, match="Did you mean 'BTC/USD'"):
        trader.add_order(**{**FAR, "symbol": spelling})


def test_row_08_a_symbol_that_does_not_exist(client: SpotWSClient) -> None:
    """Row 8: at once, with the nearest names, and how to search."""
    with within(1), pytest.raises(UnknownSymbol) as caught:
        client.book("BTC/USDD")
    assert caught.value.suggestions[0] == "BTC/USD"
    assert "'BTC/USDD' is not traded on Kraken spot. Did you mean 'BTC/USD'" in str(caught.value)
    assert "client.symbols('BTC')" in str(caught.value)


def test_row_09_a_word(client: SpotWSClient) -> None:
    """Row 9: a name is no symbol, but it is found."""
    with pytest.raises(UnknownSymbol, match=r"Did you mean 'BTC/USD' .* Search: client\.symbols\('BTC'\)"):
        client.book("bitcoin")
    assert "BTC/USD" in client.symbols("bitcoin")
    with pytest.raises(UnknownSymbol, match="Symbols look like 'BTC/USD'"):
        client.book("qqqqqq")


def test_row_10_a_channel_that_does_not_exist(client: SpotWSClient) -> None:
    """Row 10: here, with all names."""
    with pytest.raises(UnknownChannel) as caught:
        client.subscribe({"channel": "tickers", "symbol": ["BTC/USD"]})
    assert str(caught.value) == (
        "unknown channel 'tickers'. Did you mean 'ticker'? "
        "Public: book, instrument, ohlc, ticker, trade. Private: balances, executions, level3."
    )


def test_row_11_a_depth_that_does_not_exist(client: SpotWSClient) -> None:
    """Row 11: here, with the choices and the way to do it."""
    with pytest.raises(ValueError) as caught:
        client.book("BTC/USD", depth=50)
    assert str(caught.value) == (
        "depth=50 is not offered by Kraken. Choose 10, 25, 100, 500 or 1000 "
        "(use 100 and read book.bids[:50])."
    )


def test_row_12_no_snapshot(client: SpotWSClient, exchange: Simulator) -> None:
    """Row 12: what is known about a book that does not come."""
    exchange.faults.no_snapshot["BTC/USD"] = 10
    with within(1), pytest.raises(BookNotLive) as caught:
        client.book("BTC/USD", timeout=0.6)
    assert re.search(
        r"no verified snapshot of BTC/USD within 0\.\d s \(.*subscribed 0\.\d s ago, last message .* ago\)\. "
        "The symbol may be halted; the instrument channel tells its status",
        str(caught.value),
    )


def test_row_13_an_empty_side() -> None:
    """Row 13: None, never 0; the repr says it."""
    values = {
        "symbol": "MINA/GBP",
        "depth": 10,
        "state": "LIVE",
        "checksum": 0,
        "timestamp": "",
        "updated": None,
    }
    book = BookSnapshot(
        **values, age=0.1, version=1, generation=1, price_decimals=4, qty_decimals=8,
        _asks=((1611, "16115"),), _bids=(),
    )  # fmt: skip
    assert (book.best_bid, book.spread, book.mid, book.bids) == (None, None, None, ())
    assert book.vwap("sell", 1) is None
    assert "bids: empty" in repr(book)
    assert "bids: empty" in book._repr_html_()


def test_row_14_without_a_close(exchange: Simulator) -> None:
    """Row 14: the script ends by itself; with -X dev one warning names the line."""
    code = "import sys, kraken_sync\nclient = kraken_sync.SpotWSClient(ws_url=sys.argv[1])\nclient.start()"
    with within(2):
        done = python(code, exchange.ws_url, options=("-X", "dev"))
    assert done.returncode == 0
    assert done.stderr.count("ResourceWarning") == 1
    assert 'made at <string>:2 was not closed; use "with SpotWSClient() as client:"' in done.stderr


def test_row_15_control_c(exchange: Simulator) -> None:
    """Row 15: one KeyboardInterrupt, soon."""
    code = (
        "import sys, kraken_sync\n"
        "with kraken_sync.SpotWSClient(ws_url=sys.argv[1]) as client:\n"
        "    stream = client.trades('BTC/USD')\n"
        "    print('reads', flush=True)\n"
        "    for trade in stream: pass\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, exchange.ws_url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    with within(0.5):
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert err.count("Traceback") == 1
    assert err.rstrip().endswith("KeyboardInterrupt")


def test_row_16_no_internet() -> None:
    """Row 16: which step has failed, and who examines the rest."""
    client = SpotWSClient(ws_url="wss://ws.kraken.invalid")
    with within(1), pytest.raises(ConnectFailed) as caught:
        client.start(timeout=1)
    assert caught.value.step == "resolve"
    assert "cannot resolve ws.kraken.invalid" in str(caught.value)
    assert "Are you online? kraken-sync doctor examines the way there" in str(caught.value)
    client.close()


def test_row_20_a_wrong_clock(trader: SpotWSClient, exchange: Simulator) -> None:
    """Row 20: the refusal of a nonce names the two usual reasons."""
    exchange.faults.rest_errors += ["EAPI:Invalid nonce"] * 3
    with pytest.raises(RequestRefused, match="another program|clock"):
        trader.request("POST", "/0/private/Balance")


def test_row_21_no_key(client: SpotWSClient) -> None:
    """Row 21: where it was looked for."""
    with pytest.raises(CredentialsMissing) as caught:
        client.orders.open
    assert "pass key= and secret= to the client, or set KRAKEN_API_KEY and KRAKEN_API_SECRET" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("key", "secret", "words"),
    [
        ("key", "not base64!", "base64"),
        ("key\nwith a line", "eA==" * 22, "in one line"),
        ("c" * 88, "k" * 55, "key and secret are not swapped"),
    ],
)
def test_row_22_a_key_with_a_typo(key: str, secret: str, words: str) -> None:
    """Row 22: seen here, before anything is sent, without repeating it."""
    with pytest.raises((CredentialsInvalid, ValueError)) as caught:
        SpotWSClient(key, secret)
    assert words in str(caught.value)
    assert secret not in str(caught.value)


def test_row_22_blanks_around_a_key(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Row 22: a pasted newline is none of the key."""
    client = new_client(key=f" {exchange.key}\n", secret=f"{exchange.secret}\n")
    assert client.get_ws_token()["expires"]


def test_row_23_a_permission(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """Row 23: which one is missing, in the words of Kraken's page."""
    exchange.add_key("weak", exchange.secret, ["query_funds"])
    with pytest.raises(PermissionRefused, match="WebSocket interface"):
        new_client(key="weak", secret=exchange.secret).start()


def test_row_24_printing_a_client(trader: SpotWSClient, exchange: Simulator) -> None:
    """Row 24: what it does; neither key nor secret."""
    assert re.fullmatch(r"<SpotWSClient CONNECTED [\d.:]+ subscriptions=0 reconnects=0>", repr(trader))


def test_row_25_reading_with_nothing_subscribed(client: SpotWSClient) -> None:
    """Row 25, which the design overrides: messages are everything, also the greeting; get() has a timeout."""
    client.messages
    with pytest.raises(StreamTimeout, match=r"no message of client\.messages within 0\.1 s"):
        client.messages.get(0.1)


def test_row_26_a_quiet_market(client: SpotWSClient) -> None:
    """Row 26: heartbeats are not delivered, but counted: quiet is not dead, and the error says so."""
    stream = client.trades("BTC/USD")
    with pytest.raises(StreamTimeout) as caught:
        stream.get(0.4)
    assert re.fullmatch(
        r"no message of trade BTC/USD within 0\.4 s \(live, no message so far; the exchange was last heard "
        r"\d\.\d s ago\)",
        str(caught.value),
    )
    assert isinstance(caught.value, (TimeoutError, queue.Empty))
    assert client.stats()["last_message_age"] < WAIT


def test_row_27_many_symbols(client: SpotWSClient, exchange: Simulator) -> None:
    """Row 27: which of them were refused, and nothing is half done."""
    exchange.faults.refused = {"ADA/USD", "SHIB/USD"}
    symbols = sorted(exchange.exchange.markets)
    with pytest.raises(SubscriptionRefused) as caught:
        client.ticker(symbols)
    assert set(caught.value.refused) == {"ADA/USD", "SHIB/USD"}
    assert "ADA/USD" in str(caught.value)
    eventually(lambda: client.active_public_subscriptions == [])


def test_row_30_a_slow_loop(
    client: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Row 30: bounded, counted, told in the log and in the stream."""
    stream = client.trades("BTC/USD", maxlen=5, gaps=True)
    for _ in range(20):
        exchange.trade("BTC/USD", "buy", 64250, "0.1")
    eventually(lambda: stream.dropped == 15)
    assert "the reader of trade BTC/USD is slow: messages are being dropped" in caplog.text
    assert stream.get(WAIT)["data"][0]["dropped"] == 15


def test_row_32_a_request_inside_a_handler(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """Row 32: it works, since handlers have a thread of their own."""
    answers: List[Any] = []

    def handler(message: Any) -> None:
        if message.get("channel") == "trade" and not answers:
            answers.append(client.send_message({"method": "ping", "req_id": 7}))
            answers.append(client.book("ETH/USD").symbol)

    client = new_client(callback=handler)
    client.subscribe({"channel": "trade", "symbol": ["BTC/USD"], "snapshot": True})
    eventually(lambda: len(answers) == 2)
    assert answers[1] == "ETH/USD"


def test_row_38_only_validated(trader: SpotWSClient) -> None:
    """Row 38: it says that nothing was placed, and nothing looks like an order."""
    result = trader.add_order(**FAR, validate=True)
    assert result == {"validated": True, "placed": False}
    assert trader.orders.open == {}


def test_row_39_a_float_price(trader: SpotWSClient) -> None:
    """Row 39: checked here, with the nearest price that is allowed."""
    with pytest.raises(ValueError) as caught:
        trader.add_order(**{**FAR, "limit_price": 64000.123456})
    assert "64000.123456" in str(caught.value)
    assert "64000.1" in str(caught.value).replace("64000.123456", "")


def test_row_40_an_order_without_an_answer(trader: SpotWSClient, exchange: Simulator) -> None:
    """Row 40: it may be live; never send it again; how to ask."""
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as caught:
        trader.add_order(**FAR, timeout=1.0)
    name = caught.value.cl_ord_id
    assert re.search(
        rf"outcome is unknown.* It may be live\. Do not send it again: client\.reconcile\('{name}'\)",
        str(caught.value),
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_row_41_a_fork(exchange: Simulator) -> None:
    """Row 41: the child is refused, the parent goes on."""
    code = (
        "import os, sys, kraken_sync\n"
        "with kraken_sync.SpotWSClient(ws_url=sys.argv[1]) as client:\n"
        "    pid = os.fork()\n"
        "    try: said = client.book('BTC/USD').symbol\n"
        "    except kraken_sync.ForkedClient as error: said = str(error)\n"
        "    os.write(1, (said + '\\n').encode())\n"
        "    if pid == 0: os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
    )
    done = python(code, exchange.ws_url, options=("-W", "ignore"))
    assert sorted(done.stdout.splitlines()) == [
        "BTC/USD",
        "this client belongs to the parent process; make a new one in the child process",
    ]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("await client.start()", r'has returned already \(SpotWSClient\)\. Drop the "await"'),
        ("await client.subscribe({'channel': 'trade', 'symbol': ['BTC/USD']})", 'Drop the "await"'),
        ("await client.book('BTC/USD')", 'Drop the "await"'),
        ("async with client: pass", 'write "with" without "async"'),
        ("async for trade in client.trades('BTC/USD'): pass", 'write "for" without "async"'),
    ],
)
def test_row_42_await_out_of_habit(call: str, words: str, trader: SpotWSClient) -> None:
    """Row 42: the call has been made; the error says what to delete."""
    scope: Dict[str, Any] = {"client": trader, "order": FAR}
    exec(f"async def main():\n    {call}", scope)
    with pytest.raises(TypeError, match=words):
        asyncio.run(scope["main"]())


def test_row_43_start_out_of_habit(client: SpotWSClient, recwarn: pytest.WarningsRecorder) -> None:
    """Row 43, which the design overrides: start() warns nobody, and may be called as often as one likes."""
    assert client.start() is client
    assert client.start() is client
    assert not recwarn.list


def test_row_44_older_pythons() -> None:
    """Row 44, which the design overrides: 3.9 stays, and older ones are refused by pip."""
    assert metadata.metadata("kraken-sync")["Requires-Python"] == ">=3.9"
