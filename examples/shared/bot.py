"""A bot that reads its prices out of Redis, and says when a spread is wide.

python examples/shared/bot.py redis://localhost:6379/0                      BTC/USD, wider than 2 basis points
python examples/shared/bot.py redis://localhost:6379/0 --symbol ETH/USD --wider 5 --count 3

Orders never go through Redis: a bot that trades has a SpotWSClient of its own beside the SharedClient, with
an API key. Needs publisher.py, in another process or on another machine: pip install "kraken-sync[shared]"
"""

from __future__ import annotations

import argparse
import logging
from decimal import Decimal

from kraken_sync import BookNotLive, ConnectFailed
from kraken_sync.shared import SharedClient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("redis", help="the URL that publisher.py was given")
    parser.add_argument("--symbol", default="BTC/USD")
    parser.add_argument("--wider", type=Decimal, default=Decimal(2), help="basis points, 0.01 percent each")
    parser.add_argument("--count", type=int, default=0, help="stop after so many lines")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s")  # outages, and their end
    printed, generation = 0, None
    with SharedClient(options.redis) as client:
        for now in client.book(options.symbol).changes():  # verified states; it waits while there are none
            if now.generation != generation:
                print(f"{now.symbol}  LIVE{'' if generation is None else ' again, after a gap'}", flush=True)
                generation = now.generation
            bid, ask = now.best_bid, now.best_ask
            if bid is None or ask is None:
                continue  # one side is empty
            width = (ask.price - bid.price) / bid.price * 10_000
            if width > options.wider:
                print(f"{now.symbol}  {bid.price} / {ask.price}  {width:.2f} bp wide", flush=True)
                printed += 1
                if printed == options.count:
                    return


if __name__ == "__main__":
    try:
        main()
    except (BookNotLive, ConnectFailed) as error:
        raise SystemExit(str(error)) from None
    except KeyboardInterrupt:
        pass
