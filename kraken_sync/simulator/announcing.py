"""The words in which the exchange announces a maintenance or an emergency."""

from __future__ import annotations

from typing import Any, Dict, Sequence

ANY = ("", "unspecified")
URGENCIES = ("announced", "reminder_24h", "approaching_30m", "imminent_5m", "final_warning_30s", *ANY)
SERVICES = ("spot_ws", "spot_rest", "spot_fix", "spot_trading", "all", *ANY)
ADVICE = ("continue", "reduce_activity", "cancel_open_orders", "stop_new_orders", "disconnect_and_wait", *ANY)
KINDS = ("maintenance", "emergency")


def announcement(urgency: str, services: Sequence[str], advice: str, kind: str) -> Dict[str, Any]:
    """An announcement as the exchange sends it. Raises ValueError if it has no such word."""
    for given, known in (
        (urgency, URGENCIES),
        (advice, ADVICE),
        (kind, KINDS),
        *((service, SERVICES) for service in services if not service.startswith("futures_")),
    ):
        if given not in known:
            raise ValueError(f"{given!r} is none of {', '.join(known)}")
    return {"urgency": urgency, "services": list(services), "recommended_action": advice}
