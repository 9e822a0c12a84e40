"""Kraken's REST API: signed and public requests, each within one deadline. The only importer of requests.

One session, no redirects, the exchange's errors as ours. ``requests`` knows only a timeout per read, so a
peer that drips its answer would be waited for without end: a timer cuts the connection of a request at its
deadline.
"""

from __future__ import annotations

import copy
import json
import os
import re
import socket
import threading
import time
from contextlib import contextmanager
from typing import Any, Dict, Iterator, List, Mapping, Optional, Set, Tuple, Union
from urllib.parse import urlencode, urlsplit

from ..core.credentials import Credentials, permission_for
from ..core.secret import Secret
from ..core.signing import sign
from ..errors import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    CredentialsInvalid,
    CredentialsMissing,
    ForkedClient,
    KrakenError,
    PermissionRefused,
    RateLimited,
    ReplyTimeout,
    RestRefused,
)
from .condition import Event
from .dial import Proxy
from .nonces import Nonces

MAX_BODY = 256 * 1024 * 1024
_PIECE = 64 * 1024
LATE = "no complete answer in time"
_INVALID = ("EAPI:Invalid key", "EAPI:Invalid signature", "EAuth:Account")
_LIMITED = (
    "EAPI:Rate limit",
    "EAuth:Rate limit",
    "EAuth:Too many",
    "EService: Throttled",
    "EService:Throttled",
    "EGeneral:Temporary lockout",
)
_local = threading.local()

Params = Mapping[str, Any]


class _Call:
    """One request under way, which another thread can cut."""

    def __init__(self, deadline: Optional[float]) -> None:
        self.deadline = deadline
        self.connection: Any = None
        self.why = ""
        self._ended = Event()

    def check(self) -> None:
        """Raise OSError if it was cut, or is over; nothing may be sent after that."""
        if not self.why and self.deadline is not None and time.monotonic() >= self.deadline:
            self.why = LATE
        if self.why:
            raise OSError(self.why)

    def watch(self) -> None:
        """Cut it at its deadline, and again until it has ended: the socket may not be there yet."""
        left = 0.0 if self.deadline is None else self.deadline - time.monotonic()
        if not self._ended.wait(max(0.0, left)):
            while not self._ended.wait(0.05):
                self.cut(self.why or LATE)

    def end(self) -> None:
        """It has ended."""
        self._ended.set()

    def cut(self, why: str) -> None:
        """End it now: the thread that waits for it gets an error."""
        self.why = why
        sock = getattr(self.connection, "sock", None)
        if sock is None:
            return
        try:
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # the base class: see GuardedSocket.abort
        except (OSError, TypeError):
            pass


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
        self._proxy = proxy
        self.url = _checked(url)
        self.credentials = credentials
        self.nonces = nonces
        self._session: Any = None
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._calls: Set[_Call] = set()
        self._closed = False
        self._token: Optional[Event] = None
        self._last_token: Any = None

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
            raise ValueError(f"uri must be a path such as '/0/public/Time', not {uri!r:.80}")
        body = dict(params or {})
        if extra_params is not None:
            body.update(json.loads(extra_params) if isinstance(extra_params, str) else extra_params)
        if not auth:
            return self._send(method, uri, body, deadline, do_json, return_raw, query_str, {})
        if self.credentials is None:
            raise CredentialsMissing(missing(f"REST {uri}"))
        try:
            return self._signed(method, uri, body, deadline, do_json, return_raw, query_str)
        except RestRefused as error:
            if not error.error.startswith("EAPI:Invalid nonce"):
                raise
        # it was refused, so it had no effect: once more, with a later number
        return self._signed(method, uri, body, deadline, do_json, return_raw, query_str)

    def _signed(
        self,
        method: str,
        uri: str,
        params: Dict[str, Any],
        deadline: Optional[float],
        do_json: bool,
        return_raw: bool,
        query_str: Optional[str],
    ) -> Any:
        assert self.credentials is not None
        with self.nonces.taken(deadline) as nonce:
            body = {**params, "nonce": str(nonce)}
            query = _query(method, params, query_str)
            signed = sign(f"{uri}{query}", str(nonce), _encoded(body, do_json), self.credentials.secret)
            headers = {"API-Key": self.credentials.key, "API-Sign": Secret(signed)}
            return self._send(method, uri, body, deadline, do_json, return_raw, query_str, headers, query)

    def _send(
        self,
        method: str,
        uri: str,
        params: Dict[str, Any],
        deadline: Optional[float],
        do_json: bool,
        return_raw: bool,
        query_str: Optional[str],
        headers: Mapping[str, Secret],
        query: Optional[str] = None,
    ) -> Any:
        if query is None:
            query = _query(method, params, query_str)
        in_url = method in ("GET", "DELETE")
        kind = "application/json" if do_json else "application/x-www-form-urlencoded"
        data = b"" if in_url else _encoded(params, do_json)
        response, text = self._exchange(
            method,
            f"{self.url}{uri}{'?' + query if query else ''}",
            data,
            {"Content-Type": f"{kind}; charset=utf-8"} if data else {},
            headers,
            deadline,
            uri,
        )
        if not return_raw:
            return _result(uri, response.status_code, text)
        if response.status_code >= 300 or text[:100].lstrip().startswith(b"{"):
            _result(uri, response.status_code, text)  # raises what it says
        return response

    def _exchange(
        self,
        method: str,
        url: str,
        data: bytes,
        headers: Dict[str, str],
        hidden: Mapping[str, Secret],
        deadline: Optional[float],
        what: str,
    ) -> Tuple[Any, bytes]:
        """Send, and read the whole answer."""
        import requests

        failure: BaseException
        session = self._open()
        with self._limited(deadline) as call:
            try:
                left = None if deadline is None else max(0.01, deadline - time.monotonic())
                response = session.request(
                    method,
                    url,
                    data=data or None,
                    headers={**headers, **{name: secret.reveal() for name, secret in hidden.items()}},
                    timeout=left,
                    allow_redirects=False,
                    stream=True,
                )
                for name in hidden:
                    response.request.headers.pop(name, None)
                text = _read(response, call)
                call.check()  # what was read may be the half that came before the cut
                return response, text
            except (requests.RequestException, OSError, ValueError) as error:
                failure = _translated(error, call, what, url)
            except BaseException as error:
                failure = error
        raise failure.with_traceback(None)  # out here: no frame that saw the headers hangs on it

    @contextmanager
    def _limited(self, deadline: Optional[float]) -> Iterator[_Call]:
        call = _Call(deadline)
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed; start() opens it again")
            self._calls.add(call)
        _local.call = call
        if deadline is not None:
            threading.Thread(target=call.watch, name="kraken-sync-rest-deadline", daemon=True).start()
        try:
            yield call
        finally:
            call.end()
            _local.call = None
            with self._lock:
                self._calls.discard(call)

    def _guard_fork(self) -> None:
        """In a forked child the connections are the parent's; what was never used may be used here."""
        if os.getpid() == self._pid:
            return
        if self._session is not None:
            raise ForkedClient(
                "this client belongs to the parent process; make a new one in the child process"
            )
        self._pid, self._lock = os.getpid(), threading.Lock()

    # -- tokens ------------------------------------------------------------------------------

    def ws_token(self, deadline: Optional[float]) -> Dict[str, Any]:
        """A fresh WebSocket token and its lifetime: ``{"token": Secret, "expires": 900}``.

        Callers that come while one is being fetched share it.
        """
        with self._lock:
            flying, mine = self._token, Event()
            if flying is None:
                self._token = mine
        if flying is not None:
            if not flying.wait(None if deadline is None else max(0.0, deadline - time.monotonic())):
                raise ReplyTimeout("no WebSocket token in time")
            outcome = self._last_token
            if isinstance(outcome, ReplyTimeout):
                return self.ws_token(deadline)  # whom we waited for had less time than we have
        else:
            outcome = ConnectionLost("fetching the WebSocket token was interrupted")
            try:
                outcome = self._fetch_token(deadline)
            finally:
                self._last_token = outcome
                with self._lock:
                    self._token = None
                mine.set()
        if isinstance(outcome, BaseException):
            raise copy.copy(outcome).with_traceback(None)
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
        with self._lock:
            self._closed = False

    def close(self) -> None:
        """End everything under way; its callers get an error."""
        with self._lock:
            self._closed = True
            calls, session, self._session = list(self._calls), self._session, None
        for call in calls:
            call.cut("the client is closed")
        if session is not None:
            session.close()

    def _open(self) -> Any:
        self._guard_fork()
        with self._lock:
            if self._session is None:
                self._session = _new_session(self._proxy)
            return self._session


def missing(what: str) -> str:
    """What to say to who has no API key."""
    return (
        f"Missing credentials. {what} needs an API key: pass key= and secret= to the client, or set "
        "KRAKEN_API_KEY and KRAKEN_API_SECRET in the environment"
    )


def _checked(url: str) -> str:
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise ValueError(f"{url!r} is not a URL such as 'https://api.kraken.com'")
    if parts.scheme == "http" and not local:
        raise ValueError(f"{url!r} would send signed requests in clear; use https://")
    return url.rstrip("/")


def _query(method: str, params: Params, query_str: Optional[str]) -> str:
    pieces: List[str] = []
    if method in ("GET", "DELETE") and params:
        pieces.append(urlencode({k: v for k, v in params.items() if v is not None}, doseq=True))
    return "&".join([*pieces, *([query_str] if query_str else [])])


def _encoded(params: Params, do_json: bool) -> bytes:
    given = {name: value for name, value in params.items() if value is not None}
    if do_json:
        return json.dumps(given).encode()
    return urlencode(
        {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()},
        doseq=True,
    ).encode()


def _read(response: Any, call: _Call) -> bytes:
    pieces, size = [], 0
    for piece in response.iter_content(_PIECE):
        call.check()
        size += len(piece)
        if size > MAX_BODY:
            raise ValueError("the answer is too big")
        pieces.append(piece)
    response._content = text = b"".join(pieces)  # so that a raw response has its content
    return text


def _result(uri: str, status: int, text: bytes) -> Any:
    if 300 <= status < 400:
        raise RestRefused(uri, [f"HTTP {status}: a redirect, which is not followed"], status=status)
    try:
        envelope = json.loads(text)
        errors = envelope.get("error") or []
        errors = [str(one) for one in (errors if isinstance(errors, list) else [errors])]
    except (ValueError, AttributeError, RecursionError):
        errors = None
    if errors is None:  # nothing of the text is repeated unless it is a web page: it may hold a token
        words = text[:120].decode("utf-8", "replace").strip() if text.lstrip().startswith(b"<") else ""
        if status < 400 and not words:
            raise ConnectionLost(f"{uri} was sent, but what came back is no whole answer ({len(text)} bytes)")
        raise RestRefused(
            uri,
            [f"HTTP {status}"],
            status=status,
            text=f"{uri}: HTTP {status}, no answer of the exchange {words}",
        )
    failures = [one for one in errors if not one.startswith("W")]
    if not failures and status < 400:
        return envelope.get("result")
    raise _refused(uri, failures or [f"HTTP {status}"], status)


def _refused(uri: str, errors: List[str], status: int) -> KrakenError:
    first = errors[0]
    if first.startswith(_INVALID):
        hint = {
            "EAPI:Invalid key": "the exchange does not know this API key",
            "EAPI:Invalid signature": "the secret does not belong to this API key",
        }.get(first, "the account cannot be used")
        return CredentialsInvalid(f"{uri}: {first}: {hint}")
    if first.startswith(("EGeneral:Permission denied", "EAccount:Invalid permissions")):
        return PermissionRefused(uri, first, permission_for(uri))
    if first.startswith(_LIMITED):
        return RateLimited(uri, first)
    return RestRefused(uri, errors, status=status, text=f"{uri} was refused: {'; '.join(errors)}")


def _translated(error: BaseException, call: _Call, what: str, url: str) -> KrakenError:
    """Our error for one of requests', which holds the request and so is not kept."""
    import requests

    host = urlsplit(url).hostname
    if call.why == "the client is closed":
        return ClientClosed(f"{what}: the client was closed meanwhile")
    words = re.sub(r"^.*(?:object at \w+>|HTTPS?Connection\w*|Known)\(?[^:]*\)?: ", "", str(error))
    words = words.strip("()'\" ")
    if isinstance(error, requests.exceptions.SSLError):
        return ConnectFailed(
            f"{host}: TLS failed: {words:.200}", step="tls", permanent="certificate" in words
        )
    cause = repr(getattr(error.args[0] if error.args else None, "reason", None))
    if isinstance(error, requests.exceptions.ProxyError):
        return ConnectFailed(f"the proxy gives no tunnel to {host}: {words[-160:]}", step="proxy")
    if "NameResolution" in cause or "NameResolution" in str(error):
        return ConnectFailed(f"cannot resolve {host}. Are you online?", step="resolve")
    if isinstance(error, requests.exceptions.ConnectTimeout) or "NewConnectionError" in cause:
        where = urlsplit(url).netloc
        return ConnectFailed(f"cannot connect to {where}: {words[-120:]}. Are you online?", step="connect")
    if isinstance(error, requests.exceptions.InvalidHeader):
        return CredentialsInvalid("the API key has characters that none has; copy it again")
    if call.why or isinstance(error, requests.exceptions.Timeout):
        return ReplyTimeout(f"{what}: {call.why or 'no answer in time'}")
    return ConnectionLost(f"{what} was sent, but the connection ended before the answer: {words:.200}")


def _mine(connection: Any) -> None:
    """Tell the call of this thread what it uses; raises OSError if the call is over."""
    call: Optional[_Call] = getattr(_local, "call", None)
    if call is not None:
        call.connection = connection
        call.check()


def _new_session(proxy: Optional[Proxy]) -> Any:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import connection, connectionpool

    def known(kind: Any) -> Any:
        """``kind``, telling the call that uses it."""

        class Known(kind):  # type: ignore[misc]
            def connect(self) -> Any:
                _mine(self)
                super().connect()
                _mine(self)

            def request(self, *args: Any, **kwargs: Any) -> Any:
                _mine(self)
                return super().request(*args, **kwargs)

        return Known

    def pool(kind: Any, connection_kind: Any) -> Any:
        return type(kind.__name__, (kind,), {"ConnectionCls": known(connection_kind)})

    pools = {
        "http": pool(connectionpool.HTTPConnectionPool, connection.HTTPConnection),
        "https": pool(connectionpool.HTTPSConnectionPool, connection.HTTPSConnection),
    }

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = pools
            return manager

    class Session(requests.Session):
        def get_redirect_target(self, resp: Any) -> None:
            """None is followed, nor read."""

    session = Session()
    session.trust_env = False  # no proxy that nobody asked for
    if proxy is not None:
        session.proxies = {"https": proxy.url.reveal()}
    session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    session.headers["User-Agent"] = "kraken-sync"
    for prefix in ("https://", "http://"):
        session.mount(prefix, Adapter(max_retries=0))
    return session
