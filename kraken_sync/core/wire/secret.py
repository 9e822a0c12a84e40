"""Keys, secrets and tokens, wrapped so that nothing shows them by accident."""

from __future__ import annotations

from typing import NoReturn


class Secret:
    """A text that is seen only by :meth:`reveal`: not in a repr, a log line, a traceback or a pickle.

    >>> Secret("hunter2")
    Secret(***)
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


class HiddenBytes(bytes):
    """Bytes on their way out that carry a token; their repr does not show them."""

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"
