"""``client.events()``: what happens to the connections, once each, with both times."""

from __future__ import annotations

import gc
import threading
from typing import Callable

import pytest
from conftest import WAIT, eventually

from kraken_sync import ConnectFailed, ConnectionLost, SpotWSClient
from kraken_sync.io.events import Events
from kraken_sync.simulator import Simulator


def test_a_loss_and_its_end_are_told(trader: SpotWSClient, exchange: Simulator) -> None:
    """One event each, however many attempts there were between, with the same beginning and reason."""
    events, others = trader.events(), trader.events()
    exchange.faults.refuse_connections = 4
    exchange.cut()
    told = [events.get(WAIT) for _ in range(4)]

    assert [one["event"] for one in told].count("lost") == 2
    for kind in ("public", "private"):
        lost, restored = [one for one in told if one["connection"] == kind]
        assert (lost["event"], restored["event"]) == ("lost", "restored")
        assert lost["until"] is None
        assert lost["since"] == restored["since"] < restored["until"]
        assert lost["reason"] == restored["reason"] != ""
    assert [others.get(WAIT) for _ in range(4)] == told
    trader.close()
    assert list(events) == []
    assert list(trader.events()) == [], "a closed client has no events"


def test_a_change_of_status_is_told(trader: SpotWSClient, exchange: Simulator) -> None:
    """And the same status again is not, however often it comes."""
    events = trader.events()
    exchange.set_system("cancel_only")
    exchange.set_system("cancel_only")
    exchange.announce("imminent_5m")
    exchange.withdraw()
    told = [events.get(WAIT) for _ in range(6)]

    for kind in ("public", "private"):
        seen = [one["status"] for one in told if one["connection"] == kind]
        assert [one["system"] for one in seen] == ["cancel_only"] * 3
        assert [len(one["upcoming_maintenance"]) for one in seen] == [0, 1, 0]


def test_the_end_of_all_connections_is_told(
    new_client: Callable[..., SpotWSClient], exchange: Simulator
) -> None:
    """The event comes first, then the error; a client that starts again has events again."""
    client = new_client()
    events = client.events()  # before the start, so that nothing is missed
    client.start()
    exchange.close_all(1008, "policy")
    assert [events.get(WAIT)["event"] for _ in range(2)] == ["lost", "failed"]
    with pytest.raises(ConnectionLost, match="1008"):
        events.get(WAIT)
    with pytest.raises(ConnectionLost, match="1008"):
        client.events().get(WAIT)

    client.start()
    events = client.events()
    exchange.cut()
    assert events.get(WAIT)["event"] == "lost"


def test_one_connection_is_given_up_and_started_again(trader: SpotWSClient, exchange: Simulator) -> None:
    """An alarm that was raised by ``failed`` is ended by ``restored``."""
    events = trader.events()
    exchange.close_all(1008, "policy", role="private")
    lost, failed = events.get(WAIT), events.get(WAIT)
    assert (lost["event"], failed["event"]) == ("lost", "failed")
    trader.start()
    restored = events.get(WAIT)
    assert (restored["event"], restored["connection"]) == ("restored", "private")
    assert restored["since"] == failed["since"] == lost["since"]


def test_events_belong_to_the_client(new_client: Callable[..., SpotWSClient], exchange: Simulator) -> None:
    """They survive a start that failed, and end with a close, even if nothing was ever started."""
    client = new_client()
    events = client.events()
    exchange.stop()
    with pytest.raises(ConnectFailed):
        client.start(timeout=0.3)
    exchange.start()
    client.start()
    exchange.cut()
    assert events.get(WAIT)["event"] == "lost"
    never = new_client()
    events = never.events()
    never.close()
    assert list(events) == []


def test_readers_wait_and_are_woken(trader: SpotWSClient) -> None:
    """Closing ends an iteration in another thread."""
    seen: list = []
    reader = threading.Thread(target=lambda: seen.append(list(trader.events())))
    reader.start()
    eventually(lambda: trader._ks_runtime._events.streams())
    trader.close()
    reader.join(WAIT)
    assert seen == [[]]


def test_streams_that_nobody_reads_are_forgotten() -> None:
    """A program may ask for events as often as it likes."""
    events = Events()
    kept = events.open(bytes.decode, None)
    for _ in range(100):
        events.open(bytes.decode, None)
    gc.collect()
    events.lost("public", "cut")

    assert events.streams() == [kept]
    assert '"reason": "cut"' in kept.get(0)
