"""Requests that wait for their replies, and the ids of everything that is asked."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional

from ..wire.error_texts import ABOUT_ONE_ORDER
from ..wire.messages import Envelope

FIRST_REQ_ID = 1 << 30
"""Our own request ids start here, far from those that people choose, and stay within 32 bits."""


class Reply(NamedTuple):
    """One reply to a request."""

    frame: bytes
    envelope: Envelope


class Request:
    """A request in flight; done when it has all its replies, or when ``lost`` is set."""

    def __init__(self, method: str, replies: int = 1) -> None:
        self.method = method
        self.req_id = 0
        self.expected = replies
        """How many replies there will be."""
        self.replies: List[Reply] = []
        self.refused = False
        """The request was refused as a whole, so that no further replies come."""
        self.lost: Optional[str] = None
        """Why no reply can come any more."""
        self.sent = False
        """Whether any part of it may have left."""
        self.sent_at = 0.0
        """When (monotonic)."""
        self.abandoned = False
        """Nobody waits for it any more, but what it did is still of interest."""

    @property
    def complete(self) -> bool:
        """Whether every reply has come."""
        return self.refused or len(self.replies) >= self.expected

    @property
    def done(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.complete or self.lost is not None


class InFlight:
    """The requests in flight, by id.

    Args:
        asked: tells whether a subscription has an id in use.
    """

    def __init__(self, asked: Callable[[int], bool]) -> None:
        self._requests: Dict[int, Request] = {}
        self._asked = asked
        self._next = FIRST_REQ_ID

    def new_id(self) -> int:
        """An id that nothing in flight has. (No generator: an interrupt inside one would end it for good.)"""
        while True:
            req_id = self._next
            self._next = req_id + 1 if req_id < 2**31 - 1 else FIRST_REQ_ID
            if req_id not in self._requests and not self._asked(req_id):
                return req_id

    def check_free(self, req_id: Optional[int]) -> None:
        """Raise TypeError or ValueError if somebody's own ``req_id`` cannot be used."""
        if req_id is None:
            return
        if isinstance(req_id, bool) or not isinstance(req_id, int):
            raise TypeError(f"req_id must be an int, not {req_id!r:.80}")
        if req_id in self._requests or self._asked(req_id):
            raise ValueError(f"req_id {req_id} is in use by a request that has no answer yet")

    def add(self, request: Request, req_id: Optional[int], now: float) -> None:
        """Expect replies to a request that is about to be sent; it gets its id."""
        self.check_free(req_id)
        request.req_id = req_id if req_id is not None else self.new_id()
        request.sent_at = now
        self._requests[request.req_id] = request

    def drop(self, request: Request) -> None:
        """Nobody waits for ``request`` any more; a reply that still comes counts as late."""
        self._requests.pop(request.req_id, None)

    def find(self, req_id: Any) -> Optional[Request]:
        """The request with this id, whatever a peer sent as one."""
        return self._requests.get(req_id) if isinstance(req_id, int) else None

    def take(self, request: Request, reply: Reply, error: str) -> None:
        """One of its replies has come."""
        if not request.replies and not request.abandoned:
            request.refused = bool(error) and not error.startswith(ABOUT_ONE_ORDER)
        request.replies.append(reply)
        if request.complete:
            self.drop(request)

    def lost(self, reason: str) -> None:
        """The connection is gone: no replies come any more."""
        for request in self._requests.values():
            request.lost = reason
        self._requests.clear()
