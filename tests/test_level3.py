"""Level-3 books are exact and verified: the official vector, random walks, the exchange over real sockets."""

from __future__ import annotations

import random
from decimal import Decimal
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from conftest import FAR, WAIT, S, eventually, some_slow
from facts import fact
from level3_oracle import Level3Walk
from oracle import Digits

from kraken_sync import (
    BookNotLive,
    BookState,
    CredentialsMissing,
    ExchangeMismatch,
    SpotWSClient,
    SubscriptionRefused,
    UnknownSymbol,
)
from kraken_sync.core.book.book import Book, pairs
from kraken_sync.core.book.level3 import Level3, totals
from kraken_sync.core.wire.messages import decode_book, decode_level3
from kraken_sync.recording import verify
from kraken_sync.simulator import Simulator
from kraken_sync.simulator.exchange import Exchange
from kraken_sync.simulator.faults import Faults

OFFICIAL = 1063832831
"""The checksum of the level3 example in Kraken's guide."""


def shown(side: Any) -> Dict[int, List[Any]]:
    return {price: [(name, queued[0]) for name, queued in queue.items()] for price, queue in side.items()}


def official(captures: Path) -> bytes:
    return (captures / "kraken-docs" / "level3_btcusd_snapshot_d10.json").read_bytes()


@fact("level3 checksum")
def test_official_vector(captures: Path) -> None:
    """Kraken's own example, every order of it; in another queue order it does not match."""
    data = decode_level3(official(captures)).data[0]
    book = Level3("BTC/USD", 10)

    assert book.apply(data, snapshot=True)
    assert book.computed == OFFICIAL
    assert len(data.bids) == 21
    book._check()
    data.bids[0], data.bids[1] = data.bids[1], data.bids[0]
    data.bids[0].timestamp = data.bids[1].timestamp = ""
    assert not book.apply(data, snapshot=True)
    assert book.computed == 1399232563


@fact("level3 events")
@pytest.mark.parametrize("by_time", [False, True], ids=["engine's rule", "by time"])
@pytest.mark.parametrize("seed", some_slow(60, range(6)))
def test_random_walk(seed: int, by_time: bool) -> None:
    """Every queue agrees with a naive market after every message, whichever rule its queues follow."""
    rng = random.Random(seed)
    depth = 10 if by_time else rng.choice((10, 10, 100))  # beyond ten levels no checksum tells the rule
    digits = Digits(rng.randrange(7), rng.randrange(1, 9))
    walk = Level3Walk(seed, depth, digits, max(2, int(depth * rng.choice((0.3, 1.1, 2.0)))), by_time)
    book = Level3("A/B", depth)
    for step in range(400 if depth == 10 else 100):
        snapshot = step in (0, 50)
        frame = (walk.snapshot() if snapshot else walk.update()).encode()

        assert book.apply(decode_level3(frame).data[0], snapshot), f"step {step}: {frame[:500]!r}"
        assert shown(book.bids) == walk.view("bids")
        assert shown(book.asks) == walk.view("asks")
        book._check()


def test_a_lost_message_is_noticed() -> None:
    """Of messages that change the ten best levels, none can be missing."""
    walk, noticed = Level3Walk(5, 10, Digits(1, 8), 20), 0
    for _ in range(50):
        book = Level3("A/B", 10)
        assert book.apply(decode_level3(walk.snapshot().encode()).data[0], snapshot=True)
        lost, update = walk.update(), walk.update()
        if '"order_id"' in lost:
            noticed += 1
            assert not book.apply(decode_level3(update.encode()).data[0], snapshot=False)
    assert noticed > 20


@pytest.mark.parametrize(
    "bad",
    [
        '{"event":"add","order_id":"O1","limit_price":100.0,"timestamp":""}',
        '{"event":"add","order_id":"O1","order_qty":1.0,"timestamp":""}',
        '{"event":"add","order_id":"O1","limit_price":-100.0,"order_qty":1.0}',
        '{"event":"modify","order_id":"O1","limit_price":100.0,"order_qty":"x"}',
        '{"evant":"add","order_id":"O1","limit_price":100.0,"order_qty":1.0}',
    ],
    ids=["no quantity", "no price", "negative", "no number", "no event"],
)
def test_an_order_that_lacks_something(bad: str) -> None:
    """It is never guessed: the message counts as wrong, even beyond the levels of the checksum."""
    walk = Level3Walk(5, 100, Digits(1, 8), 40)
    book = Level3("A/B", 100)
    book.apply(decode_level3(walk.snapshot().encode()).data[0], snapshot=True)
    data = f'{{"symbol":"A/B","checksum":1,"bids":[{bad}],"asks":[]}}'
    frame = f'{{"channel":"level3","type":"update","data":[{data}]}}'

    with pytest.raises(ValueError):
        book.apply(decode_level3(frame.encode()).data[0], snapshot=False)


def test_precision_grows() -> None:
    """When the exchange begins to write more digits, the book goes on in smaller units."""
    frame = (
        '{"channel":"level3","type":"%s","data":[{"symbol":"A/B","checksum":0,"asks":[],'
        '"bids":[{"event":"add","order_id":"%s","limit_price":%s,"order_qty":%s,"timestamp":"1"}]}]}'
    )
    book = Level3("A/B", 10)
    for kind, *order in (("snapshot", "O1", "100.0", "1.50"), ("update", "O2", "100.05", "1.500")):
        book.apply(decode_level3((frame % (kind, *order)).encode()).data[0], kind == "snapshot")

    assert (book.price_decimals, book.qty_decimals) == (2, 3)
    assert shown(book.bids) == {10005: [("O2", 1500)], 10000: [("O1", 1500)]}
    book._check()


EVENT = (
    '{"channel":"level3","type":"update",'
    '"data":[{"symbol":"A/B","checksum":%d,"bids":[%s],"asks":[],"timestamp":""}]}'
)


@pytest.mark.parametrize("kind", ["delete of nothing", "modify of nothing", "delete at another price"])
@pytest.mark.parametrize("full", [True, False])
def test_what_contradicts_the_book(kind: str, full: bool) -> None:
    """Below the levels of the checksum it is the only sign that something was lost."""
    walk = Level3Walk(5, 100, Digits(1, 8), 150 if full else 40)
    book = Level3("A/B", 100)
    book.apply(decode_level3(walk.snapshot().encode()).data[0], snapshot=True)
    worst, deep = list(book.bids)[-1], list(book.bids)[30]
    (known, *_), price = book.bids[deep], f"{deep // 10}.{deep % 10}"
    order = {
        "delete of nothing": f'{{"event":"delete","order_id":"GONE","limit_price":{price},"order_qty":1.0}}',
        "modify of nothing": f'{{"event":"modify","order_id":"GONE","limit_price":{price},"order_qty":1.0}}',
        "delete at another price": f'{{"event":"delete","order_id":"{known}","limit_price":1.5}}',
    }[kind]
    beyond = worst - 10
    cut = f'{{"event":"delete","order_id":"CUT","limit_price":{beyond // 10}.{beyond % 10},"order_qty":1.0}}'
    data = decode_level3((EVENT % (book.computed, cut)).encode()).data[0]
    if full:
        assert book.apply(data, snapshot=False), "its level was cut off before"
    with pytest.raises(ValueError, match="not in the book|another price"):
        book.apply(decode_level3((EVENT % (book.computed, order)).encode()).data[0], snapshot=False)


def test_snapshot_frame_verifies_itself() -> None:
    """A book can be handed on as a snapshot in the exchange's own form."""
    walk = Level3Walk(3, 100, Digits(5, 8), 40)
    book, copy = Level3("A/B", 100), Level3("A/B", 100)
    book.apply(decode_level3(walk.snapshot().encode()).data[0], snapshot=True)

    assert copy.apply(decode_level3(book.snapshot_frame()).data[0], snapshot=True)
    assert copy.rows(100) == book.rows(100)


def exchange_texts(depth: int, steps: int) -> List[List[str]]:
    """The level3 and the book messages of one market, pair by pair: both tell the same states."""
    exchange = Exchange(7, 1767607200.0, Faults())
    market = exchange.markets[S]
    orders, levels = market.order_view(depth), market.view(depth)
    told = [[orders.snapshot(0.0), market.book_snapshot(depth, 0.0)]]
    for step in range(steps):
        exchange.happen(6, 1767607200.0 + step, [S])
        texts = [market.book_text("update", *part[:2], 0.0, part[2]) for part in levels.take()]
        if texts:
            single = orders.take(0.0)
            assert len(single) == len(texts)
            told += [list(one) for one in zip(single, texts)]
    return told


@pytest.mark.parametrize("depth", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_equals_the_level2_book(depth: int) -> None:
    """At the same states of the exchange, the sums of the queues are the level-2 book."""
    level3, level2, count = Level3(S, depth), Book(S, depth), 0
    for orders, levels in exchange_texts(depth, 2000 if depth == 10 else 600):
        snapshot = count == 0
        assert level3.apply(decode_level3(orders.encode()).data[0], snapshot)
        assert level2.apply(decode_book(levels.encode()).data[0], snapshot)
        assert tuple(map(totals, level3.rows(depth))) == level2.rows(depth)
        count += 1

    assert count > 500


def test_recordings(captures: Path) -> None:
    """``verify`` proves recordings of level3, beside those of books, and names the line of a wrong one."""
    pairs = exchange_texts(10, 100)
    lines = [text.encode() for pair in pairs for text in pair]
    report = verify([official(captures), *lines])
    assert (report.verified, report.mismatched) == (len(lines) + 1, 0)

    line = next(number for number, text in enumerate(lines) if b'"level3"' in text and b'"delete"' in text)
    lines[line] = lines[line].replace(b'"checksum":', b'"checksum":1')
    report = verify(lines)
    assert [(one.line, one.channel, one.symbol) for one in report.mismatches] == [(line + 1, "level3", S)]
    assert report.skipped > 10


# -- over real sockets -----------------------------------------------------------------------


def test_readers(trader: SpotWSClient, exchange: Simulator) -> None:
    """The readers agree with each other, with the level-2 book and with the exchange."""
    book, levels = trader.level3_book("btc-usd", timeout=WAIT), trader.book(S)
    for _ in range(60):
        exchange.step(5, [S])
    true = exchange.top(S, 10)
    eventually(lambda: pairs(book.level2._bids) == pairs(levels.snapshot()._bids) == tuple(true[0]))
    state = book.snapshot()

    assert trader.level3_book(S) is book
    assert (book.symbol, book.state, book.depth) == (S, BookState.LIVE, 10)
    assert state.level2.bids == levels.bids
    assert state.level2.asks == levels.asks
    assert state.level2.checksum == levels.checksum
    assert (book.best_bid, book.best_ask) == (levels.best_bid, levels.best_ask)
    assert (book.mid, book.spread) == (levels.mid, levels.spread)
    for level in (*book.bids, *book.asks):
        assert book.orders_at(level.price) == level.orders
        assert level.qty == sum(order.order_qty for order in level.orders)
        ahead = Decimal(0)
        for number, order in enumerate(level.orders):
            position = book.queue_position(order.order_id)
            assert (
                position == state.queue_position(order.order_id) == book.stale.queue_position(order.order_id)
            )
            assert (position.orders_ahead, position.qty_ahead) == (number, ahead)
            ahead += order.order_qty
    assert book.orders_at("1.5") == ()
    assert book.queue_position("O-UNKNOWN") is None
    for wrong in (None, 5):
        with pytest.raises(TypeError):
            book.queue_position(wrong)
        with pytest.raises(TypeError):
            book.snapshot().queue_position(wrong)


def test_frame(trader: SpotWSClient) -> None:
    """One row for each order."""
    pytest.importorskip("pandas")
    state = trader.level3_book(S, timeout=WAIT).snapshot()

    assert len(state.to_frame()) == sum(len(level.orders) for level in (*state.bids, *state.asks))


def test_the_queue_ahead_of_an_own_order(trader: SpotWSClient, exchange: Simulator) -> None:
    """It shrinks when what is ahead is filled; who grows loses the place, who gets smaller keeps it."""
    book = trader.level3_book(S, timeout=WAIT)
    best = book.best_bid
    assert best is not None
    order = {**FAR, "side": "buy", "limit_price": best.price}
    first, second, third = (
        trader.add_order(**{**order, "order_qty": qty})["order_id"] for qty in ("0.5", "0.2", "0.1")
    )
    book.wait_until(lambda state: state.queue_position(third), WAIT)
    position = book.queue_position(trader.orders[second])
    assert book.snapshot().queue_position(trader.orders[second]) == position

    assert position is not None
    assert position.qty_ahead == best.qty + Decimal("0.5")
    assert (position.side, position.level, position.order.order_qty) == ("buy", 0, Decimal("0.2"))
    trader.amend_order(order_id=first, order_qty="0.25")  # smaller: it keeps its place
    book.wait_until(lambda state: state.queue_position(second).qty_ahead == best.qty + Decimal("0.25"), WAIT)
    trader.amend_order(order_id=first, order_qty="0.75")  # larger: to the end
    book.wait_until(lambda state: state.queue_position(first).qty_ahead > best.qty + Decimal("0.25"), WAIT)
    assert [one.order_id for one in book.orders_at(best.price)[-3:]] == [second, third, first]
    trader.cancel_all()
    book.wait_until(lambda state: state.queue_position(first) is None, WAIT)
    assert book.snapshot().bids[0].price == best.price


def test_mismatch_cut_and_end(trader: SpotWSClient, exchange: Simulator) -> None:
    """LIVE, RESYNCING, STALE and CLOSED, as a level-2 book; with a gap for streams each time."""
    book, stream = trader.level3_book(S, timeout=WAIT), trader.level3(S, gaps=True)
    assert stream.get(WAIT)["bids"]  # the snapshot, made from the book
    exchange.faults.bad_checksum[f"level3/{S}"] = 1
    before = book.snapshot().generation
    exchange.step(60, [S])
    book.wait_until(lambda state: state.generation > before, WAIT)
    assert trader.stats()["level3"]["mismatched"] == 1

    exchange.close_all(role="level3")
    eventually(lambda: book.state is not BookState.LIVE)
    with pytest.raises(BookNotLive):
        book.snapshot()
    assert book.stale.bids
    book.wait_until(lambda state: state.generation > before + 1, WAIT)
    eventually(lambda: len(stream.gaps) == 2)  # delivered just after the book is LIVE
    assert stream.gaps[0]["reason"].startswith("checksum mismatch")

    book.unsubscribe()
    assert book.state is BookState.CLOSED
    assert list(book.changes(timeout=WAIT)) == []


def test_depths_share_one_subscription(trader: SpotWSClient) -> None:
    """A larger depth replaces a smaller one, and each book shows what it was asked for."""
    small = trader.level3_book(S, timeout=WAIT)
    large = trader.level3_book(S, 100, timeout=WAIT)
    small_again = eventually(lambda: small.state is BookState.LIVE and small.snapshot())

    assert len(large.bids) == 100
    assert small_again.bids == large.bids[:10]
    beyond = large.bids[50].orders[0].order_id
    assert large.queue_position(beyond) is not None
    assert small.queue_position(beyond) is None


def test_errors(trader: SpotWSClient, exchange: Simulator, new_client: Callable[..., SpotWSClient]) -> None:
    """A typo is named with what may have been meant, and what is missing is named before anything is sent."""
    with pytest.raises(ValueError, match="10, 100 or 1000"):
        trader.level3_book(S, 25)
    with pytest.raises(UnknownSymbol, match="BTC/USD"):
        trader.level3_book("BTC/UDS", timeout=WAIT)
    with pytest.raises(TypeError):
        trader.level3_book([S])
    with pytest.raises(ExchangeMismatch, match="level3_ws_url"):
        new_client(key="K", secret="c2VjcmV0", level3_ws_url=None, auth_ws_url=None).level3_book(S)
    with pytest.raises(CredentialsMissing):
        new_client().level3_book(S)


def test_a_mute_book_is_contradicted_by_trades(trader: SpotWSClient, exchange: Simulator) -> None:
    """They come over the public connection, and put the book of the other one in doubt."""
    book, _ = trader.level3_book(S, timeout=WAIT), trader.trades(S)
    exchange.faults.muted.add(("level3", S))

    def doubted() -> bool:
        exchange.step(20, [S])
        return book.state is not BookState.LIVE

    eventually(doubted)
    exchange.faults.muted.clear()
    eventually(lambda: exchange.step(20, [S]) or book.state is BookState.LIVE)


def test_streams_and_books_of_one_symbol(trader: SpotWSClient, exchange: Simulator) -> None:
    """Frames are verified once anybody wants the snapshot, and nobody gets another depth than asked for."""
    bare = trader.level3(S, snapshot=False)
    stream = trader.level3(S)
    assert len(stream.get(WAIT)["bids"]) >= 10
    exchange.faults.bad_checksum[f"level3/{S}"] = 1
    exchange.step(60, [S])
    eventually(lambda: trader.stats()["level3"]["mismatched"] == 1)
    bare.unsubscribe()
    stream.unsubscribe()

    book = trader.level3_book("ETH/USD", 10, timeout=WAIT)
    deep = trader.level3("ETH/USD", depth=100)
    first = deep.get(WAIT)
    assert len({order["limit_price"] for order in first["bids"]}) == 100
    assert len(book.bids) == 10
    with pytest.raises(SubscriptionRefused, match="depth=100"):
        trader.level3("ETH/USD", depth=10)


def test_the_checksum_of_a_cut_level2_view(trader: SpotWSClient) -> None:
    """It is that of the whole state, as in a cut snapshot of the level-2 book."""
    book, levels = trader.level3_book(S, timeout=WAIT), trader.book(S)
    assert book.snapshot(1).level2.checksum == levels.snapshot(1).checksum == book.level2.checksum
    assert len(book.snapshot(1).bids) == 1


def test_the_exchange_ends_it(trader: SpotWSClient, exchange: Simulator) -> None:
    """As any other book."""
    book = trader.level3_book(S, timeout=WAIT)
    exchange.end_subscriptions("level3", S)
    eventually(lambda: book.state is BookState.CLOSED)
    assert trader.level3_book(S, timeout=WAIT) is not book
