"""The exchange of a replay: who has subscribed to what, and what they are told. One thread."""

from __future__ import annotations

import json
import secrets
import time
from typing import Any, Callable, Dict, List, Optional, Set, Union

from ..core.wire.channels import CHANNELS, DEPTHS, Key
from ..recording.routing import SERVED, acknowledged, parts_of
from ..recording.source import GAP, KNOWN, LOST, Moment
from ..simulator import wire
from .contents import Contents
from .feeds import BookFeed, DepthView, Feed, feed_of
from .instruments import Instruments

PUBLIC, PRIVATE, LEVEL3 = "public", "private", "level3"
DISABLED = "EGeneral:Feature disabled"
_OPTIONS = {"book": "depth", "level3": "depth", "ohlc": "interval", "ticker": "event_trigger"}


class Subscription:
    """One subscription of one connection."""

    def __init__(self, feed: Union[Feed, BookFeed], wants_snapshot: bool, depth: Optional[int]) -> None:
        self.feed = feed
        self.waiting = wants_snapshot or isinstance(feed, BookFeed)
        """Whether it is still to get its snapshot; no update comes before that."""
        self.view: Optional[DepthView] = None
        if isinstance(feed, BookFeed) and depth is not None and depth != feed.depth:
            self.view = DepthView(feed, depth)

    def snapshot(self) -> bytes:
        """Return the snapshot."""
        self.waiting = False
        return self.view.snapshot() if self.view is not None else self.feed.snapshot()

    def update(self, frame: bytes) -> Optional[bytes]:
        """Return what is to be told because of a recorded update; None if nothing is."""
        return self.view.update() if self.view is not None else frame


class Member:
    """One connection. ``put`` hands over a text message, ``cut`` ends the connection."""

    def __init__(self, role: str, put: Callable[[bytes], None], cut: Callable[[], None]) -> None:
        self.role = role
        self.put = put
        self.cut = cut
        self.subscriptions: Dict[Key, Subscription] = {}


class ReplayedExchange:
    """Plays moments of a recording to the connections.

    Args:
        contents: of the recording.
    """

    def __init__(self, contents: Contents) -> None:
        self.contents = contents
        self.instruments = Instruments(contents)
        self.members: List[Member] = []
        self.feeds: Dict[Key, Union[Feed, BookFeed]] = {}
        self._subscribers: Dict[Key, List[Member]] = {}
        # Before the recording begins to play, a subscriber gets the first snapshot that is in it.
        self._primed = {key: frame for key, frame in contents.first.items() if contents.early[key]}
        for key in contents.first:
            feed = self.feeds[key] = feed_of(key, contents.depths)
            if key in self._primed:
                feed.begin(self._primed[key], contents.has_snapshot[key])
        self._ended: Set[Key] = set()
        """What was unsubscribed in the recording: until it comes again, something is missing."""
        self._lost: Set[str] = set()
        self._lost_at = 0
        self.on_subscribed: Callable[[], None] = lambda: None
        """Called after each new subscription."""

    @property
    def subscriptions(self) -> int:
        """The number of subscriptions of all connections."""
        return sum(len(member.subscriptions) for member in self.members)

    # -- connections -------------------------------------------------------------------------

    def join(self, member: Member) -> None:
        """A connection was made."""
        self.members.append(member)
        member.put(self._status())

    def leave(self, member: Member) -> None:
        """A connection has ended."""
        if member in self.members:
            self.members.remove(member)
        for key in list(member.subscriptions):
            self._unsubscribed(member, key)

    def beat(self) -> None:
        """Tell everybody who is subscribed that all is well."""
        for member in self.members:
            if member.subscriptions:
                member.put(b'{"channel":"heartbeat"}')

    def receive(self, member: Member, text: str) -> None:
        """Answer a request."""
        try:
            message = json.loads(text)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            member.put(b'{"error":"Malformed request","success":false}')
            return
        method, req_id, params = message.get("method"), message.get("req_id"), message.get("params")
        now = time.time()
        if method == "ping":
            pong = {"method": "pong", "time_in": wire.timestamp(now), "time_out": wire.timestamp(now)}
            member.put(wire.dump({**pong, **({"req_id": req_id} if req_id is not None else {})}).encode())
        elif method in ("subscribe", "unsubscribe") and isinstance(params, dict):
            channel = params.get("channel")
            symbols = params.get("symbol") if channel != "instrument" else [None]
            refusal = self._refusal(member, channel, symbols, params)
            for symbol in symbols if isinstance(symbols, list) and symbols else [None]:
                if not isinstance(symbol, (str, type(None))) or not _is_plain(params):
                    refusal = "EGeneral:Invalid arguments"
                    symbol = None
                self._subscription(member, method, Key(str(channel), symbol), params, req_id, refusal)
        else:
            error = DISABLED if isinstance(method, str) else "Unsupported event"
            member.put(wire.reply(str(method), req_id, now, error=error).encode())

    def _refusal(self, member: Member, channel: Any, symbols: Any, params: Any) -> Optional[str]:
        if channel in ("executions", "balances"):
            return DISABLED
        if channel not in SERVED:
            return "Subscription name invalid"
        if (channel == "level3") is not (member.role == LEVEL3):
            return f"{channel} is served on another host"
        if not isinstance(symbols, list):
            return "Symbol field must be an array"
        if channel == "book" and params.get("depth", 10) not in DEPTHS:
            return "Subscription depth not supported"
        return None

    def _subscription(
        self, member: Member, method: str, key: Key, params: Any, req_id: Any, refusal: Optional[str]
    ) -> None:
        if key.channel == "ohlc":
            key = key._replace(interval=params.get("interval"))
        error = refusal or self._impossible(member, method, key, params)
        if error is not None:
            reply = wire.reply(method, req_id, time.time(), error=error, symbol=key.symbol)
            member.put(reply.encode())
            return
        option = _OPTIONS.get(key.channel)
        given = {**CHANNELS[key.channel].defaults, **params} if key.channel in CHANNELS else params
        result: Dict[str, Any] = {"channel": key.channel}
        if key.symbol is not None:
            result["symbol"] = key.symbol
        if option is not None:
            result[option] = given.get(option)
        snapshot = bool(params.get("snapshot", key.channel != "trade"))
        if method == "subscribe":
            result["snapshot"] = snapshot
        member.put(wire.reply(method, req_id, time.time(), result=result).encode())
        if method == "unsubscribe":
            self._unsubscribed(member, key)
            return
        if key not in self.feeds:  # only instrument, which every recording is asked for
            if snapshot:
                member.put(self.instruments.snapshot())
            member.subscriptions[key] = Subscription(Feed(key), False, None)
            return
        subscription = Subscription(self.feeds[key], snapshot, result.get("depth"))
        member.subscriptions[key] = subscription
        self._subscribers.setdefault(key, []).append(member)
        if subscription.waiting and subscription.feed.valid:
            member.put(subscription.snapshot())
        self.on_subscribed()

    def _impossible(self, member: Member, method: str, key: Key, params: Any) -> Optional[str]:
        """Why this subscription cannot be made, or ended."""
        there = key in member.subscriptions
        if method == "unsubscribe":
            return None if there else "Subscription Not Found"
        if there:
            return "Already subscribed"
        if key.channel == "instrument":
            return None
        if key.symbol not in self.contents.symbols:
            return f"Currency pair not supported {key.symbol}"
        if key not in self.feeds:
            interval = f" of {key.interval} minutes" if key.channel == "ohlc" else ""
            return f"{key.channel}{interval} was not recorded for {key.symbol}"
        feed = self.feeds[key]
        if key.channel == "level3" and isinstance(feed, BookFeed) and params.get("depth", 10) != feed.depth:
            return f"Subscription depth not supported; it was recorded with {feed.depth}"
        return None

    def _unsubscribed(self, member: Member, key: Key) -> None:
        member.subscriptions.pop(key, None)
        members = self._subscribers.get(key, [])
        if member in members:
            members.remove(member)

    def _status(self) -> bytes:
        return (
            b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online",'
            b'"api_version":"v2","connection_id":%d}]}' % secrets.randbits(63)
        )

    # -- the recording -----------------------------------------------------------------------

    def play(self, moment: Moment) -> bool:
        """Let a moment happen. Return whether connections were cut, because something is missing here."""
        kind = moment.kind
        if kind == LOST:
            self._lost.add(moment.role)
            self._lost_at = moment.at
            return False
        if kind == GAP:
            return self._gap(moment)
        reply = acknowledged(moment.frame)
        if (
            reply is not None
            and reply.method == "unsubscribe"
            and reply.key in self.feeds
            and reply.key.symbol
        ):
            self._ended.add(reply.key)
        parts = parts_of(moment.frame)
        cut = False
        # Not at the loss itself: at the end of a recording nothing more comes, and nothing is missing.
        if parts and self._lost:
            cut = self._lose()
        for key, snapshot, frame in parts:
            feed = self.feeds.get(key)
            if feed is None or self._is_primed(key, frame) or (kind == KNOWN and feed.valid):
                continue
            if key in self._ended:
                self._ended.discard(key)
                feed.lose()
                cut = self._cut(self._subscribers.get(key, ())) or cut
            told = feed.take(frame, snapshot)
            if told.broken:
                cut = self._cut(self._subscribers.get(key, ())) or cut
            for member in self._subscribers.get(key, ()):
                subscription = member.subscriptions[key]
                if subscription.waiting:
                    if told.ready:
                        member.put(subscription.snapshot())
                elif told.update is not None:
                    text = subscription.update(told.update)
                    if text is not None:
                        member.put(text)
        return cut

    def _is_primed(self, key: Key, frame: bytes) -> bool:
        """Whether a frame is known already, because it was what the first subscribers were given."""
        first = self._primed.get(key)
        if first is None:
            return False
        if first == frame:
            del self._primed[key]
            # The first trades are news although they are known: no snapshot has told them.
            return key.channel != "trade" or self.contents.has_snapshot[key]
        if key.channel in ("book", "level3"):
            return True  # it belongs to a state before that snapshot
        del self._primed[key]
        return False

    def _lose(self) -> bool:
        """Everything on some connections is missing since their loss: their subscribers are cut off."""
        roles, self._lost = self._lost, set()
        for key, feed in self.feeds.items():
            hit = "" in roles or (LEVEL3 if key.channel == "level3" else PUBLIC) in roles
            if hit and key not in self._primed:
                feed.lose()
        return self._cut([one for one in self.members if "" in roles or one.role in roles])

    def _gap(self, moment: Moment) -> bool:
        """One subscription misses something, without a loss of the connection."""
        note = json.loads(moment.frame)
        since = str(note.get("since") or "")
        key = Key(str(note.get("channel")), note.get("symbol"))
        lost_at = wire.timestamp(self._lost_at / 1e9) if self._lost_at else ""
        if key.channel in ("book", "level3") or not since or since <= lost_at:
            return False  # a book's next snapshot shows it; and after a loss everybody knows
        cut: List[Member] = []
        for one, members in self._subscribers.items():
            if (one.channel, one.symbol) == (key.channel, key.symbol):
                cut += members
        return self._cut(cut)

    def _cut(self, members: Any) -> bool:
        found = [member for member in dict.fromkeys(members) if member.subscriptions]
        for member in found:
            self.leave(member)
            member.cut()
        return bool(found)


def _is_plain(params: Any) -> bool:
    """Whether depth and interval, if they are given, are whole numbers."""
    return all(type(params.get(name, 1)) is int for name in ("depth", "interval"))
