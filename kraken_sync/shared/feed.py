"""One subscription as it is published: what is to be written, and the state for late readers. Pure."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Tuple

import msgspec

from ..core.book.book import Book
from ..core.wire.channels import Key
from ..core.wire.messages import FAULTS, decode_book
from ..core.wire.reference_data import ReferenceData
from .layout import ENDED, FRAMES, GAP, STALE, Mark, joined, text_of

STATE_EVERY, STATE_AFTER = 500, 5.0
"""A state is written after so many messages, and after so many seconds in which there were any."""
ITEMS: Mapping[str, int] = {"trade": 50, "ticker": 1, "ohlc": 60}
"""The number of items in the state of a channel whose items stand each for itself. That of trades is the one
of the exchange: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade."""

Write = Tuple[bytes, bytes, int]
"""An entry to be written: its kind, its body and its number of messages."""


class PublishedFeed:
    """The messages of one subscription on their way to Redis. Not thread-safe.

    Args:
        key: the subscription.
        params: its parameters, which are told to readers.
        every: a state is due after so many messages.
    """

    def __init__(self, key: Key, params: Mapping[str, Any], every: int = STATE_EVERY) -> None:
        self.key = key
        self.params = dict(params)
        self.number = 0
        """The number of the last message of this term that was taken for writing."""
        self.live = False
        """Whether there is a state that is up to date."""
        self.ended = False
        """Whether there will be no more messages."""
        self._book = Book(key.symbol or "", self.params["depth"]) if key.channel == "book" else None
        self._items: Dict[str, msgspec.Raw] = {}
        self._table = ReferenceData()
        self._timestamp = msgspec.Raw()
        self._every = every
        self._frames: List[bytes] = []
        self._writes: List[Write] = []
        self._since, self._state_at, self._state_due = 0, 0.0, False

    def take(self, frame: bytes, snapshot: bool) -> bool:
        """Take a verified message of the exchange, and return whether it fits to those before it."""
        if self.ended:
            return True  # it was on its way already, and readers have been told that there is no more
        if self._book is not None:
            (data,) = decode_book(frame).data
            if not (snapshot or self.live):
                return True  # it follows a state that is not there
            if not self._book.apply(data, snapshot):
                self.interrupt(f"the publisher cannot verify it: computed {self._book.computed}")
                return False
        elif self.key.channel == "instrument":
            if not (snapshot or self._table.whole):
                return True  # it tells only what has changed, in a table that is not there
            self._table.take(frame)
        else:
            self._keep_items(frame, snapshot)
        if snapshot or not self.live:
            self.live = self._state_due = True
        # Of the exchange's snapshot of trades nothing is new to those who read already.
        if not (snapshot and self.key.channel == "trade"):
            self._frames.append(frame)
        return True

    def take_all(self, frames: List[bytes]) -> bool:
        """Take messages as they were published; False if one of them does not fit or cannot be read."""
        try:
            return all(self.take(frame, b'"type":"snapshot"' in frame[:100]) for frame in frames)
        except FAULTS:
            return False

    def _keep_items(self, frame: bytes, snapshot: bool) -> None:
        message, channel = _decode(frame), self.key.channel
        self._timestamp = message.timestamp
        if snapshot:
            self._items.clear()
        for item in message.data:
            name = ""
            if channel == "ohlc":  # a later state of a candle takes the place of an earlier one
                name = _candle(item).interval_begin
            elif channel == "trade":
                name = bytes(item).decode()
            self._items[name] = item
        while len(self._items) > ITEMS[channel]:
            del self._items[next(iter(self._items))]

    def interrupt(self, reason: str, anew: bool = True) -> None:
        """Tell readers that messages are missing, or that a book is not verified any more.

        Args:
            reason: why.
            anew: whether the exchange will send a snapshot by itself. Without one, late readers go on to
                begin with the last state; but a book without proof is none.
        """
        self._flush()
        if self.ended or (self._book is not None and not self.live):
            return  # they know
        self.live = self._state_due = self.live and not anew and self._book is None
        if self.key.channel != "ticker":  # of which one message is the whole
            self._items.clear()  # a snapshot has no holes
        self._writes.append((STALE if self._book is not None else GAP, reason.encode(), 1))

    def end(self, reason: str) -> None:
        """Tell readers that there will be no more messages."""
        self._flush()
        self.live, self.ended = False, True
        self._writes.append((ENDED, reason.encode(), 1))

    def begin(self) -> None:
        """Begin a term of office: numbers start at 0, and the state is written first."""
        self.number, self._state_due = 0, self.live
        self.discard()

    def discard(self) -> None:
        """Forget what is to be written: this publisher is not in office."""
        self._frames, self._writes = [], []

    def writes(self) -> List[Write]:
        """Return what is to be written, in order."""
        self._flush()
        writes, self._writes = self._writes, []
        count = sum(one[2] for one in writes)
        self.number += count
        self._since += count
        return writes

    def state(self, now: float) -> Optional[bytes]:
        """Return the state if it is to be written at ``now`` (monotonic seconds), after :meth:`writes`."""
        due = self._state_due or self._since >= self._every
        due = due or (self._since > 0 and now - self._state_at >= STATE_AFTER)
        if not (due and self.live):
            return None
        self._since, self._state_at, self._state_due = 0, now, False
        if self._book is not None:
            return self._book.snapshot_frame()
        if self.key.channel == "instrument":
            return self._table.frame()
        message: Dict[str, Any] = {
            "channel": self.key.channel,
            "type": "snapshot",
            "data": list(self._items.values()),
        }
        if self._timestamp:
            message["timestamp"] = self._timestamp
        return msgspec.json.encode(message)

    def mark(self, term: int) -> Mark:
        """Return the id of the last message that :meth:`writes` has returned."""
        return Mark(term, self.number)

    def _flush(self) -> None:
        if self._frames:
            self._writes.append((FRAMES, joined(self._frames), len(self._frames)))
            self._frames = []

    def __repr__(self) -> str:
        return f"<PublishedFeed {text_of(self.key)} {self.number}>"


class _Message(msgspec.Struct):
    """A message, with its items as they were written."""

    data: List[msgspec.Raw]
    timestamp: msgspec.Raw = msgspec.Raw()


class _Candle(msgspec.Struct):
    interval_begin: str


_decode = msgspec.json.Decoder(_Message).decode
_candle = msgspec.json.Decoder(_Candle).decode
