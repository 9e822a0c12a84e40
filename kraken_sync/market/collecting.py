"""Collecting the items of a channel for a while: what ``client.collect()`` does."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, Optional

from ..errors import KrakenError, StreamOverflow, StreamTimeout
from .collected import Collected
from .subscription import ItemStream

Tell = Callable[[int], Any]


def check_end(n: Optional[int], seconds: Optional[float]) -> None:
    """Raise ValueError unless ``n`` or ``seconds`` says when to stop."""
    if n is None and seconds is None:
        raise ValueError("say when to stop: n=1000 items, seconds=60, or both")
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise ValueError(f"n must be an int of 1 or more, not {n!r:.80}")
    if seconds is not None and (
        isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0
    ):
        raise ValueError(f"seconds must be a number of more than 0, not {seconds!r:.80}")


def collect(
    stream: ItemStream[Any], n: Optional[int], seconds: Optional[float], progress: bool = False
) -> Collected:
    """Read a stream until there are ``n`` items or ``seconds`` have passed, and return them.

    Gap frames of the stream go to ``gaps`` of the result, and so does what ends it early. ``progress`` shows
    a bar of tqdm.
    """
    found = Collected(stream.channel)
    end = None if seconds is None else time.monotonic() + seconds
    with _bar(progress, n, stream.name) as tell:
        while n is None or len(found) < n:
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                break
            try:
                item = stream.get(left)
            except StreamTimeout:
                break
            except StreamOverflow as error:  # of a private channel; what comes next is not lost
                found.gaps.append(_missing(stream, str(error), error.dropped))
                continue
            except KrakenError as error:
                if not found:
                    raise
                # What was collected is worth more than an error, and says where it ends.
                found.gaps.append(_missing(stream, str(error)))
                return found
            if item.get("type") == "gap":
                found.gaps += item["data"]
            else:
                found.append(item)
                tell(1)
    found.gaps += stream.open_gaps()  # an outage that is not over has no gap frame yet
    return found


def _missing(stream: ItemStream[Any], reason: str, dropped: int = 0) -> Dict[str, Any]:
    symbols = stream.symbols
    symbol = symbols[0] if len(symbols) == 1 else None
    return {
        "channel": stream.channel,
        "symbol": symbol,
        "reason": reason,
        "since": None,
        "until": None,
        "dropped": dropped,
    }


@contextmanager
def _bar(wanted: bool, n: Optional[int], name: str) -> Iterator[Tell]:
    if not wanted:
        yield lambda count: None
        return
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError('progress=True needs tqdm: pip install "kraken-sync[notebook]"') from None
    with tqdm(total=n, desc=name, unit=" items", leave=True) as bar:
        yield bar.update
