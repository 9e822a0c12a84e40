"""The subscriptions of one connection by key, and the requests that move them on.

:meth:`Registry.due` returns the requests that are due, and :meth:`Registry.answer` applies a reply. The
states are in :mod:`.states`.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple

from ..freshness import BookState
from ..timing import Timing
from ..wire.channels import LEVEL3_POINTS, ORDER_DEPTH_COST, ChannelParams, Key
from ..wire.error_texts import ALREADY_SUBSCRIBED, NO_SUCH_PAIR, TEMPORARY, TOKEN_REFUSED
from .budgets import TokenBucket
from .entry import Entry, PendingAck
from .states import State

SYMBOLS_PER_REQUEST = 100  # the exchange publishes no limit; all its pairs then take 15 requests
KEPT_EXPIRED = 60.0
"""Seconds for which the answer to an expired request is still recognised."""
LONGEST_PAUSE = 30.0
"""Seconds between two attempts of a request that keeps failing."""


class SentRequest:
    """A request that was sent, and the entries that wait for its answer."""

    def __init__(self, method: str, sent_at: float, waiting: Dict[Optional[str], Entry]) -> None:
        self.method = method
        self.sent_at = sent_at
        self.waiting = waiting
        self.expired = False
        """The request has been given up, but its answer may still arrive."""


class DueRequest(NamedTuple):
    """One subscribe or unsubscribe request that is due."""

    method: str
    channel: str
    params: Mapping[str, Any]
    symbols: Optional[List[str]]
    req_id: int


class Answer(NamedTuple):
    """The effect of a reply on one entry: ``live``, ``gone``, ``refused`` or ``retry`` (it will be asked
    again).
    """

    entry: Entry
    result: str
    error: str = ""


class Registry:
    """All subscriptions of one connection. Not thread-safe: the owner serialises."""

    def __init__(self, timing: Timing) -> None:
        self.entries: Dict[Key, Entry] = {}
        self._timing = timing
        self._sent: Dict[int, SentRequest] = {}
        self._points = TokenBucket(LEVEL3_POINTS, LEVEL3_POINTS)

    # -- intent ------------------------------------------------------------------------------

    def conflict(self, key: Key, wanted: ChannelParams) -> Optional[str]:
        """Return why ``wanted`` cannot be combined with the existing subscription, or None."""
        entry = self.entries.get(key)
        if entry is None or entry.leaving:
            return None
        for name in wanted.channel.one_of:
            assumed = wanted.channel.assumed.get(name)
            there = entry.wanted_params.get(name, assumed)
            if there != wanted.params.get(name, assumed):
                return (
                    f"already subscribed with {name}={there!r} on this connection, and its data do not tell "
                    f"one {name} from another. Unsubscribe that first, or use a second client"
                )
        return None

    def want(
        self, wanted: ChannelParams, key: Key, pending: Optional[PendingAck], first_id: Optional[int]
    ) -> Entry:
        """Want ``key``; ``pending`` gets the answer, at once if the key is live."""
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = Entry(key, wanted.channel, wanted.params)
            entry.first_id = first_id
        elif entry.leaving:
            entry.want_again(wanted.params, first_id)
        if pending is not None:
            if entry.live:
                pending.settle(key)
            else:
                entry.pending.append(pending)
        return entry

    def unwant(self, key: Key, pending: Optional[PendingAck], proven_at: float) -> None:
        """Stop wanting ``key``; ``pending`` gets the exchange's confirmation."""
        entry = self.entries.get(key)
        if entry is not None:
            entry.drop(proven_at)
            if not self._forget_if_gone(entry):
                entry.pending.extend([pending] if pending is not None else [])
                return
        if pending is not None:
            pending.settle(key)

    def _forget_if_gone(self, entry: Entry) -> bool:
        if entry.state is not State.GONE:
            return False
        del self.entries[entry.key]
        return True

    # -- output ------------------------------------------------------------------------------

    def due(self, now: float, bucket: TokenBucket, new_id: Callable[[], int]) -> List[DueRequest]:
        """Return the requests that are due, as many as the bucket allows; they count as sent."""
        groups: Dict[Any, Tuple[Dict[str, Any], List[Entry]]] = {}
        for entry in self.entries.values():
            method = entry.due_method
            if method is None or entry.not_before > now:
                continue
            if method == "subscribe":
                params = {**entry.params, **entry.extra}
            else:
                params = {name: entry.params[name] for name in entry.channel.unsubscribe}
            group = (method, entry.key.channel, repr(sorted(params.items())), entry.first_id)
            groups.setdefault(group, (params, []))[1].append(entry)
        requests: List[DueRequest] = []
        for (method, channel, _, first_id), (params, entries) in groups.items():
            # A caller's own req_id must not be sent with two requests, so its symbols are not split.
            size = len(entries) if first_id is not None else SYMBOLS_PER_REQUEST
            cost = ORDER_DEPTH_COST[params["depth"]] if (method, channel) == ("subscribe", "level3") else 0
            if cost and first_id is None:
                size = min(size, LEVEL3_POINTS // cost)
            for start in range(0, len(entries), size):
                chunk = entries[start : start + size]
                if cost and not self._points.take(now, min(cost * len(chunk), LEVEL3_POINTS)):
                    break  # the rest of them later; other channels go on
                if not bucket.take(now):
                    return requests
                req_id = first_id if first_id is not None else new_id()
                # Entered before the frame leaves: the answer may be read by another thread before the
                # send returns.
                waiting = {entry.key.symbol: entry for entry in chunk}
                there = self._sent.get(req_id)
                if there is not None and not there.expired:
                    # a caller's own id, for symbols that need requests of their own: the answers share it
                    there.waiting.update(waiting)
                else:
                    self._sent[req_id] = SentRequest(method, now, waiting)
                for entry in chunk:
                    entry.sent(req_id)
                symbols = [entry.key.symbol for entry in chunk if entry.key.symbol is not None]
                requests.append(DueRequest(method, channel, dict(params), symbols or None, req_id))
        return requests

    # -- input -------------------------------------------------------------------------------

    def uses(self, req_id: int) -> bool:
        """Return whether a request with this id waits for its answer, or waits to be sent."""
        sent = self._sent.get(req_id)
        if sent is not None and any(entry.request_id == req_id for entry in sent.waiting.values()):
            return True
        return any(req_id in (entry.first_id, entry.next_id) for entry in self.entries.values())

    def sent_at(self, req_id: Any) -> Optional[float]:
        """Return when the request with this id was sent (monotonic seconds), if it waits for its answer."""
        sent = self._sent.get(req_id) if isinstance(req_id, int) else None
        return sent.sent_at if sent is not None else None

    def answer(
        self,
        req_id: Any,
        symbol: Optional[str],
        success: bool,
        error: str,
        frame: bytes,
        now: float,
    ) -> Optional[List[Answer]]:
        """Apply one reply, and return its effects; None if no request waits for it."""
        sent = self._sent.get(req_id) if isinstance(req_id, int) else None
        if sent is None:
            return None
        # Not every source has a symbol beside this error, but all have it in the text.
        if symbol is None and error.startswith(NO_SUCH_PAIR):
            named = error[len(NO_SUCH_PAIR) :].strip()
            symbol = named if named in sent.waiting else None
        if symbol in sent.waiting:
            concerned = [sent.waiting.pop(symbol)]
        # A failure without a symbol concerns the whole request: a wrong host or a refused token, for
        # example.
        elif symbol is None:
            concerned = list(sent.waiting.values())
            sent.waiting.clear()
        else:
            return None
        if not sent.waiting:
            del self._sent[req_id]
        answers = []
        for entry in concerned:
            # The subscribe may have been repeated since. A late success still counts: the exchange has
            # subscribed it, and answers the repetition with "Already subscribed".
            late = success and sent.method == "subscribe" and entry.state in (State.UNSURE, State.ASKED)
            if entry.waits_for(req_id) or (late and self.entries.get(entry.key) is entry):
                answers.append(self._answered(entry, success, error, frame, now))
        return answers

    def unsubscribed(self, result: Mapping[str, Any], now: float) -> List[Answer]:
        """Apply the news that the exchange has unsubscribed something without being asked."""
        reason = "unsubscribed without being asked"
        ended = [
            entry
            for entry in self.entries.values()
            if entry.live
            and entry.key.channel == result.get("channel")
            and result.get("symbol") in (None, entry.key.symbol)
            and result.get("interval") in (None, entry.key.interval)
        ]
        answers = []
        for entry in ended:
            if entry.table is not None:
                # The account's tables are needed as long as the connection is: orders are judged by them.
                entry.lapse(now, reason)
                entry.table.leave(BookState.RESYNCING, reason, now)
                entry.renew(now)
                answers.append(Answer(entry, "retry", reason))
                continue
            entry.ended(reason, now)
            self._forget_if_gone(entry)
            answers.append(Answer(entry, "refused", reason))
        return answers

    def _answered(self, entry: Entry, success: bool, error: str, frame: bytes, now: float) -> Answer:
        if not success and error.startswith(TOKEN_REFUSED) and entry.channel.private:
            entry.token_failures += 1
            if entry.token_failures <= 1 or not entry.pending:
                # A fresh token may help. A waiting caller gets the error if that one is refused, too.
                again = entry.token_failures - 2
                entry.retry(now + min(LONGEST_PAUSE, 2.0**again) if again >= 0 else None)
                return Answer(entry, "retry", error)
        if not success and error.startswith(TEMPORARY):
            entry.failures += 1
            entry.retry(now + min(LONGEST_PAUSE, 2.0 ** (entry.failures - 1)), error)
            return Answer(entry, "retry", error)
        # Success or not: "Subscription Not Found" also means that it is not subscribed any more.
        if entry.state in (State.LEAVING_ASKED, State.RENEWING_ASKED):
            entry.unsubscribed(frame)
            return Answer(entry, "gone" if self._forget_if_gone(entry) else "retry")
        if success or error.startswith(ALREADY_SUBSCRIBED):
            entry.acknowledged(frame, now)
            return Answer(entry, "live")
        entry.refused(error, frame, now)
        self._forget_if_gone(entry)
        return Answer(entry, "refused", error)

    def expire(self, now: float) -> None:
        """Make the requests that were not answered in time due again."""
        for req_id, sent in list(self._sent.items()):
            if sent.expired and now - sent.sent_at > KEPT_EXPIRED:
                del self._sent[req_id]
            if sent.expired or now - sent.sent_at <= self._timing.ack_timeout:
                continue
            # Kept rather than deleted: a late answer to a subscribe is still the truth.
            sent.expired = True
            for entry in sent.waiting.values():
                if entry.waits_for(req_id):
                    entry.failures += 1
                    pause = min(LONGEST_PAUSE, 2.0 ** (entry.failures - 2)) if entry.failures > 1 else 0.0
                    entry.expired(now + pause)

    def lost(self, since: float, reason: str) -> None:
        """Note that the connection is gone: what is wanted is due again, what is leaving has left."""
        self._sent.clear()
        for entry in list(self.entries.values()):
            entry.lost(since, reason)
            self._forget_if_gone(entry)

    @property
    def confirmed(self) -> bool:
        """Whether anything is subscribed, so that the exchange sends heartbeats."""
        return any(entry.confirmed for entry in self.entries.values())
