"""What data frames mean for books, for the account's tables and for streams.

Frames count only for subscriptions that are wanted. A book that fails its checksum, and a table that misses a
message, are fetched again.
"""

from __future__ import annotations

from math import inf
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from ..book.sync import BookSync, Verdict
from ..freshness import BookState, Freshness
from ..orders.rate_limits import TradingRate
from ..orders.tables import Account, Table, decode_items
from ..wire import messages
from ..wire.channels import CHANNELS, Key
from ..wire.messages import BookData, Envelope, Level3Data, MalformedFrame
from .entry import Entry
from .events import Counters, Gap, Note, Notice, Received
from .mute import MuteWatch
from .registry import Registry
from .unreadable import garbled_channel

_NOTHING = Received()
VERIFIED = Verdict.VERIFIED
_BookData = Union[BookData, Level3Data]


class DataFrames:
    """The data of one connection and of those that replace it. ``now`` is in monotonic seconds."""

    def __init__(
        self,
        registry: Registry,
        account: Account,
        counters: Counters,
        mute: MuteWatch,
        private: bool,
        rate: Optional[TradingRate] = None,
    ) -> None:
        self._registry = registry
        self._account = account
        self._counters = counters
        self._mute = mute
        self._private = private
        self._rate = rate
        self._updates: Dict[str, Dict[str, Received]] = {"book": {}, "level3": {}}
        """What a verified update means, by channel and symbol; kept, since it is the same for all of them."""
        self._book_updates = self._updates["book"]

    def receive(self, envelope: Envelope, frame: bytes, now: float) -> Received:
        """Process a frame of any channel. Raises MalformedFrame."""
        channel = envelope.channel
        if channel == "book":
            return self.receive_book(frame, now)
        if channel == "level3":
            return self.receive_level3(frame, now)
        if not isinstance(channel, str) or garbled_channel(channel, self._registry.entries):
            raise MalformedFrame(f"its channel is {channel!r:.40}")
        if self._private and channel in ("executions", "balances"):
            return self._account_frame(envelope, now)
        if channel in CHANNELS and envelope.type not in ("snapshot", "update"):
            raise MalformedFrame(f"its type is {envelope.type!r:.40}")
        keys: List[Key] = []
        notes: Tuple[Note, ...] = ()
        shown = False
        for key in self._keys(channel, envelope):
            entry = self._registry.entries.get(key)
            if entry is not None and entry.takes_data:
                entry.data_at, entry.was_fed = now, True
                if envelope.type == "update":
                    entry.mute = 0
                    if channel in ("trade", "ohlc"):
                        self._mute.heard(key, now)
                entry.keep(frame, envelope.type == "snapshot")
                keys.append(key)
                shown = shown or not entry.internal
                notes += gap_over(entry, now)  # data may come before their acknowledgement
        return Received(
            tuple(keys), notes, hidden=bool(keys) and not shown, plain=bool(keys) and shown and not notes
        )

    def receive_book(self, frame: bytes, now: float) -> Received:
        """Process a frame of the ``book`` channel. Raises MalformedFrame."""
        # This runs for nearly every frame. The short way is for an update of a book that was updated before.
        try:
            message = messages.decode_whole_book(frame)
        except messages.FAULTS:
            message = messages.decode_book(frame)
        if len(message.data) != 1:  # the documentation promises one
            return self._books("book", message.type, message.data, now)
        data = message.data[0]
        known = self._book_updates.get(data.symbol)
        if known is None or message.type != "update":
            return self._book("book", data, message.type == "snapshot", now)
        entry = self._registry.entries.get(known.keys[0])
        if entry is None or entry.sync is None or not entry.takes_data:
            return self._book("book", data, False, now)
        self._counters.book_messages += 1
        verdict = entry.sync.apply(data, False, now)
        if verdict is VERIFIED:
            self._counters.verified += 1
            return known
        return self._not_verified(entry, entry.sync, verdict, now)

    def receive_level3(self, frame: bytes, now: float) -> Received:
        """Process a frame of the ``level3`` channel. Raises MalformedFrame."""
        message = messages.decode_level3(frame)
        if len(message.data) == 1:
            return self._book("level3", message.data[0], message.type == "snapshot", now)
        return self._books("level3", message.type, message.data, now)

    def _books(self, channel: str, kind: str, elements: Sequence[_BookData], now: float) -> Received:
        if not elements:
            raise MalformedFrame("it has no data")
        parts = [self._book(channel, data, kind == "snapshot", now) for data in elements]
        return Received(
            tuple(dict.fromkeys(key for part in parts for key in part.keys)),
            tuple(note for part in parts for note in part.notes),
            any(part.wake for part in parts),
            any(part.pump for part in parts),
        )

    def _book(self, channel: str, data: _BookData, snapshot: bool, now: float) -> Received:
        known = self._updates[channel].get(data.symbol)
        key = Key(channel, data.symbol) if known is None else known.keys[0]
        entry = self._registry.entries.get(key)
        if entry is None or not entry.takes_data:
            return _NOTHING
        self._counters.book_messages += 1
        sync = entry.sync
        if sync is None:
            entry.data_at, entry.mute = now, 0
            notes = gap_over(entry, now)
            return Received((key,), notes, plain=not notes)
        verdict = sync.apply(data, snapshot, now)
        if verdict is VERIFIED:
            self._counters.verified += 1
            if snapshot:
                entry.data_at, entry.was_fed = now, True
                return Received((key,), gap_over(entry, now), wake=True)
            if known is None:
                known = self._updates[channel][data.symbol] = Received((key,), wake=True, plain=True)
            return known
        return self._not_verified(entry, sync, verdict, now)

    def _not_verified(self, entry: Entry, sync: BookSync[Any], verdict: Verdict, now: float) -> Received:
        # Without a verified state the frame is not delivered: a reader of frames builds its own book.
        if verdict is Verdict.MISMATCHED:
            self._counters.mismatched += 1
            reason = sync.reason
            delay = self._resync(entry, sync, reason, now)
            return _resyncing(f"{entry.key}: {reason} ({sync.error})", delay)
        return _NOTHING

    def resync(self, key: Key, reason: str, now: float) -> None:
        """Fetch a live book or table again, for a reader that has lost track of it or contradicts it."""
        entry = self._registry.entries.get(key)
        copy = entry.sync or entry.table if entry is not None else None
        if entry is not None and copy is not None and entry.live:
            self._resync(entry, copy, reason, now)

    def missed(
        self, keys: List[Key], reason: str, since: float, now: float, *, at_once: bool = False
    ) -> Tuple[Note, ...]:
        """Handle a lost message that may belong to any of ``keys``.

        Books and tables are fetched again; for other subscriptions the result tells the gap. With ``at_once``
        they are fetched without a pause, however often that happens; the exchange has limits for that.
        """
        notes: List[Note] = []
        for key in keys:
            entry = self._registry.entries.get(key)
            if entry is None or not entry.takes_data:
                continue
            copy = entry.sync or entry.table
            if copy is not None:
                self._resync(entry, copy, reason, now, at_once=at_once)
            elif entry.was_live or entry.was_fed:
                notes.append(Gap(key, reason, since, now))  # a new snapshot would not contain it
        return tuple(notes)

    def _resync(
        self, entry: Entry, standing: Freshness, reason: str, now: float, *, at_once: bool = False
    ) -> float:
        """Fetch a snapshot again, and return in how many seconds."""
        entry.lapse(now, reason)
        # The delay grows with each resync, so that data that never verify do not become a resubscribe
        # storm.
        delay = 0.0 if at_once else standing.resync_delay(now)
        standing.leave(BookState.RESYNCING, reason, now)
        self._counters.resyncs += 1
        entry.renew(now + delay)
        return delay

    def _account_frame(self, envelope: Envelope, now: float) -> Received:
        key = Key(envelope.channel)
        entry = self._registry.entries.get(key)
        if entry is None or not entry.takes_data:
            return _NOTHING
        table = entry.table
        items = decode_items(bytes(envelope.data))
        if envelope.type not in ("snapshot", "update"):
            raise MalformedFrame(f"its type is {envelope.type!r:.40}")
        entry.data_at, entry.was_fed = now, True
        if table is None:
            return Received((key,), gap_over(entry, now), hidden=entry.internal)
        if envelope.type == "snapshot":
            entry.mute = 0
            # The snapshot is at least as new as the acknowledgement: what was heard of an order before
            # that is older.
            notes = self._apply(table, items, True, entry.acked_at or now, now)
            table.begin(now)
            table.numbered(envelope.sequence)
            notes = gap_over(entry, now) + notes
            received = Received((key,), notes, wake=True, pump=True, hidden=entry.internal)
            if not entry.extra or entry.params.get("snap_trades"):
                return received
            # The fills are there because the table asked for snap_trades; the caller did not.
            shown = [item for item in items if item.get("exec_type") != "trade"]
            return received._replace(frame=messages.account_snapshot(key.channel, shown, envelope.sequence))
        # Readers of frames get it, but the table waits for its snapshot.
        if not table.live:
            return Received((key,), wake=True, hidden=entry.internal)
        expected = table.expected
        if not table.follows(envelope.sequence):
            reason = f"a message is missing: sequence {envelope.sequence} came instead of {expected}"
            return _resyncing(f"{key}: {reason}", self._resync(entry, table, reason, now))
        notes = self._apply(table, items, False, now, now)
        return Received((key,), notes, wake=True, hidden=entry.internal)

    def _apply(
        self, table: Table, items: List[Dict[str, Any]], snapshot: bool, asked_at: float, now: float
    ) -> Tuple[Note, ...]:
        before = table.strange
        table.apply(items, snapshot, asked_at, now)
        if table is self._account.orders and self._rate is not None:
            self._rate.told(items, now)
        odd = table.strange - before
        return (Notice("WARNING", f"client.{table.name}: {odd} items cannot be understood"),) if odd else ()

    def _keys(self, channel: str, envelope: Envelope) -> List[Key]:
        """The subscriptions that a frame belongs to. Raises MalformedFrame if that cannot be told."""
        plain, known = Key(channel), CHANNELS.get(channel)
        data = bytes(envelope.data)
        if known is not None and not data:
            raise MalformedFrame("it has no data")
        if plain in self._registry.entries or (known is not None and not known.symbols):
            return [plain]
        if known is None and not data.startswith(b"["):
            return [plain]  # a channel that is new to us has a form of its own
        try:
            items = messages.decode_routing(data)
        except MalformedFrame:
            if known is not None:
                raise
            return [plain]
        if not items and envelope.type == "snapshot":
            return self._awaited(channel)
        found: Dict[Key, None] = {}
        for item in items:
            interval = item.interval if channel == "ohlc" else None
            if known is not None and not (
                isinstance(item.symbol, str) and (channel != "ohlc" or type(interval) is int)
            ):
                raise MalformedFrame("an item without a symbol, or without its interval")
            if isinstance(item.symbol, (str, type(None))):
                found[Key(channel, item.symbol, interval)] = None
        return list(found)

    def _awaited(self, channel: str) -> List[Key]:
        """The subscription that an empty snapshot belongs to: it names none, but requests are answered in
        order.
        """
        entries = self._registry.entries.values()
        waiting = [one for one in entries if one.key.channel == channel and one.awaits_snapshot]
        return [min(waiting, key=lambda one: one.acked_at or inf).key] if waiting else []


def gap_over(entry: Entry, now: float) -> Tuple[Note, ...]:
    """End the gap of an entry that is live again, and return the note about it."""
    if entry.gap is None:
        return ()
    (since, reason), entry.gap = entry.gap, None
    return (Gap(entry.key, reason, since, now),)


def _resyncing(what: str, delay: float) -> Received:
    when = f"in {delay:g} s" if delay else "now"
    return Received(notes=(Notice("WARNING", f"{what}; resync {when}"),), wake=True, pump=not delay)
