"""The subcommands that show market data. Their docstrings are the texts of ``--help``."""

from __future__ import annotations

import queue
import time
from collections import deque
from shutil import get_terminal_size
from typing import Any, Deque, Dict, List, Mapping, Tuple

import click

from ..core.wire.channels import CHANNELS, DEPTHS, INTERVALS
from ..errors import KrakenError, ReplyTimeout, SubscriptionRefused
from ..market.live_book import Changes
from ..market.order_book import OrderBook
from ..shared import SharedClient
from ..shared import publisher as published
from .feed import Feed, market_options, one_of, running
from .lines import COLUMNS, JSON, LIVE, TEXT, aligned, book_columns, book_item, print_json, print_text
from .loops import TAPE, Middles, Silence, print_items, show, show_rows


@click.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option("--depth", type=one_of(DEPTHS), default="10", show_default=True, help="Levels a side.")
@market_options
def book(symbols: Tuple[str, ...], depth: str, **options: Any) -> None:
    """Verified order books.

    \b
    kraken-sync book BTC/USD                        a ladder, with depth bars and trades
    kraken-sync book BTC/USD ETH/USD --depth 25     side by side
    kraken-sync book BTC/USD --count 1              one line
    kraken-sync book BTC/USD --json | jq .bids[0]
    kraken-sync book BTC/USD --redis redis://host   what kraken-sync publish writes there

    Piped: one line for each changed book, and one for each gap.
    """
    with running(options) as feed:
        levels: Any = int(depth)  # one of those that click lets through
        asked = (feed.client.book(symbol, levels, timeout=feed.timeout) for symbol in symbols)
        books = list({one.symbol: one for one in asked}.values())
        if feed.live:
            _show_books(feed, books)
        else:
            _print_books(feed, books, int(depth))


def _print_books(feed: Feed, books: List[OrderBook], depth: int) -> None:
    printed = feed.lines("book", book_columns(depth))
    changes, begun, until = Changes(books), False, time.monotonic() + feed.timeout
    while not feed.over():
        news = changes.wait(feed.wait())
        if news is None:
            return
        begun = begun or bool(news)
        if not begun and time.monotonic() >= until:
            break
        for _, state in news:
            for gap in feed.new_gaps():
                if gap["channel"] == "book":
                    printed.gap(gap)
            printed.item(book_item(state, feed.form))
            feed.counted()
            if feed.over():
                return
    for one in books if not begun else ():
        one.snapshot()  # raises what it waits for


def _show_books(feed: Feed, books: List[OrderBook]) -> None:
    from rich.text import Text

    from .views.book import gallery, ladder, overview
    from .views.feeds import tape
    from .views.parts import beside

    trades: Any
    try:
        trades = feed.client.trades(
            [one.symbol for one in books],
            snapshot=True,
            gaps=True,
            timeout=feed.timeout,
            policy="drop_oldest",
        )
    except SubscriptionRefused:
        if not isinstance(feed.client, SharedClient):
            raise
        trades = Silence()  # books are published, and trades are not
    latest: Deque[Mapping[str, Any]] = deque(maxlen=TAPE)
    mids = Middles(books)

    def view(width: int, height: int, glyphs: Any) -> List[Any]:
        states = [one.stale.snapshot() for one in books]
        if len(states) > 1:
            shown = gallery(states, width, height, glyphs)
            return shown or overview(states, width, mids.seen, glyphs)
        side = 44
        if width >= 110:
            left = width - side - 3
            block = ladder(states[0], left, height, glyphs)
            return beside([(block, left), (tape(latest, side, height, symbols=False), side)])
        rest = max(0, min(8, height - 2 * 2 - min(states[0].depth, 10)))
        block = ladder(states[0], width, height - rest - (rest > 0), glyphs)
        return [
            *block,
            *([Text()] if rest else []),
            *(tape(latest, width, rest, symbols=False) if rest else []),
        ]

    show(feed, view, trades, latest.appendleft, mids.look)


@click.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option(
    "--event-trigger",
    type=click.Choice(["trades", "bbo"]),
    default="trades",
    show_default=True,
    help="Send on trades, or on every change of best bid and offer.",
)
@market_options
def ticker(symbols: Tuple[str, ...], event_trigger: Any, **options: Any) -> None:
    """Tickers: best bid and offer, last price, figures of 24 hours.

    \b
    kraken-sync ticker BTC/USD ETH/USD      one row a symbol, live
    kraken-sync ticker BTC/USD --count 1    one line
    kraken-sync ticker BTC/USD --csv > ticker.csv
    """
    with running(options) as feed:
        stream = feed.client.ticker(
            list(symbols), event_trigger=event_trigger, gaps=True, timeout=feed.timeout
        )
        if feed.live:
            from .views.feeds import tickers

            show_rows(feed, stream, tickers, "last")
        else:
            print_items(feed, stream, "ticker")


@click.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option("--snapshot", is_flag=True, help="Begin with the last 50 trades.")
@market_options
def trades(symbols: Tuple[str, ...], snapshot: bool, **options: Any) -> None:
    """Trades as they happen.

    \b
    kraken-sync trades BTC/USD                  a tape
    kraken-sync trades BTC/USD --snapshot | head -3
    kraken-sync trades BTC/USD --csv >> trades.csv
    """
    with running(options) as feed:
        stream = feed.client.trades(
            list(symbols), snapshot=snapshot or feed.live, gaps=True, timeout=feed.timeout
        )
        if feed.live:
            from rich.text import Text

            from .views.feeds import tape
            from .views.parts import TITLE

            latest: Deque[Mapping[str, Any]] = deque(maxlen=TAPE)
            show(
                feed,
                lambda width, height, glyphs: [
                    Text(f"trades of {', '.join(stream.symbols)}"[:width], TITLE),
                    *tape(latest, width, height - 1, symbols=len(stream.symbols) > 1),
                ],
                stream,
                latest.appendleft,
            )
        else:
            print_items(feed, stream, "trade")


@click.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option("--interval", type=one_of(INTERVALS), default="1", show_default=True, help="Minutes.")
@market_options
def ohlc(symbols: Tuple[str, ...], interval: str, **options: Any) -> None:
    """Candles; the current one is sent with every trade.

    \b
    kraken-sync ohlc BTC/USD ETH/USD --interval 5
    kraken-sync ohlc BTC/USD --interval 60 --csv > candles.csv
    """
    minutes: Any = int(interval)
    with running(options) as feed:
        stream = feed.client.ohlc(list(symbols), minutes, gaps=True, timeout=feed.timeout)
        if feed.live:
            from .views.feeds import candles

            show_rows(feed, stream, candles, "close", "interval_begin")
        else:
            print_items(feed, stream, "ohlc")


@click.command()
@click.argument("search", default="")
@market_options
def instruments(search: str, **options: Any) -> None:
    """The exchange's pairs that have SEARCH in their name.

    \b
    kraken-sync instruments btc
    kraken-sync instruments --json | jq -r .symbol
    """
    with running(options) as feed:
        try:
            message = feed.client.subscribe({"channel": "instrument"}, timeout=feed.timeout).get(feed.timeout)
        except queue.Empty:
            raise ReplyTimeout("the exchange did not send its list of instruments") from None
        matching = set(feed.client.symbols(search, timeout=feed.timeout))
        found = [pair for pair in message["data"]["pairs"] if pair["symbol"] in matching]
        found = found[: options["count"]]
        columns = COLUMNS["instrument"]
        if feed.form in (LIVE, TEXT):
            for line in aligned(columns, found, get_terminal_size().columns) if found else []:
                print_text(line)
        else:
            printed = feed.lines("instrument", gaps=False)
            for pair in found:
                printed.item(pair)
    if not found:
        raise KrakenError(f"no pair has {search!r} in its name")


@click.command()
@click.argument("channel", type=click.Choice(sorted(CHANNELS)))
@click.argument("symbols", nargs=-1)
@click.option("--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter, such as depth=25.")
@click.option("--messages", is_flag=True, help="Whole messages instead of their items.")
@market_options
def listen(
    channel: str, symbols: Tuple[str, ...], params: Tuple[str, ...], messages: bool, **options: Any
) -> None:
    """Anything that the exchange sends on CHANNEL, as JSON lines.

    \b
    kraken-sync listen trade BTC/USD | head -3
    kraken-sync listen ohlc BTC/USD --param interval=5
    kraken-sync listen executions --param snap_orders=true

    With --redis a book needs the depth that is published, such as --param depth=100.
    """
    as_csv = bool(options["as_csv"] and not options["as_json"])
    if as_csv and (messages or channel not in COLUMNS):
        raise click.UsageError(
            f"{channel} has no columns; leave --csv out" if not messages else "--messages is JSON"
        )
    if options["redis"] is not None and channel not in (*published.CHANNELS, "instrument"):
        raise click.UsageError(f"{channel} is not published by anybody; leave --redis out")
    asked: Dict[str, Any] = {"channel": channel, **dict(map(_param, params))}
    if symbols:
        asked["symbol"] = list(symbols)
    with running({**options, "as_json": not as_csv, "as_csv": as_csv}) as feed:
        stream = feed.client.subscribe(asked, timeout=feed.timeout)
        printed = feed.lines(channel)
        while not feed.over():
            try:
                message = stream.get(feed.wait())
            except queue.Empty:
                continue
            for one in _parts(message, messages):
                if feed.form == JSON:
                    print_json(one)
                elif one.get("type") == "gap":
                    printed.gap(one)
                else:
                    printed.item(one)
                feed.counted()
                if feed.over():
                    return


def _parts(message: Mapping[str, Any], whole: bool) -> List[Mapping[str, Any]]:
    data = message.get("data")
    if whole or data is None:
        return [message]
    if message.get("type") == "gap":
        return [{"type": "gap", "channel": message["channel"], **gap} for gap in data]
    if isinstance(data, dict):  # instrument: an object with the lists assets and pairs
        return list(data.get("pairs", ()))
    return list(data)


def _param(text: str) -> Tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not like depth=25", param_hint="--param")
    if value in ("true", "false"):
        return name, value == "true"
    return name, int(value) if value.lstrip("-").isdigit() else value
