"""A request that the simulated exchange refuses."""

from __future__ import annotations


class Refusal(Exception):
    """An error in the exchange's own words."""
