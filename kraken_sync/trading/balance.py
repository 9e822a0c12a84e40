"""``client.balance``: the account's balances as users read them."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Tuple

from ..core.frames import frame
from ..core.orders.tables import BalanceTable
from ..core.session import account_views
from ..core.wire.numbers import EXACT
from ..core.wire.symbols import asset_of
from ..errors import ReplyTimeout
from ..io.waiting import deadline_of, time_left
from .account_table import TABLE_TIMEOUT, AccountTable, Connect


class Balance(AccountTable[Decimal]):
    """The account's balances: a mapping of asset (``"BTC"``, ``"USD"``) to its total, an exact decimal.

    Totals are the exchange's: what open orders have reserved is included; see ``held``. The mapping is built
    from the ``balances`` channel, whose numbering is checked as that of :class:`Orders`.

    Any thread may read it. The first read opens the private connection and subscribes; it blocks up to 10
    seconds for each. Later reads do not block.

    Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/balances.
    """

    name = "balance"
    channel = "balances"
    _table = staticmethod(account_views.balance_table)

    def __init__(
        self,
        connect: Connect,
        request: Callable[[Optional[float]], Mapping[str, Any]],
        *,
        stale: bool = False,
    ) -> None:
        super().__init__(connect, stale=stale)
        self._request = request

    @staticmethod
    def _summary(table: BalanceTable) -> str:
        return f"{len(table.totals)} assets"

    _columns = ("asset", "balance")

    @staticmethod
    def _rows(table: BalanceTable) -> List[Tuple[Any, ...]]:
        return sorted(table.totals.items())

    def to_frame(self, *, decimal: bool = False) -> Any:
        """Return a pandas DataFrame of the totals, by asset. May block as any first read.

        Args:
            decimal: True for exact Decimals, in a column of objects; by default the numbers are floats.

        Raises:
            ImportError: pandas is not installed.
        """
        rows = [{"asset": asset, "balance": total} for asset, total in sorted(self.total.items())]
        return frame(rows, ("asset", "balance"), decimal=decimal, index="asset")

    @property
    def stale(self) -> Balance:
        """The same balances, readable while they are not up to date."""
        return Balance(self._connect, self._request, stale=True)

    @property
    def total(self) -> Dict[str, Decimal]:
        """All totals as one consistent dict."""
        return dict(self._totals())

    @property
    def held(self) -> Dict[str, Decimal]:
        """What open orders have reserved, by asset; assets without any are left out.

        The channel does not tell it, so this asks REST (``BalanceEx``) and blocks up to 10 seconds. REST has
        an asset of its own for each wallet (``SOL.F`` for funds that earn rewards); here they are one, as in
        the totals.
        """
        held: Dict[str, Decimal] = {}
        for name, entry in self._request(TABLE_TIMEOUT).items():
            amount = Decimal(str(entry.get("hold_trade", 0)))
            if amount:
                asset = asset_of(name)
                held[asset] = EXACT.add(held.get(asset, Decimal(0)), amount)
        return held

    @property
    def wallets(self) -> Dict[str, Dict[str, Decimal]]:
        """What each total consists of: by asset and wallet, such as ``{"SOL": {"spot/main": Decimal("0.1"),
        "earn/flex": Decimal("8.0"), "earn/bonded": Decimal("2.0")}}``.

        Funds in ``earn/bonded`` or ``earn/locked`` cannot be traded. An asset whose wallets the exchange has
        not told is missing.
        """
        wallets = self._read(lambda table: table.wallets)
        return {asset: dict(parts) for asset, parts in wallets.items()}

    def wait_until(
        self, predicate: Callable[[Mapping[str, Decimal]], bool], timeout: Optional[float] = None
    ) -> Dict[str, Decimal]:
        """Block until ``predicate(totals)`` is true, and return these totals.

        Args:
            predicate: called in this thread, without any lock, with the newest totals (a read-only mapping),
                and again when one has changed; changes during a call are combined into the next state.
            timeout: seconds, None to wait for ever.

        Raises:
            AccountNotLive: the balances were not up to date in time.
            ReplyTimeout: the predicate was not true in time.
        """
        deadline = deadline_of(timeout)
        self.wait_live(time_left(deadline))
        connection = self._connect(timeout)
        seen: Optional[Mapping[str, Decimal]] = None
        while True:
            totals = connection.wait(partial(account_views.newer_totals, seen=seen), deadline)
            if totals is None:
                raise ReplyTimeout(f"the balance was not as waited for within {timeout} s", waited=timeout)
            if predicate(MappingProxyType(totals)):
                return dict(totals)
            seen = totals

    def _totals(self) -> Mapping[str, Decimal]:
        totals: Mapping[str, Decimal] = self._read(lambda table: table.totals)
        return totals

    def __getitem__(self, asset: str) -> Decimal:
        return self._totals()[asset]

    def __iter__(self) -> Iterator[str]:
        return iter(self._totals())

    def __len__(self) -> int:
        return len(self._totals())
