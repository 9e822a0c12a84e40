"""What a test makes happen in the simulated exchange: a price, a trade, a fill of an order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Mapping, Optional, Union

from .account import AccountOrder
from .exchange import Exchange
from .instruments import Instrument
from .intake import price_units, qty_units
from .market import Market
from .matching import BUY, SELL, Fill, Order
from .refusal import Refusal

Number = Union[str, int, float, Decimal]


def set_price(exchange: Exchange, symbol: str, bid: Number, ask: Number, now: float) -> None:
    """Move a market; see :meth:`Simulator.set_price`."""
    market = _market(exchange, symbol)
    best_bid, best_ask = _ticks(bid, market.pair), _ticks(ask, market.pair)
    if best_bid >= best_ask:
        raise ValueError(f"bid {bid} must be less than ask {ask}")
    exchange.trading.begin(now)
    market.follow((best_bid + best_ask) / 2)
    book = market.book
    for side, sign, limit in ((book.bids, 1, best_bid), (book.asks, -1, best_ask)):
        ahead = [price for price, _ in side.top(len(side)) if sign * (price - limit) > 0]
        for order in [one for price in ahead for one in side.queue(price) if one.owner is None]:
            book.cancel(order)
    # What is left between are orders of the account: those that the price has run over are filled.
    for taker, limit in ((BUY, best_bid), (SELL, best_ask)):
        while True:
            maker = book.next_maker(taker, limit)
            if maker is None:
                break
            book.fill(taker, maker, maker.left)
    for name, limit in ((BUY, best_bid), (SELL, best_ask)):
        if not book.sides[name].total(limit):
            book.rest(name, limit, market.pair.qty)
    exchange.publish(now)


def print_trade(exchange: Exchange, symbol: str, side: str, price: Number, qty: Number, now: float) -> None:
    """Print a trade; see :meth:`Simulator.trade`."""
    market = _market(exchange, symbol)
    if side not in (BUY, SELL):
        raise ValueError(f"side must be 'buy' or 'sell', not {side!r}")
    ticks, amount = _ticks(price, market.pair), _amount(qty, market.pair)
    exchange.trading.begin(now)
    maker = Order(0, SELL if side == BUY else BUY, ticks, 0, now)
    market.printed(Fill(side, ticks, amount, maker))
    exchange.publish(now)


def fill(exchange: Exchange, order: Any, qty: Optional[Number], now: float) -> None:
    """Fill an order of the account; see :meth:`Simulator.fill`."""
    found = _order(exchange, order)
    left = found.left if qty is None else _amount(qty, found.pair)
    if not found.open or not 0 < left <= found.left:
        rest = found.amount(found.left) if found.open else "nothing"
        raise ValueError(f"{found.order_id} is {found.status}, and {rest} of it can be filled")
    exchange.trading.begin(now)
    book, taker = exchange.markets[found.pair.symbol].book, SELL if found.side == BUY else BUY
    while left:
        if found.resting is None:
            raise ValueError(f"{found.order_id} is not in the book: it waits for its trigger or its time")
        left -= book.fill(taker, found.resting, left).qty
    exchange.publish(now)


def _market(exchange: Exchange, symbol: str) -> Market:
    if symbol not in exchange.markets:
        raise ValueError(f"no such pair: {symbol!r}. There are: {', '.join(exchange.markets)}")
    return exchange.markets[symbol]


def _order(exchange: Exchange, order: Any) -> AccountOrder:
    """The account's order that is meant by an id, a result of add_order or an order of client.orders."""
    name = order.get("order_id") if isinstance(order, Mapping) else getattr(order, "order_id", order)
    orders = exchange.trading.account.orders
    named = [one for one in orders.values() if name in (one.order_id, one.cl_ord_id)]
    if not named:
        raise ValueError(f"the exchange has no order {name!r}")
    return named[-1]


def _ticks(price: Number, pair: Instrument) -> int:
    return _units(price_units, "price", price, pair)


def _amount(qty: Number, pair: Instrument) -> int:
    return _units(qty_units, "qty", qty, pair)


def _units(convert: Any, name: str, value: Number, pair: Instrument) -> int:
    try:
        units: int = convert(Decimal(str(value)), pair)
    except (Refusal, ArithmeticError) as error:
        raise ValueError(f"{name} {value!r} is no {name} of {pair.symbol}") from error
    return units
