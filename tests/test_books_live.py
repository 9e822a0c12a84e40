"""Live books over a real socket: verified, honest about not being so, and back by themselves."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from typing import Any, Callable

import pytest
from conftest import WAIT, S, eventually
from helpers import BOOK, background, levels

from kraken_sync import BookNotLive, BookState, ReplyTimeout, SpotWSClient, SubscriptionRefused, UnknownSymbol
from kraken_sync.simulator import Simulator


@pytest.mark.parametrize("depth", [10, 25, 100, 500, 1000])
def test_equals_the_exchange(client: SpotWSClient, exchange: Simulator, depth: int) -> None:
    """Every depth shows the exchange's true levels after hundreds of changes, each verified."""
    book = client.book("BTC/USD", depth=depth)
    for _ in range(120):
        exchange.step(5, ["BTC/USD"])
    eventually(lambda: levels(book, exchange, depth), "the same levels")

    assert book.state is BookState.LIVE
    assert client.stats()["mismatched"] == 0
    assert client.stats()["verified"] > 50


def test_every_symbol(client: SpotWSClient, exchange: Simulator) -> None:
    """Tiny prices, quantities beyond 2**53 units, thin books and quiet pairs all verify."""
    symbols = list(exchange.exchange.markets)
    books = [client.book(symbol) for symbol in symbols]
    for _ in range(150):
        exchange.step(10)
    for book in books:
        eventually(lambda book=book: levels(book, exchange, 10), book.symbol)

    assert len(symbols) >= 10
    assert client.stats()["mismatched"] == 0
    assert max(level.qty for level in client.book("SHIB/USD").bids) * 10**8 > 2**53
    assert len(client.book("MINA/GBP").asks) < 10


def test_readers(client: SpotWSClient) -> None:
    """The readers agree with each other, in exact decimals."""
    book = client.book("ETH/USD", depth=25)
    state = book.snapshot()

    assert book.best_bid == state.bids[0] == state.best_bid
    assert book.best_ask == state.asks[0] == state.best_ask
    assert book.spread == state.asks[0].price - state.bids[0].price
    assert book.mid == (state.asks[0].price + state.bids[0].price) / 2
    assert book.vwap("buy", state.asks[0].qty) == state.asks[0].price
    two = state.asks[0].qty + state.asks[1].qty
    cost = sum(level.price * level.qty for level in state.asks[:2])
    assert book.vwap("buy", two) == pytest.approx(cost / two)
    assert book.vwap("sell", 10**9) is None
    assert -1 <= book.imbalance() <= 1
    assert book.checksum == state.checksum
    assert book.updated is not None
    assert 0 <= book.age < 5
    assert len(book.snapshot(3).bids) == 3
    assert "ETH/USD LIVE" in repr(book)
    with pytest.raises(ValueError, match="side"):
        book.vwap("long", 1)
    with pytest.raises(ValueError, match="qty"):
        book.vwap("buy", 0)


def test_empty_side_is_none(client: SpotWSClient, exchange: Simulator) -> None:
    """An empty side has no best price; nothing is 0, nothing fails."""
    market = exchange.exchange.markets["MINA/GBP"]
    exchange.call(lambda: market.book.take("sell", 10**30))
    book = client.book("MINA/GBP")

    assert book.best_bid is None
    assert book.spread is None
    assert book.mid is None
    assert "bids: empty" in repr(book)


def test_views_of_one_subscription(client: SpotWSClient, exchange: Simulator) -> None:
    """Several depths of one symbol are views: one exchange subscription, at the largest depth."""
    large = client.book("BTC/USD", depth=100)
    small = client.book("BTC/USD", depth=10)
    exchange.step(20, ["BTC/USD"])
    eventually(lambda: levels(large, exchange, 100) and levels(small, exchange, 10))

    assert len(exchange.requests("subscribe")) == 1
    assert large.bids[:10] == small.bids
    assert client.book("BTC/USD", depth=10) is small
    small.unsubscribe()
    assert small.state is BookState.CLOSED
    assert large.state is BookState.LIVE


def test_larger_view_replaces_the_subscription(client: SpotWSClient, exchange: Simulator) -> None:
    """Asking for more levels than are live subscribes anew; the first view goes on and tells the gap."""
    small = client.book("BTC/USD", depth=10)
    large = client.book("BTC/USD", depth=500)
    exchange.step(20, ["BTC/USD"])
    eventually(lambda: levels(large, exchange, 500) and levels(small, exchange, 10))

    depths = [request["params"]["depth"] for request in exchange.requests("subscribe")]
    assert depths == [10, 500]
    assert [gap["reason"] for gap in client.gaps()] == ["changed to depth 500"]


def test_last_view_ends_the_subscription(client: SpotWSClient, exchange: Simulator) -> None:
    """When nobody has the book any more, the exchange is told."""
    book = client.book("BTC/USD", depth=25)
    book.unsubscribe()
    eventually(lambda: exchange.requests("unsubscribe"))

    assert exchange.requests("unsubscribe")[0]["params"] == {
        "channel": "book",
        "symbol": ["BTC/USD"],
        "depth": 25,
    }
    with pytest.raises(BookNotLive, match="CLOSED"):
        book.best_bid
    assert client.book("BTC/USD").state is BookState.LIVE


def test_client_unsubscribe_closes_books(client: SpotWSClient) -> None:
    """Unsubscribing by parameters ends it for everybody."""
    book = client.book("BTC/USD")
    client.unsubscribe({"channel": "book", "symbol": ["BTC/USD"]})

    assert book.state is BookState.CLOSED


def test_refusals(client: SpotWSClient, exchange: Simulator) -> None:
    """Typos are told with what was meant, once the exchange has refused them; refusals in Kraken's words."""
    with pytest.raises(UnknownSymbol, match="Did you mean 'BTC/USD'") as unknown:
        client.book("BTC/USDD")
    assert str(unknown.value.__cause__).endswith("Currency pair not supported BTC/USDD")
    with pytest.raises(UnknownSymbol, match="Symbols look like 'BTC/USD'"):
        client.book("nonsense")
    with pytest.raises(UnknownSymbol, match=r"Did you mean 'BTC/USD' .*client\.symbols\('BTC'\)"):
        client.book("bitcoin")
    exchange.faults.refused.add("BTC/USD")
    with pytest.raises(SubscriptionRefused, match="Currency pair not supported BTC/USD") as caught:
        client.book("BTC/USD")

    assert caught.value.refused == {"BTC/USD": "Currency pair not supported BTC/USD"}
    asked = [request["params"].get("symbol") for request in exchange.requests("subscribe")]
    assert ["BTC/USDD"] in asked  # the table of symbols is no authority
    assert client.active_public_subscriptions == []


@pytest.mark.parametrize("spelling", ["XBT/USD", "BTCUSD", "btc-usd", "XXBTZUSD"])
def test_spellings(client: SpotWSClient, spelling: str) -> None:
    """Any common spelling means the v2 symbol."""
    assert client.book(spelling).symbol == "BTC/USD"


def test_stale_while_the_line_is_down(client: SpotWSClient, exchange: Simulator) -> None:
    """A cut connection makes every book say so at once; afterwards each is verified again."""
    book, other = client.book("BTC/USD"), client.book("ETH/USD")
    before = book.snapshot()
    exchange.faults.refuse_connections = 3
    exchange.cut()
    eventually(lambda: book.state is BookState.STALE, "STALE")

    with pytest.raises(BookNotLive, match="BTC/USD is STALE") as caught:
        book.best_bid
    assert caught.value.state == "STALE"
    assert book.stale.best_bid == before.best_bid
    exchange.step(20)
    after = book.wait_until(lambda state: state.generation > before.generation, timeout=WAIT)
    assert after.state == "LIVE"
    other.wait_until(lambda state: state.generation > 1, timeout=WAIT)
    eventually(lambda: levels(book, exchange, 10) and levels(other, exchange, 10))
    assert client.stats()["reconnects"] == 1
    assert sorted(gap["symbol"] for gap in client.gaps()) == ["BTC/USD", "ETH/USD"]
    assert all(gap["since"] < gap["until"] for gap in client.gaps())


def test_changes_conflate_and_go_on_after_a_gap(client: SpotWSClient, exchange: Simulator) -> None:
    """The iterator yields newer and newer verified states, waits out a gap, and ends with the client."""
    book = client.book("BTC/USD")
    states = []
    seen = threading.Event()

    def read() -> None:
        for state in book.changes():
            states.append(state)
            if state.generation == 2:
                seen.set()

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(50):
        exchange.step(3, ["BTC/USD"])
    exchange.cut()
    assert seen.wait(WAIT)
    client.close()
    reader.join(WAIT)

    assert not reader.is_alive()
    marks = [(state.generation, state.version) for state in states]
    assert marks == sorted(set(marks))
    assert all(state.state == "LIVE" for state in states)


def test_waiting_has_an_end(client: SpotWSClient) -> None:
    """A wait that cannot succeed ends at its timeout, or when the book ends."""
    book = client.book("XMR/BTC")
    with pytest.raises(ReplyTimeout, match="XMR/BTC within 0.2 s .it is LIVE"):
        book.wait_until(lambda state: False, timeout=0.2)
    changes = book.changes(timeout=0.2)
    next(changes)
    with pytest.raises(ReplyTimeout):
        next(changes)
    threading.Timer(0.1, book.unsubscribe).start()
    assert list(book.changes()) != []


def test_readers_see_one_state_while_updates_pour_in(client: SpotWSClient, exchange: Simulator) -> None:
    """Whatever the I/O thread does meanwhile, each state read is whole: its checksum holds."""
    from kraken_sync.core.book.book import pairs
    from kraken_sync.core.book.checksum import book_checksum

    book = client.book("BTC/USD", depth=100)
    wrong, reads, stop = [], [0], threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                state = book.snapshot()
            except BookNotLive:  # the machine was busy for too long
                continue
            reads[0] += 1
            if book_checksum(dict(pairs(state._asks)), dict(pairs(state._bids))) != state.checksum:
                wrong.append(state)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for _ in range(300):
        exchange.step(5, ["BTC/USD"])
    eventually(lambda: reads[0] > 100)
    stop.set()
    for reader in readers:
        reader.join(WAIT)

    assert not wrong


def test_other_depth_of_raw_frames_is_refused(client: SpotWSClient, new_client: Callable[..., Any]) -> None:
    """Frames do not tell their depth, so a second depth of one symbol is refused here, with the reason."""
    frames = client.subscribe({"channel": "book", "symbol": ["BTC/USD"], "depth": 25})
    with pytest.raises(SubscriptionRefused, match="already subscribed with depth=25"):
        client.subscribe({"channel": "book", "symbol": ["BTC/USD"], "depth": 10})
    with pytest.raises(SubscriptionRefused, match="frames are subscribed already, at depth 25"):
        client.book("BTC/USD", depth=100)
    view = client.book("BTC/USD", depth=10)

    assert len(view.bids) == 10
    assert frames.get(WAIT)["type"] == "snapshot"


def test_unsubscribed_book_is_never_live_again(client: SpotWSClient, exchange: Simulator) -> None:
    """A new book of a symbol just left is another one: never the old levels under a LIVE."""
    exchange.faults.ack_delay = 0.1
    old = client.book(S)
    exchange.faults.no_snapshot[S] = 1
    old.unsubscribe()
    exchange.step(300, [S])
    new = client.book(S)

    assert old.state is BookState.CLOSED
    assert new.snapshot().generation == 1
    eventually(
        lambda: [int(level.price * 10) for level in new.bids] == [p for p, _ in exchange.top(S, 10)[0]]
    )


def test_book_closes_before_the_exchange_confirms(client: SpotWSClient, exchange: Simulator) -> None:
    """From unsubscribe on nothing is applied, so the book is CLOSED at once."""
    book = client.book(S)
    exchange.faults.drop_acks = 99
    with pytest.raises(ReplyTimeout):
        client.unsubscribe(BOOK, timeout=0.2)

    assert book.state is BookState.CLOSED


def test_waiting_book_is_told_when_it_is_unsubscribed(client: SpotWSClient, exchange: Simulator) -> None:
    """Whoever waits for a first snapshot without a timeout is let go when it cannot come."""
    exchange.faults.no_snapshot[S] = 1000
    waiting = background(client.book, S, timeout=None)
    eventually(lambda: client.active_public_subscriptions)
    client.unsubscribe(BOOK)
    waiting["thread"].join(WAIT)

    assert isinstance(waiting["error"], BookNotLive)


def test_stale_readers_keep_the_last_state(client: SpotWSClient, exchange: Simulator) -> None:
    """Asking for more levels empties no view; versions only rise."""
    small = client.book(S)
    before = small.snapshot()
    exchange.faults.ack_delay = 0.3
    growing = background(client.book, S, 100)
    eventually(lambda: small.state is BookState.RESYNCING)

    assert small.stale.bids == before.bids
    growing["thread"].join(WAIT)
    assert small.snapshot().version > before.version


def test_age_is_of_the_book(client: SpotWSClient, exchange: Simulator) -> None:
    """The age of a book that is not live grows, whatever else its connection receives."""
    book, _ = client.book(S), client.book("ETH/USD")
    exchange.faults.bad_snapshot[S] = exchange.faults.bad_checksum[S] = 1000
    exchange.step(100, [S])
    eventually(lambda: book.state is BookState.RESYNCING)
    eventually(lambda: book.age > 0.5)
    exchange.step(100, ["ETH/USD"])

    assert book.age > 0.5
    assert book.stale.snapshot().age > 0.5


def test_wait_until_ends_although_the_book_moves(new_client: Callable[..., SpotWSClient]) -> None:
    """A predicate slower than the feed does not outlast the timeout."""
    with Simulator(rate=2000) as exchange:
        book = new_client(ws_url=exchange.ws_url).book(S)
        pause, started = threading.Event(), time.monotonic()
        with pytest.raises(ReplyTimeout):
            book.wait_until(lambda state: pause.wait(0.05), timeout=0.5)

        assert time.monotonic() - started < 3


def test_what_is_live_is_not_pickled_or_copied(trader: SpotWSClient) -> None:
    """Each object says what to pickle instead; values are pickled."""
    book = trader.book("BTC/USD")
    for live in (trader, book, book.stale, trader.ticker("BTC/USD"), trader.orders, trader.balance):
        for how in (pickle.dumps, copy.copy):
            with pytest.raises(TypeError, match="cannot be pickled or copied; "):
                how(live)

    snapshot = book.snapshot()
    assert pickle.loads(pickle.dumps(snapshot)).bids == snapshot.bids
