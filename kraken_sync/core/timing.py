"""Every time limit of a connection, and the backoff between attempts.

Source: Kraken, "Spot WebSocket introduction"
(https://docs.kraken.com/exchange/guides/websockets/introduction): after maintenance at most one connection
attempt per five seconds; a heartbeat about every second.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Every time limit of a connection, in seconds. The defaults suit the real exchange."""

    connect_timeout: float = 10.0
    """One attempt: resolving, connecting, TLS, handshake and the ``status`` message, together."""
    send_timeout: float = 5.0
    """One frame must have left within this, else its connection is given up."""
    ping_interval: float = 1.0
    """Between two JSON pings. A pong proves that what was read before it is no older than its ping, so this
    is about the largest ``age`` of a live book."""
    pong_timeout: float = 10.0
    """A ping that is not answered for this long ends the connection."""
    stale_after: float = 3.0
    """Without a fresh proof for this long a book is STALE (or twice ``ping_interval``, if that is longer)."""
    silence_ping: float = 3.0
    """Subscribed and silent for this long: ask with a ping."""
    silence_abort: float = 6.0
    """Subscribed and silent for this long: the connection is dead."""
    message_timeout: float = 60.0
    """A single message may take this long to arrive as long as its bytes keep coming."""
    ack_timeout: float = 5.0
    """A subscribe or unsubscribe without an answer is asked again after this."""
    first_data_timeout: float = 5.0
    """Acknowledged, but no snapshot for this long: the symbol is subscribed anew."""
    tick: float = 0.2
    """The watchdog's interval."""
    good_after: float = 30.0
    """A connection that held this long resets the backoff."""
    first_retry: float = 1.0
    """The first retry comes after 0 to this, at random."""
    retry_base: float = 0.5
    retry_cap: float = 30.0
    """Later retries: 0 to min(cap, base * 2 ** attempt), at random ("full jitter")."""
    maintenance_retry: float = 5.0
    """At least this long between attempts after maintenance or a refusal for load."""


def retry_delay(attempt: int, timing: Timing, fraction: float) -> float:
    """Seconds to wait before retry number ``attempt`` (0 is the first); ``fraction`` is 0 to 1.

    >>> [retry_delay(attempt, Timing(), 1.0) for attempt in (0, 1, 2, 3, 9)]
    [1.0, 1.0, 2.0, 4.0, 30.0]
    """
    if attempt == 0:
        return timing.first_retry * fraction
    return min(timing.retry_cap, timing.retry_base * 2.0 ** min(attempt, 32)) * fraction
