"""The subcommands that make and check recordings."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple, cast

import click

from ..core.wire.channels import CHANNELS, DEPTHS, INTERVALS, ORDER_DEPTHS
from ..core.wire.recorded import FORMS
from ..errors import KrakenError
from ..recording import Recorder, Report, export, plot_health, verify, verify_archive, verify_file
from ..recording.manifest import is_recording
from ..recording.rows import TABLES
from .feed import POLL, Feed, connection_options, one_of, running, terminable
from .lines import print_json

RECORDED = ("book", "trade", "ticker", "ohlc", "instrument", "level3")
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


@click.command()
@click.argument("file")
@click.argument("symbols", nargs=-1, required=True)
@click.option(
    "--channels",
    default="book,trade",
    show_default=True,
    help=f"Some of {', '.join(RECORDED)} (level3 needs an API key in the environment).",
)
@click.option("--depth", type=one_of(DEPTHS), default="10", show_default=True, help="Levels a side of book.")
@click.option("--interval", type=one_of(INTERVALS), default="1", show_default=True, help="Minutes of ohlc.")
@click.option("--max-bytes", help="Begin another file when one has this size, such as 100M.")
@click.option("--daily", is_flag=True, help="Begin another file at midnight UTC.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Stop after this long.")
@connection_options
def record(file: str, symbols: Tuple[str, ...], channels: str, **options: Any) -> None:
    """Record everything that the exchange sends, raw, until Ctrl-C or SIGTERM.

    FILE ends in .jsonl, .jsonl.gz or .jsonl.zst. Every book message is verified while it is recorded, and
    what is missing is noted. A manifest with counts and a hash for each file is kept beside it.

    \b
    kraken-sync record btc.jsonl.gz BTC/USD --seconds 60
    kraken-sync record day.jsonl.gz BTC/USD ETH/USD --channels book,trade,ticker --depth 100 --daily
    """
    wanted = [name.strip() for name in channels.split(",") if name.strip()]
    if any(is_recording(Path(symbol)) for symbol in symbols):
        raise click.UsageError(f"the file comes first: kraken-sync record {symbols[-1]} {file}")
    unknown = set(wanted) - set(RECORDED)
    if unknown or not wanted:
        raise click.UsageError(f"--channels takes some of {', '.join(RECORDED)}, not {channels!r}")
    size = _size(options["max_bytes"]) if options["max_bytes"] else None
    with terminable(), running({**options, "as_json": True, "count": None}) as feed:
        # First, so that a symbol that does not exist leaves no file: a recorder knows what is subscribed.
        held = _subscribe(feed, wanted, symbols, int(options["depth"]), int(options["interval"]))
        recorder = Recorder(feed.client, file, max_bytes=size, daily=options["daily"])
        with recorder, suppress(KeyboardInterrupt):  # an interrupt is the usual end, but not of the closing
            _watch(feed, recorder)
        del held
        stats = feed.client.stats()
        mismatched = sum(part.get("mismatched", 0) for part in (stats, stats.get("level3", {})))
    if recorder.dropped or mismatched:
        click.echo(f"{recorder.dropped} records dropped, {mismatched} checksums failed", err=True)
    click.echo(
        f"{recorder.records} records in {', '.join(path.name for path in recorder.files[-3:])}"
        f"{f' and {len(recorder.files) - 3} more' if len(recorder.files) > 3 else ''}; "
        f"{recorder.book_messages} book messages, {len(feed.client.gaps())} gaps",
        err=True,
    )


def _subscribe(
    feed: Feed, wanted: List[str], symbols: Tuple[str, ...], depth: int, interval: int
) -> List[Any]:
    """Subscribe to everything, and return what holds it."""
    client = feed.client
    held: List[Any] = []
    for channel in wanted:
        if channel == "book":
            held += [client.book(symbol, cast(Any, depth), timeout=feed.timeout) for symbol in symbols]
        elif channel == "level3":
            deep = min((one for one in ORDER_DEPTHS if one >= depth), default=ORDER_DEPTHS[-1])
            held += [client.level3_book(symbol, cast(Any, deep), timeout=feed.timeout) for symbol in symbols]
        else:
            params: Dict[str, Any] = {"channel": channel}
            if CHANNELS[channel].symbols:
                params["symbol"] = list(symbols)
            if channel == "ohlc":
                params["interval"] = interval
            if channel == "trade":
                params["snapshot"] = True
            # Nobody reads it: the recorder gets the frames, and here only the latest is kept.
            held.append(
                client.subscribe(params, timeout=feed.timeout, maxlen=len(symbols), policy="conflate")
            )
    return held


def _watch(feed: Feed, recorder: Recorder) -> None:
    told = time.monotonic()
    try:
        while not feed.over():
            time.sleep(min(0.2, feed.wait()))
            if time.monotonic() - told >= 1:
                told = time.monotonic()
                _show(
                    f"{recorder.files[-1].name}: {recorder.records:,} records, "
                    f"{feed.client.stats()['verified']:,} verified, "
                    f"{len(feed.client.gaps())} gaps, {recorder.dropped} dropped "
                )
    finally:
        if sys.stderr.isatty():
            click.echo("", err=True)


def _size(text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kMG]?)B?", text)
    size = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if size < 1:
        raise click.BadParameter(f"{text!r} is not like 500k, 100M or 2G", param_hint="--max-bytes")
    return size


@click.command("verify")
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--archive", metavar="DIR", help="Check all recordings in a directory, and their manifests.")
@click.option(
    "--decimals",
    multiple=True,
    metavar="SYMBOL=PRICE,QTY",
    help="Decimals of a symbol whose text has lost its trailing zeros, such as BTC/USD=1,8.",
)
@click.option("--json", "as_json", is_flag=True, help="The report as one JSON object.")
def verify_recording(
    file: Optional[str], archive: Optional[str], decimals: Tuple[str, ...], as_json: bool
) -> int:
    """Check every book and level3 message of a recording against the exchange's checksums.

    \b
    kraken-sync verify btc.jsonl.gz
    kraken-sync verify --archive recordings/
    kraken-sync verify other.csv --decimals BTC/USD=1,8

    FILE may end in .gz or .zst, or be - for the standard input.
    """
    known = dict(map(_decimals, decimals))
    if (file is None) == (archive is None):
        raise click.UsageError("name a FILE, or --archive and a directory")
    if archive is not None:
        return _verify_archive(archive, known, as_json)
    assert file is not None
    if file == "-":
        report = verify(sys.stdin.buffer.read(), known)
    else:
        with progress("verifying", Path(file)) as read:
            report = verify_file(file, known, read)
    _tell(file, report)
    if as_json:
        sys.stdout.write(json.dumps(report.as_dict()) + "\n")
    else:
        _print_report(report)
    return 1 if report.mismatched or not report.verified else 0


def _verify_archive(directory: str, known: Any, as_json: bool) -> int:
    found = verify_archive(directory, known, lambda path: _show(f"{path.name} "))
    _show("")
    for one in found.files:
        _tell(one.file, one.report, must_verify=False)
    if as_json:
        sys.stdout.write(json.dumps(found.as_dict()) + "\n")
        return 0 if found.proven else 1
    for one in found.files:
        report = one.report
        if not report.verified:
            state = "nothing in it has a checksum"
        else:
            state = "proven" if one.listed else "its checksums match"
        state = "; ".join(one.faults) or state
        click.echo(
            f"{one.file}: {state}: {report.messages} messages, {report.verified} verified, "
            f"{report.skipped} skipped, {len(report.gaps)} gaps{f'; {report.cut}' if report.cut else ''}"
        )
    for fault in found.faults:
        click.echo(fault)
    verdict = "the archive is proven" if found.proven else "the archive is NOT proven"
    if found.unlisted:
        verdict += (
            f", except that {len(found.unlisted)} files are in no manifest: {', '.join(found.unlisted)}"
        )
    click.echo(verdict)
    return 0 if found.proven else 1


def _tell(name: str, report: Report, must_verify: bool = True) -> None:
    """Print what is wrong with a recording to stderr."""
    for mismatch in report.mismatches[:20]:
        computed = "no number" if mismatch.computed is None else mismatch.computed
        click.echo(
            f"{name}:{mismatch.line}: {mismatch.channel} {mismatch.symbol}: "
            f"expected {mismatch.expected}, computed {computed}",
            err=True,
        )
    if len(report.mismatches) > 20:
        click.echo(f"... and {len(report.mismatches) - 20} more mismatches", err=True)
    if report.cut:
        click.echo(f"{name}: {report.cut}; everything before it was read", err=True)
    if must_verify and not report.verified:
        why = "it has no order book messages, or no snapshot before them"
        if not report.messages:
            why = f"it has no message of the exchange that can be read. {FORMS}"
        click.echo(f"{name}: nothing was verified: {why}", err=True)


def _print_report(report: Report) -> None:
    click.echo(
        f"{report.messages} messages, {report.book_messages} of them book messages of "
        f"{', '.join(report.symbols) or 'no symbol'}\n"
        f"{report.verified} verified, {report.mismatched} mismatched, {report.skipped} skipped "
        f"({report.sent} sent and {report.foreign} foreign lines)"
        f"{f', {len(report.gaps)} gaps' if report.gaps else ''}\n"
        f"{report.seconds:.3f} s, {report.messages_per_second:,.0f} messages a second"
    )


def _decimals(text: str) -> Tuple[str, Tuple[int, int]]:
    symbol, _, digits = text.partition("=")
    try:
        price, qty = (int(number) for number in digits.split(","))
        if not symbol or min(price, qty) < 0:
            raise ValueError
    except ValueError:
        raise click.BadParameter(f"{text!r} is not like BTC/USD=1,8", param_hint="--decimals") from None
    return symbol, (price, qty)


@click.command("replay")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--speed", default="1", show_default=True, help="Times as fast as recorded, or max.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65534), default=0, help="WebSocket; REST is the next one.")
def replay_recordings(files: Tuple[str, ...], speed: str, host: str, port: int) -> None:
    """Serve recordings as an exchange: yesterday's data for any client.

    The first line says where it is. It plays from the first subscription on, and ends when everything was
    sent, or on Ctrl-C or SIGTERM.

    \b
    kraken-sync replay btc.jsonl.gz --port 8765 --speed 10
    kraken-sync book BTC/USD --ws-url ws://127.0.0.1:8765 --rest-url http://127.0.0.1:8766
    """
    try:
        from ..replay import Replay
    except ImportError as error:
        raise click.ClickException(str(error)) from None
    try:
        times: Any = speed if speed == "max" else float(speed)
    except ValueError:
        raise click.BadParameter(f"{speed!r} is neither a number nor max", param_hint="--speed") from None
    replay = Replay(
        files, speed=times, host=host, port=port, progress=lambda path: _show(f"reading {path.name} ")
    )
    _show("")
    with terminable():
        replay.start()
        try:
            print_json(
                {
                    **replay.options,
                    "symbols": list(replay.symbols),
                    "messages": replay.messages,
                    "begin": f"{replay.begin:%Y-%m-%dT%H:%M:%S.%fZ}",
                    "end": f"{replay.end:%Y-%m-%dT%H:%M:%S.%fZ}",
                }
            )
            while not replay.wait(POLL):
                if replay.position is not None:
                    _show(f"{replay.position:%Y-%m-%d %H:%M:%S} ")
            for text in replay.cut:
                click.echo(f"\r{text}; everything before it was served", err=True)
        except KeyboardInterrupt:
            pass  # the usual end
        replay.stop(1000 if replay.finished else 1001)
    if replay.errors:
        raise KrakenError(f"a fault of kraken_sync itself ended the replay: {replay.errors[0]!r}")


@click.command("export")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--to", required=True, metavar="OUT", help="trades.parquet, books.csv, market.sqlite, ...")
@click.option("--what", type=click.Choice(list(TABLES)), help="The table, if the name of OUT does not tell.")
@click.option("--every", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Milliseconds between two rows of depth.")  # fmt: skip
@click.option("--levels", type=click.IntRange(min=1), default=10, show_default=True,
              help="Levels a side in depth.")  # fmt: skip
def export_recordings(files: Tuple[str, ...], to: str, what: Optional[str], every: int, levels: int) -> None:
    """Write trades, best prices, depth, candles or gaps of recordings to a table.

    Numbers keep all their digits. A book has rows only while its checksums match. A SQLite file has all
    tables, and exporting the same again changes nothing in it.

    \b
    kraken-sync export btc.jsonl.gz --to trades.parquet
    kraken-sync export btc.jsonl.gz --to depth.csv --every 100 --levels 5
    kraken-sync export day-*.jsonl.gz --to market.sqlite
    """
    with progress("exporting", *map(Path, files)) as read:
        counts = export(files, to, what=what, every_ms=every, levels=levels, progress=read)
    rows = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    click.echo(f"{to}: {rows}", err=True)


@click.command("plot")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False))
@click.option("--to", required=True, metavar="OUT", help="health.png, health.svg, ...")
def plot_recordings(files: Tuple[str, ...], to: str) -> None:
    """Draw how healthy recordings are: message rates, spreads, and what is missing.

    \b
    kraken-sync plot btc.jsonl.gz --to health.png
    """
    plot_health(files).savefig(to, dpi=110)


def _show(text: str) -> None:
    """Replace what the terminal's last line shows, if there is a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r{text}\x1b[K", err=True, nl=False)


@contextmanager
def progress(what: str, *files: Path) -> Iterator[Callable[[int], None]]:
    """Show a bar on the terminal while files are read; call the function with the number of bytes so far."""
    size = sum(path.stat().st_size for path in files if path.exists())
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda read: None
        return
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=size or None)
        yield lambda read: bar.update(task, completed=read)
