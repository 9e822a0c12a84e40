"""What the commands have in common: their options, their client, and when they are to stop."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import click

from ..client import SpotWSClient
from . import display

POLL = 0.5
"""The longest time in seconds between two checks of ``--seconds`` and of a closed pipe."""


def one_of(numbers: Sequence[int]) -> Any:
    """Return the type of an option that takes one of these numbers."""
    return click.Choice([str(number) for number in numbers])


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that tell which exchange to connect to."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Log more to stderr."),
        click.option("--rest-url", help="Another REST host. Not asked for market data."),
        click.option("--ws-url", help="Another exchange, such as ws://127.0.0.1:8765 (without /v2)."),
        click.option("--simulated", is_flag=True, help="A simulated exchange of our own."),
    ):
        command = option(command)
    return command


def feed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all commands that print what the exchange sends."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="JSON lines, also on a terminal."),
        click.option("--seconds", type=click.FloatRange(min=0), help="Stop after this long."),
        click.option("--count", type=click.IntRange(min=1), help="Stop after so many lines."),
    ):
        command = option(command)
    return connection_options(command)


class Feed:
    """The client of a command, and when the command is to stop."""

    def __init__(self, client: SpotWSClient, options: Dict[str, Any]) -> None:
        self.client = client
        self.table = display.wants_table(options["as_json"])
        self._left: Optional[int] = options["count"]
        self._told = 0
        seconds: Optional[float] = options["seconds"]
        self._end = None if seconds is None else time.monotonic() + seconds

    def over(self) -> bool:
        """Return whether it is time to stop."""
        if self._end is not None and time.monotonic() >= self._end:
            return True
        return self._left == 0 or (not self.table and display.pipe_closed())

    def wait(self) -> float:
        """Return the seconds to wait before calling :meth:`over` again."""
        return POLL if self._end is None else max(0.01, min(POLL, self._end - time.monotonic()))

    def new_gaps(self) -> List[Dict[str, Any]]:
        """Return the gaps since the last call."""
        gaps = self.client.gaps()
        new, self._told = gaps[self._told :], len(gaps)
        return new

    def counted(self) -> None:
        """Note that a line was printed."""
        if self._left is not None:
            self._left -= 1


@contextmanager
def running(options: Dict[str, Any]) -> Iterator[Feed]:
    """Give a client of the exchange that the options name, until the end of the block."""
    log_to_stderr(options["verbose"])
    if options["simulated"] and (options["ws_url"] or options["rest_url"]):
        raise click.UsageError("--simulated brings its own exchange; leave --ws-url/--rest-url out")
    with ExitStack() as stack:
        places = {"ws_url": options["ws_url"], "rest_url": options["rest_url"]}
        if options["simulated"]:
            places = stack.enter_context(simulator_class()()).options
        client = SpotWSClient(**places, parse_float=Decimal)
        yield Feed(stack.enter_context(client), options)


def simulator_class() -> Any:
    """Return the class Simulator. Raises ClickException if it is not installed."""
    try:
        from ..simulator import Simulator
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    return Simulator


def log_to_stderr(verbose: bool) -> None:
    """Send the library's log to stderr."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("kraken_sync")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbose else logging.WARNING)
