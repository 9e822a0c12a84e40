"""The ``kraken-sync`` command: turns what happens into output and exit codes.

Data go to stdout, everything else to stderr. Exit codes: 0 fine, 1 failure, 2 usage, 3 network or timeout,
4 refused by the exchange, 5 credentials, 6 a book that could not be verified, 130 interrupted.
"""

from __future__ import annotations

import os
import re
import sys
from typing import List, Optional

from ..errors import (
    BookNotLive,
    ConnectFailed,
    ConnectionLost,
    CredentialsMissing,
    KrakenError,
    ReplyTimeout,
    RequestRefused,
)

FAILURE, USAGE, NETWORK, REFUSED, CREDENTIALS, NOT_LIVE, INTERRUPTED = 1, 2, 3, 4, 5, 6, 130


def main(args: Optional[List[str]] = None) -> None:
    """Run the command and exit."""
    if sys.stdout is None or sys.stderr is None:  # started with a closed descriptor
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    try:
        from .commands import group
    except ImportError as error:
        if error.name not in ("click", "rich"):
            raise
        print('the command line needs click: pip install "kraken-sync[cli]"', file=sys.stderr)
        sys.exit(USAGE)
    try:
        # not group.main(): that prints "Aborted!" and has exit codes of its own
        with group.make_context("kraken-sync", sys.argv[1:] if args is None else args) as context:
            result = group.invoke(context)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
        code = 0
    except (KeyboardInterrupt, EOFError):
        code = INTERRUPTED
    except Exception as error:
        code = _explain(error)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop_stdout()
    sys.exit(code)


def _explain(error: Exception) -> int:
    """Say what went wrong on stderr; the exit code for it."""
    import click

    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.exceptions.Abort):
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if not isinstance(error, (KrakenError, ValueError, TypeError, OSError, ImportError)):
        raise error
    advice = re.sub(r"client\.symbols\('(.*?)'\)", r"kraken-sync instruments \1", str(error))
    print(f"error: {advice}", file=sys.stderr)
    if isinstance(error, (ConnectFailed, ConnectionLost, ReplyTimeout)):
        return NETWORK
    if isinstance(error, RequestRefused):
        return REFUSED
    if isinstance(error, CredentialsMissing):
        return CREDENTIALS
    if isinstance(error, BookNotLive):
        return NOT_LIVE
    return USAGE if isinstance(error, (ValueError, TypeError)) else FAILURE


def _drop_stdout() -> None:
    """Nobody reads stdout any more: keep the interpreter from complaining about it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
