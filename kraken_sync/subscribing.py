"""Channels, streams and books: the part of the client that subscribes."""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from .arguments import check_params
from .core.freshness import BookState
from .core.orders.params import PRIVATE_METHODS
from .core.wire import channels
from .core.wire.channels import Ask
from .core.wire.symbols import SymbolTable
from .errors import BookNotLive, KrakenError, ReplyTimeout, SubscriptionRefused
from .io.connection.connection import BOOK, FRAMES, Connection
from .io.deadline import deadline_of, time_left
from .io.engine import LEVEL3, PRIVATE, PUBLIC
from .io.holders import BookHolder
from .io.streams import DROP_OLDEST, RAISE
from .market.order_book import OrderBook, book_key
from .market.subscription import ItemStream, Subscription
from .market.symbols import SymbolLookup
from .private_side import PrivateSide

Symbols = Union[str, Sequence[str]]
Message = Dict[str, Any]


class Subscribing(PrivateSide):
    """Names of channels, subscriptions, streams and books."""

    def __init__(self, *base: Any) -> None:
        super().__init__(*base)
        self._books: Dict[Tuple[str, int], OrderBook] = {}
        self._lookup = SymbolLookup()

    # -- names -------------------------------------------------------------------------------

    @property
    def public_channel_names(self) -> List[str]:
        """The channels accepted as public. Override this to add some."""
        return list(channels.PUBLIC)

    @property
    def private_channel_names(self) -> List[str]:
        """The channels accepted as private. Override this to add some."""
        return list(channels.PRIVATE)

    @property
    def private_methods(self) -> List[str]:
        """The trading methods, which need the private connection."""
        return list(PRIVATE_METHODS)

    @property
    def active_public_subscriptions(self) -> List[Message]:
        """The confirmed subscriptions, one dict of parameters per symbol.

        Raises:
            ConnectionError: this client has no public connection (``no_public``).
        """
        return self._active(PUBLIC)

    @property
    def active_private_subscriptions(self) -> List[Message]:
        """The confirmed private subscriptions, one dict of parameters each (per symbol for ``level3``).

        Raises:
            ConnectionError: there is no API key.
        """
        level3 = self._line(LEVEL3) is not None
        return self._active(PRIVATE) + (self._active(LEVEL3) if level3 else [])

    def _active(self, kind: str) -> List[Message]:
        line = self._line(kind)
        if line is None:
            if kind not in self._targets or (kind == PRIVATE and self._rest.credentials is None):
                raise ConnectionError(f"{kind.capitalize()} connection does not exist!")
            return []
        with line.changed:
            return [
                {
                    "channel": key.channel,
                    **wish.params,
                    **({"symbol": [key.symbol]} if key.symbol is not None else {}),
                }
                for key, wish in line.session.registry.wishes.items()
                if wish.acked_at is not None and wish.was_live and not (wish.internal and wish.sync is None)
            ]

    # -- subscribing -------------------------------------------------------------------------

    def subscribe(
        self,
        params: Mapping[str, Any],
        req_id: Optional[int] = None,
        *,
        timeout: Optional[float] = 10.0,
        maxlen: int = 10_000,
        policy: Optional[str] = None,
    ) -> Subscription:
        """Subscribe to a channel and block until the exchange has answered for every symbol.

        All or nothing: if any symbol is refused, nothing is changed. Asking for what is live already
        gives a further stream. After a reconnect everything is subscribed again by itself.

        Args:
            params: ``channel``, ``symbol`` (a list; any common spelling) and the channel's parameters.
            req_id: shared by all answers of this request; made up if not given.
            timeout: seconds, None for ever.
            maxlen: how many frames are kept for a slow reader.
            policy: ``drop_oldest``, ``conflate`` (latest per symbol) or ``raise`` when that is full; if not
                given, ``raise`` for private channels and ``drop_oldest`` for the others.

        Returns:
            A stream of the channel's frames (dicts).

        Raises:
            UnknownChannel, UnknownSymbol, ValueError, TypeError: before anything is sent.
            SubscriptionRefused: naming each refused symbol with the exchange's words.
            CredentialsMissing, CredentialsInvalid, PermissionRefused: a private channel, and the key is not
                up to it.
            ReplyTimeout: no answer in time.
            ConnectFailed: the client was not started and could not connect.
        """
        ask = self._check(check_params(params))
        stream = self._subscribe(Subscription, ask, req_id, deadline_of(timeout), maxlen, policy)
        assert isinstance(stream, Subscription)
        return stream

    def unsubscribe(
        self,
        params: Mapping[str, Any],
        req_id: Optional[int] = None,
        *,
        timeout: Optional[float] = 10.0,
    ) -> None:
        """Unsubscribe for everybody, and block until the exchange has confirmed every symbol.

        While the line is down there is nothing to confirm: it is just not restored.

        Streams of it end, books of it are CLOSED. Parameters other than ``channel``, ``symbol`` and
        ``interval`` need not be repeated.

        Raises:
            SubscriptionRefused: something named is not subscribed; nothing was changed.
            ReplyTimeout: no confirmation in time; it is not restored after a reconnect all the same.
        """
        ask = self._check(check_params(params))
        self._unsubscribe(ask, req_id, deadline_of(timeout))

    def ticker(
        self,
        symbol: Symbols,
        *,
        event_trigger: str = "trades",
        snapshot: bool = True,
        gaps: bool = False,
        **options: Any,
    ) -> ItemStream:
        """Tickers, one dict each: on every trade, or with ``"bbo"`` on every best bid or offer.

        ``options`` are ``timeout``, ``maxlen`` and ``policy`` of :meth:`subscribe`. ``gaps=True`` puts
        gap frames into the loop.
        """
        params = {"event_trigger": event_trigger, "snapshot": snapshot}
        return self._items("ticker", symbol, params, gaps, options)

    def trades(
        self, symbol: Symbols, *, snapshot: bool = False, gaps: bool = False, **options: Any
    ) -> ItemStream:
        """Trades, one dict each. ``snapshot=True`` begins with the last 50.

        A further stream of the same symbol begins with what the first one has had of them.
        """
        return self._items("trade", symbol, {"snapshot": snapshot}, gaps, options)

    def ohlc(
        self,
        symbol: Symbols,
        interval: int = 1,
        *,
        snapshot: bool = True,
        gaps: bool = False,
        **options: Any,
    ) -> ItemStream:
        """Candles of ``interval`` minutes, one dict each.

        The current candle is sent with every trade, and nothing at an interval's border: a candle is
        final when one with a later ``interval_begin`` comes.
        """
        params = {"interval": interval, "snapshot": snapshot}
        return self._items("ohlc", symbol, params, gaps, options)

    def instruments(self, *, gaps: bool = False, snapshot: bool = True, **options: Any) -> ItemStream:
        """Pairs, one dict each: all of them at first, then those whose reference data change.

        The assets come with ``subscribe({"channel": "instrument"})``.
        """
        return self._items("instrument", None, {"snapshot": snapshot}, gaps, options)

    def executions(self, *, gaps: bool = False, **options: Any) -> ItemStream:
        """Reports of your orders and fills, one dict each. ``client.orders`` is the table they add up to.

        ``options`` are the channel's parameters (``snap_orders``, ``snap_trades``, ``order_status``, ...) and
        ``timeout``, ``maxlen``, ``policy`` of :meth:`subscribe`. Nothing is dropped silently: a reader that
        is too slow gets :class:`StreamOverflow`.
        """
        return self._items("executions", None, {}, gaps, options)

    def balances(self, *, gaps: bool = False, snapshot: bool = True, **options: Any) -> ItemStream:
        """Balances and their changes, one dict each. ``client.balance`` is the table they add up to.

        ``options`` as in :meth:`executions`.
        """
        return self._items("balances", None, {"snapshot": snapshot}, gaps, options)

    def level3(
        self, symbol: Symbols, depth: int = 10, *, gaps: bool = False, snapshot: bool = True, **options: Any
    ) -> ItemStream:
        """Single orders in the best ``depth`` levels (10, 100, 1000): one dict of ``bids`` and ``asks`` each.

        On a connection of its own, with an API key. ``options`` as in :meth:`ticker`. A further stream of
        the same symbol has no snapshot: unsubscribe the first one to get a fresh one.
        """
        return self._items("level3", symbol, {"depth": depth, "snapshot": snapshot}, gaps, options)

    def symbols(self, search: str = "", *, timeout: Optional[float] = 10.0) -> List[str]:
        """The exchange's symbols that have ``search`` in their name, in any case."""
        deadline = deadline_of(timeout)
        if not isinstance(search, str):
            raise TypeError(f"search must be a string such as 'BTC', not {search!r:.80}")
        table = self._table(self._public(timeout), deadline)
        return table.search(search)

    # -- books -------------------------------------------------------------------------------

    def book(self, pair: str, depth: int = 10, *, timeout: Optional[float] = 10.0) -> OrderBook:
        """A live order book; blocks until its first snapshot is verified.

        Args:
            pair: the symbol, in any common spelling.
            depth: 10, 25, 100, 500 or 1000 levels a side. Several depths of one symbol are views of
                one subscription at the largest of them; asking for a larger one than is live makes
                the book sync again.
            timeout: seconds, None for ever.

        Raises:
            UnknownSymbol, ValueError: before anything is sent.
            SubscriptionRefused: the exchange refused, or frames of another depth are subscribed.
            BookNotLive: no verified snapshot in time.
            ReplyTimeout: no answer in time.
        """
        if not isinstance(pair, str):
            raise TypeError(f"pair must be a string such as 'BTC/USD', not {pair!r:.80}")
        deadline, started = deadline_of(timeout), time.monotonic()
        ask = self._check({"channel": "book", "symbol": pair, "depth": depth})
        connection = self._public(timeout)
        ask = self._spelled(connection, ask, deadline)
        assert ask.symbols is not None
        symbol = ask.symbols[0]
        holder, key = BookHolder(), book_key(symbol)
        try:
            self._explained(connection, ask, deadline, holder=holder, kind=BOOK)
        except ReplyTimeout as error:
            raise self._in_backoff(connection, symbol) or error from error
        subscribed = time.monotonic()
        try:
            with connection.changed:
                sync = connection.session.book(symbol)
                if sync is not None:
                    connection.wait(
                        lambda: (sync.live and sync.book.depth >= depth) or sync.state is BookState.CLOSED,
                        deadline,
                    )
                live = sync is not None and sync.live and sync.book.depth >= depth
                state = sync.state if sync is not None else BookState.CLOSED
                reason = sync.reason if sync is not None else "unsubscribed meanwhile"
                age = connection.session.age(time.monotonic())
            if not live or sync is None:
                now = time.monotonic()
                raise BookNotLive(
                    symbol,
                    str(state),
                    reason,
                    text=f"no verified snapshot of {symbol} within {now - started:.1f} s ({reason}; "
                    f"subscribed {now - subscribed:.1f} s ago, last message {age:.1f} s ago). The symbol "
                    "may be halted; the instrument channel tells its status.",
                )
        except BaseException:
            connection.release([key], None, holder)
            raise
        with self._life:
            book = self._books.get((symbol, depth))
            if book is None or book._sync is not sync or book._ended:
                book = self._books[symbol, depth] = OrderBook(self, connection, sync, symbol, depth, holder)
                return book
        connection.release([key], None, holder)
        return book

    def _in_backoff(self, connection: Connection, symbol: str) -> Optional[BookNotLive]:
        """The better error for a book that others have, and that waits for its next resync."""
        with connection.changed:
            sync = connection.session.book(symbol)
            if sync is None or sync.state is not BookState.RESYNCING:
                return None
            return BookNotLive(symbol, str(sync.state), f"{sync.reason}; waiting for the next resync")

    # -- inside ------------------------------------------------------------------------------

    def _check(self, params: Mapping[str, Any]) -> Ask:
        return channels.check(params, self.public_channel_names, self.private_channel_names)

    def _line_of(self, ask: Ask, timeout: Optional[float]) -> Connection:
        """The connection that a subscription belongs to."""
        if not ask.channel.private:
            return self._public(timeout)
        name = ask.channel.name
        return self._private(name, timeout, LEVEL3 if name == "level3" else PRIVATE)

    def _items(
        self,
        channel: str,
        symbol: Optional[Symbols],
        params: Mapping[str, Any],
        gaps: bool,
        options: Dict[str, Any],
    ) -> ItemStream:
        timeout = options.pop("timeout", 10.0)
        maxlen, policy = options.pop("maxlen", 10_000), options.pop("policy", None)
        named = {} if symbol is None else {"symbol": symbol}
        ask = self._check({**options, **named, **params, "channel": channel})
        stream = self._subscribe(ItemStream, ask, None, deadline_of(timeout), maxlen, policy, gaps=gaps)
        assert isinstance(stream, ItemStream)
        return stream

    def _subscribe(
        self,
        kind: Callable[..., Subscription],
        ask: Ask,
        req_id: Optional[int],
        deadline: Optional[float],
        maxlen: int,
        policy: Optional[str],
        **extra: Any,
    ) -> Subscription:
        connection = self._line_of(ask, time_left(deadline))
        ask = self._spelled(connection, ask, deadline)
        policy = policy or (RAISE if ask.channel.private else DROP_OLDEST)
        stream = kind(self, connection, ask, self._decode, maxlen, policy, **extra)
        engine = self._engine
        if engine is not None and engine.taps:  # whoever gets every frame wants it without the stream
            stream._holder = object()
        self._explained(connection, ask, deadline, stream=stream, holder=stream._holder, req_id=req_id)
        return stream

    def _unsubscribe(self, ask: Ask, req_id: Optional[int], deadline: Optional[float]) -> List[bytes]:
        connection = self._line_of(ask, time_left(deadline))
        ask = self._spelled(connection, ask, deadline)
        return connection.unsubscribe(ask, deadline, req_id).replies

    def _explained(self, connection: Connection, ask: Ask, deadline: Optional[float], **how: Any) -> Any:
        """Subscribe; a refused symbol comes with the names that may have been meant."""
        try:
            return connection.subscribe(ask, deadline, **{"kind": FRAMES, **how})
        except SubscriptionRefused as error:
            if ask.channel.private:
                raise
            hints = self._lookup.hints(connection, error, deadline)
            if not hints:
                raise
            raise SubscriptionRefused(
                error.channel, error.refused, req_id=error.req_id, hints=hints
            ) from error

    def _spelled(self, connection: Connection, ask: Ask, deadline: Optional[float]) -> Ask:
        """``ask`` with the exchange's own names of its symbols."""
        if ask.symbols is None or not ask.channel.checked:
            return ask
        if ask.channel.private:  # the table of symbols is on the public side
            if PUBLIC not in self._targets:
                return ask
            connection = self._public(time_left(deadline))
        symbols = self._lookup.spell(connection, ask.symbols, deadline)
        return ask._replace(symbols=symbols)

    def _table(self, connection: Connection, deadline: Optional[float]) -> SymbolTable:
        table = self._lookup.table(connection, deadline)
        if table is None:
            raise KrakenError("the exchange did not send its list of symbols")
        return table
