"""REST: signatures, nonces, deadlines, errors."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import socket
import ssl
import struct
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import Any, Callable, List
from urllib.parse import parse_qsl

import pytest
import responses
import trustme
from conftest import CANARY_KEY, CANARY_SECRET, FAST, WAIT, eventually, within
from facts import fact
from helpers import background, interrupted
from raw_server import RawServer, drain, read_request

from kraken_sync import (
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    CredentialsInvalid,
    CredentialsMissing,
    ForkedClient,
    KrakenError,
    OrderOutcomeUnknown,
    PermissionRefused,
    RateLimited,
    ReplyTimeout,
    RequestRefused,
    RestRefused,
    SpotWSClient,
)
from kraken_sync.core.wire.secret import Secret
from kraken_sync.core.wire.signing import sign
from kraken_sync.io.nonces import Nonces
from kraken_sync.io.rest import patience
from kraken_sync.simulator import Simulator

SECRET = Secret("kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg==")
NONCE = "1616492376594"
BASE = "https://api.kraken.com"


@pytest.mark.parametrize(
    ("path", "body", "signature"),
    [
        (
            "/0/private/AddOrder",
            "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
            "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==",
        ),
        (
            "/0/private/GetWebSocketsToken",
            "nonce=1616492376594",
            "+mRDmY9Ks0Moc1zjv/BjfvYa98buO0x1yHChZR5onlfAzAUbfIYlLggUZzdQ0RsmXm4Sh+Q8iAIZdo2wSeHeiA==",
        ),
        (
            "/0/private/GetWebSocketsToken",
            '{"nonce": "1616492376594"}',
            "gBLQmsySIeAFlvvt9mlmlAW63RSIIiP73oJxeSKMA/AwR0TarFWhYE8/par4GDXODMDNz8oO3byVeZ0KQ1lZ0w==",
        ),
    ],
)
def test_signatures(path: str, body: str, signature: str) -> None:
    """Kraken's published vector, and two that were computed from the same rules."""
    assert sign(path, NONCE, body.encode(), SECRET) == signature


def alone(**options: Any) -> SpotWSClient:
    """A client that is never started."""
    return SpotWSClient(CANARY_KEY, CANARY_SECRET, **options)


@responses.activate
def test_what_is_signed_is_what_is_sent() -> None:
    """Form and JSON bodies carry the nonce, and the signature is of the very bytes."""
    responses.post(f"{BASE}/0/private/Balance", json={"error": [], "result": {"ZUSD": "1.0"}})
    client = alone()
    params = {"asset": "XBT", "flag": True, "nothing": None}

    assert client.request("POST", "/0/private/Balance", params) == {"ZUSD": "1.0"}
    client.request("POST", "/0/private/Balance", params, do_json=True, extra_params='{"more": [1]}')

    form, body = (call.request for call in responses.calls)
    sent = dict(parse_qsl(form.body.decode()))
    assert sent == {"asset": "XBT", "flag": "true", "nonce": sent["nonce"]}
    assert form.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
    as_json = json.loads(body.body)
    assert as_json == {"asset": "XBT", "flag": True, "more": [1], "nonce": as_json["nonce"]}
    assert int(as_json["nonce"]) > int(sent["nonce"])
    assert params == {"asset": "XBT", "flag": True, "nothing": None}
    assert "kraken-sync" in form.headers["User-Agent"]


@responses.activate
def test_public_requests_are_not_signed() -> None:
    """``auth=False`` sends no key, and GET parameters go into the query."""
    responses.get(f"{BASE}/0/public/OHLC", json={"error": [], "result": {"last": 1}})
    client = SpotWSClient()

    client.request("GET", "/0/public/OHLC", {"pair": "XBTUSD"}, auth=False, query_str="interval=5")
    request = responses.calls[0].request
    assert request.url == f"{BASE}/0/public/OHLC?pair=XBTUSD&interval=5"
    assert "API-Key" not in request.headers
    with pytest.raises(CredentialsMissing, match="KRAKEN_API_KEY"):
        client.request("POST", "/0/private/Balance")


@responses.activate
@pytest.mark.parametrize(
    ("errors", "kind", "words"),
    [
        (["EAPI:Invalid key"], CredentialsInvalid, "does not know this API key"),
        (["EAPI:Invalid signature"], CredentialsInvalid, "does not belong"),
        (["EGeneral:Permission denied"], PermissionRefused, "Funds permissions - Query"),
        (["EAPI:Rate limit exceeded"], RateLimited, "Rate limit"),
        (["EService: Throttled: 1799999999"], RateLimited, "Throttled"),
        (["EQuery:Unknown asset pair", "EGeneral:Other"], RestRefused, "EGeneral:Other"),
    ],
)
def test_errors_are_named(errors: List[str], kind: type, words: str) -> None:
    """The exchange's errors are ours, whatever the HTTP status."""
    responses.post(f"{BASE}/0/private/Balance", json={"error": errors}, status=200)
    with pytest.raises(kind, match=words) as caught:
        alone().request("POST", "/0/private/Balance")

    assert isinstance(caught.value, KrakenError)
    assert len(responses.calls) == 1


@fact("REST limits")
@fact("lockout")
@responses.activate
@pytest.mark.parametrize(
    ("error", "least", "most"),
    [
        ("EAPI:Rate limit exceeded", 5, 5),
        ("EGeneral:Temporary lockout", 900, 900),
        ("EService: Throttled: {now+300}", 200, 300),
        ("EService:Throttled:{now+9000}", 900, 900),
        ("EService: Throttled: {now-9000}", 5, 5),
    ],
)
def test_how_long_a_limit_lasts(error: str, least: float, most: float) -> None:
    """It is not asked again, not even for a read, and the library waits as long as the exchange says."""
    now = int(time.time())
    error = re.sub(r"{now(.+)}", lambda found: str(now + int(found[1])), error)
    responses.post(f"{BASE}/0/private/Balance", json={"error": [error]})
    with pytest.raises(RateLimited) as caught:
        alone().request("POST", "/0/private/Balance")

    assert len(responses.calls) == 1
    assert least <= patience(caught.value) <= most


@responses.activate
def test_a_warning_is_no_error() -> None:
    """An entry that begins with W does not make a request fail."""
    responses.post(f"{BASE}/0/private/X", json={"error": ["WGeneral:Careful"], "result": 5})

    assert alone().request("POST", "/0/private/X") == 5


@responses.activate
@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (502, "<html>Bad gateway</html>", RestRefused, "502.*Bad gateway"),
        (500, '{"result": {"token": "abc"', RestRefused, "HTTP 500"),
        (200, "", ConnectionLost, "no whole answer"),
        (200, "[1]", ConnectionLost, "no whole answer"),
        (200, '{"result": {"token": "abc"', ConnectionLost, "26 bytes"),
    ],
)
def test_no_answer_of_the_exchange(status: int, body: str, kind: type, words: str) -> None:
    """An error page is told as what it is; half an answer may mean anything, and is not repeated."""
    responses.post(f"{BASE}/0/private/Balance", body=body, status=status)
    with pytest.raises(kind, match=words) as caught:
        alone().request("POST", "/0/private/Balance")

    assert "abc" not in str(caught.value)


@responses.activate
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (502, "<html>Bad gateway</html>"),
        (504, ""),
        (520, "error code: 520"),
        (200, "<html>Sign in to the network</html>"),
        (200, ""),
        (200, '{"error": ["EGeneral:Internal error"]}'),
    ],
)
def test_an_answer_that_leaves_the_outcome_open(status: int, body: str) -> None:
    """Such an answer says nothing about an order or a withdrawal, so neither is said to be refused."""
    for endpoint, kind in (("AddOrder", OrderOutcomeUnknown), ("Withdraw", ConnectionLost)):
        responses.post(f"{BASE}/0/private/{endpoint}", body=body, status=status)
        with pytest.raises(kind, match="was sent") as caught:
            alone().request("POST", f"/0/private/{endpoint}", {"cl_ord_id": "bot-7"})

        assert not isinstance(caught.value, RequestRefused)
        if isinstance(caught.value, OrderOutcomeUnknown):
            assert caught.value.cl_ord_id == "bot-7"
    assert len(responses.calls) == 2


@responses.activate
def test_a_read_may_be_tried_again() -> None:
    """A gateway's error for a read says that it may be tried again."""
    responses.post(f"{BASE}/0/private/Balance", body="<html>Bad gateway</html>", status=502)
    with pytest.raises(RestRefused, match="may be tried again"):
        alone().request("POST", "/0/private/Balance")


@responses.activate
@pytest.mark.parametrize("do_json", [False, True])
@pytest.mark.parametrize(
    ("value", "digits"),
    [
        (Decimal("0.00000097"), "0.00000097"),
        (9.7e-7, "0.00000097"),
        (1e16, "10000000000000000"),
        (Decimal("1E+3"), "1000"),
        (6776.5, "6776.5"),
    ],
)
def test_numbers_are_sent_in_fixed_point(do_json: bool, value: Any, digits: str) -> None:
    """The exchange reads no exponents."""
    responses.post(f"{BASE}/0/private/X", json={"error": [], "result": {}})
    alone().request("POST", "/0/private/X", {"price": value}, do_json=do_json, query_str=f"volume={digits}")
    body = responses.calls[0].request.body.decode()

    assert (json.loads(body)["price"] if do_json else dict(parse_qsl(body))["price"]) == digits


@responses.activate
def test_redirects_are_not_followed() -> None:
    """The key never goes to another host."""
    elsewhere = responses.post("https://elsewhere.example/", json={"error": [], "result": {}})
    responses.post(
        f"{BASE}/0/private/Balance", status=307, headers={"Location": "https://elsewhere.example/"}
    )
    with pytest.raises(RestRefused, match="redirect"):
        alone().request("POST", "/0/private/Balance")

    assert elsewhere.call_count == 0


@responses.activate
def test_an_invalid_nonce_is_tried_once_more() -> None:
    """It was refused, so it had no effect; a second refusal is told."""
    responses.post(f"{BASE}/0/private/Balance", json={"error": ["EAPI:Invalid nonce"]})
    with pytest.raises(RestRefused, match="Invalid nonce"):
        alone().request("POST", "/0/private/Balance")

    bodies = [call.request.body for call in responses.calls if call.request.body]
    nonces = [int(dict(parse_qsl(body.decode()))["nonce"]) for body in bodies]
    assert len(nonces) == 2
    assert nonces[0] < nonces[1]


def test_nonces_rise_whatever_the_clock_does() -> None:
    """The clock jumps back an hour; nonces do not."""
    times = iter([10**18, 10**18, 10**18 - 3600 * 10**9, 10**18 + 5, 0])
    nonces = Nonces(clock=lambda: next(times))
    found = [nonces.next() for _ in range(5)]

    assert found == sorted(set(found))


def test_nonces_of_many_threads(trader: SpotWSClient, exchange: Simulator) -> None:
    """Private requests of many threads all arrive in the order of their nonces."""
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: trader.request("POST", "/0/private/Balance"), range(80)))

    assert len(results) == 80
    assert all(result["ZUSD"] for result in results)


def _many(url: str, path: str, count: int, failures: Any) -> None:
    client = SpotWSClient(CANARY_KEY, CANARY_SECRET, rest_url=url, nonce_file=path)
    for _ in range(count):
        try:
            client.request("POST", "/0/private/Balance", timeout=30)
        except KrakenError as error:
            failures.put(str(error))
    client.close()


def test_nonces_of_several_processes(exchange: Simulator, tmp_path: Path) -> None:
    """Processes that name the same file never collide."""
    context = multiprocessing.get_context("spawn")
    failures: Any = context.Queue()
    arguments = (exchange.rest_url, str(tmp_path / "nonce"), 100, failures)
    workers = [context.Process(target=_many, args=arguments) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(50)

    assert [worker.exitcode for worker in workers] == [0, 0]
    assert failures.empty(), failures.get()


def test_a_nonce_file_that_others_can_change(tmp_path: Path) -> None:
    """Whoever can write a high number there can end the key; no request is sent with one."""
    path = tmp_path / "nonce"
    path.write_text("17", "ascii")
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(ValueError, match="symbolic link"):
        Nonces(tmp_path / "link").next()
    path.chmod(0o666)
    with pytest.raises(ValueError, match="everybody can write"):
        Nonces(path).next()
    path.chmod(0o600)
    path.write_text(str(2**62), "ascii")
    with pytest.raises(ValueError, match="no nonce"):
        Nonces(path).next()
    path.write_text(str(time.time_ns()), "ascii")

    assert Nonces(path).next() > time.time_ns() - 10**12  # another program's, in nanoseconds, is gone on from
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is no file"):
        Nonces(tmp_path / "pipe").next()


class Talker:
    """A server that answers every connection with what ``script`` does."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.requests = 0
        self.heard = b""
        self._script = script
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self.server.accept()
            except OSError:
                return
            self.requests += 1
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock:
            try:
                self.heard += sock.recv(65536)
                self._script(sock)
            except OSError:
                pass


def drip(head: bytes) -> Callable[[socket.socket], None]:
    def script(sock: socket.socket) -> None:
        sock.sendall(head)
        for _ in range(2000):
            sock.sendall(b"x")
            threading.Event().wait(0.02)

    return script


@pytest.mark.parametrize(
    "script",
    [
        drip(b"HTTP/1.1 200 OK\r\nX-Long: "),
        drip(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
        lambda sock: threading.Event().wait(20),
    ],
    ids=["headers", "body", "silence"],
)
def test_the_deadline_is_for_everything(script: Callable[[socket.socket], None]) -> None:
    """A peer that drips its answer, or gives none, costs the timeout and no more."""
    talker = Talker(script)
    client = alone(rest_url=talker.url)
    with within(0.6):
        with pytest.raises(ReplyTimeout):
            client.request("POST", "/0/private/Balance", timeout=1.0)
    assert talker.requests == 1
    talker.server.close()


def hang_up(sock: socket.socket) -> None:
    """End a connection with a reset, so that nothing of an answer can be read."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("endpoint", "kind", "requests"),
    [("AddOrder", OrderOutcomeUnknown, 1), ("Withdraw", ConnectionLost, 1), ("Balance", ConnectionLost, 2)],
)
def test_a_connection_lost_after_the_request(endpoint: str, kind: type, requests: int) -> None:
    """What may have changed something is never sent twice, and an order is unknown; a read is tried again."""
    talker = Talker(hang_up)
    with pytest.raises(kind, match="was sent"):
        alone(rest_url=talker.url).request("POST", f"/0/private/{endpoint}", timeout=5)

    assert talker.requests == requests
    talker.server.close()


ENDED = "the peer closed the connection|connection reset by peer"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (b"", ENDED),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", ENDED),
        (b"220 mail.example.invalid ESMTP\r\n", "the answer is not HTTP"),
    ],
)
def test_the_cause_of_no_answer(said: bytes, words: str) -> None:
    """What has ended the request is told, and nothing is told that was not so."""
    talker = Talker(lambda sock: sock.sendall(said))
    with pytest.raises(ConnectionLost, match=words):
        alone(rest_url=talker.url).request("POST", "/0/private/Withdraw", timeout=5)
    talker.server.close()


def test_what_is_no_tls_after_the_request(tmp_path: Path) -> None:
    """The order was sent, whatever kind of error ends the connection."""
    authority = trustme.CA()
    server_side, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server_side)
    authority.configure_trust(trusting)

    def answer(sock: socket.socket) -> None:
        sock.recv(65536)
        os.write(sock.fileno(), b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
        drain(sock)

    with RawServer(answer, server_side) as server, pytest.raises(OrderOutcomeUnknown, match="was sent"):
        alone(rest_url=server.url.replace("wss:", "https:"), ssl_context=trusting).request(
            "POST", "/0/private/AddOrder", {"cl_ord_id": "bot-7"}, timeout=5
        )


@pytest.mark.parametrize("how", ["close", "start"])
def test_an_order_under_way(how: str) -> None:
    """``close()`` leaves it unknown; a ``start()`` of another thread that fails leaves it alone."""
    arrived, go_on = threading.Event(), threading.Event()

    def answer(sock: socket.socket) -> None:
        arrived.set()
        go_on.wait(WAIT)
        sock.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"error":[],"result": 5}')

    talker, nobody = Talker(answer), "ws://127.0.0.1:9"
    client = alone(rest_url=talker.url, ws_url=nobody, auth_ws_url=nobody, timing=FAST)
    asked = background(client.request, "POST", "/0/private/AddOrder", {"cl_ord_id": "bot-7"}, timeout=WAIT)
    assert arrived.wait(WAIT)
    if how == "close":
        client.close()
    else:
        with pytest.raises(ConnectFailed):
            client.start(timeout=0.3)
    go_on.set()
    asked["thread"].join(WAIT)

    if how == "close":
        assert isinstance(asked["error"], OrderOutcomeUnknown)
        assert asked["error"].cl_ord_id == "bot-7"
    else:
        assert asked["value"] == 5
    talker.server.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupted_order_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Ctrl-C ends the call at once, and nobody else would know which order it was."""

    talker = Talker(drain)
    with interrupted(lambda: b"/0/private/AddOrder" in talker.heard):
        alone(rest_url=talker.url).request(
            "POST", "/0/private/AddOrder", {"cl_ord_id": "bot-7"}, timeout=WAIT
        )

    eventually(lambda: "bot-7" in caplog.text)  # the log waits for its handlers for a second at most
    talker.server.close()


def test_an_idle_connection_closed_by_the_server() -> None:
    """The server closes a connection after an answer; the next read goes on on a new one."""
    answer = b'HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{"error":[],"result": 5}'
    talker = Talker(lambda sock: sock.sendall(answer))
    client = alone(rest_url=talker.url)

    assert [client.request("POST", "/0/private/Balance") for _ in range(3)] == [5, 5, 5]
    talker.server.close()


@pytest.mark.parametrize(
    "script", [hang_up, lambda sock: None, lambda sock: sock.sendall(b"HTTP/1.1 200\r\n")]
)
@pytest.mark.parametrize("proxied", [False, True], ids=["direct", "proxy"])
def test_what_was_not_sent(script: Callable[[socket.socket], None], proxied: bool) -> None:
    """Until TLS stands no byte of a request has left: the order is not placed, and the error says so."""
    talker = Talker(script)
    url = "https://api.example.invalid" if proxied else talker.url.replace("http:", "https:")
    client = alone(rest_url=url, proxy=talker.url if proxied else None)
    with pytest.raises(ConnectFailed) as caught:
        client.request("POST", "/0/private/AddOrder", {"pair": "XBTUSD"}, timeout=5)

    assert not any(word in str(caught.value) for word in ("Caused by", "retries", "_ssl.c", "was sent,"))
    assert b"AddOrder" not in talker.heard
    talker.server.close()


def test_closing_ends_a_request() -> None:
    """``close()`` wakes who waits for REST, and is quick itself."""
    talker = Talker(lambda sock: threading.Event().wait(20) and None)
    client, errors = alone(rest_url=talker.url), []

    def ask() -> None:
        try:
            client.request("POST", "/0/private/Balance", timeout=None)
        except KrakenError as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: talker.requests)
    with within(0.4):
        client.close()
        thread.join(WAIT)
    assert isinstance(errors[0], (ClientClosed, ConnectionLost))
    talker.server.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("used", [False, True])
def test_a_forked_child(exchange: Simulator, used: bool) -> None:
    """Connections are the parent's alone; a client that was not used yet may be used in the child."""
    client = alone(rest_url=exchange.rest_url)
    if used:
        client.rest.time()
    child = os.fork()
    if child == 0:
        try:
            client.rest.time()
            os._exit(1)
        except ForkedClient:
            os._exit(2)
        except BaseException:
            os._exit(3)
    _, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == (2 if used else 1)


def test_nobody_there() -> None:
    """A refused connection names the step."""
    with pytest.raises(ConnectFailed, match="online"):
        alone(rest_url="http://127.0.0.1:9").request("POST", "/0/private/Balance", timeout=2)


@pytest.mark.parametrize("how", ["late", "closed"])
def test_nothing_leaves_after_the_end(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name takes longer to resolve than the call may take: the request is not sent after all."""
    talker = Talker(lambda sock: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
    client, resolve = alone(rest_url=talker.url), socket.getaddrinfo
    asked, ended = threading.Event(), threading.Event()

    def slow(*args: Any, **kwargs: Any) -> Any:
        asked.set()
        ended.wait(WAIT)
        return resolve(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    if how == "closed":
        threading.Thread(target=lambda: asked.wait(WAIT) and client.close()).start()
    with pytest.raises((ReplyTimeout, ClientClosed)):
        client.request("POST", "/0/private/AddOrder", timeout=1 if how == "late" else 3)

    assert asked.is_set()
    ended.set()
    # The request's thread goes on now, to its own end, before anything is asserted.
    eventually(lambda: not [one for one in threading.enumerate() if one.name == "kraken-sync-rest"])
    assert talker.requests == 0 or not talker.heard
    talker.server.close()


def answering(answers: Callable[[bytes], bytes]) -> RawServer:
    """A server that answers each request, whole, with the JSON that ``answers(request)`` returns."""

    def script(sock: socket.socket) -> None:
        while True:
            request = read_request(sock)
            if not request:
                return
            text = answers(request)
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))

    return RawServer(script)


@fact("invalid nonce")
@pytest.mark.parametrize(
    ("clock", "words"),
    [(0.0, "another program has used this API key"), (3600.0, r"clock is 3\d\d\d s behind the exchange's")],
)
@pytest.mark.parametrize(("endpoint", "times"), [("Balance", 2), ("AddOrder", 1)])
def test_nonces_that_stay_refused(clock: float, words: str, endpoint: str, times: int) -> None:
    """After one repetition (none of an order) the cause is looked for, and told with what to do."""
    asked: List[bytes] = []

    def answers(request: bytes) -> bytes:
        asked.append(request.split(b" ")[1])
        if b"/public/Time" in request:
            return b'{"error":[],"result":{"unixtime":%d}}' % (time.time() + clock)
        return b'{"error":["EAPI:Invalid nonce"]}'

    with answering(answers) as server:
        client = alone(rest_url=server.url.replace("ws:", "http:"))
        with pytest.raises(RestRefused, match=words) as caught:
            client.request("POST", f"/0/private/{endpoint}", timeout=5)

    assert caught.value.error == "EAPI:Invalid nonce"
    assert asked == [f"/0/private/{endpoint}".encode()] * times + [b"/0/public/Time"]
    assert patience(caught.value) >= 60


@fact("otp")
@pytest.mark.parametrize("otp", ["1234", lambda: "1234"], ids=["text", "function"])
def test_a_key_with_two_factors(otp: Any) -> None:
    """Its password is in every signed request, and so in those for tokens; a wrong one is told."""

    def answers(request: bytes) -> bytes:
        if b"otp=1234" in request:
            return b'{"error":[],"result":{"token":"T","expires":900}}'
        return b'{"error":["EAPI:Invalid signature"]}'

    with answering(answers) as server:
        url = server.url.replace("ws:", "http:")
        client = alone(rest_url=url, otp=otp)
        assert client.request("POST", "/0/private/Balance")
        assert client.get_ws_token()["expires"] == 900
        assert alone(rest_url=url).request("POST", "/0/private/Balance", {"otp": "1234"})
        with pytest.raises(CredentialsInvalid, match="two-factor authentication, and needs otp="):
            alone(rest_url=url, otp="9").request("POST", "/0/private/Balance")


def test_no_proxy_sees_the_key(monkeypatch: pytest.MonkeyPatch, exchange: Simulator) -> None:
    """The environment's proxies are for others."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert alone(rest_url=exchange.rest_url).request("POST", "/0/private/Balance")["ZUSD"]


@pytest.mark.parametrize("url", ["http://api.kraken.com", "ftp://127.0.0.1", "api.kraken.com"])
def test_keys_are_never_sent_in_clear(url: str) -> None:
    """Only loopback may be without TLS."""
    with pytest.raises(ValueError, match="https"):
        SpotWSClient(rest_url=url)
    with pytest.raises(ValueError, match="wss"):
        SpotWSClient(auth_ws_url="ws://ws-auth.kraken.com")


def test_tokens_are_fetched_once_for_all(trader: SpotWSClient, exchange: Simulator) -> None:
    """Callers at the same time share one token."""
    exchange.faults.rest_delay = 0.3
    with ThreadPoolExecutor(6) as pool:
        tokens = list(pool.map(lambda _: trader.get_ws_token(), range(6)))

    assert len({token["token"] for token in tokens}) == 1
    assert tokens[0]["expires"] == 900
    exchange.faults.rest_delay = 0
    assert trader.get_ws_token()["token"] != tokens[0]["token"]


def test_raw_answers(trader: SpotWSClient, exchange: Simulator) -> None:
    """An export comes as the bytes of its zip file; an error is an error all the same."""
    exchange.fund("USD", "12.5")
    response = trader.request("POST", "/0/private/RetrieveExport", {"id": "X"}, return_raw=True)

    assert "12.5" in zipfile.ZipFile(BytesIO(response.content)).read("ledgers.csv").decode()
    assert "API-Key" not in response.request.headers
    with pytest.raises(RestRefused, match="Unknown method"):
        trader.request("POST", "/0/private/Nothing", return_raw=True)


def test_history(trader: SpotWSClient) -> None:
    """What the stream does not tell, in any spelling of a symbol."""
    rest = trader.rest

    assert rest.time()["unixtime"] > 10**9
    assert rest.system_status()["status"] == "online"
    assert rest.asset_pairs("XBT/USD")["BTC/USD"]["wsname"] == "XBT/USD"
    assert len(rest.asset_pairs()) == 12
    assert len(rest.ohlc("BTC/USD", 5)["BTC/USD"]) == 40
    assert len(rest.trades("btc-usd", count=3)["BTC/USD"]) == 3
    assert len(rest.depth("BTC/USD", 5)["BTC/USD"]["bids"]) == 5
    assert len(rest.spread("XBT/USD")["BTC/USD"]) == 1
    with pytest.raises(ValueError, match="interval=2"):
        rest.ohlc("BTC/USD", 2)
    with pytest.raises(RestRefused, match="Unknown asset pair"):
        rest.depth("NO/PAIR")


@fact("SystemStatus")
def test_what_rest_announces(client: SpotWSClient, exchange: Simulator) -> None:
    """The same as over WebSocket."""
    exchange.announce("approaching_30m", advice="cancel_open_orders")
    status = client.rest.system_status()
    assert [one["urgency"] for one in status["upcoming_maintenance"]] == ["approaching_30m"]
    assert status["emergency"] == []
    eventually(lambda: client.announcements)


def test_whoever_has_time_left_fetches_the_token(trader: SpotWSClient, exchange: Simulator) -> None:
    """Sharing a fetch does not mean sharing its deadline."""
    exchange.faults.rest_delay = 0.6
    with ThreadPoolExecutor(2) as pool:
        short = pool.submit(trader.get_ws_token, 0.2)
        eventually(lambda: trader._ks_runtime.rest._fetching)
        long = pool.submit(trader.get_ws_token, WAIT)
        with pytest.raises(ReplyTimeout):
            short.result(WAIT)
        assert long.result(WAIT)["expires"] == 900


def test_half_a_key() -> None:
    """One part alone is a mistake, and so is a key with a line break in it."""
    with pytest.raises(CredentialsMissing, match="secret is missing"):
        SpotWSClient(CANARY_KEY)
    with pytest.raises(CredentialsInvalid, match="characters"):
        SpotWSClient("two\nlines", CANARY_SECRET)


def test_ids_and_nonces(trader: SpotWSClient) -> None:
    """The seed's helpers."""
    assert int(trader.get_nonce()) < int(trader.get_nonce())
    assert len({trader.return_unique_id for _ in range(10)}) == 10
    assert len(trader.return_unique_id) == 32
