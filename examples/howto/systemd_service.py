"""A service that systemd restarts if its data stop.

It says READY when the book is there, and WATCHDOG while the book is proven. The unit has Type=notify,
WatchdogSec=30 and Restart=on-failure.
"""

from __future__ import annotations

import os
import signal
import socket
import threading

from kraken_sync import BookState, SpotWSClient


def notify(state: str) -> None:
    """Tell systemd, if it has started this program. See sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.sendto(state.encode(), address.replace("@", "\0", 1) if address[0] == "@" else address)


def main() -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with SpotWSClient(ws_url=os.environ.get("WS_URL")) as client:
        book = client.book("BTC/USD", timeout=60)
        notify("READY=1")
        while not stop.wait(float(os.environ.get("WATCHDOG_USEC", 10_000_000)) / 2e6):
            # The client repairs what it can. Only if that takes longer than WatchdogSec, systemd starts anew.
            if book.state is BookState.LIVE:
                notify(f"WATCHDOG=1\nSTATUS=BTC/USD {book.mid}, {book.age:.1f} s old")
        notify("STOPPING=1")


if __name__ == "__main__":
    main()
