"""What happens to the connections, told to streams: a program can log and alarm without reading log lines."""

from __future__ import annotations

import json
import time
import weakref
from typing import Any, Dict, List, Optional, Set

from ..errors import KrakenError
from .locks import new_lock
from .streams import Decode, Stream
from .walltime import wall_text


class Reader(Stream):
    """The stream of one reader."""

    def __init__(self, decode: Decode, owner: object) -> None:
        super().__init__("client.events()", decode)
        self._owner = owner  # or a client that was dropped would leave its reader waiting


def _alive(ref: weakref.ref[Stream]) -> bool:
    return ref() is not None


class Events:
    """The streams that are told of events, for all connections of one client. Any thread; does not block."""

    def __init__(self) -> None:
        self._lock = new_lock("events")
        # Weak: a stream that nobody reads any more is forgotten. A new list each time, because the I/O
        # threads iterate over the old one without the lock.
        self._streams: List[weakref.ref[Stream]] = []
        self.outages: Dict[str, Dict[str, Any]] = {}
        """By connection, ``since`` and ``reason`` of what has not been restored."""
        self.failed: Set[str] = set()
        """The connections that were given up, once that has been told."""

    def open(self, decode: Decode, owner: object) -> Stream:
        """Return a new stream, which gets all events from now on; its ``owner`` lives as long as it does."""
        stream = Reader(decode, owner)
        with self._lock:
            self._streams = [*filter(_alive, self._streams), weakref.ref(stream)]
        return stream

    def lost(self, connection: str, reason: str) -> None:
        """Tell that a connection that was open is lost."""
        outage = self.outages[connection] = {"since": wall_text(time.monotonic()), "reason": reason}
        self.tell("lost", connection, **outage, until=None)

    def came_up(self, connection: str) -> None:
        """Tell that a connection is back, if it was lost or given up."""
        outage = self.outages.pop(connection, None)
        if outage is not None:
            self.tell("restored", connection, **outage, until=wall_text(time.monotonic()))

    def gave_up(self, connection: str, reason: str) -> None:
        """Tell that a connection was given up for good."""
        outage = self.outages.setdefault(connection, {"since": wall_text(time.monotonic()), "reason": reason})
        self.tell("failed", connection, since=outage["since"], until=None, reason=reason)
        self.failed.add(connection)

    def streams(self) -> List[Stream]:
        """Return the streams that somebody still refers to."""
        return [stream for stream in (ref() for ref in self._streams) if stream is not None]

    def tell(self, event: str, connection: str, **details: Any) -> None:
        """Tell all streams of an event; see :meth:`SpotWSClient.events` for its details."""
        streams = self.streams()
        if not streams:
            return
        frame = json.dumps({"event": event, "connection": connection, **details}, default=str).encode()
        for stream in streams:
            stream.put(None, frame)

    def end(self, error: Optional[KrakenError] = None) -> None:
        """End all streams; their readers get ``error``."""
        for stream in self.streams():
            stream.end(error)
