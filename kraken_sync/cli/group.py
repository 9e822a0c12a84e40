"""The ``kraken-sync`` command: its group, and completion for shells."""

from __future__ import annotations

import os
from typing import Any

import click
from click.shell_completion import get_completion_class, shell_complete

from ..version import __version__
from . import account, checkup, demo, market, recordings, sharing

NAME = "kraken-sync"
VARIABLE = "_KRAKEN_SYNC_COMPLETE"
"""The environment variable by which a shell asks for completions; click's convention for this name."""
CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
SHELLS = ("bash", "fish", "zsh")


@click.group(context_settings=CONTEXT)
@click.version_option(__version__)
def group() -> None:
    """Kraken's Spot WebSocket market data, verified, in a terminal or a pipe.

    \b
    kraken-sync demo                     a simulated exchange, live, without internet
    kraken-sync book BTC/USD             a verified order book
    kraken-sync trades BTC/USD ETH/USD   trades, one JSON object a line when piped
    kraken-sync doctor                   is it me or Kraken?
    kraken-sync publish BTC/USD          one feed for many processes, through Redis
    kraken-sync record btc.jsonl BTC/USD record everything, raw
    kraken-sync verify btc.jsonl         check every checksum of a recording
    kraken-sync replay btc.jsonl         serve a recording as an exchange
    kraken-sync export btc.jsonl --to trades.csv
    """


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """The script that completes commands, options and channels in SHELL.

    \b
    eval "$(kraken-sync completion bash)"       # in ~/.bashrc
    eval "$(kraken-sync completion zsh)"        # in ~/.zshrc, after compinit
    kraken-sync completion fish | source        # in ~/.config/fish/config.fish
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(group, {}, NAME, VARIABLE).source())


def completed() -> Any:
    """Answer a shell that asks for completions, and return the exit code; None if none asks."""
    asked = os.environ.get(VARIABLE)
    return shell_complete(group, {}, NAME, VARIABLE, asked) if asked else None


for command in (
    demo.demo,
    market.book,
    market.ticker,
    market.trades,
    market.ohlc,
    market.instruments,
    market.listen,
    account.balances,
    account.orders,
    account.executions,
    checkup.status,
    checkup.doctor,
    demo.simulate,
    sharing.publish,
    recordings.record,
    recordings.verify_recording,
    recordings.replay_recordings,
    recordings.export_recordings,
    recordings.plot_recordings,
    completion,
):
    group.add_command(command)
