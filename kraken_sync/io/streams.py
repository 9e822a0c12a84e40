"""Bounded queues between the I/O thread and the threads that read.

The I/O thread never waits for a reader: a full stream drops its oldest frames and has a gap frame in their
place. Frames are kept as received and decoded when they are read, in the reader's thread, so that decoding
takes no time from receiving.
"""

from __future__ import annotations

import queue
import time
from collections import deque
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    FrozenSet,
    Iterable,
    List,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

from ..core.awaiting import Blocking
from ..core.copying import refuse_copy
from ..core.html import badge, details
from ..core.wire.channels import Key
from ..core.wire.messages import MalformedFrame, gap_frame
from ..errors import ClientClosed, KrakenError, StreamOverflow, StreamTimeout
from .kept_error import fresh_copy
from .logs import log
from .waiting import Condition, deadline_of
from .walltime import wall_text

DROP_OLDEST, CONFLATE, RAISE = "drop_oldest", "conflate", "raise"
POLICIES = (DROP_OLDEST, CONFLATE, RAISE)
KEPT_GAPS = 1000
"""The number of gaps kept for :attr:`Stream.gaps`, and of unread gap frames kept in the queue."""

Decode = Callable[[bytes], Any]


class Lost:
    """The mark in the queue where frames were dropped; a gap frame is made of it when it is read."""

    def __init__(self, now: float, first: Optional[bytes]) -> None:
        self.count = 0
        self.since = self.until = now
        self.first = first
        """The first of the frames, unless they were conflated."""


Entry = Any
"""Frames are bytes, or the key of the latest frame; :class:`Lost`; anything else is read as it is."""


class Stream(Blocking):
    """A bounded queue of frames. Any thread may read; each frame goes to one reader.

    Args:
        name: the name for log lines and error texts.
        decode: turns a frame into what readers get.
        maxlen: the number of frames that may wait to be read.
        policy: what a full stream does: ``drop_oldest`` drops the oldest frames and leaves a gap frame in
            their place, ``conflate`` keeps only the latest frame of each symbol, ``raise`` makes the next
            read raise StreamOverflow.
        keys: the subscriptions; empty for a stream of all frames.

    Raises:
        ValueError: ``maxlen`` or ``policy`` is not valid.
    """

    __reduce__ = refuse_copy("pass on the messages that are read from it")

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
        """The number of frames dropped so far because they were not read in time."""
        self.malformed = 0
        """The number of frames that could not be decoded; each is a gap."""
        self._decode = decode
        self._entries: Deque[Entry] = deque()
        # With "conflate" the queue has each key once, and the latest frame of the key is in here: replacing
        # it leaves the key at its place in the queue.
        self._latest: Dict[Key, bytes] = {}
        self._frames = 0
        """The number of entries that are frames; gap frames do not count against ``maxlen``."""
        self._gaps: Deque[Dict[str, Any]] = deque(maxlen=KEPT_GAPS)
        self._ready = Condition("stream")
        self._readers = 0
        self._warned = False
        self._live: Set[Optional[Key]] = set(keys)
        self._ended = False
        self._error: Optional[KrakenError] = None

    # -- I/O thread --------------------------------------------------------------------------

    def prime(self, frames: Iterable[bytes]) -> None:
        """Begin with these frames. Without the lock, so only before another thread knows the stream."""
        self._entries.extend(frames)
        self._frames = len(self._entries)

    def put(self, key: Optional[Key], frame: bytes) -> None:
        """Add a frame; ``key`` is its subscription, None in a stream of all frames. Never blocks."""
        self.put_all(((key, frame),))

    def put_all(self, frames: Sequence[Tuple[Optional[Key], bytes]]) -> None:
        """Add frames that came together, each with its key. Never blocks."""
        overflow = False
        with self._ready:
            if self._ended:
                return
            if self.policy == CONFLATE:
                for key, frame in frames:
                    self._conflate(key, frame)
            else:
                self._entries.extend([frame for _, frame in frames])
                self._frames += len(frames)
            if self._frames > self.maxlen:
                overflow = self._drop_surplus()
            if self._readers:  # notify() without waiting threads would cost time
                self._ready.notify(len(frames))
        if overflow:  # logged once for each time the reader falls behind, and without the lock
            log.warning(
                "the reader of %s is slow: messages are being dropped (policy %s, maxlen %d); "
                "they are counted, and a gap frame stands where they were",
                self.name,
                self.policy,
                self.maxlen,
            )

    def _drop_surplus(self) -> bool:
        """Drop what is too much, and return whether it is the first time."""
        first = False
        while self._frames > self.maxlen:
            first = self._drop() or first
        return first

    def _conflate(self, key: Optional[Key], frame: bytes) -> None:
        # A stream of all frames has no keys, so there is nothing to conflate by.
        if key is None:
            self._entries.append(frame)
            self._frames += 1
            return
        if key not in self._latest:
            self._entries.append(key)
            self._frames += 1
        self._latest[key] = frame

    def put_gap(self, gap: Dict[str, Any]) -> None:
        """Add a gap frame, at its place in the stream."""
        with self._ready:
            self._gaps.extend(gap["data"])
            if not self._ended:
                # Frames conflated so far arrived before the gap. They become ordinary entries, or a frame
                # from after the gap would replace them at a place before it.
                self._entries = deque(
                    self._latest.pop(entry) if isinstance(entry, Key) else entry for entry in self._entries
                )
                # A stream that nobody reads must not grow with every outage of a night.
                if len(self._entries) - self._frames >= KEPT_GAPS:
                    del self._entries[[type(entry) for entry in self._entries].index(dict)]
                self._entries.append(gap)
                self._ready.notify_all()

    def put_mark(self, mark: Any) -> None:
        """Add something that is read as it is, at its place in the stream. Any thread."""
        with self._ready:
            if not self._ended:
                self._entries.append(mark)
                self._ready.notify()

    def end(self, error: Optional[KrakenError] = None, key: Optional[Key] = None) -> None:
        """End the stream, or the part of it that is for ``key``; it ends with its last key.

        Readers get the frames that are left; after that they get ``error``, or the end if it is None.
        """
        with self._ready:
            self._live.discard(key)
            if self._ended or (key is not None and self._live):
                return  # the first end counts, and other symbols of the stream are still live
            self._ended, self._error = True, error
            self._ready.notify_all()

    def _drop(self) -> bool:
        """Drop the oldest frame and leave a mark in its place; return whether it is to be logged."""
        # Gap frames in front of it stay, and neighbouring losses share one mark, so the readers learn of
        # every loss, at its place, and the queue stays bounded.
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
                if not isinstance(mark, Lost):
                    mark = Lost(now, entry if isinstance(entry, bytes) else None)
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
        """Return the next message. Blocks up to ``timeout`` seconds; None waits for ever. Any thread.

        Raises:
            StreamTimeout: no message arrived in time; it is a ``queue.Empty`` and a ``TimeoutError``.
            ValueError: ``timeout`` is not a number of 0 or more.
            StreamOverflow: messages were dropped, and the policy is ``raise``; the next call reads on.
            ClientClosed: the stream has ended, and everything was read.
            KrakenError: the error that ended the stream, if it was not ended on purpose.
        """
        try:
            return self._read(deadline_of(timeout))
        except queue.Empty:
            raise self._timed_out(timeout) from None

    def _read(self, deadline: Optional[float]) -> Any:
        """Return the next message. Raises as :meth:`get`, and plain ``queue.Empty`` after the deadline."""
        while True:
            entry = self._take(deadline)
            if not isinstance(entry, bytes):
                return entry
            try:
                return self._decode(entry)
            except MalformedFrame as error:  # skipping it silently would hide that something is missing
                self.malformed += 1
                log.warning("%s: a frame cannot be read, and is a gap: %s", self.name, error)
                return self._told(f"a message cannot be read: {error}", time.monotonic(), dropped=1)

    @property
    def gaps(self) -> List[Dict[str, Any]]:
        """The latest 1000 gaps, as dicts of ``symbol``, ``reason``, ``since``, ``until``, ``dropped``."""
        with self._ready:
            return list(self._gaps)

    @property
    def ended(self) -> bool:
        """Whether no more messages can arrive; there may be some left to read."""
        return self._ended

    @property
    def over(self) -> bool:
        """Whether no more messages can arrive, and everything was read."""
        return self._ended and not self._entries

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        try:
            return self.get()
        except ClientClosed:
            raise StopIteration from None

    def _take(self, deadline: Optional[float]) -> Any:
        with self._ready:
            if not self._entries and not self._ended:
                self._await(deadline)
            taken = self._next_entry()
        if isinstance(taken, Exception):
            raise taken
        return taken

    def _await(self, deadline: Optional[float]) -> None:
        self._readers += 1
        try:
            self._ready.wait_until(lambda: bool(self._entries) or self._ended, deadline)
        finally:  # also after a Ctrl-C; a reader counted too many would only cost notifications
            self._readers -= 1

    def _timed_out(self, timeout: Optional[float]) -> StreamTimeout:
        """Return the error for a message that has not come, with what is known of the reason."""
        if not timeout:  # somebody polls, and asking for the reason would take longer than the call
            return StreamTimeout(f"no message of {self.name} waits to be read", waited=timeout)
        return StreamTimeout(f"no message of {self.name} within {timeout:g} s{self._why()}", waited=timeout)

    def _why(self) -> str:
        return ""

    @property
    def _state(self) -> str:
        return "ended" if self.ended else "live"

    # Errors are returned, and raised without the lock: Python 3.10 may leave a lock taken if a Ctrl-C meets
    # an exception on its way out of a "with".
    def _next_entry(self) -> Any:
        if not self._entries:
            if not self._ended:
                return queue.Empty()
            if self._error is not None:
                return fresh_copy(self._error)
            return ClientClosed(f"{self.name} has ended")
        entry = self._entries.popleft()
        if not self._entries:
            self._warned = False  # the reader has caught up; falling behind again is logged again
        if isinstance(entry, (bytes, Key)):
            self._frames -= 1
            return entry if isinstance(entry, bytes) else self._latest.pop(entry)
        return self._overflow(entry) if isinstance(entry, Lost) else entry

    def _overflow(self, lost: Lost) -> Union[Dict[str, Any], Exception]:
        gap = self._told("slow reader", lost.since, lost.until, lost.count)
        if self.policy == RAISE:
            return StreamOverflow(f"{self.name}: {lost.count} messages were lost", dropped=lost.count)
        return gap

    def _told(
        self, reason: str, since: float, until: Optional[float] = None, dropped: int = 0
    ) -> Dict[str, Any]:
        """Make the gap frame for frames that are missing in this stream only, and add it to ``gaps``."""
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
        """End the stream in a forked child."""
        # A new lock: another thread of the parent may have held the old one, and does not exist here.
        self._ready = Condition("stream")
        self._entries.clear()
        self._frames = 0
        self._ended, self._error = True, error

    def _repr_html_(self) -> str:
        with self._ready:
            waiting, gaps = self._frames, len(self._gaps)
        return details(
            (f"stream of {self.name}", badge(self._state)),
            [
                ("waiting to be read", f"{waiting} of {self.maxlen} at most"),
                ("dropped", f"{self.dropped} ({self.policy})"),
                ("gaps", gaps),
            ],
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self._state}, {self.dropped} dropped>"
