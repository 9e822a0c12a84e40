"""Text of a peer, made fit for logs, errors and terminals."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return ``text`` with all characters escaped that a terminal or a log would interpret.

    >>> print(printable("no \x1b[31mred\x07, no new\nline; but ü and €"))
    no \x1b[31mred\x07, no new\nline; but ü and €
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def without_login(url: str) -> str:
    """Return a URL as it may be shown: without the user and the password in it, whatever is in these.

    >>> [without_login(url) for url in ("https://me:secret@host/path", "me:a/b@host", "wss://host")]
    ['https://...@host/path', '...@host', 'wss://host']
    """
    scheme, slashes, rest = url.partition("://") if "://" in url else ("", "", url)
    _, at, host = rest.rpartition("@")
    return f"{scheme}{slashes}{'...@' if at else ''}{host}"
