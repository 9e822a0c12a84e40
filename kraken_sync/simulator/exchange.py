"""What the simulated exchange says, without a socket: requests in, messages out.

Sources: Kraken's "Spot WebSocket v2" reference and recorded traffic: one reply per symbol, keys in
alphabetical order, a reply before its snapshot, refusals in the exchange's words, heartbeats only while
something is subscribed, ``Subscription Not Found`` under the method ``subscribe``.
"""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any, Callable, Dict, Iterable, List, Mapping, Optional, Sequence

from . import wire
from .credentials import Credentials
from .execution import FUNDS
from .faults import Faults
from .feeds import MarketFeeds
from .instruments import INSTRUMENTS, Instrument, pair_text
from .market import DEPTHS, Market
from .peers import LEVEL3, PRIVATE, PUBLIC, Feed, Peer
from .private_desk import PRIVATE_CHANNELS, TRADING_METHODS, PrivateDesk
from .tape import INTERVALS
from .trading import Trading
from .values import Values

PUBLIC_CHANNELS = ("ticker", "book", "trade", "ohlc", "instrument")
WRONG_HOST_PRIVATE = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"
WRONG_HOST_PUBLIC = "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"


class Exchange:
    """Markets, subscriptions and replies. ``now`` is seconds since the epoch. One thread at a time."""

    def __init__(
        self,
        seed: int,
        now: float,
        faults: Faults,
        credentials: Optional[Credentials] = None,
        tier: Optional[str] = "pro",
        pairs: Sequence[Instrument] = INSTRUMENTS,
        funds: Mapping[str, str] = FUNDS,
    ) -> None:
        self.faults = faults
        self.system = "online"
        values = Values(pairs, random.Random(f"{seed}/values"))
        self.markets: Dict[str, Market] = {pair.symbol: Market(pair, values, seed, now) for pair in pairs}
        self.peers: List[Peer] = []
        self.requests: List[Dict[str, Any]] = []
        """Every request ever received, as parsed, for tests to look at."""
        self._feeds = MarketFeeds(self.markets, self.peers, faults, self._send)
        self.credentials = credentials or Credentials(seed)
        self.announced: Dict[str, List[Dict[str, Any]]] = {"maintenance": [], "emergency": []}
        self.desk = PrivateDesk(self.peers, faults, self.credentials, self._send)
        self.trading = Trading(self.markets, seed, tier, self.desk.report, self.desk.entry, funds)
        self.trading.gone_text = lambda: self.faults.gone_text
        self.desk.trading = self.trading
        self._rng = random.Random(seed)
        # Of its own: how often clients connect must not change the market.
        self._ids = random.Random(f"connections/{seed}")
        self._busy = [market for market in self.markets.values() if market.pair.activity]
        self._weights = [market.pair.activity for market in self._busy]

    def add_market(self, market: Market) -> None:
        """List a further pair, in which nothing happens by itself."""
        self.markets[market.pair.symbol] = market
        self.trading.watch(market)

    # -- connections -------------------------------------------------------------------------

    def connect(self, role: str, send: Callable[[str, float], None], now: float) -> Peer:
        """A new connection; it is greeted with the ``status`` message."""
        peer = Peer(role, send, now)
        self.peers.append(peer)
        if self.faults.connection_error is not None:
            error = {
                "message": self.faults.connection_error,
                "hint": "Your code may be reconnecting too often or when it has no need to.",
                "name": "WebSocket connection rate error",
            }
            peer.send(wire.dump({"error": error}), 0.0)
        elif not self.faults.no_status:
            self._send(peer, self._status(self._ids.randrange(2**63, 2**64)), now)
        return peer

    def disconnect(self, peer: Peer) -> None:
        """The connection is gone."""
        if peer in self.peers:
            self.peers.remove(peer)
        peer.unpin()

    def set_system(self, system: str, now: float) -> None:
        """Change the trading engine's status, and tell everybody."""
        self.system = self.trading.system = system
        for peer in self.peers:
            self._send(peer, self._status(None), now)

    def announce(self, now: float, kind: str, announcement: Optional[Dict[str, Any]]) -> None:
        """Announce a maintenance or an emergency, and tell everybody; None withdraws what was announced."""
        self.announced[kind] = [announcement] if announcement is not None else []
        for peer in self.peers:
            self._send(peer, self._status(None), now)

    def _status(self, connection_id: Optional[int]) -> str:
        connection = "" if connection_id is None else f',"connection_id":{connection_id}'
        return (
            '{"channel":"status","type":"update","data":[{"version":"2.0.10",'
            f'"system":"{self.system}","api_version":"v2"{connection},'
            f'"upcoming_maintenance":{json.dumps(self.announced["maintenance"])},'
            f'"emergency":{json.dumps(self.announced["emergency"])}}}]}}'
        )

    def _send(self, peer: Peer, text: str, now: float, delay: float = 0.0) -> None:
        if not self.faults.mute:
            peer.sent_at = now
            peer.send(text if self.faults.garble is None else self.faults.garble(text), delay)

    # -- requests ----------------------------------------------------------------------------

    def receive(self, peer: Peer, text: str, now: float) -> None:
        """Take one request and answer it."""
        peer.heard_at = now
        try:
            message = json.loads(text, parse_float=_number, parse_int=_number, parse_constant=_number)
        except (ValueError, ArithmeticError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self._send(peer, wire.dump({"error": "Malformed request", "success": False}), now)
            return
        self.requests.append(message)
        method, req_id = str(message.get("method", "")), message.get("req_id")
        if req_id is not None and type(req_id) is not int:
            self._fail(peer, method, None, "EGeneral:Invalid arguments:req_id", now)
            return
        params = message.get("params")
        if isinstance(params, dict) and peer.unified:
            if params.get("asset_class") != "spot":  # the exchange's words are not known
                self._fail(peer, method, req_id, "EGeneral:Invalid arguments:asset_class", now)
                return
            params = {name: value for name, value in params.items() if name != "asset_class"}
        if self._too_fast(peer, now):
            self._fail(peer, method, req_id, "Exceeded msg rate", now)
        elif method == "ping":
            self._ping(peer, message, now)
        elif method in ("subscribe", "unsubscribe"):
            if not isinstance(params, dict):
                self._fail(peer, method, req_id, "EGeneral:Invalid arguments:params", now)
            else:
                self._subscription(peer, method, params, req_id, now)
        elif method in TRADING_METHODS:
            if peer.role != PRIVATE:
                self._fail(peer, method, req_id, WRONG_HOST_PRIVATE, now)
            elif not isinstance(params, dict):
                self._fail(peer, method, req_id, "EGeneral:Invalid arguments:params", now)
            else:
                self.desk.trade(peer, method, params, req_id, now)
        else:
            self._fail(peer, method, req_id, "Unsupported event", now)

    def _too_fast(self, peer: Peer, now: float) -> bool:
        rate = self.faults.message_rate
        if rate is None:
            return False
        peer.requests = [moment for moment in peer.requests if now - moment < 1.0]
        if len(peer.requests) >= rate:
            return True
        peer.requests.append(now)
        return False

    def _fail(self, peer: Peer, method: str, req_id: Any, error: str, now: float, **more: Any) -> None:
        self._send(peer, wire.reply(method, req_id, now, error=error, **more), now)

    def _ping(self, peer: Peer, message: Dict[str, Any], now: float) -> None:
        if self.faults.drop_pongs:
            return
        if "params" in message:
            error = "Unsupported field: 'params' for the given msg type: ping"
            self._fail(peer, "ping", message.get("req_id"), error, now)
            return
        pong: Dict[str, Any] = {
            "method": "pong",
            "time_in": wire.timestamp(now),
            "time_out": wire.timestamp(now + 0.00002),
        }
        if "req_id" in message:
            pong["req_id"] = message["req_id"]
        self._send(peer, wire.dump(pong), now)

    def _subscription(self, peer: Peer, method: str, params: Dict[str, Any], req_id: Any, now: float) -> None:
        channel = params.get("channel")
        if channel in _HOSTS.get(peer.role, ()):
            self._private_subscription(peer, method, params, req_id, now)
            return
        if channel == "status":  # as Kraken's own SDK has seen it
            self._send(peer, self._status(None), now)
            self._fail(peer, method, req_id, "Symbol(s) not found", now)
            return
        error = self._bad_params(peer, channel, params)
        if error is not None:
            self._fail(peer, method, req_id, error, now)
            return
        assert isinstance(channel, str)
        for symbol in [None] if channel == "instrument" else params["symbol"]:
            feed = Feed(channel, symbol, _option(channel, params))
            if method == "subscribe":
                self._subscribe(peer, feed, params, req_id, now)
            else:
                self._unsubscribe(peer, feed, req_id, now)

    def _private_subscription(
        self, peer: Peer, method: str, params: Dict[str, Any], req_id: Any, now: float
    ) -> None:
        symbols = params.get("symbol") if params.get("channel") == "level3" else None
        for symbol in symbols if isinstance(symbols, list) else ():
            if isinstance(symbol, str) and symbol in self.markets:
                self._feeds.publish(self.markets[symbol], now, but=peer)
        self.desk.subscription(peer, method, params, req_id, now)

    def _bad_params(self, peer: Peer, channel: Any, params: Dict[str, Any]) -> Optional[str]:
        if channel in PRIVATE_CHANNELS:
            return WRONG_HOST_PRIVATE
        if channel not in PUBLIC_CHANNELS:
            return "Subscription name invalid"
        if peer.role != PUBLIC:
            return WRONG_HOST_PUBLIC
        if channel != "instrument":
            symbols = params.get("symbol")
            if not isinstance(symbols, list) or not all(isinstance(one, str) for one in symbols):
                return "Symbol field must be an array"
            if not symbols:
                return "EGeneral:Invalid arguments:symbol"
        if not isinstance(params.get("snapshot", True), bool):
            return "EGeneral:Invalid arguments:snapshot"
        option = _option(channel, params)
        if channel in ("book", "ohlc") and type(option) is not int:
            return f"EGeneral:Invalid arguments:{_OPTIONS[channel]}"
        if channel == "book" and option not in DEPTHS:
            return "Subscription depth not supported"
        if channel == "ohlc" and option not in INTERVALS:
            return "Subscription ohlc interval not supported"
        if channel == "ticker" and option not in ("trades", "bbo"):
            return "EGeneral:Invalid arguments:event_trigger"
        return None

    def _ack(self, peer: Peer, text: str, now: float) -> bool:
        """Send a reply to subscribe or unsubscribe, unless a fault says otherwise."""
        if self.faults.use_up("drop_acks"):
            return False
        self._send(peer, text, now, self.faults.ack_delay)
        return True

    def _subscribe(self, peer: Peer, feed: Feed, params: Dict[str, Any], req_id: Any, now: float) -> None:
        symbol = feed.symbol
        if symbol is not None and (symbol not in self.markets or symbol in self.faults.refused):
            error = f"Currency pair not supported {symbol}"
            self._fail(peer, "subscribe", req_id, error, now, symbol=symbol)
            return
        if any(_same(feed, other) for other in peer.feeds):
            self._fail(peer, "subscribe", req_id, "Already subscribed", now, symbol=symbol)
            return
        snapshot = params.get("snapshot", feed.channel != "trade")
        result: Dict[str, Any] = {"channel": feed.channel, "snapshot": snapshot}
        if symbol is not None:
            result["symbol"] = symbol
        if feed.option is not None:
            result[_OPTIONS[feed.channel]] = feed.option
        if feed.channel in _WARNINGS:
            result["warnings"] = [_WARNINGS[feed.channel]]
        self._ack(peer, wire.reply("subscribe", req_id, now, result=result), now)
        if symbol is not None and self.faults.use(self.faults.no_snapshot, symbol):
            return
        peer.feeds[feed] = None
        if feed.channel == "book" and symbol is not None:
            self._feeds.publish(self.markets[symbol], now, but=peer)
            self.markets[symbol].view(feed.option)
        if snapshot:
            self._send(peer, self._feeds.snapshot(feed, now), now, self.faults.ack_delay)

    def _unsubscribe(self, peer: Peer, feed: Feed, req_id: Any, now: float) -> None:
        if feed not in peer.feeds:
            error = "Subscription Not Found"
            self._fail(peer, "subscribe", req_id, error, now, symbol=feed.symbol)
            return
        del peer.feeds[feed]
        result: Dict[str, Any] = {"channel": feed.channel}
        if feed.symbol is not None:
            result["symbol"] = feed.symbol
        if feed.option is not None:
            result[_OPTIONS[feed.channel]] = feed.option
        self._ack(peer, wire.reply("unsubscribe", req_id, now, result=result), now)

    def end_subscriptions(self, channel: str, symbol: Optional[str], now: float) -> None:
        """End everybody's subscriptions of a channel (and symbol), and tell them."""
        for peer in self.peers:
            for feed in [one for one in peer.feeds if (one.channel, one.symbol) == (channel, symbol)]:
                if channel in PRIVATE_CHANNELS:
                    self.desk.unsubscribe(peer, feed, None, now)
                else:
                    self._unsubscribe(peer, feed, None, now)

    # -- market data -------------------------------------------------------------------------

    def happen(self, events: int, now: float, symbols: Iterable[str] = ()) -> None:
        """Let so many things happen (in these markets), without publishing them yet."""
        self.trading.begin(now)
        if self.system != "online":
            return  # nothing is matched
        chosen = [self.markets[symbol] for symbol in symbols]
        for _ in range(events):
            choice = self._rng.choice(chosen) if chosen else self._rng.choices(self._busy, self._weights)[0]
            choice.event(now)

    def publish(self, now: float) -> None:
        """Tell every subscriber what happened since the last time."""
        self.trading.tick(now)
        self.desk.flush(now)
        for market in self.markets.values():
            self._feeds.publish(market, now)

    def set_pair_status(self, symbol: str, status: str, now: float) -> None:
        """Change the status of a pair, and tell the ``instrument`` subscribers."""
        market = self.markets[symbol]
        market.status = status
        text = (
            '{"channel":"instrument","type":"update","data":{"assets":[],"pairs":['
            f"{pair_text(market.pair, status)}]}}}}"
        )
        for peer in self.peers:
            if any(feed.channel == "instrument" for feed in peer.feeds):
                self._send(peer, text, now)

    def heartbeat(self, now: float, interval: float) -> None:
        """Tell those who are subscribed and have heard nothing for ``interval`` that all is well."""
        for peer in self.peers:
            if peer.feeds and now - peer.sent_at >= interval:
                self._send(peer, '{"channel":"heartbeat"}', now)

    def idle(self, now: float, limit: float) -> List[Peer]:
        """The connections to be closed: nothing subscribed, and no request for ``limit`` seconds."""
        return [peer for peer in self.peers if not peer.feeds and now - peer.heard_at >= limit]


_HOSTS = {PRIVATE: ("executions", "balances"), LEVEL3: ("level3",)}
"""The private channels of each host; ``level3`` has had its own since December 2025."""
_OPTIONS = {"book": "depth", "ohlc": "interval", "ticker": "event_trigger"}
_DEFAULTS = {"book": 10, "ohlc": None, "ticker": "trades"}
_WARNINGS = {
    "ohlc": "timestamp is deprecated, use interval_begin",
    "instrument": "tick_size is deprecated, use price_increment",
}


def _number(text: str) -> Any:
    """A number of a sane size. Raises ValueError, also for NaN and Infinity."""
    value = Decimal(text)
    if not value.is_finite() or len(text) > 40 or abs(value.adjusted()) > 20:
        raise ValueError(f"not a number that makes sense: {text:.40}")
    return value if "." in text or "e" in text.lower() else int(text)


def _option(channel: Any, params: Dict[str, Any]) -> Any:
    return params.get(_OPTIONS.get(channel, ""), _DEFAULTS.get(channel))


def _same(feed: Feed, other: Feed) -> bool:
    """Whether a second subscription would be the same: only ``ohlc`` tells its options apart."""
    if feed.channel == "ohlc":
        return feed == other
    return (feed.channel, feed.symbol) == (other.channel, other.symbol)
