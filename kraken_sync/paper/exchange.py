"""The paper exchange: an account and its orders, on loopback, in markets that follow the real ones."""

from __future__ import annotations

import re
import secrets
import time
from decimal import Decimal
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from ..simulator.clock import Clock
from ..simulator.credentials import Credentials
from ..simulator.exchange import Exchange
from ..simulator.faults import Faults
from ..simulator.instruments import Instrument
from ..simulator.private_rest import PrivateRest
from ..simulator.rest import RestServer
from ..simulator.serving import Serving
from ..simulator.sockets import Sockets
from .market import Level, PaperMarket, RealMarket

HOST = "127.0.0.1"
_PUBLIC = re.compile(r"/0/public/\w+")
"""The paths that are passed on: nothing that could be taken for another one on the way."""
Levels = Sequence[Tuple[Decimal, Decimal]]


class _PublicRest:
    """Passes public requests on to the real exchange."""

    def __init__(self, ask: Callable[[str, Mapping[str, str]], Any]) -> None:
        self._ask = ask

    def answer(self, path: str, params: Dict[str, str]) -> Dict[str, Any]:
        if not _PUBLIC.fullmatch(path):
            return {"error": ["EGeneral:Unknown method"]}
        try:
            return {"error": [], "result": self._ask(path, params)}
        except Exception as error:  # whatever it is, it is the answer to this request
            return {"error": list(getattr(error, "errors", ())) or ["EService:Unavailable"]}


class PaperExchange:
    """Serves the private side of an exchange on loopback. Any thread.

    Args:
        balances: the money it begins with, by asset.
        tier: how many orders the account may place; None for no limit.
        public: asks the real exchange's public REST API.
    """

    def __init__(
        self,
        balances: Mapping[str, str],
        tier: Optional[str],
        public: Callable[[str, Mapping[str, str]], Any],
    ) -> None:
        self.key, self.secret = "PAPER-KEY", "bm90IGEgc2VjcmV0OiBwYXBlciB0cmFkaW5nIGhhcyBubyBrZXlzIQ=="
        seed, faults = secrets.randbits(48), Faults()
        credentials = Credentials(seed)
        credentials.add(self.key, self.secret)
        self._exchange = Exchange(seed, time.time(), faults, credentials, tier, pairs=(), funds=balances)
        self._faults = faults
        self._sockets = Sockets(self._exchange, HOST, 0, None, lambda: 0.0, 60.0, 1.0, Clock())
        self._public = _PublicRest(public)
        self._serving = Serving(self._sockets, HOST, 0, self._rest)
        self._markets: Dict[str, PaperMarket] = {}

    def start(self) -> None:
        """Serve; again at the same ports."""
        if not self._sockets.running:
            self._serving.start()

    def stop(self) -> None:
        """Stop serving; the account stays."""
        self._serving.stop()

    def _rest(self, port: int) -> RestServer:
        answer = PrivateRest(self._exchange).answer
        return RestServer(
            HOST,
            port,
            self._public,
            lambda *request: self._sockets.call(lambda: answer(*request)),
            lambda function: function(),  # a public request waits for the real exchange
            self._faults,
        )

    @property
    def options(self) -> Dict[str, str]:
        """The arguments of a client whose private side this is, and whose public side is to be replaced."""
        return self._serving.options(self.key, self.secret)

    @property
    def errors(self) -> List[Exception]:
        """Faults of the paper exchange itself."""
        return self._sockets.errors

    # -- markets -----------------------------------------------------------------------------

    @property
    def symbols(self) -> List[str]:
        """The pairs of which orders are taken."""
        return list(self._markets)

    def has(self, symbol: str) -> bool:
        """Whether orders of this pair are taken."""
        return symbol in self._markets

    def add(self, pair: Instrument, depth: int) -> None:
        """Take orders of a further pair, once its book is known, which has ``depth`` levels a side."""

        def run() -> None:
            market = RealMarket(pair, None, 0, time.time())
            market.status = "cancel_only"
            self._exchange.add_market(market)
            self._markets[pair.symbol] = PaperMarket(market, depth)

        self._sockets.call(run)

    def follow(self, symbol: str, bids: Levels, asks: Levels, status: str) -> None:
        """Take over a state of the real book, and the status of the pair."""
        paper = self._markets[symbol]

        def run() -> None:
            now = time.time()
            self._exchange.trading.begin(now)
            paper.mirror(_units(bids, paper), _units(asks, paper), status)
            tape = paper.market.tape
            if not tape.last and bids and asks:  # a pair without any trade yet
                tape.last = sum(price for side in (bids, asks) for price, _ in _units(side[:1], paper)) // 2
            self._exchange.publish(now)

        self._sockets.call(run)

    def trade(self, symbol: str, side: str, price: Decimal, qty: Decimal) -> None:
        """Take over a real trade; ``side`` is the taker's."""
        paper = self._markets[symbol]
        ((ticks, amount),) = _units([(price, qty)], paper)

        def run() -> None:
            now = time.time()
            self._exchange.trading.begin(now)
            paper.traded(side, ticks, amount)
            self._exchange.publish(now)

        self._sockets.call(run)

    def lose(self, symbol: str) -> None:
        """The real market is not known at the moment: no orders are taken, and none is filled."""
        paper = self._markets[symbol]

        self._sockets.call(paper.lose)


def _units(levels: Levels, paper: PaperMarket) -> List[Level]:
    pair = paper.market.pair
    return [(int(price.scaleb(pair.price_digits)), int(qty.scaleb(pair.qty_digits))) for price, qty in levels]
