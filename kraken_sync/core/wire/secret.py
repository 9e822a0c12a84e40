"""Keys, secrets and tokens, wrapped so that they are not shown by accident."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """A text that only :meth:`reveal` shows: not a repr, a log line, a traceback or a pickle.

    >>> Secret("hunter2")
    Secret(***)
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class HiddenBytes(bytes):
    """Bytes to be sent that contain a token; their repr does not show them."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"
