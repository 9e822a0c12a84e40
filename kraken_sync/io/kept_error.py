"""Raising an error that is kept: what ended a connection or stream is raised to every later caller."""

from __future__ import annotations

import copy

from ..errors import KrakenError


def fresh_copy(error: KrakenError) -> KrakenError:
    """Return a copy to raise, so that the kept error's traceback does not collect the callers' frames."""
    return copy.copy(error).with_traceback(None)
