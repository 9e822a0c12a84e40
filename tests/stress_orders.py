"""Histories of orders under faults, in the manner of Jepsen, compared with the exchange's ledger.

Every call is invoked and ends ok, rejected, not sent or unknown, while a nemesis cuts the line at any byte
of a request or of its reply, stalls it, loses or delays replies, lets requests arrive late, kills tokens.
Calls go over WebSocket, over REST, or first one way and then the other, and REST lags behind. Then the
faults stop, every unknown call is reconciled, and everything that was said is compared with the ledger.

``python tests/stress_orders.py --seeds 2000`` prints the counts; any lie is an AssertionError with its seed.
"""

from __future__ import annotations

import argparse
import random
import threading
import time
import uuid
from collections import Counter
from decimal import Decimal
from typing import Any, Dict, List, Mapping, Optional

from proxy import Proxy

from kraken_sync import (
    ConnectionLost,
    KrakenError,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRejected,
    Outcome,
    ReplyTimeout,
    SpotWSClient,
    Timing,
)
from kraken_sync.simulator import Simulator

S = "BTC/USD"
QUIET = Timing(
    connect_timeout=5.0,
    ping_interval=60.0,
    silence_ping=60.0,
    silence_abort=120.0,
    ack_timeout=0.5,
    first_data_timeout=0.5,
    tick=0.01,
    first_retry=0.0,
    retry_base=0.01,
    retry_cap=0.05,
    maintenance_retry=0.05,
    send_timeout=0.5,
    rest_lag=1.5,
)
"""No pings: only what a test means to send is on the wire."""
TIMEOUT = 0.4
HUNG = TIMEOUT + 3.0
"""Seconds for a call on a busy machine; one that hangs would take far longer."""
DEADLINE = 0.5
SIZES = {"websocket": {"up": 420, "down": 300}, "rest": {"up": 1050, "down": 420}}
"""No request (``up``) and no reply (``down``) of these is longer, framing and headers included."""
EXPECTED = {
    "new": Outcome.LIVE,
    "partially_filled": Outcome.LIVE,
    "pending_new": Outcome.LIVE,
    "filled": Outcome.FILLED,
    "canceled": Outcome.CANCELED,
    "expired": Outcome.CANCELED,
}


class World:
    """An exchange, and a line to it that may be cut."""

    def __init__(self, seed: int = 1) -> None:
        self.exchange = Simulator(seed, rate=0, tier=None, heartbeat_interval=60.0, idle_timeout=600.0)
        self.exchange.start()
        self.proxy = Proxy(int(self.exchange.ws_url.rpartition(":")[2]))
        self.rest_proxy = Proxy(int(self.exchange.rest_url.rpartition(":")[2]))
        self.rules: Any = None
        self.timers: List[threading.Timer] = []
        """Cuts that are still to come."""

    def client(self) -> SpotWSClient:
        """A client whose private line goes through the proxy."""
        made = SpotWSClient(
            self.exchange.key,
            self.exchange.secret,
            no_public=True,
            auth_ws_url=f"ws://127.0.0.1:{self.proxy.port}/auth",
            rest_url=f"http://127.0.0.1:{self.rest_proxy.port}",
            timing=QUIET,
            order_gate="open",
        )
        if self.rules is not None:
            made._ks_market._symbols.learn(self.rules)
        made.start()
        made.orders.wait_live()
        made.balance.wait_live()
        made._ks_desk._rules(S, None)
        self.rules = made._ks_market._symbols._rules
        return made

    def ledger(self, params: Mapping[str, Any]) -> List[Dict[str, Any]]:
        """The orders that the exchange took under the name of a call."""
        kind = "cl_ord_id" if "cl_ord_id" in params else "order_userref"
        return [order for order in self.exchange.orders() if order[kind] == params[kind]]

    def heal(self) -> None:
        """No faults any more."""
        faults = self.exchange.faults
        faults.drop_replies = faults.internal_errors = faults.refuse_tokens = 0
        faults.skip_executions = faults.skip_balances = 0
        faults.reply_delay = faults.request_delay = faults.rest_delay = 0.0
        faults.refuse_connections = 0
        faults.reports_first = False  # REST's lag stays: that is no fault
        for timer in self.timers:
            timer.join()
        self.timers.clear()
        self.proxy.disarm()
        self.rest_proxy.disarm()

    def close(self) -> None:
        """End it."""
        self.proxy.close()
        self.rest_proxy.close()
        self.exchange.stop()


class Call:
    """One call and how it ended."""

    def __init__(self, name: str, **params: Any) -> None:
        self.name = name
        self.params = params
        self.ended = ""
        self.result: Any = None
        self.error: Optional[BaseException] = None
        self.took = 0.0

    def run(self, client: SpotWSClient) -> None:
        """Invoke it."""
        started = time.monotonic()
        try:
            self.result = getattr(client, self.name)(**self.params, timeout=TIMEOUT)
            self.ended = "ok"
        except OrderRejected as error:
            self.ended, self.error = "rejected", error
        except ReplyTimeout as error:  # of a validation, which places nothing
            assert self.params.get("validate")
            self.ended, self.error = "not validated", error
        except OrderNotSent as error:
            self.ended, self.error = "not sent", error
        except OrderOutcomeUnknown as error:
            self.ended, self.error = "unknown", error
        self.took = time.monotonic() - started


def new_order(rng: random.Random, price: Decimal) -> Call:
    """An order of some kind; most of them rest."""
    kind = rng.choice(
        ["rest", "rest", "rest", "take", "ioc", "fok", "post", "poor", "conditional", "validate"]
    )
    params: Dict[str, Any] = {
        "symbol": S,
        "side": rng.choice(["buy", "sell"]),
        "order_type": "limit",
        "order_qty": Decimal("0.0001"),
        "cl_ord_id": str(uuid.UUID(int=rng.getrandbits(128))),
        "deadline": DEADLINE,
    }
    sign = 1 if params["side"] == "buy" else -1
    if kind == "take":
        params["order_type"] = "market"
    elif kind == "ioc":
        params.update(limit_price=price + sign * 1000, time_in_force="ioc")
    elif kind == "fok":
        params.update(limit_price=price + sign * rng.choice([1000, -1000]), time_in_force="fok")
    elif kind == "conditional":  # the exchange takes no cl_ord_id with it
        del params["cl_ord_id"]
        params.update(
            limit_price=price - sign * 7000,
            order_userref=rng.randrange(1, 2**31),
            conditional={"order_type": "limit", "limit_price": price + sign * 8000},
        )
    elif kind == "validate":
        params.update(limit_price=price - sign * 7000, validate=True)
    elif kind == "post":
        params.update(limit_price=price + sign * 1000, post_only=True)
    elif kind == "poor":
        params.update(limit_price=price - sign * 9000, order_qty=Decimal(9000))
    else:
        params["limit_price"] = price - sign * rng.randrange(5000, 9000)
    return Call("add_order", **params)


def nemesis(rng: random.Random, world: World, way: str) -> str:
    """Break something for the next call, mostly on the way that it takes."""
    faults = world.exchange.faults
    if rng.random() < 0.2:
        way = rng.choice(["websocket", "rest"])
    proxy, sizes = (world.rest_proxy if way == "rest" else world.proxy), SIZES[way]
    faults.reports_first = rng.random() < 0.3
    what = rng.choice(
        ["nothing", "cut up", "cut up", "cut down", "cut down", "stall up", "stall down", "lose reply",
         "late reply", "late request", "late request and cut", "internal", "token", "hole", "no line"]
    )  # fmt: skip
    if what.startswith(("cut", "stall")):
        direction = what.split()[1]
        proxy.arm(direction, rng.randrange(sizes[direction]), stall=what.startswith("stall"))
        what += f" ({way})"
    elif what == "no line":  # cancels change their way, orders only if they were told to
        faults.refuse_connections = 10**6
        world.proxy.cut()
    elif what == "late reply" and way == "rest":
        faults.rest_delay = rng.uniform(0.1, 0.9)
    elif what == "lose reply":
        faults.drop_replies = 1
    elif what == "late reply":
        faults.reply_delay = rng.uniform(0.1, 0.9)
    elif what.startswith("late request"):
        faults.request_delay = rng.uniform(0.1, 0.9)
        if what.endswith("cut"):
            world.timers.append(threading.Timer(rng.uniform(0.02, 0.3), proxy.cut))
            world.timers[-1].start()
    elif what == "internal":
        faults.internal_errors = 1
    elif what == "token":
        faults.refuse_tokens = 1
    elif what == "hole":
        faults.skip_executions = rng.randrange(3)
        faults.skip_balances = rng.randrange(2)
    return what


def check(call: Call, world: World, seed: object) -> None:
    """What a call said, against the ledger. For adds."""
    taken = world.ledger(call.params)
    assert len(taken) <= 1, (seed, "taken twice", taken)
    assert not (taken and call.params.get("validate")), (seed, "validated, and placed", taken)
    assert call.took < HUNG, (seed, "hung", call.took)
    if call.ended == "ok" and call.params.get("validate"):
        assert call.result == {"validated": True, "placed": False}
    elif call.ended == "ok":
        assert taken, (seed, "said ok, but it is not in the ledger", call.result)
        assert taken[0]["order_id"] == call.result["order_id"]
    elif call.ended in ("rejected", "not sent", "not validated"):
        assert not taken, (seed, call.ended, call.error, taken)


def settle(client: SpotWSClient, call: Call, world: World, seed: object) -> Outcome:
    """Reconcile an unknown call when nothing is broken any more; it must be right."""
    assert isinstance(call.error, OrderOutcomeUnknown)
    found = client.reconcile(call.error, timeout=20)
    taken = world.ledger(call.params)
    if taken:
        assert found.outcome is EXPECTED[taken[0]["status"]], (seed, found, taken)
        assert found.order is not None, (seed, found)
        assert found.order.order_id == taken[0]["order_id"], (seed, found)
    else:
        assert found.outcome is Outcome.NEVER_ARRIVED, (seed, found)
    return found.outcome


def compare(client: SpotWSClient, world: World, seed: object) -> None:
    """The live tables against the ledger."""

    def wrong() -> Optional[str]:
        balances = dict(client.balance)
        if balances != world.exchange.balances():
            return f"{balances} != {world.exchange.balances()}"
        for order in world.exchange.orders():
            if order["order_id"] not in client.orders and order["status"] in (
                "filled",
                "canceled",
                "expired",
            ):
                continue  # ended before this client came
            mine = client.orders[order["order_id"]]
            said = (mine.status, mine.filled, mine.fee, mine.average_price)
            true = (order["status"], order["filled"], order["fee"], order["average_price"])
            if said != true:
                return f"{order['order_id']}: {said} != {true}"
        return None

    deadline = time.monotonic() + 15
    while True:
        try:
            problem = wrong()
        except KrakenError as error:
            problem = str(error)
        if problem is None:
            return
        assert time.monotonic() < deadline, (seed, problem)
        time.sleep(0.02)


def wait_whole(client: SpotWSClient, side: str = "private") -> None:
    """Until a ping comes back: the connection is none that was cut and has not noticed it yet."""
    line: Any = client._ks_runtime.connection(side)
    ends = time.monotonic() + 15
    while True:
        try:
            line.request({"method": "ping"}, ends)
            return
        except ConnectionLost:
            assert time.monotonic() < ends, "nothing is broken, and there is no connection"


def history(seed: int, world: World, counts: Counter) -> None:
    """A few calls under faults, then the truth."""
    rng = random.Random(seed)
    price = Decimal(world.exchange.top(S, 1)[0][0][0]).scaleb(-1)
    client, calls = world.client(), []
    world.exchange.faults.rest_lag = rng.choice([0.0, rng.uniform(0.0, 1.4)])
    world.exchange.faults.gone_text = rng.choice(["EOrder:Invalid order", "EOrder:Unknown order"])
    try:
        for _ in range(rng.randrange(2, 5)):
            way = rng.choice(["websocket", "rest"])
            broken = nemesis(rng, world, way)
            call = new_order(rng, price)
            call.params["via"] = way
            call.run(client)
            counts[f"fault: {broken}"] += 1
            counts[f"add_order ({way}): {call.ended}"] += 1
            check(call, world, (seed, broken))
            calls.append(call)
            if call.ended == "unknown" and rng.random() < 0.5:  # ask at once, while it is still broken
                early = client.reconcile(call.error, timeout=0.2)
                counts[f"reconciled at once: {early.outcome.value}"] += 1
                if early.outcome is Outcome.NEVER_ARRIVED:
                    call.params["never"] = True
            if call.ended == "ok" and not call.params.get("validate") and rng.random() < 0.4:
                kind = rng.choice(["order_id", "cl_ord_id"] if "cl_ord_id" in call.params else ["order_id"])
                via = rng.choice([None, None, "rest", "websocket"])
                cancel = Call("cancel_order", **{kind: call.result[kind]}, via=via)
                counts[f"fault: {nemesis(rng, world, via or 'websocket')}"] += 1
                cancel.run(client)
                counts[f"cancel_order ({via or 'either'}): {cancel.ended}"] += 1
                assert cancel.took < HUNG, (seed, "hung", cancel.took)
                status = world.ledger(call.params)[0]["status"]
                ends_itself = call.params.get("post_only") or call.params.get("time_in_force")
                if cancel.ended == "ok":
                    assert status in ("canceled", "filled", "expired"), (seed, broken, status, cancel.result)
                elif cancel.ended in ("not sent", "rejected"):
                    assert status != "canceled" or ends_itself, (seed, broken, cancel.error)
        time.sleep(max(0.0, world.exchange.faults.request_delay))
        world.heal()
        for call in calls:
            if call.ended == "unknown":
                outcome = settle(client, call, world, seed)
                counts[f"reconciled: {outcome.value}"] += 1
                assert not call.params.get("never") or outcome is Outcome.NEVER_ARRIVED, (
                    seed,
                    "changed its mind",
                )
            check(call, world, seed)
        # a hole is seen with the next message: one of each kind shows what was left out at the very end
        wait_whole(client)
        client.add_order(symbol=S, side="buy", order_type="market", order_qty="0.0001", timeout=5)
        compare(client, world, seed)
    finally:
        world.heal()
        client.close()
    counts["histories"] += 1


def every_byte(world: World, counts: Counter, step: int = 1, way: str = "websocket") -> None:
    """Cut one way after every byte (or each ``step``) of a request, and of what comes back."""
    client, calls, price = world.client(), [], Decimal("90000")
    proxy = world.rest_proxy if way == "rest" else world.proxy
    try:
        for direction, size in SIZES[way].items():
            for count in range(0, size, step):
                client.orders.wait_live()
                client.balance.wait_live()
                call = Call(
                    "add_order",
                    symbol=S,
                    side="sell",
                    order_type="limit",
                    order_qty=Decimal("0.0001"),
                    limit_price=price + count,
                    cl_ord_id=str(uuid.uuid4()),
                    deadline=5.0,
                    via=way,
                )
                proxy.arm(direction, count)
                call.run(client)
                proxy.disarm()
                check(call, world, (direction, count))
                counts[f"cut {direction} ({way}): {call.ended}"] += 1
                calls.append(call)
        for call in calls:
            if call.ended == "unknown":
                outcome = settle(client, call, world, call.params)
                counts[f"cut ({way}), reconciled: {outcome.value}"] += 1
        compare(client, world, "every byte")
    finally:
        world.heal()
        client.close()


def sent_twice(world: World) -> List[str]:
    """The ids of orders that reached the exchange more than once, other than after a refused token."""
    seen = Counter(request["params"].get("cl_ord_id") for request in world.exchange.requests("add_order"))
    return [name for name, count in seen.items() if name is not None and count > 2]


def main() -> None:
    """Run many and print the counts."""
    from kraken_sync import set_connection_budget

    set_connection_budget(10**9, 600.0)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--threads", type=int, default=4, help="worlds at the same time")
    parser.add_argument("--bytes", action="store_true", help="also cut at every byte")
    options = parser.parse_args()
    counts: Counter = Counter()
    failures: List[BaseException] = []
    seeds = iter(range(options.seed, options.seed + options.seeds))
    lock = threading.Lock()

    def work(number: int) -> None:
        world = World(number)
        own: Counter = Counter()
        try:
            while not failures:
                with lock:
                    seed = next(seeds, None)
                if seed is None:
                    break
                history(seed, world, own)
            assert not sent_twice(world)
            if options.bytes and number <= 2 and not failures:
                every_byte(world, own, way="websocket" if number == 1 else "rest")
        except BaseException as error:
            failures.append(error)
        finally:
            world.close()
            with lock:
                counts.update(own)

    threads = [threading.Thread(target=work, args=(number + 1,)) for number in range(options.threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, count in sorted(counts.items()):
        print(f"{count:7d}  {name}")
    if failures:
        raise failures[0]


if __name__ == "__main__":
    main()
