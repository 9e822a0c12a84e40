"""The users of each subscription: streams, and other objects that hold it.

A subscription goes on while anything holds it. Streams are referenced weakly, so that a stream that nobody
reads any more is collected and buffers nothing. Not thread-safe: the session's lock serialises the calls.
"""

from __future__ import annotations

import weakref
from typing import Dict, FrozenSet, List, Optional, Sequence, Tuple

from ...core.session.events import Received
from ...core.wire.channels import Key
from ..streams import Stream

Refs = Tuple["weakref.ref[Stream]", ...]
Parcel = List[Tuple[Key, bytes]]
"""Frames with their subscriptions, in the order of their arrival."""
Parcels = Dict["weakref.ref[Stream]", Parcel]


class BookHolder:
    """The holder of a subscription for an order book; all other holders need the frames themselves.

    Args:
        max_age: how old the data may become, in seconds, or None.
    """

    def __init__(self, max_age: Optional[float] = None) -> None:
        self.max_age = max_age


class Holders:
    """The holders of each subscription, by its key."""

    # The tuples and frozensets are replaced, never changed: the reading thread takes one under the lock and
    # goes through it after the lock has been released.

    def __init__(self) -> None:
        self._refs: Dict[Key, Refs] = {}
        self._holders: Dict[Key, FrozenSet[object]] = {}

    def add(self, key: Key, stream: Optional[Stream], holder: object) -> None:
        """Note that ``stream`` and ``holder`` (either may be None) hold ``key``."""
        if holder is not None:
            self._holders[key] = self._holders.get(key, frozenset()) | {holder}
        if stream is not None:
            # References to collected streams are removed here and in drop(); nothing else would remove them.
            alive = tuple(ref for ref in self._refs.get(key, ()) if ref() is not None)
            self._refs[key] = (*alive, weakref.ref(stream))

    def drop(self, key: Key, stream: Optional[Stream], holder: object) -> bool:
        """Note that they hold ``key`` no more. True if others do, or if they did not hold it before."""
        # "Did not hold it" counts as held by others: a second unsubscribe() of a stream must not end the
        # subscription that somebody else has made since.
        refs, holders = self._refs.pop(key, ()), self._holders.pop(key, frozenset())
        held = holder in holders or any(ref() is stream for ref in refs if stream is not None)
        refs = tuple(ref for ref in refs if ref() is not None and ref() is not stream)
        if refs:
            self._refs[key] = refs
        if holders - {holder}:
            self._holders[key] = holders - {holder}
        return not held or bool(refs) or bool(holders - {holder})

    def forget(self, key: Key) -> List[Stream]:
        """Remove all holders of ``key``, and return the streams among them."""
        self._holders.pop(key, None)
        return _alive(self._refs.pop(key, ()))

    def wants_frames(self, key: Key) -> bool:
        """Return whether a holder needs the frames themselves, rather than a book."""
        return bool(self._refs.get(key)) or any(
            not isinstance(holder, BookHolder) for holder in self._holders.get(key, ())
        )

    def max_age(self, key: Key) -> Optional[float]:
        """Return the smallest ``max_age`` of its books, in seconds."""
        books = [one for one in self._holders.get(key, ()) if isinstance(one, BookHolder)]
        return min((book.max_age for book in books if book.max_age is not None), default=None)

    def any(self, key: Key) -> bool:
        """Return whether anything holds ``key``."""
        return key in self._holders or bool(_alive(self.refs(key)))

    def refs(self, key: Key) -> Refs:
        """Return weak references to the streams of ``key``."""
        return self._refs.get(key, ())

    def address(self, run: Sequence[Received], frames: Sequence[bytes]) -> Parcels:
        """Return which streams get these frames; each gets a frame once, also for several keys."""
        parcels: Parcels = {}
        if not self._refs:
            return parcels
        found: Dict[Key, List[Parcel]] = {}
        for received, frame in zip(run, frames):
            shown = received.frame or frame
            for key in received.keys:
                if key not in found:
                    found[key] = self._parcels_of(key, parcels)
                item = (key, shown)
                for parcel in found[key]:
                    if key is received.keys[0] or not (parcel and parcel[-1][1] is shown):
                        parcel.append(item)
        return parcels

    def _parcels_of(self, key: Key, parcels: Parcels) -> List[Parcel]:
        found = []
        for ref in self.refs(key):
            stream = ref()  # held here, because a reference to a dead one cannot be a key of a dict
            if stream is not None:
                found.append(parcels.setdefault(ref, []))
        return found

    def streams(self, key: Key) -> List[Stream]:
        """Return the streams of ``key`` that are still alive."""
        return _alive(self.refs(key))

    def all_streams(self) -> List[Stream]:
        """Return every stream that is still alive, once."""
        found = [stream for refs in self._refs.values() for stream in _alive(refs)]
        return list({id(stream): stream for stream in found}.values())


def _alive(refs: Refs) -> List[Stream]:
    return [stream for stream in (ref() for ref in refs) if stream is not None]


def deliver(
    parcels: Parcels, taps: Sequence[Stream], run: Sequence[Received], frames: Sequence[bytes]
) -> None:
    """Give each stream its frames, and every tap all of them that are not hidden."""
    # A function of its own, so that no local variable of the reading loop keeps a stream alive: a stream that
    # nobody reads any more is to be collected.
    if taps:
        shown = [(None, got.frame or frame) for got, frame in zip(run, frames) if not got.hidden]
        for tap in taps:
            tap.put_all(shown)
    for ref, parcel in parcels.items():
        stream = ref()
        if stream is not None:
            stream.put_all(parcel)
