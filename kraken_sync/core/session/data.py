"""What data frames mean: for books, for the account's tables, for streams.

A frame counts only for what is wished; a book that does not verify, and a table of which a message is
missing, are fetched anew.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional, Tuple

from ..book.sync import Verdict
from ..freshness import BookState, Standing
from ..orders.tables import Account, Table, decode_items
from ..wire import messages
from ..wire.channels import CHANNELS, Key
from ..wire.messages import BookData, Envelope, MalformedFrame
from .events import Counters, Gap, Note, Notice, Received
from .registry import Phase, Registry, Wish

_NOTHING = Received()


class Feeds:
    """The data of one connection and its successors. ``now`` is monotonic seconds."""

    def __init__(self, registry: Registry, account: Account, counters: Counters, private: bool) -> None:
        self.on_reports: Optional[Callable[[List[Dict[str, Any]], float], None]] = None
        """Told of every report of an order, under the lock."""
        self._registry = registry
        self._account = account
        self._counters = counters
        self._private = private
        self._plain: Dict[Key, Received] = {}

    def take(self, envelope: Envelope, frame: bytes, now: float) -> Received:
        """A frame of any channel. Raises MalformedFrame."""
        channel = envelope.channel
        if channel == "book":
            return self.take_book(frame, now)
        if self._private and channel in ("executions", "balances"):
            return self._account_frame(envelope, now)
        if not isinstance(channel, str):
            return _NOTHING
        keys: List[Key] = []
        notes: Tuple[Note, ...] = ()
        shown = False
        for key in self._keys(channel, envelope):
            wish = self._registry.wishes.get(key)
            if wish is not None and wish.takes_data:
                wish.data_at, wish.mute, wish.was_fed = now, 0, True
                wish.keep(frame, envelope.type == "snapshot")
                keys.append(key)
                shown = shown or not wish.internal
                notes += gap_over(wish, now)  # data may come before their acknowledgement
        return Received(tuple(keys), notes, hidden=bool(keys) and not shown)

    def take_book(self, frame: bytes, now: float) -> Received:
        """A frame of the book channel. Raises MalformedFrame."""
        message = messages.decode_book(frame)
        snapshot = message.type == "snapshot"
        if len(message.data) == 1:
            return self._book(message.data[0], snapshot, now)
        parts = [self._book(data, snapshot, now) for data in message.data]
        return Received(
            tuple(dict.fromkeys(key for part in parts for key in part.keys)),
            tuple(note for part in parts for note in part.notes),
            any(part.wake for part in parts),
            any(part.pump for part in parts),
        )

    def _book(self, data: BookData, snapshot: bool, now: float) -> Received:
        key = Key("book", data.symbol)
        wish = self._registry.wishes.get(key)
        if wish is None or not wish.takes_data:
            return _NOTHING
        self._counters.book_messages += 1
        if wish.sync is None:
            return Received((key,), gap_over(wish, now))
        verdict = wish.sync.take(data, snapshot, now)
        if verdict is Verdict.VERIFIED:
            self._counters.verified += 1
            if not snapshot:
                return self._received(key)
            wish.data_at, wish.mute, wish.was_fed = now, 0, True
            return Received((key,), gap_over(wish, now), wake=True)
        if verdict is Verdict.MISMATCHED:
            self._counters.mismatched += 1
            delay = self._resync(wish, wish.sync, "checksum mismatch", now)
            what = f"book {data.symbol}: checksum mismatch ({wish.sync.error})"
            return _resyncing(what, delay)
        return _NOTHING

    def _received(self, key: Key) -> Received:
        """The plain outcome of a verified update, made once for each key."""
        plain = self._plain.get(key)
        if plain is None:
            plain = self._plain[key] = Received((key,), wake=True)
        return plain

    def resync_book(self, symbol: str, reason: str, now: float) -> None:
        """Fetch a live book anew, for somebody who has lost track of it; readers are told as of a
        mismatch."""
        wish = self._registry.wishes.get(Key("book", symbol))
        if wish is None or wish.sync is None or wish.phase is not Phase.LIVE:
            return
        self._resync(wish, wish.sync, reason, now)

    def _resync(self, wish: Wish, standing: Standing, reason: str, now: float) -> float:
        """Fetch a snapshot anew; returns in how many seconds."""
        wish.lapse(now, reason)
        delay = standing.resync_delay(now)
        standing.leave(BookState.RESYNCING, reason, now)
        self._counters.resyncs += 1
        self._registry.resubscribe(wish, now + delay)
        return delay

    def _account_frame(self, envelope: Envelope, now: float) -> Received:
        key = Key(envelope.channel)
        wish = self._registry.wishes.get(key)
        if wish is None or not wish.takes_data:
            return _NOTHING
        table = wish.table
        try:
            items = decode_items(bytes(envelope.data))
        except MalformedFrame as error:
            if table is None or not table.live:
                raise
            self._counters.malformed += 1
            reason = f"a message cannot be read: {error}"
            return _resyncing(f"{key}: {reason}", self._resync(wish, table, reason, now))
        wish.data_at, wish.was_fed = now, True
        if table is None:
            return Received((key,), gap_over(wish, now), hidden=wish.internal)
        if envelope.type == "snapshot":
            wish.mute = 0
            notes = self._take(table, items, True, wish.acked_at or now, now)
            table.begin(now)
            table.numbered(envelope.sequence)
            notes = gap_over(wish, now) + notes
            received = Received((key,), notes, wake=True, pump=True, hidden=wish.internal)
            if not wish.extra or wish.params.get("snap_trades"):
                return received
            shown = [item for item in items if item.get("exec_type") != "trade"]  # as it was asked for
            return received._replace(frame=messages.account_snapshot(key.channel, shown, envelope.sequence))
        if not table.live:
            return Received((key,), wake=True, hidden=wish.internal)
        expected = table.expected
        if not table.follows(envelope.sequence):
            reason = f"a message is missing: sequence {envelope.sequence} came instead of {expected}"
            return _resyncing(f"{key}: {reason}", self._resync(wish, table, reason, now))
        notes = self._take(table, items, False, now, now)
        return Received((key,), notes, wake=True, hidden=wish.internal)

    def _take(
        self, table: Table, items: List[Dict[str, Any]], snapshot: bool, asked_at: float, now: float
    ) -> Tuple[Note, ...]:
        before = table.strange
        table.take(items, snapshot, asked_at, now)
        if table is self._account.orders and self.on_reports is not None:
            self.on_reports(items, now)
        odd = table.strange - before
        return (Notice("WARNING", f"client.{table.name}: {odd} items cannot be understood"),) if odd else ()

    def _keys(self, channel: str, envelope: Envelope) -> List[Key]:
        plain = Key(channel)
        if plain in self._registry.wishes or not bytes(envelope.data).startswith(b"["):
            return [plain]
        try:
            items = messages.decode_routing(bytes(envelope.data))
        except MalformedFrame:
            if channel in CHANNELS:
                raise
            return [plain]  # a channel that is new to us may look as it likes
        found: Dict[Key, None] = {}
        for item in items:
            if not isinstance(item.symbol, (str, type(None))) or not isinstance(
                item.interval, (int, type(None))
            ):
                raise MalformedFrame("a symbol or interval of a strange type")
            interval = item.interval if channel == "ohlc" else None
            found[Key(channel, item.symbol, interval)] = None
        return list(found)


def gap_over(wish: Wish, now: float) -> Tuple[Note, ...]:
    """What is to be told when a wish is live again: that something is missing, if it is."""
    if wish.gap is None:
        return ()
    (since, reason), wish.gap = wish.gap, None
    return (Gap(wish.key, reason, since, now),)


def _resyncing(what: str, delay: float) -> Received:
    when = f"in {delay:g} s" if delay else "now"
    return Received(notes=(Notice("WARNING", f"{what}; resync {when}"),), wake=True, pump=not delay)
