"""The simulated exchange speaks as the real one does, judged by a client that shares nothing with ours."""

from __future__ import annotations

import json
import re
import urllib.request
import zlib
from contextlib import ExitStack
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from websockets.sync.client import connect

from kraken_sync.simulator import Simulator
from kraken_sync.simulator.exchange import Exchange
from kraken_sync.simulator.faults import Faults

WAIT = 10


class Peer:
    """A plain WebSocket that reads and writes text."""

    def __init__(self, url: str) -> None:
        self._stack = ExitStack()
        self.socket = self._stack.enter_context(connect(f"{url}/v2", compression=None))

    def close(self) -> None:
        self._stack.close()

    def send(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def text(self) -> str:
        """The next frame that is no heartbeat."""
        while True:
            text = str(self.socket.recv(WAIT))
            if text != '{"channel":"heartbeat"}':
                return text

    def ask(self, **message: Any) -> Dict[str, Any]:
        self.send(**message)
        answer: Dict[str, Any] = json.loads(self.text())
        return answer


@pytest.fixture
def peer(exchange: Simulator) -> Iterator[Peer]:
    made = Peer(exchange.ws_url)
    made.status = json.loads(made.text())
    yield made
    made.close()


def naive(side: Dict[str, str], entries: List[Tuple[str, str]], depth: int, worst: bool) -> None:
    """Apply entries to a dict of texts, and cut it to the depth."""
    for price, qty in entries:
        if float(qty) == 0:
            side.pop(price, None)
        else:
            side[price] = qty
    for price in sorted(side, key=float, reverse=worst)[: max(0, len(side) - depth)]:
        del side[price]


@pytest.mark.parametrize(
    "depth", [10, 25, 100, *(pytest.param(one, marks=pytest.mark.slow) for one in (500, 1000))]
)
def test_every_message_verifies_naively(depth: int) -> None:
    """For every symbol and depth, text alone reproduces each checksum over thousands of events."""
    said: List[str] = []
    exchange = Exchange(depth, 1e9, Faults())
    peer = exchange.connect("public", lambda text, delay: said.append(text), 1e9)
    request = {"channel": "book", "symbol": list(exchange.markets), "depth": depth}
    exchange.receive(peer, json.dumps({"method": "subscribe", "params": request}), 1e9)
    for moment in range(600):
        exchange.happen(8, 1e9 + moment)
        exchange.publish(1e9 + moment)
    books: Dict[str, Tuple[Dict[str, str], Dict[str, str]]] = {}
    counts = {"both": 0, "twice": 0, "removed": 0, "messages": 0}
    pattern = re.compile(r'\{"price":([\d.]+),"qty":([\d.]+)\}')
    for text in said:
        if not text.startswith('{"channel":"book"'):
            continue
        data = json.loads(text)["data"][0]
        if '"type":"snapshot"' in text:
            books[data["symbol"]] = ({}, {})
        bids, asks = books[data["symbol"]]
        bid_text, ask_text = text.split('"asks":')
        changes = (pattern.findall(bid_text), pattern.findall(ask_text))
        naive(bids, changes[0], depth, worst=False)
        naive(asks, changes[1], depth, worst=True)
        best = [(p, asks[p]) for p in sorted(asks, key=float)[:10]]
        best += [(p, bids[p]) for p in sorted(bids, key=float, reverse=True)[:10]]
        tokens = "".join(number.replace(".", "").lstrip("0") for level in best for number in level)
        assert zlib.crc32(tokens.encode()) == data["checksum"], text[:300]
        counts["messages"] += 1
        counts["both"] += bool(changes[0] and changes[1])
        prices = [price for price, _ in changes[0] + changes[1]]
        counts["twice"] += len(prices) != len(set(prices))
        counts["removed"] += any(float(qty) == 0 for _, qty in changes[0] + changes[1])

    assert counts["messages"] > 600
    assert min(counts.values()) > 10
    for market in exchange.markets.values():
        assert len(books[market.pair.symbol][0]) == min(depth, len(market.book.bids))


def test_market_is_what_was_asked_for() -> None:
    """At least ten symbols: huge quantities, a thin book, a quiet pair, deep ones; the seed decides."""
    one, same, other = (Exchange(seed, 1e9, Faults()) for seed in (1, 1, 2))
    for exchange in (one, same, other):
        exchange.happen(3000, 1e9)
    tops = [[m.book.bids.top(5) for m in exchange.markets.values()] for exchange in (one, same, other)]

    assert tops[0] == tops[1] != tops[2]
    assert len(one.markets) >= 10
    assert max(qty for _, qty in one.markets["SHIB/USD"].book.asks.top(100)) > 2**53
    assert len(one.markets["MINA/GBP"].book.bids) < 10
    assert one.markets["XMR/BTC"].pair.activity == 0
    assert len(one.markets["BTC/USD"].book.asks) >= 1000
    for market in one.markets.values():
        bids, asks = market.book.bids.top(1), market.book.asks.top(1)
        assert bids[0][0] < asks[0][0], "never crossed"


def test_greeting(peer: Peer) -> None:
    """Status comes first, with a connection id beyond 63 bits."""
    data = peer.status["data"][0]

    assert data["system"] == "online"
    assert data["connection_id"] >= 2**63


def test_replies(peer: Peer) -> None:
    """One answer per symbol, in order, keys in alphabetical order, the request's id in each."""
    peer.send(method="subscribe", params={"channel": "ticker", "symbol": ["ETH/USD", "BTC/USD"]}, req_id=3)
    texts = [peer.text() for _ in range(4)]
    replies = [json.loads(text) for text in texts if '"method"' in text]

    assert [reply["result"]["symbol"] for reply in replies] == ["ETH/USD", "BTC/USD"]
    assert all(reply["req_id"] == 3 and list(reply) == sorted(reply) for reply in replies)
    assert replies[0]["result"] == {
        "channel": "ticker",
        "event_trigger": "trades",
        "snapshot": True,
        "symbol": "ETH/USD",
    }
    assert texts[0] == json.dumps(replies[0], separators=(",", ":"))


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"channel": "ticker", "symbol": ["XBT/USD"]}, "Currency pair not supported XBT/USD"),
        ({"channel": "book", "symbol": ["BTC/USD"], "depth": 50}, "Subscription depth not supported"),
        (
            {"channel": "ohlc", "symbol": ["BTC/USD"], "interval": 2},
            "Subscription ohlc interval not supported",
        ),
        ({"channel": "ticker", "symbol": "BTC/USD"}, "Symbol field must be an array"),
        ({"channel": "tickers", "symbol": ["BTC/USD"]}, "Subscription name invalid"),
        (
            {"channel": "executions"},
            "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
        ),
    ],
)
def test_refusals(peer: Peer, message: Dict[str, Any], error: str) -> None:
    """Refusals have the exchange's words."""
    reply = peer.ask(method="subscribe", params=message, req_id=1)

    assert (reply["error"], reply["success"], reply["method"]) == (error, False, "subscribe")
    assert ("symbol" in reply) is (error.startswith("Currency pair"))


def test_subscription_life(peer: Peer) -> None:
    """Twice is refused, unsubscribing must repeat the depth, and what is not there is not found."""
    book = {"channel": "book", "symbol": ["BTC/USD"], "depth": 25}
    peer.ask(method="subscribe", params=book)
    assert json.loads(peer.text())["type"] == "snapshot"
    assert peer.ask(method="subscribe", params=book)["error"] == "Already subscribed"
    reply = peer.ask(method="unsubscribe", params={**book, "depth": 10})
    assert (reply["error"], reply["method"]) == ("Subscription Not Found", "subscribe")
    assert peer.ask(method="unsubscribe", params=book)["result"]["depth"] == 25


def test_ping(peer: Peer) -> None:
    """A pong has four keys; a ping with params is refused."""
    assert sorted(peer.ask(method="ping", req_id=9)) == ["method", "req_id", "time_in", "time_out"]
    assert "Unsupported field: 'params'" in peer.ask(method="ping", params={})["error"]
    peer.socket.send("not json")
    assert "error" in json.loads(peer.text())


def test_hosts_are_separate(exchange: Simulator) -> None:
    """Public channels are refused on the private hosts."""
    for url in (exchange.auth_ws_url, exchange.level3_ws_url):
        private = Peer(url)
        private.text()
        reply = private.ask(method="subscribe", params={"channel": "ticker", "symbol": ["BTC/USD"]})
        assert reply["error"].startswith("Public market data subscriptions are unavailable")
        private.close()


def test_heartbeats_and_idle() -> None:
    """Heartbeats only while subscribed; without subscription and requests the line is closed."""
    with Simulator(rate=0, heartbeat_interval=0.1, idle_timeout=0.8) as exchange:
        peer = Peer(exchange.ws_url)
        peer.text()
        peer.send(method="subscribe", params={"channel": "trade", "symbol": ["XMR/BTC"]})
        assert '"trade"' in str(peer.socket.recv(WAIT))
        assert str(peer.socket.recv(WAIT)) == str(peer.socket.recv(WAIT)) == '{"channel":"heartbeat"}'
        idle = Peer(exchange.ws_url)
        idle.text()
        with pytest.raises(Exception, match="1000"):
            idle.text()
        idle.close()
        peer.close()


def test_rest(exchange: Simulator) -> None:
    """The public REST endpoints agree with the market, in REST's own forms."""

    def get(path: str) -> Any:
        with urllib.request.urlopen(f"{exchange.rest_url}/0/public/{path}", timeout=WAIT) as response:
            return json.load(response)

    pairs = get("AssetPairs")["result"]
    assert pairs["XXBTZUSD"]["wsname"] == "XBT/USD"
    assert pairs["XXBTZUSD"]["pair_decimals"] == 1
    assert len(pairs) == len(exchange.exchange.markets)
    bids, _ = exchange.top("BTC/USD", 3)
    depth = get("Depth?pair=XBTUSD&count=3")["result"]["XXBTZUSD"]
    assert [round(float(price) * 10) for price, _, _ in depth["bids"]] == [price for price, _ in bids]
    assert len(get("Trades?pair=BTC/USD")["result"]["BTC/USD"]) == 50
    assert len(get("OHLC?pair=ETHUSD&interval=60")["result"]["XETHZUSD"]) == 40
    assert get("SystemStatus")["result"]["status"] == "online"
    assert get("Time")["result"]["unixtime"] > 10**9
    assert get("Assets?asset=BTC")["result"]["BTC"]["altname"] == "XBT"
    assert get("Spread?pair=XBTUSD")["result"]["XXBTZUSD"]
    assert get("Depth?pair=NOPE")["error"] == ["EQuery:Unknown asset pair"]
    assert get("Nonsense")["error"] == ["EGeneral:Unknown method"]


def test_taken_port(exchange: Simulator) -> None:
    """A port that is taken is an error, not a hang."""
    port = int(exchange.ws_url.rpartition(":")[2])
    with pytest.raises(OSError):
        Simulator(port=port).start()
