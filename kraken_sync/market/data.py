"""The part of a client that subscribes: channels, streams and books."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Type, Union

from ..core.session import book_views, feed_views
from ..core.session.entry import PendingAck
from ..core.wire.channels import ChannelParams, Key, channel_params
from ..core.wire.places import LEVEL3, PRIVATE, PUBLIC
from ..core.wire.symbols import spelled
from ..errors import BookNotLive, KrakenError, ReplyTimeout, SubscriptionRefused
from ..io.connection.connection import Connection
from ..io.connection.holders import BookHolder
from ..io.connection.subscriptions import BOOK, FRAMES
from ..io.locks import new_lock
from ..io.streams import DROP_OLDEST, RAISE
from ..io.waiting import deadline_of, time_left
from ..runtime import Runtime
from .backfill import BackfilledTrades
from .level3_book import Level3Book
from .live_book import LiveBook
from .order_book import OrderBook
from .subscription import ItemStream, Subscription
from .symbols import SymbolLookup

Symbols = Union[str, Sequence[str]]
KINDS: Mapping[str, Type[LiveBook[Any]]] = {"book": OrderBook, "level3": Level3Book}
"""The kind of book by channel."""
LATEST = ("ticker", "trade", "ohlc")
"""The channels whose last item is kept."""
Message = Dict[str, Any]


def _goes_on(item: Tuple[Any, LiveBook[Any]]) -> bool:
    return not item[1].over


class MarketData:
    """The subscriptions, streams and books of one client. Any thread.

    Deadlines are in monotonic seconds, timeouts in seconds; None waits for ever. What is raised is documented
    at the methods of :class:`SpotWSClient` with the same names.

    Args:
        runtime: the client's connections.
        symbols: finds the exchange's names of symbols.
    """

    def __init__(self, runtime: Runtime, symbols: SymbolLookup) -> None:
        self._runtime = runtime
        self._symbols = symbols
        self._books: Dict[Tuple[Key, int, Optional[float]], LiveBook[Any]] = {}
        self._lock = new_lock("books")

    # -- subscribing -------------------------------------------------------------------------

    def subscribe(
        self,
        wanted: ChannelParams,
        req_id: Optional[int],
        deadline: Optional[float],
        maxlen: int = 10_000,
        policy: Optional[str] = None,
        kind: Callable[..., Subscription] = Subscription,
        **extra: Any,
    ) -> Subscription:
        """Subscribe, and return a stream; see :meth:`SpotWSClient.subscribe`. Blocks up to ``deadline``."""
        connection = self.connection_of(wanted, deadline)
        wanted = self.spelled(wanted, deadline)
        # A lost private message may be a fill, so it must not be dropped silently; a lost price is out of
        # date anyway.
        policy = policy or (RAISE if wanted.channel.private else DROP_OLDEST)
        stream = kind(self._runtime, connection, wanted, self._runtime.decode, maxlen, policy, **extra)
        # A tap (a callback) gets every frame, so the subscription must go on when the stream is dropped.
        if self._runtime.has_taps:
            stream.holder = object()
        self._ask(connection, wanted, deadline, stream=stream, holder=stream.holder, req_id=req_id)
        return stream

    def items(
        self,
        wanted: ChannelParams,
        *,
        gaps: bool,
        timeout: Optional[float] = 10.0,
        maxlen: int = 10_000,
        policy: Optional[str] = None,
        backfill: bool = False,
    ) -> ItemStream[Any]:
        """Return a stream of single items; see :meth:`SpotWSClient.ticker`. Blocks up to ``timeout``."""
        deadline = deadline_of(timeout)
        if not isinstance(backfill, bool):
            raise TypeError(f"backfill must be True or False, not {backfill!r:.80}")
        if backfill:
            if wanted.channel.name != "trade":
                raise ValueError(f"{wanted.channel.name} has no backfill; client.trades() has")
            self._runtime.rest.check("/0/public/Trades")
            extra = {"gaps": gaps, "rest": self._runtime.rest}
            stream = self.subscribe(wanted, None, deadline, maxlen, policy, BackfilledTrades, **extra)
        else:
            stream = self.subscribe(wanted, None, deadline, maxlen, policy, ItemStream, gaps=gaps)
        assert isinstance(stream, ItemStream)
        return stream

    def subscribe_frames(
        self, wanted: ChannelParams, req_id: Optional[int], deadline: Optional[float]
    ) -> List[bytes]:
        """Subscribe without a stream, until it is unsubscribed, and return the exchange's replies."""
        connection = self.connection_of(wanted, deadline)
        wanted = self.spelled(wanted, deadline)
        return self._ask(connection, wanted, deadline, holder=object(), req_id=req_id).replies

    def unsubscribe(
        self, wanted: ChannelParams, req_id: Optional[int], deadline: Optional[float]
    ) -> List[bytes]:
        """Unsubscribe for all holders, and return the replies; see :meth:`SpotWSClient.unsubscribe`."""
        connection = self.connection_of(wanted, deadline)
        wanted = self.spelled(wanted, deadline)
        return connection.subscriptions.unsubscribe(wanted, deadline, req_id).replies

    def active(self, kind: str) -> List[Message]:
        """Return the confirmed subscriptions of one kind of connection, one dict of parameters per symbol.

        Raises:
            ConnectionError: this client has no such connection.
        """
        connection = self._runtime.connection(kind)
        if connection is not None:
            return connection.read(book_views.active_subscriptions)
        keyless = kind == PRIVATE and self._runtime.rest.credentials is None
        if kind not in self._runtime.endpoints or keyless:
            raise ConnectionError(f"{kind.capitalize()} connection does not exist!")
        return []

    def active_private(self) -> List[Message]:
        """Return the confirmed subscriptions of the private connection, and of level3 if there is one."""
        level3 = self._runtime.connection(LEVEL3) is not None
        return self.active(PRIVATE) + (self.active(LEVEL3) if level3 else [])

    # -- books -------------------------------------------------------------------------------

    def book(
        self, channel: str, pair: str, depth: int, max_age: Optional[float], timeout: Optional[float]
    ) -> Any:
        """Return a live book of the ``book`` or ``level3`` channel.

        See :meth:`SpotWSClient.book` and :meth:`SpotWSClient.level3_book`. Blocks up to ``timeout``.
        """
        if not isinstance(pair, str):
            raise TypeError(f"pair must be a string such as 'BTC/USD', not {pair!r:.80}")
        if max_age is not None and not (isinstance(max_age, (int, float)) and max_age > 0):
            raise ValueError(f"max_age must be a positive number of seconds or None, not {max_age!r:.80}")
        deadline, started = deadline_of(timeout), time.monotonic()
        wanted = channel_params({"channel": channel, "symbol": pair, "depth": depth})
        connection = self.connection_of(wanted, deadline)
        wanted = self.offered(self.spelled(wanted, deadline))
        key, holder = wanted.keys()[0], BookHolder(max_age)
        try:
            self._ask(connection, wanted, deadline, holder=holder, kind=BOOK)
        except ReplyTimeout as error:
            reason = connection.read(lambda session: book_views.resyncing(session, key))
            if reason is None:
                raise
            # Somebody else has the book, and its next resync comes too late: that says more than a timeout.
            raise BookNotLive(
                key.symbol or "", "RESYNCING", f"{reason}; waiting for the next resync"
            ) from error
        try:
            return self._first_state(connection, key, depth, holder, started, deadline)
        except BaseException:
            connection.subscriptions.release([key], None, holder)
            raise

    def _first_state(
        self,
        connection: Connection,
        key: Key,
        depth: int,
        holder: BookHolder,
        started: float,
        deadline: Optional[float],
    ) -> LiveBook[Any]:
        """Wait for the first verified snapshot, and return the book that all callers share."""
        subscribed, symbol = time.monotonic(), key.symbol or ""
        sync = connection.read(lambda session: book_views.book_of(session, key))
        if sync is None:
            raise BookNotLive(symbol, "CLOSED", "unsubscribed meanwhile")
        connection.wait(lambda session: book_views.decided(session, sync, depth), deadline)
        now = time.monotonic()
        found = connection.read(lambda session: book_views.first_snapshot(session, sync, depth, now))
        if not found.ready:
            raise BookNotLive(
                symbol,
                str(found.state),
                found.reason,
                text=f"no verified snapshot of {symbol} within {now - started:.1f} s ({found.reason}; "
                f"subscribed {now - subscribed:.1f} s ago, last message {found.silence:.1f} s ago). The "
                "symbol may be halted; the instrument channel tells its status.",
            )
        # Two threads may come here at once: the second one gives its holder back and shares the first one's.
        with self._lock:
            self._books = dict(filter(_goes_on, self._books.items()))
            book = self._books.get((key, depth, holder.max_age))
            if book is None or not book.shows(sync):
                kind = KINDS[key.channel]
                book = self._books[key, depth, holder.max_age] = kind(
                    self._runtime, connection, sync, key, depth, holder
                )
                return book
        connection.subscriptions.release([key], None, holder)
        return book

    # -- inside ------------------------------------------------------------------------------

    def connection_of(self, wanted: ChannelParams, deadline: Optional[float]) -> Connection:
        """Return the connection that a subscription belongs to; blocks until it is up."""
        name = wanted.channel.name
        if not wanted.channel.private:
            return self._runtime.public(time_left(deadline))
        return self._runtime.private(name, time_left(deadline), LEVEL3 if name == "level3" else PRIVATE)

    def spelled(self, wanted: ChannelParams, deadline: Optional[float]) -> ChannelParams:
        """Return ``wanted`` with the exchange's own names of its symbols."""
        if wanted.symbols is None or not wanted.channel.checked:
            return wanted
        if wanted.channel.private and PUBLIC not in self._runtime.endpoints:
            return wanted  # the table of symbols comes from the public connection
        connection = self._runtime.public(time_left(deadline))
        return wanted._replace(symbols=self._symbols.spell(connection, wanted.symbols, deadline))

    def offered(self, wanted: ChannelParams) -> ChannelParams:
        """Return the parameters to subscribe with for a book; a feed that is shared has fixed ones."""
        return wanted

    def _ask(
        self, connection: Connection, wanted: ChannelParams, deadline: Optional[float], **how: Any
    ) -> PendingAck:
        """Subscribe; the error for a refused symbol gets the names that may have been meant."""
        try:
            return connection.subscriptions.subscribe(wanted, deadline, **{"kind": FRAMES, **how})
        except SubscriptionRefused as error:
            public = self._runtime.connection(PUBLIC)  # spelled() has opened it, if there are symbols
            if wanted.symbols is None or public is None:
                raise
            raise self._symbols.explained(public, error, deadline) from error

    def latest(
        self, channel: str, symbol: Optional[str], interval: int, stale: bool
    ) -> Optional[Dict[str, Any]]:
        """Return the last item of a subscription; see :meth:`SpotWSClient.latest`. Does not block."""
        if not isinstance(channel, str) or channel not in LATEST:
            instead = {"book": "client.book()", "executions": "client.orders", "balances": "client.balance"}
            hint = f"; use {instead[channel]}" if isinstance(channel, str) and channel in instead else ""
            raise ValueError(f"latest() is for {', '.join(LATEST)}, not {channel!r:.40}{hint}")
        if not isinstance(symbol, str):
            raise TypeError(f"symbol must be a string such as 'BTC/USD', not {symbol!r:.80}")
        name = self._symbols.known(symbol) or spelled(symbol) or symbol
        key = Key(channel, name, interval if channel == "ohlc" else None)
        connection = self._runtime.connection(PUBLIC)
        found = connection.read(lambda session: feed_views.latest(session, key)) if connection else None
        if found is None:
            raise ValueError(
                f"{channel} of {name} is not subscribed; client.subscribe() or its shorthands do it"
            )
        if found.frame is None or not (found.current or stale):
            return None
        items = [one for one in self._runtime.decode(found.frame)["data"] if one.get("symbol") == name]
        last: Optional[Dict[str, Any]] = items[-1] if items else None
        return last

    def known(self, text: str) -> Optional[str]:
        """Return the exchange's name for ``text`` if the table that is already there has it. Does
        not block.
        """
        return self._symbols.known(text)

    def search(self, text: str, timeout: Optional[float]) -> List[str]:
        """Return the exchange's symbols that contain ``text``; see :meth:`SpotWSClient.symbols`."""
        deadline = deadline_of(timeout)
        if not isinstance(text, str):
            raise TypeError(f"search must be a string such as 'BTC', not {text!r:.80}")
        table = self._symbols.table(self._runtime.public(timeout), deadline)
        if table is None:
            raise KrakenError("the exchange did not send its list of symbols")
        return table.search(text)
