"""A stream of trades whose gaps are filled from REST."""

from __future__ import annotations

import queue
import time
from typing import Any, Dict, List, Optional

from ..core.backfill import EARLIER, Trade, TradeTape, rest_trades
from ..core.wire.messages import encode, gap_frame
from ..core.wire.times import time_text
from ..errors import KrakenError, StreamOverflow
from ..io.logs import log
from ..io.rest import patience
from ..io.waiting import Turn, deadline_of, sooner, time_left
from ..io.walltime import wall_text
from .history import History
from .subscription import ItemStream, Subscription

ASK_TIMEOUT = 10.0
"""Seconds for one question to REST."""
PATIENCE = 60.0
"""Seconds after the gap before trades that REST does not have are given up, and told as missing."""
PAGE = 1000
"""The largest number of trades in one answer of REST."""


class BackfilledTrades(ItemStream):
    """An :class:`ItemStream` of trades, whose gaps are filled from REST when they are read.

    Trades from REST have ``"backfilled": True``. Those that came after the gap wait until what was before
    them is there, a minute at most; what is missing then is a gap frame, and in ``gaps``. REST is asked in
    the reader's thread, within the time that it waits.
    """

    def __init__(self, *args: Any, history: History, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._history = history
        self._turn = Turn()
        self._tapes: Dict[str, TradeTape] = {symbol: TradeTape(symbol) for symbol in self.symbols}

    def get(self, timeout: Optional[float] = None) -> Any:
        """Return the next trade. Blocks and raises as :meth:`Subscription.get`."""
        deadline = deadline_of(timeout)
        found = self._turn.run(deadline, lambda: [self._next(deadline)])
        if found is None:
            raise queue.Empty
        return found[0]

    def _next(self, deadline: Optional[float]) -> Any:
        while not self._items:
            now = time.monotonic()
            tape = min(self._tapes.values(), key=lambda one: one.not_before)
            if tape.not_before <= now:
                self._ask(tape, deadline)
                continue
            wait = tape.not_before if deadline is None else min(deadline, tape.not_before)
            try:
                message = Subscription.get(self, None if wait == float("inf") else max(0.0, wait - now))
            except queue.Empty:
                if deadline is not None and time.monotonic() >= deadline:
                    raise
            except StreamOverflow:
                for one in self._tapes.values():
                    one.missed(wall_text(now), now)
                raise
            except KrakenError:  # the end: what was held back comes before it
                for one in self._tapes.values():
                    self._give_up(one, 0.0)
                if not self._items:
                    raise
            else:
                self._sort(message, time.monotonic())
        return self._items.popleft()

    def _sort(self, message: Dict[str, Any], now: float) -> None:
        gap = message.get("type") == "gap"
        if gap and self._with_gaps:
            self._items.append(message)
        for item in message.get("data", ()):
            tape = self._tapes.get(item.get("symbol"))
            if gap:
                for one in [tape] if tape is not None else list(self._tapes.values()):
                    one.missed(item.get("since"), now)
            elif tape is None or not isinstance(item.get("trade_id"), int):
                self._items.append(item)
            else:
                self._items.extend(tape.came(item, now))

    def _ask(self, tape: TradeTape, deadline: Optional[float]) -> None:
        """Ask REST for what is missing in one symbol's trades."""
        try:
            trades = self._trades(tape, deadline)
        except KrakenError as error:
            if deadline is None or time.monotonic() < deadline:
                log.warning("%s: trades cannot be filled in yet: %s", tape.symbol, error)
            now = time.monotonic()
            tape.again(now)
            tape.not_before = max(tape.not_before, now + patience(error))
        else:
            now = time.monotonic()
            self._items.extend(tape.answered(trades, now))
            if len(trades) >= PAGE and tape.open:
                tape.not_before = now + 1.0  # the next page; REST takes about one question a second
        self._give_up(tape, PATIENCE)

    def _give_up(self, tape: TradeTape, patience: float) -> None:
        """Tell trades that were held back for so long, and before them that some are missing."""
        now, began = time.monotonic(), time_text(tape.since + EARLIER, 6)
        held = tape.given_up(now, patience)
        if held is not None:
            log.warning("%s: trades are missing, which REST does not have either", tape.symbol)
            lost = gap_frame("trade", tape.symbol, "REST does not have all trades", began, wall_text(now))
            self._gaps.extend(lost["data"])
            self._items.extend([lost] if self._with_gaps else [])
            self._items.extend(held)

    def _trades(self, tape: TradeTape, deadline: Optional[float]) -> List[Trade]:
        left = time_left(sooner(deadline, ASK_TIMEOUT))
        answer = self._history.trades(tape.symbol, since=int(tape.since * 1_000_000_000), timeout=left)
        rows: List[Any] = next((rows for name, rows in answer.items() if name != "last"), [])
        # Decoded as the channel's frames are, so that numbers have the type that the client was made with.
        decoded: List[Trade] = self._decode(encode({"data": rest_trades(tape.symbol, rows)}))["data"]
        return decoded
