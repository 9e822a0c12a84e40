"""What the library advises a program to do, in words for users of the command."""

from __future__ import annotations

import re

_ADVICE = (
    (r"client\.symbols\('(.*?)'\)", r"kraken-sync instruments \1"),
    (r"is one text; pass a list: \[.*\]", "is one text; separate the symbols with blanks"),
    (r"needs a symbol, such as \{.*\}", "needs a symbol, such as BTC/USD"),
    (r"\S+ needs an API key: pass key= and secret= to the client, or set", "Set"),
    (r"max_bytes= or daily=", "--max-bytes or --daily"),
    (
        r"Give (auth|level3)_ws_url, too; for a simulator, SpotWSClient\(\*\*simulator\.options\)",
        r"Give --\1-ws-url, too",
    ),
    (r"rest_url was not given", "--rest-url was not given"),
    (r"ca_file=(')", r"--ca-file \1"),
    (r"ca_file=", "--ca-file"),
    (r"proxy='(\S+)'", r"--proxy \1"),
    (r"use a SpotWSClient\. A SharedClient has market data only", "leave --redis out"),
)


def advised(text: str) -> str:
    """Return the text of an error as a user of the command is told it.

    >>> advised("no certificates can be read from ca_file='x.pem'. Pass it as ca_file=, or not")
    "no certificates can be read from --ca-file 'x.pem'. Pass it as --ca-file, or not"
    >>> advised("It wants a login: proxy='http://user:password@host:port', with special characters quoted")
    'It wants a login: --proxy http://user:password@host:port, with special characters quoted'
    """
    for call, option in _ADVICE:
        text = re.sub(call, option, text)
    return text
