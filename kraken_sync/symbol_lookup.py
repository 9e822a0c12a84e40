"""Finds the exchange's name for what a user typed.

The table of symbols (the snapshot of the ``instrument`` channel, on the same connection, never REST) is
fetched only when a spelling needs it, and kept.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import List, Optional, Sequence, Set, Tuple

import msgspec

from .core.channels import check
from .core.symbols import SymbolTable, spelled
from .errors import ClientClosed, KrakenError, SubscriptionRefused, UnknownSymbol, did_you_mean
from .io.connection import Connection
from .io.streams import Stream

log = logging.getLogger("kraken_sync")

TABLE_TIMEOUT = 5.0
"""Seconds to wait for the table; without it a symbol goes to the exchange as it was typed."""
TABLE_LIFETIME = 3600.0


class _Pair(msgspec.Struct):
    symbol: str


class _Pairs(msgspec.Struct):
    pairs: List[_Pair] = []


class _Instruments(msgspec.Struct):
    data: _Pairs


_decode = msgspec.json.Decoder(_Instruments).decode


class SymbolLookup:
    """The table of symbols of one client. Any thread."""

    def __init__(self) -> None:
        self._table: Optional[SymbolTable] = None
        self._fetched = 0.0
        self._fetching = threading.Lock()
        self._told: Set[str] = set()

    def spell(
        self, connection: Connection, symbols: Sequence[str], deadline: Optional[float]
    ) -> Tuple[str, ...]:
        """The exchange's names for ``symbols``, without repetition.

        Raises:
            UnknownSymbol: with the nearest names; nothing was subscribed.
        """
        found, unknown = [], []
        for text in symbols:
            try:
                found.append(self._spell(connection, text, deadline))
            except UnknownSymbol as error:
                unknown.append(error)
        if unknown:
            first, others = unknown[0], unknown[1:]
            text = " ".join(map(str, unknown)) if others else str(first)
            raise UnknownSymbol(first.symbol, first.suggestions, text=text)
        return tuple(dict.fromkeys(found))

    def _spell(self, connection: Connection, text: str, deadline: Optional[float]) -> str:
        known = self._table
        symbol = known.find(text) if known is not None else spelled(text)
        if symbol is None:
            table = self.table(connection, deadline, fresh=known is not None)
            if table is None:
                return text  # no table to be had: let the exchange judge
            symbol = table.find(text)
            if symbol is None:
                raise _unknown(text, table)
        if symbol != text and text not in self._told:
            self._told.add(text)
            log.info("%r is called %r in WebSocket API v2; using %s", text, symbol, symbol)
        return symbol

    def hints(
        self, connection: Connection, error: SubscriptionRefused, deadline: Optional[float]
    ) -> List[str]:
        """Sentences that help with the symbols the exchange does not support."""
        unknown = [
            symbol
            for symbol, words in error.refused.items()
            if symbol is not None and words.startswith("Currency pair not supported")
        ]
        if not unknown:
            return []
        table = self.table(connection, deadline)
        if table is None:
            return []
        hints = []
        for symbol in unknown:
            close = [name for name in table.suggest(symbol) if name != symbol]
            hints.append(f"{symbol}: {did_you_mean(close)}" if close else _search(symbol))
        return hints

    def table(
        self, connection: Connection, deadline: Optional[float], *, fresh: bool = False
    ) -> Optional[SymbolTable]:
        """The table, fetched if there is none (or an old one, if ``fresh``); None if it cannot be had."""
        left = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._fetching.acquire(timeout=left):
            return None
        try:
            age = time.monotonic() - self._fetched
            if self._table is not None and not (fresh and age > TABLE_LIFETIME):
                return self._table
            limit = time.monotonic() + TABLE_TIMEOUT
            table = _fetch(connection, limit if deadline is None else min(limit, deadline))
            if table is not None:
                self._table, self._fetched = table, time.monotonic()
            return self._table
        finally:
            self._fetching.release()


def _fetch(connection: Connection, deadline: float) -> Optional[SymbolTable]:
    ask = check({"channel": "instrument"})
    stream = Stream("the table of symbols", bytes, 1000, "drop_oldest", ask.keys())
    try:
        connection.subscribe(ask, deadline, stream=stream)
    except ClientClosed:
        raise
    except KrakenError as error:
        log.warning("no table of symbols: %s", error)
        return None
    names: List[str] = []
    try:
        while not names:
            frame = stream.get(max(0.0, deadline - time.monotonic()))
            if isinstance(frame, bytes):
                names = [pair.symbol for pair in _decode(frame).data.pairs]
    except ClientClosed:
        raise
    except (queue.Empty, KrakenError, msgspec.MsgspecError) as error:
        log.warning("no table of symbols: %r", error)
        return None
    finally:
        connection.release(ask.keys(), stream, None)
    return SymbolTable(names)


def _unknown(text: str, table: SymbolTable) -> UnknownSymbol:
    close = table.suggest(text)
    if close:
        return UnknownSymbol(
            text,
            close,
            text=f"{text!r:.60} is not traded on Kraken spot. {did_you_mean(close)} {_search(text)}",
        )
    return UnknownSymbol(
        text,
        text=f"{text!r:.60} is not traded on Kraken spot, and nothing is close to it. "
        f"Symbols look like 'BTC/USD'. {_search(text)}",
    )


def _search(text: str) -> str:
    word = text.strip().strip("/").split("/")[0][:3].upper()
    return f"Search: client.symbols({word!r})"
