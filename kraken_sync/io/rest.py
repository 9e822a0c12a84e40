"""Kraken's REST API: signed and public requests, each within one deadline, and WebSocket tokens.

Sources: Kraken's guides "Spot REST Authentication" and "Spot Websockets Authentication"; for the errors
https://docs.kraken.com/exchange/guides/general/errors.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from functools import partial
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from ..core.wire.credentials import Credentials
from ..core.wire.error_texts import INVALID_NONCE
from ..core.wire.rest_messages import Params, RestRequest, check_url, nonce_refused, result_of
from ..core.wire.secret import Secret
from ..core.wire.signing import sign
from ..core.wire.times import parse_time
from ..errors import (
    ClientClosed,
    ConnectionLost,
    CredentialsInvalid,
    CredentialsMissing,
    KrakenError,
    OrderOutcomeUnknown,
    RateLimited,
    ReplyTimeout,
    RestRefused,
)
from .http import LATE, Http, HttpCall
from .kept_error import fresh_copy
from .locks import new_lock
from .logs import log
from .nonces import Nonces
from .proxies import Proxy
from .rest_threads import GRACE, Job, RestThreads

LOCKOUT = 900.0
"""Seconds without a request after ``EGeneral:Temporary lockout``, which is a ban of about 15 minutes."""
_THROTTLED = re.compile(r"Throttled: ?(\d+)")
NONCE_PAUSE = 60.0
"""Seconds without a request after a nonce was refused twice: that does not pass by itself."""


class FetchedToken(NamedTuple):
    """The exchange's answer: ``{"token": Secret, "expires": 900}``."""

    result: Dict[str, Any]
    asked_at: float
    """When it was asked for (monotonic seconds): a token that is older than a refusal may be refused, too."""


class Rest:
    """Sends the REST requests of one client. Any thread; private requests are sent one after the other.

    Args:
        url: the base URL, such as ``https://api.kraken.com``, without a path; empty if ``check`` refuses all.
        credentials: the API key, or None.
        nonces: the source of the key's nonces.
        proxy: the proxy for ``https`` requests, or None.
        context: the TLS settings; None for the default ones.
        check: raises if a request, which it is given by name, may not be sent.
        otp: returns the key's two-factor password; called for each signed request.

    Raises:
        ValueError: ``url`` is not valid.
    """

    url = ""

    def __init__(
        self,
        url: str,
        credentials: Optional[Credentials],
        nonces: Nonces,
        proxy: Optional[Proxy] = None,
        context: Optional[ssl.SSLContext] = None,
        check: Callable[[str], None] = lambda what: None,
        otp: Optional[Callable[[], str]] = None,
    ) -> None:
        self.url = check_url(url) if url else ""
        self._check = check
        self._otp = otp
        self.credentials = credentials
        self.nonces = nonces
        self._http = Http(proxy, context)
        self._lock = new_lock("tokens")
        self._threads = RestThreads()
        self._fetching: Optional[Tuple[Job, float]] = None

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
        allowed: Callable[[], None] = lambda: None,
    ) -> Any:
        """Send a request, and return the exchange's ``result``; see :meth:`SpotWSClient.request`.

        ``allowed()`` is called right before a signed request is sent, after those before it were answered; it
        raises to prevent it.

        Blocks at most until ``deadline`` (monotonic seconds), and a quarter of a second for the outcome.
        """
        method = method.upper()
        if not uri.startswith("/"):
            uri = f"/{uri}"
        self.check(uri)
        body = dict(params or {})
        if extra_params is not None:
            body.update(json.loads(extra_params) if isinstance(extra_params, str) else extra_params)
        if auth and self.credentials is None:
            raise CredentialsMissing(missing(f"REST {uri}"))
        request, call = RestRequest(method, uri, body, do_json, query_str), HttpCall(deadline, allowed)
        request.body("0")  # raises for parameters that cannot be sent, on the caller's thread
        our_time = time.time()
        job = Job(partial(self._carry_out, request, call, auth, return_raw))
        try:
            self._threads.submit(job)
            if not self._threads.wait(job, deadline):
                # Ending the connection makes the request fail at once; its own account of what was sent is
                # better than a guess.
                call.cut(LATE)
                if not job.wait(GRACE) and request.is_order and call.sent:
                    raise order_unknown(request, LATE, our_time)
                if not job.wait(0.0):
                    raise ReplyTimeout(f"{uri}: {LATE}")
        except BaseException as error:
            # After a Ctrl-C the request must not go on, and hold the nonce, for nobody.
            call.cut("its caller was interrupted")
            if request.is_order and call.sent and not isinstance(error, KrakenError):
                log.warning("%s", order_unknown(request, "its caller was interrupted", our_time))
            raise
        try:
            return job.outcome()
        except (ConnectionLost, ReplyTimeout, ClientClosed) as error:
            if not request.is_order or not call.sent:
                raise
            raise order_unknown(request, str(error), our_time) from error

    def later(self, uri: str, params: Params, deadline: float, done: Callable[[Any], None]) -> None:
        """Send a public request without waiting: ``done`` gets the result or the KrakenError, on the thread
        that has carried it out. Raises if it may not be sent.
        """
        self.check(uri)
        request, call = RestRequest("GET", uri, params), HttpCall(deadline)

        def work() -> None:
            try:
                result = self._carry_out(request, call, False, False)
            except KrakenError as error:
                result = error
            done(result)

        self._threads.submit(Job(work))

    def check(self, uri: str) -> None:
        """Raise ExchangeMismatch if a request may not be sent: it would go to another exchange."""
        self._check(f"REST {uri}")

    def _carry_out(self, request: RestRequest, call: HttpCall, auth: bool, return_raw: bool) -> Any:
        """Send the request, and once more if the first attempt certainly changed nothing."""
        try:
            return self._once(request, call, auth, return_raw)
        except RestRefused as error:
            # Refused because of its nonce, so it had no effect. Another program with the same key can cause
            # this at any time; the next attempt has a higher nonce.
            if not error.error.startswith(INVALID_NONCE):
                raise
            if request.adds:  # as Kraken's own SDK: an order is never sent twice, whatever the reason
                raise nonce_refused(request.uri, error.error, self._clock_behind(call.deadline)) from error
            call.sent = False
            try:
                return self._once(request, call, auth, return_raw)
            except RestRefused as again:
                if not again.error.startswith(INVALID_NONCE):
                    raise
                raise nonce_refused(request.uri, again.error, self._clock_behind(call.deadline)) from again
        except ConnectionLost:
            # Typically the server has closed a connection that was idle, just as this request was sent on it.
            if request.changes:
                raise
        call.sent = False
        return self._once(request, call, auth, return_raw)

    def _clock_behind(self, deadline: Optional[float]) -> Optional[float]:
        """Return by how many seconds this machine's clock is behind the exchange's; None if it cannot be
        asked.
        """
        soon = time.monotonic() + 3.0
        call = HttpCall(soon if deadline is None else min(deadline, soon))
        try:
            answer = self._once(RestRequest("GET", "/0/public/Time", {}), call, False, False)
            return float(answer["unixtime"]) - time.time()
        except (KrakenError, LookupError, TypeError, ValueError):
            return None

    def _once(self, request: RestRequest, call: HttpCall, auth: bool, return_raw: bool) -> Any:
        own = self.credentials
        if not auth or own is None:
            return self._send(request, request.body(), {}, call, return_raw)
        return self._signed(request, own, call, return_raw)

    def _signed(self, request: RestRequest, own: Credentials, call: HttpCall, return_raw: bool) -> Any:
        # Signed and sent while it is this nonce's turn: the exchange refuses a nonce that arrives after a
        # higher one.
        # Before it is this request's turn, because a function of the user's may take its time.
        otp = self._password() if self._otp is not None and "otp" not in request.params else None

        def send(number: int) -> Any:
            nonce = str(number)
            body = request.body(nonce, otp)
            signed = Secret(sign(request.uri + request.query, nonce, body, own.secret))
            hidden = {"API-Key": own.key, "API-Sign": signed}
            call.allowed()
            return self._send(request, body, hidden, call, return_raw)

        return self.nonces.use(call.deadline, send)

    def _password(self) -> Secret:
        assert self._otp is not None
        try:
            password = self._otp()
        except Exception as error:
            raise CredentialsInvalid(f"otp= raised {error!r:.200}; nothing was sent") from error
        if not isinstance(password, str):
            raise CredentialsInvalid(f"otp= returned a {type(password).__name__}, not a string")
        return Secret(password)

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
        if self._otp is not None:
            response.request.body = None  # a raw response is returned to the user
        if not return_raw:
            return result_of(request.uri, response.status_code, text, request.changes)
        if response.status_code >= 300 or text[:100].lstrip().startswith(b"{"):
            result_of(request.uri, response.status_code, text, request.changes)  # raises what it says
        return response

    def query_orders(self, names: Sequence[str], deadline: Optional[float]) -> Dict[str, Any]:
        """Return the exchange's entries for these order ids, by id."""
        params = {"txid": ",".join(names), "trades": True}
        result = self.request("POST", "/0/private/QueryOrders", params, deadline=deadline)
        return result if isinstance(result, dict) else {}

    # -- tokens ------------------------------------------------------------------------------

    def ws_token(self, deadline: Optional[float], since: float = float("-inf")) -> FetchedToken:
        """Fetch a WebSocket token. Blocks at most until ``deadline``.

        Callers that come while one is being fetched share it, unless it was asked for before ``since``
        (monotonic seconds).
        """
        while True:
            with self._lock:
                job, asked_at = self._fetching or (None, 0.0)
                # One that is done was left by callers who were interrupted: its token may be old.
                mine = job is None or job.wait(0.0)
                if job is None or mine:
                    job, asked_at = Job(partial(self._fetch_token, deadline)), time.monotonic()
                    self._fetching = job, asked_at
            if mine:
                self._threads.submit(job)
            if not self._threads.wait(job, deadline):
                raise ReplyTimeout("no WebSocket token in time")
            with self._lock:
                if self._fetching is not None and self._fetching[0] is job:
                    self._fetching = None
            outcome = job.outcome()
            if asked_at < since:
                continue
            if isinstance(outcome, ReplyTimeout) and (deadline is None or time.monotonic() < deadline):
                continue  # the fetch had the earlier deadline of another caller
            if isinstance(outcome, KrakenError):
                raise fresh_copy(outcome)
            return FetchedToken(dict(outcome), asked_at)

    def _fetch_token(self, deadline: Optional[float]) -> Union[Dict[str, Any], KrakenError]:
        try:
            result = self.request("POST", "/0/private/GetWebSocketsToken", deadline=deadline)
            return {**result, "token": Secret(result["token"])}
        # Returned, not raised: several callers get the outcome, and each raises a copy of its own.
        except KrakenError as error:
            return error
        except Exception as error:
            return ConnectionLost(f"the exchange's answer has no token: {type(error).__name__}")

    # -- life --------------------------------------------------------------------------------

    def reopen(self) -> None:
        """Allow requests again after :meth:`close`."""
        self._http.reopen()

    def close(self) -> None:
        """End all requests under way; their callers get ClientClosed."""
        self._http.close()
        self._threads.close()


def order_unknown(request: RestRequest, reason: str, our_time: float) -> OrderOutcomeUnknown:
    """Return the error for a request about orders that may have been sent and has no clear answer."""
    params = request.params

    def texts(name: str) -> List[str]:
        value = params.get(name)
        return [value] if isinstance(value, str) else []

    userref = params.get("userref")
    return OrderOutcomeUnknown(
        request.endpoint,
        reason,
        cl_ord_ids=texts("cl_ord_id"),
        order_ids=texts("txid"),
        order_userrefs=[userref] if isinstance(userref, int) and not isinstance(userref, bool) else [],
        sent_at=our_time,
        deadline=parse_time(params.get("deadline")),
    )


def patience(error: Optional[KrakenError]) -> float:
    """Return the seconds to wait before the next attempt: 5 after a rate limit, more after a lockout, or if
    nonces are refused. ``Throttled:`` is followed by the Unix time before which nothing is to be asked.
    """
    if isinstance(error, RestRefused) and error.error.startswith(INVALID_NONCE):
        return NONCE_PAUSE
    if not isinstance(error, RateLimited):
        return 0.0
    until = _THROTTLED.search(error.error)
    if until is not None:  # not longer than a ban, since one of the two clocks may be wrong
        return min(max(5.0, int(until[1]) - time.time()), LOCKOUT)
    return LOCKOUT if "lockout" in error.error else 5.0


def missing(what: str) -> str:
    """Return the error text for a call that needs an API key."""
    return (
        f"Missing credentials. {what} needs an API key: pass key= and secret= to the client, or set "
        "KRAKEN_API_KEY and KRAKEN_API_SECRET in the environment"
    )
