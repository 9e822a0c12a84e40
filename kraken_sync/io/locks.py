"""The names of all locks of this library, and the order in which they are taken.

A thread that holds a lock may take only locks further down in :data:`ORDER`; so no two threads can wait for
each other. A thread that holds the session's lock only decides: it does not wait, send, log or call a user's
code meanwhile. A test runs real traffic with locks that check this order, and ``docs/threads.rst`` shows the
table.
"""

from __future__ import annotations

import threading
from typing import Any, Callable, Mapping, Optional

ORDER: Mapping[str, str] = {
    "life": "one client: starting and closing",
    "engine": "one client: its connections, by kind",
    "books": "one client: the books that it has handed out",
    "kept books": "one SpotOrderBookClient: the books as its callback has seen them",
    "send": "one WebSocket connection: the order of frames on the wire; held while a frame is sent",
    "session": "one connection: everything that is decided about it",
    "stream": "one stream: its queue",
    "tapes": "one client: its recorders",
    "tape": "one recorder: what is to be written",
    "turn": "one turn-taking: whose turn it is",
    "unresolved": "one client: the requests whose outcome is unknown",
    "events": "one client: the streams of its events",
    "worker": "one client: what its worker thread is to do",
    "tokens": "one client: who fetches a WebSocket token",
    "rest threads": "one client: how many threads carry out REST requests",
    "http": "one client: its REST requests under way",
    "budget": "the process: connection attempts per host",
    "socket": "one socket: calls into its TLS object",
    "descriptor": "one socket: shutting down and closing",
    "event": "one event: whether it is set",
}
"""The name of each lock and what it guards, in the order in which locks are taken."""

checked: Optional[Callable[[str, bool], Any]] = None
"""Set by tests: makes a lock of this name, reentrant or not, that checks the order."""


def new_lock(name: str) -> Any:
    """Return a new lock with a name of :data:`ORDER`."""
    assert name in ORDER
    return threading.Lock() if checked is None else checked(name, False)


def new_rlock(name: str) -> Any:
    """Return a new reentrant lock with a name of :data:`ORDER`.

    Releasing it raises RuntimeError in a thread that does not hold it.
    """
    assert name in ORDER
    return threading.RLock() if checked is None else checked(name, True)
