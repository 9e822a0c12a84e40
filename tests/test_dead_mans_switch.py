"""The dead man's switch: armed, renewed, disarmed, and loud when it is not."""

from __future__ import annotations

import logging
import queue

import pytest
from conftest import FAR, WAIT, eventually
from facts import fact
from helpers import background, sent, status

from kraken_sync import ConnectFailed, OrderOutcomeUnknown, SpotWSClient
from kraken_sync.core.session.dead_mans_switch import SwitchRenewals
from kraken_sync.simulator import Simulator
from kraken_sync.trading import dead_mans_switch


def test_the_switch_is_renewed_and_raises_the_alarm() -> None:
    """Renewed each third of the time; alarm when a third is left; silence when the owner is stuck."""
    switch = SwitchRenewals(60, None, 0.0)

    assert not switch.due(19.9)
    assert switch.due(20.0)
    assert switch.alarm(39.0) is None
    words = switch.alarm(41.0)
    assert words is not None
    assert "in 19 s" in words
    assert switch.alarm(42.0) is None, "once per episode"
    switch.armed(43.0)
    assert switch.alarm(44.0) is None
    assert switch.left(53.0) == 50.0

    stuck = SwitchRenewals(30, 10.0, 0.0)
    stuck.feed(5.0)
    assert stuck.due(14.9)
    assert not stuck.due(15.1)
    assert "stuck" in (stuck.alarm(45.0) or "")


def test_the_dead_mans_switch(trader: SpotWSClient, exchange: Simulator) -> None:
    """Armed, renewed by the watchdog also after a reconnect, disarmed at the end."""
    placed = trader.add_order(**FAR)
    with trader.dead_mans_switch(3) as switch:
        assert 2 < switch.left <= 3
        with pytest.raises(ValueError, match="already"):
            trader.dead_mans_switch(3).__enter__()
        exchange.cut()
        eventually(lambda: len(exchange.requests("cancel_all_orders_after")) >= 4)
        assert switch.failure == ""
    assert sent(exchange, "cancel_all_orders_after")[-1]["timeout"] == 0
    assert exchange.call(lambda: exchange.exchange.trading.cancel_at) is None
    assert status(exchange, placed["order_id"]) == "new"


@fact("disarmed")
@pytest.mark.parametrize("via", ["websocket", "rest"])
def test_disarmed_either_way(trader: SpotWSClient, exchange: Simulator, via: str) -> None:
    """The exchange answers with no time, or with "0"; both mean that nothing will fire."""
    assert trader.cancel_all_orders_after(timeout=60, via=via)["triggerTime"] > "2026"
    assert trader.cancel_all_orders_after(timeout=0, via=via).get("triggerTime", "0") == "0"
    assert exchange.exchange.trading.cancel_at is None
    with trader.dead_mans_switch(60):
        assert exchange.exchange.trading.cancel_at is not None
    assert exchange.exchange.trading.cancel_at is None


def test_a_switch_whose_owner_is_stuck(
    trader: SpotWSClient, exchange: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not renewed, says so loudly before the end, and the exchange cancels."""
    placed, told = trader.add_order(**FAR), []
    with (
        pytest.raises(RuntimeError, match="crash"),
        trader.dead_mans_switch(3, stuck_after=0.2, on_failure=told.append),
    ):
        eventually(lambda: told)
        assert "stuck" in told[0]
        assert status(exchange, placed["order_id"]) == "new", "the alarm comes before the end"
        raise RuntimeError("crash")
    eventually(lambda: any(record.levelno == logging.CRITICAL for record in caplog.records))
    order = trader.orders.wait_done(placed["order_id"], WAIT)
    assert (order.status, order.reason) == ("canceled", "CancelAllOrdersAfter Timeout")


def test_the_owner_of_a_switch_is_told_of_a_maintenance(trader: SpotWSClient, exchange: Simulator) -> None:
    """Once, when it is near: an engine that returns with the switch armed cancels everything."""
    told: queue.Queue[str] = queue.Queue()
    with trader.dead_mans_switch(60, on_failure=told.put):
        exchange.announce("announced", ["all"], "continue")
        eventually(lambda: trader.announcements)
        exchange.announce("imminent_5m", ["all"], "stop_new_orders")
        assert "maintenance (imminent_5m) of all" in told.get(timeout=WAIT)
        exchange.announce("imminent_5m", ["all"], "stop_new_orders")
        exchange.announce("final_warning_30s", ["all"], "disconnect_and_wait")
        assert "final_warning_30s" in told.get(timeout=WAIT), "and not the same again"


def test_the_switch_does_not_end_unheard(trader: SpotWSClient, exchange: Simulator) -> None:
    """A client that is closed under an armed switch says so, and so does the switch."""
    told: queue.Queue[str] = queue.Queue()
    switch = trader.dead_mans_switch(60, on_failure=told.put)
    switch.__enter__()
    trader.close()

    assert "the exchange cancels all orders in" in told.get(timeout=WAIT)
    assert switch.failure == "the client was closed"


def test_a_switch_that_may_be_armed(
    trader: SpotWSClient,
    exchange: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The reply is lost, and the repetition is refused: it is told that all orders may go."""
    monkeypatch.setattr(dead_mans_switch, "ARM_TIMEOUT", 3.0)
    exchange.faults.drop_replies, exchange.faults.rest_errors = 1, ["EGeneral:Permission denied"] * 9
    arming = background(trader.dead_mans_switch(20).__enter__)
    eventually(lambda: exchange.exchange.trading.cancel_at)
    exchange.faults.rejections = ["EService:Unavailable"]
    arming["thread"].join(WAIT)

    assert isinstance(arming["error"], OrderOutcomeUnknown)
    assert "the dead man's switch may be armed, and nobody renews it" in caplog.text
    assert "there is no reply over WebSocket, and REST says" in caplog.text
    assert "'Orders and trades - Cancel & close orders'" in caplog.text


def test_the_switch_of_a_connection_that_start_replaces(trader: SpotWSClient) -> None:
    """The new connection does not renew it, so its owner is told."""
    told: queue.Queue[str] = queue.Queue()
    switch = trader.dead_mans_switch(60, on_failure=told.put)
    switch.__enter__()
    trader._ks_runtime.connection("private").give_up(ConnectFailed("for good"))
    trader.start()

    assert "started anew" in told.get(timeout=WAIT)
    assert switch.failure
    assert trader.add_order(**FAR)["order_id"]
