"""One subscription: what is wanted of a channel for one symbol, and how far the exchange is with it.

This file alone changes the state of a subscription, as the table in :mod:`.states` has it: the state says
which request is due (:attr:`Entry.due_method`), and what happens moves it on.

The exchange answers a request for several symbols once per symbol, with the request's ``req_id``. A failure
that is about no symbol comes as one reply without ``symbol``, and unsubscribing what is not subscribed is
answered ``Subscription Not Found`` with method ``subscribe``: so replies are matched by ``req_id`` and
symbol, never by method (:mod:`.registry`).

Source: Kraken, subscribe sections of the channels' pages, such as
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book, and recorded traffic.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Mapping, Optional, Set, Tuple

from ..book.sync import BookSync
from ..freshness import BookState
from ..orders.tables import Table
from ..timing import Timing
from ..wire.channels import Channel, Key
from .states import DUE, TRANSITIONS, Cause, State

KEPT_INSTRUMENT_FRAMES = 5000
KEPT_TRADE_FRAMES = 50
SURE_SNAPSHOTS = ("book", "ticker", "instrument")
"""Channels whose snapshot always has something in it; no trade and no candle is possible."""


_LEAVING = (State.LEAVING, State.LEAVING_ASKED)
_RENEWING = (State.RENEWING, State.RENEWING_ASKED)
_TAKES_DATA = (State.LIVE, State.ASKED, State.UNSURE)
_WAITING = (State.ASKED, State.LEAVING_ASKED, State.RENEWING_ASKED)


class PendingAck:
    """What a caller waits for: one answer for each key. Done when none is missing."""

    def __init__(self, keys: Iterable[Key], *, leaving: bool = False) -> None:
        self.leaving = leaving
        """Whether it waits for an unsubscribe."""
        self.waiting: Set[Key] = set(keys)
        self.refused: Dict[Optional[str], str] = {}
        """Each refused symbol, with the exchange's words."""
        self.replies: List[bytes] = []
        self.trouble = ""
        """The last temporary refusal, while it is being tried again."""

    @property
    def done(self) -> bool:
        """Whether every symbol has its answer."""
        return not self.waiting

    def settle(self, key: Key, refused: Optional[str] = None) -> None:
        """One symbol has its answer."""
        self.waiting.discard(key)
        if refused is not None:
            self.refused[key.symbol] = refused

    def refuse_all(self, symbol: Optional[str], reason: str) -> PendingAck:
        """Nothing is asked for at all, because of ``symbol``."""
        self.refused[symbol] = reason
        self.waiting.clear()
        return self


class Entry:
    """What is wanted for one key, and how far it is. Times are monotonic seconds."""

    def __init__(self, key: Key, channel: Channel, params: Mapping[str, Any]) -> None:
        self.key = key
        self.channel = channel
        self.params = dict(params)
        self.state = State.WANTED
        self.raw = False
        """Somebody subscribed this as frames, so its parameters are not ours to change."""
        self.internal = True
        """Nobody has ever asked for its frames: they are for a table of ours, and shown to nobody."""
        self.sync: Optional[BookSync] = None
        """The book that it keeps up to date."""
        self.table: Optional[Table] = None
        """The table of the account that it keeps up to date."""
        self.first_id: Optional[int] = None
        """The caller's own ``req_id``, for the next request only."""
        self.request_id: Optional[int] = None
        """The request that waits for its answer."""
        self.next_params: Optional[Dict[str, Any]] = None
        """While renewing: the parameters to come back with."""
        self.next_id: Optional[int] = None
        """The caller's own ``req_id`` for coming back."""
        self.not_before = float("-inf")
        self.failures = 0
        self.token_failures = 0
        self.mute = 0
        """How often in a row it was acknowledged and then sent nothing."""
        self.acked_at: Optional[float] = None
        self.data_at: Optional[float] = None
        self.was_live = False
        self.was_fed = False
        """Frames of it have been delivered."""
        self.gap: Optional[Tuple[float, str]] = None
        """Since when, and why, something is missing."""
        self.pending: List[PendingAck] = []
        self.primer: List[bytes] = []
        """The frames that bring a further reader up to date."""
        self._reset_book()

    # -- state -------------------------------------------------------------------------------

    def _move(self, event: Cause) -> None:
        allowed = TRANSITIONS[self.state]
        assert event in allowed, f"{self.key}: {event.value!r} cannot happen while {self.state.value!r}"
        self.state = allowed[event]

    @property
    def due_method(self) -> Optional[str]:
        """The request that is due: ``subscribe``, ``unsubscribe`` or None."""
        return DUE.get(self.state)

    @property
    def live(self) -> bool:
        """Whether the exchange has acknowledged it, and nothing else is wanted."""
        return self.state is State.LIVE

    @property
    def leaving(self) -> bool:
        """Whether nobody wants it any more, and only the exchange's confirmation is missing."""
        return self.state in _LEAVING

    @property
    def takes_data(self) -> bool:
        """Whether frames belong to what is wanted, rather than to what is being left."""
        return self.state in _TAKES_DATA

    @property
    def confirmed(self) -> bool:
        """Whether the exchange sends for it, as far as is known."""
        return self.state is State.LIVE or (self.state in _RENEWING and self.acked_at is not None)

    @property
    def wanted_params(self) -> Mapping[str, Any]:
        """The parameters it has, or is about to have."""
        return self.params if self.next_params is None else self.next_params

    def waits_for(self, req_id: int) -> bool:
        """Whether the answer to this request decides something here."""
        return self.request_id == req_id and self.state in _WAITING

    # -- what callers do ---------------------------------------------------------------------

    def want_again(self, params: Mapping[str, Any], req_id: Optional[int]) -> None:
        """It is being left, and somebody wants it again."""
        self._move(Cause.WANTED_AGAIN)
        self.next_params, self.next_id = dict(params), req_id

    def renew(self, not_before: float, params: Optional[Mapping[str, Any]] = None) -> None:
        """Unsubscribe and subscribe again, for a fresh snapshot or other parameters."""
        if self.state is State.WANTED:
            self._move(Cause.RENEWED)
            self.params = dict(params or self.params)
            self._reset_book()
            return
        if self.state not in _RENEWING:
            self.request_id = None
        self._move(Cause.RENEWED)
        self.next_params = dict(params or self.wanted_params)
        self.not_before = not_before

    def drop(self, proven_at: float) -> None:
        """Nobody wants it any more. Whoever waits for it is told, and its book or table ends."""
        for waiting in self.pending:
            if not waiting.leaving:
                waiting.settle(self.key, "unsubscribed meanwhile")
        self.pending = [waiting for waiting in self.pending if waiting.leaving]
        self.close("unsubscribed", proven_at)
        self.gap, self.was_live, self.next_params, self.raw = None, False, None, False
        self.acked_at = self.data_at = None
        if self.state not in (*_LEAVING, *_RENEWING):
            self.request_id = None
        self._move(Cause.DROPPED)
        if self.state is State.GONE:
            self.settle(None, leaving=True)
        if self.request_id is None:
            self.not_before = float("-inf")

    # -- what the exchange and the connection do ---------------------------------------------

    def sent(self, req_id: int) -> None:
        """The request that was due has been sent."""
        if self.state is State.WANTED:
            self.data_at = None
        if self.due_method == "subscribe":
            self.acked_at = None
        self._move(Cause.SENT)
        self.request_id, self.first_id = req_id, None

    def acknowledged(self, frame: bytes, now: float) -> None:
        """The exchange has subscribed it."""
        self._move(Cause.ACKNOWLEDGED)
        self.request_id, self.acked_at = None, now
        self.failures, self.token_failures, self.was_live = 0, 0, True
        self.settle(frame, leaving=False)

    def refused(self, error: str, frame: bytes, now: float) -> None:
        """The exchange has refused it for good."""
        self._move(Cause.REFUSED)
        self.request_id = None
        for waiting in self.pending:
            waiting.settle(self.key, None if waiting.leaving else error)
            waiting.replies.append(frame)
        self.pending = []
        self.close(error, now, refused=True)

    def retry(self, not_before: Optional[float], trouble: str = "") -> None:
        """The request is to be sent again, not before this moment."""
        self._move(Cause.RETRY)
        self.request_id = None
        if not_before is not None:
            self.not_before = not_before
        if trouble:
            for waiting in self.pending:
                waiting.trouble = trouble

    def expired(self, not_before: float) -> None:
        """No answer came in time."""
        self._move(Cause.EXPIRED)
        self.request_id, self.not_before = None, not_before

    def unsubscribed(self, frame: bytes) -> None:
        """The exchange has unsubscribed it, or never had it."""
        self._move(Cause.UNSUBSCRIBED)
        self.request_id = None
        self.settle(frame, leaving=True)
        if self.state is State.WANTED:
            self._come_back()

    def lost(self, since: float, reason: str) -> None:
        """The connection is gone."""
        self.settle(None, leaving=True)
        self._move(Cause.LOST)
        if self.state is State.GONE:
            return
        self.lapse(since, reason)
        self.request_id, self.not_before = None, float("-inf")
        self.acked_at = self.data_at = None
        self.mute = self.failures = self.token_failures = 0
        if self.sync is not None:
            self.sync.leave(BookState.STALE, reason, since)
        if self.table is not None:
            self.table.leave(BookState.STALE, reason, since)
        self._come_back()

    def _come_back(self) -> None:
        """What was wanted afresh is wanted plainly now."""
        self.params, self.next_params = dict(self.wanted_params), None
        self.first_id, self.next_id = self.next_id or self.first_id, None
        self.primer = []
        self._reset_book()

    # -- what it keeps up to date ------------------------------------------------------------

    def _reset_book(self) -> None:
        """Have a book for the wanted depth, if this is a book that can be verified."""
        if self.key.channel != "book" or not self.params.get("snapshot", True):
            return
        if self.sync is None:
            self.sync = BookSync(self.key.symbol or "", self.params["depth"])
        self.sync.depth = self.params["depth"]

    def close(self, reason: str, proven_at: float, *, refused: bool = False) -> None:
        """Its readers are told that it is over; a later book of the symbol is another one."""
        if self.sync is not None:
            self.sync.leave(BookState.CLOSED, reason, proven_at)
            self.sync.refused, self.sync = refused, None
        if self.table is not None:
            self.table.drop(reason, proven_at)
            self.table = None

    @property
    def extra(self) -> Mapping[str, Any]:
        """What a table of ours needs beyond what was asked for."""
        return {"snap_trades": True} if self.table is not None and self.key.channel == "executions" else {}

    def lapse(self, since: float, reason: str) -> None:
        """From ``since`` on something is missing, until the entry is live again."""
        if self.was_live and self.gap is None:
            self.gap = (since, reason)

    def keep(self, frame: bytes, snapshot: bool) -> None:
        """Remember what a further reader needs to be up to date."""
        if self.key.channel == "instrument":
            if snapshot:
                self.primer = [frame]
            elif len(self.primer) < KEPT_INSTRUMENT_FRAMES:
                self.primer.append(frame)
        elif self.key.channel == "trade":
            self.primer = [frame] if snapshot else [*self.primer, frame][-KEPT_TRADE_FRAMES:]
        elif self.key.channel in ("ticker", "ohlc"):
            self.primer = [frame]

    def overdue(self, now: float, timing: Timing) -> bool:
        """Acknowledged with a snapshot asked for, and nothing has come for too long."""
        if self.state is not State.LIVE or self.acked_at is None or self.data_at is not None:
            return False
        if (self.sync is not None and self.sync.live) or (self.table is not None and self.table.live):
            return False  # its snapshot came before the acknowledgement
        if self.table is None and (self.key.channel not in SURE_SNAPSHOTS or not self.params.get("snapshot")):
            return False
        return now - self.acked_at > min(60.0, timing.first_data_timeout * 2.0**self.mute)

    def settle(self, frame: Optional[bytes], *, leaving: bool) -> None:
        """Whoever waits for a subscribe (or, if ``leaving``, for an unsubscribe) has the answer."""
        for waiting in self.pending:
            if waiting.leaving is leaving:
                waiting.settle(self.key)
                waiting.replies.extend([frame] if frame is not None else [])
        self.pending = [waiting for waiting in self.pending if waiting.leaving is not leaving]
