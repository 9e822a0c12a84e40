"""The output of the command: JSON lines for pipes, live tables for terminals."""

from __future__ import annotations

import os
import select
import sys
from collections import deque
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Callable, Deque, Dict, Iterator, List, Mapping, Optional, Sequence

from ..core.book.snapshot import BookSnapshot
from ..core.wire.messages import encode
from ..market.order_book import OrderBook

ROWS = 15
"""The number of rows of a rolling table."""
LADDER = 12
"""The number of levels on each side in the table of a single book."""


def wants_table(as_json: bool) -> bool:
    """Return whether to show a live table: stdout is a terminal that can, and ``rich`` is installed."""
    if as_json or not sys.stdout.isatty() or os.environ.get("TERM") == "dumb":
        return False
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


def print_json(message: Mapping[str, Any]) -> None:
    """Print one JSON object on a line of its own and flush, with exact digits and in ASCII."""
    # ASCII, so that the output does not depend on the encoding of the terminal or the locale.
    text = encode(message).decode()
    sys.stdout.write(text.encode("ascii", "backslashreplace").decode() + "\n")
    sys.stdout.flush()


def pipe_closed() -> bool:
    """Return whether the reader of stdout has closed the pipe.

    Without this a command whose feed is quiet would notice it only with its next line.
    """
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def book_line(state: BookSnapshot) -> Dict[str, Any]:
    """Return a book as the dict that is printed into a pipe."""
    return {
        "symbol": state.symbol,
        "bids": [level._asdict() for level in state.bids],
        "asks": [level._asdict() for level in state.asks],
        "checksum": state.checksum,
        "timestamp": state.timestamp,
    }


def gap_line(gap: Mapping[str, Any]) -> Dict[str, Any]:
    """Return a gap as the dict that is printed into a pipe."""
    return {"type": "gap", **gap}


@contextmanager
def live_table() -> Iterator[Callable[[Any], None]]:
    """Give a function that shows a table at a fixed place on the terminal, refreshed 4 times a second."""
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(), auto_refresh=True, refresh_per_second=4) as live:
        yield live.update


class RollingTable:
    """A table of the latest rows of a feed."""

    def __init__(self, title: str, columns: Sequence[str]) -> None:
        self._title = title
        self._columns = columns
        self._rows: Deque[List[str]] = deque(maxlen=ROWS)

    def add(self, item: Mapping[str, Any]) -> Any:
        """Add a row (or a gap), and return the table."""
        if item.get("type") == "gap":
            self._rows.append([f"gap: {item['data'][0]['reason']}"])
        else:
            self._rows.append([text(item.get(column)) for column in self._columns])
        return table(self._title, self._columns, list(self._rows))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """Return a rich table of plain texts with its title above."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    made = Table()
    # In a narrow terminal numbers are shortened with an ellipsis, where that can be written, and folded where
    # it cannot: a number that is cut without a sign is another number.
    utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    for column in columns:
        made.add_column(
            column,
            justify="left" if column in ("symbol", "timestamp") else "right",
            overflow="ellipsis" if utf8 else "fold",
        )
    for row in rows:
        made.add_row(*(Text(cell) for cell in row))  # not str, in which rich would interpret [markup]
    return Group(Text(title, style="bold"), made)


def ladder(book: OrderBook, verified: int) -> Any:
    """Return one book as a table, bids on the left and asks on the right, the best levels first."""
    state = book.stale.snapshot(LADDER)
    rows = []
    for index in range(max(len(state.bids), len(state.asks))):
        bid = state.bids[index] if index < len(state.bids) else None
        ask = state.asks[index] if index < len(state.asks) else None
        rows.append(
            [
                text(bid.qty if bid else None),
                text(bid.price if bid else None),
                text(ask.price if ask else None),
                text(ask.qty if ask else None),
            ]
        )
    title = (
        f"{state.symbol}  {book.state}  age {state.age:.1f} s  spread {text(state.spread)}  "
        f"{verified} verified"
    )
    return table(title, ["bid qty", "bid", "ask", "ask qty"], rows)


def overview(books: Sequence[OrderBook], stats: Mapping[str, Any], title: str) -> Any:
    """Return several books as a table with one row each."""
    rows = []
    for book in books:
        state = book.stale.snapshot(1)
        bid, ask = state.best_bid, state.best_ask
        rows.append(
            [
                book.symbol,
                text(bid.qty if bid else None),
                text(bid.price if bid else None),
                text(ask.price if ask else None),
                text(ask.qty if ask else None),
                text(state.spread),
                str(book.state),
            ]
        )
    counts = f"{stats.get('verified', 0)} verified, {stats.get('mismatched', 0)} mismatched"
    columns = ["symbol", "bid qty", "bid", "ask", "ask qty", "spread", "state"]
    return table(f"{title}  {counts}", columns, rows)


def text(value: Optional[Any]) -> str:
    """Return a value as text: decimals in fixed point, and no control characters for the terminal."""
    if value is None:
        return "-"
    if isinstance(value, Decimal):
        return format(value, "f")
    return "".join(character if character.isprintable() else "?" for character in str(value))
