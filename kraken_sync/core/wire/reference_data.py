"""The table that the messages of the ``instrument`` channel make up: a snapshot, and updates with changes.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/instrument.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List

import msgspec

from .messages import FAULTS

Row = Dict[str, msgspec.Raw]
Rows = Dict[bytes, Row]


class _Table(msgspec.Struct):
    assets: List[Row] = []
    pairs: List[Row] = []


class _Message(msgspec.Struct):
    type: str
    data: _Table
    timestamp: msgspec.Raw = msgspec.Raw()


class ReferenceData:
    """Assets and pairs as they are after some messages. Its size does not depend on how many there were."""

    def __init__(self) -> None:
        self.whole = False
        """Whether there was a snapshot, so that it has all of them."""
        self._assets: Rows = {}
        self._pairs: Rows = {}
        self._timestamp = msgspec.Raw()

    def take(self, frame: bytes) -> None:
        """Take the next message. If it is none, raises one of :data:`.messages.FAULTS`; nothing changes."""
        message = _decode(frame)
        assets, pairs = _named("id", message.data.assets), _named("symbol", message.data.pairs)
        if message.type == "snapshot":
            self.whole, self._assets, self._pairs = True, {}, {}
        for known, changed in ((self._assets, assets), (self._pairs, pairs)):
            for name, row in changed.items():
                known[name] = {**known.get(name, {}), **row}
        self._timestamp = message.timestamp

    def frame(self) -> bytes:
        """Return one message that has the effect of all."""
        message: Dict[str, Any] = {
            "channel": "instrument",
            "type": "snapshot" if self.whole else "update",
            "data": {"assets": list(self._assets.values()), "pairs": list(self._pairs.values())},
        }
        if self._timestamp:
            message["timestamp"] = self._timestamp
        return msgspec.json.encode(message)


def merged(frames: Iterable[bytes]) -> bytes:
    """Return one message of the channel that has the effect of all; what cannot be read is left out."""
    table = ReferenceData()
    for frame in frames:
        try:
            table.take(frame)
        except FAULTS:
            pass  # readers of the channel were given it, and it says nothing to them either
    return table.frame()


def _named(word: str, rows: List[Row]) -> Rows:
    if not all(word in row for row in rows):
        raise ValueError(f"an item without {word!r}")
    return {bytes(row[word]): row for row in rows}


_decode = msgspec.json.Decoder(_Message).decode
