"""Which subscriptions are mute: acknowledged, but without data that the exchange must have sent.

A quiet pair sends nothing for hours, so silence alone proves nothing. A subscription is mute if

* a snapshot was asked for and has not come,
* its symbol has traded more than once, and the subscription has told nothing around that time: every trade
  changes the book and the candles of its symbol, and the ticker that follows trades, or
* a caller has said how old the data may become (``max_age``), and they are older.

What is mute is subscribed anew. Unless ``max_age`` is the reason, each renewal in a row waits twice as long
as the one before, because the silence may be right after all: a halted pair has no snapshot, and a hidden
order can trade without changing the book. A book that trades contradict is in doubt, and not LIVE, meanwhile.

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

SURE_SNAPSHOTS = ("book", "level3", "ticker", "instrument")
"""Channels whose snapshot is never empty; a ``trade`` or ``ohlc`` snapshot may be."""
LONGEST = 60.0
LONGEST_UNSURE = 600.0
"""Seconds between two renewals, and between two for a snapshot that may rightly be missing."""
AHEAD = 2.0
"""Seconds by which data may arrive before the message of the trade that caused them."""
APART = 1.0
"""Seconds between two trades that together contradict a subscription: one may have been told late."""
SHORTEST = 1.0
"""The least number of seconds between two renewals because of ``max_age``."""
WITNESSES: Mapping[str, str] = {
    "book": "trade",
    "level3": "trade",
    "ticker": "trade",
    "ohlc": "trade",
    "trade": "ohlc",
}
"""Channel -> the channel whose updates prove that the symbol has traded."""


Traded = Dict[Tuple[str, Optional[str]], float]
"""When a channel that tells trades last told one of a symbol."""


class MuteWatch:
    """Finds mute subscriptions of one connection, and renews them. Times are in monotonic seconds."""

    def __init__(self, registry: Registry, counters: Counters, timing: Timing) -> None:
        self._registry = registry
        self._counters = counters
        self._timing = timing
        self._traded: Traded = {}

    def listen_to(self, other: MuteWatch) -> None:
        """Share what is heard of trades with another connection: level3 has one without trades.

        Both write and read single items of a dict, each under a lock of its own.
        """
        self._traded = other._traded

    def heard(self, key: Key, now: float) -> None:
        """Note an update of a channel that tells trades."""
        self._traded[key.channel, key.symbol] = now

    def renew(self, now: float) -> List[str]:
        """Renew what is mute, and return what to log."""
        told = []
        for entry in self._registry.entries.values():
            found = self._mute(entry, now) if entry.live and entry.acked_at is not None else None
            if found is None:
                told += self._doubted(entry)
                continue
            since, reason = found
            # A pair that is halted, or has never traded, may have had nothing to send.
            if entry.was_fed or entry.suspected_at is not None:
                entry.lapse(since, reason)
                told.append(f"{entry.key}: {reason}; subscribing anew")
            if entry.sync is not None and entry.sync.live:
                entry.sync.leave(BookState.RESYNCING, reason, since)
                entry.sync.doubt = ""
            entry.suspected_at, entry.contradicted = None, ""
            self._counters.resyncs += 1
            entry.renew(now)
        return told

    def _mute(self, entry: Entry, now: float) -> Optional[Tuple[float, str]]:
        """Return since when, and why, a subscription is mute; None if it is not."""
        sync, fed_at, at_least = entry.sync, entry.fed_at, self._timing.first_data_timeout
        # Updates of a book are not noted one by one, because that would slow each of them down.
        if sync is not None and entry.data_at is not None and (sync.updated or 0.0) > entry.data_at:
            entry.mute = 0
        patience = at_least * 2.0 ** min(entry.mute, 10)
        self._suspect(entry, now)
        if entry.awaits_snapshot:
            sure = entry.table is not None or entry.key.channel in SURE_SNAPSHOTS
            assert entry.acked_at is not None
            if now - entry.acked_at > min(LONGEST if sure else LONGEST_UNSURE, patience):
                entry.mute += 1
                return entry.acked_at, "acknowledged, but no data"
        silence, max_age = now - fed_at, entry.max_age
        if max_age is not None and silence > max(max_age, SHORTEST):
            return now, f"no message for {silence:.1f} s (max_age is {max_age:g})"
        contradicted = entry.suspected_at is not None and self._traded_at(entry) > entry.suspected_at + APART
        reason = f"no message for {silence:.1f} s although the symbol trades"
        lasted = now - entry.suspected_at if contradicted and entry.suspected_at is not None else 0.0
        # After a renewal that brought a snapshot alone, the first contradiction is enough.
        entry.contradicted = reason if contradicted and (entry.mute or lasted > at_least) else ""
        if lasted > min(LONGEST, patience):
            entry.mute += 1
            return fed_at, reason
        return None

    def _doubted(self, entry: Entry) -> List[str]:
        """Write into a book whether trades contradict it, and return what to log."""
        sync = entry.sync
        if sync is None or bool(sync.doubt) is bool(entry.contradicted):
            return []
        sync.doubt = entry.contradicted
        return [f"{entry.key}: {sync.doubt or 'no trade contradicts it any more'}"]

    def _suspect(self, entry: Entry, now: float) -> None:
        """Begin or end the suspicion that a subscription misses trades."""
        if entry.suspected_at is None or entry.fed_at >= entry.suspected_at - AHEAD:
            entry.suspected_at = now if self._traded_at(entry) - AHEAD > entry.fed_at else None

    def _traded_at(self, entry: Entry) -> float:
        channel = entry.key.channel
        if channel == "ticker" and entry.params.get("event_trigger") != "trades":
            return float("-inf")
        return self._traded.get((WITNESSES.get(channel, ""), entry.key.symbol), float("-inf"))
