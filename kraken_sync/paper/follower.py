"""Brings the real market to the paper exchange: a client without an account, and a thread."""

from __future__ import annotations

import os
import queue
from decimal import Decimal
from typing import Any, Callable, Dict, Mapping, Optional

from ..client import SpotWSClient
from ..core.book.snapshot import BookSnapshot
from ..core.wire.shapes import Depth
from ..errors import ClientClosed, KrakenError, UnknownSymbol, did_you_mean
from ..io.logs import log
from ..io.threads import GuardedThread
from ..io.waiting import Event, Turn, deadline_of, time_left
from ..market.live_book import Changes
from ..market.order_book import OrderBook
from ..market.subscription import ItemStream
from ..simulator.instruments import Instrument
from .exchange import PaperExchange

DEPTH: Depth = 100
"""The number of levels a side that paper orders can trade with."""
ROUND = 0.1
"""Seconds without news after which the states of all books are looked at."""
FIRST_TRADE = 1.0
"""Seconds to wait for the last trades of a pair, which a pair that was just listed does not have."""


class Follower:
    """Follows the pairs that paper orders are placed in. Any thread.

    Args:
        client: a client of the real exchange's public side, and of nothing else.
        exchange: where the orders are.
    """

    def __init__(self, client: SpotWSClient, exchange: PaperExchange) -> None:
        self._client, self._exchange = client, exchange
        self._pid = os.getpid()
        self._turn = Turn()  # to begin, to end, or to follow one more pair
        self._pairs: Dict[str, Mapping[str, Any]] = {}
        self._instruments: Any = None
        self._books: Dict[str, OrderBook] = {}
        self._trades: Dict[str, ItemStream[Any]] = {}
        self._last_trade: Dict[str, int] = {}
        self._stopping = Event()
        self._thread: Optional[GuardedThread] = None

    @property
    def running(self) -> bool:
        """Whether it follows the pairs that it was told."""
        return self._thread is not None and not self._thread.dead

    def start(self, timeout: Optional[float]) -> None:
        """Begin to follow, and follow again what was followed before. Blocks up to ``timeout`` seconds."""
        deadline = deadline_of(timeout)
        self._in_turn(deadline, self._begin)
        for symbol in self._exchange.symbols:
            try:
                self.have(symbol, time_left(deadline))
            except KrakenError as error:
                log.warning("paper trading: %s is not followed: %s", symbol, error)

    def stop(self, timeout: float) -> None:
        """Stop following: no order is filled until :meth:`start`. Blocks up to ``timeout`` seconds."""
        if os.getpid() != self._pid:
            return  # a forked child has no such thread
        deadline = deadline_of(timeout)
        thread, self._thread = self._thread, None
        self._stopping.set()
        self._client.close(timeout)  # which also ends have() on other threads
        if thread is not None:
            thread.finish(time_left(deadline) or 0.0)
        if not self._turn.run(deadline, self._forget):
            self._forget()

    def have(self, symbol: str, timeout: Optional[float]) -> None:
        """Follow a pair. Blocks until its book is known, up to ``timeout`` seconds.

        Raises:
            ClientClosed: it was not started, or was stopped.
            UnknownSymbol: the exchange has no pair of exactly this name.
            KrakenError: its book did not come in time.
        """
        book = self._books.get(symbol)
        if book is not None and not book.over:
            return
        deadline = deadline_of(timeout)
        self._in_turn(deadline, lambda: self._add(symbol, deadline))

    def _in_turn(self, deadline: Optional[float], work: Callable[[], bool]) -> None:
        if not self._turn.run(deadline, work):
            raise KrakenError("another thread was still waiting for the real market")

    def _begin(self) -> bool:
        if not self.running:
            stopping = self._stopping = Event()
            self._thread = GuardedThread("paper", lambda: self._run(stopping), self._died)
            self._thread.begin()
        return True

    def _forget(self) -> bool:
        self._books, self._trades, self._instruments = {}, {}, None
        for symbol in self._exchange.symbols:
            self._exchange.lose(symbol)
        return True

    def _add(self, symbol: str, deadline: Optional[float]) -> bool:
        if self._thread is None:
            raise ClientClosed
        book = self._books.get(symbol)
        if book is not None and not book.over:
            return True
        pair = self._instrument(symbol, deadline)
        trades = self._client.trades(symbol, snapshot=True, timeout=time_left(deadline))
        book = self._client.book(symbol, DEPTH, timeout=time_left(deadline))
        if not self._exchange.has(symbol):
            self._exchange.add(pair, DEPTH)
        left = time_left(deadline)
        self._take_trades(symbol, trades, FIRST_TRADE if left is None else min(FIRST_TRADE, left))
        state = book.snapshot()
        self._exchange.follow(symbol, state.bids, state.asks, self._status(symbol))
        self._trades = {**self._trades, symbol: trades}
        self._books = {**self._books, symbol: book}
        return True

    def _instrument(self, symbol: str, deadline: Optional[float]) -> Instrument:
        if self._instruments is None:
            stream = self._client.subscribe({"channel": "instrument"}, timeout=time_left(deadline))
            try:
                self._read_pairs(stream.get(time_left(deadline)))
            except queue.Empty:
                raise KrakenError("the exchange did not send its list of pairs in time") from None
            self._instruments = stream
        if symbol not in self._pairs:
            close = self._client.symbols(symbol, timeout=time_left(deadline))
            text = f"{symbol!r} is no pair of the exchange. {did_you_mean(close[:2])}".strip()
            raise UnknownSymbol(symbol, close, text=text)
        pair = self._pairs[symbol]
        digits = int(pair["qty_precision"])
        return Instrument(
            symbol,
            int(pair["price_precision"]),
            digits,
            price=0,
            step=1,
            qty=0,
            levels=0,
            activity=0,
            qty_min=int(Decimal(str(pair.get("qty_min") or 0)).scaleb(digits)),
            cost_min=str(pair.get("cost_min") or 0),
            cost_digits=int(pair.get("cost_precision") or 5),
        )

    def _read_pairs(self, message: Mapping[str, Any]) -> None:
        data = message.get("data")
        for pair in data.get("pairs", ()) if isinstance(data, Mapping) else ():
            self._pairs[pair["symbol"]] = pair

    def _status(self, symbol: str) -> str:
        return str(self._pairs.get(symbol, {}).get("status") or "online")

    # -- the thread --------------------------------------------------------------------------

    def _run(self, stopping: Event) -> None:
        books: Dict[str, OrderBook] = {}
        changes: Optional[Changes] = None
        while not stopping.is_set():
            if books != self._books:
                books = dict(self._books)
                changes = Changes(list(books.values())) if books else None
            try:
                news = changes.wait(ROUND) if changes is not None else None
                if news is None:
                    stopping.wait(ROUND)
                self._follow(books, {book.symbol: state for book, state in news or ()})
            except KrakenError as error:
                if not stopping.is_set():
                    log.warning("paper trading: %s", error)
                stopping.wait(ROUND)

    def _follow(self, books: Mapping[str, OrderBook], fresh: Mapping[str, BookSnapshot]) -> None:
        """Tell the exchange what is new."""
        statuses = {symbol: self._status(symbol) for symbol in books}
        self._take_instruments()
        live = {symbol: book for symbol, book in books.items() if str(book.state) == "LIVE"}
        for symbol in books:
            if symbol not in live:
                self._exchange.lose(symbol)
        for symbol, trades in self._trades.items():
            self._take_trades(symbol, trades, 0)
        for symbol, book in live.items():
            if symbol in fresh or statuses[symbol] != self._status(symbol):
                state = fresh[symbol] if symbol in fresh else book.snapshot()
                self._exchange.follow(symbol, state.bids, state.asks, self._status(symbol))

    def _take_instruments(self) -> None:
        stream = self._instruments
        while stream is not None:
            try:
                self._read_pairs(stream.get(0))
            except (queue.Empty, KrakenError):
                return

    def _take_trades(self, symbol: str, trades: ItemStream[Any], timeout: float) -> None:
        """Pass on all trades that are there; wait for the first so many seconds."""
        while True:
            try:
                trade = trades.get(timeout)
            except (queue.Empty, KrakenError):
                return
            timeout = 0
            if trade["trade_id"] <= self._last_trade.get(symbol, -1):
                continue  # a snapshot after a reconnect repeats trades
            self._last_trade[symbol] = trade["trade_id"]
            self._exchange.trade(symbol, trade["side"], trade["price"], trade["qty"])

    def _died(self, error: BaseException) -> None:
        log.critical("a fault of kraken_sync itself, paper trading has died: %r", error, error=error)
        for symbol in self._exchange.symbols:
            self._exchange.lose(symbol)
