"""Everything that touches the inside of the library; all else here uses its public calls."""

from __future__ import annotations

import json
import ssl
import time
from itertools import chain
from pathlib import Path
from typing import Any, Iterator, List, Sequence, Tuple

from kraken_sync.core.book.book import Book
from kraken_sync.core.book.level3 import Level3
from kraken_sync.core.session.session import Session
from kraken_sync.core.timing import Timing
from kraken_sync.core.wire.channels import Key, channel_params
from kraken_sync.core.wire.messages import decode_book, decode_level3
from kraken_sync.core.wire.record_lines import own_line
from kraken_sync.errors import ConnectionLost
from kraken_sync.io.connection.io_thread import IOThread
from kraken_sync.io.connection.room import Room
from kraken_sync.io.dial import Endpoint
from kraken_sync.io.events import Events
from kraken_sync.io.streams import DROP_OLDEST, Stream
from kraken_sync.io.tape import Tapes, Taps
from kraken_sync.io.transport import Transport
from kraken_sync.recording.files import compressor
from kraken_sync.simulator.exchange import Exchange
from kraken_sync.simulator.faults import Faults

from .feed import SYMBOL
from .venue import STATUS

BATCH = 16
"""How many frames a transport returns at a time; one TLS record has up to about 75."""


# -- the book path -------------------------------------------------------------------------------


def decoded(frames: Sequence[bytes]) -> float:
    """Seconds for decoding alone."""
    started = time.perf_counter()
    for frame in frames:
        decode_book(frame)
    return time.perf_counter() - started


def applied(snapshots: Sequence[bytes], updates: Sequence[bytes], depth: int) -> Tuple[float, float]:
    """Seconds for decoding, applying and verifying: of the snapshots, and of the updates."""
    books = {}
    wrong = 0
    started = time.perf_counter()
    for frame in snapshots:
        (data,) = decode_book(frame).data
        book = books[data.symbol] = Book(data.symbol, depth)
        wrong += not book.apply(data, True)
    between = time.perf_counter()
    for frame in updates:
        message = decode_book(frame)
        data = message.data[0]
        wrong += not books[data.symbol].apply(data, False)
    ended = time.perf_counter()
    assert not wrong, f"{wrong} messages of {len(updates)} do not verify"
    return between - started, ended - between


def level3_applied(frames: Sequence[bytes], depth: int) -> float:
    """Seconds for a level-3 book."""
    book, wrong = Level3(SYMBOL, depth), 0
    started = time.perf_counter()
    for frame in frames:
        message = decode_level3(frame)
        wrong += not book.apply(message.data[0], message.type == "snapshot")
    seconds = time.perf_counter() - started
    assert not wrong, f"{wrong} messages of {len(frames)} do not verify"
    return seconds


# -- the simulated market and recordings ---------------------------------------------------------

BEGIN = 1_767_607_200.0
"""The time at which simulated markets begin (seconds since the epoch)."""


def simulated(depth: int, messages: int) -> List[bytes]:
    """The level-2 feed of a simulated market."""
    exchange = Exchange(7, BEGIN, Faults())
    said: List[str] = []
    peer = exchange.connect("public", lambda text, delay: said.append(text), BEGIN)
    params = {"channel": "book", "symbol": [SYMBOL], "depth": depth}
    exchange.receive(peer, json.dumps({"method": "subscribe", "params": params}), BEGIN)
    frames = [text for text in said if text.startswith('{"channel":"book"')]
    while len(frames) < messages:
        said.clear()
        exchange.happen(2, BEGIN + len(frames) / 100, [SYMBOL])
        exchange.publish(BEGIN + len(frames) / 100)
        frames += said
    return [text.encode() for text in frames[:messages]]


def simulated_level3(depth: int, messages: int) -> List[bytes]:
    """The level-3 feed of the same market with the same events."""
    exchange = Exchange(7, BEGIN, Faults())
    view = exchange.markets[SYMBOL].order_view(depth)
    frames = [view.snapshot(BEGIN)]
    while len(frames) < messages:
        exchange.happen(2, BEGIN + len(frames) / 100, [SYMBOL])
        frames += view.take(BEGIN + len(frames) / 100)
    return [text.encode() for text in frames[:messages]]


def market(events: int) -> float:
    """Seconds for so many events of the simulated market."""
    exchange = Exchange(7, BEGIN, Faults())
    started = time.perf_counter()
    for number in range(events // 100):
        exchange.happen(100, BEGIN + number)
        exchange.publish(BEGIN + number)
    return time.perf_counter() - started


def record(path: Path, frames: Sequence[bytes]) -> None:
    """Write a recording of these frames, a thousand a second."""
    ack = (
        f'{{"method":"subscribe","result":{{"channel":"book","symbol":"{SYMBOL}","depth":10,"snapshot":true}},'
        '"success":true,"time_in":"2026-01-05T10:00:00.000000Z","time_out":"2026-01-05T10:00:00.000001Z"}'
    ).encode()
    made = compressor(path)
    lines = [
        own_line(int(BEGIN) * 10**9 + number * 10**6, number * 10**6, "public 1", "rx", frame)
        for number, frame in enumerate([ack, *frames])
    ]
    path.write_bytes(made.add(b"".join(lines)) + made.end())


# -- session and delivery ------------------------------------------------------------------------


def subscribed(session: Session, symbols: Sequence[str], depth: int) -> None:
    """Make a session believe that it is connected and has asked for these books."""
    now = time.monotonic()
    session.opened(now)
    session.receive(STATUS, now)
    wanted = channel_params({"channel": "book", "symbol": list(symbols), "depth": depth})
    session.subscriptions.subscribe_book(wanted)
    # Only so many requests leave at once; the clock is turned on until all have.
    for second in range(5):
        session.due(now + second, 0.0, now)


def io_loop(frames: Sequence[bytes], streams: int = 0) -> float:
    """Seconds that the I/O thread's loop takes for the frames of one live book of depth 10.

    So many streams of the book, which nobody reads, get every frame.
    """
    taps = Taps(Tapes())
    room = Room("public", Endpoint("wss://localhost/v2"), Timing(), taps, False, None, Events())
    with room.lock:
        subscribed(room.session, [SYMBOL], 10)
    key = Key("book", SYMBOL)
    made = [Stream("book", bytes, 10**7, DROP_OLDEST, [key]) for _ in range(streams)]
    for stream in made:
        room.holders.add(key, stream, None)
    io = IOThread(room, None, lambda: None, None, lambda: None)
    transport: Any = FakeTransport(frames)
    started = time.perf_counter()
    try:
        io._receive_all(transport)
    except ConnectionLost:
        pass  # that is how the frames end
    seconds = time.perf_counter() - started
    counters = room.session.counters
    assert (counters.verified, counters.mismatched) == (len(frames), 0), vars(counters)
    assert not any(stream.dropped for stream in made)
    assert all(stream.get(0) == frames[0] for stream in made)
    return seconds


class FakeTransport:
    """Hands over frames without a socket, and with next to no cost of its own."""

    message_at = None

    def __init__(self, frames: Sequence[bytes]) -> None:
        batches = [list(frames[at : at + BATCH]) for at in range(0, len(frames), BATCH)]
        self.receive = chain(batches, _Lost()).__next__


class _Lost:
    """An iterator that ends as a connection does."""

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        raise ConnectionLost("the frames are over")


# -- receiving -----------------------------------------------------------------------------------


def receive(url: str, context: ssl.SSLContext, count: int) -> float:
    """CPU seconds for receiving so many messages, with a check of their UTF-8."""
    transport = Transport(Endpoint(url), context)
    transport.connect(time.monotonic() + 10)
    got, cpu = 0, time.process_time()
    while got < count:
        for frame in transport.receive():
            if not frame.isascii():
                frame.decode()
            got += 1
    cpu = time.process_time() - cpu
    transport.dispose()
    return cpu


# -- memory --------------------------------------------------------------------------------------


class HeldBooks:
    """Live books in a session, as a connection holds them."""

    def __init__(self, symbols: Sequence[str], depth: int) -> None:
        self._session = Session(Timing())
        subscribed(self._session, symbols, depth)

    def take(self, frames: Sequence[bytes]) -> None:
        """Take the next frames, which must all verify."""
        counters, receive = self._session.counters, self._session.receive
        before = counters.verified
        for frame in frames:
            receive(frame, 0.0)
        assert counters.verified - before == len(frames), vars(counters)


def symbol_frames(frames: Sequence[bytes], symbol: str) -> List[bytes]:
    """The same feed for another symbol."""
    old, new = f'"symbol":"{SYMBOL}"'.encode(), f'"symbol":"{symbol}"'.encode()
    return [frame.replace(old, new, 1) for frame in frames]
