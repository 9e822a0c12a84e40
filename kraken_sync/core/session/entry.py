"""One subscription: what is wanted of a channel for one symbol, and the state of its request.

Only this module changes the state of a subscription, according to the table in :mod:`.states`. The state says
which request is due (:attr:`Entry.due_method`); events move it on.

The exchange answers a request for several symbols once per symbol, with the request's ``req_id``. A failure
that does not concern one symbol is a single reply without ``symbol``. Unsubscribing what is not subscribed is
answered with ``Subscription Not Found`` and method ``subscribe``. Replies are therefore matched by ``req_id``
and symbol, never by method (:mod:`.registry`).

Source: Kraken, the subscribe sections of the channels' pages, such as
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book, and recorded traffic.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Set, Tuple, Type

from ..book.book import Book
from ..book.level3 import Level3
from ..book.sync import BookSync
from ..freshness import BookState
from ..orders.tables import Table
from ..wire.channels import Channel, Key
from ..wire.reference_data import merged
from .states import DUE, TRANSITIONS, Cause, State

KEPT_INSTRUMENT_FRAMES = 500
"""The largest number of messages of the ``instrument`` channel that are kept as they came. Then they are
merged into one, as they are for a reader."""
KEPT_TRADE_FRAMES = 50  # the exchange's own snapshot has the last 50 trades

BOOKS: Mapping[str, Type[Any]] = {"book": Book, "level3": Level3}
"""The channels of which a book is kept."""

_LEAVING = (State.LEAVING, State.LEAVING_ASKED)
_RENEWING = (State.RENEWING, State.RENEWING_ASKED)
_TAKES_DATA = (State.LIVE, State.ASKED, State.UNSURE)
_WAITING = (State.ASKED, State.LEAVING_ASKED, State.RENEWING_ASKED)


class PendingAck:
    """The answers that one call waits for, one for each key; ``done`` when all of them have arrived."""

    def __init__(self, keys: Iterable[Key], *, leaving: bool = False) -> None:
        self.leaving = leaving
        """Whether it waits for an unsubscribe rather than a subscribe."""
        self.waiting: Set[Key] = set(keys)
        self.refused: Dict[Optional[str], str] = {}
        """The exchange's reason for each refused symbol."""
        self.replies: List[bytes] = []
        self.trouble = ""
        """The last temporary refusal, while the request is being repeated."""

    @property
    def done(self) -> bool:
        """Whether every key has its answer."""
        return not self.waiting

    def settle(self, key: Key, refused: Optional[str] = None) -> None:
        """Note the answer for one key; ``refused`` is the reason if it was refused."""
        self.waiting.discard(key)
        if refused is not None:
            self.refused[key.symbol] = refused

    def refuse_all(self, symbol: Optional[str], reason: str) -> PendingAck:
        """Refuse the whole call because of ``symbol``; nothing was asked for."""
        self.refused[symbol] = reason
        self.waiting.clear()
        return self


class Entry:
    """One key: what is wanted for it and how far its request is. Times are in monotonic seconds."""

    def __init__(self, key: Key, channel: Channel, params: Mapping[str, Any]) -> None:
        self.key = key
        self.channel = channel
        self.params = dict(params)
        self.state = State.WANTED
        self.takes_data = self.state in _TAKES_DATA
        """Whether incoming frames belong to the wanted subscription, not to one that is being ended."""
        self.raw = False
        """A caller subscribed to its frames, so the library must not change its parameters."""
        self.internal = True
        """No caller has ever asked for its frames: it only feeds a table of the library, and its frames are
        hidden."""
        self.sync: Optional[BookSync[Any]] = None
        """The book that it feeds, if it feeds one."""
        self.table: Optional[Table] = None
        """The account's table that it feeds, if it feeds one."""
        self.first_id: Optional[int] = None
        """The caller's own ``req_id`` for the next request."""
        self.request_id: Optional[int] = None
        """The ``req_id`` of the request that waits for its answer."""
        self.next_params: Optional[Dict[str, Any]] = None
        """While renewing: the parameters of the coming subscribe."""
        self.next_id: Optional[int] = None
        """While renewing: the caller's own ``req_id`` for the coming subscribe."""
        self.not_before = float("-inf")
        self.failures = 0
        self.token_failures = 0
        self.mute = 0
        """How often in a row it was subscribed anew because it was mute; see :mod:`.mute`."""
        self.suspected_at: Optional[float] = None
        """Since when it seems to be mute."""
        self.contradicted = ""
        """By which trades its data are contradicted, as text; empty if by none."""
        self.max_age: Optional[float] = None
        """How old its data may become, in seconds, if a caller has said so."""
        self.acked_at: Optional[float] = None
        self.data_at: Optional[float] = None
        self.was_live = False
        self.was_fed = False
        """Whether frames of it have ever been delivered."""
        self.gap: Optional[Tuple[float, str]] = None
        """Since when something is missing, and why."""
        self.pending: List[PendingAck] = []
        self.primer: List[bytes] = []
        """The frames that bring a further reader up to date."""
        self.last: Optional[bytes] = None
        """The last frame that was kept, whether or not it is up to date."""
        self._reset_book()

    # -- state -------------------------------------------------------------------------------

    def _move(self, event: Cause) -> None:
        allowed = TRANSITIONS[self.state]
        assert event in allowed, f"{self.key}: {event.value!r} cannot happen while {self.state.value!r}"
        self.state = allowed[event]
        self.takes_data = self.state in _TAKES_DATA  # kept, because it is asked for every frame

    @property
    def due_method(self) -> Optional[str]:
        """The request that is due: ``subscribe``, ``unsubscribe`` or None."""
        return DUE.get(self.state)

    @property
    def live(self) -> bool:
        """Whether the exchange has acknowledged it and no change is wanted."""
        return self.state is State.LIVE

    @property
    def leaving(self) -> bool:
        """Whether it is no longer wanted, and only the exchange's confirmation is missing."""
        return self.state in _LEAVING

    @property
    def confirmed(self) -> bool:
        """Whether the exchange is expected to send data for it."""
        return self.state is State.LIVE or (self.state in _RENEWING and self.acked_at is not None)

    @property
    def wanted_params(self) -> Mapping[str, Any]:
        """The parameters that it has, or will have after renewing."""
        return self.params if self.next_params is None else self.next_params

    def waits_for(self, req_id: int) -> bool:
        """Return whether the answer to this request changes the state."""
        return self.request_id == req_id and self.state in _WAITING

    # -- what callers do ---------------------------------------------------------------------

    def want_again(self, params: Mapping[str, Any], req_id: Optional[int]) -> None:
        """Want it again while it is being unsubscribed."""
        self._move(Cause.WANTED_AGAIN)
        self.next_params, self.next_id = dict(params), req_id

    def renew(self, not_before: float, params: Optional[Mapping[str, Any]] = None) -> None:
        """Unsubscribe and subscribe again, to get a fresh snapshot or other parameters."""
        if self.state is State.WANTED:
            self._move(Cause.RENEWED)
            self.params = dict(params or self.params)
            self._reset_book()
            return
        # An answer to a subscribe in flight decides nothing any more; one to an unsubscribe still does.
        if self.state not in _RENEWING:
            self.request_id = None
        self._move(Cause.RENEWED)
        self.next_params = dict(params or self.wanted_params)
        self.not_before = not_before

    def drop(self, proven_at: float) -> None:
        """Stop wanting it: waiting callers are told, and its book or table ends."""
        for waiting in self.pending:
            if not waiting.leaving:
                waiting.settle(self.key, "unsubscribed meanwhile")
        self.pending = [waiting for waiting in self.pending if waiting.leaving]
        self.close("unsubscribed", proven_at)
        self.gap, self.was_live, self.next_params, self.raw = None, False, None, False
        self.acked_at = self.data_at = None
        # Before _move(): an unsubscribe already in flight serves this drop as well, so its id is kept.
        if self.state not in (*_LEAVING, *_RENEWING):
            self.request_id = None
        self._move(Cause.DROPPED)
        # It was never sent to the exchange, so there is no confirmation to wait for.
        if self.state is State.GONE:
            self.settle(None, leaving=True)
        # A pause was for repeating a subscribe; the unsubscribe need not wait for it.
        if self.request_id is None:
            self.not_before = float("-inf")

    # -- what the exchange and the connection do ---------------------------------------------

    def sent(self, req_id: int) -> None:
        """Note that the request that was due has been sent."""
        # Not in UNSURE: an earlier subscribe may have been taken, and its snapshot may have arrived.
        if self.state is State.WANTED:
            self.data_at = None
        if self.due_method == "subscribe":
            self.acked_at = None
        self._move(Cause.SENT)
        self.request_id, self.first_id = req_id, None

    def acknowledged(self, frame: bytes, now: float) -> None:
        """Note that the exchange has accepted the subscribe."""
        self._move(Cause.ACKNOWLEDGED)
        self.request_id, self.acked_at = None, now
        self.failures, self.token_failures, self.was_live = 0, 0, True
        self.settle(frame, leaving=False)

    def refused(self, error: str, frame: bytes, now: float) -> None:
        """Note that the exchange has refused the subscribe for good."""
        self._move(Cause.REFUSED)
        self.request_id = None
        for waiting in self.pending:
            # A refused subscribe is what an unsubscribe wants.
            waiting.settle(self.key, None if waiting.leaving else error)
            waiting.replies.append(frame)
        self.pending = []
        self.close(error, now, refused=True)

    def ended(self, reason: str, now: float) -> None:
        """Note that the exchange has ended the subscription without being asked."""
        self._move(Cause.ENDED)
        self.close(reason, now, refused=True)

    def retry(self, not_before: Optional[float], trouble: str = "") -> None:
        """Repeat the request, not before this moment; ``trouble`` is the reason to tell waiting callers."""
        self._move(Cause.RETRY)
        self.request_id = None
        if not_before is not None:
            self.not_before = not_before
        if trouble:
            for waiting in self.pending:
                waiting.trouble = trouble

    def expired(self, not_before: float) -> None:
        """Note that no answer came in time; repeat the request, not before this moment."""
        self._move(Cause.EXPIRED)
        self.request_id, self.not_before = None, not_before

    def unsubscribed(self, frame: bytes) -> None:
        """Note that the exchange has unsubscribed it, or never had it."""
        self._move(Cause.UNSUBSCRIBED)
        self.request_id = None
        self.settle(frame, leaving=True)
        if self.state is State.WANTED:
            self._come_back()

    def lost(self, since: float, reason: str) -> None:
        """Note that the connection is gone: what is wanted is due again, what is leaving has left."""
        # Subscriptions end with their connection, so an unsubscribe is done without an answer.
        self.settle(None, leaving=True)
        self._move(Cause.LOST)
        if self.state is State.GONE:
            return
        self.lapse(since, reason)
        self.request_id, self.not_before = None, float("-inf")
        self.acked_at = self.data_at = None
        # A new connection starts without the pauses that the old one earned.
        self.mute = self.failures = self.token_failures = 0
        if self.sync is not None:
            self.sync.leave(BookState.STALE, reason, since)
        if self.table is not None:
            self.table.leave(BookState.STALE, reason, since)
        self._come_back()

    def _come_back(self) -> None:
        """Go from renewing to wanted: the next parameters become the current ones."""
        self.params, self.next_params = dict(self.wanted_params), None
        self.first_id, self.next_id = self.next_id or self.first_id, None
        self.primer = []
        self._reset_book()

    # -- what it keeps up to date ------------------------------------------------------------

    def _reset_book(self) -> None:
        """Have a book for the wanted depth, if the subscription includes the snapshot that a book needs."""
        if self.key.channel not in BOOKS or not self.params.get("snapshot", True):
            return
        if self.sync is None:
            self.sync = BookSync(self.key.symbol or "", self.params["depth"], BOOKS[self.key.channel])
        self.sync.depth = self.params["depth"]

    def close(self, reason: str, proven_at: float, *, refused: bool = False) -> None:
        """End its book or table; a later subscription of the symbol gets a new one."""
        # Facades may hold the BookSync for long: it stays CLOSED and never comes back to life.
        if self.sync is not None:
            self.sync.leave(BookState.CLOSED, reason, proven_at)
            self.sync.refused, self.sync = refused, None
        if self.table is not None:
            self.table.drop(reason, proven_at)
            self.table = None

    @property
    def extra(self) -> Mapping[str, Any]:
        """Parameters that the library adds to those that were asked for."""
        # The page of executions contradicts itself on the default of snap_trades; the table needs the
        # fills to see what happened in a gap.
        return {"snap_trades": True} if self.table is not None and self.key.channel == "executions" else {}

    def lapse(self, since: float, reason: str) -> None:
        """Begin a gap at ``since``, unless one has begun already; it ends when the entry is live again."""
        if self.was_live and self.gap is None:
            self.gap = (since, reason)

    def keep(self, frame: bytes, snapshot: bool) -> None:
        """Keep the frames that a further reader needs to be up to date."""
        self.last = frame
        # Every ticker and candle message is complete, while instrument updates have only what has changed.
        if self.key.channel == "instrument":
            if snapshot:
                self.primer = [frame]
            elif len(self.primer) < KEPT_INSTRUMENT_FRAMES:
                self.primer.append(frame)
            else:
                self.primer = [*self.priming(), frame]
        elif self.key.channel == "trade":
            self.primer = [frame] if snapshot else [*self.primer, frame][-KEPT_TRADE_FRAMES:]
        elif self.key.channel in ("ticker", "ohlc"):
            self.primer = [frame]

    def priming(self) -> List[bytes]:
        """Return the messages that a further reader begins with."""
        if self.key.channel == "instrument" and len(self.primer) > 1:
            self.primer = [merged(self.primer)]
        return list(self.primer)

    @property
    def awaits_snapshot(self) -> bool:
        """Whether a snapshot was asked for and has not come since the subscribe."""
        if self.data_at is not None or not self.channel.checked:
            return False  # a channel that is new to us may have no snapshot, or one without symbols
        copy = self.sync or self.table
        # It may have come before the acknowledgement.
        return not copy.live if copy is not None else bool(self.params.get("snapshot"))

    @property
    def fed_at(self) -> float:
        """When its last data came, or if none have, when it was acknowledged."""
        updated = self.sync.updated if self.sync is not None else self.data_at
        return max(self.acked_at or float("-inf"), updated or float("-inf"))

    def settle(self, frame: Optional[bytes], *, leaving: bool) -> None:
        """Answer the callers that wait for a subscribe (or, if ``leaving``, for an unsubscribe)."""
        for waiting in self.pending:
            if waiting.leaving is leaving:
                waiting.settle(self.key)
                waiting.replies.extend([frame] if frame is not None else [])
        self.pending = [waiting for waiting in self.pending if waiting.leaving is not leaving]
