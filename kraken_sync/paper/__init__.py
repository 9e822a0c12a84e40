"""Paper trading: real prices, a simulated account."""

from __future__ import annotations

from .client import PaperClient

__all__ = ["PaperClient"]
