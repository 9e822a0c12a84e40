"""Replays: a recording is an exchange, with snapshots for whoever joins, true checksums and visible holes."""

from __future__ import annotations

import json
import queue
import random
import re
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import pytest
import requests
from conftest import FAR, FAST, WAIT, S, eventually
from helpers import background
from oracle import best
from websockets.sync.client import connect

from kraken_sync import BookNotLive, KrakenError, OrderBook, SpotWSClient, SubscriptionRefused, UnknownSymbol
from kraken_sync.core.book.book import Book
from kraken_sync.core.wire.channels import Key
from kraken_sync.core.wire.messages import decode_book
from kraken_sync.core.wire.record_lines import own
from kraken_sync.recording import Recorder, export, verify_file
from kraken_sync.recording.files import LineReader
from kraken_sync.replay import Replay
from kraken_sync.replay.feeds import BookFeed, DepthView
from kraken_sync.simulator import Simulator

E = "ETH/USD"


def levels(book: OrderBook) -> Any:
    try:
        snapshot = book.snapshot()
    except BookNotLive:
        return None
    return list(snapshot.bids), list(snapshot.asks)


def same_sides(one: Any, other: Any) -> bool:
    return (one.bids, one.asks) == (other.bids, other.asks)


class Day:
    """A recorded day, and what its client has seen."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "day.jsonl.gz"
        self.trades: List[Dict[str, Any]] = []
        self.books: Dict[str, Any] = {}
        self.gaps: List[Dict[str, Any]] = []
        self.level3: Any = None


def make_day(folder: Path, cut: bool) -> Day:
    """Some traffic of every channel, perhaps with a loss of the connection in the middle."""
    day = Day(folder)
    with Simulator(seed=5, rate=0, tier=None) as sim, sim.client(timing=FAST, parse_float=Decimal) as client:
        with Recorder(client, day.path):
            books = {S: client.book(S, 100), E: client.book(E)}
            trades = client.trades([S, E])
            client.ticker(S)
            client.ohlc(S, 5)
            deep = client.level3_book(S)
            client.subscribe({"channel": "instrument"})
            for number in range(60):
                sim.step(20, [S, E])
                if cut and number == 30:
                    count = client.stats()["reconnects"]
                    sim.cut()
                    eventually(lambda count=count: client.stats()["reconnects"] > count)
                    client.wait_ready()
                    eventually(lambda: str(deep.state) == "LIVE")
            last = {S: sim.top(S, 100), E: sim.top(E, 10)}
            eventually(lambda: all(len(book.bids) and top(book) == last[s] for s, book in books.items()))
            eventually(lambda: same_sides(deep.level2, books[S].snapshot(10)))
        day.books = {symbol: levels(book) for symbol, book in books.items()}
        day.level3 = deep.snapshot()
        day.gaps = client.gaps()
        while True:
            try:
                day.trades.append(trades.get(0))
            except queue.Empty:
                break
    return day


def top(book: OrderBook) -> Any:
    digits = {S: (1, 8), E: (2, 8)}[book.symbol]
    sides = [
        [(int(price.scaleb(digits[0])), int(qty.scaleb(digits[1]))) for price, qty in side]
        for side in (book.bids, book.asks)
    ]
    bids, asks = sides
    return bids, asks


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """A day without a hole."""
    return make_day(tmp_path_factory.mktemp("whole"), cut=False)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Day:
    """A day in whose middle the connections were lost."""
    return make_day(tmp_path_factory.mktemp("broken"), cut=True)


@pytest.fixture
def replay() -> Iterator[Callable[..., Replay]]:
    """Makes replays, which are stopped at the end and must have had no faults."""
    made: List[Replay] = []

    def make(day: Day, **options: Any) -> Replay:
        replay = Replay(day.path, **{"speed": "max", "paused": True, **options})
        made.append(replay)
        return replay.start()

    yield make
    for one in made:
        one.stop()
        assert one.errors == []


def client_of(replay: Replay, **options: Any) -> SpotWSClient:
    return replay.client(timing=FAST, parse_float=Decimal, **options)


@pytest.mark.parametrize("depth", [10, 25, 100, 500])
def test_the_same_day(whole: Day, replay: Callable[..., Replay], depth: int) -> None:
    """Every trade in its order, and at the end the book that the recorded client had, in every depth."""
    day = replay(whole)
    assert day.symbols == (S, E)
    with client_of(day) as client:
        books = [client.book(S, depth), client.book(E)]
        trades, ticker = client.trades([S, E]), client.ticker(S)
        candles, deep = client.ohlc(S, 5), client.level3_book(S)
        day.play()
        assert day.wait(WAIT)
        seen = [trades.get(WAIT) for _ in whole.trades]
        eventually(lambda: levels(books[0]) == tuple(side[:depth] for side in whole.books[S]))
        eventually(lambda: levels(books[1]) == whole.books[E])
        eventually(lambda: same_sides(deep.snapshot(), whole.level3))
        assert ticker.get(WAIT)["symbol"] == candles.get(WAIT)["symbol"] == S
        stats = client.stats()

    assert seen == whole.trades
    assert len(seen) > 50
    assert stats["mismatched"] == stats["level3"]["mismatched"] == stats["reconnects"] == 0
    assert client.gaps() == []
    assert day.finished


def test_joining_in_the_middle(whole: Day, replay: Callable[..., Replay]) -> None:
    """A snapshot is made for that moment, also in other depths, and from there on nothing differs."""
    day = replay(whole)
    with client_of(day) as first, client_of(day) as second, client_of(day) as third:
        early = first.book(S, 100)
        day._server.speed = 50.0  # so that it can be stopped in the middle
        day.play()
        eventually(lambda: first.stats()["verified"] > 20)
        day.pause()
        late, narrow = second.book(S, 100), third.book(S, 10)
        deep, trades = second.level3_book(S), second.trades(S, snapshot=True)
        eventually(lambda: levels(early) == levels(late))
        assert levels(narrow) == tuple(side[:10] for side in levels(late))
        assert deep.snapshot().bids
        assert trades.get(WAIT)["symbol"] == S
        day.play()
        assert day.wait(WAIT)
        for book in (early, late):
            eventually(lambda book=book: levels(book) == whole.books[S])
        eventually(lambda: levels(narrow) == tuple(side[:10] for side in whole.books[S]))
        eventually(lambda: same_sides(deep.snapshot(), whole.level3))
        assert second.stats()["mismatched"] == third.stats()["mismatched"] == 0


def test_a_hole_is_a_hole(broken: Day, replay: Callable[..., Replay]) -> None:
    """Where the recording client was cut off, so is this one: it tells the gap, and its books are right."""
    day = replay(broken)
    assert {gap["channel"] for gap in broken.gaps} >= {"book", "trade", "level3"}
    with client_of(day) as client:
        book, trades = client.book(S, 100), client.trades([S, E], gaps=True)
        deep = client.level3_book(S)
        day.play()
        assert day.wait(WAIT)
        eventually(lambda: levels(book) == broken.books[S])
        eventually(lambda: same_sides(deep.snapshot(), broken.level3))
        told = {gap["channel"] for gap in client.gaps()}
        assert client.stats()["mismatched"] == 0
    seen = list(trades)

    assert told == {"book", "trade", "level3"}
    assert any(one.get("type") == "gap" for one in seen)
    for symbol in (S, E):
        ids = [one["trade_id"] for one in seen if one.get("symbol") == symbol]
        assert ids == sorted(set(ids))
        assert set(ids) <= {one["trade_id"] for one in broken.trades}


def test_records_that_the_disk_lost(whole: Day, replay: Callable[..., Replay], tmp_path: Path) -> None:
    """A note of dropped records is a hole, too; the recorder's own state comes after it."""
    lines = list(LineReader(whole.path))
    frames = [n for n, line in enumerate(lines) if b'"dir":"rx"' in line and b'"channel":"book"' in line]
    middle = frames[len(frames) // 2]
    books = {S: Book(S, 100), E: Book(E, 10)}
    for line in lines[: middle + 30]:
        found = own(line)
        if found is not None and found.frame.startswith(b'{"channel":"book"'):
            message = decode_book(found.frame)
            books[message.data[0].symbol].apply(message.data[0], message.type == "snapshot")
    head = lines[middle].partition(b',"connection"')[0]
    note = head + b',"connection":"","dir":"note","frame":{"note":"dropped","reason":"slow","records":30}}'
    states = [
        head + b',"connection":"public 1","dir":"state","frame":' + book.snapshot_frame() + b"}"
        for book in books.values()
    ]
    path = tmp_path / "hole.jsonl"
    path.write_bytes(b"\n".join([*lines[:middle], note, *states, *lines[middle + 30 :], b""]))
    whole_again = Day(tmp_path)
    whole_again.path = path
    day = replay(whole_again)
    with client_of(day) as client:
        book = client.book(S, 100)
        day.play()
        assert day.wait(WAIT)
        eventually(lambda: levels(book) == whole.books[S])

        assert [gap["channel"] for gap in client.gaps()] == ["book"]
        assert client.stats()["mismatched"] == 0


@pytest.mark.parametrize("depth", [10, 25])
@pytest.mark.parametrize("seed", range(6))
def test_another_depth_is_exact(seed: int, depth: int) -> None:
    """A reader of the made messages has, after each of them, exactly the best levels of the recorded book."""
    rng = random.Random(seed)
    feed, reader = BookFeed(Key("book", "A/B"), 25), Book("A/B", depth)
    sides: Dict[str, Dict[int, int]] = {"bids": {}, "asks": {}}
    full = Book("A/B", 25)
    view = DepthView(feed, depth)

    def message(kind: str, changes: Dict[str, Dict[int, int]]) -> bytes:
        texts = {
            name: ",".join(f'{{"price":{price}.0,"qty":{qty}.00}}' for price, qty in changes[name].items())
            for name in changes
        }
        frame = (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"A/B","bids":[{texts["bids"]}],'
            f'"asks":[{texts["asks"]}],"checksum":%d}}]}}'
        )
        full.apply(decode_book((frame % 0).encode()).data[0], kind == "snapshot")
        return (frame % full.computed).encode()

    for name, base in (("bids", 1000), ("asks", 1001)):
        step = -1 if name == "bids" else 1
        sides[name] = {base + step * n: rng.randrange(1, 99) for n in range(rng.randrange(0, 26))}
    assert feed.take(message("snapshot", sides), True).ready or not (sides["bids"] or sides["asks"])
    first = decode_book(view.snapshot()).data[0]
    assert reader.apply(first, True)
    cutter = {
        name: {int(level.price[:-2]): int(level.qty.replace(".", "")) for level in getattr(first, name)}
        for name in ("bids", "asks")
    }
    for _ in range(200):
        changes: Dict[str, Dict[int, int]] = {"bids": {}, "asks": {}}
        for _ in range(rng.randrange(1, 4)):
            name = rng.choice(["bids", "asks"])
            price = rng.randrange(960, 1001) if name == "bids" else rng.randrange(1001, 1041)
            changes[name][price] = rng.choice([0, rng.randrange(1, 99)])
        feed.take(message("update", changes), False)
        told = view.update()
        if told is not None:
            data = decode_book(told).data[0]
            assert reader.apply(data, False)
            for side, entries in ((cutter["bids"], data.bids), (cutter["asks"], data.asks)):
                for level in entries:  # a reader that cuts its book after each entry
                    side[int(level.price[:-2])] = int(level.qty.replace(".", ""))
                    name = "bids" if side is cutter["bids"] else "asks"
                    kept = best({price: qty for price, qty in side.items() if qty}, name, depth)
                    side.clear()
                    side.update(kept)
        for name, side, mine in (("bids", full.bids, reader.bids), ("asks", full.asks, reader.asks)):
            assert list(mine) == best(dict(side), name, depth)
            assert best(cutter[name], name, depth) == [(price // 10, qty) for price, qty in mine]


def test_what_it_answers(whole: Day, replay: Callable[..., Replay]) -> None:
    """The REST requests that clients make first, refusals in the exchange's words, and no account."""
    day = replay(whole)
    pairs = requests.get(f"{day.rest_url}/0/public/AssetPairs", timeout=WAIT).json()["result"]
    status = requests.get(f"{day.rest_url}/0/public/SystemStatus", timeout=WAIT).json()
    depth = requests.get(f"{day.rest_url}/0/public/Depth?pair=XBTUSD&count=3", timeout=WAIT).json()
    assert {pair["wsname"] for pair in pairs.values()} >= {"XBT/USD", "ETH/USD"}
    assert pairs["XBTUSD"]["pair_decimals"] == 1
    assert status["result"]["status"] == "online"
    assert len(depth["result"]["XBTUSD"]["asks"]) == 3
    unknown = requests.get(f"{day.rest_url}/0/public/AssetPairs?pair=NOSUCH", timeout=WAIT).json()
    assert unknown["error"] == ["EQuery:Unknown asset pair"]
    with client_of(day) as client:
        assert client.symbols("eth")
        with pytest.raises(UnknownSymbol):
            client.book("NOSUCH/USD")
        with pytest.raises(SubscriptionRefused, match="ticker was not recorded for ETH/USD"):
            client.ticker(E)
        with pytest.raises(SubscriptionRefused, match="60 minutes was not recorded"):
            client.ohlc(S, 60)
        with pytest.raises(SubscriptionRefused, match="recorded with 10"):
            client.subscribe({"channel": "level3", "symbol": [S], "depth": 100})
        with pytest.raises(KrakenError):
            client.add_order(**FAR, timeout=1)
        book = client.book("xbt/usd")
        assert (book.symbol, client.send_message({"method": "ping"})["method"]) == (S, "pong")
        book.unsubscribe()
        assert client.book(S, 100).bids
        with pytest.raises(SubscriptionRefused, match="Feature disabled"):
            client.subscribe({"channel": "balances"}, timeout=2)


def test_pace(whole: Day) -> None:
    """A number is how many times as fast it goes; it begins with the first subscription."""
    with Replay(whole.path, speed=20) as day, client_of(day) as client:
        length = (day.end - day.begin).total_seconds()
        assert not day.wait(0.05)
        assert day.position is None
        with client.trades(S) as trades:
            first = trades.get(WAIT)
            assert day.wait(length / 20 + WAIT)
        assert first in whole.trades
        assert abs((day.position - day.end).total_seconds()) < 1
    for wrong in (0, -1, "fast", True, None):
        with pytest.raises(ValueError, match="speed"):
            Replay(whole.path, speed=wrong)


def test_paused_in_a_silence(tmp_path: Path) -> None:
    """What comes after the silence waits for play(), too."""
    line = (
        b'{"wall_ns":%d,"mono_ns":1,"connection":"public 1","dir":"rx","frame":{"channel":"trade",'
        b'"type":"update","data":[{"symbol":"BTC/USD","price":1.0,"qty":1,"trade_id":%d}]}}\n'
    )
    path = tmp_path / "slow.jsonl"
    path.write_bytes(b"".join(line % (10**18 + n * 3 * 10**8, n) for n in range(200)))
    with Replay(path, paused=True) as day:
        day.play()
        eventually(lambda: day.position)
        day.pause()
        position = day.position
        assert not day.wait(0.7)
        assert day.position == position
        day.play()
        eventually(lambda: day.position > position)


def test_files_without_data(tmp_path: Path) -> None:
    """It is said before anything is served."""
    path = tmp_path / "x.jsonl"
    path.write_text('{"channel":"heartbeat"}\n')
    with pytest.raises(ValueError, match="no market data"):
        Replay(path)
    with pytest.raises(FileNotFoundError):
        Replay(tmp_path / "nosuch.jsonl")
    with pytest.raises(RuntimeError, match="not started"):
        path.write_text('{"channel":"trade","type":"update","data":[{"symbol":"A/B","price":1.0,"qty":1}]}\n')
        Replay(path).play()


@pytest.mark.parametrize(
    ("name", "symbol", "depth", "verified"),
    [
        ("trading-system/btcusd_book_d10_20260719T1754Z.jsonl", S, 10, 1254),
        ("depthcharge/kraken_minagbp_d25_20260816.ndjson", "MINA/GBP", 25, 30),
        ("cryptofeed/derived_v2_book_d1000_5pairs_20210417.jsonl", "ADA/BTC", 1000, 0),
    ],
)
def test_real_recordings(captures: Path, name: str, symbol: str, depth: int, verified: int) -> None:
    """What the real exchange sent is served again, every message of it verified."""
    with Replay(captures / name, speed="max", paused=True) as day, client_of(day) as client:
        book = client.book(symbol, depth)
        narrow = client_of(day)
        with narrow:
            other = narrow.book(symbol, 10)
            day.play()
            assert day.wait(WAIT)
            # The replay and the clients have the same last message.
            eventually(lambda: levels(other) == tuple(side[:10] for side in levels(book)))
            eventually(lambda: client.stats()["verified"] >= verified)
        assert client.stats()["mismatched"] == narrow.stats()["mismatched"] == 0
        assert client.stats()["verified"] == verified or not verified


def test_the_command(whole: Day) -> None:
    """``kraken-sync replay``: the first line says where it is; it ends when everything was sent."""
    command = [sys.executable, "-m", "kraken_sync", "replay", str(whole.path), "--speed", "max"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        places = json.loads(process.stdout.readline())
        with SpotWSClient(
            ws_url=places["ws_url"], rest_url=places["rest_url"], timing=FAST, parse_float=Decimal
        ) as client:
            book = client.book(S, 100)
            assert book.symbol == S
            assert process.wait(WAIT) == 0
            assert client.stats()["mismatched"] == 0
    with subprocess.Popen([*command[:-2]], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT) == 0


def recorded(path: Path, *parts: Callable[[Simulator, SpotWSClient], None], between: int = 300) -> List[Path]:
    """A recording for each part, of one client; meanwhile so many things happen that nobody records."""
    paths = []
    with Simulator(seed=6, rate=0, tier=None) as sim, sim.client(timing=FAST, parse_float=Decimal) as client:
        for number, part in enumerate(parts):
            paths.append(path / f"{number}.jsonl")
            with Recorder(client, paths[-1]):
                part(sim, client)
                client.send_message({"method": "ping"})
            sim.step(between, S)
    return paths


def walk(sim: Simulator, client: SpotWSClient) -> None:
    client.book(S)
    client.trades(S)
    for _ in range(20):
        sim.step(20, S)


def test_nothing_between_two_recordings(tmp_path: Path) -> None:
    """A file that does not continue the one before it begins with a hole; one that does has none."""
    first, second = recorded(tmp_path, walk, walk)
    with Replay([first, second], speed="max", paused=True) as day, client_of(day) as client:
        book, trades = client.book(S), client.trades(S, gaps=True)
        day.play()
        assert day.wait(WAIT)
        eventually(lambda: client.gaps())
        eventually(lambda: str(book.state) == "LIVE")
        assert client.stats()["mismatched"] == 0
    assert any(one.get("type") == "gap" for one in trades)
    assert export([first, second], tmp_path / "gaps.csv")["gaps"] == 1


def test_unsubscribed_in_the_recording(tmp_path: Path) -> None:
    """What came meanwhile is missing, and that is told."""

    def part(sim: Simulator, client: SpotWSClient) -> None:
        for _ in range(2):
            client.trades(S)
            for _ in range(20):
                sim.step(20, S)
            client.unsubscribe({"channel": "trade", "symbol": [S]})
            sim.step(300, S)

    (path,) = recorded(tmp_path, part)
    with Replay(path, speed="max", paused=True) as day, client_of(day) as client:
        trades = client.trades(S, gaps=True)
        day.play()
        assert day.wait(WAIT)
        eventually(lambda: client.gaps())
    seen = list(trades)
    ids = [one["trade_id"] for one in seen if "trade_id" in one]
    jumps = [n for n in range(1, len(seen)) if "trade_id" in seen[n] and "trade_id" in seen[n - 1]]
    assert len(ids) > 50
    assert all(seen[n]["trade_id"] == seen[n - 1]["trade_id"] + 1 for n in jumps)
    assert export(path, tmp_path / "gaps.csv")["gaps"] == 2


def test_nothing_of_the_future(tmp_path: Path) -> None:
    """What the recording has later than its beginning is not known before."""
    (path,) = recorded(tmp_path, walk)
    lines = path.read_bytes().splitlines(keepends=True)
    later = tmp_path / "later.jsonl"
    shifted = []
    for line in lines:
        found = own(line.rstrip())
        assert found is not None
        # The book comes ten minutes after the trades.
        late = 600 * 10**9 if b'"book"' in line else 0
        _, _, rest = line.partition(b',"mono_ns"')
        shifted.append(
            (found.header.wall_ns + late, b'{"wall_ns":%d,"mono_ns"' % (found.header.wall_ns + late) + rest)
        )
    later.write_bytes(b"".join(line for _, line in sorted(shifted, key=lambda one: one[0])))
    with Replay(later, speed="max", paused=True) as day, client_of(day) as client:
        trades = client.trades(S)
        with pytest.raises(KrakenError):
            client.book(S, timeout=0.5)
        day.play()
        assert trades.get(WAIT)
        assert day.wait(WAIT)


@pytest.mark.parametrize("depth", [10, 25])
def test_a_recording_that_does_not_verify(tmp_path: Path, depth: int) -> None:
    """In whatever depth it is served, no message after that is proven; the next snapshot heals it."""

    def part(sim: Simulator, client: SpotWSClient) -> None:
        for _ in range(2):
            walk(sim, client)
            client.unsubscribe({"channel": "book", "symbol": [S]})

    (path,) = recorded(tmp_path, part)
    lines = path.read_bytes().splitlines(keepends=True)
    updates = [n for n, line in enumerate(lines) if b'"book","type":"update"' in line]
    del lines[updates[20] : updates[40]]
    path.write_bytes(b"".join(lines))
    expected = verify_file(path)
    assert expected.mismatched == 1
    with Replay(path, speed="max", paused=True) as day, client_of(day) as client:
        book = client.book(S, depth)
        day.play()
        assert day.wait(WAIT)
        eventually(lambda: str(book.state) == "LIVE" and client.gaps())
        assert [one["channel"] for one in client.gaps()] == ["book"]
        stats = client.stats()
        assert stats["reconnects"] >= 1
        assert stats["mismatched"] == 0
        assert 21 < stats["verified"] <= expected.verified  # the first 21 are from before


def test_a_replay_that_is_stopped(whole: Day) -> None:
    """Whoever waits for its end is told at once."""
    day = Replay(whole.path, paused=True).start()
    waiting = background(day.wait)
    day.stop()
    waiting["thread"].join(WAIT)
    assert waiting["value"] is False


def test_other_orders_of_keys(tmp_path: Path) -> None:
    """A recording of others, with sorted keys and spaces, is served."""
    (path,) = recorded(tmp_path, walk)
    plain = tmp_path / "sorted.jsonl"
    frames = [own(line) for line in LineReader(path)]
    texts = [one.frame.decode() for one in frames if one is not None and one.header.dir == "rx"]
    pattern = re.compile(r'^\{"channel":"(\w+)","type":"(\w+)",("data":.*)\}$')
    plain.write_text(
        "\n".join(pattern.sub(r'{"channel": "\1", \3, "type": "\2"}', text) for text in texts) + "\n"
    )
    with Replay(plain, speed="max", paused=True) as day, client_of(day) as client:
        book = client.book(S)
        day.play()
        assert day.wait(WAIT)
        eventually(lambda: client.stats()["verified"] > 50)
        assert str(book.state) == "LIVE"
        assert client.stats()["mismatched"] == 0


def test_a_client_that_leaves_in_the_middle(tmp_path: Path) -> None:
    """The closing handshake comes between two writes: nothing may follow it, and nothing fails."""
    day = make_day(tmp_path, cut=False)
    request = {"method": "subscribe", "params": {"channel": "book", "symbol": [S], "depth": 100}}
    for taken in (3, 5, 8):
        with Replay([day.path], speed="max") as replay:
            # Without a limit, because a client of websockets that has stopped reading waits ten seconds when
            # it closes.
            with connect(f"{replay.options['ws_url']}/v2", max_queue=None) as socket:
                socket.send(json.dumps(request))
                for _ in range(taken):
                    socket.recv(timeout=WAIT)
        assert replay.errors == []


def test_the_pairs_of_the_moment(tmp_path: Path) -> None:
    """Who joins gets the table as it is then: with what had changed before the recording, and in it."""
    path = tmp_path / "pairs.jsonl"
    with Simulator(seed=5, rate=0, tier=None) as sim, sim.client(timing=FAST) as client:
        pairs = client.subscribe({"channel": "instrument"})
        sim.set_pair_status(E, "post_only")
        for _ in range(2):
            pairs.get(WAIT)
        with Recorder(client, path):
            client.trades(S)
            sim.set_pair_status(S, "limit_only")
            pairs.get(WAIT)
            sim.trade(S, "buy", "64252", "0.5")
            eventually(lambda: client.latest("trade", S))
    with Replay([path], speed="max") as day, day.client(timing=FAST) as client:
        client.trades(S)
        assert day.wait(WAIT)
        frame = client.subscribe({"channel": "instrument"}).get(WAIT)
    status = {pair["symbol"]: pair["status"] for pair in frame["data"]["pairs"]}
    assert (frame["type"], status[E], status[S]) == ("snapshot", "post_only", "limit_only")
