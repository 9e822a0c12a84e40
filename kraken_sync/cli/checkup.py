"""The subcommands ``status`` and ``doctor``. Their docstrings are the texts of ``--help``."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from typing import Any, List

import click

from .advice import advised
from .examination import FAIL, NOTE, OK, Check, Examination
from .feed import connection_options, log_to_stderr, places, running, ways
from .lines import print_json, print_text
from .plain import plain

COLOURS = {OK: "green", NOTE: "yellow", FAIL: "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON lines.")
@connection_options
def doctor(as_json: bool, **options: Any) -> int:
    """Is it me or Kraken? Check everything between here and the exchange.

    \b
    kraken-sync doctor
    kraken-sync doctor --proxy http://proxy.example:8080 --ca-file company.pem
    kraken-sync doctor --simulated

    Checks the proxy, DNS, TLS, the exchange's status, this machine's clock, the WebSocket, and the API key in
    the environment with its permissions. It places no order. Exits with 0 if nothing is wrong, 3 otherwise.
    """
    with ExitStack() as stack:
        stack.enter_context(log_to_stderr(options["verbose"]))
        where = places(options, stack)
        found: List[Check] = []
        for check in Examination(where, ways(options), options["timeout"]).checks():
            check = check._replace(text=advised(check.text))
            found.append(check)
            _print(check, as_json)
    failed = [check for check in found if check.verdict == FAIL]
    if not as_json:
        print_text(_verdict(failed))
    return 3 if failed else 0


def _print(check: Check, as_json: bool) -> None:
    if as_json:
        print_json(check._asdict())
        return
    mark = click.style(f"{check.verdict:4}", fg=COLOURS[check.verdict])
    plainly = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM", "dumb") == "dumb"
    click.echo(f"{mark}  {check.name}: {check.text}", color=False if plainly else None)
    if check.advice:
        print_text(f"      {check.advice}")
    sys.stdout.flush()


def _verdict(failed: List[Check]) -> str:
    if not failed:
        return "Nothing is wrong between here and the exchange."
    if any(check.name == "exchange" for check in failed):
        return "It is the exchange."
    return f"It is on this side, or in between: {', '.join(check.name for check in failed)}."


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@connection_options
def status(as_json: bool, **options: Any) -> int:
    """Whether the exchange is online, as the exchange says and as it is reached from here.

    \b
    kraken-sync status
    kraken-sync status --json | jq -r .system

    Exits with 0 if it is online, 4 if not.
    """
    began = time.monotonic()
    with running(options) as feed:
        client = feed.client
        connected = round(time.monotonic() - began, 3)
        state = {"system": client.stats()["system"], "since": None, "connected_in": connected}
        if options["rest_url"] or not options["ws_url"]:
            told = client.rest.system_status(timeout=feed.timeout)
            state["since"] = told.get("timestamp")
            if told.get("status") != "online":
                state["system"] = told.get("status")
        announced = client.announcements
    if as_json:
        print_json({**state, "announcements": [one.raw for one in announced]})
    else:
        since = f" (since {plain(state['since'])})" if state["since"] else ""
        print_text(f"Kraken: {plain(state['system'])}{since}. You: connected in {connected} s.")
        for one in announced:
            print_text(f"announced: {plain(str(one))}")
    return 0 if state["system"] == "online" else 4
