"""The verified level-2 books of a recording, while it is read."""

from __future__ import annotations

from typing import Dict, Optional

import msgspec

from ..core.book.book import Book, smallest_depth
from ..core.wire import messages
from ..core.wire.channels import DEPTHS
from ..core.wire.messages import MalformedFrame
from ..core.wire.record_lines import UNREADABLE


class Mismatch(ValueError):
    """A message does not verify, or cannot be read; the book is unknown until its next snapshot."""


class Books:
    """The books by symbol. Messages are taken in their order."""

    def __init__(self) -> None:
        self._books: Dict[str, Book] = {}
        self._depths: Dict[str, int] = {}

    def acknowledged(self, frame: bytes) -> None:
        """Take the depth from the reply to a subscription; no effect with any other message."""
        if b'"subscribe"' not in frame[:400]:
            return
        try:
            message = msgspec.json.decode(frame)
            result = message.get("result") if message.get("success") is True else None
        except (*UNREADABLE, AttributeError):
            return
        if isinstance(result, dict) and result.get("channel") == "book":
            depth, symbol = result.get("depth"), result.get("symbol")
            if depth in DEPTHS and isinstance(symbol, str):
                self._depths[symbol] = depth

    def take(self, symbol: str, snapshot: bool, frame: bytes) -> Optional[Book]:
        """Apply a message, and return the book; None if it is not known, since there was no snapshot.

        Raises:
            Mismatch: the result does not verify.
        """
        try:
            data = messages.decode_book(frame).data[0]
            if snapshot:
                depth = self._depths.get(symbol) or smallest_depth((data.asks, data.bids), DEPTHS)
                self._books[symbol] = Book(symbol, depth)
            book = self._books.get(symbol)
            if book is not None and not book.apply(data, snapshot):
                raise ValueError("the checksum does not match")
        except (MalformedFrame, ValueError, IndexError) as error:
            self._books.pop(symbol, None)
            raise Mismatch(str(error)) from error
        return book

    def lose(self) -> None:
        """Something is missing: no book is known until its next snapshot."""
        self._books.clear()
