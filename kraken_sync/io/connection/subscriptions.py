"""The blocking calls that subscribe and unsubscribe on one connection.

They write what is wanted into the session, and the watchdog's thread sends it; so a subscription that is made
while the connection is down is sent after the reconnect, within the caller's deadline.
"""

from __future__ import annotations

import time
from itertools import chain
from typing import Any, Callable, Optional, Sequence

from ...core.session.entry import PendingAck
from ...core.wire.channels import ChannelParams, Key
from ...core.wire.credentials import permission_for
from ...core.wire.error_texts import PERMISSION_DENIED
from ...errors import KrakenError, PermissionRefused, ReplyTimeout, SubscriptionRefused
from ..logs import log
from ..streams import Stream
from .room import Room

FRAMES, BOOK, TABLE, LOOKUP = "frames", "book", "table", "lookup"
"""The kinds of subscriptions: for streams, books, tables of the account, and for reading one snapshot."""


class SubscriptionCalls:
    """``connection.subscriptions``: subscribes, unsubscribes, and keeps the holders. Any thread may use it.

    Args:
        room: the connection's shared state.
        wait: :meth:`.connection.Connection.wait`.
        check_usable: :meth:`.connection.Connection.check_usable`.
        wake: makes the watchdog send what is due soon; does not block.
    """

    def __init__(
        self,
        room: Room,
        wait: Callable[..., Any],
        check_usable: Callable[[], None],
        wake: Callable[[], None],
    ) -> None:
        self._room = room
        self._wait = wait
        self._check_usable = check_usable
        self._wake = wake

    def subscribe(
        self,
        wanted: ChannelParams,
        deadline: Optional[float],
        *,
        stream: Optional[Stream] = None,
        holder: object = None,
        kind: str = FRAMES,
        req_id: Optional[int] = None,
    ) -> PendingAck:
        """Subscribe, and wait until the exchange has replied for every symbol. If one fails, nothing changes.

        Args:
            wanted: the checked parameters.
            deadline: monotonic seconds, None to wait for ever.
            stream: gets the frames, if given.
            holder: an object of the caller's that holds the subscription until :meth:`release` is called
                with it.
            kind: what the subscription is for.
            req_id: the id of the request, chosen if None.

        Raises:
            SubscriptionRefused: names each refused symbol; what was added is undone.
            PermissionRefused: the API key may not see this channel.
            ReplyTimeout: there was no reply in time; what was added is undone.
        """
        keys, room = wanted.keys(), self._room
        with room.lock:
            self._check_usable()  # under the lock, or a close in between would leave a waiter behind
            subscriptions, holders = room.session.subscriptions, room.holders
            # Subscribed, but held by nobody any more, since their streams were dropped without unsubscribing:
            # if this call fails, they go on as before.
            spare = subscriptions.unheld(keys, holders.any)
            if kind == BOOK:
                pending = subscriptions.subscribe_book(wanted)
            elif kind == TABLE:
                pending = subscriptions.subscribe_table(wanted)
            else:
                pending = subscriptions.subscribe(wanted, req_id, raw=kind == FRAMES)
            if not pending.refused:
                # Under the same lock as the subscription: no frame may come between what a further stream
                # starts with and the first one that is delivered to it.
                if stream is not None:
                    frames = [frame for key in keys for frame in subscriptions.primer(key, wanted)]
                    stream.prime(dict.fromkeys(frames))
                for key in keys:
                    holders.add(key, stream, holder)
                    subscriptions.limit_age(key, holders.max_age(key))
        # A conflict inside the client, such as another trigger of one ticker: nothing was sent.
        if pending.refused:
            raise self._refused(wanted, pending, req_id)
        try:
            self._wait_for(pending, deadline, f"subscribe to {wanted.channel.name}")
            if pending.refused:
                raise self._refused(wanted, pending, req_id)
        except BaseException:  # also a Ctrl-C: the caller has no stream with which to undo it
            self._abandon(pending)
            self.release(keys, stream, holder, spare=spare)
            raise
        log.debug("%s: subscribed to %s", room.endpoint, ", ".join(map(str, keys)))
        return pending

    def _refused(self, wanted: ChannelParams, pending: PendingAck, req_id: Optional[int]) -> KrakenError:
        channel = wanted.channel
        error = SubscriptionRefused(channel.name, pending.refused, req_id=req_id)
        if channel.private and error.error.startswith(PERMISSION_DENIED):
            permission = permission_for(channel.name)
            return PermissionRefused(f"subscribe to {channel.name}", error.error, permission, req_id=req_id)
        return error

    def unsubscribe(
        self, wanted: ChannelParams, deadline: Optional[float], req_id: Optional[int] = None
    ) -> PendingAck:
        """End subscriptions for all holders, and wait until the exchange has confirmed it.

        Raises:
            SubscriptionRefused: one of them is not subscribed; nothing was changed.
            ReplyTimeout: the exchange did not confirm in time; they have ended here all the same.
        """
        keys, room, name = wanted.keys(), self._room, wanted.channel.name
        with room.lock:
            self._check_usable()
            pending = room.session.subscriptions.unsubscribe(keys, req_id)
            ended = [] if pending.refused else list(chain.from_iterable(map(room.holders.forget, keys)))
            room.lock.notify_all()  # books have become CLOSED, which their waiting readers must see
        if pending.refused:
            raise SubscriptionRefused(name, pending.refused, method="unsubscribe", req_id=req_id)
        # Before waiting for the exchange: data that still arrive belong to nobody any more.
        for key in keys:
            for stream in ended:
                stream.end(None, key)
        self._wait_for(pending, deadline, f"unsubscribe from {name}")
        log.debug("%s: unsubscribed from %s", room.endpoint, ", ".join(map(str, keys)))
        return pending

    def release(
        self, keys: Sequence[Key], stream: Optional[Stream], holder: object, spare: Sequence[Key] = ()
    ) -> None:
        """Note that a stream and ``holder`` (either may be None) hold ``keys`` no more. Does not block.

        What nobody holds any more is unsubscribed, except for ``spare``.
        """
        room = self._room
        if room.closed:
            return  # everything has ended already
        with room.lock:
            for key in keys:
                held = room.holders.drop(key, stream, holder) or key in spare
                # A book and a stream may share one subscription; without the stream, another depth is
                # allowed again.
                frames = room.holders.wants_frames(key)
                room.session.subscriptions.release(key, held=held, frames=frames)
                room.session.subscriptions.limit_age(key, room.holders.max_age(key))
            room.lock.notify_all()
        self._wake()
        log.debug("%s: released %s", room.endpoint, ", ".join(map(str, keys)))

    def keep(self, wanted: ChannelParams) -> None:
        """Subscribe to one of the account's tables until the connection is closed. Does not block."""
        room = self._room
        with room.lock:
            if not room.session.subscriptions.subscribe_table(wanted).refused:
                # A holder that nothing refers to can never be released.
                room.holders.add(wanted.keys()[0], None, object())
        self._wake()

    def _abandon(self, pending: PendingAck) -> None:
        with self._room.lock:
            self._room.session.subscriptions.abandon(pending)

    def _wait_for(self, pending: PendingAck, deadline: Optional[float], what: str) -> None:
        started, room = time.monotonic(), self._room
        self._wake()
        if self._wait(lambda session: pending.done, deadline):
            return
        # A reply that arrives after this must not change ``pending``, of which the error text is made.
        self._abandon(pending)
        missing = ", ".join(sorted(key.symbol for key in pending.waiting if key.symbol))
        trouble, refused = room.trouble, dict(pending.refused)
        waited = time.monotonic() - started
        text = f"no answer to {what}{f' for {missing}' if missing else ''} within {waited:.1f} s"
        if refused:
            text += f"; refused: {refused}"
        if pending.trouble:
            text += f"; the exchange said {pending.trouble!r}, so it was asked again more slowly"
        elif trouble is not None:
            text += f"; there is no connection ({trouble})"
        raise ReplyTimeout(text, waited=waited) from trouble
