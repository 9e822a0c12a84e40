"""Who holds a subscription: streams that somebody reads, and holders of those who need it otherwise.

A subscription lives while anything holds it. Streams are held weakly: a stream that nobody reads any more
buffers nothing. Not thread-safe: the connection's lock serialises.
"""

from __future__ import annotations

import weakref
from typing import Dict, FrozenSet, List, Optional, Tuple

from ...core.wire.channels import Key
from ..streams import Stream

Refs = Tuple["weakref.ref[Stream]", ...]


class BookHolder:
    """Held for one order book; any other holder wants frames."""


class Holders:
    """The holders of each key."""

    def __init__(self) -> None:
        self._refs: Dict[Key, Refs] = {}
        self._holders: Dict[Key, FrozenSet[object]] = {}

    def add(self, key: Key, stream: Optional[Stream], holder: object) -> None:
        """``stream`` and ``holder`` (either may be None) hold ``key``."""
        if holder is not None:
            self._holders[key] = self._holders.get(key, frozenset()) | {holder}
        if stream is not None:
            alive = tuple(ref for ref in self._refs.get(key, ()) if ref() is not None)
            self._refs[key] = (*alive, weakref.ref(stream))

    def drop(self, key: Key, stream: Optional[Stream], holder: object) -> bool:
        """They hold it no more. True if others do, or if they did not hold it in the first place."""
        refs, holders = self._refs.pop(key, ()), self._holders.pop(key, frozenset())
        held = holder in holders or any(ref() is stream for ref in refs if stream is not None)
        refs = tuple(ref for ref in refs if ref() is not None and ref() is not stream)
        if refs:
            self._refs[key] = refs
        if holders - {holder}:
            self._holders[key] = holders - {holder}
        return not held or bool(refs) or bool(holders - {holder})

    def forget(self, key: Key) -> List[Stream]:
        """Nobody holds it any more; returns the streams that did."""
        self._holders.pop(key, None)
        return _alive(self._refs.pop(key, ()))

    def wants_frames(self, key: Key) -> bool:
        """Whether somebody wants the frames as they are, rather than a book."""
        return bool(self._refs.get(key)) or any(
            not isinstance(holder, BookHolder) for holder in self._holders.get(key, ())
        )

    def any(self, key: Key) -> bool:
        """Whether anything holds it."""
        return key in self._holders or bool(_alive(self.refs(key)))

    def refs(self, key: Key) -> Refs:
        """The streams of ``key``, weakly."""
        return self._refs.get(key, ())

    def streams(self, key: Key) -> List[Stream]:
        """The streams of ``key``."""
        return _alive(self.refs(key))

    def all_streams(self) -> List[Stream]:
        """Every stream, once."""
        found = [stream for refs in self._refs.values() for stream in _alive(refs)]
        return list({id(stream): stream for stream in found}.values())


def _alive(refs: Refs) -> List[Stream]:
    return [stream for stream in (ref() for ref in refs) if stream is not None]
