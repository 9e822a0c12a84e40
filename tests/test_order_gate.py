"""The gate: which requests pass in which state of the exchange and of the books."""

from __future__ import annotations

import threading
from typing import Any, Dict

import pytest
from conftest import FAR, WAIT, S, eventually
from helpers import background

from kraken_sync import OrderNotSent, OrderRejected, SpotWSClient
from kraken_sync.core.session.requests import why_closed
from kraken_sync.simulator import Simulator


@pytest.mark.parametrize(
    ("system", "method", "params", "open_"),
    [
        ("online", "add_order", {}, True),
        ("maintenance", "add_order", {}, False),
        ("maintenance", "cancel_all", {}, False),
        ("cancel_only", "add_order", {}, False),
        ("cancel_only", "cancel_order", {}, True),
        ("post_only", "add_order", {}, False),
        ("post_only", "add_order", {"post_only": True}, True),
        ("post_only", "batch_add", {"orders": [{"post_only": True}, {}]}, False),
    ],
)
def test_the_gate(system: str, method: str, params: Dict[str, Any], open_: bool) -> None:
    """What each state of the exchange lets through."""
    assert (why_closed(method, params, system) is None) is open_


def test_the_gate_refuses_and_holds(trader: SpotWSClient, exchange: Simulator) -> None:
    """In cancel_only orders are refused here, cancels pass; a held order goes out when it may."""
    placed = trader.add_order(**FAR)
    exchange.set_system("cancel_only")
    eventually(lambda: trader.stats()["private"]["system"] == "cancel_only")
    with pytest.raises(OrderNotSent, match="cancel_only"):
        trader.add_order(**FAR)
    assert trader.cancel_order(order_id=placed["order_id"])
    trader.order_gate.policy = "hold"
    threading.Timer(0.3, exchange.set_system, ["online"]).start()
    assert trader.add_order(**FAR)["order_id"]
    exchange.set_system("maintenance")
    eventually(lambda: trader.stats()["private"]["system"] == "maintenance")
    with pytest.raises(OrderNotSent, match="maintenance"):
        trader.cancel_all(timeout=0.2)
    trader.order_gate.policy = "hold"
    call = background(trader.cancel_all, timeout=4)
    call["thread"].join(2.2)  # an attempt has half of the time, and one that was held back was none
    assert not call.keys() & {"value", "error"}
    exchange.set_system("online")
    call["thread"].join(WAIT)
    assert call["value"] == {"count": 1}
    exchange.set_system("maintenance")
    eventually(lambda: trader.stats()["private"]["system"] == "maintenance")
    trader.order_gate.policy = "open"
    with pytest.raises(OrderRejected, match="EService:Unavailable"):
        trader.cancel_all()
    with pytest.raises(ValueError, match="refuse, hold, open"):
        SpotWSClient(order_gate="shut")


def test_the_gate_before_the_token(trader: SpotWSClient, exchange: Simulator) -> None:
    """Shut, it says so at once, also while there is no token to send with."""
    assert trader.add_order(**FAR)
    exchange.faults.rest_errors = ["EService:Unavailable"] * 10_000
    exchange.revoke_tokens()
    with pytest.raises(OrderNotSent, match="no new token"):
        trader.add_order(**FAR)
    exchange.set_system("cancel_only")
    eventually(lambda: trader.stats()["private"]["system"] == "cancel_only")
    with pytest.raises(OrderNotSent, match="cancel_only"):
        trader.add_order(**FAR, timeout=None)


def test_the_gate_follows_the_advice_of_an_announcement(
    trader: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """Near, and about orders, and no new orders advised: then it is shut to orders, and only then."""
    assert trader.add_order(**FAR)
    for urgency, services, advice, shut in [
        ("reminder_24h", ["all"], "stop_new_orders", False),
        ("imminent_5m", ["futures_trading"], "stop_new_orders", False),
        ("imminent_5m", ["spot_trading"], "reduce_activity", False),
        ("approaching_30m", ["spot_trading"], "stop_new_orders", True),
        ("final_warning_30s", ["all"], "disconnect_and_wait", True),
        ("unspecified", ["unspecified"], "cancel_open_orders", True),
    ]:
        exchange.announce(urgency, services, advice)
        eventually(lambda advice=advice: [one.advice for one in trader.announcements] == [advice])
        if not shut:
            assert trader.add_order(**FAR)
            continue
        with pytest.raises(OrderNotSent, match=f"announces: maintenance .*{advice}"):
            trader.add_order(**FAR)
        with pytest.raises(AttributeError, match="heeds_announcements"):
            trader.order_gate.heed_announcements = False
        with pytest.raises(ValueError, match="imminent_5m"):
            exchange.announce("imminent_5min")
        trader.order_gate.heeds_announcements = False
        assert trader.add_order(**FAR)
        trader.order_gate.heeds_announcements = True
    assert trader.cancel_all()["count"] > 0, "cancels pass"
    exchange.announce("", ["spot_trading"], "stop_new_orders", kind="emergency")
    eventually(lambda: {one.kind for one in trader.announcements} == {"maintenance", "emergency"})
    trader.order_gate.policy = "open"
    assert trader.add_order(**FAR), "who opens it decides otherwise"
    trader.order_gate.policy = "hold"
    exchange.withdraw()
    threading.Timer(0.3, exchange.withdraw, ["emergency"]).start()
    assert trader.add_order(**FAR)
    # Each connection hears of it by itself; the order went out when the private one had.
    eventually(lambda: trader.announcements == [])


def test_the_gate_looks_at_books(trader: SpotWSClient, exchange: Simulator) -> None:
    """No order while the book it depends on is not verified."""
    book = trader.book(S)
    trader.order_gate.require(book)
    assert trader.add_order(**FAR)
    exchange.faults.bad_checksum[S] = 1
    exchange.faults.bad_snapshot[S] = 50
    exchange.step(20, [S])
    eventually(lambda: book.state != "LIVE")
    with pytest.raises(OrderNotSent, match="the book BTC/USD is RESYNCING"):
        trader.add_order(**FAR)
    trader.order_gate.forget(book)
    assert trader.add_order(**FAR)


def test_disarming_is_tried_in_maintenance() -> None:
    """The gate holds back what the exchange would not take; disarming is worth a try."""
    assert why_closed("cancel_all", {}, "maintenance")
    assert why_closed("cancel_all_orders_after", {}, "maintenance") is None
