"""Sends what is due on a connection: subscriptions, pings, renewals, and the answers to protocol pings."""

from __future__ import annotations

import time
from functools import partial

from ...errors import ConnectionLost
from ..transport import Transport
from .room import Room


class Outbox:
    """What one connection has to say on its own account. Any thread.

    Args:
        room: the connection's shared state.
    """

    def __init__(self, room: Room) -> None:
        self._room = room

    def send_due(self) -> None:
        """Send everything that is due, unless another thread is sending: then the next visit does."""
        transport = self._room.transport
        if transport is not None:
            transport.exclusively(0.0, partial(self._send_due, transport))

    def _send_due(self, transport: Transport) -> None:
        room = self._room
        timeout = room.timing.send_timeout
        try:
            transport.send_pong(timeout)
            while True:
                with room.lock:
                    if room.transport is not transport:
                        return
                    now = time.monotonic()
                    frames = room.session.due(now, transport.byte_at, transport.message_at)
                if not frames:
                    return
                for frame in frames:
                    transport.send(frame, timeout)
        except ConnectionLost:
            return  # condemned; the I/O thread notices, and everything wanted is asked for again
