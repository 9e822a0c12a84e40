"""What the stream does not tell: history and reference data, over public REST.

Source: Kraken, REST market data pages; the WebSocket FAQ, which advises to take history from REST.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Sequence, Union

from ..core.wire.channels import INTERVALS
from ..core.wire.symbols import spelled
from ..io.waiting import deadline_of


class History:
    """``client.rest``: public REST. Every call blocks up to ``timeout`` seconds and needs no started client.

    Results are the exchange's own ``result``; prices and quantities are texts, so nothing is lost. Symbols
    may be written as anywhere else (``"BTC/USD"``, ``"XBT/USD"``, ``"XBTUSD"``). Errors are those of
    :meth:`SpotWSClient.request`.

    Args:
        request: sends a REST request; see :meth:`kraken_sync.io.rest.Rest.request`.
    """

    def __init__(self, request: Callable[..., Any]) -> None:
        self._request = request

    def ohlc(
        self, pair: str, interval: int = 1, since: Optional[int] = None, *, timeout: Optional[float] = 10.0
    ) -> Dict[str, Any]:
        """Up to 720 candles: ``{pair: [[time, open, high, low, close, vwap, volume, count], ...], "last":
        id}``.

        The last row is still forming. ``since`` is a ``last`` of an earlier call.
        """
        if interval not in INTERVALS:
            raise ValueError(f"interval={interval!r} is not offered by Kraken. Choose one of {INTERVALS}.")
        return self._get("OHLC", timeout, pair=pair, interval=interval, since=since)

    def trades(
        self,
        pair: str,
        since: Union[int, str, None] = None,
        count: Optional[int] = None,
        *,
        timeout: Optional[float] = 10.0,
    ) -> Dict[str, Any]:
        """Up to 1000 trades: ``{pair: [[price, volume, time, "b"/"s", "m"/"l", misc, id], ...], "last":
        ns}``."""
        return self._get("Trades", timeout, pair=pair, since=since, count=count)

    def depth(self, pair: str, count: int = 100, *, timeout: Optional[float] = 10.0) -> Dict[str, Any]:
        """A book of 1 to 500 levels a side: ``{pair: {"asks": [[price, volume, time], ...], "bids": ...}}``.

        It has no checksum; a verified book is ``client.book()``.
        """
        return self._get("Depth", timeout, pair=pair, count=count)

    def spread(
        self, pair: str, since: Optional[int] = None, *, timeout: Optional[float] = 10.0
    ) -> Dict[str, Any]:
        """About 200 best prices: ``{pair: [[time, bid, ask], ...], "last": id}``."""
        return self._get("Spread", timeout, pair=pair, since=since)

    def asset_pairs(
        self, pair: Union[str, Sequence[str], None] = None, *, timeout: Optional[float] = 10.0
    ) -> Dict[str, Any]:
        """All pairs, or these, by their REST name; ``wsname`` is the name of the older WebSocket API."""
        return self._get("AssetPairs", timeout, pair=pair)

    def time(self, *, timeout: Optional[float] = 10.0) -> Dict[str, Any]:
        """The exchange's time: ``unixtime`` (seconds) and ``rfc1123``."""
        return self._get("Time", timeout)

    def system_status(self, *, timeout: Optional[float] = 10.0) -> Dict[str, Any]:
        """``status`` (``online``, ``maintenance``, ``cancel_only``, ``post_only``) and ``timestamp``."""
        return self._get("SystemStatus", timeout)

    def _get(
        self,
        endpoint: str,
        timeout: Optional[float],
        pair: Union[str, Sequence[str], None] = None,
        **params: Any,
    ) -> Dict[str, Any]:
        if pair is not None:
            pairs = [pair] if isinstance(pair, str) else list(pair)
            params["pair"] = ",".join(spelled(one) or one for one in pairs)
        given = {name: value for name, value in params.items() if value is not None}
        result: Dict[str, Any] = self._request(
            "GET", f"/0/public/{endpoint}", given, deadline=deadline_of(timeout), auth=False
        )
        return result
