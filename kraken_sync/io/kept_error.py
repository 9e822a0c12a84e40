"""Raising an error that was kept: what ended a connection or a stream is told to everybody who asks."""

from __future__ import annotations

import copy

from ..errors import KrakenError


def fresh_copy(error: KrakenError) -> KrakenError:
    """A copy to raise, so that no caller's frames pile up in the traceback of the kept error."""
    return copy.copy(error).with_traceback(None)
