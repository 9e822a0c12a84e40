"""For notebooks: a view that follows what it shows, and pictures.

Books, orders, balances, streams, clients and results show themselves as small tables when a cell evaluates
them. :func:`live` does that again and again in the same place.
"""

from __future__ import annotations

import time
from typing import Any, List, Optional

from .core.plots import plot_candles

__all__ = ["live", "plot_candles"]

FASTEST = 0.25
"""The least seconds between two frames."""


def live(*things: Any, seconds: Optional[float] = None, refresh: float = FASTEST) -> None:
    """Show things in the output of this cell, and keep them up to date.

    ::

        live(client.book("BTC/USD"), client.orders)

    Blocks until ``seconds`` have passed, or the cell is interrupted (which is no error), or all books and
    streams among the things have ended. The last state stays in the output.

    Args:
        things: anything that a cell can show.
        seconds: how long; None until the cell is interrupted.
        refresh: seconds between two frames, 0.25 at least.

    Raises:
        ImportError: IPython is not installed.
        ValueError: there is nothing to show, or ``refresh`` is less than 0.25.
    """
    if not things:
        raise ValueError("name what to show, such as live(book)")
    if seconds is not None and not (isinstance(seconds, (int, float)) and seconds > 0):
        raise ValueError(f"seconds must be a number of more than 0, or None, not {seconds!r:.80}")
    if not refresh >= FASTEST:
        raise ValueError(f"refresh must be {FASTEST} seconds or more, not {refresh!r}")
    try:
        from IPython import display
    except ImportError:
        raise ImportError('live() needs IPython: pip install "kraken-sync[notebook]"') from None
    output: Any = display  # it has no types
    end = None if seconds is None else time.monotonic() + seconds
    shown = _html(things)
    handle = output.display(output.HTML(shown), display_id=True)
    try:
        while not _ended(things) and (end is None or time.monotonic() < end):
            time.sleep(refresh if end is None else max(0.0, min(refresh, end - time.monotonic())))
            now = _html(things)
            if now != shown and handle is not None:
                shown = now
                handle.update(output.HTML(shown))
    except KeyboardInterrupt:
        pass  # the usual end: the button that interrupts a cell


def _html(things: Any) -> str:
    from html import escape

    parts: List[str] = []
    for thing in things:
        make = None if isinstance(thing, type) else getattr(thing, "_repr_html_", None)
        made = make() if make is not None else None
        parts.append(made if made is not None else f"<pre>{escape(repr(thing))}</pre>")
    return "".join(parts)


def _ended(things: Any) -> bool:
    over = [getattr(thing, "over", None) for thing in things]
    known = [one for one in over if isinstance(one, bool)]
    return bool(known) and all(known)
