"""Recordings as an exchange: yesterday's data for clients of today."""

from __future__ import annotations

from .replay import Replay

__all__ = ["Replay"]
