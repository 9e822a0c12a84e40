"""A client as a small table for notebooks."""

from __future__ import annotations

from ..core.html import badge, details
from ..core.wire.places import PUBLIC
from ..runtime import Runtime


def client_html(name: str, runtime: Runtime) -> str:
    """Return what a client does, and what went wrong so far."""
    stats = runtime.stats()
    endpoint, rtt = runtime.endpoints.get(PUBLIC), stats.get("rtt")
    private = [kind for kind in ("private", "level3") if kind in stats]
    return details(
        (name, badge(stats["state"])),
        [
            ("exchange", None if endpoint is None else endpoint.place),
            ("system", stats.get("system") or None),
            ("also connected", ", ".join(private) or None),
            ("API key", "set" if runtime.rest.credentials is not None else "none"),
            ("subscriptions", stats.get("subscriptions")),
            ("messages", stats.get("messages")),
            ("verified / mismatched", f"{stats.get('verified', 0)} / {stats.get('mismatched', 0)}"),
            ("reconnects", stats.get("reconnects")),
            ("gaps", len(runtime.gaps())),
            ("ping", None if rtt is None else f"{1000 * rtt:.1f} ms"),
        ],
    )
