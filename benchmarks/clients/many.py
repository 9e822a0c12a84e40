"""Many live books: ``--books`` of them over ``--clients`` clients in one process, once all are live."""

from __future__ import annotations

import time

from kraken_sync import SpotWSClient

from ..feed import SYMBOL, names
from .common import check_exact, context, options, report


def books_of(client: SpotWSClient, symbols: list[str]) -> list[object]:
    """Live books of all symbols; one subscribe for all spares hundreds of requests."""
    stream = client.subscribe({"channel": "book", "symbol": symbols, "depth": 10}, timeout=60, maxlen=1)
    books: list[object] = [client.book(symbol, timeout=60) for symbol in symbols]
    stream.unsubscribe()  # the books hold their subscriptions
    return books


def main() -> None:
    """Subscribe to everything, then have the updates sent, and measure until all are applied."""
    given = options(__doc__, books=1, clients=1)
    symbols = names(given.books) if given.books > 1 else [SYMBOL]
    tls = context(given.ca)
    clients = [SpotWSClient(ws_url=given.url, ssl_context=tls) for _ in range(given.clients)]
    shares = [symbols[number :: given.clients] for number in range(given.clients)]
    held = []
    for client, share in zip(clients, shares):
        client.start()
        held.append(books_of(client, share))
    before = sum(client.stats()["verified"] for client in clients)
    assert before == given.books, before
    cpu, wall = time.process_time(), time.perf_counter()
    for client, share in zip(clients, shares):
        client.subscribe({"channel": "trade", "symbol": share[:1], "snapshot": False})
    expected = given.books + given.count
    while (verified := sum(client.stats()["verified"] for client in clients)) < expected:
        assert time.perf_counter() - wall < 120, f"{verified} messages of {expected}"
        time.sleep(0.05)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert verified == expected, f"{verified} messages instead of {expected}"
    for client in clients:
        check_exact(client, client.stats()["verified"])  # no mismatch, no gap, no reconnect
        client.close()
    report(cpu=cpu / given.count * 1e6, wall=wall, share=cpu / wall * 100)


if __name__ == "__main__":
    main()
