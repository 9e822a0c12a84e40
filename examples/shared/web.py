"""A web page of best prices out of Redis: HTML for people, JSON for programs, and the state with both.

python examples/shared/web.py redis://localhost:6379/0              http://127.0.0.1:8000/ and /book/BTC/USD
python examples/shared/web.py redis://localhost:6379/0 BTC/EUR SOL/USD --port 8080

Needs publisher.py, in another process or on another machine, and: pip install "kraken-sync[shared]" flask
With gunicorn, let each worker make its own client after it was forked, as examples/howto/flask_app.py does.
"""

from __future__ import annotations

import argparse
from typing import Any, Dict, Sequence

from flask import Flask, render_template_string

from kraken_sync import KrakenError
from kraken_sync.shared import SharedClient

PAGE = """<!doctype html><meta http-equiv="refresh" content="2"><title>Best prices</title>
<table border="1" cellpadding="6">
<tr><th>symbol<th>bid<th>ask<th>state<th>proven
{% for one in rows %}
<tr><td>{{ one.symbol }}<td>{{ one.bid or "-" }}<td>{{ one.ask or "-" }}<td>{{ one.state }}
    <td>{{ one.reason or "%.1f s ago" % one.age }}
{% endfor %}</table>"""


def make_app(client: SharedClient, symbols: Sequence[str]) -> Flask:
    """Return the site. Flask answers each request on a thread of its own; all may use one client."""
    app = Flask(__name__)
    books: Dict[str, Any] = {}

    def row(symbol: str) -> Dict[str, Any]:
        try:
            if symbol not in books:
                # Without a publisher this ends after a second, and the next request tries again.
                books[symbol] = client.book(symbol, timeout=1)
            now = books[symbol].snapshot(1)
        except KrakenError as error:  # no price is better than an old one
            return {"symbol": symbol, "state": "STALE", "reason": str(error)}
        bid, ask = now.best_bid, now.best_ask
        return {
            "symbol": symbol,
            "bid": str(bid.price) if bid else None,
            "ask": str(ask.price) if ask else None,
            "state": now.state,
            "age": round(now.age, 3),
        }

    @app.get("/")
    def page() -> str:
        return render_template_string(PAGE, rows=[row(symbol) for symbol in symbols])

    @app.get("/book/<base>/<quote>")
    def book(base: str, quote: str) -> Any:
        found = row(f"{base}/{quote}")
        return found, 200 if found["state"] == "LIVE" else 503

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("redis", help="the URL that publisher.py was given")
    parser.add_argument("symbols", nargs="*", default=["BTC/USD", "ETH/USD"])
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    client = SharedClient(options.redis)  # connects when it is first needed
    try:
        make_app(client, options.symbols).run(port=options.port, threaded=True)
    finally:
        client.close()


if __name__ == "__main__":
    main()
