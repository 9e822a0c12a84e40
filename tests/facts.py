"""What became known of the exchange in November 2026, each with the tests that hold for it.

``@fact("...")`` marks a test of one of them; ``test_facts.py`` looks for facts without a test. Sources:
Kraken's own SDK (https://github.com/krakenfx/kraken-api-sdk) and https://docs.kraken.com, in November 2026.
"""

from __future__ import annotations

from typing import Any, Mapping

import pytest

FACTS: Mapping[str, str] = {
    "gone orders": "Invalid order and Unknown order both mean that nothing open has this id",
    "conditional": "conditional and cl_ord_id exclude each other",
    "validate": "validate answers with an empty order_id, and nothing is placed",
    "unknown fields": "an unknown order field is answered: Unsupported field: '<name>'",
    "leverage": "leverage is rejected on WebSocket, where margin takes its place; REST has it",
    "deadline": "deadline is RFC 3339 with a zone, within 60 s",
    "price types of conditional": "disputed on WebSocket; REST takes relative prices",
    "display_qty in an amend": "disputed on WebSocket",
    "fok": "time_in_force fok is for types with a limit price",
    "iceberg and reduce_only": "iceberg needs display_qty; reduce_only needs margin",
    "one kind of id": "a cancel takes order_id, cl_ord_id or order_userref, one of them",
    "echoed ids": "a cancel that succeeds echoes the id; ids are arrays in a cancel, single in add and amend",
    "disarmed": "trigger_time of a disarmed switch is 0 or missing",
    "batch_cancel": "on the wire it is for order ids",
    "REST lags": "REST may be a minute behind",
    "req_id": "a req_id is a number; a text does not correlate",
    "success": "a reply may lack success",
    "counter costs": "place, amend and cancel cost by the age of the order",
    "counter of all orders": "cancel_all costs 1 for each pair, cancel_all_orders_after 1",
    "counter tiers": "Starter: 60 points, 1 a second",
    "full counters": "Rate limit exceeded is the pair's, Domain rate limit exceeded the account's",
    "REST limits": "EAPI, EAuth, EGeneral, and Throttled with the time to wait for",
    "lockout": "Temporary lockout is a ban of some 15 minutes",
    "close codes": "1008 is final; after every other code the client comes back",
    "refused upgrades": "400, 401, 403, 404 are final at first; 429 and 503 are not",
    "stale tokens": "Invalid token and Invalid session: a fresh token helps; a refused key is final",
    "tokens": "tokens live 15 minutes, and longer while they are used",
    "invalid nonce": "one retry with a fresh nonce, never for an order",
    "otp": "a key with two factors has otp in each signed request",
    "status again": "status may be pushed every second",
    "status subscribed": "answered with the status, and then with Symbol(s) not found",
    "refused subscriptions": "neither channel nor symbol: only req_id correlates",
    "announcements": "upcoming_maintenance and emergency, whatever the names of their keys",
    "SystemStatus": "REST has the same two arrays",
    "system": "maintenance takes no cancels, cancel_only takes cancels, post_only takes post-only orders",
    "ticker numbers": "numbers or decimal texts",
    "depth": "a book of depth 10 verifies with depth 10",
    "level3 host": "level3 has a host of its own",
    "level3 limits": "200 symbols a connection, 5, 25 or 100 points a symbol, 200 points a second",
    "level3 events": "add, modify, delete; a level that comes into scope is added whole",
    "level3 checksum": "every order of ten levels in queue order, numbers in full precision",
    "Unified WebSocket": "full paths, the same frames, asset_class in subscriptions and orders",
}


def fact(name: str) -> Any:
    """Mark a test as one of this fact."""
    assert name in FACTS, name
    return pytest.mark.fact(name)
