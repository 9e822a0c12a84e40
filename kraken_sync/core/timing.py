"""The time limits of a connection, and the backoff between connection attempts.

Source: https://docs.kraken.com/exchange/guides/websockets/introduction: after a random drop reconnect at
once, after maintenance at most once per five seconds; a heartbeat about once per second.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """All time limits of a connection, in seconds. The defaults suit the real exchange."""

    connect_timeout: float = 10.0
    """The limit for one attempt: name resolution, TCP, TLS, handshake and ``status`` message together."""
    send_timeout: float = 5.0
    """The limit for sending one frame; a connection that takes longer is given up."""
    ping_interval: float = 1.0
    """Between two JSON pings. A pong proves that what was read before it is no older than its ping, so this
    is about the largest ``age`` of a live book."""
    pong_timeout: float = 10.0
    """A ping that is not answered for this long ends the connection."""
    stale_after: float = 3.0
    """Without a fresh proof for this long a book is STALE (or twice ``ping_interval``, if that is longer)."""
    silence_ping: float = 3.0
    """After this silence a ping is sent, if anything is subscribed."""
    silence_abort: float = 6.0
    """After this silence the connection is given up, if anything is subscribed."""
    message_timeout: float = 60.0
    """The limit for one message to arrive, as long as its bytes keep coming."""
    ack_timeout: float = 5.0
    """A subscribe or unsubscribe that is not answered for this long is sent again."""
    first_data_timeout: float = 5.0
    """A subscription that was acknowledged and has had no snapshot for this long is subscribed again."""
    tick: float = 0.2
    """The interval of the watchdog's visits."""
    good_after: float = 30.0
    """A connection that lasted this long resets the backoff."""
    first_retry: float = 1.0
    """The first retry follows after a random time between 0 and this."""
    retry_base: float = 0.5
    retry_cap: float = 30.0
    """Later retries follow after a random time between 0 and min(cap, base * 2 ** attempt) ("full
    jitter")."""
    maintenance_retry: float = 5.0
    """The least time between attempts after maintenance, or after a refusal because of load."""
    rest_lag: float = 60.0
    """How far REST's orders and trades may be behind. That REST does not know an order is no evidence before
    its deadline has passed for so long."""
    permanent_retry: float = 60.0
    """The least time between attempts after an error that seems permanent (an untrusted certificate, a
    refused API key), for a connection that has worked before: a captive portal or a wrong clock passes."""


def retry_delay(attempt: int, timing: Timing, fraction: float) -> float:
    """Return the seconds to wait before retry number ``attempt``.

    Args:
        attempt: 0 for the first retry.
        timing: the limits.
        fraction: a random number from 0 to 1.

    >>> [retry_delay(attempt, Timing(), 1.0) for attempt in (0, 1, 2, 3, 9)]
    [1.0, 1.0, 2.0, 4.0, 30.0]
    """
    if attempt == 0:
        return timing.first_retry * fraction
    # min() of the exponent, because 2.0 ** attempt overflows in a night of retries.
    return min(timing.retry_cap, timing.retry_base * 2.0 ** min(attempt, 32)) * fraction
