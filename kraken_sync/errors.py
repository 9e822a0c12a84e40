"""The errors that this library raises.

* :class:`KrakenError`: the base class of all others

  * :class:`ConnectFailed` (``ConnectionError``): no connection could be made
  * :class:`ConnectionLost` (``ConnectionError``): the connection ended during a call
  * :class:`ClientClosed`: the client was closed before or during the call
  * :class:`ForkedClient`: the client belongs to another process
  * :class:`ReplyTimeout` (``TimeoutError``): a reply or an event did not arrive in time

    * :class:`StreamTimeout` (``queue.Empty``): no message of a stream did

  * :class:`RequestRefused`: the exchange refused a request

    * :class:`SubscriptionRefused`: a subscription, for at least one of its symbols
    * :class:`OrderRejected`: an order, an amend or a cancel, which had no effect
    * :class:`RestRefused`: a REST request
    * :class:`RateLimited`: a request, because there were too many
    * :class:`PermissionRefused`: a request for which the API key lacks a permission

  * :class:`OrderNotSent`: the request certainly did not reach the exchange
  * :class:`OrderOutcomeUnknown`: the request may have reached it; see ``client.reconcile()``
  * :class:`OrderEnded`: an order ended in a way that excludes what was waited for
  * :class:`BookNotLive`: an order book was read that is not verified at the moment
  * :class:`AccountNotLive`: orders or balances were read that are not up to date at the moment
  * :class:`StreamOverflow`: messages were dropped because a stream was read too slowly
  * :class:`CredentialsMissing` (``ValueError``): a private call without an API key
  * :class:`CredentialsInvalid`: the exchange does not accept the API key
  * :class:`ExchangeMismatch` (``ValueError``): it would have gone to Kraken instead of another exchange
  * :class:`UnknownSymbol` (``ValueError``): there is no such symbol
  * :class:`UnknownChannel` (``ValueError``): there is no such channel

Other invalid arguments raise ``ValueError`` or ``TypeError`` before anything is sent. The classes have their
data as attributes. Source: https://docs.kraken.com/exchange/guides/general/errors.
"""

from __future__ import annotations

import queue
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Type, Union


class KrakenError(Exception):
    """The base class of all errors of this library. All of them can be copied and pickled.

    Attributes:
        permanent: True if trying again cannot help, as after a wrong API key or an untrusted certificate.
    """

    permanent = False

    def __reduce__(self) -> Any:
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: Type[KrakenError], args: Tuple[Any, ...], state: Dict[str, Any]) -> KrakenError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class ConnectFailed(KrakenError, ConnectionError):
    """No connection could be made.

    Attributes:
        step: the step that failed: ``"resolve"``, ``"connect"``, ``"proxy"``, ``"tls"``, ``"handshake"``,
            ``"status"``, ``"thread"`` or, for a private connection, ``"token"``.
        status: the HTTP status of a refused handshake, or None.
        retry_after: the seconds that the exchange asks to wait before the next attempt, or None.
    """

    def __init__(
        self,
        text: str,
        *,
        step: str = "connect",
        status: Optional[int] = None,
        permanent: bool = False,
        retry_after: Optional[float] = None,
    ) -> None:
        super().__init__(text)
        self.step = step
        self.status = status
        self.permanent = permanent
        self.retry_after = retry_after


class ConnectionLost(KrakenError, ConnectionError):
    """The connection ended during a call.

    Attributes:
        code: the WebSocket close code of the exchange, or None.
        reason: why the connection ended, as text.
        sent: False if certainly no byte of the request was sent.
    """

    def __init__(self, text: str, *, code: Optional[int] = None, reason: str = "", sent: bool = True) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason or text
        self.sent = sent


class ClientClosed(KrakenError):
    """The client is closed. ``start()`` opens it again."""

    def __init__(self, text: str = "the client is closed; start() opens it again") -> None:
        super().__init__(text)


class ForkedClient(KrakenError):
    """A client was used in a forked process. Make a new client in that process."""

    def __init__(
        self, text: str = "this client belongs to the parent process; make a new one in the child process"
    ) -> None:
        super().__init__(text)


class ReplyTimeout(KrakenError, TimeoutError):
    """A reply or an event did not arrive in time. ``waited`` is the time waited in seconds, or None."""

    def __init__(self, text: str, *, waited: Optional[float] = None) -> None:
        super().__init__(text)
        self.waited = waited


class StreamTimeout(ReplyTimeout, queue.Empty):
    """No message of a stream arrived in time; reading may go on. ``waited`` is the time waited in seconds."""


class RequestRefused(KrakenError):
    """The exchange refused a request.

    Attributes:
        method: the request's method, such as ``"subscribe"``.
        error: the exchange's error text.
        req_id: the request's id, or None.
    """

    def __init__(self, method: str, error: str, *, req_id: Optional[int] = None, text: str = "") -> None:
        super().__init__(text or f"{method} was refused: {error}")
        self.method = method
        self.error = error
        self.req_id = req_id


class SubscriptionRefused(RequestRefused):
    """The exchange refused at least one symbol of a subscription; the whole call had no effect.

    Attributes:
        channel: the channel's name.
        refused: a dict of each refused symbol (None for a channel without symbols) and the reason.
    """

    def __init__(
        self,
        channel: str,
        refused: Mapping[Optional[str], str],
        *,
        method: str = "subscribe",
        req_id: Optional[int] = None,
        hints: Sequence[str] = (),
        text: str = "",
    ) -> None:
        self.channel = channel
        self.refused: Dict[Optional[str], str] = dict(refused)
        reasons = "; ".join(
            f"{symbol}: {error}" if symbol else error for symbol, error in self.refused.items()
        )
        text = text or f"{method} to {channel} was refused, nothing was changed: {reasons}"
        if hints:
            text += ". " + " ".join(hints)
        first = next(iter(self.refused.values()), "")
        super().__init__(method, first, req_id=req_id, text=text)


class OrderRejected(RequestRefused):
    """The exchange rejected an order, an amend or a cancel, which had no effect.

    Attributes:
        code: the part of ``error`` without details, such as ``"EOrder:Insufficient funds"``.
        cl_ord_id: the client's id of the order that was sent, or None.
    """

    def __init__(
        self,
        method: str,
        error: str,
        *,
        req_id: Optional[int] = None,
        cl_ord_id: Optional[str] = None,
        hint: str = "",
    ) -> None:
        super().__init__(
            method, error, req_id=req_id, text=f"{method} was rejected: {error}{hint and '. '}{hint}"
        )
        self.code = ":".join(error.split(":")[:2])
        self.cl_ord_id = cl_ord_id


class RestRefused(RequestRefused):
    """The exchange refused a REST request.

    Attributes:
        errors: all error texts of the exchange.
        status: the HTTP status.
    """

    def __init__(self, method: str, errors: Sequence[str], *, status: int = 200, text: str = "") -> None:
        self.errors: Tuple[str, ...] = tuple(errors)
        self.status = status
        super().__init__(method, self.errors[0] if self.errors else f"HTTP status {status}", text=text)


class RateLimited(RequestRefused):
    """There were too many requests (``Exceeded msg rate``, ``EAPI:Rate limit exceeded``)."""


class PermissionRefused(RequestRefused):
    """The API key lacks a permission. ``permission`` is its name on Kraken's page for API keys."""

    permanent = True

    def __init__(self, method: str, error: str, permission: str, *, req_id: Optional[int] = None) -> None:
        text = f"{method} was refused: {error}. The API key needs the permission {permission!r}"
        super().__init__(method, error, req_id=req_id, text=text)
        self.permission = permission


class OrderNotSent(KrakenError):
    """The request certainly did not reach the exchange, so it may be sent again.

    Attributes:
        method: the request's method, such as ``"add_order"``.
        reason: why it was not sent, as text.
    """

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(f"{method} was not sent: {reason}")
        self.method = method
        self.reason = reason


class OrderOutcomeUnknown(KrakenError):
    """The request was sent, and it is not known whether it had an effect.

    Do not send an order again; :meth:`SpotWSClient.reconcile` finds out what became of it.

    Attributes:
        method: the request's method, such as ``"add_order"``.
        cl_ord_id: the client's id of the order (of a batch, the first one), or None.
        order_id: the exchange's id of the order, if the request had one.
        order_userref: the number that was sent in place of a ``cl_ord_id``, or None.
        names: all ids of all orders of the request.
        sent_at: when it was sent, in seconds since the epoch by this machine's clock.
        deadline: when the engine stops accepting it, in seconds since the epoch by the exchange's clock;
            None for a request without a deadline.
        reason: why the outcome is unknown, as text.
    """

    def __init__(
        self,
        method: str,
        reason: str,
        *,
        cl_ord_ids: Sequence[str] = (),
        order_ids: Sequence[str] = (),
        order_userrefs: Sequence[int] = (),
        sent_at: float,
        deadline: Optional[float] = None,
    ) -> None:
        self.names: Tuple[Union[str, int], ...] = (*cl_ord_ids, *order_ids, *order_userrefs)
        how = f"client.reconcile({self.names[0]!r}) finds out what became of it" if self.names else ""
        if len(self.names) > 1:
            how = "client.reconcile() of each of error.names finds out what became of it"
        what = "It may be live" if method in ("add_order", "batch_add") else "It may have been carried out"
        advice = f"{what}. Do not send it again: {how or 'client.orders shows what became of it'}"
        if method in ("cancel_all", "cancel_all_orders_after"):
            advice = "Call it again: twice has the same effect as once"
        super().__init__(f"{method} was sent, but its outcome is unknown ({reason}). {advice}")
        self.method = method
        self.reason = reason
        self.cl_ord_id = cl_ord_ids[0] if cl_ord_ids else None
        self.order_id = order_ids[0] if order_ids else None
        self.order_userref = order_userrefs[0] if order_userrefs else None
        self.sent_at = sent_at
        self.deadline = deadline


class OrderEnded(KrakenError):
    """An order ended in a way that excludes what was waited for. ``order`` is its last state."""

    def __init__(self, text: str, order: Any) -> None:
        super().__init__(text)
        self.order = order


class BookNotLive(KrakenError):
    """The book is not verified at the moment; ``book.stale`` reads its last known state.

    Attributes:
        symbol: the book's symbol.
        state: ``"SYNCING"``, ``"STALE"``, ``"RESYNCING"`` or ``"CLOSED"``.
        reason: why the book is not live, as text.
        since: the seconds for which it has not been live, or None if it never was.
    """

    def __init__(
        self, symbol: str, state: str, reason: str, *, since: Optional[float] = None, text: str = ""
    ) -> None:
        ago = "" if since is None else f", for {since:.1f} s"
        super().__init__(
            text or f"{symbol} is {state} ({reason}{ago}). book.stale reads the last known state anyway."
        )
        self.symbol = symbol
        self.state = state
        self.reason = reason
        self.since = since


class AccountNotLive(KrakenError):
    """Orders or balances are not up to date at the moment; ``.stale`` reads their last known state.

    Attributes:
        table: ``"orders"`` or ``"balance"``.
        state: ``"SYNCING"``, ``"STALE"``, ``"RESYNCING"`` or ``"CLOSED"``.
        reason: why the table is not live, as text.
    """

    def __init__(self, table: str, state: str, reason: str) -> None:
        super().__init__(
            f"client.{table} is {state} ({reason}). client.{table}.stale reads the last known state anyway."
        )
        self.table = table
        self.state = state
        self.reason = reason


class StreamOverflow(KrakenError):
    """A stream with the policy ``raise`` was read too slowly; ``dropped`` messages were dropped."""

    def __init__(self, text: str, *, dropped: int) -> None:
        super().__init__(text)
        self.dropped = dropped


class CredentialsMissing(KrakenError, ValueError):
    """A private channel or method was used without an API key."""


class CredentialsInvalid(KrakenError):
    """The exchange does not accept the API key, or the secret does not belong to it."""

    permanent = True


class ExchangeMismatch(KrakenError, ValueError):
    """A request would have gone to Kraken, though the client was given the address of another exchange.

    Nothing was sent, and the API key was not used.
    """

    permanent = True


class UnknownSymbol(KrakenError, ValueError):
    """The exchange has no such symbol. ``suggestions`` are the most similar names, best first."""

    def __init__(self, symbol: str, suggestions: Sequence[str] = (), *, text: str = "") -> None:
        self.symbol = symbol
        self.suggestions: Tuple[str, ...] = tuple(suggestions)
        super().__init__(text or f"{symbol!r} is not a symbol. {did_you_mean(suggestions)}".strip())


class UnknownChannel(KrakenError, ValueError):
    """The exchange has no such channel. ``suggestions`` are the most similar names, best first."""

    def __init__(self, channel: Any, suggestions: Sequence[str] = (), *, text: str = "") -> None:
        self.channel = channel
        self.suggestions: Tuple[str, ...] = tuple(suggestions)
        super().__init__(text or f"unknown channel {channel!r}. {did_you_mean(suggestions)}".strip())


def did_you_mean(names: Sequence[str]) -> str:
    """Return a sentence that offers ``names``, or an empty text if there are none.

    >>> did_you_mean(["BTC/USD", "BTC/USDT"])
    "Did you mean 'BTC/USD' or 'BTC/USDT'?"
    """
    if not names:
        return ""
    return f"Did you mean {' or '.join(repr(name) for name in names)}?"
