"""The methods that place and change orders.

A request for the exchange's trading engine ends with its reply, with :class:`OrderRejected`, with
:class:`OrderNotSent` (it certainly did not reach the exchange) or with :class:`OrderOutcomeUnknown`. No order
is ever sent twice.

Source: Kraken, the pages of the trading methods, such as
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/add_order; the guide "Spot Client Order
Identifiers"; https://docs.kraken.com/exchange/guides/general/errors.
"""

from __future__ import annotations

import secrets
import time
import uuid
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Optional, Sequence

from ..core.orders.order import Order
from ..core.orders.pair_rules import PairRules
from ..core.orders.params import named_order, prepared
from ..core.session import account_views
from ..core.session.requests import TradingRequest
from ..core.wire.error_texts import AMBIGUOUS, UNKNOWN_PAIR
from ..core.wire.places import PRIVATE, PUBLIC
from ..errors import KrakenError, OrderOutcomeUnknown, OrderRejected, ReplyTimeout
from ..io.logs import log
from ..io.waiting import deadline_of, sooner, time_left
from ..market.history import History
from ..market.symbols import RECENT, TABLE_LIFETIME, SymbolLookup
from ..runtime import Runtime
from .outcomes import Reply, rejected
from .sender import Json, OrderSender

Params = Dict[str, Any]
RULES_TIMEOUT = 3.0
"""Seconds for which an order waits for the table of pairs at most; without the table only the exchange checks
it."""


class TradingDesk:
    """Places and changes the orders of one client. Any thread.

    The methods block up to ``timeout`` seconds (None: for ever) and raise what the methods of
    :class:`SpotWSClient` with the same names document.

    Args:
        runtime: the client's connections.
        sender: sends the requests.
        symbols: the rules of the pairs.
    """

    def __init__(self, runtime: Runtime, sender: OrderSender, symbols: SymbolLookup) -> None:
        self._runtime = runtime
        self._sender = sender
        self._symbols = symbols

    def add_order(self, given: Params, timeout: Optional[float], via: Optional[str]) -> Json:
        """Place an order; ``given`` are the parameters of :meth:`SpotWSClient.add_order`, with None for
        absent ones.
        """
        params, deadline = prepared("add_order", given, via), deadline_of(timeout)
        self._name(params)
        self._check_numbers(params["symbol"], [params], deadline)
        return self._place("add_order", params, deadline, via)

    def _name(self, order: Params) -> None:
        """Give an order a name of its own, by which it can be found if the reply is lost."""
        if "cl_ord_id" in order or "order_userref" in order:
            return
        if "conditional" not in order:
            order["cl_ord_id"] = str(uuid.uuid4())
            return
        # The exchange takes no cl_ord_id here. A userref need not be unique, so it is one that no order has.
        connection = self._runtime.connection(PRIVATE)
        taken = connection.read(account_views.userrefs) if connection is not None else frozenset()
        while order.get("order_userref") in (None, *taken):
            order["order_userref"] = secrets.randbelow(2**31 - 1) + 1

    def amend_order(self, given: Params, timeout: Optional[float], via: Optional[str]) -> Json:
        """Amend an order in place; see :meth:`SpotWSClient.amend_order`."""
        params, deadline = prepared("amend_order", given, via), deadline_of(timeout)
        known = self._known(named_order(params))
        pair = params.get("symbol") or (known.symbol if known is not None else None)
        if pair:
            order_type = known.order_type if known is not None else "limit"
            self._check_numbers(pair, [{"order_type": order_type, **params}], deadline)
        request = self._sender.request("amend_order", params, deadline, via=via)
        if known is not None:
            request.order_type = known.order_type
        elif via == "rest" and any(
            name in params and f"{name}_type" not in params for name in ("limit_price", "trigger_price")
        ):  # which mean something else for trailing orders
            name = named_order(params)
            assert name is not None
            request.order_type = self._sender.order_type("amend_order", name, deadline)
        return self._sender.result(self._sender.send(request), params)

    def edit_order(self, given: Params, timeout: Optional[float], via: Optional[str]) -> Json:
        """Cancel and replace an order; see :meth:`SpotWSClient.edit_order`."""
        params, deadline = prepared("edit_order", given, via), deadline_of(timeout)
        known = self._known(params["order_id"])
        if known is not None and known.cl_ord_id is not None:
            raise ValueError(
                "the exchange does not edit orders that have a cl_ord_id. Use amend_order, or place the "
                "order with an order_userref, so that it gets no cl_ord_id"
            )
        order_type = "stop-loss-limit" if "triggers" in params else "limit"
        if known is not None:
            order_type = known.order_type
        elif via == "rest" and ("limit_price" in params or "triggers" in params):
            # REST has two prices without names, of which the type tells the meaning.
            order_type = self._sender.order_type("edit_order", params["order_id"], deadline)
        self._check_numbers(params["symbol"], [{"order_type": order_type, **params}], deadline)
        return self._place("edit_order", params, deadline, via, order_type)

    def _place(
        self,
        method: str,
        params: Params,
        deadline: Optional[float],
        via: Optional[str],
        order_type: str = "",
    ) -> Json:
        """Send the request, and return its ``result`` with the ids that were sent. Raises OrderRejected."""
        placed = () if params.get("validate") else (params,)
        request = self._sender.request(method, params, deadline, placed=placed, via=via)
        request.order_type = order_type
        request = self._sent(request)
        with self._suggesting(params["symbol"]):
            result = self._sender.result(request, params)
        if params.get("validate"):
            return _validated(result)
        if not result.get("order_id") or not isinstance(result["order_id"], str):
            # A success without an order_id cannot be trusted either way.
            raise self._sender.outcome_unknown(request, f"the reply names no order: {result!r:.200}")
        return Reply({**_ids(params), **result})

    def _sent(self, request: TradingRequest) -> TradingRequest:
        """Send a request. Raises ReplyTimeout if it only validates, and there was no reply."""
        try:
            return self._sender.send(request)
        except OrderOutcomeUnknown as error:
            if not request.params.get("validate"):
                raise
            unknown = self._sender.unresolved.find(error, "")
            if unknown is not None:
                self._sender.unresolved.resolve(unknown)
            text = f"{request.method} with validate: {error.reason}. Nothing was placed"
            raise ReplyTimeout(text) from error

    def batch_add(self, given: Params, timeout: Optional[float], via: Optional[str]) -> List[Json]:
        """Place 2 to 15 orders of one pair; see :meth:`SpotWSClient.batch_add`."""
        params, deadline = prepared("batch_add", given, via), deadline_of(timeout)
        orders: List[Params] = params["orders"]
        for order in orders:
            self._name(order)
        self._check_numbers(params["symbol"], orders, deadline)
        symbol = params["symbol"]
        placed = () if params.get("validate") else [{**order, "symbol": symbol} for order in orders]
        request = self._sent(self._sender.request("batch_add", params, deadline, placed=placed, via=via))
        with self._suggesting(symbol):
            entries = self._entries(request, params)
        named = [
            {**_ids(order), **entry} if isinstance(entry, dict) else {**_ids(order), "error": str(entry)}
            for order, entry in zip(orders, entries)
        ]
        return [_validated(entry) for entry in named] if params.get("validate") else named

    def _entries(self, request: TradingRequest, params: Params) -> List[Any]:
        """Return the entry of each order in a batch's reply, which may have both successes and failures."""
        result = self._sender.messages(request)[0].get("result")
        if isinstance(result, list) and len(result) == len(params["orders"]):
            for entry in () if params.get("validate") else result:
                text = str(entry.get("error") or "") if isinstance(entry, dict) else ""
                if text.startswith(AMBIGUOUS):
                    reason = f"the exchange says {text!r} about one of them, which may mean anything"
                    raise self._sender.outcome_unknown(request, reason)
            return result
        error = request.refusal
        # A failed validation rejects the whole batch; an order that fails in the engine rejects itself
        # only.
        if error is not None and not result:
            raise rejected("batch_add", error, params, request.req_id)
        raise self._sender.outcome_unknown(request, f"the reply does not name every order: {result!r:.200}")

    def send_plain(self, method: str, message: Mapping[str, Any], deadline: Optional[float]) -> Any:
        """Send a trading method of :meth:`SpotWSClient.send_message`, with its parameters unchanged."""
        params = dict(message.get("params") or {})
        count = sum(
            len(params[name]) for name in ("order_id", "cl_ord_id") if isinstance(params.get(name), list)
        )
        replies = max(1, count) if method == "cancel_order" else 1
        request = self._sender.send(
            TradingRequest(
                method,
                params,
                replies,
                deadline=deadline,
                own_id=message.get("req_id"),
                our_time=time.time(),
            )
        )
        failed = [reply.error for reply in request.replies if reply.error is not None]
        if failed and len(failed) == len(request.replies):
            raise rejected(method, failed[0], params, request.req_id)
        found = self._sender.messages(request)
        return found[0] if len(found) == 1 else found

    # -- what is checked before sending ------------------------------------------------------

    def _known(self, name: Optional[str]) -> Optional[Order]:
        """Return the order with this id as far as it is known here; does not open a connection."""
        connection = self._runtime.connection(PRIVATE)
        if name is None or connection is None:
            return None
        order = connection.read(lambda session: account_views.order_named(session, name))
        return order if order is not None and order.symbol else None

    def _check_numbers(
        self, symbol: str, orders: Sequence[Mapping[str, Any]], deadline: Optional[float]
    ) -> None:
        """Check the numbers of orders against the rules of their pair. Raises ValueError."""
        rules = self._rules(symbol, deadline)
        for index, order in enumerate(orders if rules is not None else ()):
            assert rules is not None
            try:
                rules.check(order)
            except ValueError as error:
                if len(orders) == 1:
                    raise
                raise ValueError(f"orders[{index}]: {error}") from None

    def _rules(self, symbol: str, deadline: Optional[float]) -> Optional[PairRules]:
        """Return the pair's rules; None if they could not be fetched, so that only the exchange checks.

        Raises:
            UnknownSymbol: it is another spelling of a pair.
        """
        max_age = TABLE_LIFETIME if self._symbols.has_rules(symbol) else RECENT
        if self._symbols.age > max_age:
            history = History(self._runtime.rest.request)
            # Half of the time at most, so that there is some left for the order.
            left = time_left(deadline)
            until = sooner(deadline, RULES_TIMEOUT if left is None else min(RULES_TIMEOUT, left / 2))
            try:
                self._symbols.refresh(self._runtime.connection(PUBLIC), history.all_pairs, until, max_age)
            except KrakenError as error:
                log.warning("orders are not checked before sending: no table of pairs (%s)", error)
        return self._symbols.rules(symbol)

    @contextmanager
    def _suggesting(self, symbol: str) -> Iterator[None]:
        """Add the names that may have been meant to a rejection because there is no such pair."""
        try:
            yield
        except OrderRejected as error:
            if not error.error.startswith(UNKNOWN_PAIR):
                raise
            params = {"cl_ord_id": error.cl_ord_id}
            hint = self._symbols.suggestion(symbol)
            raise rejected(error.method, error.error, params, error.req_id, hint=hint) from error


def _validated(result: Mapping[str, Any]) -> Json:
    """Return what a validated order's result is to callers: no id, since nothing was placed."""
    error = {"error": result["error"]} if "error" in result else {}
    return Reply({"validated": not error, "placed": False, **error})


def _ids(order: Mapping[str, Any]) -> Json:
    return {name: order[name] for name in ("cl_ord_id", "order_userref") if name in order}
