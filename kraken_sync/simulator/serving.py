"""A WebSocket server and the REST server beside it: started and stopped together, and their addresses."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Protocol

from .rest import RestServer


class SocketServer(Protocol):
    """Serves WebSocket connections."""

    port: int

    def start(self) -> None:
        """Start serving; raises OSError if the port is taken."""

    def stop(self, *arguments: Any) -> None:
        """Stop serving."""


class Serving:
    """Both servers of one exchange.

    Args:
        sockets: the WebSocket server.
        host: where both listen.
        rest_port: where REST is; 0 for any free port, and after that the same one again.
        rest: makes the REST server for a port.
        secure: whether the WebSocket server serves ``wss``.
    """

    def __init__(
        self,
        sockets: SocketServer,
        host: str,
        rest_port: int,
        rest: Callable[[int], RestServer],
        secure: bool = False,
    ) -> None:
        self._sockets = sockets
        self._host = host
        self._rest_port = rest_port
        self._make_rest = rest
        self._scheme = "wss" if secure else "ws"
        self._rest: Optional[RestServer] = None

    def start(self) -> None:
        """Start both, or none; raises OSError if a port is taken, OverflowError if there is no such port."""
        self._sockets.start()
        try:
            self._rest = self._make_rest(self._rest_port)
        except BaseException:
            self._sockets.stop()
            raise
        self._rest_port = self._rest.port

    def stop(self, *arguments: Any) -> None:
        """Stop both; the arguments are those of the WebSocket server's ``stop()``."""
        self.stop_rest()
        self._sockets.stop(*arguments)

    def stop_rest(self) -> None:
        """Stop the REST server alone."""
        rest, self._rest = self._rest, None
        if rest is not None:
            rest.stop()

    @property
    def ws_url(self) -> str:
        """Public market data."""
        return f"{self._scheme}://{self._host}:{self._sockets.port}"

    @property
    def auth_ws_url(self) -> str:
        """Private data and trading."""
        return f"{self.ws_url}/auth"

    @property
    def level3_ws_url(self) -> str:
        """The level3 channel."""
        return f"{self.ws_url}/l3"

    @property
    def rest_url(self) -> str:
        """The REST API."""
        return f"http://{self._host}:{self._rest_port}"

    def options(self, key: str, secret: str) -> Dict[str, str]:
        """Return the arguments of a client that is to use these servers for everything."""
        return {
            "key": key,
            "secret": secret,
            "ws_url": self.ws_url,
            "auth_ws_url": self.auth_ws_url,
            "level3_ws_url": self.level3_ws_url,
            "rest_url": self.rest_url,
        }
