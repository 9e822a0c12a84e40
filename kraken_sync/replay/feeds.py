"""What a replay knows of each subscription at its present moment, and what its subscribers are told."""

from __future__ import annotations

import re
from collections import deque
from typing import Any, Deque, Dict, List, Optional, Tuple, Union

from ..core.book.book import Book
from ..core.book.level3 import Level3
from ..core.wire import messages
from ..core.wire.channels import Key
from ..core.wire.messages import FAULTS, MalformedFrame
from ..core.wire.numbers import fixed
from ..core.wire.reference_data import ReferenceData
from ..recording.routing import items_of, message_of

KEPT_TRADES = 50
"""The number of trades in a snapshot of ``trade``, as the exchange has it."""
Levels = Dict[int, int]
_SNAPSHOT, _UPDATE = re.compile(rb'"type"\s*:\s*"snapshot"'), re.compile(rb'"type"\s*:\s*"update"')
Sides = Tuple[Levels, Levels]


class Told:
    """What subscribers are to be told because of one recorded message."""

    __slots__ = ("broken", "ready", "update")

    def __init__(self, update: Optional[bytes] = None, ready: bool = False, broken: bool = False) -> None:
        self.update = update
        """The message for those who are up to date."""
        self.ready = ready
        """Whether those who wait for a snapshot can be given one now."""
        self.broken = broken
        """Whether something is missing before this message, so that nobody is up to date any more."""


class Feed:
    """The state of ``ticker``, ``trade``, ``ohlc`` or ``instrument``."""

    def __init__(self, key: Key) -> None:
        self.key = key
        self.valid = False
        """Whether a snapshot can be made."""
        self._items: Deque[bytes] = deque(maxlen=KEPT_TRADES)
        self._table = ReferenceData()
        self._without_table = False
        """Whether the recording has changes of pairs only, because its client wanted no snapshot."""
        self._frame = b""

    def begin(self, frame: bytes, snapshot: bool) -> None:
        """Take the first message before it is played."""
        self._without_table = not snapshot
        if self.key.channel == "trade" and not snapshot:
            self.valid = True  # that trade is still to come
        else:
            self.take(frame, snapshot)

    def take(self, frame: bytes, snapshot: bool) -> Told:
        """Take a recorded message."""
        was_valid, self.valid = self.valid, True
        channel = self.key.channel
        if channel == "trade":
            if snapshot:
                self._items.clear()
            self._items.extend(items_of(frame))
        elif channel == "ohlc":
            items = items_of(frame)
            # A candle replaces the one that begins at the same time.
            begins = {_begin(item) for item in items}
            kept = [item for item in self._items if not snapshot and _begin(item) not in begins]
            self._items = deque([*kept, *items], maxlen=KEPT_TRADES)
        elif channel == "instrument":
            self.valid = self._changed(frame) or self._without_table
        else:
            self._frame = frame
        if channel in ("trade", "instrument") and snapshot:
            return Told(ready=not was_valid)
        return Told(_SNAPSHOT.sub(b'"type":"update"', frame, count=1), ready=self.valid and not was_valid)

    def lose(self) -> None:
        """Something is missing from here on: nothing is known until the next message."""
        self.valid = False
        self._items.clear()
        self._table = ReferenceData()

    def _changed(self, frame: bytes) -> bool:
        """Take a message about the pairs, and return whether all of them are known."""
        try:
            self._table.take(frame)
        except FAULTS:
            pass  # it is played as it is
        return self._table.whole

    def snapshot(self) -> bytes:
        """Return the snapshot for a new subscriber."""
        if self.key.channel in ("trade", "ohlc"):
            return message_of(self.key.channel, "snapshot", list(self._items))
        if self.key.channel == "instrument":
            return _UPDATE.sub(b'"type":"snapshot"', self._table.frame(), count=1)
        return _UPDATE.sub(b'"type":"snapshot"', self._frame, count=1)


class BookFeed:
    """The state of a ``book`` or ``level3``.

    Args:
        key: the subscription.
        depth: the depth that was recorded.
    """

    def __init__(self, key: Key, depth: int) -> None:
        self.key = key
        self.depth = depth
        self.valid = False
        """Whether the book is verified, so that a snapshot can be made."""
        self.book: Union[Book, Level3] = self._new()

    def _new(self) -> Any:
        kind = Book if self.key.channel == "book" else Level3
        return kind(self.key.symbol or "", self.depth)

    def begin(self, frame: bytes, snapshot: bool) -> None:
        """Take the first snapshot before it is played."""
        self.take(frame, snapshot)

    def take(self, frame: bytes, snapshot: bool) -> Told:
        """Take a recorded message."""
        if not (snapshot or self.valid):
            return Told()  # nobody is up to date, and this changes nothing of that
        was_valid, self.valid = self.valid, False
        try:
            if self.key.channel == "book":
                data: Any = messages.decode_book(frame).data[0]
            else:
                data = messages.decode_level3(frame).data[0]
            self.valid = self.book.apply(data, snapshot)
        except (MalformedFrame, ValueError, IndexError):
            pass
        if snapshot:
            return Told(ready=self.valid, broken=was_valid)
        # After a message that does not verify the book is not known, whatever the depth of the subscriber.
        return Told(frame, broken=not self.valid)

    def lose(self) -> None:
        """Something is missing from here on."""
        self.valid = False

    def snapshot(self) -> bytes:
        """Return the snapshot for a new subscriber of the recorded depth."""
        return self.book.snapshot_frame()


class DepthView:
    """A ``book`` in another depth than the one that was recorded, as one subscriber has been told it."""

    def __init__(self, feed: BookFeed, depth: int) -> None:
        assert isinstance(feed.book, Book)  # level3 is served in the recorded depth only
        self._book = feed.book
        self._depth = depth
        self._told: Sides = ({}, {})

    def _now(self) -> Sides:
        asks, bids = self._book.top(self._depth)
        return dict(asks), dict(bids)

    def snapshot(self) -> bytes:
        """Return the snapshot."""
        self._told = self._now()
        return self._frame("snapshot", self._told)

    def update(self) -> Optional[bytes]:
        """Return the message about everything that has changed in this depth; None if nothing has."""
        before, self._told = self._told, self._now()
        changes: List[Levels] = []
        for old, new in zip(before, self._told):
            # What is gone first, as the exchange does: some readers cut their book after every single level.
            changed = {price: 0 for price in old if price not in new}
            changed.update((price, qty) for price, qty in new.items() if old.get(price) != qty)
            changes.append(changed)
        asks, bids = changes
        return self._frame("update", (asks, bids)) if asks or bids else None

    def _frame(self, kind: str, sides: Sides) -> bytes:
        book = self._book
        asks, bids = (
            ",".join(
                f'{{"price":{fixed(price, book.price_decimals)},"qty":{fixed(qty, book.qty_decimals)}}}'
                for price, qty in side.items()
            )
            for side in sides
        )
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{book.symbol}","bids":[{bids}],'
            f'"asks":[{asks}],"checksum":{book.computed},"timestamp":"{book.timestamp}"}}]}}'
        ).encode()


def feed_of(key: Key, depths: Dict[Key, int]) -> Union[Feed, BookFeed]:
    """Return the feed of a key."""
    return BookFeed(key, depths.get(key, 10)) if key.channel in ("book", "level3") else Feed(key)


def _begin(candle: bytes) -> bytes:
    start = candle.find(b'"interval_begin":')
    return candle[start : candle.find(b",", start)] if start >= 0 else candle
