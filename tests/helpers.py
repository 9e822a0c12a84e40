"""What several test files share: subscriptions, a call in a thread, the exchange's own view."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import socket
import threading
from decimal import Decimal
from typing import Any, Callable, Dict, Iterator, List

import pytest
from conftest import FAR, S, eventually

from kraken_sync import SpotWSClient
from kraken_sync.simulator import Simulator

BOOK = {"channel": "book", "symbol": [S]}
TRADE = {"channel": "trade", "symbol": [S]}


class Handler(logging.Handler):
    """Does ``act`` with each record."""

    def __init__(self, act: Callable[[logging.LogRecord], Any]) -> None:
        super().__init__()
        self.act = act

    def emit(self, record: logging.LogRecord) -> None:
        self.act(record)


def background(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Dict[str, Any]:
    """Run in a thread: its ``value`` or ``error`` appear in the dict, the ``thread`` is in it."""
    result: Dict[str, Any] = {}

    def run() -> None:
        try:
            result["value"] = function(*args, **kwargs)
        except BaseException as error:
            result["error"] = error

    result["thread"] = threading.Thread(target=run, daemon=True)
    result["thread"].start()
    return result


@contextlib.contextmanager
def interrupted(ready: Callable[[], Any]) -> Iterator[None]:
    """The block must end by a Ctrl-C, which comes once ``ready()`` is true.

    Python swallows one that is raised within a finalizer, so another one follows. None comes afterwards.
    """
    waiting, over = True, threading.Event()

    def interrupt(*_: Any) -> None:
        if waiting:
            raise KeyboardInterrupt

    def send() -> None:
        eventually(lambda: ready() or not waiting)
        while waiting:
            os.kill(os.getpid(), signal.SIGINT)
            over.wait(2.0)

    before, sender = signal.signal(signal.SIGINT, interrupt), threading.Thread(target=send)
    sender.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            try:
                yield
            finally:
                waiting = False
    finally:
        over.set()
        sender.join()
        signal.signal(signal.SIGINT, before)


def free_ports() -> int:
    """Return a port that is free, as is the one above it, and that the system gives to nobody by itself."""
    for _ in range(1000):
        port = random.randrange(20_000, 30_000, 2)
        try:
            for one in (port, port + 1):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", one))
        except OSError:
            continue
        return port
    raise AssertionError("no free ports")


def ack(req_id: int, symbol: str = S) -> bytes:
    """The exchange's answer to a subscribe."""
    return b'{"method":"subscribe","req_id":%d,"result":{"symbol":"%s"},"success":true}' % (
        req_id,
        symbol.encode(),
    )


def true_top(exchange: Simulator, symbol: str) -> list:
    """The exchange's best ten bids and asks, as decimals."""
    pair = exchange.exchange.markets[symbol].pair
    return [
        [
            (Decimal(price).scaleb(-pair.price_digits), Decimal(qty).scaleb(-pair.qty_digits))
            for price, qty in side
        ]
        for side in exchange.top(symbol, 10)
    ]


def shown_top(book: Any) -> list:
    """What a book shows of them, also when it is not live."""
    state = book.stale.snapshot(10)
    return [[tuple(level) for level in side] for side in (state.bids, state.asks)]


def status(exchange: Simulator, order_id: str) -> str:
    """The state of an order in the exchange's ledger."""
    return next(one["status"] for one in exchange.orders() if one["order_id"] == order_id)


def sent(exchange: Simulator, method: str = "add_order") -> List[Dict[str, Any]]:
    """The parameters of each request of ``method`` that arrived."""
    return [request["params"] for request in exchange.requests(method)]


def levels(book: Any, exchange: Simulator, count: int) -> bool:
    """Whether the book shows exactly what the exchange has."""
    pair = exchange.exchange.markets[book.symbol].pair
    bids, asks = exchange.top(book.symbol, count)
    shown = book.stale.snapshot()
    scale = (Decimal(10) ** pair.price_digits, Decimal(10) ** pair.qty_digits)
    return [
        [(int(level.price * scale[0]), int(level.qty * scale[1])) for level in side]
        for side in (shown.bids, shown.asks)
    ] == [bids, asks]


def placed(client: SpotWSClient, exchange: Simulator, count: int, **more: object) -> List[dict]:
    """Orders from a time when all was well."""
    orders = [client.add_order(**FAR, **more) for _ in range(count)]
    for order in orders:
        client.orders.wait_open(order["order_id"])
    return orders


def lose_the_line(client: SpotWSClient, exchange: Simulator) -> None:
    """No private connection any more, until ``refuse_connections`` is 0."""
    exchange.faults.refuse_connections = 10**9
    exchange.cut()
    private = client._ks_runtime.connection("private")
    # Refused once, so that the token for the next connection has been fetched and is in no request's way.
    eventually(lambda: not private.open and "503" in str(private._room.trouble))
