"""What the commands have in common: their options, their client, and when they are to stop."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import click

from ..client import SpotWSClient
from ..errors import ConnectFailed
from ..shared import SharedClient
from . import lines
from .lines import Lines, form_of

POLL = 0.5
"""The longest time in seconds between two checks of ``--seconds`` and of a closed pipe."""
TIMEOUT = 10.0
"""The seconds that a call may take, unless ``--timeout`` tells others."""
URLS = ("ws_url", "auth_ws_url", "level3_ws_url", "rest_url")
WAYS = ("proxy", "ca_file")
FILE = click.Path(exists=True, dir_okay=False)
SECONDS = click.FloatRange(min=0, min_open=True)


def one_of(numbers: Sequence[int]) -> Any:
    """Return the type of an option that takes one of these numbers."""
    return click.Choice([str(number) for number in numbers])


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that tell which exchange to connect to, and how."""
    for option in (
        click.option("-v", "--verbose", count=True, help="Log more to stderr; -vv logs everything."),
        click.option("--ca-file", type=FILE, help="Trust the certificates in this file, too."),
        click.option("--proxy", metavar="URL", help="http://user:password@host:port, or 'none'."),
        click.option("--timeout", type=SECONDS, default=TIMEOUT, show_default=True, help="Seconds to wait."),
        click.option("--rest-url", metavar="URL", help="Its REST host, such as http://127.0.0.1:8766."),
        click.option("--level3-ws-url", metavar="URL", help="Its address for level3."),
        click.option("--auth-ws-url", metavar="URL", help="Its address for private data."),
        click.option("--ws-url", metavar="URL", help="Another exchange, such as ws://127.0.0.1:8765."),
        click.option("--simulated", is_flag=True, help="A simulated exchange of our own."),
    ):
        command = option(command)
    return command


def form_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that tell in which form to print."""
    for option in (
        click.option("--no-header", is_flag=True, help="CSV without the names of the columns."),
        click.option("--csv", "as_csv", is_flag=True, help="CSV, also on a terminal."),
        click.option("--json", "as_json", is_flag=True, help="JSON lines, also on a terminal."),
    ):
        command = option(command)
    return command


def feed_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of all commands that print what the exchange sends."""
    command = form_options(command)
    for option in (
        click.option("--seconds", type=SECONDS, help="Stop after this long, whatever happens."),
        click.option("--count", type=click.IntRange(min=1), help="Print so many lines and stop."),
    ):
        command = option(command)
    return connection_options(command)


def market_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of the commands that can read a shared feed instead of the exchange."""
    command = feed_options(command)
    for option in (
        click.option("--name", help="The name of that feed, if it is not kraken."),
        click.option("--redis", metavar="URL", help="Read what kraken-sync publish writes there."),
    ):
        command = option(command)
    return command


class NewGaps:
    """The gaps of a client that were not taken yet."""

    def __init__(self, client: SpotWSClient) -> None:
        self._client = client
        self._taken = self.count

    @property
    def count(self) -> int:
        """The number of gaps so far. Not that of the list, which keeps the latest ones only."""
        stats = self._client.stats()
        return sum(part.get("gaps", 0) for part in (stats, stats.get("private", {}), stats.get("level3", {})))

    def take(self) -> List[Dict[str, Any]]:
        """Return the gaps since the last call."""
        count = self.count
        new, self._taken = count - self._taken, count
        return self._client.gaps()[-new:] if new > 0 else []


class Feed:
    """The client of a command, and when the command is to stop.

    Args:
        client: the client.
        options: those of the command.
        connected: what to call when the client has reached the exchange.
    """

    def __init__(
        self, client: SpotWSClient, options: Dict[str, Any], connected: Callable[[], None] = lambda: None
    ) -> None:
        self.client = client
        self.connected = connected
        self._gaps = NewGaps(client)
        self.form = form_of(
            bool(options.get("as_json")), bool(options.get("as_csv")), options.get("count") is not None
        )
        self._header = not options.get("no_header")
        self._left: Optional[int] = options.get("count")
        self._timeout: float = options.get("timeout") or TIMEOUT
        seconds: Optional[float] = options.get("seconds")
        self._end = None if seconds is None else time.monotonic() + seconds

    @property
    def live(self) -> bool:
        """Whether to show a live screen."""
        return self.form == lines.LIVE

    @property
    def timeout(self) -> float:
        """The seconds that the next call may take."""
        return (
            self._timeout if self._end is None else max(0.0, min(self._timeout, self._end - time.monotonic()))
        )

    def lines(self, channel: str, columns: Sequence[str] = (), gaps: bool = True) -> Lines:
        """Return what prints the items of a channel; see :class:`Lines`."""
        return Lines(self.form, channel, self._header, columns, gaps)

    def over(self) -> bool:
        """Return whether it is time to stop."""
        if self._end is not None and time.monotonic() >= self._end:
            return True
        return self._left == 0 or (not self.live and lines.pipe_closed())

    def wait(self, most: float = POLL) -> float:
        """Return the seconds to wait before calling :meth:`over` again."""
        return most if self._end is None else max(0.01, min(most, self._end - time.monotonic()))

    def new_gaps(self) -> List[Dict[str, Any]]:
        """Return the gaps since the last call."""
        return self._gaps.take()

    def counted(self) -> None:
        """Note that a line was printed."""
        if self._left is not None:
            self._left -= 1


@contextmanager
def running(options: Dict[str, Any], *, start: bool = True) -> Iterator[Feed]:
    """Give a client of the exchange or shared feed that the options name, until the end of the block.

    Args:
        options: those of :func:`connection_options`, :func:`feed_options` or :func:`market_options`.
        start: False if nothing public is needed; the client connects when it is used, and the command calls
            ``connected()`` of the feed then.
    """
    with ExitStack() as stack:
        held = stack.enter_context(log_to_stderr(options["verbose"]))
        client = shared(options) or SpotWSClient(
            **places(options, stack), **ways(options), parse_float=Decimal
        )
        feed = Feed(client, options, held.begin)
        stack.callback(client.close)
        if start:
            try:
                with _waiting():
                    client.start(feed.timeout)
            except ConnectFailed as error:
                if feed.over():
                    text = f"not connected within the {options['seconds']:g} s of --seconds: {error}"
                    raise ConnectFailed(text, step=error.step) from error
                raise
            feed.connected()
        yield feed


@contextmanager
def _waiting() -> Iterator[None]:
    """Say on a terminal that the client is connecting, until the end of the block."""
    shows = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if shows:
        click.echo("connecting ...", err=True, nl=False)
    try:
        yield
    finally:
        if shows:
            click.echo("\r\x1b[K", err=True, nl=False)


def shared(options: Dict[str, Any]) -> Optional[SharedClient]:
    """Return a client of the shared feed that the options name; None if they name none."""
    url, name = options.get("redis"), options.get("name")
    if url is None:
        if name is not None:
            raise click.UsageError("--name is that of a shared feed; give --redis, too")
        return None
    others = [f"--{one.replace('_', '-')}" for one in ("simulated", *URLS, *WAYS) if options[one]]
    if others:
        raise click.UsageError(
            f"--redis reads what kraken-sync publish has received; leave {' and '.join(others)} out"
        )
    return SharedClient(url, name="kraken" if name is None else name, parse_float=Decimal)


def places(options: Dict[str, Any], stack: ExitStack) -> Dict[str, Any]:
    """Return where the exchange of the options is; a simulated one runs until ``stack`` is closed."""
    if not options["simulated"]:
        return {name: options[name] for name in URLS}
    if any(options[name] for name in URLS):
        raise click.UsageError("--simulated brings its own exchange; leave --ws-url and the others out")
    simulated: Dict[str, Any] = stack.enter_context(simulator_class()()).options
    return simulated


def ways(options: Dict[str, Any]) -> Dict[str, Any]:
    """Return how to reach the exchange, as arguments of a client."""
    proxy = options["proxy"]
    return {"proxy": False if proxy == "none" else proxy, "ca_file": options["ca_file"]}


def simulator_class() -> Any:
    """Return the class Simulator. Raises ClickException if it is not installed."""
    try:
        from ..simulator import Simulator
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    return Simulator


class _Held(logging.Handler):
    """Writes the log to stderr, from the moment on when the client is connected.

    A client that cannot connect logs why, and raises an error that says the same.
    """

    def __init__(self, hold: bool) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
        self._kept: Optional[List[logging.LogRecord]] = [] if hold else None

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or keep it for later."""
        if self._kept is not None:
            self._kept.append(record)
            return
        try:
            # In one piece, unlike print(): the main thread writes lines there, too.
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)

    def begin(self) -> None:
        """Write what was kept, and from now on everything at once."""
        kept, self._kept = self._kept or [], None
        for record in kept:
            self.emit(record)


@contextmanager
def log_to_stderr(verbose: int) -> Iterator[_Held]:
    """Send the library's log to stderr until the end of the block."""
    handler = _Held(hold=not verbose)
    logger = logging.getLogger("kraken_sync")
    logger.addHandler(handler)
    logger.setLevel([logging.WARNING, logging.INFO, logging.DEBUG][min(verbose, 2)])
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


@contextmanager
def terminable() -> Iterator[None]:
    """Treat SIGTERM as Ctrl-C, so that a file is finished and a terminal is left as it was."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
