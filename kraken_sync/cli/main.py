"""The entry point of the ``kraken-sync`` command, and its exit codes.

Data are written to stdout, everything else to stderr. The exit codes are 0 for success, 1 for a failure, 2
for wrong usage, 3 for the network or a timeout, 4 for a refusal by the exchange, 5 for missing credentials, 6
for a book that could not be verified, and 130 for an interrupt.
"""

from __future__ import annotations

import io
import os
import sys
from typing import List, Optional

from ..errors import (
    BookNotLive,
    ConnectFailed,
    ConnectionLost,
    CredentialsInvalid,
    CredentialsMissing,
    KrakenError,
    PermissionRefused,
    ReplyTimeout,
    RequestRefused,
)
from .advice import advised

FAILURE, USAGE, NETWORK, REFUSED, CREDENTIALS, NOT_LIVE, INTERRUPTED = 1, 2, 3, 4, 5, 6, 130


def main(args: Optional[List[str]] = None) -> None:
    """Run the command with ``args`` (by default those of the process), and exit."""
    # Python sets these to None if the process was started with the descriptor closed (">&-" in a shell).
    if sys.stdout is None or sys.stderr is None:
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # A character that the terminal's encoding lacks must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        from .group import NAME, completed, group
    except ImportError as error:
        if error.name not in ("click", "rich"):
            raise
        print('the command line needs click: pip install "kraken-sync[cli]"', file=sys.stderr)
        sys.exit(USAGE)
    try:
        answered = completed()
        if answered is not None:
            sys.exit(answered)
        # Not group.main(), which prints "Aborted!" and has exit codes of its own.
        with group.make_context(NAME, sys.argv[1:] if args is None else args) as context:
            result = group.invoke(context)
        code = result if isinstance(result, int) else 0
        sys.stdout.flush()
    # The reader of the pipe has what it wants ("| head"): that is no failure.
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
    """Print the error on stderr, and return its exit code. Raises unexpected errors again."""
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
    click.echo(f"error: {advised(str(error))}", err=True)
    if isinstance(error, (ConnectFailed, ConnectionLost, ReplyTimeout)):
        return NETWORK
    if isinstance(error, PermissionRefused):
        return CREDENTIALS
    if isinstance(error, RequestRefused):
        return REFUSED
    if isinstance(error, (CredentialsMissing, CredentialsInvalid)):
        return CREDENTIALS
    if isinstance(error, BookNotLive):
        return NOT_LIVE
    return USAGE if isinstance(error, (ValueError, TypeError)) else FAILURE


def _drop_stdout() -> None:
    """Redirect stdout to nowhere, so that the interpreter's last flush of it does not fail at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
