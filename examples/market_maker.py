"""A small market maker that survives disconnects: two quotes, moved with the market.

Against the simulator by default; with ``--url`` against any exchange, with the keys of the environment. Not
a strategy to earn money with: it shows how to be right about orders when the line is not.

    python examples/market_maker.py --seconds 20
"""

from __future__ import annotations

import argparse
import logging
import time
from decimal import Decimal

from kraken_sync import (
    AccountNotLive,
    BookNotLive,
    KrakenError,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRejected,
    Outcome,
    SpotWSClient,
)

SYMBOL = "BTC/USD"
QTY = Decimal("0.05")
EDGE = Decimal("0.3")
"""How far from the middle a quote stands, in quote currency."""
MOVE = Decimal("0.2")
"""A quote that is off by more is moved."""


class MarketMaker:
    """One bid and one ask. ``counts`` tells what happened."""

    def __init__(self, client: SpotWSClient) -> None:
        self.client = client
        self.book = client.book(SYMBOL)
        self.quotes: dict = {"buy": None, "sell": None}
        self.counts = {"placed": 0, "amended": 0, "rejected": 0, "not sent": 0, "unknown": 0}
        client.order_gate.require(self.book)  # never quote blind

    def step(self) -> None:
        """Look at the market and at our quotes, and bring them together."""
        try:
            mid = self.book.mid
            orders = {side: self.client.orders.get(name) for side, name in self.quotes.items() if name}
        except (BookNotLive, AccountNotLive):
            return  # blind for the moment; both come back by themselves
        if mid is None:
            return
        for side, sign in (("buy", -1), ("sell", 1)):
            order = orders.get(side)
            price = (mid + sign * EDGE).quantize(Decimal("0.1"))
            try:
                if order is None or order.is_done:
                    self.place(side, price)
                elif order.is_open and abs((order.limit_price or price) - price) > MOVE:
                    self.client.amend_order(order_id=order.order_id, limit_price=price)
                    self.counts["amended"] += 1
            except OrderRejected:
                self.counts["rejected"] += 1  # it was filled meanwhile, say: the next look shows it
            except OrderNotSent:
                self.counts["not sent"] += 1
            except OrderOutcomeUnknown as error:
                self.find_out(side, error)

    def place(self, side: str, price: Decimal) -> None:
        """A new quote; ``post_only``, so that it never takes."""
        result = self.client.add_order(
            symbol=SYMBOL,
            side=side,
            order_type="limit",
            order_qty=QTY,
            limit_price=price,
            post_only=True,
            timeout=3,
            deadline=3,
        )
        self.quotes[side] = result["order_id"]
        self.counts["placed"] += 1

    def find_out(self, side: str, error: OrderOutcomeUnknown) -> None:
        """A reply was lost. Never send again: ask."""
        self.counts["unknown"] += 1
        found = self.client.reconcile(error, timeout=30)
        if found.order is not None:
            self.quotes[side] = found.order.order_id
        elif found.outcome is Outcome.NEVER_ARRIVED and error.method == "add_order":
            self.quotes[side] = None

    def run(self, seconds: float) -> None:
        """Quote for so long, then cancel everything."""
        ends = time.monotonic() + seconds
        with self.client.dead_mans_switch(30):
            while time.monotonic() < ends:
                self.step()
                time.sleep(0.02)
            while True:
                try:
                    self.client.cancel_all(timeout=5)
                    break
                except KrakenError as error:
                    print(f"cancel_all again: {error}")


def main() -> None:
    """Run it, against the simulator unless told otherwise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--url", default="", help="ws://host:port of kraken-sync simulate")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if options.url:
        port = int(options.url.rpartition(":")[2])
        client = SpotWSClient(
            ws_url=options.url,
            auth_ws_url=f"{options.url}/auth",
            rest_url=f"http://127.0.0.1:{port + 1}",
        )
        with client:
            maker = MarketMaker(client)
            maker.run(options.seconds)
            print(maker.counts)
        return
    from kraken_sync.simulator import Simulator

    with (
        Simulator(tier=None) as exchange,
        SpotWSClient(
            exchange.key,
            exchange.secret,
            ws_url=exchange.ws_url,
            auth_ws_url=exchange.auth_ws_url,
            rest_url=exchange.rest_url,
        ) as client,
    ):
        maker = MarketMaker(client)
        maker.run(options.seconds)
        traded = sum(order.filled for order in client.orders.values())
        print(maker.counts, "traded", traded, "BTC, now", client.balance["BTC"], "BTC")


if __name__ == "__main__":
    main()
