"""The subcommands that bring their own exchange. Their docstrings are the texts of ``--help``."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections import deque
from contextlib import ExitStack
from decimal import Decimal
from typing import Any, Deque, List, Mapping, Optional

import click

from ..client import SpotWSClient
from ..market.order_book import OrderBook
from ..market.subscription import ItemStream
from .feed import POLL, Feed, log_to_stderr, simulator_class
from .lines import print_json, print_text
from .loops import TAPE, Middles, show


@click.command()
@click.option("--seconds", type=click.FloatRange(min=0), help="Stop after this long.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another market.")
@click.option("--json", "as_json", is_flag=True, help="JSON lines; the last one is the summary.")
@click.option("-v", "--verbose", count=True, help="Log more to stderr.")
def demo(seconds: Optional[float], seed: int, as_json: bool, verbose: int) -> None:
    """Watch verified order books of a simulated exchange; no internet, no account.

    \b
    kraken-sync demo                  live, until Ctrl-C
    kraken-sync demo --seconds 30
    """
    started = time.monotonic()
    feed: Optional[Feed] = None
    interrupted = False
    books: List[OrderBook] = []
    options = {"as_json": as_json, "seconds": seconds}
    with ExitStack() as stack:
        stack.enter_context(log_to_stderr(verbose)).begin()
        simulator = stack.enter_context(simulator_class()(seed, rate=400.0))
        client = stack.enter_context(SpotWSClient(ws_url=simulator.ws_url, parse_float=Decimal))
        try:
            feed = Feed(client, options)
            books = [client.book(symbol, 25) for symbol in simulator.exchange.markets]
            trades = client.trades([one.symbol for one in books], snapshot=True)
            if feed.live:
                _show_demo(feed, books, trades)
            else:
                _print_demo(feed, trades)
        except KeyboardInterrupt:
            interrupted = True
        stats = client.stats()
        last = {book.symbol: book.stale.spread for book in books}
        spreads = {symbol: format(spread, "f") for symbol, spread in last.items() if spread is not None}
    summary = {
        "seconds": round(time.monotonic() - started, 3),
        **{name: stats[name] for name in ("messages", "book_messages", "verified", "mismatched")},
        "reconnects": stats["reconnects"],
        "gaps": stats["gaps"],
        "spreads": spreads,
    }
    if feed is not None and feed.form != "json":
        print_text(
            f"{summary['verified']:,} book messages in {summary['seconds']:.1f} s over a real socket, each "
            f"verified by its checksum; {summary['mismatched']} mismatched."
        )
    else:
        print_json(summary)
    if interrupted:
        raise KeyboardInterrupt


def _print_demo(feed: Feed, trades: ItemStream[Any]) -> None:
    printed = feed.lines("trade")
    while not feed.over():
        try:
            item = trades.get(feed.wait())
        except queue.Empty:
            continue
        if feed.form == "json":
            print_json({"channel": "trade", **item})
        else:
            printed.item(item)


def _show_demo(feed: Feed, books: List[OrderBook], trades: ItemStream[Any]) -> None:
    from rich.text import Text

    from .views.book import ladder, overview
    from .views.feeds import tape
    from .views.parts import TITLE, beside

    latest: Deque[Mapping[str, Any]] = deque(maxlen=TAPE)
    mids = Middles(books)

    def view(width: int, height: int, glyphs: Any) -> List[Text]:
        states = [one.stale.snapshot() for one in books]
        lines = [Text("a simulated Kraken"[:width], TITLE)]
        lines += overview(states, width, mids.seen, glyphs)
        space = height - len(lines) - 1
        if space < 6:
            return lines
        lines.append(Text())
        side = 66 if width >= 130 else 52
        if width >= 110:
            left = width - side - 3
            return lines + beside(
                [(ladder(states[0], left, space, glyphs), left), (tape(latest, side, space), side)]
            )
        return lines + ladder(states[0], width, space, glyphs)

    show(feed, view, trades, latest.appendleft, mids.look)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65534), default=0, help="WebSocket; REST is the next one.")
@click.option("--seed", type=int, default=1, show_default=True, help="Another seed, another market.")
@click.option("--rate", type=click.FloatRange(min=0), default=200.0, show_default=True,
              help="Events a second over all pairs.")  # fmt: skip
def simulate(host: str, port: int, seed: int, rate: float) -> None:
    """A local Kraken to connect to. The first line says where it is; ends on SIGINT or SIGTERM.

    \b
    kraken-sync simulate --port 8765
    kraken-sync book BTC/USD --ws-url ws://127.0.0.1:8765
    """
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    made = simulator_class()(seed, rate=rate, host=host, port=port)
    try:
        made.start()
    except OSError as error:
        raise click.ClickException(
            f"cannot listen on {host}:{port}; choose another --port ({error})"
        ) from None
    with made as simulator:
        print_json(simulator.options)
        while not stop.wait(POLL):
            pass
