"""A session without sockets: odd frames, lost answers, the exchange's own limits."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import stress_garbled
from conftest import S, eventually
from facts import fact
from helpers import BOOK, TRADE
from oracle import Digits, Walk

from kraken_sync import BookState, SpotWSClient, Timing, WSState
from kraken_sync.core.session.session import Session
from kraken_sync.core.wire.channels import Key, channel_params
from kraken_sync.simulator import Simulator

DATA = Path(__file__).parent / "data"


def test_session_survives_anything() -> None:
    """A hundred thousand damaged frames: none raises, none is taken for verified."""
    rng = random.Random(8)
    frames = [line.encode() for line in (DATA / "messages.jsonl").read_text("utf-8").splitlines()]
    session = Session(Timing())
    session.opened(0.0)
    for count in range(100_000):
        frame = bytearray(rng.choice(frames))
        for _ in range(rng.randrange(1, 4)):
            at = rng.randrange(len(frame))
            kind = rng.random()
            if kind < 0.4:
                frame[at] = rng.randrange(256)
            elif kind < 0.7:
                del frame[at : at + rng.randrange(1, 9)]
            else:
                frame[at:at] = frame[rng.randrange(len(frame)) :][: rng.randrange(1, 30)]
            if not frame:
                break
        session.receive(bytes(frame), float(count))

    assert session.counters.malformed > 1000
    assert session.counters.verified == 0


@pytest.mark.parametrize(("channel", "rate"), [("book", 0.1), ("book", 0.5), ("level3", 0.3)])
def test_no_book_is_live_beside_a_frame_that_was_not_applied(channel: str, rate: float) -> None:
    """Against an exchange that knows what it sent; .ci/run goes on to a million damaged frames."""
    world = stress_garbled.run(1500, 11, rate, channel)

    assert world.live > 500
    assert world.session.counters.malformed > 500
    assert world.session.counters.mismatched > 20


@fact("status again")
@fact("announcements")
def test_an_announcement_is_told_once() -> None:
    """``status`` may come every second, with or without it, in whichever words its keys are."""
    session = Session(Timing())
    session.opened(0.0)

    def told(*parts: str) -> list[str]:
        frame = f'{{"channel":"status","type":"update","data":[{{"system":"online"{"".join(parts)}}}]}}'
        return [note.text for note in session.receive(frame.encode(), 0.0).notes if hasattr(note, "text")]

    window = ',"upcoming_maintenance":[{"a":"reminder_24h","b":["spot_ws"],"c":{"d":"continue"}}]'
    assert told(window, ',"emergency":[]') == [
        "the exchange announces: maintenance (reminder_24h) of spot_ws with the advice continue"
    ]
    assert told(window.replace("}}", '},"seconds":4}')) == []
    assert told(window, ',"emergency":["all", {"since":1}, null, {"services":["spot_rest"]}]') == [
        "the exchange announces: emergency",
        "the exchange announces: emergency of spot_rest",
    ]
    assert not any(one.stops_orders for one in session.exchange.announcements)
    assert told() == [], "a status that does not have the keys says nothing"
    assert len(session.exchange.announcements) == 3
    words = '{"x":["announced","imminent_5m"],"do":["continue","stop_new_orders"]}'
    assert told(f',"upcoming_maintenance":[{words}]')
    assert session.exchange.announcements[0].stops_orders, "the most urgent word counts"
    assert told(',"emergency":[' + '{"a":' * 600 + '"stop_new_orders"' + "}" * 600 + "]")
    assert session.exchange.announcements[0].stops_orders
    assert told(',"upcoming_maintenance":null,"emergency":7') == []
    assert session.exchange.announcements == ()


def test_lost_ack_does_not_freeze_a_live_book() -> None:
    """A book that got its snapshot but not its ack goes on taking updates while it asks again."""
    session = Session(Timing())
    session.opened(0.0)
    session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
    session.subscriptions.subscribe_book(channel_params({**BOOK, "depth": 10}))
    session.due(0.0, 0.0, None)
    book = b'{"channel":"book","type":"%s","data":[{"symbol":"BTC/USD","bids":[%s],"asks":[],"checksum":%d}]}'
    session.receive(book % (b"snapshot", b'{"price":100,"qty":1.00000000}', 681636827), 0.1)
    session.due(6.0, 6.0, None)
    session.due(7.0, 7.0, None)
    session.receive(book % (b"update", b'{"price":100,"qty":0.00000000}', 0), 7.1)
    sync = session.subscriptions.book(Key("book", S))

    assert sync is not None
    assert sync.live
    assert dict(sync.book.bids) == {}


def test_old_spelling_of_the_rate_limit() -> None:
    """``{"Error": "Exceeded msg rate"}`` pauses everything as well."""
    session = Session(Timing(ping_interval=60.0))
    session.opened(0.0)
    session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
    session.receive(b'{"Error":"Exceeded msg rate"}', 0.0)
    session.subscriptions.subscribe(channel_params(TRADE))

    assert session.due(0.5, 0.5, None) == []
    assert len(session.due(1.5, 1.5, None)) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"channel":"trade","type":"update","data":[{"symbol":["BTC/USD"]}]}',
        '{"channel":"ohlc","type":"update","data":[{"symbol":"BTC/USD","interval":{}}]}',
        '{"method":"subscribe","success":true,"req_id":1,"result":{"symbol":["x"]}}',
        '{"method":"subscribe","success":false,"req_id":1,"symbol":["x"],"error":"no"}',
        *(
            '{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":'
            + price
            + ',"qty":1.0}],"asks":[],"checksum":1}]}'
            for price in ("null", "[]", "{}", "true", '"x"')
        ),
    ],
)
def test_odd_types_are_no_fault_of_ours(client: SpotWSClient, exchange: Simulator, text: str) -> None:
    """Whatever types a frame has, the client lives on and its books are right in the end."""
    book = client.book(S)
    client.trades(S)
    for _ in range(2):
        exchange.send_text(text)
    client.send_message({"method": "ping"})
    eventually(lambda: book.state is BookState.LIVE)

    assert client.state is WSState.CONNECTED
    assert not client.exception_occur


@pytest.mark.parametrize("seed", range(8))
def test_a_batch_means_what_its_frames_mean(seed: int) -> None:
    """One after the other or all at once: the same outcomes, counters, books and requests, whatever comes."""
    rng, garble = random.Random(seed), stress_garbled.Garbler(seed)
    symbols = [S, "ETH/USD"]
    walks = {
        symbol: Walk(seed + number, 10, Digits(1, 8), 15, 10**9) for number, symbol in enumerate(symbols)
    }
    single, batched = Session(Timing()), Session(Timing())
    for session in (single, batched):
        session.opened(0.0)
        session.subscriptions.subscribe_book(channel_params({**BOOK, "symbol": symbols, "depth": 10}))
        session.subscriptions.subscribe(channel_params({**TRADE, "symbol": symbols}), raw=False)
    frames = [b'{"channel":"status","type":"update","data":[{"system":"online"}]}']
    fed: set = set()
    sizes = []
    for count in range(300):
        now = count / 4
        one_by_one = [single.receive(frame, now) for frame in frames]
        together, left = [], frames
        while left:
            run = batched.receive_run(left, now)
            assert all(received.plain for received in run[:-1])
            sizes.append(len(run))
            together, left = together + run, left[len(run) :]
        assert together == one_by_one
        assert vars(batched.counters) == vars(single.counters)
        for symbol in symbols:
            books = [session.subscriptions.book(Key("book", symbol)) for session in (single, batched)]
            (state, levels), other = [(sync.state, sync.book.top(10)) for sync in books]
            assert (state, levels) == other
        requests = single.due(now, now, None)
        assert batched.due(now, now, None) == requests
        frames = []
        for request in map(json.loads, requests):
            reply = {"method": request["method"], "req_id": request["req_id"], "success": True}
            if request["method"] == "ping":
                frames.append(json.dumps({**reply, "method": "pong"}).encode())
                continue
            params = request["params"]
            for symbol in params["symbol"]:
                result = {"channel": params["channel"], "symbol": symbol, "depth": 10, "snapshot": True}
                frames.append(json.dumps({**reply, "result": result}).encode())
                if params["channel"] == "book" and request["method"] == "subscribe":
                    fed.add(symbol)
                    frames.append(walks[symbol].snapshot().replace("A/B", symbol).encode())
                elif params["channel"] == "book":
                    fed.discard(symbol)
        for _ in range(rng.choice((0, 1, 5, 40))):
            symbol = rng.choice(symbols)
            frame = b'{"channel":"heartbeat"}'
            if rng.random() < 0.3:
                frame = (
                    b'{"channel":"trade","type":"update","data":[{"symbol":"%s","side":"buy","price":1.0,'
                    b'"qty":1.0,"ord_type":"limit","trade_id":%d,"timestamp":"2026-11-29T00:00:00.000000Z"}]}'
                ) % (symbol.encode(), count)
            elif fed and rng.random() < 0.9:
                symbol = rng.choice(sorted(fed))
                frame = walks[symbol].update().replace("A/B", symbol).encode()
            frames.append(garble(frame) if rng.random() < 0.008 else frame)

    assert max(sizes) > 10
    assert single.counters.verified > 300
    assert single.counters.resyncs > 0
