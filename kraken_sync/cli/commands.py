"""The subcommands of the ``kraken-sync`` command. Their docstrings are the texts of ``--help``."""

from __future__ import annotations

import queue
import signal
import threading
import time
from contextlib import ExitStack
from decimal import Decimal
from typing import Any, Dict, List, Optional, Tuple

import click

from ..client import SpotWSClient
from ..core.wire.channels import DEPTHS, INTERVALS
from ..errors import KrakenError, ReplyTimeout
from ..market.live_book import Changes
from ..market.order_book import OrderBook
from ..market.subscription import ItemStream
from ..version import __version__
from . import display, recordings
from .feed import POLL, Feed, feed_options, log_to_stderr, one_of, running, simulator_class

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=CONTEXT)
@click.version_option(__version__)
def group() -> None:
    """Kraken's Spot WebSocket market data, verified, in a terminal or a pipe.

    \b
    kraken-sync demo                     a simulated exchange, live, without internet
    kraken-sync book BTC/USD             a verified order book
    kraken-sync trades BTC/USD ETH/USD   trades, one JSON object a line when piped
    kraken-sync record btc.jsonl BTC/USD record everything, raw
    kraken-sync verify btc.jsonl         check every checksum of a recording
    kraken-sync replay btc.jsonl         serve a recording as an exchange
    kraken-sync export btc.jsonl --to trades.csv
    """


@group.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option("--depth", type=one_of(DEPTHS), default="10", show_default=True, help="Levels a side.")
@feed_options
def book(symbols: Tuple[str, ...], depth: str, **options: Any) -> None:
    """Verified order books. Piped: one line for each changed book, and one for each gap."""
    with running(options) as feed:
        books = list({one.symbol: one for one in (feed.client.book(s, int(depth)) for s in symbols)}.values())
        if feed.table:
            _show_books(feed, books)
        else:
            _print_books(feed, books)


def _print_books(feed: Feed, books: List[OrderBook]) -> None:
    changes = Changes(books)
    while not feed.over():
        news = changes.wait(feed.wait())
        if news is None:
            return
        for _, state in news:
            for gap in feed.new_gaps():
                if gap["channel"] == "book":
                    display.print_json(display.gap_line(gap))
            display.print_json(display.book_line(state))
            feed.counted()
            if feed.over():
                return


def _show_books(feed: Feed, books: List[OrderBook]) -> None:
    with display.live_table() as show:
        while not feed.over():
            stats = feed.client.stats()
            if len(books) == 1:
                show(display.ladder(books[0], stats["verified"]))
            else:
                show(display.overview(books, stats, "order books"))
            feed.counted()
            time.sleep(min(0.2, feed.wait()))


@group.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option(
    "--event-trigger",
    type=click.Choice(["trades", "bbo"]),
    default="trades",
    show_default=True,
    help="Send on trades, or on every change of best bid and offer.",
)
@feed_options
def ticker(symbols: Tuple[str, ...], event_trigger: str, **options: Any) -> None:
    """Tickers: best bid and offer, last price, figures of 24 hours."""
    columns = ["symbol", "bid", "ask", "last", "volume", "change_pct", "timestamp"]
    with running(options) as feed:
        stream = feed.client.ticker(list(symbols), event_trigger=event_trigger, gaps=True)
        _run(feed, stream, "ticker", columns)


@group.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option("--snapshot", is_flag=True, help="Begin with the last 50 trades.")
@feed_options
def trades(symbols: Tuple[str, ...], snapshot: bool, **options: Any) -> None:
    """Trades as they happen."""
    with running(options) as feed:
        stream = feed.client.trades(list(symbols), snapshot=snapshot, gaps=True)
        _run(feed, stream, "trades", ["symbol", "side", "price", "qty", "ord_type", "timestamp"])


@group.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option("--interval", type=one_of(INTERVALS), default="1", show_default=True, help="Minutes.")
@feed_options
def ohlc(symbols: Tuple[str, ...], interval: str, **options: Any) -> None:
    """Candles; the current one is sent with every trade."""
    columns = ["symbol", "open", "high", "low", "close", "volume", "interval_begin"]
    with running(options) as feed:
        stream = feed.client.ohlc(list(symbols), int(interval), gaps=True)
        _run(feed, stream, f"ohlc, {interval} min", columns)


@group.command()
@click.argument("search", default="")
@feed_options
def instruments(search: str, **options: Any) -> None:
    """The exchange's pairs that have SEARCH in their name."""
    columns = ["symbol", "status", "price_precision", "qty_precision", "qty_min", "cost_min"]
    with running(options) as feed:
        try:
            message = feed.client.subscribe({"channel": "instrument"}).get(10)
        except queue.Empty:
            raise ReplyTimeout("the exchange did not send its list of instruments") from None
        found = [pair for pair in message["data"]["pairs"] if search.upper() in pair["symbol"].upper()]
        found = found[: options["count"]]
        if feed.table:
            from rich.console import Console

            rows = [[display.text(pair.get(name)) for name in columns] for pair in found]
            Console().print(display.table("instruments", columns, rows))
        else:
            for pair in found:
                display.print_json(pair)
    if not found:
        raise KrakenError(f"no pair has {search!r} in its name")


def _run(feed: Feed, stream: ItemStream, title: str, columns: List[str]) -> None:
    with ExitStack() as stack:
        rolling = display.RollingTable(title, columns)
        show = stack.enter_context(display.live_table()) if feed.table else None
        while not feed.over():
            try:
                item = stream.get(feed.wait())
            except queue.Empty:
                continue
            if show is not None:
                show(rolling.add(item))
            elif item.get("type") == "gap":
                for gap in item["data"]:
                    display.print_json(display.gap_line({"channel": item["channel"], **gap}))
            else:
                display.print_json(item)
            feed.counted()


@group.command()
@click.option("--seconds", type=click.FloatRange(min=0), help="Stop after this long.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another market.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines; the last one is the summary.")
@click.option("-v", "--verbose", is_flag=True, help="Log more to stderr.")
def demo(seconds: Optional[float], seed: int, as_json: bool, verbose: bool) -> None:
    """Watch verified order books of a simulated exchange; no internet, no account."""
    log_to_stderr(verbose)
    started = time.monotonic()
    feed: Optional[Feed] = None
    interrupted = False
    books: List[OrderBook] = []
    options = {"as_json": as_json, "count": None, "seconds": seconds}
    with ExitStack() as stack:
        simulator = stack.enter_context(simulator_class()(seed, rate=400.0))
        client = stack.enter_context(SpotWSClient(ws_url=simulator.ws_url, parse_float=Decimal))
        try:
            feed = Feed(client, options)
            books = [client.book(symbol, 25) for symbol in simulator.exchange.markets]
            trades = client.trades([one.symbol for one in books])
            _show_demo(feed, books, trades)
        except KeyboardInterrupt:
            interrupted = True
        stats = client.stats()
        last = {book.symbol: book.stale.spread for book in books}
        spreads = {symbol: str(spread) for symbol, spread in last.items() if spread is not None}
    summary = {
        "seconds": round(time.monotonic() - started, 3),
        **{name: stats[name] for name in ("messages", "book_messages", "verified", "mismatched")},
        "reconnects": stats["reconnects"],
        "gaps": stats["gaps"],
        "spreads": spreads,
    }
    if feed is not None and feed.table:
        click.echo(
            f"{summary['verified']} book messages in {summary['seconds']} s over a real socket, each "
            f"verified by its checksum; {summary['mismatched']} mismatched. "
            f"Spreads: {', '.join(f'{symbol} {spread}' for symbol, spread in list(spreads.items())[:3])}."
        )
    else:
        display.print_json(summary)
    if interrupted:
        raise KeyboardInterrupt


def _show_demo(feed: Feed, books: List[OrderBook], trades: ItemStream) -> None:
    with ExitStack() as stack:
        show = stack.enter_context(display.live_table()) if feed.table else None
        last: Dict[str, Any] = {}
        while not feed.over():
            try:
                last = trades.get(min(0.1, feed.wait()))
            except queue.Empty:
                pass
            if show is not None:
                title = "a simulated Kraken"
                if last:
                    title += f"  last trade {last['symbol']} {last['price']:f} x {last['qty']:f} "
                show(display.overview(books, feed.client.stats(), title))
            elif last:
                display.print_json({"channel": "trade", **last})
                last = {}


@group.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65534), default=0, help="WebSocket; REST is the next one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another market.")
@click.option("--rate", type=click.FloatRange(min=0), default=200.0, show_default=True,
              help="Events a second over all pairs.")  # fmt: skip
def simulate(host: str, port: int, seed: int, rate: float) -> None:
    """A local Kraken to connect to. The first line says where it is; ends on SIGINT or SIGTERM."""
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    with simulator_class()(seed, rate=rate, host=host, port=port) as simulator:
        display.print_json(simulator.options)
        while not stop.wait(POLL):
            pass


for command in (
    recordings.record,
    recordings.verify_recording,
    recordings.replay_recordings,
    recordings.export_recordings,
    recordings.plot_recordings,
):
    group.add_command(command)
