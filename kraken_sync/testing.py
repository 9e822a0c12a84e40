"""What the tests of a trading program need: the simulated exchange, and a client that does not wait long.

With pytest, the fixtures ``kraken_exchange`` and ``kraken_client`` are there as soon as kraken_sync is
installed. Needs ``pip install "kraken-sync[simulator]"``.
"""

from __future__ import annotations

from .core.timing import Timing
from .simulator import Simulator

FAST = Timing(
    connect_timeout=5.0,
    ping_interval=0.5,
    pong_timeout=4.0,
    stale_after=1.5,
    silence_ping=1.0,
    silence_abort=2.5,
    ack_timeout=1.0,
    first_data_timeout=1.0,
    tick=0.02,
    first_retry=0.05,
    retry_base=0.02,
    retry_cap=0.2,
    maintenance_retry=0.1,
    permanent_retry=0.1,
    rest_lag=1.0,
)
"""Time limits for tests: a lost connection is back within a fraction of a second."""

__all__ = ["FAST", "Simulator"]
