"""Bounded queues between the I/O thread and whoever reads.

The I/O thread never waits for a reader: a full stream drops its oldest frames and says so, at the place
where they are missing. Frames are kept as they came and decoded when read, in the reader's thread.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, FrozenSet, Iterable, List, Optional, Set, Union

from ..core.wire.channels import Key
from ..core.wire.messages import MalformedFrame, gap_frame
from ..errors import ClientClosed, KrakenError, StreamOverflow
from .kept_error import fresh_copy
from .logs import log
from .waiting import Condition, deadline_of
from .walltime import wall_text

DROP_OLDEST, CONFLATE, RAISE = "drop_oldest", "conflate", "raise"
POLICIES = (DROP_OLDEST, CONFLATE, RAISE)
KEPT_GAPS = 1000

Decode = Callable[[bytes], Any]


class _Lost:
    """Stands where frames were dropped."""

    def __init__(self, now: float) -> None:
        self.count = 0
        self.since = self.until = now


Entry = Union[bytes, Dict[str, Any], Key, _Lost]


class Stream:
    """A bounded queue of frames. Any thread may read; each frame goes to one reader.

    Args:
        name: for log lines.
        decode: turns a frame into what readers get.
        maxlen: how many frames are kept for a slow reader.
        policy: what a full stream does: ``drop_oldest`` leaves a gap frame where frames were lost,
            ``conflate`` keeps only the latest frame of each symbol, ``raise`` makes the next read
            raise StreamOverflow.
        keys: what it is subscribed to; empty for a stream of everything.
    """

    def __init__(
        self,
        name: str,
        decode: Decode,
        maxlen: int = 10_000,
        policy: str = DROP_OLDEST,
        keys: Iterable[Key] = (),
    ) -> None:
        if isinstance(maxlen, bool) or not isinstance(maxlen, int) or maxlen < 1:
            raise ValueError(f"maxlen must be an int of 1 or more, not {maxlen!r}")
        if policy not in POLICIES:
            raise ValueError(f"policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        self.name = name
        self.maxlen = maxlen
        self.policy = policy
        self.keys: FrozenSet[Key] = frozenset(keys)
        self.dropped = 0
        """Frames lost so far because nobody read them in time."""
        self.malformed = 0
        """Frames dropped because they could not be decoded."""
        self._decode = decode
        self._entries: Deque[Entry] = deque()
        self._latest: Dict[Key, bytes] = {}
        self._frames = 0
        """How many of the entries are frames; only these count against ``maxlen``."""
        self._gaps: Deque[Dict[str, Any]] = deque(maxlen=KEPT_GAPS)
        self._ready = Condition("stream")
        self._readers = 0
        self._warned = False
        self._live: Set[Optional[Key]] = set(keys)
        self._ended = False
        self._error: Optional[KrakenError] = None

    # -- I/O thread --------------------------------------------------------------------------

    def prime(self, frames: Iterable[bytes]) -> None:
        """Begin with these frames; only before anybody else knows the stream."""
        self._entries.extend(frames)
        self._frames = len(self._entries)

    def put(self, key: Optional[Key], frame: bytes) -> None:
        """Add a frame. Never blocks."""
        with self._ready:
            if self._ended:
                return
            if self.policy == CONFLATE and key is not None:
                if key not in self._latest:
                    self._entries.append(key)
                    self._frames += 1
                self._latest[key] = frame
            else:
                self._entries.append(frame)
                self._frames += 1
            overflow = self._frames > self.maxlen and self._drop()
            if self._readers:
                self._ready.notify()
        if overflow:
            log.warning(
                "the reader of %s is slow: messages are being dropped (policy %s, maxlen %d); "
                "they are counted, and a gap frame stands where they were",
                self.name,
                self.policy,
                self.maxlen,
            )

    def put_gap(self, gap: Dict[str, Any]) -> None:
        """Add a gap frame, at its place in the stream."""
        with self._ready:
            self._gaps.extend(gap["data"])
            if not self._ended:
                # what was conflated so far came before the gap: it keeps its place, and is final
                self._entries = deque(
                    self._latest.pop(entry) if isinstance(entry, Key) else entry for entry in self._entries
                )
                if len(self._entries) - self._frames >= KEPT_GAPS:  # outages without end, and no reader
                    del self._entries[[type(entry) for entry in self._entries].index(dict)]
                self._entries.append(gap)
                self._ready.notify_all()

    def end(self, error: Optional[KrakenError] = None, key: Optional[Key] = None) -> None:
        """Nothing comes any more (of ``key``); readers get the rest, then ``error`` or the end."""
        with self._ready:
            self._live.discard(key)
            if self._ended or (key is not None and self._live):
                return
            self._ended, self._error = True, error
            self._ready.notify_all()

    def _drop(self) -> bool:
        """Drop the oldest frame and leave a mark in its place; True if this begins an episode."""
        now = time.monotonic()
        passed: List[Entry] = []
        while self._entries:
            entry = self._entries.popleft()
            if isinstance(entry, (bytes, Key)):
                if isinstance(entry, Key):
                    del self._latest[entry]
                self.dropped += 1
                self._frames -= 1
                mark = passed[-1] if passed else None
                if not isinstance(mark, _Lost):
                    mark = _Lost(now)
                    passed.append(mark)
                mark.count += 1
                mark.until = now
                break
            passed.append(entry)
        self._entries.extendleft(reversed(passed))
        begins, self._warned = not self._warned, True
        return begins

    # -- readers -----------------------------------------------------------------------------

    def get(self, timeout: Optional[float] = None) -> Any:
        """The next message. Blocks up to ``timeout`` seconds, or for ever with None.

        Raises:
            queue.Empty: nothing came in time.
            StreamOverflow: messages were lost in a stream that must not lose any; reading goes on.
            ClientClosed: the stream has ended and everything was read.
            KrakenError: what ended the stream, if it was not closed on purpose.
        """
        deadline = deadline_of(timeout)
        while True:
            entry = self._take(deadline)
            if not isinstance(entry, bytes):
                return entry
            try:
                return self._decode(entry)
            except MalformedFrame as error:
                self.malformed += 1
                log.warning("%s: a frame cannot be read, and is a gap: %s", self.name, error)
                return self._told(f"a message cannot be read: {error}", time.monotonic(), dropped=1)

    @property
    def gaps(self) -> List[Dict[str, Any]]:
        """What was missing so far: ``symbol``, ``reason``, ``since``, ``until``, ``dropped``."""
        with self._ready:
            return list(self._gaps)

    @property
    def ended(self) -> bool:
        """Whether nothing can come any more (there may be something left to read)."""
        return self._ended

    @property
    def over(self) -> bool:
        """Whether nothing can come any more, and everything was read."""
        return self._ended and not self._entries

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        try:
            return self.get()
        except ClientClosed:
            raise StopIteration from None

    def _take(self, deadline: Optional[float]) -> Union[bytes, Dict[str, Any]]:
        with self._ready:
            self._readers += 1
            try:
                if not self._ready.wait_until(lambda: bool(self._entries) or self._ended, deadline):
                    raise queue.Empty
            finally:
                self._readers -= 1
            return self._next_entry()

    def _next_entry(self) -> Union[bytes, Dict[str, Any]]:
        if not self._entries:
            if self._error is not None:
                raise fresh_copy(self._error)
            raise ClientClosed(f"{self.name} has ended")
        entry = self._entries.popleft()
        if not self._entries:
            self._warned = False
        if isinstance(entry, _Lost):
            return self._overflow(entry)
        if not isinstance(entry, dict):
            self._frames -= 1
        return self._latest.pop(entry) if isinstance(entry, Key) else entry

    def _overflow(self, lost: _Lost) -> Dict[str, Any]:
        gap = self._told("slow reader", lost.since, lost.until, lost.count)
        if self.policy == RAISE:
            raise StreamOverflow(f"{self.name}: {lost.count} messages were lost", dropped=lost.count)
        return gap

    def _told(
        self, reason: str, since: float, until: Optional[float] = None, dropped: int = 0
    ) -> Dict[str, Any]:
        """The gap frame for frames that are missing here, and nowhere else; it enters ``gaps``, too."""
        symbols = {key.symbol for key in self.keys}
        channels = {key.channel for key in self.keys}
        gap = gap_frame(
            channels.pop() if len(channels) == 1 else "messages",
            symbols.pop() if len(symbols) == 1 else None,
            reason,
            wall_text(since),
            wall_text(since if until is None else until),
            dropped,
        )
        with self._ready:
            self._gaps.extend(gap["data"])
        return gap

    def fork(self, error: KrakenError) -> None:
        """In a forked child: nothing can come any more, and the lock may be held for ever."""
        self._ready = Condition("stream")
        self._entries.clear()
        self._frames = 0
        self._ended, self._error = True, error

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.name} {'ended' if self.ended else 'live'}, {self.dropped} dropped>"
        )
