"""What is wished and what is confirmed, one entry per (channel, symbol, interval).

First subscribe, resubscribe after a reconnect, an answer that never came and a resync are one mechanism:
an entry says what is wanted and how far it is, :meth:`Registry.due` returns the requests that are missing,
and :meth:`Registry.answer` moves entries on.

    WANTED --subscribe sent--> ASKED --ack--> LIVE --unsubscribe wanted--> LEAVING --ack--> gone or WANTED

A lost connection puts every entry back to WANTED.

Source: Kraken, "Spot WebSocket v2" subscribe pages: one reply per symbol with the request's ``req_id``;
a failure that is about no symbol comes as one reply without ``symbol``; unsubscribing what is not
subscribed is answered ``Subscription Not Found`` with method ``subscribe``. So replies are matched
by ``req_id`` and symbol, never by method.
"""

from __future__ import annotations

import enum
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Optional, Set, Tuple

from ..book.sync import BookSync
from ..freshness import BookState
from ..orders.tables import Table
from ..timing import Timing, TokenBucket
from ..wire.channels import Ask, Channel, Key
from ..wire.error_texts import ALREADY_SUBSCRIBED, TEMPORARY, TOKEN_REFUSED

SYMBOLS_PER_REQUEST = 100
KEPT_INSTRUMENT_FRAMES = 5000
KEPT_TRADE_FRAMES = 50
SURE_SNAPSHOTS = ("book", "ticker", "instrument")
"""Channels whose snapshot always has something in it; no trade and no candle is possible."""
KEPT_EXPIRED = 60.0


class Phase(enum.Enum):
    """How far an entry is; see the module."""

    WANTED = "wanted"
    ASKED = "asked"
    LIVE = "live"
    LEAVING = "leaving"


class Call:
    """A caller's question and what is known of its answer; done when nothing is waited for."""

    def __init__(self, keys: Iterable[Key], *, leaving: bool = False) -> None:
        self.leaving = leaving
        """Whether this waits for an unsubscribe."""
        self.waiting: Set[Key] = set(keys)
        self.refused: Dict[Optional[str], str] = {}
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


class Wish:
    """One entry: what is wanted for a key, and how far it is."""

    def __init__(self, key: Key, channel: Channel, params: Mapping[str, Any]) -> None:
        self.key = key
        self.channel = channel
        self.params = dict(params)
        self.phase = Phase.WANTED
        self.on_wire = False
        """A subscribe was sent on this connection, and the exchange may have taken it."""
        self.raw = False
        """Somebody subscribed this as frames, so its parameters are not ours to change."""
        self.internal = True
        """Nobody has ever asked for its frames: they are for a table of ours, and shown to nobody."""
        self.sync: Optional[BookSync] = None
        self.table: Optional[Table] = None
        """The table of the account that it keeps up to date."""
        self.token_failures = 0
        self.first_id: Optional[int] = None
        """The caller's own ``req_id``, for the first request only."""
        self.asked_id: Optional[int] = None
        self.again: Optional[Dict[str, Any]] = None
        """While LEAVING: the parameters to come back with, or None."""
        self.again_id: Optional[int] = None
        """The caller's own ``req_id`` for coming back."""
        self.not_before = float("-inf")
        self.failures = 0
        self.mute = 0
        self.acked_at: Optional[float] = None
        self.data_at: Optional[float] = None
        self.was_live = False
        self.was_fed = False
        """Frames of it have been delivered."""
        self.gap: Optional[Tuple[float, str]] = None
        """Since when, and why, something is missing."""
        self.calls: List[Call] = []
        self.primer: List[bytes] = []
        """The frames that bring a further reader up to date."""
        self.reset_book()

    def reset_book(self) -> None:
        """Have a book for the wished depth, if this is a book that can be verified."""
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

    @property
    def leaves_for_good(self) -> bool:
        """Whether nobody wishes for it any more, and only the exchange's confirmation is missing."""
        return self.phase is Phase.LEAVING and self.again is None

    @property
    def takes_data(self) -> bool:
        """Whether frames belong to what is wished, rather than to what is being left."""
        return self.phase in (Phase.LIVE, Phase.ASKED) or (self.phase is Phase.WANTED and self.on_wire)

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
        if self.phase is not Phase.LIVE or self.acked_at is None or self.data_at is not None:
            return False
        if (self.sync is not None and self.sync.live) or (self.table is not None and self.table.live):
            return False  # its snapshot came before the acknowledgement
        if self.table is not None:
            return now - self.acked_at > min(60.0, timing.first_data_timeout * 2.0**self.mute)
        if self.key.channel not in SURE_SNAPSHOTS or not self.params.get("snapshot"):
            return False
        return now - self.acked_at > min(60.0, timing.first_data_timeout * 2.0**self.mute)


class Asked:
    """A request on its way, with the entries that wait for its answer."""

    def __init__(self, method: str, sent_at: float, waiting: Dict[Optional[str], Wish]) -> None:
        self.method = method
        self.sent_at = sent_at
        self.waiting = waiting
        self.expired = False
        """Nobody counts on it any more, but its answer may still come."""


class Request(NamedTuple):
    """One subscribe or unsubscribe that is due."""

    method: str
    channel: str
    params: Mapping[str, Any]
    symbols: Optional[List[str]]
    req_id: int


class Answer(NamedTuple):
    """What a reply did to one entry: it is ``live``, ``gone``, ``refused`` or asked again (``retry``)."""

    wish: Wish
    result: str
    error: str = ""


class Registry:
    """All entries of one connection. Not thread-safe: the owner serialises."""

    def __init__(self, timing: Timing) -> None:
        self.wishes: Dict[Key, Wish] = {}
        self._timing = timing
        self._asked: Dict[int, Asked] = {}

    # -- intent ------------------------------------------------------------------------------

    def conflict(self, key: Key, ask: Ask) -> Optional[str]:
        """Why ``ask`` cannot stand beside what is there already, or None."""
        wish = self.wishes.get(key)
        if wish is None or wish.leaves_for_good:
            return None
        for name in ask.channel.one_of:
            assumed = ask.channel.assumed.get(name)
            wanted = (wish.again or wish.params).get(name, assumed)
            if wanted != ask.params.get(name, assumed):
                return (
                    f"already subscribed with {name}={wanted!r} on this connection, and its data do not tell "
                    f"one {name} from another. Unsubscribe that first, or use a second client"
                )
        return None

    def want(self, ask: Ask, key: Key, call: Optional[Call], first_id: Optional[int]) -> Wish:
        """Wish for ``key``; ``call`` is told the answer (at once if it is live)."""
        wish = self.wishes.get(key)
        if wish is None:
            wish = self.wishes[key] = Wish(key, ask.channel, ask.params)
            wish.first_id = first_id
        elif wish.leaves_for_good:
            wish.again, wish.again_id = dict(ask.params), first_id
        if call is not None:
            if wish.phase is Phase.LIVE:
                call.settle(key)
            else:
                wish.calls.append(call)
        return wish

    def unwant(self, key: Key, call: Optional[Call], connected: bool, proven_at: float) -> None:
        """Stop wishing for ``key``; ``call`` is told when the exchange has confirmed."""
        wish = self.wishes.get(key)
        if wish is None:
            if call is not None:
                call.settle(key)
            return
        for waiting in wish.calls:
            if not waiting.leaving:
                waiting.settle(key, "unsubscribed meanwhile")
        wish.calls = [waiting for waiting in wish.calls if waiting.leaving]
        wish.close("unsubscribed", proven_at)
        wish.gap, wish.was_live, wish.again, wish.raw = None, False, None, False
        wish.acked_at = wish.data_at = None
        if not connected or (wish.phase is Phase.WANTED and not wish.on_wire):
            self._settle_calls(wish, None, leaving=True)
            del self.wishes[key]
            if call is not None:
                call.settle(key)
            return
        if wish.phase is not Phase.LEAVING:
            wish.phase, wish.asked_id = Phase.LEAVING, None
        if wish.asked_id is None:
            wish.not_before = float("-inf")
        if call is not None:
            wish.calls.append(call)

    def resubscribe(self, wish: Wish, not_before: float, params: Optional[Mapping[str, Any]] = None) -> None:
        """Unsubscribe ``wish`` and subscribe it again, for a fresh snapshot or other parameters."""
        if wish.phase is Phase.WANTED and not wish.on_wire:
            wish.params = dict(params or wish.params)
            wish.reset_book()
            return
        if wish.phase is not Phase.LEAVING:
            wish.phase, wish.asked_id = Phase.LEAVING, None
        wish.again = dict(params or wish.again or wish.params)
        wish.not_before = not_before

    # -- output ------------------------------------------------------------------------------

    def due(self, now: float, bucket: TokenBucket, new_id: Callable[[], int]) -> List[Request]:
        """The requests that are missing, as many as the bucket allows; they count as sent."""
        groups: Dict[Any, Tuple[Dict[str, Any], List[Wish]]] = {}
        for wish in self.wishes.values():
            if wish.not_before > now or wish.asked_id is not None:
                continue
            if wish.phase is Phase.WANTED:
                params, method = {**wish.params, **wish.extra}, "subscribe"
            elif wish.phase is Phase.LEAVING:
                method = "unsubscribe"
                params = {name: wish.params[name] for name in wish.channel.unsubscribe}
            else:
                continue
            group = (method, wish.key.channel, repr(sorted(params.items())), wish.first_id)
            groups.setdefault(group, (params, []))[1].append(wish)
        requests: List[Request] = []
        for (method, channel, _, first_id), (params, wishes) in groups.items():
            size = len(wishes) if first_id is not None else SYMBOLS_PER_REQUEST
            for start in range(0, len(wishes), size):
                if not bucket.take(now):
                    return requests
                chunk = wishes[start : start + size]
                req_id = first_id if first_id is not None else new_id()
                self._sent(method, chunk, req_id, now)
                symbols = [wish.key.symbol for wish in chunk if wish.key.symbol is not None]
                requests.append(Request(method, channel, dict(params), symbols or None, req_id))
        return requests

    def _sent(self, method: str, wishes: List[Wish], req_id: int, now: float) -> None:
        self._asked[req_id] = Asked(method, now, {wish.key.symbol: wish for wish in wishes})
        for wish in wishes:
            wish.asked_id, wish.first_id = req_id, None
            if wish.phase is Phase.WANTED:
                if not wish.on_wire:
                    wish.data_at = None
                wish.acked_at = None
                wish.phase, wish.on_wire = Phase.ASKED, True

    # -- input -------------------------------------------------------------------------------

    def asked(self, req_id: int) -> bool:
        """Whether a request with this id waits for its answer, or to be sent."""
        asked = self._asked.get(req_id)
        if asked is not None and any(wish.asked_id == req_id for wish in asked.waiting.values()):
            return True
        return any(req_id in (wish.first_id, wish.again_id) for wish in self.wishes.values())

    def sent_at(self, req_id: Any) -> Optional[float]:
        """When the request with this id was sent, if it waits for its answer."""
        asked = self._asked.get(req_id) if isinstance(req_id, int) else None
        return asked.sent_at if asked is not None else None

    def answer(
        self,
        req_id: Any,
        symbol: Optional[str],
        success: bool,
        error: str,
        frame: bytes,
        now: float,
    ) -> Optional[List[Answer]]:
        """Apply one reply; None if no request of ours is waiting for it."""
        asked = self._asked.get(req_id) if isinstance(req_id, int) else None
        if asked is None:
            return None
        if symbol in asked.waiting:
            concerned = [asked.waiting.pop(symbol)]
        elif symbol is None:
            concerned = list(asked.waiting.values())
            asked.waiting.clear()
        else:
            return None
        if not asked.waiting:
            del self._asked[req_id]
        answers = []
        for wish in concerned:
            counted = wish.asked_id == req_id and wish.phase in (Phase.ASKED, Phase.LEAVING)
            late = success and asked.method == "subscribe" and wish.phase in (Phase.WANTED, Phase.ASKED)
            if counted or (late and self.wishes.get(wish.key) is wish):
                answers.append(self._move(wish, success, error, frame, now))
        return answers

    def _move(self, wish: Wish, success: bool, error: str, frame: bytes, now: float) -> Answer:
        wish.asked_id = None
        if not success and error.startswith(TOKEN_REFUSED) and wish.channel.private:
            wish.token_failures += 1
            if (
                wish.token_failures <= 1 or not wish.calls
            ):  # a fresh token may help; callers wait for one only
                if wish.phase is Phase.ASKED:
                    wish.phase = Phase.WANTED
                if wish.token_failures > 1:
                    wish.not_before = now + min(30.0, 2.0 ** (wish.token_failures - 2))
                return Answer(wish, "retry", error)
        if not success and error.startswith(TEMPORARY):
            wish.failures += 1
            wish.not_before = now + min(30.0, 2.0 ** (wish.failures - 1))
            if wish.phase is Phase.ASKED:  # an earlier request may have been taken all the same
                wish.phase = Phase.WANTED
            for call in wish.calls:
                call.trouble = error
            return Answer(wish, "retry", error)
        if wish.phase is Phase.LEAVING:
            return self._left(wish, frame)
        if success or error.startswith(ALREADY_SUBSCRIBED):
            wish.phase, wish.acked_at = Phase.LIVE, now
            wish.failures, wish.token_failures, wish.was_live = 0, 0, True
            self._settle_calls(wish, frame, leaving=False)
            return Answer(wish, "live")
        self._refuse_calls(wish, error, frame)
        del self.wishes[wish.key]
        wish.close(error, now, refused=True)
        return Answer(wish, "refused", error)

    def _left(self, wish: Wish, frame: bytes) -> Answer:
        self._settle_calls(wish, frame, leaving=True)
        if wish.again is None:
            del self.wishes[wish.key]
            return Answer(wish, "gone")
        wish.phase, wish.params, wish.again, wish.on_wire = Phase.WANTED, wish.again, None, False
        wish.first_id, wish.again_id = wish.again_id, None
        wish.primer = []
        wish.reset_book()
        return Answer(wish, "retry")

    def expire(self, now: float) -> None:
        """Ask again what was not answered in time."""
        for req_id, asked in list(self._asked.items()):
            if asked.expired and now - asked.sent_at > KEPT_EXPIRED:
                del self._asked[req_id]
            if asked.expired or now - asked.sent_at <= self._timing.ack_timeout:
                continue
            asked.expired = True
            for wish in asked.waiting.values():
                if wish.asked_id != req_id:
                    continue
                wish.asked_id = None
                if wish.phase is Phase.ASKED:
                    wish.phase = Phase.WANTED
                wish.failures += 1
                wish.not_before = now + (min(30.0, 2.0 ** (wish.failures - 2)) if wish.failures > 1 else 0)

    def lost(self, since: float, reason: str) -> None:
        """The connection is gone: everything wished is wanted again, everything leaving is gone."""
        self._asked.clear()
        for wish in list(self.wishes.values()):
            self._settle_calls(wish, None, leaving=True)
            if wish.leaves_for_good:
                del self.wishes[wish.key]
                continue
            wish.lapse(since, reason)
            wish.phase, wish.asked_id, wish.not_before = Phase.WANTED, None, float("-inf")
            wish.on_wire = False
            wish.params, wish.again = wish.again or wish.params, None
            wish.first_id, wish.again_id = wish.again_id or wish.first_id, None
            wish.acked_at = wish.data_at = None
            wish.mute = wish.failures = wish.token_failures = 0
            wish.primer = []
            if wish.sync is not None:
                wish.sync.leave(BookState.STALE, reason, since)
            if wish.table is not None:
                wish.table.leave(BookState.STALE, reason, since)
            wish.reset_book()

    @property
    def confirmed(self) -> bool:
        """Whether anything is subscribed, so that the exchange sends heartbeats."""
        return any(
            wish.phase is Phase.LIVE or (wish.phase is Phase.LEAVING and wish.acked_at is not None)
            for wish in self.wishes.values()
        )

    def _settle_calls(self, wish: Wish, frame: Optional[bytes], *, leaving: bool) -> None:
        for call in wish.calls:
            if call.leaving is leaving:
                call.settle(wish.key)
                call.replies.extend([frame] if frame is not None else [])
        wish.calls = [call for call in wish.calls if call.leaving is not leaving]

    def _refuse_calls(self, wish: Wish, error: str, frame: Optional[bytes] = None) -> None:
        for call in wish.calls:
            call.settle(wish.key, None if call.leaving else error)
            call.replies.extend([frame] if frame is not None else [])
        wish.calls = []
