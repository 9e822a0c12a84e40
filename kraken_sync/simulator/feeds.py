"""What the subscribers of market data are told: snapshots, and what has happened since the last time."""

from __future__ import annotations

from functools import partial
from typing import Callable, Dict, Mapping, Optional, Sequence, Tuple

from . import wire
from .faults import Faults
from .instruments import asset_text, assets_of, pair_text
from .market import Market
from .peers import Feed, Peer
from .tape import INTERVALS


class MarketFeeds:
    """Makes and sends the messages of the public channels, and of ``level3``. One thread at a time.

    Args:
        markets: by symbol.
        peers: the connections.
        faults: what goes wrong with the messages.
        send: sends a text to a connection at a time (seconds since the epoch).
    """

    def __init__(
        self,
        markets: Mapping[str, Market],
        peers: Sequence[Peer],
        faults: Faults,
        send: Callable[[Peer, str, float], None],
    ) -> None:
        self._markets = markets
        self._peers = peers
        self._faults = faults
        self._send = send

    def snapshot(self, feed: Feed, now: float) -> str:
        """The snapshot that a new subscriber gets."""
        if feed.channel == "instrument" or feed.symbol is None:
            pairs = ",".join(pair_text(m.pair, m.status) for m in self._markets.values())
            assets = assets_of(market.pair for market in self._markets.values())
            return (
                '{"channel":"instrument","type":"snapshot","data":{"assets":['
                f'{",".join(map(asset_text, assets))}],"pairs":[{pairs}]}}}}'
            )
        market = self._markets[feed.symbol]
        if feed.channel == "book":
            bad = self._faults.use(self._faults.bad_snapshot, feed.symbol)
            checksum = market.checksum() ^ 1 if bad else None
            return market.book_snapshot(feed.option, now, checksum)
        if feed.channel == "ticker":
            return market.ticker("snapshot", now)
        if feed.channel == "trade":
            return market.trade_message("snapshot", list(market.tape.trades)[-50:])
        return market.ohlc("snapshot", feed.option, now)

    def publish(self, market: Market, now: float, but: Optional[Peer] = None) -> None:
        """Tell the subscribers of one market."""
        told = self._messages(market, now)
        if not told:
            return
        for peer in list(self._peers):
            if peer is but:
                continue
            for feed in peer.feeds:
                if (feed.channel, feed.symbol) in self._faults.muted:
                    continue
                for text in told.get(feed, ()):
                    self._send(peer, text, now)

    def _messages(self, market: Market, now: float) -> Dict[Feed, Tuple[str, ...]]:
        symbol = market.pair.symbol
        told: Dict[Feed, Tuple[str, ...]] = {}
        for depth, view in market.views.items():
            parts, texts = view.take(), []
            if not self._anybody(Feed("book", symbol, depth)):
                continue
            for bids, asks, checksum in parts:
                if self._faults.use(self._faults.skip_update, symbol):
                    continue
                checksum ^= self._faults.use(self._faults.bad_checksum, symbol)
                texts.append(market.book_text("update", bids, asks, now, checksum))
            told[Feed("book", symbol, depth)] = tuple(texts)
        for depth, order_view in market.order_views.items():
            if not self._anybody(Feed("level3", symbol, depth)):
                order_view.take(now)
                continue
            told[Feed("level3", symbol, depth)] = tuple(
                wire.damaged(text)
                if self._faults.use(self._faults.bad_checksum, f"level3/{symbol}")
                else text
                for text in order_view.take(now)
                if not self._faults.use(self._faults.skip_update, f"level3/{symbol}")
            )
        trades, market.trades = market.trades, []
        best_changed = market.best_changed()
        makers: Dict[Feed, Callable[[], str]] = {}
        if trades:
            makers[Feed("trade", symbol)] = lambda: market.trade_message("update", trades)
            makers[Feed("ticker", symbol, "trades")] = lambda: market.ticker("update", now)
            for interval in INTERVALS:
                feed = Feed("ohlc", symbol, interval)
                makers[feed] = partial(market.ohlc, "update", interval, now)
        if trades or best_changed:
            makers[Feed("ticker", symbol, "bbo")] = lambda: market.ticker("update", now)
        told.update((feed, (make(),)) for feed, make in makers.items() if self._anybody(feed))
        return told

    def _anybody(self, feed: Feed) -> bool:
        return any(feed in peer.feeds for peer in self._peers)
