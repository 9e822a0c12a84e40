"""The pytest plugin of kraken_sync: a simulated exchange, and a client of it, for the tests of your programs.

See docs/testing.rst. It stands outside of the package because pytest loads it in every run: nothing of
kraken_sync is imported until a test asks for one of the fixtures.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List

import pytest

_EXCHANGE: Any = pytest.StashKey()
START_TIME = "2026-01-05T10:00:00Z"
"""Where the clock of an exchange stands that does not live by itself."""
_SHOWN = 20
"""The number of orders and of requests that the report of a failed test has."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "kraken(seed=1, rate=0, tier=None, ...): arguments of the Simulator that is this test's "
        "kraken_exchange",
    )


@pytest.fixture
def kraken_exchange(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A running :class:`kraken_sync.testing.Simulator`, of this test alone.

    Its market and its clock move only when the test says so, unless the marker ``kraken(rate=...)`` says
    otherwise.
    """
    from kraken_sync.testing import Simulator

    options: Dict[str, Any] = {"rate": 0, "tier": None, "heartbeat_interval": 0.25}
    for marker in reversed(list(request.node.iter_markers("kraken"))):  # the closest last
        if marker.args:
            raise pytest.UsageError("the marker kraken takes keyword arguments, such as kraken(seed=7)")
        options.update(marker.kwargs)
    if not options["rate"]:
        options.setdefault("start_time", START_TIME)
    with Simulator(**options) as exchange:
        request.node.stash[_EXCHANGE] = exchange
        yield exchange
        if exchange.errors:
            raise exchange.errors[0]


@pytest.fixture
def kraken_client(kraken_exchange: Any) -> Iterator[Any]:
    """A started client of :func:`kraken_exchange`, with its API key, that reconnects fast."""
    from kraken_sync.testing import FAST

    with kraken_exchange.client(timing=FAST) as client:
        yield client


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: Any) -> Any:
    """Add what the exchange has seen to the report of a failed test."""
    outcome = yield
    exchange = item.stash.get(_EXCHANGE, None)
    report = outcome.get_result()
    if exchange is not None and call.when == "call" and report.failed:
        try:
            text = "\n".join(_seen(exchange))
        except Exception as error:  # it must never end the run
            text = f"what the exchange has seen cannot be shown: {error!r}"
        report.sections.append(("kraken_exchange", text))


def _seen(exchange: Any) -> List[str]:
    lines = [f"balances: {', '.join(f'{name} {amount}' for name, amount in exchange.balances().items())}"]
    orders = exchange.orders()
    lines += [f"{len(orders)} orders{', the last of them:' if orders else ''}"]
    for order in orders[-_SHOWN:]:
        price = "" if order["limit_price"] is None else f" at {order['limit_price']}"
        average = f" at {order['average_price']}" if order["average_price"] is not None else ""
        lines.append(
            "  {order_id} {cl_ord_id} {side} {qty} {symbol} {order_type}{price}: {status}, {filled} filled"
            "{average} {reason}".format(**order, price=price, average=average).rstrip()
        )
    requests = exchange.requests()
    lines += [f"{len(requests)} requests over WebSocket, the last of them:"]
    for request in requests[-_SHOWN:]:
        given = request.get("params")
        if isinstance(given, dict):
            given = {name: value for name, value in given.items() if name != "token"}
        lines.append(f"  {request.get('method')} {given if given is not None else ''}".rstrip())
    return lines
