"""The verified level-2 books of a recording, while it is read."""

from __future__ import annotations

from typing import Dict, Optional, Union

from ..core.book.book import Book, smallest_depth
from ..core.wire import messages
from ..core.wire.channels import DEPTHS, ORDER_DEPTHS
from ..core.wire.messages import BookData, Level3Data, MalformedFrame
from .routing import Acknowledged


def guessed_depth(data: Union[BookData, Level3Data]) -> int:
    """Return the smallest depth that holds a snapshot of ``book`` or ``level3``, for lack of a reply."""
    if isinstance(data, Level3Data):
        prices = [{str(order.limit_price) for order in side} for side in (data.asks, data.bids)]
        return smallest_depth(prices, ORDER_DEPTHS)
    return smallest_depth((data.asks, data.bids), DEPTHS)


class NotVerified(ValueError):
    """A message does not verify, or cannot be read; the book is unknown until its next snapshot."""


class Books:
    """The books by symbol. Messages are taken in their order."""

    def __init__(self) -> None:
        self._books: Dict[str, Book] = {}
        self._depths: Dict[str, int] = {}

    def acknowledged(self, reply: Acknowledged) -> None:
        """Take the depth of a book from the reply to its subscription."""
        if reply.method == "subscribe" and reply.key.channel == "book" and reply.depth in DEPTHS:
            self._depths[reply.key.symbol or ""] = reply.depth

    def take(self, symbol: str, snapshot: bool, frame: bytes) -> Optional[Book]:
        """Apply a message, and return the book; None if it is not known, since there was no snapshot.

        Raises:
            NotVerified: the result does not verify.
        """
        try:
            data = messages.decode_book(frame).data[0]
            if snapshot:
                self._books[symbol] = Book(symbol, self._depths.get(symbol) or guessed_depth(data))
            book = self._books.get(symbol)
            if book is not None and not book.apply(data, snapshot):
                raise ValueError("the checksum does not match")
        except (MalformedFrame, ValueError, IndexError) as error:
            self._books.pop(symbol, None)
            raise NotVerified(str(error)) from error
        return book

    def lose(self) -> None:
        """Something is missing: no book is known until its next snapshot."""
        self._books.clear()
