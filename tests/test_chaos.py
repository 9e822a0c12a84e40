"""Many threads under faults: in the end everything is right."""

from __future__ import annotations

import random
import threading

import pytest
from conftest import FAST, WAIT, S, eventually, some_slow
from helpers import shown_top, true_top

from kraken_sync import BookNotLive, BookState, ReplyTimeout, SpotWSClient
from kraken_sync.simulator import Simulator


@pytest.mark.parametrize("seed", some_slow(6, (0,)))
def test_chaos_converges(seed: int) -> None:
    """Threads take and leave books while the exchange misbehaves: in the end every book is right,
    nobody's book was closed by another, and when all have left nothing is subscribed any more."""
    rng = random.Random(seed)
    symbols, errors, stop = (S, "ETH/USD"), [], threading.Event()
    with Simulator(seed=seed, rate=300, heartbeat_interval=0.25) as exchange:
        client = SpotWSClient(ws_url=exchange.ws_url, timing=FAST)

        def work(number: int) -> None:
            mine = random.Random(f"{seed}/{number}")
            depth = (10, 25, 100, 500)[number]
            while not stop.is_set():
                symbol = mine.choice(symbols)
                try:
                    book = client.book(symbol, depth, timeout=WAIT)
                    book.wait_until(lambda state: mine.random() < 0.3, timeout=WAIT)
                    if mine.random() < 0.7:
                        book.unsubscribe()
                    elif book.state is BookState.CLOSED:
                        errors.append(f"{symbol} at {depth} was closed by somebody else")
                except (BookNotLive, ReplyTimeout, ConnectionError):
                    pass  # the faults below may well lead to these

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        faults = exchange.faults
        for _ in range(25):
            rng.choice(
                [
                    exchange.cut,
                    lambda: faults.bad_checksum.update({rng.choice(symbols): 1}),
                    lambda: faults.skip_update.update({rng.choice(symbols): 1}),
                    lambda: faults.bad_snapshot.update({rng.choice(symbols): 1}),
                    lambda: faults.no_snapshot.update({rng.choice(symbols): 1}),
                    lambda: setattr(faults, "drop_acks", rng.randrange(3)),
                    lambda: setattr(faults, "ack_delay", rng.choice((0.0, 0.05, 0.7))),
                    lambda: setattr(faults, "message_rate", rng.choice((None, None, 3))),
                ]
            )()
            threading.Event().wait(0.1)
        faults.drop_acks, faults.ack_delay, faults.message_rate = 0, 0.0, None
        for counter in (faults.bad_checksum, faults.skip_update, faults.bad_snapshot, faults.no_snapshot):
            counter.clear()
        stop.set()
        for thread in threads:
            thread.join(3 * WAIT)
        assert not any(thread.is_alive() for thread in threads)
        books = [client.book(symbol, 10, timeout=WAIT) for symbol in symbols]
        exchange.rate = 0
        for book in books:
            eventually(lambda book=book: shown_top(book) == true_top(exchange, book.symbol), book.symbol)
            assert book.state is BookState.LIVE
        assert errors == []
        for book in list(client._ks_market._books.values()):
            book.unsubscribe()
        eventually(lambda: client.stats()["subscriptions"] == 0)
        eventually(
            lambda: not exchange.call(lambda: [feed for p in exchange.exchange.peers for feed in p.feeds])
        )
        client.close()
