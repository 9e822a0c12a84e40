"""The simulated account: balances as a ledger, and the orders it ever had."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .instruments import Instrument, asset_digits
from .matching import Order as RestingOrder
from .matching import text_id
from .wire import number

MAKER_FEE, TAKER_FEE = Decimal("0.0025"), Decimal("0.0040")
OPEN = ("pending_new", "new", "partially_filled")


@dataclass(frozen=True)
class Trade:
    """A fill of one of the account's orders."""

    exec_id: str
    trade_id: int
    price: int
    qty: int
    cost: Decimal
    fee: Decimal
    maker: bool
    moment: float


@dataclass(eq=False)
class AccountOrder:
    """An order of the account, from the moment it was accepted. Prices and quantities are integers."""

    order_id: str
    pair: Instrument
    side: str
    kind: str
    qty: int
    params: Dict[str, Any]
    moment: float
    limit: Optional[int] = None
    trigger: Optional[int] = None
    peak: Optional[int] = None
    """The best price since a trailing order was placed."""
    triggered: bool = False
    display: Optional[int] = None
    expires: Optional[float] = None
    effective: Optional[float] = None
    ask: int = 0
    """The best ask when it was checked; what a market buy costs at least."""
    parent: str = ""
    status: str = "pending_new"
    reason: str = ""
    amended: float = 0.0
    closed: float = 0.0
    resting: Optional[RestingOrder] = None
    trades: List[Trade] = field(default_factory=list)

    @property
    def open(self) -> bool:
        """Whether it can still trade."""
        return self.status in OPEN

    @property
    def filled(self) -> int:
        """What has traded."""
        return sum(trade.qty for trade in self.trades)

    @property
    def left(self) -> int:
        """What has not."""
        return self.qty - self.filled

    @property
    def cost(self) -> Decimal:
        """What was paid or received so far, before fees, in quote currency."""
        return sum((trade.cost for trade in self.trades), self.money(0))

    @property
    def cash(self) -> Optional[Decimal]:
        """What a market buy is to spend, in quote currency; None if its quantity was given."""
        cash = self.params.get("cash_order_qty")
        return None if cash is None else Decimal(cash)

    def spent(self, price: int) -> bool:
        """Whether what it was to spend buys nothing more at this price."""
        if self.cash is None:
            return False
        return (self.cash - self.cost).scaleb(self.pair.price_digits + self.pair.qty_digits) < price

    @property
    def fee(self) -> Decimal:
        """All fees so far, in quote currency."""
        return sum((trade.fee for trade in self.trades), self.money(0))

    @property
    def average(self) -> Decimal:
        """The average price, with the digits of a price; 0 if nothing has traded."""
        filled = self.filled
        value = sum(trade.price * trade.qty for trade in self.trades) // filled if filled else 0
        return self.price(value)

    @property
    def cl_ord_id(self) -> Optional[str]:
        """The client's own id."""
        return self.params.get("cl_ord_id")

    @property
    def userref(self) -> int:
        """The client's own number; 0 if there is none."""
        return int(self.params.get("order_userref") or 0)

    def price(self, value: int) -> Decimal:
        """A price as a decimal."""
        return Decimal(number(value, self.pair.price_digits))

    def amount(self, value: int) -> Decimal:
        """A quantity as a decimal."""
        return Decimal(number(value, self.pair.qty_digits))

    def money(self, value: int) -> Decimal:
        """price times qty as money, rounded to the pair's cost digits."""
        exact = Decimal(value).scaleb(-self.pair.price_digits - self.pair.qty_digits)
        return exact.quantize(Decimal(1).scaleb(-self.pair.cost_digits), ROUND_HALF_UP)


@dataclass(frozen=True)
class Entry:
    """A ledger entry."""

    ledger_id: str
    ref_id: str
    kind: str
    asset: str
    amount: Decimal
    fee: Decimal
    balance: Decimal
    moment: float


class Account:
    """Balances and orders. ``told`` gets every ledger entry."""

    def __init__(self, funds: Mapping[str, str], told: Callable[[Entry], None]) -> None:
        self.balances: Dict[str, Decimal] = {
            asset: rounded(Decimal(amount), asset) for asset, amount in funds.items()
        }
        self.orders: Dict[str, AccountOrder] = {}
        self.entries: List[Entry] = []
        self._told = told

    def post(self, asset: str, amount: Decimal, fee: Decimal, ref_id: str, kind: str, now: float) -> None:
        """Change a balance by ``amount`` less ``fee``."""
        amount, fee = rounded(amount, asset), rounded(fee, asset)
        self.balances[asset] = self.balances.get(asset, rounded(Decimal(0), asset)) + amount - fee
        entry = Entry(
            text_id("L", len(self.entries) + 1),
            ref_id,
            kind,
            asset,
            amount,
            fee,
            self.balances[asset],
            now,
        )
        self.entries.append(entry)
        self._told(entry)

    def open_orders(self) -> List[AccountOrder]:
        """All orders that can still trade, oldest first."""
        return [order for order in self.orders.values() if order.open]

    def held(self, asset: str) -> Decimal:
        """What open orders have reserved."""
        total = rounded(Decimal(0), asset)
        for order in self.open_orders():
            holds, amount = reserved(order)
            total += rounded(amount, asset) if holds == asset else 0
        return total

    def free(self, asset: str) -> Decimal:
        """What a new order may use."""
        return self.balances.get(asset, Decimal(0)) - self.held(asset)


def reserved(order: AccountOrder) -> Tuple[str, Decimal]:
    """The asset and the amount that an open order reserves."""
    if order.side == "sell":
        return order.pair.base, order.amount(order.left)
    price = order.limit if order.limit is not None else max(order.trigger or 0, order.ask)
    return order.pair.quote, order.money(price * order.left) * (1 + TAKER_FEE)


def rounded(amount: Decimal, asset: str) -> Decimal:
    """``amount`` with the ledger's digits."""
    return amount.quantize(Decimal(1).scaleb(-asset_digits(asset)[0]), ROUND_HALF_UP)
