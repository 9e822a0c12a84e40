"""What a notebook shows: small tables, frames that calculate, pictures, live views."""

from __future__ import annotations

import copy
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Callable, List, Tuple

import pytest
from conftest import FAR, WAIT, S, eventually

from kraken_sync import (
    BookNotLive,
    OrderOutcomeUnknown,
    SpotWSClient,
    close_all,
)
from kraken_sync.core.html import table
from kraken_sync.market.collected import Collected
from kraken_sync.simulator import Simulator

pandas = pytest.importorskip("pandas")
LIMIT = 4096
"""Bytes of a table."""


class Parsed(HTMLParser):
    """The text of HTML, if its tags are closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.open: List[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


def shown(thing: Any) -> str:
    """The text of what a cell shows, after checks that hold for everything."""
    html = thing._repr_html_()
    parsed = Parsed(html)
    assert not parsed.open
    assert len(html.encode()) < LIMIT
    assert "<script" not in html
    assert not re.search(r"(?<![-\w])(color|background):\s*(#000|#fff|black|white)", html), "light and dark"
    return parsed.text


def test_row_34_everything_shows_itself(trader: SpotWSClient, exchange: Simulator) -> None:
    """Row 34: client, books, tables, streams, gaps, results: what matters of each is in its table."""
    book = trader.book(S)
    stream = trader.trades(S)
    result = trader.add_order(**FAR)
    trader.orders.wait_open(result["order_id"])
    exchange.faults.drop_replies = 1
    with pytest.raises(OrderOutcomeUnknown) as unknown:
        trader.add_order(**FAR, timeout=1.0)
    reconciled = trader.reconcile(unknown.value)

    best = book.snapshot().best_bid
    for thing in (book, book.snapshot(), book.stale):
        text = shown(thing)
        assert text.startswith("BTC/USD")
        assert "LIVE" in text
        assert f"{best.price:f} " in text
    assert "CONNECTED" in shown(trader)
    assert "API key set" in shown(trader).replace("  ", " ")
    assert result["order_id"] in shown(trader.orders)
    assert "250000.0000" in shown(trader.balance)
    assert "waiting to be read" in shown(stream)
    assert "0 gaps" in shown(trader.gaps())
    assert result["order_id"] in shown(result)
    assert "90000.0" in shown(trader.orders[result["order_id"]])
    assert str(reconciled.outcome) in shown(reconciled)


def test_a_book_that_is_not_live_says_so(client: SpotWSClient, exchange: Simulator) -> None:
    """The table has the state in place of looking current; the reason is below it."""
    book = client.book(S)
    exchange.cut()
    eventually(lambda: book.state != "LIVE")
    exchange.faults.refuse_connections = 10**6
    client.close()
    text = shown(book)
    assert "CLOSED" in text
    assert "the client is closed" in text


def test_what_the_exchange_says_is_escaped() -> None:
    """A text of the exchange cannot become a part of the page."""
    html = table(("<b>", "<i>"), ("<u>",), [("<script>alert(1)</script>",), (Decimal("1E-8"),)], "<note>")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "0.00000001" in html
    assert Parsed(html).text.split()[0] == "<b>"


def test_a_table_is_small_whatever_is_in_it() -> None:
    """Long texts are shortened, and rows beyond the first ones counted."""
    html = table(("many",), ("a", "b"), [("x" * 500, number) for number in range(100)])
    assert len(html) < LIMIT
    assert "and 88 more" in html


def test_frames_calculate(trader: SpotWSClient, exchange: Simulator) -> None:
    """Floats by default, exact Decimals if asked for, times in UTC."""
    exchange.trade(S, "buy", 64250, "0.5")
    trader.orders.wait_open(trader.add_order(**FAR)["order_id"])
    book = trader.book(S)
    frame, exact = book.to_frame(), book.to_frame(decimal=True)
    assert list(frame.columns) == ["side", "price", "qty"]
    assert (frame.price * 1.01).sum() > 0
    assert [level.price for level in book.bids] == list(exact[exact.side == "bid"].price)
    orders = trader.orders.to_frame()
    assert orders.limit_price.iloc[0] * 1.5 == 135_000
    assert str(orders.average_price.dtype) == "float64"
    assert str(orders.created.dt.tz) == "UTC"
    assert trader.balance.to_frame().balance["USD"] == 250_000
    assert isinstance(trader.balance.to_frame(decimal=True).balance["USD"], Decimal)
    assert trader.gaps().to_frame().empty
    with pytest.raises(TypeError, match="decimal must be True or False"):
        book.to_frame(decimal=1)


def test_frames_of_odd_items() -> None:
    """Texts for numbers are numbers, what is none is missing, and exact means exact."""
    found = Collected("ticker")
    found += [
        {"symbol": S, "bid": "1.5", "last": Decimal("2.5"), "timestamp": "2026-11-29T12:00:00.123456789Z"},
        {
            "symbol": S,
            "bid": "n/a",
            "last": None,
            "timestamp": "2026-11-29T12:00:01Z",
            "id": 9007199254740993,
        },
    ]
    frame = found.to_frame()
    assert frame.bid.sum() == 1.5
    assert frame["last"].mean() == 2.5
    assert str(frame.index.tz) == "UTC"
    assert found.to_frame(decimal=True).id.iloc[1] == 9007199254740993
    found.append({"symbol": S, "timestamp": "tomorrow"})
    with pytest.raises(ValueError, match="tomorrow"):
        found.to_frame()
    candles = Collected("ohlc")
    candles.append({"symbol": S, "open": 1.0})
    assert len(candles.to_frame()) == 1


def test_collect(client: SpotWSClient, exchange: Simulator) -> None:
    """So many items, or so many seconds; as a table they have the exchange's time as index."""
    trades = client.collect("trade", "XBT/USD", n=5, snapshot=True)
    assert [one["symbol"] for one in trades] == [S] * 5
    frame = trades.to_frame()
    assert str(frame.index.tz) == "UTC"
    assert frame.price.mean() > 0
    assert "5 items of trade" in shown(trades)
    eventually(lambda: client.active_public_subscriptions == [])
    candles = client.collect("ohlc", S, seconds=0.2, interval=5)
    assert len(candles.to_frame().index.unique()) == len(candles.to_frame())
    pairs = client.collect("instrument", n=3)
    assert pairs.to_frame().loc[pairs[0]["symbol"]].status == "online"
    assert client.collect("trade", S, seconds=0.05) == []
    assert client.collect("trade", S, seconds=0.05).to_frame().empty
    with pytest.raises(ValueError, match="say when to stop"):
        client.collect("trade", S)
    with pytest.raises(ValueError, match="seconds must be a number of more than 0"):
        client.collect("trade", S, seconds=-1)
    with pytest.raises(ValueError, match="candles come from collect"):
        trades.plot_candles()


def test_collect_shows_its_progress(client: SpotWSClient, capsys: pytest.CaptureFixture[str]) -> None:
    """A bar of tqdm, with the name of what is collected."""
    pytest.importorskip("tqdm")
    assert len(client.collect("trade", S, n=3, snapshot=True, progress=True)) == 3
    assert "trade BTC/USD: 100%" in capsys.readouterr().err


def test_collect_tells_what_is_missing(client: SpotWSClient, exchange: Simulator) -> None:
    """A cut while collecting is a gap of the result, between its items."""
    found: List[Any] = []
    thread = threading.Thread(target=lambda: found.append(client.collect("trade", S, n=2, seconds=WAIT)))
    thread.start()
    eventually(lambda: client.active_public_subscriptions)
    exchange.trade(S, "buy", 64250, "0.5")
    exchange.cut()
    eventually(lambda: client.gaps())
    eventually(lambda: client.active_public_subscriptions)
    exchange.trade(S, "sell", 64250, "0.25")
    thread.join(WAIT)
    assert len(found[0]) == 2
    assert found[0].gaps[0]["symbol"] == S
    assert "1 gap" in shown(found[0])


def test_collect_tells_an_outage_that_is_not_over(client: SpotWSClient, exchange: Simulator) -> None:
    """The line is down: a gap without an end, which is what collect() adds at its own end."""
    stream = client.trades(S)
    exchange.faults.refuse_connections = 10**6
    exchange.trade(S, "buy", 64250, "0.5")
    assert stream.get(WAIT)["qty"] == 0.5
    exchange.cut()
    eventually(lambda: stream.open_gaps())
    gap = stream.open_gaps()[0]
    assert (gap["symbol"], gap["until"]) == (S, None)
    assert gap["since"]
    assert "interrupted" in shown(stream)
    assert "interrupted" in repr(stream)


def test_collect_keeps_what_it_has(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """The client is closed meanwhile: the items so far, and a gap that says why there are no more."""
    client = new_client()
    found: List[Any] = []
    thread = threading.Thread(target=lambda: found.append(client.collect("trade", S, n=5, seconds=WAIT)))
    thread.start()
    eventually(lambda: exchange.requests("subscribe"))
    exchange.trade(S, "buy", 64250, "0.5")
    eventually(lambda: client.latest("trade", S))
    client.close()
    thread.join(WAIT)
    assert [one["qty"] for one in found[0]] == [0.5]
    assert [gap["reason"] for gap in found[0].gaps] == ["trade BTC/USD has ended"]


def test_latest(client: SpotWSClient, exchange: Simulator) -> None:
    """Without blocking, whoever reads the stream; nothing while something may be missing."""
    with pytest.raises(ValueError, match=r"ticker of BTC/USD is not subscribed"):
        client.latest("ticker", S)
    stream = client.ticker(S)
    first = stream.get(WAIT)
    assert client.latest("ticker", S) == first
    assert client.latest("ticker", "xbt/usd") == first
    client.trades(S)
    assert client.latest("trade", S) is None, "no snapshot was asked for"
    exchange.trade(S, "buy", 64250, "0.5")
    assert eventually(lambda: client.latest("trade", S))["qty"] == 0.5
    client.ohlc(S, 5)
    assert eventually(lambda: client.latest("ohlc", S, interval=5))["interval"] == 5
    exchange.faults.refuse_connections = 10**6
    exchange.cut()
    eventually(lambda: client.latest("ticker", S) is None)
    assert client.latest("ticker", S, stale=True)["symbol"] == S
    with pytest.raises(ValueError, match=r"not 'book'; use client\.book\(\)"):
        client.latest("book", S)


def test_changes_end(client: SpotWSClient, exchange: Simulator) -> None:
    """After so many states or seconds, on a market that never rests; without a limit as before."""
    book = client.book(S)
    stop = threading.Event()

    def move() -> None:
        while not stop.wait(0.005):
            exchange.step(5)

    mover = threading.Thread(target=move)
    mover.start()
    try:
        assert len(list(book.changes(n=3))) == 3
        began = time.monotonic()
        assert list(book.changes(seconds=0.2))
        assert time.monotonic() - began >= 0.2
        assert len(list(itertools.islice(book.changes(seconds=WAIT), 9))) == 9
        assert len(list(book.changes(timeout=5, n=2, seconds=WAIT))) == 2
    finally:
        stop.set()
        mover.join()
    assert list(book.changes(seconds=0.05))  # the first state comes at once
    for mistake in ({"n": 0}, {"n": True}, {"seconds": 0}, {"seconds": "1"}):
        with pytest.raises(ValueError, match="n must be|seconds must be"):
            book.changes(**mistake)


def test_pictures(client: SpotWSClient) -> None:
    """Axes with what was drawn: every level, every candle; on Axes of the caller's, too."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    book = client.book(S).snapshot()
    axes = book.plot()
    bids, asks = (line.get_xydata() for line in axes.get_lines())
    assert [float(level.price) for level in book.bids] == list(bids[:, 0])
    assert bids[-1][1] == pytest.approx(float(sum(level.qty for level in book.bids)))
    assert asks[0][1] == float(book.asks[0].qty)
    assert axes.get_title() == S
    candles = client.collect("ohlc", S, seconds=0.3)
    own = pyplot.subplots()[1]
    assert candles.plot_candles(own) is own
    assert len(own.patches) == len({one["interval_begin"] for one in candles})
    pyplot.close("all")


def test_candles_of_rest(exchange: Simulator, new_client: Callable[..., SpotWSClient]) -> None:
    """The result of ``client.rest.ohlc()`` as it is; several symbols are refused."""
    pytest.importorskip("matplotlib").use("Agg")
    from matplotlib import pyplot

    from kraken_sync.notebook import plot_candles

    candles = exchange.client().rest.ohlc(S)
    axes = plot_candles(candles)
    assert len(axes.patches) == len(next(rows for name, rows in candles.items() if name != "last"))
    with pytest.raises(ValueError, match="of one symbol"):
        plot_candles([{"symbol": "A/B", "interval_begin": ""}, {"symbol": "C/D", "interval_begin": ""}])
    with pytest.raises(ValueError, match="no candle"):
        plot_candles([])
    pyplot.close("all")


@pytest.mark.parametrize(
    ("module", "code", "extra"),
    [
        ("pandas", "book.to_frame()", "pandas"),
        ("pandas", "client.gaps().to_frame()", "pandas"),
        ("matplotlib", "book.plot()", "plot"),
        ("tqdm", "client.collect('trade', 'BTC/USD', n=1, snapshot=True, progress=True)", "notebook"),
        ("IPython", "__import__('kraken_sync.notebook').notebook.live(book)", "notebook"),
    ],
)
def test_row_35_what_is_not_installed_is_named(
    module: str, code: str, extra: str, client: SpotWSClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 35: the extra that brings it."""
    for name in [*sys.modules, module]:
        if name.split(".")[0] == module:
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf'pip install "kraken-sync\[{extra}\]"'):
        eval(code, {"client": client, "book": client.book(S)})


def test_to_dict(trader: SpotWSClient) -> None:
    """JSON can write it, digits are exact, and how books are kept inside does not show."""
    book = trader.book(S).snapshot(2)
    written = json.loads(json.dumps(book.to_dict()))
    assert Decimal(written["bids"][0]["price"]) == book.best_bid.price
    assert set(written) == {"symbol", "state", "bids", "asks", "checksum", "timestamp", "generation"}
    order = trader.orders.wait_open(trader.add_order(**FAR)["order_id"])
    written = json.loads(json.dumps(order.to_dict()))
    assert (written["limit_price"], written["status"], "raw" in written) == ("90000.0", "new", False)
    level3 = trader.level3_book(S).snapshot(2)
    written = json.loads(json.dumps(level3.to_dict()))
    assert written["bids"][0]["order_id"] == level3.bids[0].orders[0].order_id


SHELL = """
import sys, warnings
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display
shell = InteractiveShell.instance()
shell.user_ns["url"] = sys.argv[1]
def cell(code):
    result = shell.run_cell(code, store_history=True)
    result.raise_error()
    return result.result
"""


def in_ipython(exchange: Simulator, code: str) -> Tuple[str, str]:
    """What a program prints that runs cells."""
    pytest.importorskip("IPython")
    done = subprocess.run(
        [sys.executable, "-c", SHELL + code, exchange.ws_url], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_row_33_a_cell_run_again_is_told_once(exchange: Simulator) -> None:
    """Row 33: the second client of the same exchange warns, with the cells; close_all() closes them."""
    code = """
for _ in range(3):
    cell("from kraken_sync import *; client = SpotWSClient(ws_url=url); client.start();")
    cell("globals().setdefault('kept', []).append(client)")  # a client that nobody has stops by itself
print(cell("import threading; print(close_all()); threading.active_count()"))
cell("client = SpotWSClient(ws_url=url); client.start(); client.close()")
"""
    out, err = in_ipython(exchange, code)
    assert re.findall(r"(\d) live clients to (\S+) \(cells (.*)\)\. (.*\(\))", err) == [
        ("2", exchange.ws_url + "/v2", "[1], [3]", "kraken_sync.close_all()")
    ]
    assert out.split()[0] == "3"


def test_a_script_may_have_several_clients(
    exchange: Simulator, new_client: Callable[..., SpotWSClient], recwarn: pytest.WarningsRecorder
) -> None:
    """Only notebooks are warned. close_all() closes every client, and says how many there were."""
    clients = [new_client().start() for _ in range(3)]
    assert not recwarn.list
    assert close_all() >= 3
    assert {str(one.state) for one in clients} == {"CLOSED"}
    assert close_all() == 0


def test_a_live_view_ends(exchange: Simulator) -> None:
    """It is updated by its display id, at most four times a second; an interrupt ends it without an error."""
    code = """
updates = []
shell.display_pub.publish = lambda *_, **k: updates.append((k.get("update", False), k["transient"]))
cell("from kraken_sync import SpotWSClient; from kraken_sync.notebook import live")
cell("client = SpotWSClient(ws_url=url); book = client.book('BTC/USD')")
cell("live(book, client, seconds=1.1)")
ids = {transient["display_id"] for _, transient in updates}
print(len(ids), updates[0][0], updates[1][0], len(updates) <= 6)
cell("import _thread, threading; threading.Timer(0.6, _thread.interrupt_main).start()")
cell("live(book); print('went on')")
cell("client.close(); live(book); print('ended')")
cell("live(book, 'text', dict, client.orders); print('ended, too')")
for mistake in ("live()", "live(book, refresh=0.1)", "live(book, seconds='2')"):
    try: eval(mistake, shell.user_ns)
    except ValueError as error: print(error)
"""
    out, _ = in_ipython(exchange, code)
    assert out.splitlines() == [
        "1 False True True",
        "went on",
        "ended",
        "ended, too",
        "name what to show, such as live(book)",
        "refresh must be 0.25 seconds or more, not 0.1",
        "seconds must be a number of more than 0, or None, not '2'",
    ]


def test_many_clients_are_started_at_once(new_client: Callable[..., SpotWSClient]) -> None:
    """While others are started and closed in other threads, none is disturbed by counting them."""
    interval = sys.getswitchinterval()
    failures: List[BaseException] = []

    def live() -> None:
        try:
            for _ in range(5):
                client = new_client().start()
                client.close()
        except BaseException as error:
            failures.append(error)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=live) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert failures == []


def test_close_all_calls_the_close_of_a_subclass(new_client: Callable[..., SpotWSClient]) -> None:
    """What a user has added to it is done; an error in one leaves none open."""

    faults = [RuntimeError("a fault of mine")]

    class Mine(SpotWSClient):
        def close(self, timeout: Any = 2.0) -> None:
            super().close(timeout)
            if faults:
                raise faults.pop()

    clients = [new_client(Mine).start(), new_client().start()]
    with pytest.raises(RuntimeError, match="a fault of mine"):
        close_all()
    assert {str(one.state) for one in clients} == {"CLOSED"}


def test_no_login_in_what_is_shown() -> None:
    """The password of a URL is in no table, which a notebook would keep."""
    client = SpotWSClient(ws_url="wss://me:CANARYpw@example.invalid/v2?token=CANARYtoken")
    assert "CANARY" not in client._repr_html_() + repr(client)
    assert "wss://example.invalid/v2" in client._repr_html_()


def test_a_book_read_after_its_client(exchange: Simulator) -> None:
    """The error says that the client is closed, not that something broke."""
    with SpotWSClient(ws_url=exchange.ws_url) as client:
        book = client.book(S)
    with pytest.raises(BookNotLive, match="the client is closed"):
        book.best_bid


NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))


def read_notebook(path: Path) -> Any:
    """A notebook as it is committed."""
    nbformat = pytest.importorskip("nbformat")
    return nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_have_outputs(path: Path) -> None:
    """What is committed was run, from top to bottom, and shows no error."""
    cells = [cell for cell in read_notebook(path).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("text/html" in output.get("data", {}) for output in outputs)
    assert not any(output.output_type == "error" for output in outputs)
    assert not re.search("Warning|Traceback|site-packages", json.dumps(outputs))


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_twice_in_one_kernel(path: Path) -> None:
    """A real kernel runs every cell, and then all of them again; nothing warns, no thread is left."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = read_notebook(path)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    last = (
        "import threading\n"
        "assert not [one for one in threading.enumerate() if one.name.startswith('kraken-sync')]"
    )
    notebook.cells = [*cells, *(copy.deepcopy(cell) for cell in cells)]
    notebook.cells.append(copy.deepcopy(cells[-1]))
    notebook.cells[-1].source = last
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
        cell["outputs"] = []
    nbclient.NotebookClient(notebook, timeout=90, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert not [one for one in outputs if one.get("name") == "stderr"]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_interrupt_in_a_real_kernel(exchange: Simulator) -> None:
    """The button that interrupts a cell ends a live view quietly, and a loop with a KeyboardInterrupt."""
    manager = pytest.importorskip("jupyter_client.manager")
    pytest.importorskip("ipykernel")
    kernel, client = manager.start_new_kernel(kernel_name="python3")
    try:

        def run(code: str, interrupt: bool = False) -> List[Any]:
            outputs: List[Any] = []
            asked = client.execute(code)
            while True:
                message = client.get_iopub_msg(timeout=WAIT)
                if message["parent_header"].get("msg_id") != asked:
                    continue
                kind, content = message["msg_type"], message["content"]
                if kind == "status" and content["execution_state"] == "idle":
                    return outputs
                if kind in ("display_data", "stream", "error", "update_display_data"):
                    outputs.append((kind, content))
                    if interrupt:
                        kernel.interrupt_kernel()
                        interrupt = False

        made = (
            "from kraken_sync import SpotWSClient\n"
            f"client = SpotWSClient(ws_url={exchange.ws_url!r})\n"
            "book = client.book('BTC/USD')"
        )
        assert run(made) == []
        live = run("from kraken_sync.notebook import live\nlive(book)", interrupt=True)
        assert {kind for kind, _ in live} <= {"display_data", "update_display_data"}
        loop = run("print('reads', flush=True)\nfor state in book.changes(): pass", interrupt=True)
        assert loop[-1][1]["ename"] == "KeyboardInterrupt"
        assert run("print(book.state)") == [("stream", {"name": "stdout", "text": "LIVE\n"})]
        assert run("client.close()") == []
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)
