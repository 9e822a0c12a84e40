"""SpotOrderBookClient: the order books of python-kraken-sdk's surface, without ``await``."""

from __future__ import annotations

import inspect
import threading
import time
from collections import OrderedDict
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Union

from .client import SpotWSClient
from .core.book.sync import BookSync, Verdict
from .core.freshness import BookState
from .core.session import book_views
from .core.session.unreadable import concerned
from .core.wire.channels import channel_params
from .core.wire.messages import BOOK_PREFIX, MalformedFrame, decode_book, decode_envelope
from .core.wire.numbers import fixed, scaled
from .core.wire.symbols import spelled
from .errors import BookNotLive, ClientClosed
from .io.dispatcher import no_coroutine
from .io.engine import PUBLIC
from .io.waiting import Condition, deadline_of, time_left
from .market.subscription import Subscription

Callback = Callable[..., Any]


class _Kept:
    """One book as the callback's thread has seen it, and when its levels were last told."""

    def __init__(self, symbol: str, depth: int) -> None:
        self.sync = BookSync(symbol, depth)
        self.times: Dict[str, Dict[int, Optional[str]]] = {"ask": {}, "bid": {}}


class SpotOrderBookClient(SpotWSClient):
    """Keeps verified order books of one depth, and tells every update.

    ::

        class OrderBook(SpotOrderBookClient):
            def on_book_update(self, pair, message):
                print(pair, next(iter(self.get(pair)["bid"].items())))

        with OrderBook(depth=10) as books:
            books.add_book(pairs=["XBT/USD"])
            ...

    ``on_book_update`` (or ``callback``) is called with every message that was verified, on one background
    thread, in order; :meth:`get` called from there is the book right after that message. If a checksum
    does not match nothing is called until the book was fetched anew and verified.
    :meth:`SpotWSClient.book` offers more: exact decimals, waiting, several depths.

    Args:
        depth: 10, 25, 100, 500 or 1000 levels a side, for all books of this client.
        callback: called as ``callback(pair=..., message=...)``.
        key, secret, options: as for :class:`SpotWSClient`: URLs, ``proxy``, ``ssl_context``, ...
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
        channel_params(
            {"channel": "book", "symbol": ["BTC/USD"], "depth": depth}
        )  # complains about the depth
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
        """The depth of all books of this client."""
        return self._ks_depth

    def add_book(self, pairs: Union[str, Sequence[str]], timeout: Optional[float] = 10.0) -> None:
        """Keep the books of these pairs, and block until each has a verified snapshot.

        Called from a callback it does not wait for the snapshots.

        Args:
            pairs: in any common spelling, ``XBT/USD`` as well as ``BTC/USD``.
            timeout: seconds, None for ever.

        Raises:
            UnknownSymbol, SubscriptionRefused: naming each pair; nothing was changed.
            BookNotLive: no verified snapshot in time.
        """
        deadline = deadline_of(timeout)
        listed = _listed(pairs)
        params = {"channel": "book", "depth": self._ks_depth, "symbol": listed}
        symbols = type(self).subscribe(self, params, timeout=time_left(deadline)).symbols
        if threading.get_ident() == self._ks_teller:
            return
        with self._ks_lock:
            for symbol in symbols:
                if not self._ks_lock.wait_until(partial(self._ks_came, symbol), deadline):
                    raise BookNotLive(symbol, "SYNCING", "no verified snapshot in time")

    def remove_book(self, pairs: Union[str, Sequence[str]], timeout: Optional[float] = 10.0) -> None:
        """Keep the books of these pairs no more, and block until the exchange has confirmed.

        Raises:
            SubscriptionRefused: one of them is not kept.
        """
        names = _listed(pairs)
        type(self).unsubscribe(
            self, {"channel": "book", "depth": self._ks_depth, "symbol": names}, timeout=timeout
        )

    def subscribe(self, params: Mapping[str, Any], req_id: Optional[int] = None, **how: Any) -> Subscription:
        """As :meth:`SpotWSClient.subscribe`; a book of this client's depth is kept as by :meth:`add_book`."""
        names = self._ks_books_in(params)
        with self._ks_lock:
            fresh = {self._ks_symbol(name) for name in names} - self._ks_added
            self._ks_added |= fresh  # before the first snapshot can come
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
        """As :meth:`SpotWSClient.unsubscribe`; books are kept no more, as by :meth:`remove_book`."""
        super().unsubscribe(params, req_id, **how)
        with self._ks_lock:
            for name in self._ks_books_in(params):
                symbol = self._ks_symbol(name)
                self._ks_kept.pop(symbol, None)
                self._ks_added.discard(symbol)
            self._ks_lock.notify_all()

    def _ks_books_in(self, params: Any) -> List[str]:
        """The symbols of a subscription, if it is one of the books that are kept here."""
        if not isinstance(params, Mapping) or params.get("channel") != "book":
            return []
        symbol = params.get("symbol")
        names = _listed(symbol) if isinstance(symbol, (str, list, tuple)) else []
        return names if params.get("depth", self._ks_depth) == self._ks_depth else []

    def get(self, pair: str) -> Optional[Dict[str, Any]]:
        """A copy of a book as the last callback has seen it; None if it is not kept.

        Returns:
            ``bid`` and ``ask``: ordered dicts, best first, of price text to ``(volume text, timestamp)``;
            ``valid``: whether it is verified and live right now; ``price_decimals``, ``qty_decimals``.
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
        """Called with every verified message. Override it, or pass ``callback``."""
        if self._ks_on_update is None:
            return None
        if self._ks_with_self:
            return self._ks_on_update(self, pair=pair, message=message)
        return self._ks_on_update(pair=pair, message=message)

    def on_message(self, message: Any) -> Any:
        """Called with every message before a book is told; nothing needs it."""

    @staticmethod
    def get_first(values: Tuple[Any, ...]) -> float:
        """The first of ``values`` as a float: the sort key of price levels."""
        return float(values[0])

    # -- inside ------------------------------------------------------------------------------

    _ks_tap_decode = bytes  # exact digits are needed here, so frames are decoded by who gets them

    def _ks_handler(self) -> Optional[Callable[[Any], Any]]:
        with self._ks_lock:  # the client starts: nothing that is kept from before is worth anything
            self._ks_kept.clear()
        return self._ks_frame

    def _ks_frame(self, frame: Any) -> None:
        self._ks_teller = threading.get_ident()
        if isinstance(frame, dict):  # a gap
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
        """Apply a frame, if it is one of a book; returns the symbols that were verified."""
        try:
            if not (frame.startswith(BOOK_PREFIX) or decode_envelope(frame).channel == "book"):
                return []
            book = decode_book(frame)
        except MalformedFrame:
            self._ks_missed(frame)
            return []
        return [data.symbol for data in book.data if self._ks_take(data, book.type == "snapshot")]

    def _ks_missed(self, frame: bytes) -> None:
        """An unreadable frame: the books that it may have been about wait for a fresh snapshot, as on the
        connection, which asks for them."""
        with self._ks_lock:
            keys = [book_views.book_key(symbol) for symbol in self._ks_kept]
            for key in keys if (named := concerned(frame, keys)) is None else named:
                self._ks_kept[key.symbol or ""].sync.leave(BookState.STALE, "a message cannot be read", 0.0)

    def _ks_take(self, data: Any, snapshot: bool) -> bool:
        """Apply one message; True if it was verified."""
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
        for side, entries, levels in (
            ("ask", data.asks, kept.sync.book.asks),
            ("bid", data.bids, kept.sync.book.bids),
        ):
            times = kept.times[side]
            if snapshot:
                times.clear()
            for entry in entries:
                times[scaled(entry.price, kept.sync.book.price_decimals)[0]] = data.timestamp or None
            if len(times) > 4 * self._ks_depth:
                kept.times[side] = {price: times.get(price) for price in levels}

    def _ks_gap(self, gap: Dict[str, Any]) -> None:
        lost: List[str] = []
        with self._ks_lock:
            for item in gap["data"]:
                symbol = item.get("symbol")
                if gap.get("channel") == "book" and symbol in self._ks_kept:
                    self._ks_kept[symbol].sync.leave(BookState.STALE, str(item.get("reason")), 0.0)
                elif item.get("dropped"):  # messages were lost here: only a fresh snapshot helps
                    lost = list(self._ks_kept)
            for symbol in lost:
                self._ks_kept[symbol].sync.leave(BookState.STALE, "messages were dropped", 0.0)
        self._ks_start_over(lost, "the callback was too slow")

    def _ks_start_over(self, symbols: Sequence[str], reason: str) -> None:
        connection = self._ks_runtime.connection(PUBLIC)
        if connection is None or not symbols:
            return
        connection.change(lambda session: book_views.resync(session, symbols, reason, time.monotonic()))

    def _ks_valid(self, symbol: str) -> bool:
        """Whether the book is verified here, live on the connection, and from the same snapshot."""
        kept, connection = self._ks_kept.get(symbol), self._ks_runtime.connection(PUBLIC)
        if kept is None or not kept.sync.live or connection is None:
            return False
        began_with = connection.read(lambda session: book_views.live_since(session, symbol))
        return began_with is not None and began_with == kept.sync.snapshot_checksum

    def _ks_came(self, symbol: str) -> bool:
        """Whether the book of ``symbol`` is there; raises if it cannot come any more."""
        if self._ks_valid(symbol):
            return True
        connection = self._ks_runtime.connection(PUBLIC)
        if connection is None:
            raise ClientClosed
        connection.check_usable()
        if connection.read(lambda session: book_views.book_of(session, symbol)) is None:
            raise BookNotLive(symbol, "CLOSED", "unsubscribed meanwhile")
        return False

    def _ks_symbol(self, pair: str) -> str:
        if pair in self._ks_kept:
            return pair
        return spelled(pair) or self._ks_market.known(pair) or pair


def _listed(pairs: Union[str, Sequence[str]]) -> List[str]:
    return [pairs] if isinstance(pairs, str) else list(pairs)


def _takes_self(callback: Callback) -> bool:
    """Whether a plain function wants the client as its first argument, as the SDK's own example does."""
    try:
        names = list(inspect.signature(callback).parameters)
    except (TypeError, ValueError):
        return False
    return names[:1] == ["self"] and not inspect.ismethod(callback)
