"""Prices over HTTP: one client for each worker process, made when the first request needs it.

flask --app flask_app run
gunicorn --workers 2 --threads 8 flask_app:app      (without --preload, or see post_fork below)
"""

from __future__ import annotations

import os
import threading
from typing import Any, Optional

from flask import Flask

from kraken_sync import BookNotLive, SpotWSClient

app = Flask(__name__)
_lock = threading.Lock()
_client: Optional[SpotWSClient] = None


def client() -> SpotWSClient:
    """The client of this process: made on first use, never before a fork."""
    global _client
    with _lock:
        if _client is None:
            _client = SpotWSClient(ws_url=os.environ.get("WS_URL")).start()
        return _client


@app.get("/price/<base>/<quote>")
def price(base: str, quote: str) -> Any:
    book = client().book(f"{base}/{quote}")  # the same book each time: asking again costs nothing
    try:
        return book.snapshot(1).to_dict()
    except BookNotLive as error:
        return {"error": str(error)}, 503


def post_fork(server: Any, worker: Any) -> None:
    """For gunicorn with --preload, in its configuration file: a client of the parent is of no use here."""
    global _client
    _client = None
