"""The book path: decode, apply, verify one message. Prints microseconds a message, best of several runs.

The last columns are a level-3 book of the same market at the same time, and its cost in level-2 messages; the
exchange has level 3 at the depths 10, 100 and 1000.

Run it on a quiet machine, and compare only figures of one run: machines and their moods differ. With
python-kraken-sdk installed, its book path is measured on the same messages in the same process, and the
ratio is printed; its client is fed directly, so neither side has a socket in it.

What the figures cannot tell: the cost of receiving (see the transport), of readers, and of other symbols.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from typing import Any, Callable, Dict, List, Optional

from kraken_sync.core.book.book import Book
from kraken_sync.core.book.level3 import Level3
from kraken_sync.core.wire.messages import decode_book, decode_level3
from kraken_sync.simulator.exchange import Exchange
from kraken_sync.simulator.faults import Faults

SYMBOL = "BTC/USD"


def feed(depth: int, messages: int) -> List[bytes]:
    """A snapshot and so many updates, with true checksums, as the simulated exchange sends them."""
    said: List[str] = []
    exchange = Exchange(7, 1767607200.0, Faults())
    peer = exchange.connect("public", lambda text, delay: said.append(text), 1767607200.0)
    params = {"channel": "book", "symbol": [SYMBOL], "depth": depth}
    exchange.receive(peer, json.dumps({"method": "subscribe", "params": params}), 1767607200.0)
    frames = [text for text in said if text.startswith('{"channel":"book"')]
    while len(frames) <= messages:
        said.clear()
        exchange.happen(2, 1767607200.0 + len(frames) / 100, [SYMBOL])
        exchange.publish(1767607200.0 + len(frames) / 100)
        frames += said
    return [frame.encode() for frame in frames[: messages + 1]]


def ours(frames: List[bytes], depth: int) -> float:
    """Seconds for all frames."""
    book, wrong = Book(SYMBOL, depth), 0
    started = time.perf_counter()
    for frame in frames:
        message = decode_book(frame)
        wrong += not book.apply(message.data[0], message.type == "snapshot")
    seconds = time.perf_counter() - started
    assert not wrong
    return seconds


def level3_feed(depth: int, messages: int) -> List[bytes]:
    """The same of the level3 channel, for the same market and the same events."""
    exchange = Exchange(7, 1767607200.0, Faults())
    view = exchange.markets[SYMBOL].order_view(depth)
    frames = [view.snapshot(1767607200.0)]
    while len(frames) <= messages:
        exchange.happen(2, 1767607200.0 + len(frames) / 100, [SYMBOL])
        frames += view.take(1767607200.0 + len(frames) / 100)
    return [frame.encode() for frame in frames[: messages + 1]]


def level3(frames: List[bytes], depth: int) -> float:
    """Seconds for all frames of level3."""
    book, wrong = Level3(SYMBOL, depth), 0
    started = time.perf_counter()
    for frame in frames:
        message = decode_level3(frame)
        wrong += not book.apply(message.data[0], message.type == "snapshot")
    seconds = time.perf_counter() - started
    assert not wrong
    return seconds


def sdk(frames: List[bytes], depth: int) -> Optional[Callable[[], float]]:
    """What measures python-kraken-sdk on the same frames, or None if it is not installed."""
    try:
        from kraken.spot import SpotOrderBookClient
    except ImportError:
        return None

    async def nothing(*args: Any, **kwargs: Any) -> None:
        """As cheap as a callback can be."""

    def run() -> float:
        async def play() -> float:
            client = SpotOrderBookClient(depth=depth, callback=nothing)  # without one it prints
            # its precision comes from REST, which is not asked here
            client._SpotOrderBookClient__market.get_asset_pairs = lambda pair: {
                pair: {"pair_decimals": 1, "lot_decimals": 8}
            }
            ack: Dict[str, Any] = {
                "method": "subscribe",
                "success": True,
                "result": {"channel": "book", "symbol": SYMBOL, "depth": depth, "snapshot": True},
            }
            await client.on_message(ack)
            started = time.perf_counter()
            for frame in frames:
                await client.on_message(json.loads(frame))
            seconds = time.perf_counter() - started
            assert client.get(SYMBOL)["valid"]
            await client.close()
            return seconds

        return asyncio.run(play())

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print("depth   kraken_sync   python-kraken-sdk   ratio   level3   of level 2   (us a message)")
    for depth in (10, 100, 1000):
        count = options.messages if depth <= 100 else max(200, options.messages // 10)
        frames = feed(depth, count)
        mine = min(ours(frames, depth) for _ in range(options.runs)) / len(frames) * 1e6
        orders = level3_feed(depth, count)
        single = min(level3(orders, depth) for _ in range(options.runs)) / len(orders) * 1e6
        other, peer = sdk(frames, depth), f"{'not installed':>17}   {'':5}"
        if other is not None:
            theirs = min(other() for _ in range(options.runs)) / len(frames) * 1e6
            peer = f"{theirs:17.2f}   {mine / theirs:5.2f}"
        print(f"{depth:5}   {mine:11.2f}   {peer}   {single:6.2f}   {single / mine:10.2f}")


if __name__ == "__main__":
    main()
