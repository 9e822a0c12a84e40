"""The subcommand that publishes a feed for other processes. Its docstring is the text of ``--help``."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, List, Tuple
from urllib.parse import urlsplit

import click

from ..core.wire.channels import DEPTHS, INTERVALS
from ..errors import ConnectFailed, KrakenError
from ..shared import Publisher
from ..shared.publisher import CHANNELS, STANDING_BY
from ..shared.server import place_of, redis_module
from .feed import SECONDS, Feed, connection_options, one_of, running, terminable

LOOK = 0.1
"""Seconds between two looks at the publisher."""


@click.command()
@click.argument("symbols", nargs=-1, required=True)
@click.option(
    "--channels", default="book,trade,ticker", show_default=True, help=f"Some of {', '.join(CHANNELS)}."
)
@click.option("--depth", type=one_of(DEPTHS), default="10", show_default=True, help="Levels a side of book.")
@click.option("--interval", type=one_of(INTERVALS), default="1", show_default=True, help="Minutes of ohlc.")
@click.option("--redis", "url", metavar="URL", default="redis://localhost:6379/0", show_default=True,
              help="Where to publish; also rediss://user:password@host and unix:///path.")  # fmt: skip
@click.option("--name", default="kraken", show_default=True, help="Tells the feeds of one Redis apart.")
@click.option("--seconds", type=SECONDS, help="Stop after this long, whatever happens.")
@connection_options
def publish(
    symbols: Tuple[str, ...], channels: str, depth: str, interval: str, url: str, name: str, **options: Any
) -> None:
    """One verified feed for many processes, through Redis, until Ctrl-C or SIGTERM.

    \b
    kraken-sync publish BTC/USD ETH/USD --depth 100
    kraken-sync publish BTC/USD --channels book,trade,ohlc --interval 5 --redis redis://host:6379/0
    kraken-sync book BTC/USD --redis redis://host:6379/0    reads it, on any machine

    Only verified messages are published. Start it twice, and one stands by until the other dies. It tells
    on stderr which of them it is. Redis may be away: it is tried again.
    """
    wanted = [one.strip() for one in channels.split(",") if one.strip()]
    if set(wanted) - set(CHANNELS) or not wanted:
        raise click.UsageError(f"--channels takes some of {', '.join(CHANNELS)}, not {channels!r}")
    redis_module()  # before the exchange is asked for anything
    place_of(url)
    with terminable(), running(options) as feed:
        publisher = Publisher(
            feed.client,
            url,
            list(symbols),
            channels=wanted,
            depth=int(depth),
            interval=int(interval),
            name=name,
        )
        try:
            # An interrupt is the usual end. It may come as soon as the first line can be read, or before.
            with suppress(KeyboardInterrupt):
                publisher.start(feed.timeout)
                what = ", ".join(_described(wanted, depth, interval))
                click.echo(
                    f"publishing {what} of {', '.join(symbols)} to {_without_login(url)} as {name!r}",
                    err=True,
                )
                _watch(feed, publisher)
        finally:
            publisher.close()
    click.echo(f"{publisher.published:,} messages published", err=True)


def _watch(feed: Feed, publisher: Publisher) -> None:
    """Tell on stderr whether the publisher is in office, until it is time to stop.

    Raises:
        KrakenError: the publisher has ended.
        ConnectFailed: the time is over, and Redis could never be used.
    """
    told = ""
    while not feed.over():
        trouble = publisher.trouble
        state = "in office" if publisher.in_office else trouble
        if state != told:
            told = state
            if state in ("in office", STANDING_BY):  # the log tells any other
                text = state if state == "in office" else f"standing by: {state}"
                click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)
        if publisher.ended:
            raise KrakenError(f"the publisher has ended: {publisher.trouble}")
        time.sleep(min(LOOK, feed.wait()))
    trouble = publisher.trouble
    if trouble not in ("", STANDING_BY) and not publisher.published:
        raise ConnectFailed(f"nothing was published: {trouble}", step="connect")


def _described(channels: List[str], depth: str, interval: str) -> List[str]:
    more = {"book": f" (depth {depth})", "ohlc": f" ({interval} min)"}
    return [channel + more.get(channel, "") for channel in channels]


def _without_login(url: str) -> str:
    """Return a URL without user, password and parameters, which may have them, too.

    >>> _without_login("rediss://user:secret@host:6379/0?password=secret")
    'rediss://host:6379/0'
    >>> _without_login("unix:///run/redis.sock")
    'unix:///run/redis.sock'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
