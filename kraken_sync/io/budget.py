"""The process's budget of connection attempts for each host and port; the only state that clients share.

Source: https://docs.kraken.com/exchange/guides/websockets/introduction: about 150 attempts per address in a
rolling 10 minutes; an address that makes more is banned for 10 minutes.
"""

from __future__ import annotations

from typing import Dict, Tuple

from ..core.session.budgets import ConnectionBudget
from .locks import new_lock

_lock = new_lock("budget")
_budgets: Dict[Tuple[str, int], ConnectionBudget] = {}
_limit: Tuple[int, float] = (120, 600.0)  # as in Kraken's own command line tool


def take(host: str, port: int, now: float) -> float:
    """Take one attempt and return 0; if none is left, return the seconds until there is one."""
    with _lock:
        budget = _budgets.get((host, port))
        if budget is None:
            budget = _budgets[host, port] = ConnectionBudget(*_limit)
        return budget.wait(now)


def renew_lock() -> None:
    """Replace the lock in a forked child, since a thread of the parent may have held it at the fork."""
    global _lock
    _lock = new_lock("budget")


def set_connection_budget(attempts: int = 120, window: float = 600.0) -> None:
    """Allow this process ``attempts`` connection attempts per host and port in any ``window`` seconds.

    All clients of the process share this budget; a client that finds it used up waits. The default, 120
    attempts in 600 seconds, stays below the exchange's limit of about 150 attempts in 10 minutes, after which
    the address is banned for 10 minutes. The attempts made so far are forgotten. May be called from any
    thread; does not block.

    Source: https://docs.kraken.com/exchange/guides/websockets/introduction.

    Raises:
        ValueError: ``attempts`` is less than 1, or ``window`` is not more than 0.
    """
    global _limit
    if attempts < 1 or window <= 0:
        raise ValueError("attempts must be 1 or more and window more than 0 seconds")
    with _lock:
        _limit = (attempts, window)
        _budgets.clear()


def used(host: str, port: int) -> int:
    """Return the number of attempts taken in the current window."""
    with _lock:
        budget = _budgets.get((host, port))
        return budget.used if budget is not None else 0
