"""Cancels, which may be repeated, and whose effect can be seen in the executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, Optional, Tuple

from ..core.orders.order import CLOSED, UNKNOWN
from ..core.orders.record import Record
from ..core.session.requests import Request
from ..core.wire.error_texts import UNKNOWN_ORDER
from ..errors import KrakenError
from ..io.connection.private import PrivateConnection
from ..io.deadline import sooner, time_left
from .replies import refusal, rejected

if TYPE_CHECKING:
    from . import Trading

Json = Dict[str, Any]
SEEN_WITHIN = 2.0
"""Seconds to wait for the executions to show what a cancel did."""
Target = Tuple[str, Any]
"""The kind of an id, such as ``order_id``, and the id."""


class Cancels:
    """The canceling methods of a client."""

    def __init__(self, client: Trading) -> None:
        self._client = client

    def cancel_order(self, params: Mapping[str, Any], ends: Optional[float], *, one: bool) -> Any:
        """See :meth:`Trading.cancel_order`; ``params`` are checked."""
        line = self._client._trading_line("cancel_order", ends)
        userrefs = params.get("order_userref", [])
        targets: List[Target] = [
            (kind, name) for kind in ("order_id", "cl_ord_id") for name in params.get(kind, [])
        ]
        single = one and len(targets) == 1 and not userrefs
        replies = len(targets)
        for userref in userrefs:
            found = self._matching(line, userref, ends)
            replies += max(1, len(found))
            targets += found

        def gone() -> bool:
            return self._gone(line, targets)

        request, lost = self._client._trade_twice(
            "cancel_order",
            params,
            ends,
            replies,
            confirmed=lambda: bool(userrefs and targets) and gone(),
            done=gone,
        )
        if request is not None and lost is None:
            return self._results(line, request, targets, userrefs, params, single, ends)
        if request is None or gone():
            return self._seen(line, targets, single)
        if not (refusal(request) or "").startswith(UNKNOWN_ORDER):
            return self._corrected(
                line, self._results(line, request, targets, userrefs, params, single, ends)
            )
        # it is not open any more: was that the first try?
        if lost is None or self._wait_gone(line, targets, sooner(ends, SEEN_WITHIN)):
            return self._seen(line, targets, single)
        self._client._unknown.append(lost)
        raise lost.error

    def _matching(self, line: PrivateConnection, userref: int, ends: Optional[float]) -> List[Target]:
        """The open orders with this userref, as far as the executions tell."""
        left = time_left(ends)
        try:
            self._client._orders().wait_live(left and left / 2)
        except KrakenError:
            return []  # they cannot be seen (now): the cancel goes out all the same
        with line.changed:
            orders = line.session.account.orders
            return [("order_id", one.order_id) for one in orders.with_userref(userref) if one.open]

    def _record(self, line: PrivateConnection, target: Target) -> Optional[Record]:
        return line.session.account.orders.find(target[1])

    def _gone(self, line: PrivateConnection, targets: List[Target]) -> bool:
        """Whether the executions say of each of them that it is not open any more."""
        with line.changed:
            orders = line.session.account.orders
            if not orders.live:
                return False
            records = [self._record(line, target) for target in targets]
            return all(record is not None and record.status in CLOSED for record in records)

    def _corrected(self, line: PrivateConnection, result: Any) -> Any:
        """After a second try: what it calls unknown may have been canceled by the first."""
        if isinstance(result, list):
            with line.changed:
                for entry in result:
                    kind = next(iter(entry), "")
                    record = self._record(line, (kind, entry.get(kind)))
                    if "error" in entry and record is not None and record.status == "canceled":
                        del entry["error"]
        return result

    def _seen(self, line: PrivateConnection, targets: List[Target], single: bool) -> Any:
        """The answer that the executions give. Raises OrderRejected for a single order that was not
        canceled."""
        entries: List[Json] = []
        with line.changed:
            for kind, name in targets:
                record = self._record(line, (kind, name))
                status = record.status if record is not None else UNKNOWN
                error = {} if status == "canceled" else {"error": f"{UNKNOWN_ORDER} (it is {status})"}
                entries.append({kind: name, **error})
        if single and "error" in entries[0]:
            raise rejected("cancel_order", entries[0]["error"], _named(targets[0]))
        return entries[0] if single else entries

    def _results(
        self,
        line: PrivateConnection,
        request: Request,
        targets: List[Target],
        userrefs: List[int],
        params: Mapping[str, Any],
        single: bool,
        ends: Optional[float],
    ) -> Any:
        error = refusal(request)
        if error is not None:
            raise rejected("cancel_order", error, _named(targets[0]) if single else params, request.req_id)
        if userrefs:
            if targets:
                self._wait_gone(line, targets, sooner(ends, SEEN_WITHIN))
            told = [self._client._decode(reply.frame) for reply in request.replies]
            return self._seen(line, targets, False) or [one["result"] for one in told if one.get("result")]
        if single:
            return self._client._decode(request.replies[0].frame).get("result") or dict([targets[0]])
        return _matched(targets, [self._client._decode(reply.frame) for reply in request.replies])

    def _wait_gone(self, line: PrivateConnection, targets: List[Target], ends: Optional[float]) -> bool:
        try:
            with line.changed:
                return line.wait(lambda: self._gone(line, targets), ends)
        except KrakenError:
            return False

    def batch_cancel(self, params: Mapping[str, Any], ends: Optional[float]) -> List[Json]:
        """See :meth:`Trading.batch_cancel`; ``params`` are checked."""
        client = self._client
        line = client._trading_line("batch_cancel", ends)
        targets: List[Target] = [("order_id", name) for name in params.get("orders", [])]
        targets += [("cl_ord_id", name) for name in params.get("cl_ord_id", [])]
        request, _ = client._trade_twice("batch_cancel", params, ends, done=lambda: self._gone(line, targets))
        if request is not None and request.replies:
            client._result(request, params)
        with line.changed:
            known = [target for target in targets if self._record(line, target) is not None]
            watched = line.session.account.orders.live
        if watched:
            self._wait_gone(line, known, ends)
        entries: List[Json] = []
        with line.changed:
            for kind, name in targets:
                record = self._record(line, (kind, name))
                entries.append({kind: name, "status": record.status if record is not None else UNKNOWN})
        return entries


def _named(target: Target) -> Json:
    return dict([target])


def _matched(targets: List[Target], replies: List[Json]) -> List[Json]:
    """One entry per target. Replies name the order they are about, if they succeeded."""
    done = [reply["result"] for reply in replies if isinstance(reply.get("result"), dict)]
    errors = [str(reply.get("error")) for reply in replies if reply.get("success") is not True]
    entries: List[Json] = []
    for kind, name in targets:
        if any(result.get(kind) == name for result in done):
            entries.append({kind: name})
        else:
            entries.append({kind: name, "error": errors.pop(0) if errors else "no reply names it"})
    return entries
