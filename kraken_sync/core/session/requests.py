"""Requests that wait for their replies, and the ids of all requests."""

from __future__ import annotations

from typing import (
    Any,
    Callable,
    Dict,
    FrozenSet,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
    Set,
    Tuple,
    Union,
)

from ..orders.params import ADDING
from ..wire.announcements import Announcement
from ..wire.error_texts import ABOUT_ONE_ORDER
from ..wire.messages import Envelope, error_text
from ..wire.times import time_text

FIRST_REQ_ID, LAST_REQ_ID = 1 << 30, (1 << 31) - 1
"""The range of the library's own request ids: far from the small numbers that callers choose, and within 32
bits."""


class Reply(NamedTuple):
    """One reply to a request."""

    frame: bytes
    envelope: Envelope

    @property
    def error(self) -> Optional[str]:
        """The error in the exchange's words; None if the reply is a success."""
        if self.envelope.error is not None:
            return error_text(self.envelope.error)
        return "no reason given" if self.envelope.success is False else None

    @property
    def unclear(self) -> bool:
        """Whether it says neither that the request succeeded nor that it failed, and has no result."""
        nothing = bytes(self.envelope.result) in (b"", b"null", b"{}")
        return not isinstance(self.envelope.success, bool) and self.error is None and nothing


class Request:
    """One request, from the call that makes it to its replies.

    Args:
        method: the exchange's name of the method, such as ``ping`` or ``add_order``.
        message: what is sent beside ``method`` and ``req_id``.
        replies: how many replies to expect.
        deadline: until when its caller waits (monotonic seconds); None to wait for ever.
        own_id: the caller's own ``req_id``, or None.
    """

    def __init__(
        self,
        method: str,
        message: Optional[Mapping[str, Any]] = None,
        replies: int = 1,
        *,
        deadline: Optional[float] = None,
        own_id: Optional[int] = None,
    ) -> None:
        self.method = method
        self.message = message or {}
        self.deadline = deadline
        self.own_id = own_id
        self.req_id = 0
        self.expected = replies
        self.replies: List[Reply] = []
        self.refused = False
        """Whether the request was refused as a whole, so that no further replies come."""
        self.lost: Optional[str] = None
        """Why no reply can come any more."""
        self.sent = False
        """Whether any byte of it may have been sent. Only the send itself sets this."""
        self.sent_at = 0.0
        """When it was sent (monotonic seconds)."""
        self.abandoned = False
        """Whether its caller has given up; what the request did is still of interest."""

    @property
    def complete(self) -> bool:
        """Whether every reply has arrived."""
        return self.refused or len(self.replies) >= self.expected

    @property
    def done(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.complete or self.lost is not None

    @property
    def refusal(self) -> Optional[str]:
        """The exchange's reason if the request as a whole was refused, else None."""
        if self.expected == 1 or self.refused:
            return self.replies[0].error if self.replies else None
        return None


class TradingRequest(Request):
    """A request for the exchange's trading engine, with what was known when it was sent.

    Args:
        method: the exchange's name of the method, such as ``add_order``.
        params: the parameters as they are sent, without the token.
        replies, deadline, own_id: see :class:`Request`.
        engine_deadline: seconds after which the engine must refuse the request, counted from sending by the
            exchange's clock; None to leave ``params`` unchanged.
        gated: whether the request is held back while the exchange would not take it; see
            :meth:`Session.why_not`.
        placed: the orders that exist once the request is acknowledged, each as its parameters.
        confirmed: tells, given the session, whether the effect can be seen although the reply is missing.
        via: ``rest`` or ``websocket`` if the caller wants this way, else None.
        our_time: when the request was made, by this machine's clock (seconds since the epoch).
    """

    def __init__(
        self,
        method: str,
        params: Mapping[str, Any],
        replies: int = 1,
        *,
        deadline: Optional[float],
        own_id: Optional[int] = None,
        engine_deadline: Optional[float] = None,
        gated: bool = True,
        placed: Sequence[Mapping[str, Any]] = (),
        confirmed: Optional[Callable[[Any], bool]] = None,
        via: Optional[str] = None,
        our_time: float,
    ) -> None:
        super().__init__(method, {"params": params}, replies, deadline=deadline, own_id=own_id)
        self.params = params
        self.engine_deadline = engine_deadline
        self.gated = gated
        self.placed = placed
        self.confirmed = confirmed
        self.via = via
        self.heeds_announcements = True
        """Whether it is held back when the exchange announces a maintenance and advises against orders."""
        self.order_type = "limit"
        """The type of the order that is to be amended or edited, as far as it is known."""
        self.our_time = our_time
        self.their_time: Optional[float] = None
        """The exchange's time when it was sent (seconds since the epoch), if that was known."""
        self.before: FrozenSet[str] = frozenset()
        """The order ids that were known when it was sent."""
        self.repeatable = self.other_way = False
        """Whether its repetition has no further effect, so that it may go by REST; and whether it is such a
        repetition, which goes the other way than the first one."""
        self.by_rest = False
        """Whether it was sent over REST."""
        self.watched: Optional[Tuple[object, int, int]] = None
        """The table of orders and its snapshot that were up to date when it was sent, or None."""
        self.settled: Set[Union[str, int]] = set()
        """The names among its orders whose outcome has been found out."""

    def take_deadline(self) -> None:
        """Write the engine's deadline into the parameters, relative until now: waiting must not use it up."""
        if self.engine_deadline is not None:
            moment = self.our_time if self.their_time is None else self.their_time
            self.params = {**self.params, "deadline": time_text(moment + self.engine_deadline)}
            self.message = {"params": self.params}

    def anew(self) -> TradingRequest:
        """Return the same request in its unsent state."""
        return TradingRequest(
            self.method,
            self.params,
            self.expected,
            deadline=self.deadline,
            own_id=self.own_id,
            engine_deadline=self.engine_deadline,
            gated=self.gated,
            placed=self.placed,
            confirmed=self.confirmed,
            via=self.via,
            our_time=self.our_time,
        )


class RequestHeld(Exception):
    """The request may not be sent now; the text says why. Nothing was sent."""


def why_closed(
    method: str, params: Mapping[str, Any], system: str, announced: Sequence[Announcement] = ()
) -> Optional[str]:
    """Return why the exchange would not take a request in this system status, or advises against it; None if
    neither.

    Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status: ``maintenance`` takes
    neither orders nor cancels, ``cancel_only`` takes cancels, ``post_only`` takes cancels and post-only limit
    orders.
    """
    if system == "maintenance" and method != "cancel_all_orders_after":
        # The dead man's switch is excepted: it fires after a maintenance, so disarming must be tried.
        return "the exchange is in maintenance and takes neither orders nor cancels"
    if method not in ADDING:
        return None
    stopping = next((one for one in announced if one.stops_orders), None)
    if stopping is not None:
        return (
            f"the exchange announces: {stopping} (client.order_gate.heeds_announcements = False ignores it)"
        )
    if system == "cancel_only":
        return "the exchange is in cancel_only mode"
    if system == "post_only" and not _post_only(method, params):
        return "the exchange is in post_only mode"
    return None


def _post_only(method: str, params: Mapping[str, Any]) -> bool:
    if method == "batch_add":
        return all(order.get("post_only") for order in params.get("orders", ()))
    # An amend or edit does not say whether its order is post-only, so the exchange must judge.
    return method in ("amend_order", "edit_order") or bool(params.get("post_only"))


class InFlight:
    """The requests in flight by id.

    Args:
        used: tells whether a subscription uses an id.
    """

    def __init__(self, used: Callable[[int], bool]) -> None:
        self._requests: Dict[int, Request] = {}
        self._used = used
        self._next = FIRST_REQ_ID
        self._shared = False
        """Whether a subscription may use one of our ids: a caller has chosen such an id, or all have been
        used once."""

    def new_id(self) -> int:
        """Return an id that nothing in flight has."""
        # No generator (itertools.count is C, but cannot skip): an interrupt inside one would end it for good.
        while True:
            req_id = self._next
            self._next = req_id + 1
            if req_id >= LAST_REQ_ID:
                self._next, self._shared = FIRST_REQ_ID, True
            if req_id not in self._requests and not (self._shared and self._used(req_id)):
                return req_id

    def check_free(self, req_id: int) -> None:
        """Raise TypeError or ValueError if a caller's own ``req_id`` cannot be used."""
        if isinstance(req_id, bool) or not isinstance(req_id, int):
            raise TypeError(f"req_id must be an int, not {req_id!r:.80}")
        # From here on new_id() must look at the subscriptions' ids as well, which it otherwise need not.
        self._shared = self._shared or req_id >= FIRST_REQ_ID
        if req_id in self._requests or self._used(req_id):
            raise ValueError(f"req_id {req_id} is in use by a request that has no answer yet")

    def add(self, request: Request, now: float) -> None:
        """Give a request its id, and expect its replies."""
        if request.own_id is not None:
            self.check_free(request.own_id)
        request.req_id = request.own_id if request.own_id is not None else self.new_id()
        request.sent_at = now
        self._requests[request.req_id] = request

    def drop(self, request: Request) -> None:
        """Stop waiting for ``request``; a later reply counts as late."""
        self._requests.pop(request.req_id, None)

    def find(self, req_id: Any) -> Optional[Request]:
        """Return the request with this id, if there is one; ``req_id`` may be any JSON value."""
        # The exchange echoes what it was sent, but a reply may be garbled, and a list cannot be hashed.
        return self._requests.get(req_id) if isinstance(req_id, int) else None

    def replied(self, request: Request, reply: Reply, error: str) -> None:
        """Add one reply to its request."""
        if not request.replies and not request.abandoned:
            # With several orders, an EOrder: failure concerns one of them and the others still get replies;
            # any other failure of the first reply is the only reply.
            request.refused = bool(error) and not error.startswith(ABOUT_ONE_ORDER)
        request.replies.append(reply)
        if request.complete:
            self.drop(request)

    def lost(self, reason: str) -> None:
        """Note that the connection is gone, so that no replies come any more."""
        for request in self._requests.values():
            request.lost = reason
        self._requests.clear()
