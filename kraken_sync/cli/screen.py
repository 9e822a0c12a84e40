"""The live screen: a view that fills the terminal, with a footer for the log and for gaps.

It is drawn on the terminal's alternate screen, so that nothing else can tear it. When it ends, the last frame
and the warnings of the meantime are printed on the usual screen, where they stay.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from typing import Any, Callable, Deque, Iterator, List, Optional, Tuple

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..client import SpotWSClient
from .feed import NewGaps
from .plain import clock, plain
from .views.parts import DOWN, FAINT, NOTICE, UP, Cell, Glyphs, words

REFRESH = 0.2
"""The seconds between two frames."""
NOTICES = 5
"""The number of log lines and gaps in the footer."""
KEPT = 100
"""The number of warnings that are printed at the end."""

View = Callable[[int, int, Glyphs], List[Text]]
"""Makes the lines of a view from the width and height that there are."""


class Notices(logging.Handler):
    """Keeps the log for the footer. Any thread."""

    def __init__(self) -> None:
        super().__init__()
        self._guard = threading.Lock()
        self._latest: Deque[Tuple[str, str, str]] = deque(maxlen=NOTICES)
        self._warnings: Deque[str] = deque(maxlen=KEPT)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        warning = record.levelno >= logging.WARNING
        text = record.getMessage()
        with self._guard:
            self._latest.append((when, text, NOTICE if warning else FAINT))
            if warning:
                self._warnings.append(f"{when} {record.levelname} {text}")

    def add(self, when: str, text: str) -> None:
        """Keep something that is not in the log."""
        with self._guard:
            self._latest.append((when, text, NOTICE))

    def lines(self, width: int) -> List[Text]:
        """Return the latest, at most ``width`` cells wide."""
        with self._guard:
            latest = list(self._latest)
        return [Text(_cut(f"{when} {plain(text)}", width), style) for when, text, style in latest]

    def warnings(self) -> List[str]:
        """Return the warnings so far."""
        with self._guard:
            return list(self._warnings)


class Screen:
    """A view on the alternate screen, until the end of the ``with`` block.

    Args:
        client: tells its state in the footer.
        view: makes the lines.
    """

    def __init__(self, client: SpotWSClient, view: View) -> None:
        self._client = client
        self._view = view
        self._glyphs = Glyphs.of(sys.stdout.encoding)
        self._console = Console()
        self._notices = Notices()
        self._gaps = NewGaps(client)
        self._drawn = 0.0
        self._handlers: List[logging.Handler] = []
        self._live: Optional[Live] = None

    def __enter__(self) -> Screen:
        with _deferred() as signals:
            try:
                self._begin()
            except BaseException:
                self._end(show=False)
                raise
        if signals:  # __exit__() is not called for what is raised here
            with _deferred():
                self._end()
            raise KeyboardInterrupt
        return self

    def _begin(self) -> None:
        logger = logging.getLogger("kraken_sync")
        # What writes to stderr would write into the picture.
        self._handlers = [one for one in logger.handlers if not isinstance(one, logging.NullHandler)]
        for handler in self._handlers:
            logger.removeHandler(handler)
        logger.addHandler(self._notices)
        self._live = Live(console=self._console, screen=True, auto_refresh=False, transient=True)
        self._live.start()
        self.draw()

    def __exit__(self, *error: object) -> None:
        with _deferred() as signals:
            self._end()
        if signals and error[0] is None:
            raise KeyboardInterrupt

    def _end(self, show: bool = True) -> None:
        """Leave the terminal as it was, and print the last frame and the warnings."""
        if self._live is not None:
            self._live.stop()
        logger = logging.getLogger("kraken_sync")
        logger.removeHandler(self._notices)
        for handler in self._handlers:
            logger.addHandler(handler)
        for line in self._frame(fill=False) if show else ():
            self._console.print(line, no_wrap=True, overflow="ignore", crop=False)
        for warning in self._notices.warnings():
            print(warning, file=sys.stderr)

    def draw(self) -> None:
        """Draw a frame, if the last one is old enough. Does not block."""
        now = time.monotonic()
        if now - self._drawn < REFRESH:
            return
        self._drawn = now
        assert self._live is not None
        lines = self._frame(fill=True)
        self._live.update(Text("\n").join(lines) if lines else Text(), refresh=True)

    def _frame(self, fill: bool) -> List[Text]:
        """Return the lines of a frame: the view, and the footer at the bottom of the screen."""
        width, height = self._console.width, self._console.height
        # The last frame has no notices: the warnings are printed below it.
        footer = [self._status(width, last=not fill), *(self._notices.lines(width) if fill else ())]
        space = max(1, height - len(footer) - (0 if fill else 1))
        lines = self._view(width, space, self._glyphs)[:space]
        if fill:
            lines += [Text()] * (space - len(lines))
        return (lines + footer)[:height]

    def _status(self, width: int, last: bool) -> Text:
        """Return the line about the client, after taking new gaps into the notices."""
        for gap in self._gaps.take():
            self._notices.add(clock(gap["until"], 8), f"gap in {_name(gap)}: {gap['reason']}")
        stats, gaps = self._client.stats(), self._gaps.count
        connected = str(stats["state"]) == "CONNECTED"
        rtt, checksums = stats.get("rtt"), stats.get("book_messages")
        mismatched = stats.get("mismatched", 0)
        pieces = [
            Cell(f"{self._glyphs.dot} {str(stats['state']).lower()}", UP if connected else NOTICE),
            Cell(f"{stats.get('verified', 0):,} verified" if checksums else "", FAINT),
            Cell(f"{mismatched} mismatched" if checksums else "", DOWN if mismatched else FAINT),
            Cell(f"{gaps} gaps" if gaps != 1 else "1 gap", NOTICE if gaps else FAINT),
            Cell(f"{stats.get('messages', 0):,} messages", FAINT),
            Cell(f"ping {1000 * rtt:.0f} ms" if rtt is not None else "", FAINT),
            Cell("" if last else "Ctrl-C ends", FAINT),
        ]
        return words(pieces, width)


@contextmanager
def _deferred() -> Iterator[List[int]]:
    """Hold Ctrl-C and SIGTERM back until the end of the block, and give a list of those that came.

    Half of what switches a terminal over must not be left out.
    """
    came: List[int] = []
    try:
        before = {
            number: signal.signal(number, lambda number, frame: came.append(number))
            for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # not the main thread, which gets no signals
        before = {}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _name(gap: Any) -> str:
    return plain(f"{gap['channel']} {gap['symbol']}" if gap.get("symbol") else gap["channel"])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."
