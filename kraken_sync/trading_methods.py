"""Orders: three outcomes, three errors.

A request for the exchange's trading engine ends as its reply, as :class:`OrderRejected`, as
:class:`OrderNotSent` (certainly nothing reached the exchange) or as :class:`OrderOutcomeUnknown`. No order
is ever sent twice.

Source: Kraken, the pages of the trading methods; "Spot Client Order Identifiers"; "Spot Error Messages".
"""

from __future__ import annotations

import uuid
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from .core.orders.params import named_order, prepared
from .core.wire.numbers import Number
from .core.wire.times import parse_time
from .errors import OrderOutcomeUnknown
from .io.deadline import deadline_of
from .offered import offered
from .order_sender import Json, OrderSender
from .trading.cancels import Cancels
from .trading.dead_mans_switch import DeadMansSwitch
from .trading.order_gate import OrderGate
from .trading.rate_mirror import RateMirror
from .trading.reconcile import Reconciler
from .trading.reconciled import Reconciled
from .trading.replies import refusal, rejected
from .trading.unknown import TradingRequest

OneOrMany = Union[str, Sequence[str], None]


class Trading(OrderSender):
    """The trading methods of a client."""

    # -- placing and changing ----------------------------------------------------------------

    def add_order(
        self,
        *,
        symbol: str,
        side: str,
        order_type: str,
        order_qty: Optional[Number] = None,
        limit_price: Optional[Number] = None,
        limit_price_type: Optional[str] = None,
        triggers: Optional[Mapping[str, Any]] = None,
        time_in_force: Optional[str] = None,
        expire_time: Optional[str] = None,
        effective_time: Optional[str] = None,
        deadline: Union[str, float, None] = None,
        cl_ord_id: Optional[str] = None,
        order_userref: Optional[int] = None,
        post_only: Optional[bool] = None,
        reduce_only: Optional[bool] = None,
        margin: Optional[bool] = None,
        display_qty: Optional[Number] = None,
        fee_preference: Optional[str] = None,
        stp_type: Optional[str] = None,
        cash_order_qty: Optional[Number] = None,
        sender_sub_id: Optional[str] = None,
        conditional: Optional[Mapping[str, Any]] = None,
        validate: Optional[bool] = None,
        no_mpp: Optional[bool] = None,
        timeout: Optional[float] = 10.0,
    ) -> Json:
        """Place an order, and block until the exchange has taken or refused it.

        Numbers (Decimal, int, str, float) go out exactly as given, after a check against the pair's grid and
        minimums. The symbol must be the exchange's own (``"BTC/USD"``): for orders nothing is guessed.

        Args:
            symbol: the pair.
            side: ``buy`` or ``sell``.
            order_type: ``limit``, ``market``, ``iceberg``, ``stop-loss``, ``stop-loss-limit``,
                ``take-profit``, ``take-profit-limit``, ``trailing-stop``, ``trailing-stop-limit``,
                ``settle-position``.
            order_qty: in base currency.
            limit_price: in quote currency, for the limit types.
            limit_price_type: ``static``, ``pct`` or ``quote``, for ``trailing-stop-limit``.
            triggers: ``price``, and perhaps ``reference`` (``last``, ``index``) and ``price_type``.
            time_in_force: ``gtc`` (default), ``gtd`` (with ``expire_time``), ``ioc``.
            expire_time: RFC 3339, at most a month ahead.
            effective_time: RFC 3339, for a scheduled order.
            deadline: after it the engine refuses the order: seconds from now (0.5 to 60, by the exchange's
                clock), or RFC 3339; 5 seconds if not given.
            cl_ord_id: your own id; a UUID is made up if neither this nor ``order_userref`` is given.
            order_userref: your own number; excludes ``cl_ord_id``.
            post_only: cancel it instead of taking liquidity.
            reduce_only: only reduce a margin position.
            margin: trade on margin.
            display_qty: the visible part of an iceberg, at least 1/15 of ``order_qty``.
            fee_preference: ``base`` or ``quote``.
            stp_type: against trading with yourself: ``cancel_newest`` (default), ``cancel_oldest``,
                ``cancel_both``.
            cash_order_qty: for market buys, in quote currency instead of ``order_qty``.
            sender_sub_id: institutional accounts.
            conditional: a closing order for each fill: ``order_type``, ``limit_price``, ``trigger_price`` and
                their types.
            validate: check only; nothing is placed.
            no_mpp: deprecated by the exchange: no market price protection.
            timeout: seconds to wait for the reply, None for ever.

        Returns:
            The reply's ``result``: ``order_id`` and the id you gave or were given.

        Raises:
            ValueError, TypeError, UnknownSymbol: before anything is sent, with the nearest valid value.
            OrderRejected: the exchange refused it.
            OrderNotSent: it certainly did not reach the exchange.
            OrderOutcomeUnknown: it was sent and no reply came; see :meth:`reconcile`. Never send it again.
            CredentialsMissing, CredentialsInvalid, PermissionRefused: of the API key; nothing was sent.
        """
        given = _given(locals())
        params = prepared("add_order", given)
        if "cl_ord_id" not in params and "order_userref" not in params:
            params["cl_ord_id"] = str(uuid.uuid4())
        ends = deadline_of(timeout)
        self._check_numbers(params["symbol"], [params], ends)
        return self._placed(self._trade("add_order", params, ends), params)

    def amend_order(
        self,
        *,
        order_id: Optional[str] = None,
        cl_ord_id: Optional[str] = None,
        order_qty: Optional[Number] = None,
        limit_price: Optional[Number] = None,
        limit_price_type: Optional[str] = None,
        display_qty: Optional[Number] = None,
        trigger_price: Optional[Number] = None,
        trigger_price_type: Optional[str] = None,
        post_only: Optional[bool] = None,
        deadline: Union[str, float, None] = None,
        symbol: Optional[str] = None,
        timeout: Optional[float] = 10.0,
    ) -> Json:
        """Change an order in place, and block until the exchange has answered.

        Name it by ``order_id`` or ``cl_ord_id``. ``order_qty`` is the new total: below what is filled
        already the rest is canceled. ``symbol`` is needed for pairs that are not crypto only. See
        :meth:`add_order` for the other parameters and for what is raised.

        Returns:
            The reply's ``result``: ``amend_id`` and the id that was used.
        """
        params = prepared("amend_order", _given(locals()))
        ends = deadline_of(timeout)
        known = self._known(named_order(params))
        pair = params.get("symbol") or (known.symbol if known is not None else None)
        if pair:
            order_type = known.order_type if known is not None else "limit"
            self._check_numbers(pair, [{"order_type": order_type, **params}], ends)
        return self._result(self._trade("amend_order", params, ends), params)

    def edit_order(
        self,
        *,
        order_id: str,
        symbol: str,
        order_qty: Optional[Number] = None,
        limit_price: Optional[Number] = None,
        triggers: Optional[Mapping[str, Any]] = None,
        display_qty: Optional[Number] = None,
        fee_preference: Optional[str] = None,
        post_only: Optional[bool] = None,
        reduce_only: Optional[bool] = None,
        order_userref: Optional[int] = None,
        deadline: Union[str, float, None] = None,
        validate: Optional[bool] = None,
        no_mpp: Optional[bool] = None,
        timeout: Optional[float] = 10.0,
    ) -> Json:
        """Cancel an order and place a changed one instead; :meth:`amend_order` is the better way.

        The exchange refuses it for orders with a ``cl_ord_id``, which this client gives to every order that
        has no ``order_userref``. See :meth:`add_order` for the parameters and for what is raised.

        Returns:
            The reply's ``result``: the new ``order_id`` and ``original_order_id``.
        """
        params = prepared("edit_order", _given(locals()))
        ends = deadline_of(timeout)
        known = self._known(order_id)
        if known is not None and known.cl_ord_id is not None:
            raise ValueError(
                "the exchange does not edit orders that have a cl_ord_id. Use amend_order, or place the "
                "order with an order_userref, so that it gets no cl_ord_id"
            )
        order_type = known.order_type if known is not None else "limit"
        self._check_numbers(symbol, [{"order_type": order_type, **params}], ends)
        return self._placed(self._trade("edit_order", params, ends), params)

    def batch_add(
        self,
        *,
        symbol: str,
        orders: Sequence[Mapping[str, Any]],
        deadline: Union[str, float, None] = None,
        validate: Optional[bool] = None,
        timeout: Optional[float] = 10.0,
    ) -> List[Json]:
        """Place 2 to 15 orders of one pair with one message.

        ``orders`` are dicts of :meth:`add_order`'s parameters, without ``symbol``, ``deadline``,
        ``validate``. Each gets a ``cl_ord_id`` if it has neither that nor an ``order_userref``. See
        :meth:`add_order` for the rest.

        Returns:
            One entry per order, in their order: ``order_id`` and your ids, or ``error`` in the exchange's
            words if this one alone was refused (for lack of funds, say).
        """
        params = prepared("batch_add", _given(locals()))
        for order in params["orders"]:
            if "cl_ord_id" not in order and "order_userref" not in order:
                order["cl_ord_id"] = str(uuid.uuid4())
        ends = deadline_of(timeout)
        self._check_numbers(symbol, params["orders"], ends)
        entries = self._entries(self._trade("batch_add", params, ends), params)
        results: List[Json] = []
        for order, entry in zip(params["orders"], entries):
            ids = {name: order[name] for name in ("cl_ord_id", "order_userref") if name in order}
            result = {**ids, **entry} if isinstance(entry, dict) else {**ids, "error": str(entry)}
            results.append(result)
            if "error" not in result:
                self._took(result.get("order_id"), {**order, "symbol": symbol})
        return results

    def _entries(self, request: TradingRequest, params: Mapping[str, Any]) -> List[Any]:
        """What a batch's reply says of each order. It may have failed for one and succeeded for others."""
        result = self._decode(request.replies[0].frame).get("result")
        if isinstance(result, list) and len(result) == len(params["orders"]):
            return result
        error = refusal(request)
        if error is not None and not result:
            raise rejected("batch_add", error, params, request.req_id)
        raise self._outcome_unknown(request, f"the reply does not name every order: {result!r:.200}")

    # -- canceling ---------------------------------------------------------------------------

    def cancel_order(
        self,
        *,
        order_id: OneOrMany = None,
        cl_ord_id: OneOrMany = None,
        order_userref: Union[int, Sequence[int], None] = None,
        timeout: Optional[float] = 10.0,
    ) -> Any:
        """Cancel orders, and block until it is known what became of each.

        A cancel may be repeated without harm. If its reply is lost the executions are looked at, and it is
        sent once more; only then is the outcome unknown. An ``order_userref`` may name any number of orders:
        what it did is confirmed from the executions.

        Returns:
            For one id the reply's ``result``. For a list (of one, too), or for ``order_userref``, one entry
            per order: its id, and ``error`` if it was not canceled.

        Raises:
            OrderRejected: the one order cannot be canceled (``EOrder:Unknown order``: it is not open).
            OrderNotSent, OrderOutcomeUnknown: as :meth:`add_order`.
        """
        params = prepared("cancel_order", _given(locals()))
        one = isinstance(order_id, str) or isinstance(cl_ord_id, str)
        return Cancels(self).cancel_order(params, deadline_of(timeout), one=one)

    def cancel_all(self, *, timeout: Optional[float] = 10.0) -> Json:
        """Cancel every open order of the account, triggered or not.

        Returns:
            ``{"count": n}``.

        Raises:
            As :meth:`cancel_order`.
        """
        return self._repeatable("cancel_all", {}, deadline_of(timeout))

    def cancel_all_orders_after(self, *, timeout: int, reply_timeout: Optional[float] = 10.0) -> Json:
        """Arm the exchange's dead man's switch: all orders are canceled ``timeout`` seconds from now.

        Every call starts the time anew; 0 disarms. It is for the whole account. :meth:`dead_mans_switch`
        renews it for you. (``timeout`` is the exchange's parameter; ``reply_timeout`` is how long to wait
        for the reply.)

        Returns:
            ``currentTime`` and ``triggerTime``.

        Raises:
            As :meth:`cancel_order`.
        """
        params = prepared("cancel_all_orders_after", {"timeout": timeout})
        return self._repeatable("cancel_all_orders_after", params, deadline_of(reply_timeout))

    def batch_cancel(
        self,
        *,
        orders: OneOrMany = None,
        cl_ord_id: OneOrMany = None,
        timeout: Optional[float] = 10.0,
    ) -> List[Json]:
        """Cancel 2 to 50 orders with one message. ``orders`` are order ids.

        The exchange answers only how many it canceled; what became of each is taken from the executions.

        Returns:
            One entry per id: the id, and ``status`` as far as it is known (``canceled``, ``filled``, ... or
            ``unknown``).

        Raises:
            As :meth:`cancel_order`.
        """
        params = prepared("batch_cancel", _given(locals()))
        return Cancels(self).batch_cancel(params, deadline_of(timeout))

    # -- after a lost reply, and before trouble ----------------------------------------------

    def reconcile(
        self,
        order: Union[str, int, OrderOutcomeUnknown],
        *,
        deadline: Union[str, float, None] = None,
        timeout: Optional[float] = 30.0,
    ) -> Reconciled:
        """Find out what became of an order whose reply was lost, and block until that is known.

        Asks the executions, then REST (open and closed orders); never sends anything that changes something.

        Args:
            order: the :class:`OrderOutcomeUnknown`, or a ``cl_ord_id``, an ``order_id`` or an
                ``order_userref``. Of a batch, each of ``error.names`` on its own.
            deadline: when the order could be taken at the latest (RFC 3339, or seconds since the epoch), for
                an order that this client did not send.
            timeout: seconds, None for ever. An order that is nowhere is known to be nowhere only after its
                deadline (5 seconds after it was sent, if not said otherwise).

        Returns:
            The outcome (live, filled, canceled, never arrived, still unknown), and the order if there is
            one. For an amend or a cancel it is the state of the order that was to be changed.

        Raises:
            CredentialsMissing: there is no API key.
            ClientClosed: the client is closed.
        """
        return Reconciler(self, order, deadline).run(timeout)

    @offered
    def unresolved(self) -> List[OrderOutcomeUnknown]:
        """The requests whose outcome is unknown, oldest first.

        :meth:`reconcile` takes them off the list (a batch, once each of its orders is known), and a further
        call that succeeds those of ``cancel_all`` and ``cancel_all_orders_after``.
        """
        return [one.error for one in list(self._unknown)]

    def dead_mans_switch(
        self,
        timeout: int = 60,
        *,
        stuck_after: Optional[float] = None,
        on_failure: Optional[Callable[[str], Any]] = None,
    ) -> DeadMansSwitch:
        """A context manager: if this program dies, the exchange cancels all orders ``timeout`` seconds later.

        Args:
            timeout: whole seconds; it is renewed every third of it. Nothing is armed before ``with``.
            stuck_after: stop renewing when ``feed()`` was not called for so many seconds, for owners that
                may hang.
            on_failure: called with a sentence, on a thread of its own, when renewals fail.
        """
        return DeadMansSwitch(self, timeout, stuck_after, on_failure)

    @offered
    def order_gate(self) -> OrderGate:
        """What holds back orders while the feed is down. See :class:`OrderGate`."""
        return self._order_gate

    @offered
    def trading_rate(self) -> RateMirror:
        """How much of the exchange's trading rate is used up. See :class:`RateMirror`."""
        return self._rate


def _given(arguments: Mapping[str, Any]) -> Dict[str, Any]:
    """The exchange's parameters among a method's arguments."""
    given = {name: value for name, value in arguments.items() if name not in ("self", "timeout")}
    deadline = given.get("deadline")
    if isinstance(deadline, (int, float)) and not isinstance(deadline, bool):
        if not 0.5 <= deadline <= 60:
            raise ValueError(f"deadline must be 0.5 to 60 seconds from now, not {deadline}")
    elif deadline is not None and parse_time(deadline) is None:
        raise ValueError(f"deadline must be seconds from now or RFC 3339 in UTC, not {deadline!r:.80}")
    return given
