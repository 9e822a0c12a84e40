"""What recordings have in them: found by reading them once, before anything is served."""

from __future__ import annotations

from typing import Any, Dict, Tuple, Union

import msgspec

from ..core.book.book import Book
from ..core.wire import messages
from ..core.wire.channels import DEPTHS, Key
from ..core.wire.messages import MalformedFrame
from ..core.wire.numbers import decimals_of
from ..recording.books import guessed_depth
from ..recording.routing import acknowledged, parts_of
from ..recording.source import FRAME, KNOWN, Moment, Source

EARLY = 5 * 10**9
"""Nanoseconds: what is subscribed within this time belongs to the beginning of a recording."""


class Contents:
    """The keys of recordings, with what is needed before the first frame is played.

    Args:
        source: is read to its end.

    Raises:
        ValueError: there is no market data in it.
    """

    def __init__(self, source: Source) -> None:
        self.first: Dict[Key, bytes] = {}
        """The first snapshot of each key, or if it has none, its first message."""
        self.depths: Dict[Key, int] = {}
        """The depth of each ``book`` and ``level3``."""
        self.messages = 0
        """The messages of market data."""
        self.begin = self.end = 0
        """The times of the first and the last of them, in nanoseconds since the epoch."""
        self.has_snapshot: Dict[Key, bool] = {}
        self.early: Dict[Key, bool] = {}
        """Whether the first message is from the beginning of the recording, and may be told at once."""
        for moment in source:
            if moment.kind in (FRAME, KNOWN):
                self._see(moment)
        if not self.first:
            raise ValueError(f"there is no market data in {source}")
        for key in list(self.first):
            if key.channel in ("book", "level3") and not self.has_snapshot[key]:
                del self.first[key]  # without a snapshot nothing can be served of it
        self.digits = self._digits()
        """The decimal places of (price, quantity) by symbol."""

    @property
    def symbols(self) -> Tuple[str, ...]:
        """All symbols."""
        return tuple(sorted({key.symbol for key in self.first if key.symbol is not None}))

    def has(self, channel: str) -> bool:
        """Whether anything of this channel was recorded."""
        return any(key.channel == channel for key in self.first)

    def _see(self, moment: Moment) -> None:
        frame = moment.frame
        reply = acknowledged(frame)
        if reply is not None:
            if reply.method == "subscribe" and reply.depth:
                self.depths[reply.key] = reply.depth
            return
        for key, snapshot, part in parts_of(frame):
            self.messages += moment.kind == FRAME
            self.begin, self.end = self.begin or moment.at, moment.at
            if key not in self.first or (snapshot and not self.has_snapshot[key]):
                # What comes later must not be known from the beginning on.
                self.early[key] = key not in self.first and moment.at - self.begin <= EARLY
                self.first[key] = part
                self.has_snapshot[key] = snapshot
                if snapshot and key.channel in ("book", "level3") and key not in self.depths:
                    self._guess_depth(key, part)

    def _guess_depth(self, key: Key, frame: bytes) -> None:
        decode: Any = messages.decode_book if key.channel == "book" else messages.decode_level3
        try:
            self.depths[key] = guessed_depth(decode(frame).data[0])
        except (MalformedFrame, IndexError):
            pass

    def _digits(self) -> Dict[str, Tuple[int, int]]:
        found: Dict[str, Tuple[int, int]] = {}
        for key, frame in self.first.items():
            symbol = key.symbol
            if symbol is None or key.channel not in ("book", "trade"):
                continue
            price, qty = found.get(symbol, (0, 0))
            try:
                if key.channel == "book":
                    book = Book(symbol, DEPTHS[-1])
                    book.apply(messages.decode_book(frame).data[0], True)
                    found[symbol] = max(price, book.price_decimals), max(qty, book.qty_decimals)
                else:
                    for trade in _decode_trades(frame).data:
                        price, qty = max(price, decimals_of(trade.price)), max(qty, decimals_of(trade.qty))
                    found[symbol] = price, qty
            except (MalformedFrame, ValueError, msgspec.MsgspecError):
                pass
        return {symbol: found.get(symbol, (8, 8)) for symbol in self.symbols}


class _Trade(msgspec.Struct):
    price: Union[str, int]
    qty: Union[str, int]


class _Trades(msgspec.Struct):
    data: Tuple[_Trade, ...] = ()


_decode_trades = msgspec.json.Decoder(_Trades, float_hook=str).decode
