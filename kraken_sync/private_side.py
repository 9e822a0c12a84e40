"""A client's REST calls, and the live account."""

from __future__ import annotations

import uuid
from typing import Any, Dict, Mapping, Optional, Union

from .core.wire.secret import Secret
from .io.deadline import deadline_of
from .lifecycle import Lifecycle
from .market.history import History
from .offered import offered
from .trading.account import Balance, Orders


class PrivateSide(Lifecycle):
    """REST, tokens, orders and balances of a client."""

    def request(
        self,
        method: str,
        uri: str,
        params: Optional[Mapping[str, Any]] = None,
        timeout: Optional[float] = 10.0,
        *,
        auth: bool = True,
        do_json: bool = False,
        return_raw: bool = False,
        query_str: Optional[str] = None,
        extra_params: Union[str, Mapping[str, Any], None] = None,
    ) -> Any:
        """Send a REST request and return the exchange's ``result``. Blocks up to ``timeout`` seconds in all.

        Private requests go out one after the other, each with a nonce higher than the last. Nothing is ever
        sent twice, but for a request that was refused for its nonce. Needs no started client.

        Args:
            method: ``"GET"``, ``"POST"``, ...
            uri: the path, such as ``"/0/private/Balance"``.
            params: parameters, without the nonce.
            timeout: seconds for everything together, None for ever.
            auth: sign it.
            do_json: send the parameters as JSON instead of a form.
            return_raw: return the ``requests.Response``, for zip exports and the like.
            query_str: added to the query as it stands.
            extra_params: further parameters, as a dict or as JSON text.

        Raises:
            RestRefused: with the exchange's words; ``CredentialsInvalid``, ``PermissionRefused`` and
                ``RateLimited`` for what they name.
            CredentialsMissing: ``auth`` without an API key.
            ReplyTimeout: no complete answer in time; a request that changes something may have been carried
                out.
            ConnectFailed, ConnectionLost: no connection, or none any more.
        """
        self._guard_fork()
        if auth:
            self._credentials(f"REST {uri}")
        return self._rest.request(
            method,
            uri,
            params,
            deadline=deadline_of(timeout),
            auth=auth,
            do_json=do_json,
            return_raw=return_raw,
            query_str=query_str,
            extra_params=extra_params,
        )

    def get_ws_token(self, timeout: Optional[float] = 10.0) -> Dict[str, Any]:
        """A fresh WebSocket token, as ``{"token": str, "expires": 900}``. Callers at the same time share one.

        The client fetches its own; this is for messages of your own.

        Raises:
            As :meth:`request`.
        """
        self._guard_fork()
        self._credentials("get_ws_token()")
        result = self._rest.ws_token(deadline_of(timeout))
        token = result["token"]
        return {**result, "token": token.reveal() if isinstance(token, Secret) else token}

    def get_nonce(self) -> str:
        """A nonce higher than every one before it, from the same source as this client's own requests."""
        return str(self._rest.nonces.next())

    @property
    def return_unique_id(self) -> str:
        """A random id, 32 hexadecimal digits."""
        return uuid.uuid4().hex

    @offered
    def rest(self) -> History:
        """Public REST: what was before the stream. See :class:`History`."""
        return History(self)

    # -- account -----------------------------------------------------------------------------

    @offered
    def orders(self) -> Orders:
        """The account's orders, live. See :class:`Orders`."""
        return self._orders()

    def _orders(self) -> Orders:
        return Orders(lambda timeout: self._private("client.orders", timeout))

    @offered
    def balance(self) -> Balance:
        """The account's balances, live. See :class:`Balance`."""

        def held(timeout: Optional[float]) -> Mapping[str, Any]:
            result = self.request("POST", "/0/private/BalanceEx", timeout=timeout)
            return result if isinstance(result, dict) else {}

        return Balance(lambda timeout: self._private("client.balance", timeout), held)
