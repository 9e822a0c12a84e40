"""Which subscriptions are mute: acknowledged, but without data that the exchange must have sent.

A quiet pair sends nothing for hours, so silence alone proves nothing. A subscription is mute if

* a snapshot was asked for and has not come,
* its symbol has traded, and the subscription has told nothing around that time: every trade changes the book
  and the candles of its symbol, and the ticker that follows trades, or
* a caller has said how old the data may become (``max_age``), and they are older.

What is mute is subscribed anew. Each renewal in a row waits twice as long as the one before, because the
silence may be right after all: a halted pair has no snapshot, and a hidden order can trade without changing
the book.

Source: the update triggers on the channels' pages, such as
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ohlc.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Tuple

from ..freshness import BookState
from ..timing import Timing
from ..wire.channels import Key
from .entry import Entry
from .events import Counters
from .registry import Registry

SURE_SNAPSHOTS = ("book", "ticker", "instrument")
"""Channels whose snapshot is never empty; a ``trade`` or ``ohlc`` snapshot may be."""
LONGEST = 60.0
LONGEST_UNSURE = 600.0
"""Seconds between two renewals, and between two for a snapshot that may rightly be missing."""
AHEAD = 2.0
"""Seconds by which data may arrive before the message of the trade that caused them."""
WITNESSES: Mapping[str, str] = {"book": "trade", "ticker": "trade", "ohlc": "trade", "trade": "ohlc"}
"""Channel -> the channel whose updates prove that the symbol has traded."""


class MuteWatch:
    """Finds mute subscriptions of one connection, and renews them. Times are in monotonic seconds."""

    def __init__(self, registry: Registry, counters: Counters, timing: Timing) -> None:
        self._registry = registry
        self._counters = counters
        self._timing = timing
        self._traded: Dict[Tuple[str, Optional[str]], float] = {}

    def heard(self, key: Key, now: float) -> None:
        """Note an update of a channel that tells trades."""
        self._traded[key.channel, key.symbol] = now

    def renew(self, now: float) -> List[str]:
        """Renew what is mute, and return what to log."""
        told = []
        for entry in self._registry.entries.values():
            found = self._mute(entry, now)
            if found is None:
                continue
            since, reason = found
            # A pair that is halted, or has never traded, may have had nothing to send.
            if entry.was_fed or entry.suspected_at is not None:
                entry.lapse(since, reason)
                told.append(f"{entry.key}: {reason}; subscribing anew")
            if entry.sync is not None and entry.sync.live:
                entry.sync.leave(BookState.RESYNCING, reason, since)
            entry.mute += 1
            entry.suspected_at = None
            self._counters.resyncs += 1
            entry.renew(now)
        return told

    def _mute(self, entry: Entry, now: float) -> Optional[Tuple[float, str]]:
        """Return since when, and why, a subscription is mute; None if it is not."""
        if not entry.live or entry.acked_at is None:
            return None
        # Updates of a book are not noted one by one, because that would slow each of them down.
        if entry.sync is not None and entry.data_at is not None and entry.fed_at > entry.data_at:
            entry.mute = 0
        patience = min(LONGEST_UNSURE, self._timing.first_data_timeout * 2.0 ** min(entry.mute, 10))
        fed_at, max_age = entry.fed_at, entry.max_age
        if entry.suspected_at is None or fed_at >= entry.suspected_at - AHEAD:
            entry.suspected_at = now if self._traded_at(entry) - AHEAD > fed_at else None
        if entry.awaits_snapshot:
            sure = entry.table is not None or entry.key.channel in SURE_SNAPSHOTS
            if now - entry.acked_at > (min(LONGEST, patience) if sure else patience):
                return entry.acked_at, "acknowledged, but no data"
        patience = min(LONGEST, patience)
        # Only repeated renewals wait longer: the first is made when the caller's limit is reached.
        if max_age is not None and now - fed_at > (max(max_age, patience) if entry.mute else max_age):
            return fed_at, f"no message for {now - fed_at:.1f} s (max_age is {max_age:g})"
        if entry.suspected_at is not None and now - entry.suspected_at > patience:
            return fed_at, f"no message for {now - fed_at:.1f} s although the symbol trades"
        return None

    def _traded_at(self, entry: Entry) -> float:
        channel = entry.key.channel
        if channel == "ticker" and entry.params.get("event_trigger") != "trades":
            return float("-inf")
        return self._traded.get((WITNESSES.get(channel, ""), entry.key.symbol), float("-inf"))
