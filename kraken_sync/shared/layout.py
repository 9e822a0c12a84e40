"""How a feed lies in Redis: the names of keys, and the form of entries. Pure.

Each subscription (a channel and a symbol) has one stream. The id of an entry is ``<term>-<number>``: the term
of office of the publisher that wrote it, and the number of the last message in it. Terms are times of the
Redis server in microseconds, or one more than the last term if its clock was put back. So a later publisher
has a higher one, and Redis itself refuses the entries of an earlier one, because the ids of a stream must
grow. Within a term the numbers have no holes, so a reader sees from the ids alone whether something is
missing, whatever the reason is.

Beside the stream is a hash with the state that a late reader begins with, and the number up to which it goes.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..core.wire.channels import Key

PULSE = 1.0
"""Seconds between two heartbeats of a publisher."""
DEAD_AFTER = 2 * PULSE
"""Seconds without a heartbeat after which a publisher is taken for dead."""
LEASE = 3.0
"""Seconds after which the office of a publisher that has died is free."""

FRAMES, STALE, GAP, ENDED = b"frames", b"stale", b"gap", b"ended"
"""The kinds of entries: verified messages of the exchange, one a line; the reason why a book is not verified
any more; the reason why messages are missing; and the reason why there will be no more of them."""

Fields = Mapping[bytes, bytes]


class Names:
    """The keys of one feed.

    Args:
        name: tells feeds of one Redis apart.
    """

    def __init__(self, name: str) -> None:
        # Braces make a cluster keep everything of a feed on one server, so that transactions work.
        self._prefix = f"ks:{{{name}}}:"
        self.lease = self._prefix + "lease"
        """Held by the publisher in office."""
        self.pulse = self._prefix + "pulse"
        """The stream of heartbeats; its ids are times of the Redis server."""
        self.offers = self._prefix + "offers"
        """A hash: what is published, with its parameters."""

    def stream(self, key: Key) -> str:
        """The stream of a subscription."""
        return self._prefix + text_of(key)

    def state(self, key: Key) -> str:
        """The hash of its state."""
        return self._prefix + "state:" + text_of(key)


def text_of(key: Key) -> str:
    """Return a key as text.

    >>> text_of(Key("ohlc", "BTC/USD", 5)), text_of(Key("instrument"))
    ('ohlc:BTC/USD:5', 'instrument')
    """
    return ":".join(str(part) for part in key if part is not None)


class Mark(NamedTuple):
    """The id of an entry."""

    term: int
    number: int

    def __str__(self) -> str:
        return f"{self.term}-{self.number}"


def mark_of(text: bytes) -> Mark:
    """Return an id as numbers.

    >>> mark_of(b"1764403200000000-17")
    Mark(term=1764403200000000, number=17)
    """
    term, _, number = text.partition(b"-")
    return Mark(int(term), int(number))


# -- entries -------------------------------------------------------------------------------------


def entry(kind: bytes, body: bytes, count: int) -> Dict[str, Any]:
    """Return the fields of an entry that has so many messages."""
    return {"k": kind, "c": count, "d": body}


def joined(frames: List[bytes]) -> bytes:
    """Return messages as one text. JSON has no line feeds but between its tokens, where they mean nothing."""
    return b"\n".join(frame.replace(b"\n", b" ") for frame in frames)


class Entry(NamedTuple):
    """An entry as it was read."""

    mark: Mark
    kind: bytes
    messages: int
    body: bytes

    @property
    def frames(self) -> List[bytes]:
        """The messages."""
        return self.body.split(b"\n")


def entry_of(mark: bytes, fields: Fields) -> Entry:
    """Return an entry. Raises ValueError or KeyError if it has another form."""
    return Entry(mark_of(mark), fields[b"k"], int(fields[b"c"]), fields[b"d"])


# -- heartbeats ----------------------------------------------------------------------------------


class Pulse(NamedTuple):
    """A heartbeat. Times are seconds of the Redis server's clock."""

    at: float
    term: int
    proven_at: float
    """Up to when the publisher had received everything from the exchange."""
    status: bytes
    """The exchange's status, as an item of its ``status`` channel."""


def pulse(term: int, age: float, status: Mapping[str, Any]) -> Dict[str, Any]:
    """Return the fields of a heartbeat; ``age`` is that of the last proof, in seconds."""
    return {"t": term, "a": f"{age:.6f}", "s": json.dumps(dict(status))}


def pulse_of(mark: bytes, fields: Fields) -> Pulse:
    """Return a heartbeat. Raises ValueError or KeyError if it has another form."""
    at = int(mark.partition(b"-")[0]) / 1e3
    return Pulse(at, int(fields[b"t"]), at - float(fields[b"a"]), fields[b"s"])


# -- states --------------------------------------------------------------------------------------


def state(mark: Mark, body: bytes) -> Dict[str, Any]:
    """Return the fields of the state up to ``mark``."""
    return {"m": str(mark), "d": body, "h": seal(mark, body)}


def state_of(fields: Fields) -> Optional[Tuple[Mark, bytes]]:
    """Return a state, or None if there is none, or if it is not what was written."""
    try:
        mark, body = mark_of(fields[b"m"]), fields[b"d"]
        return (mark, body) if fields[b"h"].decode() == seal(mark, body) else None
    except (KeyError, ValueError):
        return None


def seal(mark: Mark, body: bytes) -> str:
    """Return a hash over a state: the exchange's checksum covers ten levels a side, and this all of them."""
    return hashlib.blake2b(str(mark).encode() + b" " + body, digest_size=16).hexdigest()


# -- offers --------------------------------------------------------------------------------------


def offer(params: Mapping[str, Any]) -> str:
    """Return what is published of a subscription, for the hash of offers."""
    return json.dumps(dict(params))


def offers_of(fields: Fields) -> Dict[str, Dict[str, Any]]:
    """Return what is published: the parameters by the text of each key."""
    return {name.decode(): json.loads(params) for name, params in fields.items()}
