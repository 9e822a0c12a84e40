"""Connections to Redis, with limits for every wait. The only module that imports redis."""

from __future__ import annotations

import os
from typing import Any, Tuple, Type
from urllib.parse import urlsplit

SOCKET_TIMEOUT = 1.0
"""Seconds after which a Redis that does not answer is given up; redis-py has had 5 or none."""


def redis_module() -> Any:
    """Return redis-py.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import redis
    except ImportError:
        raise ImportError('this needs redis-py: pip install "kraken-sync[shared]"') from None
    return redis


def faults() -> Tuple[Type[Exception], ...]:
    """Return the errors that a server, or the way to it, may cause."""
    return (redis_module().RedisError, OSError)


def connected(url: str) -> Any:
    """Return a client that has one connection, tries nothing twice, and waits for a second at most.

    Raises:
        ValueError: the URL is not one of Redis.
    """
    redis = redis_module()
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # A socket of this machine takes none of these.
    network = {"socket_connect_timeout": SOCKET_TIMEOUT, "socket_keepalive": True}
    return redis.Redis.from_url(
        url,
        **({} if urlsplit(url).scheme == "unix" else network),
        socket_timeout=SOCKET_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=0,
        single_connection_client=False,
        max_connections=1,
        client_name=f"kraken-sync-{os.getpid()}",
    )


def place_of(url: str) -> Tuple[str, int]:
    """Return host and port of a URL, without its login.

    Raises:
        ValueError: it is not a URL of Redis.
    """
    try:  # the error's own text would show a part of a password that is not quoted
        parts = urlsplit(url)
        place = (
            (parts.path, 0) if parts.scheme == "unix" else (parts.hostname or "localhost", parts.port or 6379)
        )
        known = parts.scheme in ("redis", "rediss", "unix")
        if known:
            connected(url).connection_pool.make_connection()  # does not connect
    except (ValueError, TypeError):
        known = False
    if not known:
        raise ValueError(
            "a URL of Redis looks like 'redis://host:6379/0' or 'rediss://user:password@host', with special "
            "characters of the password quoted, and only parameters that redis-py knows; a socket of this "
            "machine is 'unix:///path'"
        ) from None
    return place
