"""May an order go out now? Decided from what the exchange last said.

Source: Kraken, "status" page: ``maintenance`` takes neither orders nor cancels, ``cancel_only`` takes
cancels, ``post_only`` takes cancels and post-only limit orders; pairs have states of their own on the
``instrument`` channel.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

from .params import ADDING


def closed_for(method: str, params: Mapping[str, Any], system: str) -> Optional[str]:
    """Why the exchange would not take this request now, or None if it would."""
    if system == "maintenance" and method != "cancel_all_orders_after":  # disarming must be tried
        return "the exchange is in maintenance and takes neither orders nor cancels"
    if method not in ADDING:
        return None
    if system == "cancel_only":
        return "the exchange is in cancel_only mode"
    if system == "post_only" and not _post_only(method, params):
        return "the exchange is in post_only mode"
    return None


def _post_only(method: str, params: Mapping[str, Any]) -> bool:
    if method == "batch_add":
        return all(order.get("post_only") for order in params.get("orders", ()))
    return method in ("amend_order", "edit_order") or bool(params.get("post_only"))
