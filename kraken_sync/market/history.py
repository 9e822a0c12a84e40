"""History and reference data over public REST, for what the channels do not have.

Source: Kraken's REST market data pages; the WebSocket FAQ
(https://support.kraken.com/articles/360022326871-kraken-websocket-api-frequently-asked-questions) advises to
take history from REST.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional, Sequence, Union

from ..core.wire.channels import INTERVALS
from ..core.wire.symbols import spelled
from ..errors import KrakenError
from ..io.logs import log
from ..io.waiting import deadline_of, time_left


class History:
    """``client.rest``: public REST. The client need not be started. Any thread.

    Every method blocks up to ``timeout`` seconds (None: for ever) and raises what
    :meth:`SpotWSClient.request` raises. Results are the exchange's own ``result``; prices and quantities are
    texts, so that no digit is lost. Symbols may be written in any spelling (``"BTC/USD"``, ``"XBT/USD"``,
    ``"XBTUSD"``).

    Args:
        request: sends a REST request; see :meth:`kraken_sync.io.rest.Rest.request`.
    """

    def __init__(self, request: Callable[..., Any]) -> None:
        self._request = request

    def ohlc(
        self, pair: str, interval: int = 1, since: Optional[int] = None, *, timeout: Optional[float] = 10.0
    ) -> Dict[str, Any]:
        """Return up to 720 candles.

        The result is ``{pair: [[time, open, high, low, close, vwap, volume, count], ...], "last": id}``. The
        last row is the current, unfinished candle.

        Args:
            pair: the symbol.
            interval: minutes: 1, 5, 15, 30, 60, 240, 1440, 10080 or 21600.
            since: the ``last`` of an earlier call, for the candles after it.
            timeout: see :class:`History`.

        Raises:
            ValueError: the exchange does not offer this interval.
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
        """Return up to 1000 trades.

        The result is ``{pair: [[price, volume, time, "b"/"s", "m"/"l", misc, id], ...], "last": ns}``.

        Args:
            pair: the symbol.
            since: the ``last`` of an earlier call (nanoseconds since the epoch), for the trades after it.
            count: the largest number of trades, 1 to 1000.
            timeout: see :class:`History`.
        """
        return self._get("Trades", timeout, pair=pair, since=since, count=count)

    def depth(self, pair: str, count: int = 100, *, timeout: Optional[float] = 10.0) -> Dict[str, Any]:
        """Return a book of 1 to 500 levels a side, which has no checksum; ``client.book()`` is a verified
        book.

        The result is ``{pair: {"asks": [[price, volume, time], ...], "bids": ...}}``.
        """
        return self._get("Depth", timeout, pair=pair, count=count)

    def spread(
        self, pair: str, since: Optional[int] = None, *, timeout: Optional[float] = 10.0
    ) -> Dict[str, Any]:
        """Return about 200 of the last best prices as ``{pair: [[time, bid, ask], ...], "last": id}``.

        ``since`` is the ``last`` of an earlier call.
        """
        return self._get("Spread", timeout, pair=pair, since=since)

    def asset_pairs(
        self,
        pair: Union[str, Sequence[str], None] = None,
        aclass_base: Optional[str] = None,
        *,
        timeout: Optional[float] = 10.0,
    ) -> Dict[str, Any]:
        """Return all pairs, or those in ``pair``, by their REST name.

        ``wsname`` in an entry is the name of the pair in the older WebSocket API. Tokenized stocks are
        returned only with ``aclass_base="tokenized_asset"``, and without the others.
        """
        return self._get("AssetPairs", timeout, pair=pair, aclass_base=aclass_base)

    def all_pairs(self, timeout: Optional[float] = 10.0) -> Dict[str, Any]:
        """Return all pairs, those of tokenized stocks as well. Blocks up to ``timeout`` seconds."""
        deadline = deadline_of(timeout)
        pairs = self.asset_pairs(timeout=timeout)
        try:
            return {**self.asset_pairs(aclass_base="tokenized_asset", timeout=time_left(deadline)), **pairs}
        except KrakenError as error:  # not everywhere may they be traded
            log.info("no pairs of tokenized stocks: %s", error)
            return pairs

    def time(self, *, timeout: Optional[float] = 10.0) -> Dict[str, Any]:
        """Return the exchange's time: ``unixtime`` (seconds since the epoch) and ``rfc1123``."""
        return self._get("Time", timeout)

    def system_status(self, *, timeout: Optional[float] = 10.0) -> Dict[str, Any]:
        """Return ``status`` (``online``, ``maintenance``, ``cancel_only`` or ``post_only``) and
        ``timestamp``.
        """
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
