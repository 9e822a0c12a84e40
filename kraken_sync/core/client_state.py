"""What a client is doing, in the words of python-kraken-sdk."""

from __future__ import annotations

import enum


class WSState(str, enum.Enum):
    """The states of a client, with the names that python-kraken-sdk uses.

    CANCELLING and ERRORHANDLING exist for compatibility; this client is never in them.
    """

    INIT = "INIT"
    CONNECTING = "CONNECTING"
    CONNECTED = "CONNECTED"
    RECONNECTING = "RECONNECTING"
    CANCELLING = "CANCELLING"
    ERRORHANDLING = "ERRORHANDLING"
    ERROR = "ERROR"
    CLOSED = "CLOSED"

    __str__ = str.__str__
