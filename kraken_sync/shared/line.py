"""A feed in Redis as a connection to the exchange.

A :class:`RedisLine` stands where a client has its WebSocket transport. It answers requests as the exchange
does (acknowledgements, a snapshot, pongs), and passes on the messages that a publisher has written. So
everything above it is the same as with the exchange itself: books are proven by the exchange's checksum, in
this process; a subscription that has missed something begins anew; and silence is a lost connection.

A pong proves more than that Redis is there. It is sent only after a heartbeat by which the publisher had
proof from the exchange that is younger than the ping, and after everything before that heartbeat was read.
"""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Tuple

from ..core.wire.channels import Key
from ..errors import ConnectFailed, ConnectionLost
from ..io.transport import Transport
from . import layout
from .endpoint import RedisEndpoint
from .feed import PublishedFeed
from .layout import DEAD_AFTER, Entry, Mark, Names
from .reading import Missing, Reading, ended
from .server import connected, faults, redis_module

BLOCK, EAGER = 50, 5
"""Milliseconds for which Redis is waited for at once; requests that come meanwhile wait so long. The second
is for a while after each request, since further ones often follow."""
EAGER_FOR = 0.5
"""Seconds of that while."""
MOST = 200
"""The number of entries of one stream that are read at once."""
HEARTBEAT = b'{"channel":"heartbeat"}'
FIXED = ("depth", "event_trigger")
"""Parameters that a feed has for all of its readers."""

Missed = Callable[[Sequence[Key], str], None]


class RedisLine(Transport):
    """One connection to Redis, in the role of a connection to the exchange.

    Args:
        endpoint: where the feed is.
        sending: is told each request.
        missed: is told, on the reading thread, that messages are missing, and why.
    """

    def __init__(self, endpoint: RedisEndpoint, sending: Callable[[bytes], None], missed: Missed) -> None:
        super().__init__(endpoint, sending=sending)
        self._feed = endpoint
        self._names = Names(endpoint.name)
        self._missed = missed
        self._redis: Any = None
        self._faults = faults()
        self._requests: Deque[bytes] = deque()
        self._out: Deque[Any] = deque()
        self._readings: Dict[bytes, Reading] = {}
        self._pings: Deque[Tuple[Any, float]] = deque()
        """The ids of pings, with the times of the Redis server at which they were received."""
        self._term = 0
        self._status = b""
        self._pulse_cursor = "$"
        self._pulse_at = 0.0
        self._heard_at = self._asked_at = self._offers_at = float("-inf")
        self.step = "connect"

    # -- reading thread ----------------------------------------------------------------------

    def connect(self, deadline: float) -> None:
        """Connect, and find a living publisher.

        Raises:
            ConnectFailed: there is no Redis, or no publisher.
        """
        redis = redis_module()
        try:
            self._redis = connected(self._feed.url)
            now = self._now()
            self.step = "handshake"
            last = self._redis.xrevrange(self._names.pulse, count=1)
            self._read_offers()
        except (redis.AuthenticationError, redis.exceptions.NoPermissionError) as error:
            raise ConnectFailed(
                f"{self._endpoint} refuses the login: {error}", step="handshake", permanent=True
            ) from None
        except self._faults as error:
            untrusted = "CERTIFICATE_VERIFY_FAILED" in str(error)
            step = "tls" if untrusted else self.step
            raise ConnectFailed(
                f"{self._endpoint} cannot be used: {error}", step=step, permanent=untrusted
            ) from None
        if self._aborted:
            raise ConnectFailed(self._aborted, step="connect")
        if not last:
            raise ConnectFailed(
                f"nothing is published as {self._feed.name!r} in {self._feed}. Is a publisher running? "
                "kraken-sync publish",
                step="status",
            )
        if not self._feed.offers:  # or everything that is asked for next would be refused
            raise ConnectFailed(
                f"the publisher has not told yet what it publishes ({self._feed})", step="status"
            )
        pulse = layout.pulse_of(*last[0])
        if now - pulse.at > DEAD_AFTER:
            raise ConnectFailed(
                f"the publisher's last heartbeat is {now - pulse.at:.1f} s old ({self._endpoint})",
                step="status",
            )
        self._term, self._pulse_cursor, self._pulse_at = pulse.term, last[0][0].decode(), time.monotonic()
        self._asked_at = time.monotonic()
        self._tell_status(pulse.status)

    def receive(self) -> List[bytes]:
        """Return the next messages. Blocks until there are some.

        Raises:
            ConnectionLost: Redis or the publisher is gone.
        """
        try:
            while True:
                if self._aborted:
                    raise self._lost_because(self._aborted)
                while self._requests:
                    self._answer(json.loads(self._requests.popleft()))
                self._look_for_states()
                frames = self._taken()
                if frames:
                    return frames
                if not self._out:
                    self._read()
        except self._faults as error:
            raise self._lost_because(f"Redis: {error or type(error).__name__}") from None

    def dispose(self) -> None:
        """Close the connection."""
        redis, self._redis = self._redis, None
        if redis is not None:
            try:
                redis.connection_pool.disconnect()
            except self._faults:
                pass  # it is gone already

    # -- any thread --------------------------------------------------------------------------

    def send(self, frame: bytes, timeout: float) -> None:
        """Have a request answered by the reading thread. Does not block.

        Raises:
            ConnectionLost: the connection has ended; nothing was sent.
        """
        if self._aborted:
            raise ConnectionLost(f"not connected: {self._aborted}", sent=False)
        self._sending(frame)
        self._requests.append(bytes(frame))

    def send_pong(self, timeout: float) -> None:
        """Do nothing: Redis sends no pings."""

    def say_goodbye(self, timeout: float) -> None:
        """End the connection."""
        self.abort("closed")

    def abort(self, why: str) -> None:
        """End the connection: the reading thread notices within a moment. Does not block."""
        if self._aborted is None:
            self._aborted = why

    @property
    def byte_at(self) -> float:
        """When something was last received (monotonic seconds)."""
        return self._heard_at

    # -- requests ----------------------------------------------------------------------------

    def _answer(self, request: Dict[str, Any]) -> None:
        method, req_id, params = request.get("method"), request.get("req_id"), request.get("params") or {}
        if method == "ping":
            self._pings.append((req_id, self._now()))
            return
        channel, self._asked_at = str(params.get("channel")), time.monotonic()
        for symbol in params.get("symbol") or [None]:
            key = Key(channel, symbol, params.get("interval"))
            result = {**params, "symbol": symbol}
            result = {name: value for name, value in result.items() if value is not None}
            reply: Dict[str, Any] = {"method": method, "req_id": req_id, "success": True, "result": result}
            if method == "subscribe":
                error = self._subscribed(key, params)
            else:
                error = self._unsubscribed(key) if method == "unsubscribe" else "Unsupported event"
            if error:
                reply = {"method": method, "req_id": req_id, "success": False, "error": error}
                reply.update({"symbol": symbol} if symbol is not None else {})
            self._out.append(json.dumps(reply).encode())

    def _subscribed(self, key: Key, params: Dict[str, Any]) -> str:
        """Begin to read a subscription, and return an empty text, or why it is refused."""
        name = layout.text_of(key)
        offer = self._offer_of(name)
        if offer is None:
            if key.symbol is not None and not self._may_exist(key.symbol):
                return f"Currency pair not supported {key.symbol}"
            there = ", ".join(sorted(self._feed.offers)) or "nothing"
            return f"{name} is not published (there is: {there:.300})"
        for one in FIXED:
            if one in offer and params.get(one, offer[one]) != offer[one]:
                return f"{name} is published with {one}={offer[one]!r}, not {params[one]!r}"
        stateful = params.get("snapshot", key.channel != "trade") is True
        reading = Reading(key, f"{self._term}-0", stateful, offer)
        if not reading.waits():
            last = self._redis.xrevrange(self._names.stream(key), count=1)
            mark = layout.mark_of(last[0][0]) if last else None
            reading.begin(mark if mark is not None and mark.term >= self._term else Mark(self._term, 0))
        self._readings[self._names.stream(key).encode()] = reading
        return ""

    def _may_exist(self, symbol: str) -> bool:
        """Return whether a symbol is in the table of pairs, or there is no table."""
        table = self._redis.hget(self._names.state(Key("instrument")), "d")
        return not table or f'"symbol":"{symbol}"'.encode() in table

    def _unsubscribed(self, key: Key) -> str:
        self._readings.pop(self._names.stream(key).encode(), None)
        return ""

    def _look_for_states(self) -> None:
        """Begin the subscriptions that wait for a state, if there is one by now."""
        waiting = [reading for reading in self._readings.values() if reading.waits()]
        if not waiting:
            return
        if time.monotonic() > self._offers_at + layout.PULSE:
            self._read_offers()
        pipe = self._redis.pipeline(transaction=False)
        for reading in waiting:
            pipe.hgetall(self._names.state(reading.key))
        for reading, fields in zip(waiting, pipe.execute()):
            found = layout.state_of(fields)
            if found is not None and found[0].term == self._term:
                self._begin(reading, *found)
            elif layout.text_of(reading.key) not in self._feed.offers:
                self._end(reading)

    def _end(self, reading: Reading) -> None:
        """Pass on that there will be no more of a subscription."""
        self._unsubscribed(reading.key)
        self._out.append(ended(reading.key))

    def _begin(self, reading: Reading, mark: Mark, body: bytes) -> None:
        """Begin with a state and everything after it put together, since the state may be some seconds old.

        It goes on waiting if something is wrong: the publisher will write another state.
        """
        feed = PublishedFeed(reading.key, reading.params)
        if not feed.take_all(body.split(b"\n")):
            return
        stream, more = self._names.stream(reading.key), MOST
        while more == MOST:
            found = self._redis.xread({stream: str(mark)}, count=MOST) or [(stream, [])]
            entries = [layout.entry_of(*one) for one in found[0][1]]
            for entry in entries:
                follows = entry.mark.term == mark.term and entry.mark.number - entry.messages == mark.number
                if not follows or entry.kind != layout.FRAMES or not feed.take_all(entry.frames):
                    return
                mark = entry.mark
            more = len(entries)
        state = feed.state(0.0)
        if state is not None:
            reading.begin(mark)
            self._out.extend(state.split(b"\n"))

    def _read_offers(self) -> None:
        self._offers_at = time.monotonic()
        found = layout.offers_of(self._redis.hgetall(self._names.offers))
        # There are none after FLUSHALL, until the publisher has noticed; nothing is withdrawn by that.
        if found:
            self._feed.offers = found

    def _offer_of(self, name: str) -> Optional[Dict[str, Any]]:
        """Return what is published now of a subscription."""
        found = self._redis.hget(self._names.offers, name)
        if found is None:
            self._read_offers()
        elif name not in self._feed.offers or json.loads(found) != self._feed.offers[name]:
            self._feed.offers = {**self._feed.offers, name: json.loads(found)}
        return self._feed.offers.get(name)

    def _now(self) -> float:
        """Return the time of the Redis server."""
        seconds, micros = self._redis.time()
        return float(seconds) + float(micros) / 1e6

    # -- entries -----------------------------------------------------------------------------

    def _taken(self) -> List[bytes]:
        """Return the messages up to the next place where some are missing."""
        out, frames = self._out, []
        while out and isinstance(out[0], bytes):
            frames.append(out.popleft())
        if out and not frames:
            missing = out.popleft()
            self._missed((missing.key,), missing.reason)
        return frames

    def _read(self) -> None:
        pulse = self._names.pulse.encode()
        cursors = {pulse: self._pulse_cursor}
        for stream, reading in self._readings.items():
            if not reading.waits():
                cursors[stream] = reading.cursor
        begun = time.monotonic()
        block = EAGER if begun - self._asked_at < EAGER_FOR else BLOCK
        found = dict(self._redis.xread(cursors, count=MOST, block=block) or ())
        whole = all(len(entries) < MOST for entries in found.values())
        for stream, entries in found.items():
            if stream != pulse:
                for mark, fields in entries:
                    if stream in self._readings:  # an entry before may have ended it
                        self._take(self._readings[stream], layout.entry_of(mark, fields))
        now = time.monotonic()
        if found:
            self._heard_at = now
        beats = found.get(pulse, ())
        for mark, fields in beats:
            self._beat(layout.pulse_of(mark, fields), whole)
        if beats:
            self._pulse_cursor, self._pulse_at = beats[-1][0].decode(), now
        # By the time before the read: if this process stood still meanwhile, heartbeats are there to be read.
        elif begun - self._pulse_at > DEAD_AFTER:
            raise self._lost_because(f"the publisher has been silent for {now - self._pulse_at:.1f} s")

    def _lost_because(self, reason: str) -> ConnectionLost:
        return ConnectionLost(f"the connection to {self._feed} ended: {reason}", reason=reason)

    def _take(self, reading: Reading, entry: Entry) -> None:
        mark, before = entry.mark, reading.mark
        reading.cursor = str(mark)
        if reading.waits() or mark.term < self._term:
            return  # of a publisher that is no longer in office
        if mark.term > self._term:
            self._take_over(mark.term)
            if reading.waits():
                return
            before = reading.mark
        if before is not None and mark.number - entry.messages != before.number:
            missing = mark.number - entry.messages - before.number
            self._miss(reading, f"{missing} messages are no longer in Redis (read too late, or lost)")
            if reading.waits():
                return
        reading.mark = mark
        if entry.kind == layout.FRAMES:
            self._out.extend(entry.frames)
        elif entry.kind == layout.ENDED:
            self._end(reading)
        else:
            self._miss(reading, entry.body.decode("utf-8", "replace"))

    def _miss(self, reading: Reading, reason: str) -> None:
        # What has a state begins anew with it, also if the session does not ask for that.
        reading.begin_anew()
        self._out.append(Missing(reading.key, reason))

    def _take_over(self, term: int) -> None:
        """Another publisher is in office: everything begins anew."""
        self._term = term
        self._read_offers()
        for reading in self._readings.values():
            if self._feed.offers.get(layout.text_of(reading.key)) != reading.params:
                raise self._lost_because("another publisher has taken over, which publishes something else")
        for reading in list(self._readings.values()):
            self._miss(reading, "another publisher has taken over")
            reading.mark = Mark(term, 0)

    def _tell_status(self, item: bytes) -> None:
        """Pass on what the exchange says of itself, if that is new."""
        if item != self._status:
            self._status = item
            self._out.append(b'{"channel":"status","type":"update","data":[%s]}' % item)

    def _beat(self, pulse: layout.Pulse, whole: bool) -> None:
        if pulse.term < self._term:
            return
        if pulse.term > self._term:
            self._take_over(pulse.term)
        self._tell_status(pulse.status)
        self._out.append(HEARTBEAT)
        while whole and self._pings and self._pings[0][1] <= pulse.proven_at:
            req_id, _ = self._pings.popleft()
            self._out.append(b'{"method":"pong","req_id":%d}' % req_id)
