"""A local Kraken: WebSocket v2 and REST, public and private, over a seeded market that looks alive.

It shares no code with the client, so that a mistake in one cannot hide in the other. Use it to try things
and to test your own programs; :class:`Simulator` has switches for every fault worth testing.
"""

from .server import Simulator

__all__ = ["Simulator"]
