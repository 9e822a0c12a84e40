"""Every error this library raises.

* :class:`KrakenError`: the root; catching it catches them all

  * :class:`ConnectFailed` (``ConnectionError``): cannot resolve, refused, TLS, handshake
  * :class:`ConnectionLost` (``ConnectionError``): the connection went away under a request
  * :class:`ClientClosed`: the client was closed, before or during the call
  * :class:`ForkedClient`: the client belongs to another process
  * :class:`ReplyTimeout` (``TimeoutError``): what was waited for did not come in time
  * :class:`RequestRefused`: the exchange said no

    * :class:`SubscriptionRefused`: for at least one symbol of a subscription
    * :class:`OrderRejected`: an order, amend or cancel; it certainly had no effect
    * :class:`RestRefused`: a REST request
    * :class:`RateLimited`: too many messages; nothing is lost, slow down
    * :class:`PermissionRefused`: the API key lacks a permission, which is named

  * :class:`OrderNotSent`: the request certainly did not reach the exchange
  * :class:`OrderOutcomeUnknown`: it may have; ``client.reconcile()`` finds out
  * :class:`OrderEnded`: what was waited for cannot happen any more
  * :class:`BookNotLive`: an order book that is not verified right now was read
  * :class:`AccountNotLive`: orders or balances that are not up to date right now were read
  * :class:`StreamOverflow`: a stream that must not lose anything was read too slowly
  * :class:`CredentialsMissing` (``ValueError``): a private call without an API key
  * :class:`CredentialsInvalid`: the API key is wrong
  * :class:`UnknownSymbol` (``ValueError``): no such symbol, with the nearest names
  * :class:`UnknownChannel` (``ValueError``): no such channel, with the nearest name

Other bad arguments are plain ``ValueError`` or ``TypeError`` and raise before anything is sent.
Each class carries its data as attributes, so that nobody has to parse the text.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple, Type, Union

__all__ = [
    "AccountNotLive",
    "BookNotLive",
    "ClientClosed",
    "ConnectFailed",
    "ConnectionLost",
    "CredentialsInvalid",
    "CredentialsMissing",
    "ForkedClient",
    "KrakenError",
    "OrderEnded",
    "OrderNotSent",
    "OrderOutcomeUnknown",
    "OrderRejected",
    "PermissionRefused",
    "RateLimited",
    "ReplyTimeout",
    "RequestRefused",
    "RestRefused",
    "StreamOverflow",
    "SubscriptionRefused",
    "UnknownChannel",
    "UnknownSymbol",
]


class KrakenError(Exception):
    """Root of all errors of this library. All of them can be copied and pickled.

    Attributes:
        permanent: True if trying again cannot help (a bad certificate, a wrong key).
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
        step: what failed: ``"resolve"``, ``"connect"``, ``"proxy"``, ``"tls"``, ``"handshake"``,
            ``"status"`` or, on the private side, ``"token"``.
        status: the HTTP status of a refused handshake, else None.
        retry_after: seconds that the exchange asked for before the next try, or None.
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
    """The connection ended while something was waiting on it.

    Attributes:
        code: the WebSocket close code, if the exchange gave one.
        reason: what ended it, in words.
        sent: False if what was to be sent certainly did not leave, not even in part.
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
    """A client was used in a forked child; make a new one in the child."""

    def __init__(
        self, text: str = "this client belongs to the parent process; make a new one in the child process"
    ) -> None:
        super().__init__(text)


class ReplyTimeout(KrakenError, TimeoutError):
    """What was waited for did not come in time. ``waited`` is in seconds."""

    def __init__(self, text: str, *, waited: Optional[float] = None) -> None:
        super().__init__(text)
        self.waited = waited


class RequestRefused(KrakenError):
    """The exchange refused a request.

    Attributes:
        method: the request's method, such as ``"subscribe"``.
        error: the exchange's own words.
        req_id: the request's id, if it had one.
    """

    def __init__(self, method: str, error: str, *, req_id: Optional[int] = None, text: str = "") -> None:
        super().__init__(text or f"{method} was refused: {error}")
        self.method = method
        self.error = error
        self.req_id = req_id


class SubscriptionRefused(RequestRefused):
    """At least one symbol of a subscription was refused; the whole call had no effect.

    Attributes:
        channel: the channel.
        refused: each refused symbol (None for a channel without symbols) with the reason.
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
    """The exchange refused an order, an amend or a cancel: it had no effect.

    Attributes:
        code: the part of ``error`` that names the kind, such as ``"EOrder:Insufficient funds"``.
        cl_ord_id: the client's id that was sent with it, if any.
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
        errors: all errors, in the exchange's words.
        status: the HTTP status.
    """

    def __init__(self, method: str, errors: Sequence[str], *, status: int = 200, text: str = "") -> None:
        self.errors: Tuple[str, ...] = tuple(errors)
        self.status = status
        super().__init__(method, self.errors[0] if self.errors else f"HTTP status {status}", text=text)


class RateLimited(RequestRefused):
    """The exchange asks for fewer requests (``Exceeded msg rate``, ``EAPI:Rate limit exceeded``)."""


class PermissionRefused(RequestRefused):
    """The API key lacks a permission. ``permission`` is its name on Kraken's page of API keys."""

    permanent = True

    def __init__(self, method: str, error: str, permission: str, *, req_id: Optional[int] = None) -> None:
        text = f"{method} was refused: {error}. The API key needs the permission {permission!r}"
        super().__init__(method, error, req_id=req_id, text=text)
        self.permission = permission


class OrderNotSent(KrakenError):
    """The request certainly did not reach the exchange; it may be tried again.

    Attributes:
        method: such as ``"add_order"``.
        reason: why, in words.
    """

    def __init__(self, method: str, reason: str) -> None:
        super().__init__(f"{method} was not sent: {reason}")
        self.method = method
        self.reason = reason


class OrderOutcomeUnknown(KrakenError):
    """The request was sent, and nothing is known of what became of it.

    Never send an order again: :meth:`SpotWSClient.reconcile` finds out what happened.

    Attributes:
        method: such as ``"add_order"``.
        cl_ord_id: the client's id of the order; the first one of a batch.
        order_id: the exchange's id, if the request named one.
        order_userref: the number that was sent instead of a ``cl_ord_id``.
        names: every id of every order that the request was about.
        sent_at: seconds since the epoch, by this machine's clock.
        deadline: seconds since the epoch, by the exchange's clock, after which the engine refuses it; None
            for a request without one.
        reason: why nothing is known.
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
        advice = f"Do not send it again: {how or 'client.orders shows what became of it'}"
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
    """An order ended without what was waited for. ``order`` is its last state."""

    def __init__(self, text: str, order: Any) -> None:
        super().__init__(text)
        self.order = order


class BookNotLive(KrakenError):
    """The book is not verified right now; ``book.stale`` reads it all the same.

    Attributes:
        symbol: the book's symbol.
        state: ``"SYNCING"``, ``"STALE"``, ``"RESYNCING"`` or ``"CLOSED"``.
        reason: why it is not live.
        since: seconds for which it has not been live, or None if it never was.
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
    """Orders or balances are not up to date right now; ``.stale`` reads them all the same.

    Attributes:
        table: ``"orders"`` or ``"balance"``.
        state: ``"SYNCING"``, ``"STALE"``, ``"RESYNCING"`` or ``"CLOSED"``.
        reason: why it is not live.
    """

    def __init__(self, table: str, state: str, reason: str) -> None:
        super().__init__(
            f"client.{table} is {state} ({reason}). client.{table}.stale reads the last known state anyway."
        )
        self.table = table
        self.state = state
        self.reason = reason


class StreamOverflow(KrakenError):
    """A stream that must not lose messages was read too slowly and lost ``dropped`` of them."""

    def __init__(self, text: str, *, dropped: int) -> None:
        super().__init__(text)
        self.dropped = dropped


class CredentialsMissing(KrakenError, ValueError):
    """A private channel or method was used without an API key."""


class CredentialsInvalid(KrakenError):
    """The exchange does not know the API key, or the secret does not belong to it."""

    permanent = True


class UnknownSymbol(KrakenError, ValueError):
    """Not a symbol of the exchange. ``suggestions`` are the nearest names, best first."""

    def __init__(self, symbol: str, suggestions: Sequence[str] = (), *, text: str = "") -> None:
        self.symbol = symbol
        self.suggestions: Tuple[str, ...] = tuple(suggestions)
        super().__init__(text or f"{symbol!r} is not a symbol. {did_you_mean(suggestions)}".strip())


class UnknownChannel(KrakenError, ValueError):
    """Not a channel of the exchange. ``suggestions`` are the nearest names, best first."""

    def __init__(self, channel: Any, suggestions: Sequence[str] = (), *, text: str = "") -> None:
        self.channel = channel
        self.suggestions: Tuple[str, ...] = tuple(suggestions)
        super().__init__(text or f"unknown channel {channel!r}. {did_you_mean(suggestions)}".strip())


def did_you_mean(names: Sequence[str]) -> str:
    """The sentence that offers ``names``, or nothing.

    >>> did_you_mean(["BTC/USD", "BTC/USDT"])
    "Did you mean 'BTC/USD' or 'BTC/USDT'?"
    """
    if not names:
        return ""
    return f"Did you mean {' or '.join(repr(name) for name in names)}?"
