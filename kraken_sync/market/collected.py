"""What ``client.collect()`` returns: the items of a channel, as a list that becomes a table or a picture."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from ..core.frames import frame
from ..core.html import ODD, coloured, counted, table
from ..core.plots import plot_candles

COLUMNS: Mapping[str, Sequence[str]] = {
    "trade": ("symbol", "side", "price", "qty", "ord_type", "trade_id"),
    "ohlc": ("symbol", "open", "high", "low", "close", "vwap", "trades", "volume"),
}
"""The columns of the best-known channels; of others, all that occur."""
NUMBERS = tuple(
    "price qty open high low close vwap volume bid bid_qty ask ask_qty last change change_pct balance amount "
    "fee".split()
)
TIMES = ("timestamp", "interval_begin", "effective_time", "expire_time")


class Collected(List[Dict[str, Any]]):
    """The items of a channel, as dicts, in the order in which they came.

    Attributes:
        channel: the channel's name.
        gaps: what is missing in between, as dicts like those of ``client.gaps()``.
    """

    def __init__(self, channel: str) -> None:
        super().__init__()
        self.channel = channel
        self.gaps: List[Dict[str, Any]] = []

    def to_frame(self, *, decimal: bool = False) -> Any:
        """Return a pandas DataFrame whose index is the exchange's time (UTC).

        Of candles the last state of each is in it. Instruments have their symbol as index.

        Args:
            decimal: True for the numbers as they came (Decimals with ``parse_float=Decimal``), in columns of
                objects; by default they are floats.

        Raises:
            ImportError: pandas is not installed.
        """
        rows: List[Dict[str, Any]] = list(self)
        index = "timestamp"
        if self.channel == "ohlc":
            index = "interval_begin"
            # A candle that is sent again takes the place of its earlier states.
            rows = list({(one.get("symbol"), one.get(index)): one for one in rows}.values())
        elif self.channel == "instrument":
            index = "symbol"
        known = COLUMNS.get(self.channel) or list(dict.fromkeys(name for row in rows for name in row))
        columns = [index, *(name for name in known if name != index)]
        times = [name for name in columns if name in TIMES]
        return frame(rows, columns, decimal=decimal, times=times, numbers=NUMBERS, index=index)

    def plot_candles(self, ax: Any = None) -> Any:
        """Draw candles of one symbol, and return the matplotlib Axes; see
        :func:`kraken_sync.notebook.plot_candles`.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: these are no candles, or of several symbols.
        """
        if self.channel != "ohlc":
            raise ValueError(f"these are items of {self.channel}; candles come from collect('ohlc', symbol)")
        return plot_candles(self, ax)

    def _repr_html_(self) -> str:
        columns = COLUMNS.get(self.channel) or list(self[0] if self else ())[:8]
        rows = [[item.get(name) for name in columns] for item in self[-5:]]
        gaps = coloured(counted(len(self.gaps), "gap"), ODD) if self.gaps else ""
        note = f"the last {len(rows)} of {len(self)}" if len(self) > len(rows) else ""
        return table((f"{counted(len(self), 'item')} of {self.channel}", gaps), columns, rows, note)

    def __repr__(self) -> str:
        if len(self) <= 3:
            return super().__repr__()
        gaps = f", {counted(len(self.gaps), 'gap')}" if self.gaps else ""
        return f"<{len(self)} items of {self.channel}{gaps}, the last {self[-1]!r}>"
