"""Private subscriptions and trading requests: tokens, permissions, replies, and what the account is told.

Source: Kraken, "executions", "balances", "level3" and the pages of the trading methods; recorded replies.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from . import reports, wire
from .account import Entry
from .credentials import Credentials, Token, require
from .faults import Faults
from .peers import PRIVATE, Feed, Peer
from .refusal import Refusal
from .trading import Trading

LEVEL3_COST = {10: 5, 100: 25, 1000: 100}
LEVEL3_SYMBOLS = 200
PRIVATE_CHANNELS = ("executions", "balances", "level3")
ORDER_DEPTHS = (10, 100, 1000)
TRADING_METHODS = {
    "add_order": ("modify_orders",),
    "amend_order": ("modify_orders",),
    "edit_order": ("modify_orders",),
    "batch_add": ("modify_orders",),
    "cancel_order": ("modify_orders", "cancel_orders"),
    "cancel_all": ("modify_orders", "cancel_orders"),
    "cancel_all_orders_after": ("modify_orders", "cancel_orders"),
    "batch_cancel": ("modify_orders", "cancel_orders"),
}
"""Each method with the permissions of which one is needed."""
_CHANNEL_NEEDS = {"executions": "query_orders", "balances": "query_funds"}
_DEPRECATED = [
    "cancel_reason is deprecated, use reason",
    "stop_price is deprecated, use triggers.price",
    "trigger is deprecated use triggers.reference",
    "triggered_price is deprecated use triggers.last_price",
]
_BRIEF = ("new", "trade", "filled", "canceled", "expired")
"""What is told with ``order_status: false``."""

Params = Mapping[str, Any]
Send = Callable[[Peer, str, float, float], None]


class PrivateDesk:
    """Answers private requests and tells private subscribers."""

    trading: Trading

    def __init__(self, peers: Sequence[Peer], faults: Faults, credentials: Credentials, send: Send) -> None:
        self._peers = peers
        self._faults = faults
        self._credentials = credentials
        self._send = send
        self._outbox: List[Tuple[str, Any]] = []

    # -- trading -----------------------------------------------------------------------------

    def trade(self, peer: Peer, method: str, params: Params, req_id: Any, now: float) -> None:
        """Carry out a trading request and answer it."""
        replies = self._carry_out(method, params, req_id, now)
        if self._faults.use_up("internal_errors"):
            error = "EGeneral:Internal error"
            replies = [wire.reply(method, req_id, now, error=error) for _ in replies]
        if self._faults.reports_first:
            self.flush(now)
        if not self._faults.use_up("drop_replies"):
            for text in replies:
                self._send(peer, text, now, self._faults.reply_delay)
        self.flush(now)

    def _carry_out(self, method: str, params: Params, req_id: Any, now: float) -> List[str]:
        try:
            if params.get("token") is None:
                raise Refusal("Token(s) not found")
            require(self._token(params, now).key, *TRADING_METHODS[method])
            if self._faults.rejections:
                raise Refusal(self._faults.rejections.pop(0))
            if method == "cancel_order":
                targets = self.trading.cancel_targets(params)
                return [self._cancel(target, req_id, now) for target in targets]
            result = self._act(method, params, now)
        except Refusal as refusal:
            return [wire.reply(method, req_id, now, error=str(refusal))]
        if method == "batch_cancel" and self._faults.old_batch_cancel:
            extra = {"orders_cancelled": result["count"]}
            reply = wire.reply(method, req_id, now, result={}, extra=extra)
            return [reply.replace('"result":{},', "")]
        return [wire.reply(method, req_id, now, result=result)]

    def _act(self, method: str, params: Params, now: float) -> Any:
        trading = self.trading
        if method == "cancel_all_orders_after":
            fires = trading.cancel_after(params, now)
            times = {"currentTime": wire.timestamp(now, 0)[:19] + "Z"}
            if fires is not None:
                times["triggerTime"] = wire.timestamp(fires, 0)[:19] + "Z"
            return times
        act = {
            "add_order": trading.add,
            "amend_order": trading.amend,
            "edit_order": trading.edit,
            "batch_add": trading.batch_add,
            "batch_cancel": trading.batch_cancel,
            "cancel_all": trading.cancel_all,
        }[method]
        return act(params, now)

    def _cancel(self, target: Params, req_id: Any, now: float) -> str:
        try:
            result = self.trading.cancel(target, now)
        except Refusal as refusal:
            return wire.reply("cancel_order", req_id, now, error=str(refusal))
        return wire.reply("cancel_order", req_id, now, result=result)

    def _token(self, params: Params, now: float) -> Token:
        if self._faults.use_up("refuse_tokens"):
            raise Refusal("ESession:Invalid session")
        return self._credentials.token(params.get("token"), now)

    # -- subscriptions -----------------------------------------------------------------------

    def subscription(self, peer: Peer, method: str, params: Params, req_id: Any, now: float) -> None:
        """Subscribe to or unsubscribe from a private channel."""
        channel = str(params["channel"])
        try:
            token = self._token(params, now)
            require(token.key, _CHANNEL_NEEDS.get(channel, "websockets"))
            symbols = self._symbols(channel, params)
            depth = params.get("depth", 10) if channel == "level3" else None
            if channel == "level3" and (type(depth) is not int or depth not in ORDER_DEPTHS):
                raise Refusal("Subscription depth not supported")
            if depth is not None and method == "subscribe":
                peer.spend_points(LEVEL3_COST[depth] * len(symbols), now)
            for name in ("snapshot", "snap_orders", "snap_trades", "order_status", "ratecounter", "rebased"):
                if not isinstance(params.get(name, True), bool):
                    raise Refusal(f"EGeneral:Invalid arguments:{name}")
        except Refusal as refusal:
            error = str(refusal)
            extra = {"channel": channel, "status": "error"} if error.startswith("ESession") else None
            self._send(peer, wire.reply(method, req_id, now, error=error, extra=extra), now, 0.0)
            return
        for symbol in symbols:
            feed = Feed(channel, symbol, depth)
            if method == "subscribe":
                self._subscribe(peer, feed, params, token, req_id, now)
            else:
                self.unsubscribe(peer, feed, req_id, now)

    def _symbols(self, channel: str, params: Params) -> List[Optional[str]]:
        if channel != "level3":
            return [None]
        symbols = params.get("symbol")
        if not isinstance(symbols, list) or not all(isinstance(one, str) for one in symbols):
            raise Refusal("Symbol field must be an array")
        if not symbols:
            raise Refusal("EGeneral:Invalid arguments:symbol")
        return list(symbols)

    def _subscribe(
        self, peer: Peer, feed: Feed, params: Params, token: Token, req_id: Any, now: float
    ) -> None:
        error = None
        if feed.channel == "level3" and len(peer.feeds) >= LEVEL3_SYMBOLS:
            error = "EGeneral:Too many subscriptions"  # the exchange's words are not known
        elif feed.symbol is not None and feed.symbol not in self.trading.markets:
            error = f"Currency pair not supported {feed.symbol}"
        elif any((feed.channel, feed.symbol) == (one.channel, one.symbol) for one in peer.feeds):
            error = "Already subscribed"
        if error is not None:
            self._send(
                peer,
                wire.reply("subscribe", req_id, now, error=error, symbol=feed.symbol),
                now,
                0.0,
            )
            return
        self.flush(now)
        result = self._result(feed, params)
        if not self._faults.use_up("drop_acks"):
            self._send(
                peer,
                wire.reply("subscribe", req_id, now, result=result),
                now,
                self._faults.ack_delay,
            )
        peer.feeds[feed] = None
        peer.params[feed] = params
        peer.sequences.pop(feed.channel, None)
        peer.pin(feed, token)
        text = self._snapshot(peer, feed, params, now)
        if text:
            self._send(peer, text, now, self._faults.ack_delay)

    def _result(self, feed: Feed, params: Params) -> Dict[str, Any]:
        result: Dict[str, Any] = {"channel": feed.channel, "snapshot": params.get("snapshot", True)}
        if feed.symbol is not None:
            result.update(symbol=feed.symbol, depth=feed.option)
        if feed.channel == "executions":
            result["maxratecount"] = self.trading.counters.threshold
            result["snap_orders"] = params.get("snap_orders", True)
            result["snap_trades"] = params.get("snap_trades", False)
            result["warnings"] = _DEPRECATED
        return result

    def _snapshot(self, peer: Peer, feed: Feed, params: Params, now: float) -> str:
        if feed.channel == "level3":
            text = self.trading.markets[feed.symbol or ""].order_view(feed.option).snapshot(now)
            if self._faults.use(self._faults.bad_snapshot, f"level3/{feed.symbol}"):
                text = wire.damaged(text)
            return text if params.get("snapshot", True) else ""
        if params.get("users") == "all" or not params.get("snapshot", True):
            return ""
        if feed.channel == "executions":
            orders, trades = params.get("snap_orders", True), params.get("snap_trades", False)
            items: List[Any] = reports.snapshot(self.trading.account, orders, trades, now)
        else:
            items = [
                {
                    "asset": asset,
                    "asset_class": "currency",
                    "balance": amount,
                    "wallets": [{"type": "spot", "id": "main", "balance": amount}],
                }
                for asset, amount in self.trading.account.balances.items()
            ]
        return self._message(peer, feed.channel, "snapshot", items)

    def unsubscribe(self, peer: Peer, feed: Feed, req_id: Any, now: float) -> None:
        """End a subscription, and say so."""
        if feed not in peer.feeds:
            error = "Subscription Not Found"
            text = wire.reply("subscribe", req_id, now, error=error, symbol=feed.symbol)
        else:
            del peer.feeds[feed]
            peer.unpin(feed)
            result = {"channel": feed.channel}
            if feed.symbol is not None:
                result["symbol"] = feed.symbol
            text = wire.reply("unsubscribe", req_id, now, result=result)
        self._send(peer, text, now, self._faults.ack_delay)

    # -- telling -----------------------------------------------------------------------------

    def report(self, report: reports.Report) -> None:
        """Something happened to an order; told at the next :meth:`flush`."""
        self._outbox.append(("executions", report))

    def entry(self, entry: Entry) -> None:
        """A balance changed; told at the next :meth:`flush`."""
        self._outbox.append(("balances", entry))

    def flush(self, now: float) -> None:
        """Tell the subscribers what happened."""
        told, self._outbox = self._outbox, []
        for channel, item in told:
            for peer in self._peers:
                feed = Feed(channel)
                if peer.role == PRIVATE and feed in peer.feeds:
                    self._tell(peer, feed, item, now)

    def _tell(self, peer: Peer, feed: Feed, item: Any, now: float) -> None:
        params = peer.params[feed]
        if feed.channel == "executions":
            if not params.get("order_status", True) and item["exec_type"] not in _BRIEF:
                return
            if params.get("ratecounter") and "symbol" in item:
                count = self.trading.counters.value(item["symbol"], now)
                item = {**item, "ratecount": round(count)}
            skip = self._faults.use_up("skip_executions")
        else:
            item = _entry(item)
            skip = self._faults.use_up("skip_balances")
        text = self._message(peer, feed.channel, "update", [item])
        if not skip:
            self._send(peer, text, now, 0.0)

    def _message(self, peer: Peer, channel: str, kind: str, items: List[Any]) -> str:
        sequence = peer.sequence(channel)
        return wire.data({"channel": channel, "type": kind, "data": items, "sequence": sequence})


def _entry(entry: Entry) -> Dict[str, Any]:
    return {
        "ledger_id": entry.ledger_id,
        "ref_id": entry.ref_id,
        "timestamp": wire.timestamp(entry.moment),
        "type": entry.kind,
        "asset": entry.asset,
        "asset_class": "currency",
        "category": entry.kind,
        "wallet_type": "spot",
        "wallet_id": "main",
        "amount": entry.amount,
        "fee": entry.fee,
        "balance": entry.balance,
    }
