"""Kraken's REST API: signed and public requests, each within one deadline, and WebSocket tokens."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import Any, Dict, Mapping, Optional, Sequence, Union

from ..core.wire.credentials import Credentials
from ..core.wire.error_texts import INVALID_NONCE
from ..core.wire.rest_messages import Params, RestRequest, check_url, result_of
from ..core.wire.secret import Secret
from ..core.wire.signing import sign
from ..errors import (
    ConnectionLost,
    CredentialsMissing,
    KrakenError,
    RateLimited,
    ReplyTimeout,
    RestRefused,
)
from .dial import Proxy
from .http import LATE, Http, HttpCall
from .kept_error import fresh_copy
from .locks import new_lock
from .nonces import Nonces
from .rest_threads import GRACE, Job, RestThreads

LOCKOUT = 300.0
"""Seconds to leave the exchange alone after a temporary lockout; it lasts about 15 minutes."""


class Rest:
    """The REST side of one client. Any thread; private requests go out one after the other.

    Args:
        url: such as ``https://api.kraken.com``, without a path.
        credentials: the API key, or None.
        nonces: where its nonces come from.
        proxy: what ``https`` goes through.
    """

    url = ""

    def __init__(
        self,
        url: str,
        credentials: Optional[Credentials],
        nonces: Nonces,
        proxy: Optional[Proxy] = None,
    ) -> None:
        self.url = check_url(url)
        self.credentials = credentials
        self.nonces = nonces
        self._http = Http(proxy)
        self._lock = new_lock("tokens")
        self._threads = RestThreads()
        self._fetching: Optional[Job] = None

    def __repr__(self) -> str:
        return f"<Rest {self.url}>"

    def request(
        self,
        method: str,
        uri: str,
        params: Optional[Params] = None,
        *,
        deadline: Optional[float],
        auth: bool = True,
        do_json: bool = False,
        return_raw: bool = False,
        query_str: Optional[str] = None,
        extra_params: Union[str, Params, None] = None,
    ) -> Any:
        """Send a request and return the exchange's ``result``. See :meth:`SpotWSClient.request`."""
        method = method.upper()
        if not uri.startswith("/"):
            uri = f"/{uri}"
        body = dict(params or {})
        if extra_params is not None:
            body.update(json.loads(extra_params) if isinstance(extra_params, str) else extra_params)
        if auth and self.credentials is None:
            raise CredentialsMissing(missing(f"REST {uri}"))
        request, call = RestRequest(method, uri, body, do_json, query_str), HttpCall(deadline)
        request.body("0")  # what cannot be sent raises here and now
        job = self._threads.submit(partial(self._carry_out, request, call, auth, return_raw))
        try:
            if not self._threads.wait(job, deadline):
                call.cut(LATE)
                if not job.wait(GRACE):
                    raise ReplyTimeout(f"{uri}: {LATE}")
        except BaseException:
            call.cut("its caller was interrupted")
            raise
        return job.outcome()

    def _carry_out(self, request: RestRequest, call: HttpCall, auth: bool, return_raw: bool) -> Any:
        """Send it, on whatever thread this is."""
        own = self.credentials
        if not auth or own is None:
            return self._send(request, request.body(), {}, call, return_raw)
        try:
            return self._signed(request, own, call, return_raw)
        except RestRefused as error:
            if not error.error.startswith(INVALID_NONCE):
                raise
        # it was refused, so it had no effect: once more, with a later number
        return self._signed(request, own, call, return_raw)

    def _signed(self, request: RestRequest, own: Credentials, call: HttpCall, return_raw: bool) -> Any:
        def send(number: int) -> Any:
            nonce = str(number)
            body = request.body(nonce)
            signed = Secret(sign(request.uri + request.query, nonce, body, own.secret))
            hidden = {"API-Key": own.key, "API-Sign": signed}
            return self._send(request, body, hidden, call, return_raw)

        return self.nonces.use(call.deadline, send)

    def _send(
        self,
        request: RestRequest,
        body: bytes,
        hidden: Mapping[str, Secret],
        call: HttpCall,
        return_raw: bool,
    ) -> Any:
        data = b"" if request.in_url else body
        kind = "application/json" if request.do_json else "application/x-www-form-urlencoded"
        headers = {"Content-Type": f"{kind}; charset=utf-8"} if data else {}
        url = f"{self.url}{request.uri}{'?' if request.query else ''}{request.query}"
        response, text = self._http.exchange(request.method, url, data, headers, hidden, call, request.uri)
        if not return_raw:
            return result_of(request.uri, response.status_code, text)
        if response.status_code >= 300 or text[:100].lstrip().startswith(b"{"):
            result_of(request.uri, response.status_code, text)  # raises what it says
        return response

    def query_orders(self, names: Sequence[str], deadline: Optional[float]) -> Dict[str, Any]:
        """What REST says of these orders, by id."""
        params = {"txid": ",".join(names), "trades": True}
        result = self.request("POST", "/0/private/QueryOrders", params, deadline=deadline)
        return result if isinstance(result, dict) else {}

    # -- tokens ------------------------------------------------------------------------------

    def ws_token(self, deadline: Optional[float]) -> Dict[str, Any]:
        """A fresh WebSocket token and its lifetime: ``{"token": Secret, "expires": 900}``.

        Callers that come while one is being fetched share it.
        """
        while True:
            with self._lock:
                job = self._fetching
                if job is None:
                    job = self._fetching = self._threads.submit(partial(self._fetch_token, deadline))
            if not self._threads.wait(job, deadline):
                raise ReplyTimeout("no WebSocket token in time")
            with self._lock:
                if self._fetching is job:
                    self._fetching = None
            outcome = job.outcome()
            if isinstance(outcome, ReplyTimeout) and (deadline is None or time.monotonic() < deadline):
                continue  # whom we waited for had less time than we have
            if isinstance(outcome, KrakenError):
                raise fresh_copy(outcome)
            return dict(outcome)

    def _fetch_token(self, deadline: Optional[float]) -> Union[Dict[str, Any], KrakenError]:
        try:
            result = self.request("POST", "/0/private/GetWebSocketsToken", deadline=deadline)
            return {**result, "token": Secret(result["token"])}
        except KrakenError as error:
            return error
        except Exception as error:
            return ConnectionLost(f"the exchange's answer has no token: {type(error).__name__}")

    # -- life --------------------------------------------------------------------------------

    def reopen(self) -> None:
        """After :meth:`close`, allow requests again."""
        self._http.reopen()

    def close(self) -> None:
        """End everything under way; its callers get an error."""
        self._http.close()
        self._threads.close()


def patience(error: Optional[KrakenError]) -> float:
    """Seconds that the exchange asks for before the next try."""
    if not isinstance(error, RateLimited):
        return 0.0
    return LOCKOUT if "lockout" in error.error else 5.0


def missing(what: str) -> str:
    """What to say to somebody who has no API key."""
    return (
        f"Missing credentials. {what} needs an API key: pass key= and secret= to the client, or set "
        "KRAKEN_API_KEY and KRAKEN_API_SECRET in the environment"
    )
