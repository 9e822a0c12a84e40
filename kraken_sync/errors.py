"""Every error this library raises.

* :class:`KrakenError`: the root; catching it catches them all

  * :class:`ConnectFailed` (``ConnectionError``): cannot resolve, refused, TLS, handshake
  * :class:`ConnectionLost` (``ConnectionError``): the connection went away under a request
  * :class:`ClientClosed`: the client was closed, before or during the call
  * :class:`ForkedClient`: the client belongs to another process
  * :class:`ReplyTimeout` (``TimeoutError``): what was waited for did not come in time
  * :class:`RequestRefused`: the exchange said no

    * :class:`SubscriptionRefused`: for at least one symbol of a subscription
    * :class:`RateLimited`: too many messages; nothing is lost, slow down

  * :class:`BookNotLive`: an order book that is not verified right now was read
  * :class:`StreamOverflow`: a stream that must not lose anything was read too slowly
  * :class:`CredentialsMissing`: a private call without an API key
  * :class:`UnknownSymbol` (``ValueError``): no such symbol, with the nearest names
  * :class:`UnknownChannel` (``ValueError``): no such channel, with the nearest name

Other bad arguments are plain ``ValueError`` or ``TypeError`` and raise before anything is sent.
Each class carries its data as attributes, so that nobody has to parse the text.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

__all__ = [
    "BookNotLive",
    "ClientClosed",
    "ConnectFailed",
    "ConnectionLost",
    "CredentialsMissing",
    "ForkedClient",
    "KrakenError",
    "RateLimited",
    "ReplyTimeout",
    "RequestRefused",
    "StreamOverflow",
    "SubscriptionRefused",
    "UnknownChannel",
    "UnknownSymbol",
]


class KrakenError(Exception):
    """Root of all errors of this library."""


class ConnectFailed(KrakenError, ConnectionError):
    """No connection could be made.

    Attributes:
        step: what failed: ``"resolve"``, ``"connect"``, ``"tls"``, ``"handshake"`` or ``"status"``.
        status: the HTTP status of a refused handshake, else None.
        permanent: True if trying again cannot help (a bad certificate, say).
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
    """

    def __init__(self, text: str, *, code: Optional[int] = None, reason: str = "") -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason or text


class ClientClosed(KrakenError):
    """The client is closed. ``start()`` opens it again."""


class ForkedClient(KrakenError):
    """A client was used in a forked child; make a new one in the child."""


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


class RateLimited(RequestRefused):
    """The exchange asks for fewer messages per second (``Exceeded msg rate``)."""


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


class StreamOverflow(KrakenError):
    """A stream that must not lose messages was read too slowly and lost ``dropped`` of them."""

    def __init__(self, text: str, *, dropped: int) -> None:
        super().__init__(text)
        self.dropped = dropped


class CredentialsMissing(KrakenError):
    """A private channel or method was used without an API key."""


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
