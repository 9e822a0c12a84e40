"""What ``subscribe()`` and its shorthands return: a stream to iterate."""

from __future__ import annotations

import logging
from collections import deque
from types import TracebackType
from typing import Any, Deque, Optional, Type

from ..core.wire.channels import ChannelParams
from ..io.connection.connection import Connection
from ..io.streams import Decode, Stream
from ..io.waiting import deadline_of, time_left

log = logging.getLogger("kraken_sync")


class Subscription(Stream):
    """The frames of a subscription, as dicts, from the acknowledgement on.

    Iterate it, or call :meth:`get`. It is bounded: a reader that is too slow finds a gap frame
    (``"type": "gap"``) where frames were dropped, and after every reconnect one that says what is missing
    from when to when. Any thread may read; each frame goes to one reader. It buffers only while somebody
    holds it, and it ends when it is unsubscribed or the client is closed.

    Attributes:
        dropped: frames lost so far because they were not read in time.
        gaps: what was missing so far, as a list of dicts.
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
        super().__init__(f"{wanted.channel.name} {symbols:.80}".strip(), decode, maxlen, policy, keys)
        self._owner = owner  # what the client runs on goes on while its stream is read
        self._connection = connection
        self._wanted = wanted
        self.holder: object = None
        """What holds the subscription when this stream was dropped without unsubscribing."""

    @property
    def channel(self) -> str:
        """The channel's name."""
        return self._wanted.channel.name

    @property
    def symbols(self) -> tuple[str, ...]:
        """The symbols, as the exchange spells them; empty for a channel without symbols."""
        return self._wanted.symbols or ()

    def unsubscribe(self) -> None:
        """End this stream, and the exchange's subscription if nobody else uses it. Does not block."""
        self.end()
        self._connection.subscriptions.release(self._wanted.keys(), self, self.holder)

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.unsubscribe()


class ItemStream(Subscription):
    """As a :class:`Subscription`, but yields the items of ``data`` one by one.

    Gap frames are kept out of the loop (see ``gaps``) unless asked for.
    """

    def __init__(self, *args: Any, gaps: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._with_gaps = gaps
        self._items: Deque[Any] = deque()

    def get(self, timeout: Optional[float] = None) -> Any:
        """The next item. Blocks and raises as :meth:`Subscription.get`."""
        deadline = deadline_of(timeout)
        while True:
            try:
                return self._items.popleft()
            except IndexError:
                pass
            message = super().get(time_left(deadline))
            data = message.get("data")
            if message.get("type") == "gap":
                if self._with_gaps:
                    return message
            elif isinstance(data, dict):  # instrument: an object of two lists
                self._items.extend(data.get("pairs", ()))
            else:
                self._items.extend(data or ())
