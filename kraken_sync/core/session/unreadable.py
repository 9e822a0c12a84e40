"""Which subscriptions a frame that cannot be read may belong to.

Such a frame may have been anything, so it is a gap in the subscriptions that it names, and in all of them if
it names none. Nothing else in it is trusted.
"""

from __future__ import annotations

import re
from typing import Iterable, List, Optional

from ..wire.channels import AUTOMATIC, CHANNELS, Key, nearest

_CHANNEL = re.compile(rb'"channel"\s*:\s*"([^"\\]{1,40})"')
_SYMBOL = re.compile(rb'"symbol"\s*:\s*"([^"\\]{1,60})"')
_REPLY = re.compile(rb'\s*\{\s*"method"\s*:')


def concerned(frame: bytes, wanted: Iterable[Key]) -> Optional[List[Key]]:
    """Return the subscriptions to which an unreadable frame may belong; None if it names none.

    >>> keys = [Key("book", "BTC/USD"), Key("book", "ETH/USD"), Key("trade", "BTC/USD")]
    >>> concerned(b'{"channel":"book","data":[{"symbol":"BTC/USD","bids":[{"price":1.', keys)
    [Key(channel='book', symbol='BTC/USD', interval=None)]
    >>> len(concerned(b'{"channel":"book","data":[{"sym', keys)), concerned(b"<html>", keys)
    (2, None)
    """
    if _REPLY.match(frame):
        return []  # a reply: whoever waits for it is told that it did not come
    found = _CHANNEL.search(frame)
    channel = found[1].decode("ascii", "replace") if found else None
    if channel in AUTOMATIC:
        return []
    keys = list(wanted)
    of_channel = [key for key in keys if key.channel == channel]
    if channel is None or not (of_channel or channel in CHANNELS):
        return None
    symbols = {symbol.decode("utf-8", "replace") for symbol in _SYMBOL.findall(frame)}
    named = [key for key in of_channel if key.symbol is None or key.symbol in symbols]
    return named or of_channel  # symbols that nobody wants may be those that were garbled


def garbled_channel(channel: str, wanted: Iterable[Key]) -> bool:
    """Return whether an unknown channel's name looks garbled rather than new.

    >>> garbled_channel("bopk", [Key("book", "BTC/USD")]), garbled_channel("announcements", [])
    (True, False)
    """
    known = {*CHANNELS, *AUTOMATIC, *(key.channel for key in wanted)}
    return channel not in known and bool(nearest(channel, known, 1))
