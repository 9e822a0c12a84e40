"""Everything one connection decides, without touching one.

A :class:`Session` outlives its connections. Intent goes in (:meth:`subscribe`, :meth:`request`), frames go in
(:meth:`receive`), the loss of a connection goes in (:meth:`lost`); out come the frames to send (:meth:`due`),
what a frame means for readers (:class:`Received`) and whether the connection is dead (:meth:`verdict`).

Nothing in here waits or sends, and ``now`` (monotonic seconds) always comes from the caller. Not thread-safe:
the connection's lock serialises every call.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple

from ..book.sync import BookSync
from ..freshness import BookState
from ..orders.tables import Account
from ..timing import Timing, TokenBucket
from ..wire import messages
from ..wire.channels import Ask, Key
from ..wire.error_texts import TOKEN_REFUSED, TOO_FAST
from ..wire.messages import Envelope, MalformedFrame
from ..wire.secret import Secret
from ..wire.times import ServerClock
from .data import Feeds, gap_over
from .dead_mans_switch import DeadMan
from .events import Counters, Ended, Gap, Note, Notice, Received
from .liveness import Liveness
from .registry import Answer, Call, Phase, Registry, Wish
from .requests import InFlight, Reply, Request

REQUESTS_PER_SECOND = 10
REQUESTS_AT_ONCE = 10
MALFORMED_LIMIT = 3
MALFORMED_WINDOW = 10.0


_NOTHING = Received()
_WAKE = Received(wake=True)


class Session:
    """The decisions of one connection and of its successors.

    A ``private`` one sends requests only while it has a ``token``, and keeps the account's tables.
    """

    def __init__(self, timing: Timing, private: bool = False) -> None:
        self.timing = timing
        self.private = private
        self.token: Optional[Secret] = None
        self.token_at = float("-inf")
        """When the token was set."""
        self.account = Account()
        self.clock = ServerClock()
        self.switch: Optional[DeadMan] = None
        self.registry = Registry(timing)
        self.counters = Counters()
        self.open = False
        """Whether requests can go out: connected, and the ``status`` message has come."""
        self.system = ""
        """``online``, ``maintenance``, ``cancel_only`` or ``post_only``, as last told."""
        self.status: Dict[str, Any] = {}
        """The last ``status`` message's data."""
        self.server_error = ""
        """The last error the exchange sent about the connection as a whole."""
        self.liveness: Optional[Liveness] = None
        self.on_rate_limit: Optional[Callable[[int], None]] = None
        """Told of the account's trading-rate threshold, under the lock."""
        self._last_frame = float("-inf")
        self._bucket = TokenBucket(REQUESTS_PER_SECOND, REQUESTS_AT_ONCE)
        self._in_flight = InFlight(self.registry.asked)
        self._malformed: Deque[float] = deque(maxlen=MALFORMED_LIMIT)
        self.feeds = Feeds(self.registry, self.account, self.counters, private)

    # -- intent ------------------------------------------------------------------------------

    def subscribe(self, ask: Ask, req_id: Optional[int] = None, *, raw: bool = True) -> Call:
        """Wish for everything in ``ask``, or for nothing if something conflicts.

        ``raw`` says that frames with exactly these parameters are wanted. The call's
        ``refused`` tells conflicts.
        """
        self._in_flight.check_free(req_id)
        messages.encode(ask.params)  # what cannot be sent must raise before it is wished for
        keys = ask.keys()
        call = Call(keys)
        for key in keys:
            there = self.registry.wishes.get(key)
            conflict = self.registry.conflict(key, ask) if raw and there and not there.internal else None
            if conflict is not None:
                call.refused[key.symbol] = conflict
        if call.refused:
            call.waiting.clear()
            return call
        for key in keys:
            fresh = key not in self.registry.wishes
            wish = self.registry.want(ask, key, call, req_id)
            if raw and wish.internal and not fresh and not wish.leaves_for_good:
                self._take_over(wish, ask, call, req_id)
            wish.raw, wish.internal = wish.raw or raw, wish.internal and not raw
            if self.private and wish.table is None and wish.phase is not Phase.LIVE:
                wish.table = self.account.table(key.channel, wish.params)
            if key.channel == "instrument" and ask.params.get("snapshot"):
                self._need_snapshot(wish, call)
        return call

    def _take_over(self, wish: Wish, ask: Ask, call: Call, req_id: Optional[int]) -> None:
        """Subscribe anew, as asked, what so far was for a table of ours: its frames were shown to nobody."""
        if wish.sync is not None:
            return  # a book: its frames are those that everybody gets
        if wish.table is not None:
            wish.table.leave(BookState.RESYNCING, "being subscribed anew", self.proven_at)
            if self.account.table(wish.key.channel, ask.params) is None:
                wish.table.drop("subscribed with parameters that leave something out", self.proven_at)
                wish.table = None
        if wish.phase is Phase.LIVE:
            call.waiting.add(wish.key)
            wish.calls.append(call)
        if wish.phase is Phase.WANTED and not wish.on_wire:
            wish.first_id = req_id
        else:
            wish.again_id = req_id
        self.registry.resubscribe(wish, float("-inf"), ask.params)

    def _need_snapshot(self, wish: Wish, call: Call) -> None:
        """Subscribe anew what is wished without a snapshot, for somebody who needs one."""
        params = wish.again or wish.params
        if wish.leaves_for_good or params.get("snapshot"):
            return
        if wish.phase is Phase.LIVE:
            call.waiting.add(wish.key)
            wish.calls.append(call)
        self.registry.resubscribe(wish, float("-inf"), {**params, "snapshot": True})

    def subscribe_book(self, ask: Ask) -> Call:
        """Wish for a book of at least the asked depth; a smaller one of ours is replaced."""
        key = ask.keys()[0]
        wish, depth = self.registry.wishes.get(key), ask.params["depth"]
        if wish is not None and wish.leaves_for_good:
            wish = None
        wanted = {} if wish is None else (wish.again or wish.params)
        if wish is not None and wish.raw and (wish.sync is None or wanted["depth"] < depth):
            call = Call([])
            call.refused[key.symbol] = (
                "its frames are subscribed already, "
                + (f"at depth {wanted['depth']}" if wish.sync else "without a snapshot")
                + "; unsubscribe that first, or use a second client"
            )
            return call
        call = self.subscribe(ask, raw=False)
        if wish is not None and wish.sync is not None and wanted["depth"] < depth:
            if wish.phase is Phase.LIVE:
                call = Call([key])
                wish.calls.append(call)
            wish.sync.leave(BookState.RESYNCING, f"changing to depth {depth}", self.proven_at)
            wish.lapse(self.proven_at, f"changed to depth {depth}")
            self.registry.resubscribe(wish, float("-inf"), ask.params)
        return call

    def subscribe_table(self, ask: Ask) -> Call:
        """Wish for one of the account's tables."""
        wish = self.registry.wishes.get(ask.keys()[0])
        if wish is not None and wish.table is None and not wish.leaves_for_good:
            call = Call([])
            call.refused[None] = (
                "its frames are subscribed with parameters that leave something out of the account; "
                "unsubscribe that first, or use a second client"
            )
            return call
        return self.subscribe(ask, raw=False)

    def unsubscribe(self, keys: List[Key], req_id: Optional[int] = None) -> Call:
        """Stop wishing for ``keys``; all of them must be wished for."""
        self._in_flight.check_free(req_id)
        missing = [key for key in keys if key not in self.registry.wishes]
        call = Call(keys if not missing else [], leaving=True)
        for key in missing:
            call.refused[key.symbol] = "Subscription Not Found (this client is not subscribed to it)"
        if not missing:
            for key in keys:
                wish = self.registry.wishes[key]
                self.registry.unwant(key, call, self.open, self.proven_at)
                wish.first_id = req_id
        return call

    def release(self, key: Key, *, held: bool, frames: bool) -> None:
        """A holder of ``key`` has gone: whether there are others, and whether they want its frames."""
        wish = self.registry.wishes.get(key)
        if wish is None:
            return
        if not held:
            self.registry.unwant(key, None, self.open, self.proven_at)
        wish.raw = wish.raw and frames  # for a book alone, the depth is ours to choose again

    def expect(self, request: Request, req_id: Optional[int], now: float) -> None:
        """Expect replies to a request that is about to be sent; it gets its id."""
        self._in_flight.add(request, req_id, now)

    def forget(self, request: Request) -> None:
        """Nobody waits for ``request`` any more; a reply that still comes counts as late."""
        self._in_flight.drop(request)

    def abandon(self, call: Call) -> None:
        """Nobody waits for ``call`` any more."""
        for wish in self.registry.wishes.values():
            if call in wish.calls:
                wish.calls.remove(call)

    def book(self, symbol: str) -> Optional[BookSync]:
        """The book of ``symbol``, if it is wished for."""
        wish = self.registry.wishes.get(Key("book", symbol))
        return wish.sync if wish is not None else None

    def primer(self, key: Key, ask: Ask) -> List[bytes]:
        """The frames that bring a further reader of a live subscription up to date, if ``ask`` wants them."""
        wish = self.registry.wishes.get(key)
        if wish is None or wish.phase is not Phase.LIVE or ask.params.get("snapshot") is False:
            return []
        if wish.sync is not None:
            return [wish.sync.book.snapshot_frame()] if wish.sync.live else []
        if wish.table is not None:
            fills = bool(wish.params.get("snap_trades"))
            return [self.account.snapshot_frame(key.channel, fills)] if wish.table.live else []
        return list(wish.primer)

    # -- input -------------------------------------------------------------------------------

    def opened(self, now: float) -> None:
        """A connection is made; the ``status`` message has not come yet."""
        self.liveness = Liveness(self.timing, now, ask_now=self.private)  # orders need the exchange's clock
        self.counters.connections += 1
        self.server_error = ""
        self._malformed.clear()

    def receive(self, frame: bytes, now: float) -> Received:
        """Take one frame. Never raises for what the peer sent."""
        counters = self.counters
        counters.messages += 1
        counters.bytes += len(frame)
        if self.liveness is not None:
            self.liveness.frame_at = now
        try:
            if frame.startswith(messages.BOOK_PREFIX):
                return self.feeds.take_book(frame, now)
            envelope = messages.decode_envelope(frame)
            if envelope.method is not None:
                return self._reply(envelope, frame, now)
            if envelope.channel is not None:
                return self._data(envelope, frame, now)
            if envelope.error is not None or envelope.Error is not None:
                return self._server_error(envelope, now)
        except MalformedFrame as error:
            return self._malformed_frame(frame, str(error), now)
        return _NOTHING

    def lost(self, reason: str) -> None:
        """The connection is gone. Requests fail, wishes stay, books are STALE."""
        self._last_frame = self.proven_at
        self.open = False
        self.liveness = None
        self.token = None
        self._in_flight.lost(reason)
        self.registry.lost(self._last_frame, reason)

    def close(self, reason: str) -> None:
        """There will be no further connection."""
        self.lost(reason)
        for wish in self.registry.wishes.values():
            wish.close(reason, self._last_frame)
        for table in (self.account.orders, self.account.balances):
            table.leave(BookState.CLOSED, reason, self._last_frame)

    # -- output ------------------------------------------------------------------------------

    def due(self, now: float, byte_at: float, message_at: Optional[float]) -> List[bytes]:
        """The frames that should be sent now; they count as sent."""
        if not self.open or self.liveness is None:
            return []
        self.registry.expire(now)
        for wish in self.registry.wishes.values():
            if wish.overdue(now, self.timing):
                wish.mute += 1
                if wish.was_fed:
                    wish.lapse(wish.acked_at or now, "acknowledged, but no data")
                self.counters.resyncs += 1
                self.registry.resubscribe(wish, now)
        frames = []
        if self.ready:
            frames = [
                messages.subscription_request(*request, token=self.token)
                for request in self.registry.due(now, self._bucket, self._in_flight.new_id)
            ]
            frames += self._renewal(now)
        life_at = self.liveness.life_at(now, byte_at, message_at)
        if self.liveness.ping_due(now, life_at, self.registry.confirmed):
            req_id = self._in_flight.new_id()
            self.liveness.pinged(req_id, now)
            self.counters.pings += 1
            frames.append(messages.ping_request(req_id))
        return frames

    def _renewal(self, now: float) -> List[bytes]:
        switch = self.switch
        if switch is None:
            return []
        switch.look()
        if not switch.due(now):
            return []
        request = Request("cancel_all_orders_after")
        self.expect(request, None, now)
        switch.asked(request, now)
        params = {"timeout": switch.timeout, "token": self.token}
        return [messages.encode({"method": request.method, "params": params, "req_id": request.req_id})]

    @property
    def ready(self) -> bool:
        """Whether requests can go out."""
        return self.open and (self.token is not None or not self.private)

    @property
    def wants_token(self) -> bool:
        """Whether the exchange has refused the token and another one is needed."""
        return self.private and self.open and self.token is None

    def use_token(self, token: Secret, now: float) -> None:
        """Go on with this token."""
        self.token, self.token_at = token, now

    def _token_refused(self, sent_at: Optional[float]) -> None:
        if sent_at is None or sent_at >= self.token_at:
            self.token = None

    def verdict(self, now: float, byte_at: float, message_at: Optional[float]) -> Optional[str]:
        """Why the connection must be given up, or None."""
        if self.liveness is None:
            return None
        if not self.open:
            waited = now - self.liveness.opened_at
            return "no status message" if waited > self.timing.connect_timeout else None
        if len(self._malformed) == MALFORMED_LIMIT and now - self._malformed[0] < MALFORMED_WINDOW:
            return f"{MALFORMED_LIMIT} malformed frames within {MALFORMED_WINDOW:g} s"
        life_at = self.liveness.life_at(now, byte_at, message_at)
        return self.liveness.verdict(now, life_at, self.registry.confirmed)

    def silent(self, now: float) -> bool:
        """Whether the connection is silent for longer than a live one can be."""
        return self.liveness is None or now - self.liveness.frame_at > self.timing.silence_abort

    @property
    def proven_at(self) -> float:
        """When the last frame of any kind came, which proves that nothing was left out."""
        return self._last_frame if self.liveness is None else self.liveness.frame_at

    def age(self, now: float) -> float:
        """Seconds since the last frame of any kind."""
        return now - self.proven_at

    # -- frames ------------------------------------------------------------------------------

    def _data(self, envelope: Envelope, frame: bytes, now: float) -> Received:
        if envelope.channel == "heartbeat":
            return _NOTHING
        if envelope.channel == "status":
            return self._status(envelope)
        return self.feeds.take(envelope, frame, now)

    def _status(self, envelope: Envelope) -> Received:
        data = messages.decode_value(bytes(envelope.data))
        first = data[0] if isinstance(data, list) and data and isinstance(data[0], dict) else {}
        before, self.system = self.system, str(first.get("system", ""))
        self.status = first
        self.open = self.liveness is not None
        notes: Tuple[Note, ...] = ()
        if before and before != self.system:
            notes = (Notice("WARNING", f"the exchange is now {self.system!r} (was {before!r})"),)
        return Received(notes=notes, wake=True, pump=True)

    def _reply(self, envelope: Envelope, frame: bytes, now: float) -> Received:
        req_id = envelope.req_id
        failed = envelope.success is False or envelope.error is not None
        error = messages.error_text(envelope.error) if failed else ""
        if error.startswith(TOO_FAST):
            self._bucket.pause(now + 1.0)
        if envelope.method in ("pong", "ping") and self.liveness and self.liveness.ponged(req_id, now):
            self.clock.heard(envelope.time_in, now - (self.liveness.rtt or 0.0), now)
            return _WAKE
        request = self._in_flight.find(req_id)
        if self.private and error.startswith(TOKEN_REFUSED):
            self._token_refused(request.sent_at if request else self.registry.sent_at(req_id))
        if request is not None:
            return self._take_reply(request, Reply(frame, envelope), error, now)
        success = envelope.success is True
        symbol = envelope.symbol
        if success and bytes(envelope.result).startswith(b"{"):
            result = messages.decode_value(bytes(envelope.result))
            symbol = result.get("symbol")
            if isinstance(result.get("maxratecount"), int) and self.on_rate_limit is not None:
                self.on_rate_limit(result["maxratecount"])
        symbol = symbol if isinstance(symbol, str) else None
        answers = self.registry.answer(req_id, symbol, success, error, frame, now)
        if answers is None:
            self.counters.late_replies += 1
            return _WAKE
        return self._answered(answers, now)

    def _take_reply(self, request: Request, reply: Reply, error: str, now: float) -> Received:
        self.clock.heard(reply.envelope.time_in, request.sent_at, now)
        self._in_flight.take(request, reply, error)
        if not request.abandoned:
            return _WAKE
        self.counters.late_replies += 1
        words = f"refused: {error}" if error else "it was carried out"
        text = f"the reply to {request.method} came after {now - request.sent_at:.1f} s: {words}"
        return Received(notes=(Notice("WARNING", text),), wake=True)

    def _answered(self, answers: List[Answer], now: float) -> Received:
        notes: List[Note] = []
        for answer in answers:
            wish = answer.wish
            if answer.result == "live" and wish.sync is None:
                notes.extend(gap_over(wish, now))
            elif answer.result == "refused" and wish.was_live:
                since = wish.gap[0] if wish.gap is not None else now
                reason = f"ended by the exchange: {answer.error}"
                notes += [Gap(wish.key, reason, since, None), Ended(wish.key, answer.error)]
            elif answer.result == "retry" and answer.error:
                notes.append(Notice("WARNING", f"{wish.key}: {answer.error}; asking again later"))
        hidden = bool(answers) and all(
            answer.wish.internal and answer.wish.sync is None for answer in answers
        )
        return Received(notes=tuple(notes), wake=True, pump=True, hidden=hidden)

    def _server_error(self, envelope: Envelope, now: float) -> Received:
        self.server_error = messages.error_text(envelope.error or envelope.Error)
        self._bucket.pause(now + 1.0)
        return Received(notes=(Notice("WARNING", f"the exchange says: {self.server_error:.200}"),))

    def _malformed_frame(self, frame: bytes, why: str, now: float) -> Received:
        self.counters.malformed += 1
        self._malformed.append(now)
        text = f"malformed frame dropped ({why:.100}): {frame[:200]!r}"
        return Received(notes=(Notice("WARNING", text),))
