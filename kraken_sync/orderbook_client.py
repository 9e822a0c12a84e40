"""A client that keeps order books, with the interface of python-kraken-sdk's class of the same name.

Its methods are plain functions instead of coroutines.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections import OrderedDict
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Union

from .client import SpotWSClient
from .core.book.book import Book
from .core.book.sync import BookSync, Verdict
from .core.freshness import BookState
from .core.session import book_views
from .core.session.unreadable import concerned
from .core.wire.channels import channel_params
from .core.wire.messages import BOOK_PREFIX, MalformedFrame, decode_book, decode_envelope
from .core.wire.numbers import fixed, scaled
from .core.wire.places import PUBLIC
from .core.wire.symbols import spelled
from .errors import BookNotLive, ClientClosed, ReplyTimeout
from .io.dispatcher import no_coroutine
from .io.waiting import Condition, deadline_of, time_left
from .market.subscription import Subscription

Callback = Callable[..., Any]


class _Kept:
    """One book as the callback's thread has seen it, with the time of the last update of each level."""

    def __init__(self, symbol: str, depth: int) -> None:
        self.sync = BookSync(symbol, depth, Book)
        self.times: Dict[str, Dict[int, Optional[str]]] = {"ask": {}, "bid": {}}


class SpotOrderBookClient(SpotWSClient):
    """A client that keeps verified order books of one depth and calls a function with every update.

    ::

        class OrderBook(SpotOrderBookClient):
            def on_book_update(self, pair, message):
                print(pair, next(iter(self.get(pair)["bid"].items())))

        with OrderBook(depth=10) as books:
            books.add_book(pairs=["XBT/USD"])
            ...

    :meth:`on_book_update` (or ``callback``) is called with every message whose checksum was verified, on one
    background thread, in the order of the messages. :meth:`get` called from there returns the book right
    after that message. If a checksum does not match, no further updates of that book are delivered until a
    new snapshot was fetched and verified. :meth:`SpotWSClient.book` offers exact decimals, waiting for a
    condition, and several depths.

    Sources: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book and Kraken's guide on the
    v2 book checksum.

    Args:
        depth: the number of price levels on each side of all books of this client: 10 (default), 25, 100,
            500 or 1000.
        callback: a function that is called as ``callback(pair=..., message=...)``; see
            :meth:`on_book_update`.
        key, secret: see :class:`SpotWSClient`; public books need neither.
        options: the other keyword arguments of :class:`SpotWSClient`, except ``callback``.

    Raises:
        ValueError: ``depth`` is not one of the above.
        TypeError: ``callback`` is not callable, or is a coroutine function.
        The errors of :class:`SpotWSClient`.
    """

    def __init__(
        self,
        depth: int = 10,
        callback: Optional[Callback] = None,
        *,
        key: Optional[str] = "",
        secret: Optional[str] = "",
        **options: Any,
    ) -> None:
        channel_params({"channel": "book", "symbol": "A/B", "depth": depth})  # complains about the depth
        if callback is not None and not callable(callback):
            raise TypeError(f"callback must be callable, not {callback!r:.80}")
        for handler in (callback, type(self).on_book_update):
            if inspect.iscoroutinefunction(handler):
                raise TypeError(f"{handler.__name__} must be a plain function: drop the 'async'")
        super().__init__(key, secret, **options)
        key = secret = ""
        self._ks_depth = depth
        self._ks_on_update = callback
        self._ks_with_self = callback is not None and _takes_self(callback)
        self._ks_kept: Dict[str, _Kept] = {}
        self._ks_added: Set[str] = set()
        self._ks_lock = Condition("kept books")
        self._ks_teller: Optional[int] = None

    # -- what python-kraken-sdk has ----------------------------------------------------------

    @property
    def depth(self) -> int:
        """The depth of all books of this client, in price levels on each side. Does not block."""
        return self._ks_depth

    def add_book(self, pairs: Union[str, Sequence[str]], timeout: Optional[float] = 10.0) -> None:
        """Subscribe to the books of these pairs, and block until each has a verified snapshot.

        If the exchange refuses one of the pairs, none is added. From a callback, the call returns without
        waiting for the snapshots, because they are delivered on the same thread. May be called from any
        thread.

        Args:
            pairs: a pair or a list of pairs, in any common spelling, ``XBT/USD`` as well as ``BTC/USD``.
            timeout: seconds to wait, for the connection, the replies and the snapshots together; None for
                ever.

        Raises:
            UnknownSymbol: the exchange has no such pair; the error has the nearest names.
            SubscriptionRefused: the exchange refused; ``refused`` has each refused pair with the exchange's
                text.
            BookNotLive: a pair had no verified snapshot in time; it stays subscribed.
            ReplyTimeout: the exchange did not reply in time.
            ConnectFailed: there was no connection yet, and none could be made in time.
            ClientClosed: the client was closed during the call.
        """
        deadline = deadline_of(timeout)
        params = {"channel": "book", "depth": self._ks_depth, "symbol": _listed(pairs)}
        symbols = type(self).subscribe(self, params, timeout=time_left(deadline)).symbols
        # Snapshots are applied on the callback's thread: waiting for them there would be a deadlock.
        if threading.get_ident() == self._ks_teller:
            return
        for symbol in symbols:
            with self._ks_lock:
                came = self._ks_lock.wait_until(partial(self._ks_came, symbol), deadline)
            if not came:
                raise BookNotLive(symbol, "SYNCING", "no verified snapshot in time")

    def remove_book(self, pairs: Union[str, Sequence[str]], timeout: Optional[float] = 10.0) -> None:
        """End the subscriptions of these pairs' books, and block until the exchange has confirmed it.

        May be called from any thread.

        Args:
            pairs: a pair or a list of pairs, in any common spelling.
            timeout: seconds to wait; None for ever.

        Raises:
            SubscriptionRefused: one of the pairs is not subscribed; nothing was changed.
            ReplyTimeout: the exchange did not confirm in time; the subscriptions end all the same.
        """
        names = _listed(pairs)
        type(self).unsubscribe(
            self, {"channel": "book", "depth": self._ks_depth, "symbol": names}, timeout=timeout
        )

    def subscribe(self, params: Mapping[str, Any], req_id: Optional[int] = None, **how: Any) -> Subscription:
        """Subscribe to a channel, and return a stream; see :meth:`SpotWSClient.subscribe`.

        A book of this client's depth is kept, as with :meth:`add_book`, but the call does not wait for its
        snapshot. ``how`` are the keyword arguments ``timeout``, ``maxlen`` and ``policy``. May be called from
        any thread.
        """
        names = self._ks_books_in(params, 10)  # the exchange's own default
        with self._ks_lock:
            fresh = {self._ks_symbol(name) for name in names} - self._ks_added
            # Before subscribing: the callback's thread discards snapshots of symbols that are not in here.
            self._ks_added |= fresh
        try:
            stream = super().subscribe(params, req_id, **how)
        except BaseException:
            with self._ks_lock:
                self._ks_added -= fresh
            raise
        with self._ks_lock:
            self._ks_added.update(stream.symbols if names else ())
        return stream

    def unsubscribe(self, params: Mapping[str, Any], req_id: Optional[int] = None, **how: Any) -> None:
        """End a subscription; see :meth:`SpotWSClient.unsubscribe`.

        Books of this client's depth are removed, as with :meth:`remove_book`. ``how`` is the keyword argument
        ``timeout``. May be called from any thread.
        """
        late: Optional[ReplyTimeout] = None
        try:
            super().unsubscribe(params, req_id, **how)
        except ReplyTimeout as error:
            late = error  # the reply is late, but the subscription has ended here
        with self._ks_lock:
            for name in self._ks_books_in(params, self._ks_depth):
                symbol = self._ks_symbol(name)
                self._ks_kept.pop(symbol, None)
                self._ks_added.discard(symbol)
            self._ks_lock.notify_all()
        if late is not None:
            raise late

    def _ks_books_in(self, params: Any, depth: int) -> List[str]:
        """Return the symbols of ``params`` if it is about books of this client's depth, else nothing."""
        if not isinstance(params, Mapping) or params.get("channel") != "book":
            return []
        symbol = params.get("symbol")
        names = _listed(symbol) if isinstance(symbol, (str, list, tuple)) else []
        return names if params.get("depth", depth) == self._ks_depth else []

    def get(self, pair: str) -> Optional[Dict[str, Any]]:
        """Return a copy of a book as it was after the last delivered update. Any thread; does not block.

        Args:
            pair: the pair, in any common spelling.

        Returns:
            A dict, or None if the book is not subscribed or has had no snapshot yet. ``bid`` and ``ask`` are
            ordered dicts with the best price first: the key is the price, the value a tuple of the volume in
            base currency and the time of the level's last update. All of these are text (the time is RFC
            3339, or None if it is not known). ``valid`` tells whether the book is verified and live at this
            moment. ``price_decimals`` and ``qty_decimals`` are the numbers of decimal places.
        """
        with self._ks_lock:
            kept = self._ks_kept.get(self._ks_symbol(pair))
            if kept is None or not kept.sync.generation:
                return None
            book = kept.sync.book
            asks, bids = book.top(self._ks_depth)
            found: Dict[str, Any] = {}
            for side, levels in (("bid", bids), ("ask", asks)):
                times = kept.times[side]
                found[side] = OrderedDict(
                    (
                        fixed(price, book.price_decimals),
                        (fixed(qty, book.qty_decimals), times.get(price)),
                    )
                    for price, qty in levels
                )
            found["valid"] = self._ks_valid(book.symbol)
            found["price_decimals"], found["qty_decimals"] = book.price_decimals, book.qty_decimals
            return found

    def on_book_update(self, pair: str, message: Dict[str, Any]) -> Any:
        """Called with every verified message; override it in a subclass, or pass ``callback``.

        It is called on one background thread, with one message after the other. It may block and may call
        any method of the client. An exception that it raises is logged, and the next message is delivered
        all the same.

        Args:
            pair: the pair, as the exchange spells it.
            message: the message of the ``book`` channel as a dict.
        """
        if self._ks_on_update is None:
            return None
        if self._ks_with_self:
            return self._ks_on_update(self, pair=pair, message=message)
        return self._ks_on_update(pair=pair, message=message)

    def on_message(self, message: Any) -> Any:
        """Called with every message, before :meth:`on_book_update`; this implementation does nothing."""

    @staticmethod
    def get_first(values: Tuple[Any, ...]) -> float:
        """Return the first of ``values`` as a float; python-kraken-sdk sorts price levels by it."""
        return float(values[0])

    # -- inside ------------------------------------------------------------------------------

    # The checksum needs the digits as they were sent, so the callback's stream delivers the frames' bytes.
    _ks_tap_decode = bytes

    def _ks_handler(self) -> Optional[Callable[[Any], Any]]:
        with self._ks_lock:
            self._ks_kept.clear()  # books from before close() would look valid although they are old
        return self._ks_frame

    def _ks_frame(self, frame: Any) -> None:
        self._ks_teller = threading.get_ident()
        if isinstance(frame, dict):  # a gap message, which the client made itself; frames are bytes here
            self._ks_gap(frame)
            no_coroutine(self.on_message(frame))
            return
        message, verified = self._ks_runtime.decode(frame), self._ks_apply(frame)
        try:
            no_coroutine(self.on_message(message))
        finally:
            for symbol in verified:
                no_coroutine(self.on_book_update(pair=symbol, message=message))

    def _ks_apply(self, frame: bytes) -> List[str]:
        """Apply a frame if it is a book message, and return the symbols that were verified."""
        try:
            if not (frame.startswith(BOOK_PREFIX) or decode_envelope(frame).channel == "book"):
                return []
            book = decode_book(frame)
        except MalformedFrame:
            self._ks_missed(frame)
            return []
        return [data.symbol for data in book.data if self._ks_take(data, book.type == "snapshot")]

    def _ks_missed(self, frame: bytes) -> None:
        """An unreadable frame: its books wait for a fresh snapshot, which the connection asks for."""
        with self._ks_lock:
            keys = [book_views.book_key(symbol) for symbol in self._ks_kept]
            for key in keys if (named := concerned(frame, keys)) is None else named:
                self._ks_kept[key.symbol or ""].sync.leave(BookState.STALE, "a message cannot be read", 0.0)

    def _ks_take(self, data: Any, snapshot: bool) -> bool:
        """Apply one symbol's part of a message, and return whether it was verified."""
        with self._ks_lock:
            kept = self._ks_kept.get(data.symbol)
            if kept is None:
                if not snapshot or data.symbol not in self._ks_added:
                    return False
                kept = self._ks_kept[data.symbol] = _Kept(data.symbol, self._ks_depth)
            verdict = kept.sync.apply(data, snapshot, 0.0)
            if verdict is Verdict.VERIFIED:
                self._ks_note_times(kept, data, snapshot)
                self._ks_lock.notify_all()
                return True
        if verdict is Verdict.MISMATCHED:
            self._ks_start_over([data.symbol], "lost track of the book")
        return False

    def _ks_note_times(self, kept: _Kept, data: Any, snapshot: bool) -> None:
        for number, (side, entries) in enumerate((("ask", data.asks), ("bid", data.bids))):
            times = kept.times[side]
            if snapshot:
                times.clear()
            for entry in entries:
                times[scaled(entry.price, kept.sync.book.price_decimals)[0]] = data.timestamp or None
            if len(times) > 4 * self._ks_depth:
                shown = kept.sync.book.rows(self._ks_depth)[number]
                kept.times[side] = {price: times.get(price) for price, _ in shown}

    def _ks_gap(self, gap: Dict[str, Any]) -> None:
        with self._ks_lock:
            lost = self._ks_left(gap)
        self._ks_start_over(lost, "the callback was too slow")

    def _ks_left(self, gap: Dict[str, Any]) -> List[str]:
        # With the lock held: the books of a gap are not live, and those returned must be fetched anew.
        books = self._ks_kept if gap.get("channel") == "book" else {}
        named = [item for item in gap["data"] if item.get("symbol") in books]
        for item in named:
            books[item["symbol"]].sync.leave(BookState.STALE, str(item.get("reason")), 0.0)
        # Dropped by this client's own queue: the connection has seen all, and fetches nothing by itself.
        lost = any(item.get("dropped") for item in gap["data"] if item not in named)
        for one in self._ks_kept.values() if lost else ():
            one.sync.leave(BookState.STALE, "messages were dropped", 0.0)
        return list(self._ks_kept) if lost else []

    def _ks_start_over(self, symbols: Sequence[str], reason: str) -> None:
        connection = self._ks_runtime.connection(PUBLIC)
        if connection is None or not symbols:
            return
        connection.change(lambda session: book_views.resync(session, symbols, reason, time.monotonic()))

    def _ks_valid(self, symbol: str) -> bool:
        """Return whether the book is verified here, live on the connection, and from the same snapshot."""
        # The callback's thread lags behind the connection: after a resync this copy may still be the old one.
        kept, connection = self._ks_kept.get(symbol), self._ks_runtime.connection(PUBLIC)
        if kept is None or not kept.sync.live or connection is None:
            return False
        began_with = connection.read(
            lambda session: book_views.live_since(session, book_views.book_key(symbol))
        )
        return began_with is not None and began_with == kept.sync.snapshot_mark

    def _ks_came(self, symbol: str) -> bool:
        """Return whether the book of ``symbol`` is valid. Raises if it cannot become valid any more."""
        if self._ks_valid(symbol):
            return True
        connection = self._ks_runtime.connection(PUBLIC)
        if connection is None:
            raise ClientClosed
        connection.check_usable()
        if connection.read(lambda session: book_views.book_of(session, book_views.book_key(symbol))) is None:
            raise BookNotLive(symbol, "CLOSED", "unsubscribed meanwhile")
        return False

    def _ks_symbol(self, pair: str) -> str:
        if pair in self._ks_kept:
            return pair
        return spelled(pair) or self._ks_market.known(pair) or pair


def _listed(pairs: Union[str, Sequence[str]]) -> List[str]:
    return [pairs] if isinstance(pairs, str) else list(pairs)


def _takes_self(callback: Callback) -> bool:
    """Return whether a function takes the client as its first argument, as in python-kraken-sdk's example."""
    try:
        names = list(inspect.signature(callback).parameters)
    except (TypeError, ValueError):
        return False
    return names[:1] == ["self"] and not inspect.ismethod(callback)
