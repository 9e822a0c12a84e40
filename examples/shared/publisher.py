"""The one process that talks to the exchange: it writes books, trades and tickers into Redis.

python examples/shared/publisher.py redis://localhost:6379/0                    BTC/USD and ETH/USD
python examples/shared/publisher.py redis://localhost:6379/0 BTC/EUR SOL/USD
python examples/shared/publisher.py redis://localhost:6379/0 --simulated        without the exchange

Start it twice, on two machines, and the second one stands by. It ends with Ctrl-C or SIGTERM. Then start
``web.py`` and ``bot.py`` with the same URL. Needs: pip install "kraken-sync[shared,simulator]"
"""

from __future__ import annotations

import argparse
import logging
import signal
import threading
from contextlib import ExitStack

from kraken_sync import SpotWSClient
from kraken_sync.shared import Publisher


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("redis", help="such as redis://user:password@host:6379/0")
    parser.add_argument("symbols", nargs="*", default=["BTC/USD", "ETH/USD"])
    parser.add_argument("--depth", type=int, default=100, help="levels a side of each book")
    parser.add_argument("--simulated", action="store_true", help="publish a simulated exchange")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    stop = threading.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, lambda *_: stop.set())
    with ExitStack() as stack:
        if options.simulated:
            from kraken_sync.simulator import Simulator

            client = stack.enter_context(Simulator(rate=100)).client()
        else:
            client = SpotWSClient()
        stack.enter_context(client)
        publisher = stack.enter_context(
            Publisher(client, options.redis, options.symbols, depth=options.depth)
        )
        while not stop.wait(10):
            logging.info("%s messages written; %s", publisher.published, publisher.trouble or "in office")


if __name__ == "__main__":
    main()
