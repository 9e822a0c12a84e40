"""Publishes what a client receives, for any number of readers in other processes and on other machines."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Type, Union

from ..client import SpotWSClient
from ..core.session import book_views, feed_views
from ..core.wire.channels import Key, channel_params
from ..core.wire.messages import FAULTS
from ..core.wire.places import PUBLIC
from ..errors import KrakenError
from ..io.logs import log
from ..io.streams import DROP_OLDEST
from ..io.threads import GuardedThread
from ..io.waiting import Event, deadline_of, time_left
from ..market.order_book import OrderBook
from ..recording.routing import Part, parts_of
from . import layout
from .endpoint import RedisEndpoint
from .feed import STATE_EVERY, PublishedFeed
from .layout import LEASE, PULSE, Names
from .outlet import Outlet
from .server import connected, faults, redis_module

CHANNELS = ("book", "trade", "ticker", "ohlc")
"""The channels that can be published; ``instrument`` always is."""
WAITING = 200_000
"""The number of messages that wait to be written before some are dropped, which readers are told."""
KEPT = 20_000
"""The number of entries that a stream keeps: about the time that a reader may be late."""
OWN = 1e9
"""A ``max_age`` that nobody else gives, so that the publisher's books are not those of another caller."""
STANDING_BY = "another publisher is in office"
"""The ``trouble`` of a publisher that is ready to take over."""
CONTEST = 0.5
"""Seconds between two attempts to come into office, or to reach Redis."""


class Publisher:
    """Writes what a client receives into Redis Streams, where any number of :class:`SharedClient` read it.

    ::

        with SpotWSClient() as client, Publisher(client, "redis://localhost", ["BTC/USD"], depth=100):
            ...

    Only verified messages are published. Of several publishers of one name one is in office, and another
    takes over within five seconds of its death. The client's own thread never waits for Redis: what cannot be
    written in time is dropped, and readers are told. May be used from any thread.

    Args:
        client: the client; it is started if needed, and is not closed with the publisher.
        url: the URL of Redis; see :class:`SharedClient`.
        symbols: the symbols, in any common spelling.
        channels: some of ``book``, ``trade``, ``ticker`` and ``ohlc``.
        depth: the depth of books; readers may show less.
        interval: the interval of candles, in minutes.
        name: tells feeds of one Redis apart.
        keep: the number of entries that Redis keeps of each stream; a reader further behind has a gap.

    Raises:
        ImportError: redis-py is not installed.
        ValueError, TypeError: an argument is not valid.
    """

    def __init__(
        self,
        client: SpotWSClient,
        url: str,
        symbols: Union[str, Sequence[str]],
        *,
        channels: Sequence[str] = ("book", "trade", "ticker"),
        depth: int = 10,
        interval: int = 1,
        name: str = "kraken",
        keep: int = KEPT,
    ) -> None:
        redis_module()
        unknown = [one for one in channels if one not in CHANNELS]
        if unknown or isinstance(channels, str):
            raise ValueError(f"channels must be some of {', '.join(CHANNELS)}, not {channels!r:.80}")
        if type(keep) is not int or keep < 1:
            raise ValueError(f"keep must be a number of entries, 1 or more, not {keep!r:.80}")
        self._client = client
        self._endpoint = RedisEndpoint(url, name)
        self._names = Names(name)
        self._keep = keep
        extra: Dict[str, Dict[str, Any]] = {
            "book": {"depth": depth},
            "ohlc": {"interval": interval},
            "ticker": {"event_trigger": "trades"},
        }
        self._wanted = [
            channel_params(
                {"channel": channel, "symbol": symbols, "snapshot": True, **extra.get(channel, {})}
            )
            for channel in channels
        ]
        self._wanted.append(channel_params({"channel": "instrument", "snapshot": True}))
        self._feeds: Dict[Key, PublishedFeed] = {}
        self._books: Dict[Key, OrderBook] = {}
        self._outlet: Optional[Outlet] = None
        self._redis: Any = None
        self._lock: Any = None
        self._term: Optional[int] = None
        self._renewed_at = self._pulse_at = self._contest_at = self._looked_at = 0.0
        self._stop = Event()
        self._thread: Optional[GuardedThread] = None
        self.trouble = ""
        """Why nothing is published at the moment; empty while this publisher is in office."""
        self.published = 0
        """The number of messages written so far."""

    # -- any thread --------------------------------------------------------------------------

    def start(self, timeout: Optional[float] = 10.0) -> Publisher:
        """Subscribe, and begin to publish. Blocks up to ``timeout`` seconds, until every book is verified.

        That Redis cannot be reached is no error: it is in :attr:`trouble` and in the log, and tried again.

        Raises:
            The errors of :meth:`SpotWSClient.book` and :meth:`SpotWSClient.subscribe`.
        """
        if self._thread is not None:
            return self
        try:
            self._start(deadline_of(timeout))
        except BaseException:
            self.close()  # what was subscribed so far
            raise
        return self

    def _start(self, deadline: Optional[float]) -> None:
        market = self._client._ks_market
        connection = self._client._ks_runtime.public(time_left(deadline))
        spelled = [market.spelled(wanted, deadline) for wanted in self._wanted]
        for wanted in spelled:
            keys = wanted.keys()
            for key in keys:
                self._feeds[key] = PublishedFeed(
                    key, wanted.params, max(1, min(STATE_EVERY, self._keep // 2))
                )
                if key.channel == "book":
                    depth = wanted.params["depth"]
                    self._books[key] = self._client.book(
                        key.symbol or "", depth, max_age=OWN, timeout=time_left(deadline)
                    )
        outlet = self._outlet = Outlet("the publisher", bytes, WAITING, DROP_OLDEST, list(self._feeds))
        for wanted in spelled:
            connection.subscriptions.subscribe(wanted, deadline, stream=outlet)
        self._stop.clear()
        self._thread = GuardedThread("publisher", self._run, self._died)
        self._thread.begin()

    def close(self, timeout: float = 2.0) -> None:
        """Stop publishing, and give the office free. Blocks up to ``timeout`` seconds."""
        self._stop.set()
        thread, self._thread = self._thread, None
        outlet = self._outlet
        if outlet is not None:
            outlet.end()
        if thread is not None:
            thread.finish(timeout)
        if outlet is not None and not self._client._ks_runtime.closed:
            connection = self._client._ks_runtime.connection(PUBLIC)
            if connection is not None:
                connection.subscriptions.release(list(self._feeds), outlet, None)
        for book in self._books.values():
            book.unsubscribe()

    @property
    def in_office(self) -> bool:
        """Whether it is this publisher whose messages readers get. Does not block."""
        return self._term is not None

    @property
    def ended(self) -> bool:
        """Whether it has ended by itself, because of its ``trouble``. Does not block."""
        return self._thread is not None and self._thread.dead

    def __enter__(self) -> Publisher:
        return self.start()

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        doing = "in office" if self.in_office else self.trouble or "not started"
        return f"<Publisher {self._endpoint.name!r} to {self._endpoint}, {doing}>"

    # -- its thread --------------------------------------------------------------------------

    def _run(self) -> None:
        outlet = self._outlet
        assert outlet is not None
        broken = faults()
        try:
            while not self._stop.is_set():
                now = time.monotonic()
                due = self._pulse_at + PULSE if self._term is not None else self._contest_at
                for entry in outlet.take_all(max(now, due)):
                    self._take(entry)
                self._look_at_books()
                self._look_at_subscriptions(outlet, time.monotonic())
                try:
                    self._go_on(time.monotonic())
                except broken as error:
                    self._leave(f"Redis: {error or type(error).__name__}")
        except KrakenError as error:  # the client was closed or given up, or this publisher was closed
            self.trouble = "the client was closed" if self._client._ks_runtime.closed else str(error)
        finally:
            self._retire(broken)

    def _take(self, entry: Any) -> None:
        lost: List[Key] = []
        if isinstance(entry, bytes):
            for part in parts_of(entry):
                feed = self._feeds.get(part.key)
                if feed is not None and not self._fits(feed, part):
                    lost.append(part.key)
        else:
            self._looked_at = 0.0
            for item in entry["data"]:
                for key, feed in self._feeds.items():
                    if entry["channel"] in (key.channel, "messages") and item["symbol"] in (key.symbol, None):
                        # Dropped here: the client has missed nothing, so it fetches no snapshot by itself.
                        dropped = bool(item["dropped"])
                        feed.interrupt(item["reason"], anew=not dropped)
                        lost += [key] if dropped else []
        self._resync(
            [key for key in lost if key.channel == "book"], "the publisher has lost track of the book"
        )

    def _fits(self, feed: PublishedFeed, part: Part) -> bool:
        """Have a feed take a message, and return whether it could; one that cannot be read is a gap of it."""
        try:
            return feed.take(part.frame, part.snapshot)
        except FAULTS as error:
            log.warning("%s: %s: a frame cannot be read, and is a gap: %s", self._endpoint, part.key, error)
            feed.interrupt(f"the publisher cannot read a message: {error}", anew=False)
            return False

    def _resync(self, keys: Sequence[Key], reason: str) -> None:
        """Have books begin anew."""
        symbols, now = [key.symbol or "" for key in keys], time.monotonic()
        connection = self._client._ks_runtime.connection(PUBLIC)
        if symbols and connection is not None:
            connection.change(lambda session: book_views.resync(session, symbols, reason, now))

    def _look_at_books(self) -> None:
        """Tell readers of books that are not verified any more; their streams tell it when it is over."""
        for key, book in self._books.items():
            feed = self._feeds[key]
            sync = book._view.sync
            if feed.live and not sync.live:
                feed.interrupt(f"the publisher's book is {sync.state}: {sync.reason}")

    def _look_at_subscriptions(self, outlet: Outlet, now: float) -> None:
        """Once a second: tell readers of books in doubt, and of subscriptions that have ended."""
        if now < self._looked_at + PULSE:
            return
        self._looked_at = now
        for key, book in self._books.items():
            doubt = book._view.sync.doubt
            if doubt and self._feeds[key].live:
                self._feeds[key].interrupt(f"the publisher's book is in doubt: {doubt}")
                self._resync([key], doubt)  # or it would not be told when the doubt is over
        for key in outlet.cut_off():
            if not self._feeds[key].ended:
                log.warning(
                    "%s: %s is not published any more: its subscription has ended", self._endpoint, key
                )
                self._feeds[key].end("the publisher's subscription has ended")

    def _go_on(self, now: float) -> None:
        if self._term is not None and now - self._renewed_at > LEASE:
            self._leave("this process stood still")
        if self._term is None:
            for feed in self._feeds.values():
                feed.discard()  # what comes before a term of office is not told
            if now < self._contest_at:
                return
            self._contest_at = now + CONTEST
            self._take_office()
        if self._term is not None:
            self._write(now)

    def _take_office(self) -> None:
        if self._redis is None:
            self._redis = connected(self._endpoint.url)
            self._lock = self._redis.lock(self._names.lease, timeout=LEASE, thread_local=False)
        # What Redis has lost track of for a moment may still be ours.
        if not (self._lock.owned() and self._lock.reacquire()) and not self._lock.acquire(blocking=False):
            if not self.trouble:
                log.info("%s: another publisher of %r is in office", self._endpoint, self._endpoint.name)
            self.trouble = STANDING_BY
            return
        self._renewed_at = time.monotonic()
        self._term, self._pulse_at, self.trouble = self._new_term(), 0.0, ""
        for feed in self._feeds.values():
            feed.begin()
        offers = {
            layout.text_of(key): layout.offer(feed.params)
            for key, feed in self._feeds.items()
            if not feed.ended
        }
        pipe = self._redis.pipeline(transaction=True)
        pipe.delete(self._names.offers)
        pipe.hset(self._names.offers, mapping=offers)
        pipe.execute()
        log.info("%s: publishing %d subscriptions as %r", self._endpoint, len(offers), self._endpoint.name)

    def _new_term(self) -> int:
        """Return the time of Redis, or what follows the last term if the clock was put back behind it."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.xrevrange(self._names.pulse, count=1)
        for key in self._feeds:
            pipe.xrevrange(self._names.stream(key), count=1)
        (seconds, micros), pulses, *streams = pipe.execute()
        terms = [layout.pulse_of(*last).term for last in pulses]
        terms += [layout.mark_of(last[0][0]).term for last in streams if last]
        return max([int(seconds) * 10**6 + int(micros), *(term + 1 for term in terms)])

    def _write(self, now: float) -> None:
        term, count = self._term, 0
        assert term is not None
        pipe = self._redis.pipeline(transaction=True)
        for key, feed in self._feeds.items():
            number = feed.number
            for kind, body, messages in feed.writes():
                number += messages
                count += messages
                fields = layout.entry(kind, body, messages)
                stream = self._names.stream(key)
                pipe.xadd(stream, fields, id=f"{term}-{number}", maxlen=self._keep, approximate=True)
                if kind != layout.FRAMES:  # a state from before it would lead readers to it once more
                    pipe.delete(self._names.state(key))
                if kind == layout.ENDED:
                    pipe.hdel(self._names.offers, layout.text_of(key))
            state = feed.state(now)
            if state is not None:
                pipe.hset(self._names.state(key), mapping=layout.state(feed.mark(term), state))
        beats = now >= self._pulse_at + PULSE
        if beats:
            pulse = layout.pulse(term, self._age(now), self._status())
            pipe.xadd(self._names.pulse, pulse, maxlen=1000, approximate=True)
        if len(pipe):
            pipe.execute()
        self.published += count
        if beats:
            self._pulse_at = now
            self._lock.reacquire()
            self._renewed_at = now

    def _age(self, now: float) -> float:
        """Return the seconds since the exchange's last proof."""
        connection = self._client._ks_runtime.connection(PUBLIC)
        return (
            connection.read(lambda session: feed_views.age(session, now)) if connection is not None else 1e9
        )

    def _status(self) -> Mapping[str, Any]:
        """Return what the exchange says of itself."""
        connection = self._client._ks_runtime.connection(PUBLIC)
        return connection.read(feed_views.exchange_said) if connection is not None else {}

    def _leave(self, why: str) -> None:
        """Be out of office, and try again soon."""
        if self._term is not None or self.trouble != why:
            log.warning("%s: not publishing: %s", self._endpoint, why)
        self._term, self.trouble, self._contest_at = None, why, time.monotonic() + CONTEST / 2
        if self._redis is not None:
            self._redis.connection_pool.disconnect()

    def _retire(self, broken: Tuple[Type[Exception], ...]) -> None:
        lock, self._term = self._lock, None
        try:
            if lock is not None and lock.owned():
                lock.release()
        except broken:
            pass  # it ends by itself
        if self._redis is not None:
            self._redis.connection_pool.disconnect()

    def _died(self, error: BaseException) -> None:
        self._term, self.trouble = None, f"internal error: {error!r}"
        log.error("the publisher has died of %r", error, error=error)
