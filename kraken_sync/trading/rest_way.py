"""REST as a second way for cancels and the dead man's switch, while there is no private WebSocket connection.

What reaches the exchange is the same, and so are the outcomes: a reply, "not sent" or "unknown". Only
requests whose repetition has no further effect go this way, so it does no harm if one has gone the other way,
too.

Source: https://docs.kraken.com/api/docs/rest-api/cancel-order (the others end in ``cancel-all-orders``,
``cancel-all-orders-after`` and ``cancel-order-batch``).
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, NamedTuple

from ..core.session.requests import Reply, TradingRequest
from ..core.wire.messages import decode_envelope, encode
from ..errors import KrakenError, OrderNotSent, OrderOutcomeUnknown, RequestRefused
from ..io.logs import log
from ..io.rest import Rest

METHODS = ("cancel_order", "cancel_all", "cancel_all_orders_after", "batch_cancel")
"""The methods that can go by REST."""


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
        for number, call in enumerate(_calls(request)):
            try:
                result = self._rest.request(
                    "POST",
                    f"/0/private/{call.endpoint}",
                    call.params,
                    deadline=request.deadline,
                    do_json=call.do_json,
                )
            except RequestRefused as error:
                self._reply(request, {"success": False, "error": error.error})
            except OrderOutcomeUnknown:
                request.sent = True
                raise
            except KrakenError as error:
                if number:
                    request.sent = True  # the calls before this one have had their effect
                raise OrderNotSent(request.method, f"no WebSocket connection, and REST: {error}") from error
            else:
                own = result if isinstance(result, dict) else {}
                self._reply(request, {"success": True, "result": own})
        log.info("%s went by REST, because there is no WebSocket connection", request.method)
        request.by_rest = True

    def _reply(self, request: TradingRequest, message: Mapping[str, Any]) -> None:
        frame = encode({"method": request.method, **message})
        request.replies.append(Reply(frame, decode_envelope(frame)))


def _calls(request: TradingRequest) -> Iterator[_Call]:
    params: Dict[str, Any] = dict(request.params)
    if request.method == "cancel_all":
        yield _Call("CancelAll", {})
    elif request.method == "cancel_all_orders_after":
        yield _Call("CancelAllOrdersAfter", params)
    elif request.method == "batch_cancel":
        orders = {"orders": params.get("orders"), "cl_ord_ids": params.get("cl_ord_id")}
        yield _Call("CancelOrderBatch", orders, do_json=True)
    else:
        for kind, name in (("order_id", "txid"), ("cl_ord_id", "cl_ord_id"), ("order_userref", "txid")):
            for one in params.get(kind, ()):
                yield _Call("CancelOrder", {name: one})
