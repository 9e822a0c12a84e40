"""Why what is connected to threads cannot be pickled or copied."""

from __future__ import annotations

from typing import Any, Callable, NoReturn


def refuse_copy(instead: str) -> Callable[[Any], NoReturn]:
    """Return a ``__reduce__`` that raises TypeError with the advice ``instead``.

    ``pickle`` and ``copy`` both use it. Without it they fail at some lock far inside, or give an object that
    shares the threads of the first one.
    """

    def reduce(self: Any) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} is connected to threads of this process and cannot be pickled or copied; "
            f"{instead}"
        )

    return reduce
