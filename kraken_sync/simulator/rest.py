"""The REST side of the simulated exchange: its public endpoints, and the server, on a port of its own.

(The WebSocket server answers no POST requests, so REST cannot share its port.)
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Callable, Dict, List, Mapping, Optional, Protocol, Set, Union
from urllib.parse import parse_qsl, urlsplit

from .exchange import Exchange
from .faults import Faults
from .instruments import Instrument, asset_digits, assets_of
from .tape import INTERVALS
from .wire import number, timestamp

Params = Dict[str, str]
OLD = {"BTC": "XBT", "DOGE": "XDG"}


class RestError(Exception):
    """An error in the exchange's own words."""


class RestApi:
    """Answers public requests from the state of an exchange."""

    def __init__(self, exchange: Exchange, clock: Callable[[], float] = time.time) -> None:
        self._exchange = exchange
        self._clock = clock
        self._endpoints: Dict[str, Callable[[Params], Any]] = {
            "Time": self._time,
            "SystemStatus": self._system_status,
            "Assets": self._assets,
            "AssetPairs": self._asset_pairs,
            "Depth": self._depth,
            "Trades": self._trades,
            "OHLC": self._ohlc,
            "Spread": self._spread,
        }

    def answer(self, path: str, params: Params) -> Dict[str, Any]:
        """The JSON envelope for a request."""
        name = path[len("/0/public/") :] if path.startswith("/0/public/") else ""
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return {"error": ["EGeneral:Unknown method"]}
        try:
            return {"error": [], "result": endpoint(params)}
        except RestError as error:
            return {"error": [str(error)]}

    def _pairs(self) -> List[Instrument]:
        return [market.pair for market in self._exchange.markets.values()]

    def _time(self, params: Params) -> Any:
        now = self._clock()
        return {"unixtime": int(now), "rfc1123": formatdate(now, usegmt=True)}

    def _system_status(self, params: Params) -> Any:
        announced = self._exchange.announced
        return {
            "status": self._exchange.system,
            "timestamp": timestamp(self._clock(), 0)[:19] + "Z",
            "upcoming_maintenance": announced["maintenance"],
            "emergency": announced["emergency"],
        }

    def _assets(self, params: Params) -> Any:
        wanted = params.get("asset", "")
        known = assets_of(self._pairs())
        names = wanted.split(",") if wanted else known
        if not set(names) <= set(known):
            raise RestError("EQuery:Unknown asset")
        return {name: asset_entry(name, *asset_digits(name)) for name in names}

    def _asset_pairs(self, params: Params) -> Any:
        wanted = params.get("pair", "")
        if params.get("aclass_base") == "tokenized_asset":
            return {}  # it has none
        if not wanted:
            return {rest_id(pair): self._pair_entry(pair) for pair in self._pairs()}
        pairs = {name: self._pair(name) for name in wanted.split(",")}
        return {_echo({"pair": name}, pair): self._pair_entry(pair) for name, pair in pairs.items()}

    def _pair_entry(self, pair: Instrument) -> Dict[str, Any]:
        old_base, _, old_quote = (pair.old_name or pair.symbol).partition("/")
        base, quote = OLD.get(pair.base, pair.base), OLD.get(pair.quote, pair.quote)
        return {
            **pair_entry(base, quote),
            "base": old_base,
            "quote": old_quote,
            "cost_decimals": pair.cost_digits,
            "pair_decimals": pair.price_digits,
            "lot_decimals": pair.qty_digits,
            "ordermin": number(pair.qty_min, pair.qty_digits).rstrip("0").rstrip("."),
            "costmin": pair.cost_min,
            "tick_size": number(1, pair.price_digits),
            "status": self._exchange.markets[pair.symbol].status,
        }

    def _depth(self, params: Params) -> Any:
        pair = self._pair(params.get("pair", ""))
        count = _whole(params, "count", 100)
        book, now = self._exchange.markets[pair.symbol].book, int(self._clock())
        sides = {
            name: [
                [number(price, pair.price_digits), number(qty, pair.qty_digits)[:-5], now]
                for price, qty in side.top(max(1, min(500, count)))
            ]
            for name, side in (("asks", book.asks), ("bids", book.bids))
        }
        return {_echo(params, pair): sides}

    def _trades(self, params: Params) -> Any:
        pair = self._pair(params.get("pair", ""))
        since, count = _whole(params, "since", 0), _whole(params, "count", 1000)
        rows: List[List[Any]] = []
        last = since
        for trade in self._exchange.markets[pair.symbol].tape.trades:
            nanoseconds = int(trade.moment * 1e9)
            behind = trade.moment > self._clock() - self._exchange.faults.rest_lag
            if nanoseconds <= since or len(rows) >= count or (behind and self._exchange.faults.rest_lag):
                continue
            last = nanoseconds
            rows.append(
                [
                    number(trade.price, pair.price_digits),
                    number(trade.qty, pair.qty_digits),
                    trade.moment,
                    trade.side[0],
                    trade.kind[0],
                    "",
                    trade.trade_id,
                ]
            )
        return {_echo(params, pair): rows, "last": str(last)}

    def _ohlc(self, params: Params) -> Any:
        pair = self._pair(params.get("pair", ""))
        interval, since = _whole(params, "interval", 1), _whole(params, "since", 0)
        if interval not in INTERVALS:
            raise RestError("EGeneral:Invalid arguments")
        digits = pair.price_digits
        candles = self._exchange.markets[pair.symbol].tape.candles[interval]
        rows = [
            [
                candle.begin,
                number(candle.open, digits),
                number(candle.high, digits),
                number(candle.low, digits),
                number(candle.close, digits),
                number(candle.vwap, digits),
                number(candle.volume, pair.qty_digits),
                candle.trades,
            ]
            for candle in candles
            if candle.begin > since
        ]
        last = candles[-2].begin if len(candles) > 1 else candles[-1].begin
        return {_echo(params, pair): rows, "last": last}

    def _spread(self, params: Params) -> Any:
        pair = self._pair(params.get("pair", ""))
        bid, ask = self._exchange.markets[pair.symbol].best()
        now = int(self._clock())
        row = [now, number(bid[0], pair.price_digits), number(ask[0], pair.price_digits)]
        return {_echo(params, pair): [row], "last": now}

    def _pair(self, name: str) -> Instrument:
        for pair in self._pairs():
            base, quote = OLD.get(pair.base, pair.base), OLD.get(pair.quote, pair.quote)
            if name in (pair.symbol, f"{base}{quote}", f"{pair.base}{pair.quote}", rest_id(pair)):
                return pair
        raise RestError("EQuery:Unknown asset pair")


def pair_entry(base: str, quote: str) -> Dict[str, Any]:
    """What AssetPairs says of every pair alike, with REST's names of the assets."""
    return {
        "altname": f"{base}{quote}",
        "wsname": f"{base}/{quote}",
        "aclass_base": "currency",
        "base": base,
        "aclass_quote": "currency",
        "quote": quote,
        "lot": "unit",
        "lot_multiplier": 1,
        "leverage_buy": [],
        "leverage_sell": [],
        "fees": [],
        "fees_maker": [],
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
    }


def asset_entry(name: str, digits: int, shown: int) -> Dict[str, Any]:
    """What Assets says of an asset, by its WebSocket name."""
    return {
        "aclass": "currency",
        "altname": OLD.get(name, name),
        "decimals": digits,
        "display_decimals": shown,
        "status": "enabled",
    }


def rest_id(pair: Instrument) -> str:
    """The key of a pair in REST answers, such as ``XXBTZUSD``."""
    if pair.old_name:
        return pair.old_name.replace("/", "")
    return f"{OLD.get(pair.base, pair.base)}{OLD.get(pair.quote, pair.quote)}"


def _echo(params: Params, pair: Instrument) -> str:
    name = params.get("pair", "")
    return name if name == pair.symbol else rest_id(pair)


def _whole(params: Params, name: str, default: int) -> int:
    try:
        return int(params.get(name, default))
    except ValueError:
        raise RestError(f"EGeneral:Invalid arguments:{name}") from None


class PublicApi(Protocol):
    """Answers public requests."""

    def answer(self, path: str, params: Params) -> Dict[str, Any]:
        """The JSON envelope for a request."""


class RestServer:
    """Serves REST in a thread of its own.

    ``ask`` runs a function where the exchange lives and returns its result. ``private`` answers a signed
    request from its path, headers and body; ``faults`` tell how long its answers take.
    """

    def __init__(
        self,
        host: str,
        port: int,
        api: PublicApi,
        private: Callable[[str, Mapping[str, str], bytes], Union[Dict[str, Any], bytes]],
        ask: Callable[[Callable[[], Any]], Any],
        faults: Faults,
    ) -> None:
        opened: Set[socket.socket] = set()
        self._open = opened
        self._pid = os.getpid()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                self._reply_public(parts.path, parts.query)

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body, path = self.rfile.read(length), urlsplit(self.path).path
                headers = {name: self.headers[name] for name in self.headers}
                if not path.startswith("/0/private/"):
                    self._reply_public(path, body.decode("utf-8", "replace"))
                    return
                answer = ask(lambda: private(path, headers, body))
                time.sleep(faults.rest_delay)
                if faults.rest_answers and not path.endswith("GetWebSocketsToken"):
                    status, text = faults.rest_answers.pop(0)
                    self._reply(text, status)
                else:
                    self._reply(answer)

            def _reply_public(self, path: str, params: str) -> None:
                if faults.public_rest_errors:
                    answer: Dict[str, Any] = {"error": [faults.public_rest_errors.pop(0)]}
                else:
                    answer = ask(lambda: api.answer(path, dict(parse_qsl(params))))
                time.sleep(faults.public_rest_delay)
                self._reply(answer)

            def setup(self) -> None:
                super().setup()
                opened.add(self.request)

            def finish(self) -> None:
                opened.discard(self.request)
                super().finish()

            def _reply(self, answer: Union[Dict[str, Any], bytes], status: int = 200) -> None:
                raw = isinstance(answer, bytes)
                data = (
                    answer
                    if isinstance(answer, bytes)
                    else json.dumps(answer, separators=(",", ":")).encode()
                )
                head = [
                    ("Content-Type", "application/zip" if raw else "application/json"),
                    ("Content-Length", str(len(data))),
                ]
                try:
                    self.send_response(status)
                    for name, value in head:
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    self.close_connection = True  # the client has gone

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that goes away is no error

        self._server = Server((host, port), Handler)
        self.port = self._server.server_address[1]
        self._thread: Optional[threading.Thread] = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="simulator-rest", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop serving; every connection is cut. No effect in a forked child, which has no such thread."""
        if os.getpid() != self._pid:
            return
        self._server.shutdown()
        self._server.server_close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        if self._thread is not None:
            self._thread.join(2)
