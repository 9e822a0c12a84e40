"""A stand-in for the exchange that costs as little as possible: a process of its own, one thread a client.

It greets with ``status``, acknowledges every subscription, answers pings and orders, and sends a feed: the
snapshots of the symbols that a client subscribes to, and then the updates of all of them, as fast as the
client takes them or so many a second by an absolute schedule. A heartbeat comes once a second when nothing
else does. Started by :class:`benchmarks.stage.Stage`; prints its URLs as one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import ssl
import sys
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Deque, Dict, List, Optional, Sequence, Tuple

from .frames import CLOSE, PING, PONG, TEXT, server_frame, split_client, upgrade, written

STATUS = (
    b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
    b'"connection_id":1}]}'
)
HEARTBEAT = server_frame(b'{"channel":"heartbeat"}')
SOME_TIME = "2026-11-01T00:00:00.000000Z"
START = "trade"
"""With ``--start trade`` a client that has all its books asks for the updates by subscribing to this."""


class Feed:
    """What is sent: frames by symbol, and how fast."""

    def __init__(self, path: Optional[Path], rate: float) -> None:
        lines = path.read_bytes().splitlines() if path is not None else []
        self.rate = rate
        self.snapshots: Dict[str, bytes] = {}
        self._updates: List[Tuple[str, bytes]] = []
        for line in lines:
            symbol = line[line.index(b'"symbol":"') + 10 :].split(b'"', 1)[0].decode()
            if line.startswith(b'{"channel":"book","type":"snapshot"'):
                self.snapshots[symbol] = server_frame(line)
            else:
                self._updates.append((symbol, server_frame(line)))

    def writes(self, symbols: Sequence[str]) -> Deque[bytes]:
        """What to write, one after the other, to a client with these symbols."""
        wanted = set(symbols)
        frames = (frame for symbol, frame in self._updates if symbol in wanted)
        return deque(frames if self.rate else written(frames))


class Client:
    """One connection, served by its own thread."""

    def __init__(self, sock: socket.socket, feed: Feed, options: argparse.Namespace) -> None:
        self._sock = sock
        self._feed = feed
        self._options = options
        self._buffer = b""
        self._symbols: List[str] = []
        self._writes: Deque[bytes] = deque()
        self._first, self._written = 0.0, 0
        self._sent: List[float] = []
        self._last = time.monotonic()

    def serve(self) -> None:
        """Serve until the client leaves."""
        try:
            self._greet()
            while self._wait():
                self._write()
        except (OSError, ValueError):
            pass  # it has left
        finally:
            self._sock.close()

    def _greet(self) -> None:
        while b"\r\n\r\n" not in self._buffer:
            received = self._sock.recv(65_536)
            if not received:
                raise OSError("left")
            self._buffer += received
        request, self._buffer = self._buffer.split(b"\r\n\r\n", 1)
        self._sock.sendall(upgrade(request))
        if self._options.start == "bare":
            self._begin(list(self._feed.snapshots))
            return
        self._send(STATUS)

    def _wait(self) -> bool:
        """Wait until something is to be written, and read what comes meanwhile; False when it has left."""
        pending = isinstance(self._sock, ssl.SSLSocket) and self._sock.pending()
        if (
            not pending
            and not select.select([self._sock], [], [], max(0.0, self._due() - time.monotonic()))[0]
        ):
            return True
        received = self._sock.recv(65_536)
        if not received:
            return False
        messages, self._buffer = split_client(self._buffer + received)
        return all(self._receive(opcode, payload) for opcode, payload in messages)

    def _due(self) -> float:
        if self._writes:
            return self._first + self._written / self._feed.rate if self._feed.rate else 0.0
        return self._last + 1.0

    def _write(self) -> None:
        now = time.monotonic()
        if now < self._due():
            return
        if not self._writes:
            self._sock.sendall(HEARTBEAT)
            self._last = now
            return
        piece = self._writes.popleft()
        self._written += 1
        self._sent.append(time.monotonic())
        self._sock.sendall(piece)
        if not self._writes:
            self._last = 0.0  # a heartbeat now: what reads in pieces may wait for more
            if self._options.times is not None:
                part = self._options.times.with_suffix(".part")
                part.write_text(json.dumps(self._sent))
                part.replace(self._options.times)

    def _begin(self, symbols: List[str]) -> None:
        for symbol in symbols:
            self._sock.sendall(self._feed.snapshots[symbol])
        self._writes, self._written, self._sent = self._feed.writes(symbols), 0, []
        self._first = time.monotonic()

    def _send(self, payload: bytes) -> None:
        self._sock.sendall(server_frame(payload))
        self._last = time.monotonic()

    def _say(self, **message: Any) -> None:
        self._send(json.dumps(message, separators=(",", ":")).encode())

    def _receive(self, opcode: int, payload: bytes) -> bool:
        if opcode == PING:
            self._sock.sendall(server_frame(payload, PONG))
        elif opcode == TEXT:
            self._answer(json.loads(payload))
        return opcode != CLOSE

    def _answer(self, message: Dict[str, Any]) -> None:
        method = message.get("method")
        number = {"req_id": message["req_id"]} if "req_id" in message else {}
        times = {"time_in": SOME_TIME, "time_out": SOME_TIME}
        if method == "ping":
            self._say(method="pong", **number, **times)
        elif method == "add_order":
            named = {name: value for name, value in message["params"].items() if name == "cl_ord_id"}
            result = {"order_id": "OAAAAA-AAAAA-AAAAAA", **named}
            self._say(method=method, **number, result=result, success=True, **times)
        elif method in ("subscribe", "unsubscribe"):
            self._acknowledge(method, message["params"], {**number, "success": True, **times})

    def _acknowledge(self, method: str, params: Dict[str, Any], rest: Dict[str, Any]) -> None:
        channel, symbols = params["channel"], params.get("symbol")
        told = {name: value for name, value in params.items() if name not in ("symbol", "token")}
        for symbol in symbols or [None]:
            result = {**told, "symbol": symbol} if symbol is not None else told
            self._say(method=method, result=result, **rest)
        if method == "unsubscribe":
            return
        if channel == "instrument":
            self._say(channel=channel, type="snapshot", data={"assets": [], "pairs": self._pairs()})
        elif channel == "executions":
            self._say(channel=channel, type="snapshot", data=[], sequence=1)
        elif channel == "book":
            self._symbols += symbols or []
            if self._options.start == "book":
                self._begin(self._symbols)
            else:
                for symbol in symbols or []:
                    self._sock.sendall(self._feed.snapshots[symbol])
        elif channel == START and self._options.start == START:
            self._writes, self._written = self._feed.writes(self._symbols), 0
            self._first = time.monotonic()

    def _pairs(self) -> List[Dict[str, Any]]:
        return [
            {
                "symbol": symbol,
                "status": "online",
                "price_increment": 0.1,
                "tick_size": 0.1,
                "qty_increment": 1e-08,
                "qty_min": 0.0001,
                "cost_min": "0.5",
            }
            for symbol in self._options.symbols or self._feed.snapshots or ["BTC/USD"]
        ]


class Rest(BaseHTTPRequestHandler):
    """The few REST answers that a private connection needs."""

    protocol_version = "HTTP/1.1"
    pair = {
        "altname": "XBTUSD",
        "wsname": "XBT/USD",
        "pair_decimals": 1,
        "lot_decimals": 8,
        "ordermin": "0.0001",
        "costmin": "0.5",
        "tick_size": "0.1",
        "status": "online",
    }

    def do_GET(self) -> None:
        """Answer a public request."""
        self._reply()

    def do_POST(self) -> None:
        """Answer a signed request; the signature is not looked at."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._reply()

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def _reply(self) -> None:
        results: Dict[str, Any] = {
            "GetWebSocketsToken": {"token": "a-token", "expires": 900},
            "AssetPairs": {"XXBTZUSD": self.pair},
            "Time": {"unixtime": int(time.time()), "rfc1123": ""},
        }
        result = results.get(self.path.split("?")[0].rpartition("/")[2], {})
        body = json.dumps({"error": [], "result": result}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def accept(listener: socket.socket, context: Optional[ssl.SSLContext], feed: Feed, options: Any) -> None:
    """Serve every client that comes."""

    def serve(sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
        except OSError:
            return
        Client(sock, feed, options).serve()

    while True:
        sock, _ = listener.accept()
        threading.Thread(target=serve, args=(sock,), daemon=True).start()


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--feed", type=Path, help="the frames, one a line")
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; 0: as fast as they go")
    parser.add_argument("--start", choices=("book", START, "bare"), default="book")
    parser.add_argument("--times", type=Path, help="where to write when each message was sent")
    parser.add_argument("--symbols", nargs="*", help="the pairs of the instrument channel")
    parser.add_argument("--cert", help="the chain and the key, for TLS")
    options = parser.parse_args()
    context = None
    if options.cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.cert)
    listener = socket.create_server(("127.0.0.1", 0), backlog=16)
    feed = Feed(options.feed, options.rate)
    threading.Thread(target=accept, args=(listener, context, feed, options), daemon=True).start()
    rest = ThreadingHTTPServer(("127.0.0.1", 0), Rest)
    threading.Thread(target=rest.serve_forever, daemon=True).start()
    place = f"{'wss' if context else 'ws'}://localhost:{listener.getsockname()[1]}/v2"
    print(json.dumps({"ws": place, "rest": f"http://localhost:{rest.server_port}"}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
