"""REST as a second way for cancels and the dead man's switch, while there is no private WebSocket connection.

What reaches the exchange is the same, and so are the outcomes: a reply, "not sent" or "unknown". Only
requests whose repetition has no further effect go this way, so it does no harm if one has gone the other way,
too.

Source: https://docs.kraken.com/api/docs/rest-api/cancel-order (the others end in ``cancel-all-orders``,
``cancel-all-orders-after`` and ``cancel-order-batch``).
"""

from __future__ import annotations

import re
import time
from typing import Any, Dict, Iterator, Mapping, NamedTuple, Optional

from ..core.session.requests import Reply, TradingRequest
from ..core.wire.error_texts import ABOUT_THE_ORDER, NOT_OPEN
from ..core.wire.messages import decode_envelope, encode
from ..errors import KrakenError, OrderNotSent, OrderOutcomeUnknown, RequestRefused
from ..io.logs import log
from ..io.rest import Rest
from ..io.waiting import sooner

METHODS = ("cancel_order", "cancel_all", "cancel_all_orders_after", "batch_cancel")
"""The methods that can go by REST."""
PATIENCE = 5.0
"""Seconds for one request over REST; the connection may be back after that."""
_ORDER_ID = re.compile(r"[A-Z0-9]{6}-[A-Z0-9]{5}-[A-Z0-9]{6}")


class _Call(NamedTuple):
    endpoint: str
    params: Mapping[str, Any]
    do_json: bool = False


class RestWay:
    """Answers requests over REST, as if the replies had come over WebSocket.

    Args:
        rest: sends the requests.
    """

    def __init__(self, rest: Rest) -> None:
        self._rest = rest

    def answer(self, request: TradingRequest) -> None:
        """Send the request, and enter the replies into it. Blocks up to the request's ``deadline``.

        Raises:
            OrderNotSent: nothing of it was sent.
            OrderOutcomeUnknown: some of it was sent, and there was no clear answer.
        """
        calls = list(_calls(request))
        request.sent_at, failure = time.monotonic(), ""
        for number, call in enumerate(calls):
            if call is None or failure:
                error = failure or f"{NOT_OPEN[0]} (it has not the form of an order id)"
                self._reply(request, {"success": False, "error": error})
                continue
            try:
                result = self._rest.request(
                    "POST",
                    f"/0/private/{call.endpoint}",
                    call.params,
                    deadline=sooner(request.deadline, PATIENCE),
                    do_json=call.do_json,
                )
            except OrderOutcomeUnknown:
                request.sent = True
                raise
            except KrakenError as error:
                text = error.error if isinstance(error, RequestRefused) else ""
                if text.startswith(ABOUT_THE_ORDER):
                    self._reply(request, {"success": False, "error": text})
                elif number:
                    failure = f"not sent: {error}"  # unlike those before it
                    self._reply(request, {"success": False, "error": failure})
                else:
                    # What is wrong with REST may not be wrong with WebSocket.
                    why = f"there is no connection, and REST says: {error}"
                    raise OrderNotSent(request.method, why) from error
            else:
                self._reply(request, {"success": True, "result": result if isinstance(result, dict) else {}})
        log.info("%s went by REST", request.method)
        request.by_rest = True

    def _reply(self, request: TradingRequest, message: Mapping[str, Any]) -> None:
        frame = encode({"method": request.method, **message})
        request.replies.append(Reply(frame, decode_envelope(frame)))


def _calls(request: TradingRequest) -> Iterator[Optional[_Call]]:
    params: Dict[str, Any] = dict(request.params)
    if request.method == "cancel_all":
        yield _Call("CancelAll", {})
    elif request.method == "cancel_all_orders_after":
        yield _Call("CancelAllOrdersAfter", params)
    elif request.method == "batch_cancel":
        orders = {"orders": params.get("orders"), "cl_ord_ids": params.get("cl_ord_id")}
        yield _Call("CancelOrderBatch", orders, do_json=True)
    else:
        for name in params.get("order_id", ()):
            # REST's txid takes a userref as well, which may be another order's.
            yield _Call("CancelOrder", {"txid": name}) if _ORDER_ID.fullmatch(name) else None
        for name in params.get("cl_ord_id", ()):
            yield _Call("CancelOrder", {"cl_ord_id": name})
        for userref in params.get("order_userref", ()):
            yield _Call("CancelOrder", {"txid": userref})
