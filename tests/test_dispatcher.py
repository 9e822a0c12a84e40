"""Handlers: called in a thread of their own; their errors are told and stop nothing."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any, Callable

import pytest
from conftest import WAIT, eventually, within
from helpers import BOOK, TRADE

from kraken_sync import SpotWSClient, WSState
from kraken_sync.simulator import Simulator


def test_on_message_override(new_client: Callable[..., SpotWSClient]) -> None:
    """A subclass receives every message on the dispatcher thread, and may call the client from there."""
    done: queue.Queue[Any] = queue.Queue()

    class Client(SpotWSClient):
        def on_message(self, message: Any) -> None:
            if message.get("channel") == "status":
                done.put((threading.current_thread().name, self.send_message({"method": "ping"})["method"]))

    new_client(Client).start()

    assert done.get(timeout=WAIT) == ("kraken-sync-dispatcher", "pong")


def test_failing_callback(
    new_client: Callable[..., SpotWSClient], caplog: pytest.LogCaptureFixture, exchange: Simulator
) -> None:
    """A bug in a handler is told once with its place, counted, and stops nothing."""

    def on_trade(message: Any) -> None:
        raise KeyError("px")

    with caplog.at_level(logging.ERROR, "kraken_sync"):
        client = new_client(callback=on_trade)
        client.subscribe(TRADE)
        eventually(lambda: client.stats()["callback_errors"] >= 2)
        client.close()  # which waits for the log's thread

    errors = [record.getMessage() for record in caplog.records]
    assert len(errors) == 1
    assert "your handler on_message raised KeyError('px')" in errors[0]
    assert "test_dispatcher.py" in errors[0]
    assert exchange.connections == 1


def test_close_from_a_callback(new_client: Callable[..., SpotWSClient]) -> None:
    """A handler may close its own client."""
    started, closed = threading.Event(), threading.Event()

    def handler(message: Any) -> None:
        started.wait(WAIT)
        client.close()
        closed.set()

    client = new_client(callback=handler)
    client.start()
    started.set()

    assert closed.wait(WAIT)
    assert client.state is WSState.CLOSED


def test_close_during_a_callback_is_quick(new_client: Callable[..., SpotWSClient]) -> None:
    """A callback that closes its own client while another thread does holds nobody up."""
    entered, closing = threading.Event(), threading.Event()

    def handler(message: Any) -> None:
        entered.set()
        closing.wait(WAIT)
        client.close()

    client = new_client(callback=handler)
    client.start()
    assert entered.wait(WAIT)
    with within(0.2):
        closing.set()
        client.close()


def test_no_callback_after_close(new_client: Callable[..., SpotWSClient]) -> None:
    """What has piled up for a slow callback is dropped when the client closes."""
    calls, pause = [], threading.Event()

    def handler(message: Any) -> None:
        calls.append(message)
        pause.wait(0.05)

    with Simulator(rate=2000) as exchange:
        client = new_client(ws_url=exchange.ws_url, callback=handler)
        client.subscribe(BOOK)
        eventually(lambda: len(calls) > 5)
        client.close()
        count = len(calls)
        threading.Event().wait(0.3)

    assert len(calls) <= count + 1


def test_exiting_callback(new_client: Callable[..., SpotWSClient]) -> None:
    """A SystemExit in a handler is an error like any other: told, counted, survived."""

    def handler(message: Any) -> None:
        raise SystemExit(3)

    client = new_client(callback=handler)
    client.subscribe(TRADE)
    eventually(lambda: client.stats()["callback_errors"] >= 2)


def test_a_coroutine_is_told(new_client: Callable[..., SpotWSClient]) -> None:
    """One ``async`` was left in: an error that is logged and counted, not silence."""

    async def handle(message: Any) -> None:
        """Never runs."""

    client = new_client(callback=lambda message: handle(message))
    client.start()
    eventually(lambda: client.stats()["callback_errors"])
