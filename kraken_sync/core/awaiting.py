"""Advice for code that was written for asyncio and still has an ``await``."""

from __future__ import annotations

from typing import Any, NoReturn

ADVICE = "For asyncio there is python-kraken-sdk."


class Blocking:
    """A base of what callers of asynchronous libraries would put ``await`` or ``async`` in front of.

    It has no state and changes nothing for code that does not do so.
    """

    __slots__ = ()

    def __await__(self) -> NoReturn:
        raise TypeError(
            f"kraken_sync is synchronous: the call has returned already ({type(self).__name__}). "
            f'Drop the "await". {ADVICE}'
        )

    def __aiter__(self) -> NoReturn:
        raise TypeError(f'{type(self).__name__} blocks: write "for" without "async". {ADVICE}')

    async def __aenter__(self) -> NoReturn:
        raise TypeError(f'{type(self).__name__} blocks: write "with" without "async". {ADVICE}')

    async def __aexit__(self, *error: Any) -> None:
        """Exist, so that Python gets as far as :meth:`__aenter__`."""
