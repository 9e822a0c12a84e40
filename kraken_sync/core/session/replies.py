"""What replies mean for the requests that wait for them, for subscriptions and for the account."""

from __future__ import annotations

from typing import List, Optional

from ..orders.rate_limits import TradingRate
from ..orders.tables import Account
from ..wire.error_texts import DOMAIN_RATE_EXCEEDED, RATE_EXCEEDED
from ..wire.messages import Envelope, decode_value
from ..wire.times import ServerClock
from .data import gap_over
from .events import Counters, Ended, Gap, Note, Notice, Received
from .registry import Answer, Registry
from .requests import InFlight, Reply, Request, TradingRequest

_KEPT_FIELDS = ("symbol", "side", "order_type", "order_qty", "limit_price", "cl_ord_id", "order_userref")
"""The fields of an order's own request that are copied into ``client.orders``."""

_WAKE = Received(wake=True)


class Replies:
    """The replies of one connection and of those that replace it. ``now`` is in monotonic seconds."""

    def __init__(
        self,
        registry: Registry,
        in_flight: InFlight,
        account: Account,
        clock: ServerClock,
        counters: Counters,
        rate: Optional[TradingRate],
    ) -> None:
        self._registry = registry
        self._in_flight = in_flight
        self._account = account
        self._clock = clock
        self._counters = counters
        self._rate = rate

    def to_subscription(self, envelope: Envelope, frame: bytes, error: str, now: float) -> Received:
        """Process a reply to a subscribe or unsubscribe, or to a request that no caller waits for."""
        success, symbol, result = envelope.success is True, envelope.symbol, {}
        if success and bytes(envelope.result).startswith(b"{"):
            result = decode_value(bytes(envelope.result))
            symbol = result.get("symbol")
            if isinstance(result.get("maxratecount"), int) and self._rate is not None:
                self._rate.told_threshold(result["maxratecount"])
        symbol = symbol if isinstance(symbol, str) else None
        answers = self._registry.answer(envelope.req_id, symbol, success, error, frame, now)
        if answers is None and success and envelope.method == "unsubscribe":
            answers = self._registry.unsubscribed(result, now) or None
        if not answers and envelope.req_id is None and error:
            notice = Notice("WARNING", f"the exchange says, and names no request of this client: {error}")
            return Received(notes=(notice,), wake=True)
        if answers is None:
            self._counters.late_replies += 1
            return _WAKE
        return self._answered(answers, now)

    def to_request(self, request: Request, reply: Reply, error: str, now: float) -> Received:
        """Process a reply to a request in flight; ``error`` is empty if the request succeeded."""
        self._clock.heard(reply.envelope.time_in, request.sent_at, now)
        self._in_flight.replied(request, reply, error)
        self.told(request, reply, error, now)
        if not request.abandoned:
            return _WAKE
        self._counters.late_replies += 1
        words = f"refused: {error}" if error else "it was carried out"
        # The caller has been told that the outcome is unknown, so the log must tell what it was after
        # all.
        text = f"the reply to {request.method} came after {now - request.sent_at:.1f} s: {words}"
        return Received(notes=(Notice("WARNING", text),), wake=True)

    def told(self, request: Request, reply: Reply, error: str, now: float) -> None:
        """Take over what a reply tells about the account, whichever way it came."""
        # Also for an abandoned request: the order exists, whether or not its caller still waits.
        if isinstance(request, TradingRequest) and request.placed and not error:
            self._placed(request, reply, now)
        if self._rate is not None and error.startswith((RATE_EXCEEDED, DOMAIN_RATE_EXCEEDED)):
            self._full(request, error, now)

    def _full(self, request: Request, error: str, now: float) -> None:
        """Take over that the exchange's counter is full: of the request's pair, or of the whole account."""
        assert self._rate is not None
        if error.startswith(DOMAIN_RATE_EXCEEDED):
            self._rate.exceeded(None, now)
        elif isinstance(request, TradingRequest):
            for pair in self._rate.pairs_of(request.method, request.params, now):
                self._rate.exceeded(pair, now)

    def _placed(self, request: TradingRequest, reply: Reply, now: float) -> None:
        """Enter acknowledged orders into ``client.orders`` at once; their reports may come much later."""
        raw = bytes(reply.envelope.result)
        result = decode_value(raw) if raw else None
        # A batch_add is answered with a list, in the order of its orders; one that failed has an error
        # and no order_id.
        results = result if isinstance(result, list) else [result]
        for params, entry in zip(request.placed, results):
            order_id = entry.get("order_id") if isinstance(entry, dict) else None
            if not isinstance(order_id, str) or not order_id or entry.get("error"):
                continue
            fields = {name: params[name] for name in _KEPT_FIELDS if name in params}
            self._account.orders.acknowledged(order_id, fields, now)
            if self._rate is not None:
                names = (order_id, params.get("cl_ord_id"), params.get("order_userref"))
                self._rate.placed(str(params.get("symbol", "")), names, now)

    def _answered(self, answers: List[Answer], now: float) -> Received:
        notes: List[Note] = []
        for answer in answers:
            entry = answer.entry
            # A book's gap ends with its verified snapshot, not with the acknowledgement.
            if answer.result == "live" and entry.sync is None:
                notes.extend(gap_over(entry, now))
            elif answer.result == "refused" and entry.was_live:
                since = entry.gap[0] if entry.gap is not None else now
                reason = f"ended by the exchange: {answer.error}"
                notes += [Gap(entry.key, reason, since, None), Ended(entry.key, answer.error)]
            elif answer.result == "retry" and answer.error:
                notes.append(Notice("WARNING", f"{entry.key}: {answer.error}; asking again later"))
        hidden = bool(answers) and all(
            answer.entry.internal and answer.entry.sync is None for answer in answers
        )
        return Received(notes=tuple(notes), wake=True, pump=True, hidden=hidden)
