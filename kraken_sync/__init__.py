"""A synchronous client for Kraken's Spot WebSocket API v2.

::

    from kraken_sync import SpotWSClient

    with SpotWSClient() as client:
        book = client.book("BTC/USD", depth=100)   # blocks until a verified snapshot
        print(book.best_bid, book.best_ask, book.spread)
        for trade in client.trades("BTC/USD"):
            print(trade["price"], trade["qty"])

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket.
"""

import logging

from .client import SpotWSClient
from .core.book.level3_snapshot import Level3Level, Level3Order, Level3Snapshot, QueuePosition
from .core.book.snapshot import BookSnapshot, Level
from .core.client_state import WSState
from .core.freshness import BookState
from .core.orders.order import Order
from .core.timing import Timing
from .core.wire.announcements import Announcement
from .errors import (
    AccountNotLive,
    BookNotLive,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    CredentialsInvalid,
    CredentialsMissing,
    ExchangeMismatch,
    ForkedClient,
    KrakenError,
    OrderEnded,
    OrderNotSent,
    OrderOutcomeUnknown,
    OrderRejected,
    PermissionRefused,
    RateLimited,
    ReplyTimeout,
    RequestRefused,
    RestRefused,
    StreamOverflow,
    StreamTimeout,
    SubscriptionRefused,
    UnknownChannel,
    UnknownSymbol,
)
from .io.budget import set_connection_budget
from .io.crowd import close_all
from .market.level3_book import Level3Book
from .market.order_book import OrderBook
from .market.subscription import Subscription
from .orderbook_client import SpotOrderBookClient
from .trading.outcomes import Outcome, Reconciled
from .version import __version__

__all__ = [
    "AccountNotLive",
    "Announcement",
    "BookNotLive",
    "BookSnapshot",
    "BookState",
    "ClientClosed",
    "ConnectFailed",
    "ConnectionLost",
    "CredentialsInvalid",
    "CredentialsMissing",
    "ExchangeMismatch",
    "ForkedClient",
    "KrakenError",
    "Level",
    "Level3Book",
    "Level3Level",
    "Level3Order",
    "Level3Snapshot",
    "Order",
    "OrderBook",
    "Outcome",
    "Reconciled",
    "OrderEnded",
    "OrderNotSent",
    "OrderOutcomeUnknown",
    "OrderRejected",
    "PermissionRefused",
    "QueuePosition",
    "RateLimited",
    "ReplyTimeout",
    "RequestRefused",
    "RestRefused",
    "SpotOrderBookClient",
    "SpotWSClient",
    "StreamOverflow",
    "StreamTimeout",
    "Subscription",
    "SubscriptionRefused",
    "Timing",
    "UnknownChannel",
    "UnknownSymbol",
    "WSState",
    "__version__",
    "close_all",
    "set_connection_budget",
]

# Without a handler of the program's own, the logging module would print warnings to stderr.
logging.getLogger("kraken_sync").addHandler(logging.NullHandler())
