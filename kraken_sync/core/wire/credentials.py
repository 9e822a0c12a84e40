"""An API key with its secret, and the names of the permissions that it may lack."""

from __future__ import annotations

from typing import Callable, Mapping, NamedTuple, Optional

from ...errors import CredentialsInvalid, CredentialsMissing
from .secret import Secret
from .signing import check_secret

VARIABLES = (("KRAKEN_API_KEY", "KRAKEN_API_SECRET"), ("KRAKEN_SPOT_API_KEY", "KRAKEN_SPOT_SECRET_KEY"))
"""Pairs of environment variables; the first pair of which one is set is used."""

_WEBSOCKETS = "WebSocket interface - On"
_QUERY = "Orders and trades - Query open orders & trades"
_CLOSED = "Orders and trades - Query closed orders & trades"
_MODIFY = "Orders and trades - Create & modify orders"
_CANCEL = "Orders and trades - Cancel & close orders"
_FUNDS = "Funds permissions - Query"
_NEEDED: Mapping[str, str] = {
    "GetWebSocketsToken": _WEBSOCKETS,
    "level3": _WEBSOCKETS,
    "executions": _QUERY,
    "OpenOrders": _QUERY,
    "QueryOrders": _QUERY,
    "ClosedOrders": _CLOSED,
    "TradesHistory": _CLOSED,
    "balances": _FUNDS,
    "Balance": _FUNDS,
    "BalanceEx": _FUNDS,
    "add_order": _MODIFY,
    "amend_order": _MODIFY,
    "edit_order": f"{_MODIFY} and {_CANCEL}",
    "batch_add": f"{_MODIFY} and {_CANCEL}",
    "cancel_order": _CANCEL,
    "cancel_all": _CANCEL,
    "cancel_all_orders_after": _CANCEL,
    "batch_cancel": _CANCEL,
    "AddOrder": _MODIFY,
    "AmendOrder": _MODIFY,
    "EditOrder": f"{_MODIFY} and {_CANCEL}",
    "AddOrderBatch": f"{_MODIFY} and {_CANCEL}",
    "CancelOrder": _CANCEL,
    "CancelAll": _CANCEL,
    "CancelAllOrdersAfter": _CANCEL,
    "CancelOrderBatch": _CANCEL,
}


class Credentials(NamedTuple):
    """An API key and its secret. The repr shows neither."""

    key: Secret
    secret: Secret


def credentials_of(key: Secret, secret: Secret) -> Optional[Credentials]:
    """Return checked credentials; None if both are missing.

    Raises:
        CredentialsMissing: one of the two is missing.
        CredentialsInvalid: the key or the secret cannot be valid.
    """
    if not key and not secret:
        return None
    if not (key and secret):
        raise CredentialsMissing(f"an API key has two parts, and the {'secret' if key else 'key'} is missing")
    found = Credentials(Secret(key.reveal().strip()), Secret(secret.reveal().strip()))
    if not all("!" <= letter <= "~" for letter in found.key.reveal()):
        raise CredentialsInvalid("the API key has characters that none has; copy it again, in one line")
    check_secret(found.secret)
    return found


def permission_for(what: str) -> str:
    """Return the permission that a method, channel or endpoint needs, as Kraken's API key page names it."""
    return _NEEDED.get(what.rpartition("/")[2], f"for {what}")


def from_environment(lookup: Callable[[str], Secret]) -> Optional[Credentials]:
    """Return the credentials in the environment, or None; ``lookup`` returns the value of a variable.

    Raises:
        CredentialsMissing, CredentialsInvalid: see :func:`credentials_of`.
    """
    for names in VARIABLES:
        key, secret = (lookup(name) for name in names)
        if key or secret:
            return credentials_of(key, secret)
    return None
