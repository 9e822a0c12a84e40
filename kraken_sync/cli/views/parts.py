"""The building blocks of the live views: styled lines, columns that drop by priority, bars and sparklines.

Everything here is a function of its arguments. A view is a list of lines, each at most as wide as it was
asked to be. Columns are left out when there is no space for them, but a number that is shown is shown with
all its digits.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, List, NamedTuple, Optional, Sequence, Tuple

from rich.text import Text

from ..plain import change, number

UP, DOWN, FAINT, TITLE, NOTICE = "green", "red", "dim", "bold", "yellow"
GAP = 2
"""The number of blanks between two columns."""


class Glyphs(NamedTuple):
    """The characters for drawing."""

    bar: str
    """From one eighth of a cell to a whole one."""
    spark: str
    line: str
    dot: str
    dash: str

    @classmethod
    def of(cls, encoding: Optional[str]) -> Glyphs:
        """Return those that an encoding has."""
        return UNICODE if (encoding or "").lower().startswith("utf") else ASCII


UNICODE = Glyphs("▏▎▍▌▋▊▉█", "▁▂▃▄▅▆▇█", "│", "●", "─")
ASCII = Glyphs("#", "_.-=+*#", "|", "*", "-")


class Column(NamedTuple):
    """A column of a table."""

    title: str
    priority: int = 0
    """A column with a higher number is left out earlier; 0 never is."""
    right: bool = True


class Cell(NamedTuple):
    """A text and its style."""

    text: str
    style: str = ""


def table(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int, heading: bool = True
) -> List[Text]:
    """Return a table as lines of at most ``width`` cells; see :func:`blocks`."""
    head, made = blocks(columns, rows, width)
    return [*(head if heading else []), *(line for block in made for line in block)]


def blocks(
    columns: Sequence[Column], rows: Sequence[Sequence[Cell]], width: int
) -> Tuple[List[Text], List[List[Text]]]:
    """Return the heading and the rows of a table, each as lines of at most ``width`` cells.

    Columns are left out by their priority. If even those of priority 0 are too wide, each row takes several
    lines, so that no number is cut, and there is no heading.
    """
    sizes = [
        max([len(column.title), *(len(row[index].text) for row in rows)])
        for index, column in enumerate(columns)
    ]
    shown = list(range(len(columns)))
    while _width(sizes, shown) > width:
        last = max(shown, key=lambda index: (columns[index].priority, index))
        if columns[last].priority == 0:
            return [], [_folded([row[index] for index in shown], width) for row in rows]
        shown.remove(last)
    titles = [Cell(column.title, FAINT) for column in columns]
    return [_line(columns, titles, sizes, shown)], [[_line(columns, row, sizes, shown)] for row in rows]


def _width(sizes: Sequence[int], shown: Sequence[int]) -> int:
    return sum(sizes[number] for number in shown) + GAP * (len(shown) - 1)


def _line(columns: Sequence[Column], row: Sequence[Cell], sizes: Sequence[int], shown: Sequence[int]) -> Text:
    line = Text()
    for index in shown:
        text, style = row[index]
        if line:
            line.append(" " * GAP)
        right = columns[index].right
        line.append(text.rjust(sizes[index]) if right else text.ljust(sizes[index]), style)
    line.rstrip()
    return line


def _folded(row: Sequence[Cell], width: int) -> List[Text]:
    lines: List[Text] = []
    for text, style in row:
        if lines and len(lines[-1]) + 1 + len(text) <= width:
            lines[-1].append(" ").append(text, style)
            continue
        # What is wider than the terminal goes on in the next line: cut, it would be another number.
        for begin in range(0, len(text), width):
            lines.append(Text(text[begin : begin + width], style))
    return lines


def bar(part: float, width: int, glyphs: Glyphs, right: bool = False) -> str:
    """Return a bar that fills ``part`` (0 to 1) of ``width`` cells, from the right side if ``right``."""
    steps = len(glyphs.bar)
    filled = round(max(0.0, min(1.0, part)) * width * steps)
    whole, rest = divmod(filled, steps)
    # The eighths begin on the left of a cell. On a bar that grows to the left they would leave a slit.
    if right:
        return (glyphs.bar[-1] * (whole + (2 * rest > steps))).rjust(width)
    return (glyphs.bar[-1] * whole + (glyphs.bar[rest - 1] if rest else "")).ljust(width)


def sparkline(values: Sequence[Decimal], width: int, glyphs: Glyphs) -> str:
    """Return the latest ``width`` values as a line of characters of different heights."""
    latest = list(values)[-width:]
    if not latest:
        return ""
    low, high = min(latest), max(latest)
    top = len(glyphs.spark) - 1
    if low == high:
        return glyphs.spark[top // 2] * len(latest)
    return "".join(glyphs.spark[int((value - low) / (high - low) * top)] for value in latest)


def beside(columns: Sequence[Tuple[List[Text], int]], between: str = "   ") -> List[Text]:
    """Return blocks of lines side by side; each comes with its width."""
    height = max(len(lines) for lines, _ in columns)
    made = []
    for row in range(height):
        line = Text()
        for index, (lines, width) in enumerate(columns):
            if index:
                line.append(between)
            piece = lines[row].copy() if row < len(lines) else Text()
            if index < len(columns) - 1:
                piece.pad_right(max(0, width - len(piece)))
            line.append_text(piece)
        made.append(line)
    return made


def words(pieces: Sequence[Cell], width: int) -> Text:
    """Return pieces on one line, as many as there is space for."""
    line = Text()
    for text, style in pieces:
        if not text:
            continue
        space = width - len(line) - (GAP if line else 0)
        if len(text) > space:
            if not line:  # a title is text, so it may be cut where it cannot be shown whole
                line.append(text[:width], style)
            break
        if line:
            line.append(" " * GAP)
        line.append(text, style)
    return line


def moved(value: Any) -> Cell:
    """Return a change in percent, with its sign and colour."""
    percent = number(value)
    return Cell(change(percent), "" if not percent else UP if percent > 0 else DOWN)
