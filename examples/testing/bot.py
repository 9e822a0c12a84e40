from decimal import Decimal

from kraken_sync import OrderOutcomeUnknown


class Seller:
    """Sells once when the price has reached a target, and knows whether it did."""

    def __init__(self, client, target):
        self.client = client
        self.target = Decimal(target)
        self.book = client.book("BTC/USD")
        self.order = None

    def look(self):
        """Called again and again; returns the order when it is filled."""
        if self.order is None and self.book.best_bid.price >= self.target:
            order = {"symbol": "BTC/USD", "side": "sell", "order_type": "limit", "order_qty": "0.1"}
            try:
                placed = self.client.add_order(**order, limit_price=self.target, timeout=2)
                self.order = placed["order_id"]
            except OrderOutcomeUnknown as lost:  # it may be live: find out, and do not send it again
                found = self.client.reconcile(lost)
                self.order = found.order.order_id if found.order is not None else None
        if self.order is not None and self.client.orders[self.order].status == "filled":
            return self.client.orders[self.order]
        return None
