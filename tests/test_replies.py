"""What the exchange's answers to trading requests mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kraken_sync.core.session.session import Session
from kraken_sync.core.timing import Timing
from kraken_sync.core.wire.messages import decode_envelope
from kraken_sync.core.wire.secret import Secret


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b'{"method":"add_order","req_id":1,"result":{"order_id":"O"}}', None),
        (b'{"method":"add_order","req_id":1,"success":null,"result":{"order_id":"O"}}', None),
        (b'{"method":"add_order","req_id":1,"success":false}', "no reason given"),
        (b'{"method":"add_order","req_id":1,"error":"EOrder:x"}', "EOrder:x"),
    ],
)
def test_only_a_no_is_a_no(reply: bytes, error: Any) -> None:
    """A reply that does not say that it failed has not failed."""
    from kraken_sync.core.session.requests import Reply

    assert Reply(reply, decode_envelope(reply)).error == error


def test_recorded_replies_are_understood(captures: Path) -> None:
    """Every recorded reply and error ends the request that it belongs to."""

    from kraken_sync.core.session.requests import Request

    for name in ("trading_responses", "errors"):
        for line in (captures / "kraken-async-rs" / f"{name}.jsonl").read_text("utf-8").splitlines():
            reply = json.loads(line)
            session = Session(Timing(), private=True)
            session.opened(0.0)
            session.receive(b'{"channel":"status","type":"update","data":[{"system":"online"}]}', 0.0)
            session.use_token(Secret("t"), 0.0)
            request = Request(reply["method"], own_id=reply["req_id"] or 5)
            session.expect(request, 0.0)
            session.receive(json.dumps({**reply, "req_id": reply["req_id"] or 5}).encode(), 1.0)
            assert request.complete, line
            assert request.replies[0].error == reply.get("error")
            assert request.refusal == reply.get("error")
