"""What happens to the connections, told to streams: a program can log and alarm without reading log lines."""

from __future__ import annotations

import json
import weakref
from typing import Any, List, Optional

from ..errors import KrakenError
from .locks import new_lock
from .streams import Decode, Stream

LOST, RESTORED, FAILED, STATUS = "lost", "restored", "failed", "status"


class Events:
    """The streams that are told of events, for all connections of one client. Any thread; does not block."""

    def __init__(self) -> None:
        self._lock = new_lock("events")
        # Weak: a stream that nobody reads any more is forgotten. A new list each time, because the I/O
        # threads iterate over the old one without the lock.
        self._streams: List[weakref.ref[Stream]] = []

    def open(self, decode: Decode) -> Stream:
        """Return a new stream, which gets all events from now on."""
        stream = Stream("client.events()", decode)
        with self._lock:
            self._streams = [ref for ref in self._streams if ref() is not None] + [weakref.ref(stream)]
        return stream

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
