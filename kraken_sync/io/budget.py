"""The process's connection budget, one for each host and port. The only state shared by clients."""

from __future__ import annotations

from typing import Dict, Tuple

from ..core.session.budgets import ConnectionBudget
from .locks import new_lock

_lock = new_lock("budget")
_budgets: Dict[Tuple[str, int], ConnectionBudget] = {}
_limit: Tuple[int, float] = (120, 600.0)


def take(host: str, port: int, now: float) -> float:
    """Take one attempt and return 0, or return the seconds until there is one."""
    with _lock:
        budget = _budgets.get((host, port))
        if budget is None:
            budget = _budgets[host, port] = ConnectionBudget(*_limit)
        return budget.wait(now)


def renew_lock() -> None:
    """In a forked child, where another thread of the parent may have held the lock for ever."""
    global _lock
    _lock = new_lock("budget")


def set_connection_budget(attempts: int = 120, window: float = 600.0) -> None:
    """Allow this process ``attempts`` connection attempts per host in any ``window`` seconds.

    The default stays below the exchange's own limit (about 150 in 600 s, then a ban of ten minutes).
    What was used so far is forgotten.
    """
    global _limit
    if attempts < 1 or window <= 0:
        raise ValueError("attempts must be 1 or more and window more than 0 seconds")
    with _lock:
        _limit = (attempts, window)
        _budgets.clear()


def used(host: str, port: int) -> int:
    """Attempts taken in the current window."""
    with _lock:
        budget = _budgets.get((host, port))
        return budget.used if budget is not None else 0
