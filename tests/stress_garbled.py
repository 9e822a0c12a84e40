"""Garbled frames against a session, by an exchange that remembers what it sent.

python tests/stress_garbled.py --frames 1000000 --seed 5

A book, of levels or of single orders (level3), may never be LIVE with anything else than what was sent; the
checksum does not cover the ids and times of orders, so these are not compared. The one exception is stated in
docs/reconnecting.rst: a frame that is garbled and still readable as a message of another symbol or channel is
not missed before the next message of its own symbol, whose checksum does not match.
"""

from __future__ import annotations

import argparse
import json
import random
from typing import Any, Dict, List, Set

from level3_oracle import Level3Walk
from oracle import Digits, Walk

from kraken_sync.core.session.session import Session
from kraken_sync.core.timing import Timing
from kraken_sync.core.wire.channels import Key, channel_params

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/EUR")
PAUSE = 20.0
"""Seconds between two frames: long, so that resyncs, which are paced, take few frames."""


class Garbler:
    """Damages bytes as lines, disks and middle boxes do."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def __call__(self, frame: bytes) -> bytes:
        rng, text = self.rng, bytearray(frame)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            at, kind = rng.randrange(len(text) or 1), rng.random()
            if kind < 0.2:
                text[at : at + 1] = bytes([rng.randrange(256)])
            elif kind < 0.3:
                digits = [place for place, byte in enumerate(text) if chr(byte).isdigit()] or [at]
                at = rng.choice(digits)
                text[at : at + 1] = rng.choice(b"0123456789").to_bytes(1, "big")
            elif kind < 0.5:
                text[at : at + 1] = rng.choice(b'0123456789.,:"{}[]eE-+ntf').to_bytes(1, "big")
            elif kind < 0.7:
                del text[at : at + rng.randrange(1, 9)]
            elif kind < 0.8:
                del text[at:]
            elif kind < 0.9:
                text[at:at] = text[rng.randrange(len(text) or 1) :][: rng.randrange(1, 30)]
            else:
                text[at : at + 8] = rng.choice(
                    (b"NaN", b"null", b"1e999", b"\xff\xfe", b'"5.1"', b"-0.0", b"")
                )
        return bytes(text)


class World:
    """A session, and the exchange that it is connected to."""

    def __init__(self, seed: int, rate: float, channel: str = "book") -> None:
        self.channel = channel
        self.rng = random.Random(seed)
        self.garble = Garbler(seed)
        self.rate = rate
        self.walks: Dict[str, Any] = {}
        for number, symbol in enumerate(SYMBOLS):
            if channel == "book":
                self.walks[symbol] = Walk(seed + number, 10, Digits(1, 8), 15, 10**9)
            else:
                self.walks[symbol] = Level3Walk(seed + number, 10, Digits(1, 8), 15)
        self.fed: Set[str] = set()
        self.elsewhere: Set[str] = set()
        """Symbols whose last frame may have been read as one of another symbol or channel."""
        self.frames = self.garbled = self.misread = self.live = self.connections = 0
        self.now = 0.0
        self.session = Session(Timing())
        self.connect()
        for symbol in SYMBOLS:
            self.session.subscriptions.subscribe_book(
                channel_params({"channel": channel, "symbol": [symbol], "depth": 10})
            )

    def connect(self) -> None:
        """Begin a connection."""
        self.connections += 1
        self.fed.clear()
        self.elsewhere.clear()
        self.session.opened(self.now)
        self.session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', self.now)

    def step(self) -> None:
        """One frame of the exchange, what the session asks for after it, and the comparison."""
        self.now += PAUSE
        if self.fed:
            symbol = self.rng.choice(sorted(self.fed))
            self.send(symbol, self.walks[symbol].update())
        for request in self.session.due(self.now, self.now, None):
            self.answer(json.loads(request))
        if self.session.verdict(self.now, self.now, None):
            self.session.lost("given up")
            self.now += 1.0
            self.connect()

    def answer(self, request: Dict[str, Any]) -> None:
        """Reply as the exchange does; replies are not damaged."""
        method, params = request["method"], request.get("params", {})
        reply: Dict[str, Any] = {"method": method, "req_id": request["req_id"], "success": True}
        if method == "ping":
            self.session.receive(
                json.dumps({"method": "pong", "req_id": request["req_id"]}).encode(), self.now
            )
            return
        for symbol in params["symbol"]:
            result = {"channel": self.channel, "symbol": symbol, "depth": 10, "snapshot": True}
            self.session.receive(json.dumps({**reply, "result": result}).encode(), self.now)
            if method == "subscribe":
                self.fed.add(symbol)
                self.send(symbol, self.walks[symbol].snapshot())
            else:
                self.fed.discard(symbol)

    def send(self, symbol: str, text: str) -> None:
        """Deliver a frame of the book, damaged or not."""
        frame = sent = text.replace("A/B", symbol).encode()
        if self.rng.random() < self.rate:
            frame = self.garble(sent)
        self.frames += 1
        if frame == sent:
            self.elsewhere.discard(symbol)
        else:
            self.garbled += 1
            if reads_as_another(frame, self.channel, symbol):
                self.misread += 1
                self.elsewhere.add(symbol)
        self.session.receive(frame, self.now)
        self.compare(frame)

    def compare(self, frame: bytes) -> None:
        """No book may be LIVE with anything else than what was sent."""
        for symbol, walk in self.walks.items():
            sync = self.session.subscriptions.book(Key(self.channel, symbol))
            if sync is None or not sync.live or symbol in self.elsewhere:
                continue
            self.live += 1
            book = sync.book
            for name, side in (("bids", book.bids), ("asks", book.asks)):
                if self.channel == "book":
                    assert dict(side) == walk.view[name], (symbol, name, frame)
                    continue
                ours = {price: [queued[0] for queued in queue.values()] for price, queue in side.items()}
                true = {price: [qty for _, qty in orders] for price, orders in walk.view(name).items()}
                assert ours == true, (symbol, name, frame)


def reads_as_another(frame: bytes, channel: str, symbol: str) -> bool:
    """Return whether a damaged frame is still a message, but not one of this book of ``symbol``."""
    try:
        message = json.loads(frame.decode("utf-8", "replace"))  # what is skipped is not decoded
        entry = message["data"][0] if message.get("data") else {}
    except (ValueError, AttributeError, TypeError, KeyError, IndexError):
        return False
    return message.get("channel") != channel or not isinstance(entry, dict) or entry.get("symbol") != symbol


def run(frames: int, seed: int, rate: float = 0.5, channel: str = "book") -> World:
    """Run until so many frames were damaged."""
    world = World(seed, rate, channel)
    while world.garbled < frames:
        world.step()
    return world


def main() -> None:
    """Print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    seeds: List[World] = []
    for number, rate in enumerate((0.3, 0.5, 0.7, 0.9)):
        seeds.append(run(options.frames // 5, options.seed + number, rate))
    seeds.append(run(options.frames // 5, options.seed, 0.5, "level3"))
    for world in seeds:
        counters = world.session.counters
        print(
            f"{world.channel}: {world.frames} frames, {world.garbled} damaged "
            f"({world.misread} read as another message), "
            f"{counters.malformed} unreadable, {counters.mismatched} not verified, "
            f"{counters.resyncs} resyncs, {world.connections} connections; "
            f"{world.live} times a LIVE book was compared, all equal"
        )


if __name__ == "__main__":
    main()
