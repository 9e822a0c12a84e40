"""The order book client in the manner of python-kraken-sdk: every book it tells is verified."""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from decimal import Decimal
from typing import Any, Callable, Dict, List, Tuple

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAST, WAIT, S, eventually
from helpers import background

from kraken_sync import (
    ClientClosed,
    ReplyTimeout,
    SpotOrderBookClient,
    SubscriptionRefused,
    UnknownSymbol,
)
from kraken_sync.simulator import Simulator


class Books(SpotOrderBookClient):
    """Notes what it is told, and what the book was at that moment."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.told: List[Tuple[str, Dict[str, Any], Dict[str, Any]]] = []
        super().__init__(*args, **kwargs)

    def on_book_update(self, pair: str, message: Dict[str, Any]) -> None:
        book = self.get(pair)
        assert book is not None
        self.told.append((pair, message, book))


@pytest.fixture
def books(new_client: Callable[..., Any]) -> Any:
    made = new_client(Books)
    made.start()
    return made


def true_book(exchange: Simulator, symbol: str, depth: int) -> Dict[str, List[Tuple[Decimal, Decimal]]]:
    pair = exchange.exchange.markets[symbol].pair
    bids, asks = exchange.top(symbol, depth)
    return {
        side: [
            (Decimal(price).scaleb(-pair.price_digits), Decimal(qty).scaleb(-pair.qty_digits))
            for price, qty in levels
        ]
        for side, levels in (("bid", bids), ("ask", asks))
    }


def levels(book: Dict[str, Any], side: str) -> List[Tuple[Decimal, Decimal]]:
    return [(Decimal(price), Decimal(volume)) for price, (volume, _) in book[side].items()]


def test_the_documented_example_works(books: Books, exchange: Simulator) -> None:
    """``XBT/USD``, which the exchange itself does not know."""
    books.add_book(pairs=["XBT/USD"])
    book = books.get("XBT/USD")
    assert book is not None
    assert book == books.get("BTC/USD") == books.get(pair="btc-usd")
    assert isinstance(book["bid"], OrderedDict)
    assert (book["valid"], book["price_decimals"], book["qty_decimals"]) == (True, 1, 8)
    for side in ("bid", "ask"):
        assert levels(book, side) == true_book(exchange, S, 10)[side]
    price, (volume, timestamp) = next(iter(book["bid"].items()))
    assert (price.count("."), len(volume.partition(".")[2])) == (1, 8)
    assert timestamp is None or timestamp.endswith("Z")
    assert books.get_first((price, volume)) == float(price)
    assert books.depth == 10


def test_every_update_is_told_with_the_book_of_that_moment(books: Books, exchange: Simulator) -> None:
    """In order, verified, and ``get()`` in the callback is the book right after the message."""
    books.add_book(["BTC/USD", "ETH/USD"])
    for _ in range(60):
        exchange.step(5, [S, "ETH/USD"])
    eventually(
        lambda: all(
            levels(books.get(symbol) or {}, side) == true_book(exchange, symbol, 10)[side]
            for symbol in (S, "ETH/USD")
            for side in ("bid", "ask")
        )
    )
    assert {pair for pair, _, _ in books.told} == {S, "ETH/USD"}
    assert books.told[0][1]["type"] == "snapshot"
    for pair, message, book in books.told:
        data = message["data"][0]
        assert data["symbol"] == pair
        assert book["valid"]
        for side, name in (("bid", "bids"), ("ask", "asks")):
            final = {entry["price"]: entry["qty"] for entry in data[name]}
            shown = {float(price): float(volume) for price, (volume, _) in book[side].items()}
            for price, qty in final.items():
                assert shown.get(price, 0.0) in (qty, 0.0)


def test_an_unverified_book_is_never_told(books: Books, exchange: Simulator) -> None:
    """A wrong update and a wrong snapshot: silence, then a verified snapshot."""
    books.add_book([S])
    exchange.faults.bad_snapshot[S] = 1
    exchange.faults.bad_checksum[S] = 1
    before = len(books.told)
    for _ in range(10):
        exchange.step(5, [S])
    eventually(lambda: any(message["type"] == "snapshot" for _, message, _ in books.told[before:]))
    assert all(book["valid"] for _, _, book in books.told)
    exchange.cut()
    eventually(lambda: (books.get(S) or {}).get("valid") is False)
    eventually(lambda: (books.get(S) or {}).get("valid") is True)
    exchange.step(20, [S])
    eventually(lambda: levels(books.get(S) or {}, "bid") == true_book(exchange, S, 10)["bid"])


def test_a_failing_on_message_harms_no_book(new_client: Callable[..., Any], exchange: Simulator) -> None:
    """The book is told all the same, and stays right."""

    class Failing(Books):
        def on_message(self, message: Any) -> None:
            raise RuntimeError("a mistake of the user")

    client = new_client(Failing)
    client.start()
    client.add_book([S])
    for _ in range(20):
        exchange.step(5, [S])
    eventually(lambda: levels(client.get(S) or {}, "ask") == true_book(exchange, S, 10)["ask"])
    assert client.get(S)["valid"]
    assert len(client.told) > 5


def test_a_callback_that_is_too_slow(new_client: Callable[..., Any], exchange: Simulator) -> None:
    """Messages are dropped, said to be, and the book is fetched anew: other readers see it RESYNCING."""
    client = new_client(Books)
    client.start()
    client.add_book([S])
    book = client.book(S)
    stream = client._ks_runtime._engine.dispatcher._stream
    stream.maxlen = 5
    with client._ks_lock:  # the callback's thread cannot go on
        for _ in range(30):
            exchange.step(5, [S])
        eventually(lambda: stream.dropped)
    eventually(lambda: client.stats()["resyncs"] >= 1)
    eventually(lambda: (client.get(S) or {}).get("valid") and book.state == "LIVE")
    exchange.step(5, [S])
    eventually(lambda: levels(client.get(S) or {}, "bid") == true_book(exchange, S, 10)["bid"])
    assert all(shown["valid"] for _, _, shown in client.told[-1:])


def test_closing_ends_a_wait_for_a_book(new_client: Callable[..., Any], exchange: Simulator) -> None:
    """Also one that would wait for ever."""
    client = new_client(Books)
    client.start()
    exchange.faults.no_snapshot[S] = 10**6
    threading.Timer(0.5, client.close).start()
    with pytest.raises(ClientClosed):
        client.add_book([S], timeout=None)


def test_a_book_of_another_depth_is_not_told(books: Books, exchange: Simulator) -> None:
    """``client.book()`` beside it is its own thing."""
    book = books.book(S, 100)
    exchange.step(50, [S])
    book.wait_until(lambda state: state.version > 1, timeout=WAIT)
    assert books.told == []
    assert books.get(S) is None


def test_books_come_and_go(books: Books, exchange: Simulator) -> None:
    """Per pair, with errors that name it; a removed book is gone."""
    books.add_book([S, "ETH/USD"])
    books.remove_book(["XBT/USD"])
    assert books.get(S) is None
    assert books.get("ETH/USD") is not None
    with pytest.raises(UnknownSymbol, match="BTC/USD"):
        books.add_book(["BTC/USDD"])
    with pytest.raises(SubscriptionRefused, match="Not Found"):
        books.remove_book([S])
    books.add_book(S)
    assert books.get(S) is not None
    assert [one["depth"] for one in books.active_public_subscriptions] == [10, 10]


@pytest.mark.parametrize("depth", [50, 0, "10", 10.0])
def test_the_depth_is_checked(depth: Any) -> None:
    """50 is in the SDK's manual, and Kraken refuses it."""
    with pytest.raises(ValueError, match="10, 25, 100, 500 or 1000"):
        SpotOrderBookClient(depth=depth)


def test_callbacks(new_client: Callable[..., Any], exchange: Simulator) -> None:
    """By keyword, with or without ``self``; they may call the client; failing ones harm nothing."""
    told: List[Any] = []

    def with_self(self: Any, pair: str, message: Dict[str, Any]) -> None:
        told.append((self, pair))
        if len(told) == 1:
            self.add_book(["ETH/USD"])
            raise RuntimeError("a mistake of the user")

    client = new_client(SpotOrderBookClient, depth=25, callback=with_self)
    client.start()
    client.add_book([S])
    exchange.step(30, [S])
    assert eventually(lambda: (client, "ETH/USD") in told)
    eventually(lambda: len(told) > 2)
    with pytest.raises(TypeError, match="drop the 'async'"):

        async def asynchronous(pair: str, message: Dict[str, Any]) -> None:
            pass

        SpotOrderBookClient(callback=asynchronous)


def test_every_option_can_be_passed(exchange: Simulator) -> None:
    """URLs and keys, as the SDK's cannot."""
    with SpotOrderBookClient(
        depth=100,
        key=CANARY_KEY,
        secret=CANARY_SECRET,
        ws_url=exchange.ws_url,
        auth_ws_url=exchange.auth_ws_url,
        rest_url=exchange.rest_url,
        timing=FAST,
    ) as client:
        client.add_book([S])
        book = client.get(S)
        assert book is not None
        assert len(book["bid"]) == 100
        assert client.balance["BTC"] == 5


def test_the_book_client_keeps_what_is_subscribed(exchange: Simulator) -> None:
    """As with ``add_book``, and not after ``unsubscribe``."""
    told: queue.Queue[Any] = queue.Queue()
    with SpotOrderBookClient(
        callback=lambda pair, message: told.put(pair), ws_url=exchange.ws_url, timing=FAST
    ) as books:
        books.subscribe({"channel": "book", "depth": 10, "symbol": ["XBT/USD"]})
        assert told.get(timeout=WAIT) == S
        book = books.get("XBT/USD")
        assert book is not None
        assert book["valid"]
        books.unsubscribe({"channel": "book", "depth": 10, "symbol": ["XBT/USD"]})
        assert books.get("XBT/USD") is None


def test_an_unsubscribe_whose_reply_is_late(books: Books, exchange: Simulator) -> None:
    """The subscription has ended, so the book is gone, although the call says that no reply came."""
    books.add_book([S])
    eventually(lambda: books.get(S))
    exchange.faults.drop_acks = 1000
    with pytest.raises(ReplyTimeout):
        books.unsubscribe({"channel": "book", "symbol": [S]}, timeout=0.3)

    assert books.get(S) is None


def test_a_subscription_without_a_depth(new_client: Callable[..., Any], exchange: Simulator) -> None:
    """It has the exchange's depth of 10, so it is none of the books of a deeper client: not even while the
    callback is so far behind that frames of both are waiting, whose checksums are the same."""
    go_on, held, told = threading.Event(), threading.Event(), []

    def hold(message: Any) -> None:
        held.set()
        go_on.wait(WAIT)

    client = new_client(SpotOrderBookClient, depth=100)

    def note(pair: str, message: Any) -> None:
        book = client.get(pair)
        told.append((book["valid"], len(book["bid"])))

    client.on_message, client.on_book_update = hold, note
    client.start()
    with client.subscribe({"channel": "book", "symbol": [S]}) as stream:
        assert stream.get(WAIT)["type"] == "snapshot"
    assert held.wait(WAIT)
    adding = background(client.add_book, [S], timeout=WAIT)
    eventually(lambda: client.active_public_subscriptions)
    go_on.set()
    adding["thread"].join(WAIT)

    assert "error" not in adding
    assert len(client.get(S)["bid"]) == 100
    assert {valid for valid, levels in told if levels < 100} == {False}
