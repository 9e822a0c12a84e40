"""What all client processes share."""

from __future__ import annotations

import argparse
import json
import ssl
import time
from typing import Any, Dict

from kraken_sync import SpotWSClient

PATIENCE = 60.0
"""Seconds after which a client gives up waiting."""


def options(description: str, **extra: Any) -> argparse.Namespace:
    """The command line: where to connect, and what else there is, by its default."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--url", required=True)
    parser.add_argument("--ca", required=True)
    parser.add_argument("--count", type=int, default=0, help="messages of the book, the snapshot included")
    for name, default in extra.items():
        parser.add_argument(f"--{name}", type=type(default), default=default)
    return parser.parse_args()


def context(ca: str) -> ssl.SSLContext:
    """TLS settings that trust the stand-in."""
    return ssl.create_default_context(cafile=ca)


def report(**figures: Any) -> None:
    """Tell the parent."""
    print(json.dumps(figures), flush=True)


def await_verified(client: SpotWSClient, count: int, pause: float = 0.02) -> None:
    """Wait until a client has verified so many book messages."""
    deadline = time.monotonic() + PATIENCE
    while client.stats()["verified"] < count:
        assert time.monotonic() < deadline, client.stats()
        time.sleep(pause)


def check_exact(client: SpotWSClient, count: int) -> Dict[str, Any]:
    """Return the counters of a client whose books must all be exact."""
    stats = client.stats()
    assert stats["verified"] == count, stats
    for name in ("mismatched", "gaps", "reconnects"):
        assert not stats[name], stats
    return stats
