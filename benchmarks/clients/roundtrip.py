"""Round trips of ``--what``, ``ping`` or ``order``, by ``--kind``: ``ours``, or ``bare`` websocket-client."""

from __future__ import annotations

import base64
import json
import statistics
import time
import uuid
from typing import Any, Callable, Dict

import websocket

from kraken_sync import SpotWSClient

from ..feed import SYMBOL
from .common import context, options, report

ORDER: Dict[str, Any] = {
    "symbol": SYMBOL,
    "side": "sell",
    "order_type": "limit",
    "order_qty": "0.01",
    "limit_price": "90000.0",
}
SECRET = base64.b64encode(b"a secret for nobody but the stand-in").decode()


def bare(url: str, ca: str, what: str) -> Callable[[], Any]:
    """One round trip of a bare client, which waits for the reply with its own number."""
    client = websocket.create_connection(url, sslopt={"context": context(ca)}, skip_utf8_validation=True)
    number = 0

    def trip() -> Any:
        nonlocal number
        number += 1
        request: Dict[str, Any] = {"method": "ping", "req_id": number}
        if what == "order":
            # As our client sends it: exact numbers, an id of its own, a deadline and the token.
            params = {**ORDER, "order_qty": 0.01, "limit_price": 90000.0, "cl_ord_id": str(uuid.uuid4())}
            params.update(deadline="2026-11-01T00:00:05.000Z", token="a-token")
            request = {"method": "add_order", "params": params, "req_id": number}
        client.send(json.dumps(request))
        while True:
            message = json.loads(client.recv_data()[1])
            if message.get("req_id") == number:
                return message

    return trip


def ours(url: str, rest: str, ca: str, what: str) -> Callable[[], Any]:
    """One round trip of our client."""
    if what == "ping":
        client = SpotWSClient(ws_url=url, ssl_context=context(ca))
        client.start()
        return lambda: client.send_message({"method": "ping"})
    trader = SpotWSClient(
        "a-key", SECRET, no_public=True, auth_ws_url=url, rest_url=rest, ssl_context=context(ca)
    )
    trader.start()
    return lambda: trader.add_order(**ORDER)


def main() -> None:
    """Measure the median of ``--count`` round trips, after some to get warm."""
    given = options(__doc__, kind="ours", what="ping", rest="")
    if given.kind == "bare":
        trip = bare(given.url, given.ca, given.what)
    else:
        trip = ours(given.url, given.rest, given.ca, given.what)
    for _ in range(20):
        trip()
    times = []
    for _ in range(given.count):
        started = time.perf_counter()
        trip()
        times.append(time.perf_counter() - started)
    report(median=statistics.median(times) * 1e6)


if __name__ == "__main__":
    main()
