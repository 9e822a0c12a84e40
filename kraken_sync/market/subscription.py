"""The streams that ``subscribe()`` and its shorthands return."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType
from typing import Any, Deque, Dict, Generic, List, Optional, Type, TypeVar

from ..core.session import feed_views
from ..core.wire.channels import ChannelParams
from ..io.connection.connection import Connection
from ..io.streams import Decode, Stream
from ..io.walltime import wall_text

Self = TypeVar("Self", bound="Subscription")


class Subscription(Stream):
    """A stream of the frames of a subscription, as dicts, from the acknowledgement on.

    Iterate over it, or call :meth:`get`. The buffer is bounded: where frames were dropped because the reader
    was too slow, the stream has a gap frame (``"type": "gap"``). After every reconnect there is one, too,
    that tells the time in which messages are missing. Any thread may read; each frame goes to one reader.
    Frames are buffered only while the stream is referenced. The stream ends when it is unsubscribed or the
    client is closed.

    Attributes:
        dropped: the number of frames dropped so far because they were not read in time.
        gaps: the gaps so far, as a list of dicts.
    """

    def __init__(
        self,
        owner: object,
        connection: Connection,
        wanted: ChannelParams,
        decode: Decode,
        maxlen: int,
        policy: str,
    ) -> None:
        keys = wanted.keys()
        symbols = ", ".join(wanted.symbols or ())
        """The symbols, as the exchange spells them; empty for a channel without symbols."""
        super().__init__(f"{wanted.channel.name} {symbols:.80}".strip(), decode, maxlen, policy, keys)
        self._owner = owner  # a reference, so that the client's threads go on while its stream is read
        self._connection = connection
        self._wanted = wanted
        self.holder: object = None
        """What holds the subscription when the stream has been dropped without unsubscribing, or None."""

    @property
    def channel(self) -> str:
        """The channel's name."""
        return self._wanted.channel.name

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, as the exchange spells them; empty for a channel without symbols."""
        return self._wanted.symbols or ()

    def open_gaps(self) -> List[Dict[str, Any]]:
        """Return what is missing from this stream at this moment and is not over yet, as dicts like those of
        :attr:`gaps`, with ``until`` None. Does not block.
        """
        found = self._connection.read(lambda session: feed_views.open_gaps(session, self.keys))
        return [
            {
                "channel": gap.key.channel,
                "symbol": gap.key.symbol,
                "reason": gap.reason,
                "since": wall_text(gap.since),
                "until": None,
                "dropped": 0,
            }
            for gap in found
        ]

    def _why(self) -> str:
        silent = self._connection.read(
            lambda session: feed_views.silence(session, self.keys, time.monotonic())
        )
        return f" ({silent})"

    @property
    def _state(self) -> str:
        return "interrupted" if not self.ended and self.open_gaps() else super()._state

    def unsubscribe(self) -> None:
        """End this stream, and the exchange's subscription if nothing else uses it. Any thread; does not
        block.
        """
        self.end()
        self._connection.subscriptions.release(self._wanted.keys(), self, self.holder)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.unsubscribe()


Item = TypeVar("Item")


class ItemStream(Subscription, Generic[Item]):
    """A :class:`Subscription` that yields the items of ``data`` one by one.

    Gap frames are yielded only if that was asked for; ``gaps`` has them in any case.
    """

    def __init__(self, *args: Any, gaps: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._with_gaps = gaps
        self._items: Deque[Any] = deque()

    def __iter__(self) -> ItemStream[Item]:
        return self

    def __next__(self) -> Item:
        item: Item = super().__next__()
        return item

    def get(self, timeout: Optional[float] = None) -> Item:
        """Return the next item. Blocks and raises as ``get()`` of any stream does."""
        item: Item = super().get(timeout)
        return item

    def _read(self, deadline: Optional[float]) -> Any:
        while True:
            try:
                return self._items.popleft()
            except IndexError:
                pass
            message = super()._read(deadline)
            data = message.get("data")
            if message.get("type") == "gap":
                if self._with_gaps:
                    return message
            elif isinstance(data, dict):  # instrument: an object with the lists assets and pairs
                self._items.extend(data.get("pairs", ()))
            else:
                self._items.extend(data or ())
