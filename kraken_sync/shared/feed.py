"""One subscription as it is published: what is to be written, and the state for late readers. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, Deque, List, Mapping, Optional, Tuple

import msgspec

from ..core.book.book import Book
from ..core.wire.channels import Key
from ..core.wire.messages import decode_book
from .layout import FRAMES, GAP, STALE, Mark, joined, text_of

STATE_EVERY, STATE_AFTER = 500, 5.0
"""A state is written after so many messages, and after so many seconds in which there were any."""
KEPT = 5000
"""The largest number of messages that a state has, for channels whose updates build on one another."""
TRADES = 50
"""The number of trades that a state has, as the exchange's own snapshot does:
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade."""

Write = Tuple[bytes, bytes, int]
"""An entry to be written: its kind, its body and its number of messages."""


class PublishedFeed:
    """The messages of one subscription on their way to Redis. Not thread-safe.

    Args:
        key: the subscription.
        params: its parameters, which are told to readers.
    """

    def __init__(self, key: Key, params: Mapping[str, Any]) -> None:
        self.key = key
        self.params = dict(params)
        self.number = 0
        """The number of the last message of this term that was taken for writing."""
        self.live = False
        """Whether there is a state that is up to date."""
        self._book = Book(key.symbol or "", self.params["depth"]) if key.channel == "book" else None
        self._state: List[bytes] = []
        self._trades: Deque[msgspec.Raw] = deque(maxlen=TRADES)
        self._frames: List[bytes] = []
        self._writes: List[Write] = []
        self._since, self._state_at, self._state_due = 0, 0.0, False

    def take(self, frame: bytes, snapshot: bool) -> bool:
        """Take a verified message of the exchange, and return whether it fits to those before it."""
        if self._book is not None:
            (data,) = decode_book(frame).data
            if not (snapshot or self.live):
                return True  # it follows a state that is not there
            if not self._book.apply(data, snapshot):
                self.interrupt(f"the publisher cannot verify it: computed {self._book.computed}")
                return False
        elif self.key.channel == "instrument":  # its updates tell only what has changed
            self._state = [frame] if snapshot else [*self._state, frame][-KEPT:]
        elif self.key.channel == "trade":
            if snapshot:
                self._trades.clear()
            self._trades.extend(_decode(frame).data)
        else:
            self._state = [frame]
        if snapshot or not self.live:
            self.live = self._state_due = True
        # Of the exchange's snapshot of trades nothing is new to those who read already.
        if not (snapshot and self.key.channel == "trade"):
            self._frames.append(frame)
        return True

    def interrupt(self, reason: str, anew: bool = True) -> None:
        """Tell readers that messages are missing, or that a book is not verified any more.

        Args:
            reason: why.
            anew: whether a snapshot will come by itself. Without one, late readers of what is no book go on
                to begin with the last state.
        """
        self._flush()
        if self._book is not None and not self.live:
            return  # they know
        self.live = self._state_due = self.live and not anew
        self._trades.clear()  # a snapshot has no holes
        self._writes.append((STALE if self._book is not None else GAP, reason.encode(), 1))

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
        due = self._state_due or self._since >= STATE_EVERY
        due = due or (self._since > 0 and now - self._state_at >= STATE_AFTER)
        if not (due and self.live):
            return None
        self._since, self._state_at, self._state_due = 0, now, False
        if self._book is not None:
            return self._book.snapshot_frame()
        if self.key.channel == "trade":
            return msgspec.json.encode({"channel": "trade", "type": "snapshot", "data": list(self._trades)})
        return joined(self._state)

    def mark(self, term: int) -> Mark:
        """Return the id of the last message that :meth:`writes` has returned."""
        return Mark(term, self.number)

    def _flush(self) -> None:
        if self._frames:
            self._writes.append((FRAMES, joined(self._frames), len(self._frames)))
            self._frames = []

    def __repr__(self) -> str:
        return f"<PublishedFeed {text_of(self.key)} {self.number}>"


class _Items(msgspec.Struct):
    """A message, with its items as they were written."""

    data: List[msgspec.Raw]


_decode = msgspec.json.Decoder(_Items).decode
