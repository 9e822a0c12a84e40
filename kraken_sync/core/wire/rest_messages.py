"""REST requests and answers as text.

Source: Kraken's REST guides and https://docs.kraken.com/exchange/guides/general/errors: ``error`` is a list
of ``severity category:text``, also with HTTP status 200.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Dict, List, Mapping, NamedTuple, Optional
from urllib.parse import urlencode, urlsplit

from ...errors import (
    ConnectionLost,
    CredentialsInvalid,
    KrakenError,
    PermissionRefused,
    RateLimited,
    RestRefused,
)
from . import error_texts as refusals
from .credentials import permission_for
from .printable import printable, without_login
from .secret import HiddenBytes, Secret

Params = Mapping[str, Any]
_EXCHANGE_ERROR = re.compile(r"E[A-Za-z]+:")
CLOCK_DOUBT = 5.0
"""A clock that differs by more seconds than this is wrong; REST's own time has whole seconds."""


def check_url(url: str) -> str:
    """Return ``url`` without a trailing slash.

    Raises:
        ValueError: it is not a URL, or would send an API key unencrypted to another machine.
    """
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise ValueError(f"{without_login(url)!r} is not a URL such as 'https://api.kraken.com'")
    if parts.scheme == "http" and not local:
        raise ValueError(f"{without_login(url)!r} would send signed requests in clear; use https://")
    return url.rstrip("/")


ORDERS = frozenset(
    "AddOrder AddOrderBatch AmendOrder EditOrder CancelOrder CancelAll CancelAllOrdersAfter "
    "CancelOrderBatch".split()
)
READS = frozenset(
    "Balance BalanceEx TradeBalance OpenOrders ClosedOrders QueryOrders OrderAmends TradesHistory "
    "QueryTrades OpenPositions Ledgers QueryLedgers TradeVolume CreditLines ExportStatus RetrieveExport "
    "DepositMethods DepositStatus WithdrawMethods WithdrawAddresses WithdrawInfo WithdrawStatus "
    "GetWebSocketsToken Earn/Strategies Earn/Allocations Earn/AllocateStatus Earn/DeallocateStatus "
    "ListSubaccounts".split()
)
"""Private endpoints that change nothing; every other one may."""


class RestRequest(NamedTuple):
    """One REST request without its nonce."""

    method: str
    uri: str
    params: Params
    do_json: bool = False
    query_str: Optional[str] = None

    @property
    def in_url(self) -> bool:
        """Whether the parameters are sent in the URL, so that the body is empty."""
        return self.method in ("GET", "DELETE")

    @property
    def endpoint(self) -> str:
        """The last parts of the path, such as ``AddOrder`` or ``Earn/Allocate``."""
        return self.uri.partition("/private/")[2].strip("/")

    @property
    def changes(self) -> bool:
        """Whether it may change something at the exchange, so that it must not be sent twice."""
        return self.method != "GET" and bool(self.endpoint) and self.endpoint not in READS

    @property
    def is_order(self) -> bool:
        """Whether it places, changes or cancels orders."""
        return self.endpoint in ORDERS

    @property
    def adds(self) -> bool:
        """Whether it places or changes orders."""
        return self.is_order and not self.endpoint.startswith("Cancel")

    @property
    def query(self) -> str:
        """The query string, without the ``?``."""
        own = urlencode(_given(self.params), doseq=True) if self.in_url else ""
        return "&".join(filter(None, (own, self.query_str)))

    def body(self, nonce: Optional[str] = None, otp: Optional[Secret] = None) -> bytes:
        """Return the parameters as a form or as JSON: what is signed, and what is sent unless ``in_url``.

        ``otp`` is the key's two-factor password, unless the parameters have one.
        """
        own = otp.reveal() if otp is not None else None
        given = _given({"nonce": nonce, "otp": own, **self.params})
        if self.do_json:
            return HiddenBytes(json.dumps(given).encode())
        words = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()
        }
        return HiddenBytes(urlencode(words, doseq=True).encode())


def _given(params: Params) -> Dict[str, Any]:
    return {name: _plain(value) for name, value in params.items() if value is not None}


def _plain(value: Any) -> Any:
    """Numbers as fixed-point digits: the exchange does not read exponents, which Python writes for small
    ones."""
    if isinstance(value, (Decimal, float)):
        number = Decimal(float.__repr__(value)) if isinstance(value, float) else value
        if not number.is_finite():
            raise ValueError(f"{value} cannot be sent")
        return format(number, "f")
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value


def nonce_refused(uri: str, error: str, behind: Optional[float]) -> RestRefused:
    """Return the error for a nonce that was refused twice.

    Args:
        uri: the path of the request.
        error: the exchange's words.
        behind: by how many seconds this machine's clock is behind the exchange's; None if that is not known.
    """
    if behind is not None and behind > CLOCK_DOUBT:
        why = (
            f"this machine's clock is {behind:.0f} s behind the exchange's, and nonces are made from it: set "
            "the clock"
        )
    else:
        why = (
            "another program has used this API key with higher nonces. Give each program a key of its own; "
            "here this one is of no use any more, since nonces can only grow"
        )
        if behind is None:
            why = f"either this machine's clock is behind, or {why}"
    return RestRefused(uri, [error], text=f"{uri} was refused: {error}: {why}")


def result_of(uri: str, status: int, text: bytes, changes: bool = False) -> Any:
    """Return the ``result`` of an answer.

    Raises:
        CredentialsInvalid, PermissionRefused, RateLimited, RestRefused: the exchange refused the request.
        ConnectionLost: the answer is incomplete; or, for what ``changes`` something, it is one of a server in
            between, or one in which the exchange itself does not know what became of it.
    """
    if 300 <= status < 400:
        raise RestRefused(uri, [f"HTTP {status}: a redirect, which is not followed"], status=status)
    try:
        envelope = json.loads(text)
        errors = envelope.get("error") or []
        errors = [printable(str(one)) for one in (errors if isinstance(errors, list) else [errors])]
    except (ValueError, AttributeError, RecursionError):
        errors = None
    if errors is None:
        # The text is repeated only if it is a web page (of a proxy, for example): it may contain a token.
        words = text[:120].decode("utf-8", "replace").strip() if text.lstrip().startswith(b"<") else ""
        if changes and (_late(status) or words):
            raise ConnectionLost(
                f"{uri} was sent, and its outcome is unknown: HTTP {status} "
                f"of a server before the exchange {words}"
            )
        if status < 400 and not words:
            raise ConnectionLost(f"{uri} was sent, but what came back is no whole answer ({len(text)} bytes)")
        again = "; it may be tried again" if status >= 500 else ""
        raise RestRefused(
            uri,
            [f"HTTP {status}"],
            status=status,
            text=f"{uri}: HTTP {status}, no answer of the exchange{again} {words}".rstrip(),
        )
    # The first letter is the severity: W for a warning, E for an error.
    failures = [one for one in errors if not one.startswith("W")]
    if not failures and status < 400:
        return envelope.get("result")
    if changes and _late(status) and not any(map(_EXCHANGE_ERROR.match, failures)):
        # Servers in between write JSON, too, when the exchange's answer did not reach them in time.
        words = f" {failures[0]!r:.120}" if failures else ""
        raise ConnectionLost(f"{uri} was sent, and its outcome is unknown: HTTP {status}{words}")
    if changes and any(one.startswith(refusals.AMBIGUOUS) for one in failures):
        raise ConnectionLost(f"{uri} was sent, and its outcome is unknown: the exchange says {failures[0]!r}")
    raise _refused(uri, failures or [f"HTTP {status}"], status)


def _late(status: int) -> bool:
    """Return whether a server with this HTTP status may have passed the request on before it gave up."""
    return status >= 500 or status == 408


def _refused(uri: str, errors: List[str], status: int) -> KrakenError:
    first = errors[0]
    if first.startswith(refusals.INVALID_KEY):
        hint = {
            "EAPI:Invalid key": "the exchange does not know this API key",
            "EAPI:Invalid signature": "the secret does not belong to this API key; or the key has two-factor "
            "authentication, and needs otp=",
        }.get(first, "the account cannot be used")
        return CredentialsInvalid(f"{uri}: {first}: {hint}")
    if first.startswith(refusals.PERMISSION_DENIED):
        return PermissionRefused(uri, first, permission_for(uri))
    if first.startswith(refusals.LIMITED):
        return RateLimited(uri, first)
    return RestRefused(uri, errors, status=status, text=f"{uri} was refused: {'; '.join(errors)}")
