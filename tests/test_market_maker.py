"""The market maker of the examples, under disconnects, ends with the exchange's own figures."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAST, eventually

from kraken_sync import SpotWSClient, set_connection_budget
from kraken_sync.simulator import Simulator

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from market_maker import MarketMaker

SECONDS = float(os.environ.get("MARKET_MAKER_SECONDS", "15"))
"""CI runs a minute."""


@pytest.mark.timeout(SECONDS + 90)
def test_quotes_under_disconnects() -> None:
    """Cuts, lost replies, holes, dying tokens; at the end orders and balances equal the ledger."""
    rng, stop = random.Random(7), threading.Event()
    set_connection_budget(10**6)
    with (
        Simulator(seed=9, rate=400, tier=None, key=CANARY_KEY, secret=CANARY_SECRET) as exchange,
        SpotWSClient(
            exchange.key,
            exchange.secret,
            ws_url=exchange.ws_url,
            auth_ws_url=exchange.auth_ws_url,
            rest_url=exchange.rest_url,
            timing=FAST,
        ) as client,
    ):

        def nemesis() -> None:
            while not stop.wait(rng.uniform(0.5, 3)):
                what = rng.choice(["cut", "cut", "lose", "hole", "token", "late"])
                if what == "cut":
                    exchange.cut()
                elif what == "lose":
                    exchange.faults.drop_replies = 1
                elif what == "hole":
                    exchange.faults.skip_executions = exchange.faults.skip_balances = 1
                elif what == "token":
                    exchange.revoke_tokens()
                else:
                    exchange.faults.reply_delay = rng.choice([0.0, 0.2])

        trouble = threading.Thread(target=nemesis)
        trouble.start()
        maker = MarketMaker(client)
        started = time.monotonic()
        try:
            maker.run(SECONDS)
        finally:
            stop.set()
            trouble.join()
        exchange.faults.reply_delay = 0.0
        exchange.faults.skip_executions = exchange.faults.skip_balances = exchange.faults.drop_replies = 0
        exchange.fund("USD", 1)  # one more message of each kind, so that no hole is left at the end
        client.add_order(symbol="BTC/USD", side="buy", order_type="market", order_qty="0.001")
        ledger = {order["order_id"]: order for order in exchange.orders()}

        def same() -> bool:
            ours = client.orders
            return all(
                (ours[name].status, ours[name].filled, ours[name].fee, ours[name].average_price)
                == (order["status"], order["filled"], order["fee"], order["average_price"])
                for name, order in ledger.items()
            )

        assert time.monotonic() - started >= SECONDS
        assert client.stats()["private"]["reconnects"] >= 1
        assert maker.counts["placed"] > 10
        assert sum(order["filled"] > 0 for order in ledger.values()) > 5
        eventually(lambda: dict(client.balance) == exchange.balances(), "the balance")
        eventually(same, "the orders")
        assert set(client.orders) == set(ledger)
        assert client.orders.open == {}
        print(maker.counts, client.stats()["private"], len(ledger))
    set_connection_budget()
