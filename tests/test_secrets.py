"""A planted key, secret and token are nowhere: not in logs, reprs, errors, pickles or recordings.

The same search is made in the output of every test of this suite; see ``conftest.py``.
"""

from __future__ import annotations

import copy
import logging
import pickle
import shutil
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path
from typing import Callable, Iterator, List

import pytest
from conftest import CANARIES, CANARY_KEY, CANARY_SECRET, FAR, eventually

from kraken_sync import (
    ConnectFailed,
    CredentialsInvalid,
    KrakenError,
    OrderOutcomeUnknown,
    RestRefused,
    SpotWSClient,
)
from kraken_sync.core.wire.secret import HiddenBytes, Secret
from kraken_sync.simulator import Simulator


def shown(error: BaseException) -> str:
    """An error as the most talkative tools show it: chained, with the locals of every frame."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def leaks(text: str) -> List[str]:
    return [name for name in CANARIES if name in text]


@pytest.fixture
def logged() -> Iterator[List[str]]:
    """Everything that any logger says, at any level."""
    lines: List[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler, root = Keep(), logging.getLogger()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield lines
    root.removeHandler(handler)
    root.setLevel(before)


def test_a_busy_session_shows_nothing(
    trader: SpotWSClient, exchange: Simulator, logged: List[str], capfd: pytest.CaptureFixture
) -> None:
    """Orders, subscriptions, reconnects, renewals: no log line at any level has a secret."""
    received = trader.messages
    trader.subscribe({"channel": "executions"})
    trader.add_order(symbol="BTC/USD", side="sell", order_type="limit", order_qty="0.01", limit_price=90000)
    dict(trader.balance)
    exchange.revoke_tokens()
    trader.cancel_all()
    exchange.cut()
    eventually(lambda: trader.stats()["private"]["reconnects"] == 1)
    trader.orders.wait_live()
    frames = [received.get(1) for _ in range(5)]

    out = capfd.readouterr()
    assert len(logged) > 5
    assert not leaks("\n".join(logged) + out.out + out.err + repr(frames))
    for thing in (
        trader,
        trader.orders,
        trader.balance,
        trader._ks_runtime.rest,
        trader._ks_runtime.rest.credentials,
    ):
        assert not leaks(repr(thing) + str(thing))
    assert not leaks(repr(vars(trader)) + repr(trader.stats()))


def test_no_error_shows_anything(trader: SpotWSClient, exchange: Simulator, logged: List[str]) -> None:
    """Errors of every layer, with the locals of all their frames."""

    def unknown() -> None:
        trader.add_order(**FAR)  # so that the private connection is up
        exchange.faults.drop_replies = 1
        trader.add_order(**{**FAR, "timeout": 1})

    def refused() -> None:
        exchange.faults.rest_errors = ["EGeneral:Internal error"]
        trader.request("POST", "/0/private/Balance")

    def slow() -> None:
        exchange.faults.rest_delay = 0.5
        trader.request("POST", "/0/private/Balance", timeout=0.1)

    def gone() -> None:
        exchange.stop()
        trader.request("POST", "/0/private/Balance", timeout=2)

    def lost() -> None:
        trader.subscribe({"channel": "executions", "users": "all"}, timeout=0.3)

    found = []
    for act in (unknown, refused, slow, gone, lost):
        with pytest.raises(KrakenError) as caught:
            act()
        found.append(shown(caught.value))
    assert not leaks("\n".join(found + logged))
    assert "OrderOutcomeUnknown" in found[0]
    assert OrderOutcomeUnknown.__name__ in found[0]
    assert RestRefused.__name__ in found[1]


def test_a_bad_secret_is_not_repeated() -> None:
    """The error about a secret does not quote it, nor does any frame that saw it."""
    secret = "!" + CANARY_SECRET
    with pytest.raises(CredentialsInvalid) as caught:
        SpotWSClient(CANARY_KEY, secret)
    ours = "".join(part for part in shown(caught.value).split("  File ") if "test_secrets.py" not in part)

    assert not leaks(ours)
    assert not leaks(str(caught.value) + repr(caught.value))


@pytest.mark.parametrize("options", [{"ws_url": "junk"}, {"order_gate": "x"}, {"tier": "x"}, {"timing": 1}])
def test_a_constructor_that_fails_shows_nothing(options: dict) -> None:
    """Not even with the locals of its frames, and the half-built client can be shown."""
    try:
        SpotWSClient(CANARY_KEY, CANARY_SECRET, **options)
    except (ValueError, TypeError) as error:
        frames = shown(error)
    assert not leaks(frames.split("line")[-1])
    assert not leaks("".join(part for part in frames.split("  File ") if "test_secrets.py" not in part))


def test_secrets_do_not_travel() -> None:
    """No pickle, no copy by accident, no repr."""
    secret = Secret(CANARY_SECRET)
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.copy(secret)
    assert not leaks(f"{secret} {secret!r} {[secret]} {HiddenBytes(CANARY_KEY.encode())!r}")


def test_no_connection_shows_nothing(new_client: Callable[..., SpotWSClient]) -> None:
    """Nor when nothing can be reached."""
    client = new_client(key=CANARY_KEY, secret=CANARY_SECRET, rest_url="http://127.0.0.1:9")
    with pytest.raises(ConnectFailed) as caught:
        client.start(timeout=1)

    assert caught.value.step == "token"
    assert not leaks(shown(caught.value))


def test_a_crash_shows_nothing(exchange: Simulator, tmp_path: Path) -> None:
    """A script that dies with a traceback, warnings and debug logging on."""
    code = """
        import logging, os
        logging.basicConfig(level=logging.DEBUG)
        from kraken_sync import SpotWSClient
        client = SpotWSClient(ws_url=os.environ["WS"], auth_ws_url=os.environ["WS"] + "/auth",
                              rest_url=os.environ["REST"])
        print(client.get_ws_token().keys(), dict(client.balance))
        client.add_order(symbol="BTC/USD", side="sell", order_type="limit", order_qty=1000, limit_price=90000)
        """
    environment = {
        "PATH": "",
        "WS": exchange.ws_url,
        "REST": exchange.rest_url,
        "KRAKEN_API_KEY": CANARY_KEY,
        "KRAKEN_API_SECRET": CANARY_SECRET,
    }
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=40,
        env=environment,
        cwd=Path(__file__).parents[1],
    )

    assert "EOrder:Insufficient funds" in done.stderr
    assert not leaks(done.stdout + done.stderr)


def test_the_search_itself_works(tmp_path: Path) -> None:
    """A test that prints, logs or raises a planted secret fails for that reason."""
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    (tmp_path / "test_leaks.py").write_text(
        textwrap.dedent(
            """
            import logging
            from conftest import CANARY_KEY, CANARY_SECRET, CANARY_TOKEN

            def test_printed():
                print("the key is", CANARY_KEY)

            def test_logged():
                logging.getLogger("anything").debug("the token is %s", CANARY_TOKEN + "abc")

            def test_in_a_local():
                secret = CANARY_SECRET
                raise AssertionError("something else")

            def test_clean():
                print("nothing to see")
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50)

    assert "3 failed, 1 passed" in done.stdout
    for name in ("test_printed", "test_logged", "test_in_a_local"):
        assert f"FAILED test_leaks.py::{name}" in done.stdout
    assert done.stdout.count("a planted secret was shown in the call phase") >= 3
    assert not leaks(done.stdout + done.stderr)


@pytest.mark.parametrize(
    "options",
    [
        {"ws_url": "http://me:CANARY@host"},
        {"ws_url": "me:CAN/ARY@host"},
        {"auth_ws_url": "ws://me:CANARY@host.invalid", "ws_url": "ws://127.0.0.1"},
        {"rest_url": "ftp://me:CANARY@host"},
        {"rest_url": "http://me:CANARY@host.invalid"},
        {"ws_url": "wss://me:CANARY@host/v2/private", "endpoint": "uws"},
    ],
)
def test_a_url_is_shown_without_its_login(options: dict) -> None:
    """Every error about a URL names it, and nobody's password with it."""
    with pytest.raises(ValueError) as caught:
        SpotWSClient(**options)
    assert "host" in str(caught.value)
    assert "CANARY" not in str(caught.value)
    assert "ARY@" not in str(caught.value)
