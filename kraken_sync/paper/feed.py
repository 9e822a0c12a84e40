"""Brings the real market to the paper exchange: a client without an account, and a thread."""

from __future__ import annotations

import queue
import threading
from decimal import Decimal
from typing import Any, Dict, List, Mapping, Optional

from ..client import SpotWSClient
from ..errors import KrakenError, UnknownSymbol
from ..io.logs import log
from ..io.threads import GuardedThread
from ..market.live_book import Changes
from ..market.order_book import OrderBook
from ..market.subscription import ItemStream
from ..simulator.instruments import Instrument
from .exchange import PaperExchange

DEPTH = 100
"""The number of levels a side that paper orders can trade with."""
ROUND = 0.1
"""Seconds without news after which the states of all books are looked at."""


class Feed:
    """Follows the pairs that paper orders are placed in. Any thread.

    Args:
        client: a client of the real exchange's public side, and of nothing else.
    """

    def __init__(self, client: SpotWSClient) -> None:
        self._client = client
        self._exchange: Optional[PaperExchange] = None
        self._lock = threading.Lock()
        self._pairs: Dict[str, Mapping[str, Any]] = {}
        self._books: List[OrderBook] = []
        self._trades: Dict[str, ItemStream] = {}
        self._last_trade: Dict[str, int] = {}
        self._stopping = threading.Event()
        self._thread: Optional[GuardedThread] = None

    def start(self, exchange: PaperExchange) -> None:
        """Begin, or go on, to follow. Does not block."""
        self._exchange = exchange
        with self._lock:
            if self._thread is None:
                self._stopping.clear()
                self._thread = GuardedThread("paper", self._run, self._died)
                self._thread.begin()

    def stop(self, timeout: float) -> None:
        """Stop following. Blocks up to ``timeout`` seconds."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._books, self._trades = [], {}
        self._stopping.set()
        self._client.close(timeout)
        if thread is not None:
            thread.finish(timeout)

    def have(self, symbol: str, timeout: Optional[float]) -> None:
        """Follow a pair. Blocks until its book is known, up to ``timeout`` seconds.

        Raises:
            UnknownSymbol: the exchange has no such pair.
            KrakenError: its book did not come in time.
        """
        exchange = self._exchange
        if exchange is None or any(book.symbol == symbol for book in self._books):
            return
        book = self._client.book(symbol, DEPTH, timeout=timeout)
        if book.symbol != symbol:
            book.unsubscribe()
            raise UnknownSymbol(symbol, [book.symbol])  # as the exchange has it for orders
        trades = self._client.trades(symbol, snapshot=True, timeout=timeout)
        state = book.snapshot()
        pair = self._instrument(symbol, timeout)
        with self._lock:
            if any(one.symbol == symbol for one in self._books):
                return
            if not exchange.has(symbol):
                exchange.add(pair)
            self._take_trades(exchange, symbol, trades, fill=False)
            exchange.follow(symbol, state.bids, state.asks)
            self._trades[symbol] = trades
            self._books = [*self._books, book]

    def _instrument(self, symbol: str, timeout: Optional[float]) -> Instrument:
        if symbol not in self._pairs:
            with self._client.subscribe({"channel": "instrument"}, timeout=timeout) as stream:
                data = stream.get(timeout)["data"]
            self._pairs = {pair["symbol"]: pair for pair in data["pairs"]}
        if symbol not in self._pairs:
            raise UnknownSymbol(symbol, [])
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

    # -- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        exchange = self._exchange
        assert exchange is not None
        books: List[OrderBook] = []
        changes: Optional[Changes] = None
        while not self._stopping.is_set():
            if books != self._books:
                books = list(self._books)
                changes = Changes(books)
            if changes is None:
                self._stopping.wait(ROUND)
                continue
            try:
                news = changes.wait(ROUND)
            except KrakenError as error:
                log.warning("paper trading: %s", error)
                news = []
                self._stopping.wait(ROUND)
            for symbol, trades in list(self._trades.items()):
                self._take_trades(exchange, symbol, trades, fill=True)
            for book, state in news or ():
                exchange.follow(book.symbol, state.bids, state.asks)
            for book in books:
                if str(book.state) != "LIVE":
                    exchange.lose(book.symbol)
            if news is None:  # every book has ended
                self._stopping.wait(ROUND)

    def _take_trades(self, exchange: PaperExchange, symbol: str, trades: ItemStream, fill: bool) -> None:
        while True:
            try:
                trade = trades.get(0)
            except (queue.Empty, KrakenError):
                return
            if trade["trade_id"] <= self._last_trade.get(symbol, -1):
                continue  # a snapshot after a reconnect repeats trades
            self._last_trade[symbol] = trade["trade_id"]
            exchange.trade(symbol, trade["side"], trade["price"], trade["qty"])

    def _died(self, error: BaseException) -> None:
        log.critical("a fault of kraken_sync itself, paper trading has died: %r", error, error=error)
        for book in self._books:
            if self._exchange is not None:
                self._exchange.lose(book.symbol)
