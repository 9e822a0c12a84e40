"""Code of a user's that both type checkers must accept, in their strict modes."""

from decimal import Decimal
from typing import Optional

from kraken_sync import BookSnapshot, KrakenError, Order, SpotOrderBookClient, SpotWSClient, StreamTimeout
from kraken_sync.types import Candle, Depth, OrderResult, Side, Ticker, Trade


def spread_of(snapshot: BookSnapshot) -> Optional[Decimal]:
    return snapshot.spread


def handle(trade: Trade) -> str:
    side: Side = trade["side"]
    return f"{side} {trade['qty']} at {trade['price']}"


def main(depth: Depth = 25) -> None:
    with SpotWSClient() as client:
        book = client.book("BTC/USD", depth=depth)
        best = book.best_bid
        if best is not None:
            price: Decimal = best.price
            print(price, spread_of(book.snapshot(5)))
        for trade in client.trades(["BTC/USD", "ETH/USD"], snapshot=True):
            print(handle(trade))
        try:
            ticker: Ticker = client.ticker("BTC/USD", event_trigger="bbo").get(timeout=5)
            print(ticker["bid"], ticker["change_pct"])
        except StreamTimeout as error:
            print(error.waited)
        candle: Optional[Candle] = client.latest("ohlc", "BTC/USD", interval=5)
        if candle is not None:
            print(candle["close"] - candle["open"])
        placed: OrderResult = client.add_order(
            symbol="BTC/USD",
            side="buy",
            order_type="limit",
            order_qty="0.1",
            limit_price=Decimal("60000"),
            time_in_force="gtc",
        )
        order: Order = client.orders.wait_open(placed["order_id"])
        print(order.status, client.balance["USD"], client.orders.open)
        for state in book.changes(n=3):
            print(state.mid)
        print(client.collect("trade", "BTC/USD", n=10).gaps, client.cancel_all()["count"])


class Books(SpotOrderBookClient):
    pass


def stop(error: KrakenError) -> bool:
    return error.permanent
