"""Makes the tables of the documents that are taken from the code, and puts them where they belong.

``python docs/tables.py`` rewrites them; ``tests/test_docs.py`` fails while one of them is not what it makes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import List, Sequence

from kraken_sync.core.session.states import DUE, TRANSITIONS, Cause, State
from kraken_sync.io.locks import ORDER

HERE = Path(__file__).parent


def table(rows: Sequence[Sequence[str]]) -> str:
    """A simple reStructuredText table; the first row is its head."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    border = "  ".join("=" * width for width in widths)
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return "\n".join([border, lines[0], border, *lines[1:], border])


def transitions() -> str:
    """Every state of a subscription: what is due in it, and where each event leads."""
    rows: List[List[str]] = [["state", "due", "event", "next state"]]
    for state in State:
        moves = [(event, TRANSITIONS[state][event]) for event in Cause if event in TRANSITIONS[state]]
        first = [state.value, DUE.get(state, "\\-")]
        for event, after in moves or [(None, None)]:
            names = [event.value, after.value] if event is not None and after is not None else ["\\-", "\\-"]
            rows.append([*first, *names])
            first = ["\\", ""]  # the row belongs to the state above
    return table(rows)


def locks() -> str:
    """The locks of this library, in the order in which they are taken."""
    return table([["lock", "what it guards"], *([name, words] for name, words in ORDER.items())])


TABLES = {("design.rst", "transitions"): transitions, ("threads.rst", "locks"): locks}


def placed(text: str, name: str, made: str) -> str:
    """``text`` with the table between the two comments of its name."""
    pattern = re.compile(rf"(\.\. {name}: begin[^\n]*\n).*?(\.\. {name}: end)", re.S)
    return pattern.sub(lambda found: f"{found[1]}\n{made}\n\n{found[2]}", text)


if __name__ == "__main__":
    for (page, name), make in TABLES.items():
        path = HERE / page
        path.write_text(placed(path.read_text("utf-8"), name, make()), "utf-8")
