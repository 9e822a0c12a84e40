"""Streams: gaps in their place, losses told, nothing twice."""

from __future__ import annotations

import json
import queue
import re
import socket
import threading
from decimal import Decimal
from typing import Any, Callable, List

import pytest
from conftest import WAIT, S, eventually
from facts import fact
from helpers import TRADE, ack
from raw_server import RawServer, drain, frame, greet

from kraken_sync import SpotWSClient
from kraken_sync.cli.lines import Lines
from kraken_sync.cli.views.feeds import tickers
from kraken_sync.cli.views.parts import UNICODE
from kraken_sync.core.wire.channels import Key
from kraken_sync.core.wire.messages import gap_frame
from kraken_sync.io.streams import Stream
from kraken_sync.simulator import Simulator


def test_conflated_frames_stay_before_the_gap() -> None:
    """A gap does not let a later frame take an earlier one's place."""
    key = Key("ticker", S)
    stream = Stream("x", lambda frame: frame, policy="conflate", keys=[key])
    stream.put(key, b"1")
    stream.put(key, b"2")
    stream.put_gap(gap_frame("ticker", S, "outage", None, None))
    stream.put(key, b"3")
    stream.put(key, b"4")

    assert [stream.get(0), stream.get(0)["type"], stream.get(0)] == [b"2", "gap", b"4"]


def test_lost_frames_are_told_where_they_were() -> None:
    """The mark of dropped frames keeps its place among gaps; bounds hold for both."""
    stream = Stream("x", lambda frame: frame, maxlen=3, keys=[Key("trade", S)])
    for number in range(5):
        stream.put(None, b"a%d" % number)
    stream.put_gap(gap_frame("trade", S, "outage", None, None))
    for number in range(4):
        stream.put(None, b"b%d" % number)
    entries = []
    while True:
        try:
            entries.append(stream.get(0))
        except queue.Empty:
            break
    shape = [
        entry if isinstance(entry, bytes) else (entry["data"][0]["reason"], entry["data"][0]["dropped"])
        for entry in entries
    ]

    assert sum(one[1] for one in shape if isinstance(one, tuple)) == stream.dropped
    assert shape[0][0] == "slow reader"
    assert [one[0] for one in shape if isinstance(one, tuple)].index("outage") == 1
    assert shape[-1] == b"b3"
    stream.put(None, b"last")
    for _ in range(3000):
        stream.put_gap(gap_frame("trade", S, "outage", None, None))
    assert len(stream._entries) <= 1100
    assert stream.get(0) == b"last"


def test_full_conflating_stream_drops() -> None:
    """More symbols than room: the oldest goes, and is counted."""
    stream = Stream("x", lambda frame: frame, maxlen=2, policy="conflate")
    for number in range(5):
        stream.put(Key("ticker", str(number)), b"%d" % number)

    assert stream.dropped == 3
    assert stream.get(0)["data"][0]["dropped"] == 3
    assert [stream.get(0), stream.get(0)] == [b"3", b"4"]


def test_gaps_push_out_no_frames() -> None:
    """Only frames count against the room for frames."""
    stream = Stream("x", lambda frame: frame, maxlen=2, keys=[Key("trade", S)])
    stream.put(None, b"1")
    stream.put(None, b"2")
    for _ in range(4):
        stream.put_gap(gap_frame("trade", S, "outage", None, None))

    assert [stream.get(0), stream.get(0)] == [b"1", b"2"]
    assert stream.dropped == 0


def test_one_of_several_symbols_ends(client: SpotWSClient, exchange: Simulator) -> None:
    """A reader of two symbols is told that one of them has no future."""
    stream, messages = client.subscribe({"channel": "trade", "symbol": [S, "ETH/USD"]}), client.messages
    exchange.faults.refused.add("ETH/USD")
    exchange.cut()
    found = {}
    while len(found) < 2:
        gap = stream.get(WAIT)["data"][0]
        found[gap["symbol"]] = gap

    assert found[S]["until"] is not None
    assert found["ETH/USD"]["until"] is None
    assert found["ETH/USD"]["reason"] == "ended by the exchange: Currency pair not supported ETH/USD"
    while messages.get(WAIT).get("data", [{}])[0].get("until", "") is not None:
        pass


def test_frames_that_cannot_be_read_are_gaps(client: SpotWSClient, exchange: Simulator) -> None:
    """Where a frame cannot be decoded, its readers find a gap, and it is counted."""
    messages = client.messages
    stream = client.subscribe({"channel": "ticker", "symbol": [S]})
    stream.get(WAIT)
    exchange.send_text('{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","last":1e999}]}')
    exchange.send_text("CloudFlare WebSocket proxy restarting")
    exchange.send_text('{"channel":"ticker","type":"update","data":[{"symbol":"BTC/USD","last":5.0}]}')

    found = [stream.get(WAIT) for _ in range(3)]
    assert [one["type"] for one in found] == ["gap", "gap", "update"]
    assert found[2]["data"][0]["last"] == 5.0
    assert all("cannot be read" in gap["reason"] for gap in stream.gaps)
    assert stream.malformed == 1, "the other one was no frame of this stream"
    while messages.get(WAIT).get("data", [{}])[0].get("last") != 5.0:
        pass
    assert messages.malformed == 2


def test_frame_of_two_symbols_comes_once(client: SpotWSClient, exchange: Simulator) -> None:
    """A frame that concerns two symbols of one stream is one frame."""
    stream = client.subscribe({"channel": "trade", "symbol": [S, "ETH/USD"]})
    exchange.send_text(
        '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD"},{"symbol":"ETH/USD"}]}'
    )
    assert len(stream.get(WAIT)["data"]) == 2
    with pytest.raises(queue.Empty):
        stream.get(0.1)


def test_gap_comes_before_early_data(new_client: Callable[..., SpotWSClient]) -> None:
    """Data that come before their acknowledgement still follow the gap."""

    def script(sock: socket.socket) -> None:
        greet(sock)
        sock.recv(65536)
        data = b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","trade_id":%d}]}'
        if server.accepted == 1:
            sock.sendall(frame(ack(7)) + frame(data % 1))
            threading.Event().wait(0.3)
            sock.close()
        else:
            sock.sendall(frame(data % 9))
            drain(sock)

    with RawServer(script) as server:
        stream = new_client(ws_url=server.url).subscribe(TRADE, 7)

        assert [stream.get(WAIT)["type"] for _ in range(3)] == ["update", "gap", "update"]


def test_a_burst_keeps_its_order(new_client: Callable[..., SpotWSClient]) -> None:
    """Frames that arrive at once: one order over all symbols, the gap in its place, also for the callback."""
    trade = b'{"channel":"trade","type":"update","data":[{"symbol":"%s","trade_id":%d}]}'
    sent = [trade % (symbol, number) for number in range(1, 40) for symbol in (b"BTC/USD", b"ETH/USD")]
    sent[41] = sent[41][:-4]  # it still tells that it is a trade of ETH/USD

    def script(sock: socket.socket) -> None:
        greet(sock)
        sock.recv(65536)
        sock.sendall(b"".join(map(frame, [ack(7), ack(7, "ETH/USD"), *sent])))
        drain(sock)

    told: List[Any] = []
    with RawServer(script) as server:
        client = new_client(ws_url=server.url, callback=told.append)
        both = client.subscribe({"channel": "trade", "symbol": [S, "ETH/USD"]}, 7)
        seen = [both.get(WAIT) for _ in sent]
        eventually(lambda: sum(one.get("channel") == "trade" for one in told) == len(sent))

    def shape(one: Any) -> Any:
        (item,) = one["data"]
        return one["type"], item["symbol"], item.get("trade_id")

    whole = [
        shape(json.loads(text)) if number != 41 else ("gap", "ETH/USD", None)
        for number, text in enumerate(sent)
    ]
    assert list(map(shape, seen)) == whole
    assert [shape(one) for one in told if one.get("channel") == "trade"] == whole


def test_a_further_stream_of_trades_has_their_snapshot(client: SpotWSClient, exchange: Simulator) -> None:
    """The same cell, run twice."""
    first = client.trades(S, snapshot=True)
    earlier = [first.get(WAIT)["trade_id"] for _ in range(3)]
    second = client.trades(S, snapshot=True)

    assert [second.get(WAIT)["trade_id"] for _ in range(3)] == earlier
    with pytest.raises(queue.Empty):
        client.trades(S).get(0.2)


@fact("ticker numbers")
def test_tickers_with_texts_for_numbers(
    client: SpotWSClient, exchange: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exchange may send either; readers get what was sent."""
    exchange.faults.garble = lambda text: (
        re.sub(r'"(bid|ask|last)":([0-9.]+)', r'"\1":"\2"', text) if '"ticker"' in text else text
    )
    ticker = client.ticker("BTC/USD").get(WAIT)
    assert {type(ticker[name]) for name in ("bid", "ask", "last")} == {str}
    assert Decimal(ticker["bid"]) < Decimal(ticker["ask"])
    shown = tickers({"BTC/USD": ticker}, {"BTC/USD": []}, 80, UNICODE)
    assert ticker["last"] in shown[1].plain
    Lines("text", "ticker").item(ticker)
    assert f"bid {ticker['bid']}" in capsys.readouterr().out
