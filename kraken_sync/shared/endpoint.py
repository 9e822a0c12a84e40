"""Where a shared feed is, in the role of a WebSocket endpoint."""

from __future__ import annotations

from typing import Any, Dict

from ..io.dial import Endpoint
from .server import place_of


class RedisEndpoint(Endpoint):
    """A feed in Redis, in the role of a host of the exchange."""

    limited = False
    """Redis has no limit for attempts to connect."""

    def __init__(self, url: str, name: str) -> None:
        """Parse the URL. Raises ValueError if it is not one of Redis."""
        self.proxy, self.asset_class, self.secure = None, None, False
        self.url = url
        self.name = name
        self.host, self.port = place_of(url)
        self.offers: Dict[str, Dict[str, Any]] = {}
        """What is published, as it was last read; see :func:`.layout.offers_of`."""

    @property
    def place(self) -> str:
        """Where it is, without login."""
        return (
            f"redis://{self.host}:{self.port} ({self.name})"
            if self.port
            else f"unix://{self.host} ({self.name})"
        )

    @property
    def way(self) -> str:
        """The same, for errors."""
        return str(self)

    def __str__(self) -> str:
        return f"Redis at {self.host}:{self.port}" if self.port else f"Redis at {self.host}"
