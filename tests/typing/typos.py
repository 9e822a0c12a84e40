"""Mistakes of a user's: both type checkers must complain about each line that says so."""

from kraken_sync import SpotWSClient

with SpotWSClient() as client:
    client.book("BTC/USD", depth=50)  # wrong: no such depth
    client.book(["BTC/USD"])  # wrong: one pair
    client.level3_book("BTC/USD", depth=25)  # wrong: no such depth of level3
    client.ohlc("BTC/USD", interval=2)  # wrong: no such interval
    client.ticker("BTC/USD", event_trigger="bba")  # wrong: a typo
    client.ticker("BTC/USD", snapshott=True)  # wrong: a typo
    client.trades("BTC/USD", policy="drop")  # wrong: no such policy
    client.trades("BTC/USD").get()["prise"]  # wrong: a typo
    client.ticker("BTC/USD").get()["price"]  # wrong: a ticker has bid, ask and last
    client.ohlc("BTC/USD").get()["closing"]  # wrong: a typo
    client.latest("tickers", "BTC/USD")  # wrong: no such channel
    client.collect("trades", "BTC/USD", n=1)  # wrong: the channel is called trade
    client.add_order(symbol="BTC/USD", side="bid", order_type="limit", order_qty=1)  # wrong: buy or sell
    client.add_order(symbol="BTC/USD", side="buy", order_type="stop", order_qty=1)  # wrong: stop-loss
    client.add_order(symbol="BTC/USD", side="buy", order_type="limit", price=1)  # wrong: limit_price
    client.add_order(symbol="A/B", side="buy", order_type="limit", time_in_force="GTC")  # wrong: gtc
    client.add_order(symbol="BTC/USD", side="buy", order_type="limit")["orderid"]  # wrong: order_id
    client.cancel_order(txid="O1")  # wrong: order_id
    client.cancel_all(via="fix")  # wrong: no such way
    client.book("BTC/USD").best_bit  # wrong: a typo
    client.book("BTC/USD").best_bid.price  # wrong: it may be None
    client.orders["O1"].state  # wrong: status
    client.balance["USD"].upper()  # wrong: a Decimal
    client.book("BTC/USD").changes(count=3)  # wrong: n
