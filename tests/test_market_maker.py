"""The market maker of the examples, under disconnects, ends with the exchange's own figures."""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from decimal import Decimal
from pathlib import Path
from typing import List, Optional

import pytest
from conftest import CANARY_KEY, CANARY_SECRET, FAST, WAIT, eventually
from stress_orders import wait_whole

from kraken_sync import AccountNotLive, SpotWSClient, set_connection_budget
from kraken_sync.simulator import Simulator

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))
from market_maker import MarketMaker

GIVEN = os.environ.get("MARKET_MAKER_SECONDS")
"""CI runs a minute."""
LONG = 15.0
"""Seconds of a run that is long enough for every check."""
TICK = Decimal("0.1")
"""The last digit of a price of BTC/USD."""


@pytest.mark.timeout(float(GIVEN or LONG) + 90)
@pytest.mark.parametrize(
    "seconds", [float(GIVEN)] if GIVEN else [4.0, pytest.param(LONG, marks=pytest.mark.slow)]
)
def test_quotes_under_disconnects(seconds: float) -> None:
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
            deck: List[str] = []
            while not stop.wait(rng.uniform(0.3, min(3.0, seconds / 8))):
                deck = deck or rng.sample(["cut", "cut", "lose", "hole", "token", "late"], 6)
                what = deck.pop()
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
            maker.run(seconds)
        finally:
            stop.set()
            trouble.join()
        exchange.faults.reply_delay = 0.0
        exchange.faults.skip_executions = exchange.faults.skip_balances = exchange.faults.drop_replies = 0
        for side in ("public", "private"):
            wait_whole(client, side)  # the last cut may have come just now
        maker.book.wait_until(lambda state: True, WAIT)
        client.orders.wait_live(WAIT)
        exchange.fund("USD", 1)  # one more message of each kind, so that no hole is left at the end
        client.add_order(symbol="BTC/USD", side="buy", order_type="market", order_qty="0.001")
        ledger = {order["order_id"]: order for order in exchange.orders()}

        def close(ours: Optional[Decimal], theirs: Optional[Decimal]) -> bool:
            # The exchange rounds an average to the digits of a price. Where its report of the last fill was
            # lost, the client computes the average from the cost, and does not round.
            return ours == theirs or (None not in (ours, theirs) and abs(ours - theirs) < TICK)

        def same() -> bool:
            ours = client.orders
            try:
                return dict(client.balance) == exchange.balances() and all(
                    (ours[name].status, ours[name].filled, ours[name].fee)
                    == (order["status"], order["filled"], order["fee"])
                    and close(ours[name].average_price, order["average_price"])
                    for name, order in ledger.items()
                )
            except AccountNotLive:
                return False  # a hole was seen, and the fresh snapshot is on its way

        assert time.monotonic() - started >= seconds
        assert client.stats()["private"]["reconnects"] >= 1
        assert maker.counts["placed"] > min(10, seconds * 2 / 3)
        assert sum(order["filled"] > 0 for order in ledger.values()) > min(5, seconds / 3)
        eventually(same, "the same orders and balances")
        assert set(client.orders) == set(ledger)
        assert client.orders.open == {}
        print(maker.counts, client.stats()["private"], len(ledger))
    set_connection_budget()
