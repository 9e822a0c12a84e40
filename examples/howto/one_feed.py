"""One process talks to the exchange, and any number of others read from it: one JSON line a change.

python one_feed.py serve 9000        in one terminal
python one_feed.py read 9000         in as many others as you like
"""

from __future__ import annotations

import json
import os
import queue
import socket
import socketserver
import sys
import threading
from typing import Any, Set

from kraken_sync import SpotWSClient

readers: Set[Any] = set()


class Reader(socketserver.StreamRequestHandler):
    """One reader; if it is too slow, it gets the latest states and not all of them."""

    def handle(self) -> None:
        lines: Any = queue.Queue(maxsize=10)
        readers.add(lines)
        try:
            while True:
                self.wfile.write(lines.get())
        except OSError:
            pass  # it has gone away
        finally:
            readers.discard(lines)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads = True, True


def serve(port: int) -> None:
    with Server(("127.0.0.1", port), Reader) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print("serving", flush=True)
        with SpotWSClient(ws_url=os.environ.get("WS_URL")) as client:
            for snapshot in client.book("BTC/USD").changes():
                line = json.dumps(snapshot.to_dict()).encode() + b"\n"
                for lines in list(readers):
                    if lines.full():
                        lines.get_nowait()
                    lines.put(line)


def read(port: int, count: int = 0) -> None:
    with socket.create_connection(("127.0.0.1", port)) as sock, sock.makefile("rb") as lines:
        for number, line in enumerate(lines, 1):
            book = json.loads(line)
            print(book["symbol"], book["bids"][0]["price"], book["state"], flush=True)
            if number == count:
                return


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    command, *numbers = sys.argv[1:]
    try:
        {"serve": serve, "read": read}[command](*map(int, numbers))
    except KeyboardInterrupt:
        pass
