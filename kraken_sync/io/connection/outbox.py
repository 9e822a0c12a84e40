"""Sends what is due on a connection: subscriptions, pings, renewals, and replies to protocol pings."""

from __future__ import annotations

import time
from functools import partial

from ...errors import ConnectionLost
from ..transport import Transport
from .room import Room


class Outbox:
    """Sends what one connection has to send without being asked by a caller. Any thread may use it.

    Args:
        room: the connection's shared state.
    """

    def __init__(self, room: Room) -> None:
        self._room = room

    def send_due(self) -> None:
        """Send everything that is due. If another thread is sending, the watchdog's next visit does it."""
        # A timeout of 0: the watchdog serves all connections and must not wait for one slow peer.
        transport = self._room.transport
        if transport is not None:
            transport.exclusively(0.0, partial(self._send_due, transport))

    def _send_due(self, transport: Transport) -> None:
        room = self._room
        timeout = room.timing.send_timeout
        try:
            # WebSocket pings are answered here and not by the reading thread, which must never block on a
            # send. RFC 6455, section 5.5.3, allows to answer only the latest.
            transport.send_pong(timeout)
            while True:
                with room.lock:
                    # due() marks what it returns as sent, which must not happen for a connection that has
                    # been replaced since this thread took the send lock.
                    if room.transport is not transport:
                        return
                    now = time.monotonic()
                    frames = room.session.due(now, transport.byte_at, transport.message_at)
                if not frames:
                    return
                for frame in frames:  # with the lock released, since sending may block
                    transport.send(frame, timeout)
        except ConnectionLost:
            return  # send() has ended the connection; after the reconnect everything is due again
