"""A stream of trades whose gaps are filled from REST."""

from __future__ import annotations

import queue
import time
from functools import partial
from math import inf
from typing import Any, Dict, List, Optional

from ..core.backfill import TradeTape, rest_trades
from ..core.orders.rest_calls import pair_params
from ..core.wire.messages import MalformedFrame, encode, gap_frame
from ..core.wire.times import parse_time, time_text
from ..errors import KrakenError, StreamOverflow
from ..io.logs import log
from ..io.rest import Rest, patience
from ..io.streams import CONFLATE, Lost
from ..io.waiting import Turn
from ..io.walltime import wall_text
from .subscription import ItemStream, Subscription

ASK_TIMEOUT = 10.0
"""Seconds for one question to REST."""
PATIENCE = 60.0
"""Seconds for which trades after a gap are held back at most; what REST does not have then is missing."""
PAGE = 1000
"""The largest number of trades in one answer of REST."""
AT_LEAST = 100
"""The number of messages that a read may take although its time is over, if all of them are held back."""


class BackfilledTrades(ItemStream[Any]):
    """An :class:`ItemStream` of trades, whose gaps are filled from REST while they are read.

    Trades from REST have ``"backfilled": True``. Those that came after the gap wait until what was before
    them is there, a minute at most; what is missing then is a gap frame, and in ``gaps``. REST is asked on a
    thread of the client, one symbol at a time, and its answers come through the stream's own queue.
    """

    def __init__(self, *args: Any, rest: Rest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.policy == CONFLATE:
            raise ValueError('backfill=True is for every trade, and policy="conflate" for the latest only')
        self._rest = rest
        self._turn = Turn()
        self._asking = False
        self._lost: Optional[Lost] = None
        self._tapes: Dict[str, TradeTape] = {
            symbol: TradeTape(symbol, self._items.append) for symbol in self.symbols
        }

    def get(self, timeout: Optional[float] = None) -> Any:
        """Return the next trade. Blocks and raises as :meth:`Subscription.get`."""
        return super().get(timeout)

    def _read(self, deadline: Optional[float]) -> Any:
        found = self._turn.run(deadline, lambda: [self._next(deadline)])
        if found is None:
            raise queue.Empty
        return found[0]

    def _next(self, deadline: Optional[float]) -> Any:
        rounds = 0
        try:
            while not self._items:
                rounds += 1
                if rounds > AT_LEAST and deadline is not None and time.monotonic() >= deadline:
                    raise queue.Empty
                self._step(deadline)
            return self._items.popleft()
        except (KrakenError, queue.Empty):
            raise
        except BaseException:  # a Ctrl-C: what was taken from the queue and not told is a hole like any other
            self._missed(None, time.monotonic())
            raise

    def _step(self, deadline: Optional[float]) -> None:
        """Read one message of the queue, or ask REST, or tell what was held back for too long."""
        now, tapes = time.monotonic(), self._tapes.values()
        for tape in tapes:
            if tape.wakes(PATIENCE) <= now:
                self._give_up(tape)
        due = min(tapes, key=lambda one: one.not_before)
        if not self._asking and due.not_before <= now:
            self._ask(due, now)
        if self._items:
            return
        until = min([inf if self._asking else due.not_before, *(tape.wakes(PATIENCE) for tape in tapes)])
        until = until if deadline is None else min(until, deadline)
        try:
            message = Subscription._read(self, None if until == inf else until)
        except queue.Empty:
            if deadline is not None and time.monotonic() >= deadline:
                raise
        except StreamOverflow:
            self._missed(self._lost, time.monotonic())
            raise
        except KrakenError:  # the end: what was held back comes before it
            for tape in tapes:
                while tape.holds:
                    self._give_up(tape)
            if not self._items:
                raise
        else:
            self._sort(message, time.monotonic())

    def _sort(self, message: Any, now: float) -> None:
        if isinstance(message, _Answer):
            self._take_over(message, now)
        elif message.get("type") == "gap":
            mark = message if self._with_gaps else None
            for item in message["data"]:
                lost, self._lost = self._lost, None
                tape = self._tapes.get(item.get("symbol"))
                self._missed(lost, now, mark, item.get("since"), tape)
        else:
            for item in message.get("data", ()):
                tape = self._tapes.get(item.get("symbol"))
                if tape is None or not isinstance(item.get("trade_id"), int):
                    self._items.append(item)
                else:
                    tape.came(item, now)

    def _missed(
        self,
        lost: Optional[Lost],
        now: float,
        mark: Any = None,
        since: Optional[str] = None,
        only: Optional[TradeTape] = None,
    ) -> None:
        """Note a gap in one symbol's trades, or in those of all.

        Args:
            lost: the frames that were dropped because they were not read, if that is the gap.
            now: the time (monotonic seconds).
            mark: the gap frame to be told, or None.
            since: the beginning of the gap by this machine's clock (RFC 3339).
            only: the symbol's tape; None for all symbols.
        """
        begins = parse_time(since)
        if lost is not None:
            begins = self._time_of(lost.first)
        elif begins is not None:
            clock, here = self._connection.clock().moment, parse_time(wall_text(now))
            begins += clock - here if clock is not None and here is not None else 0.0
        # A gap of all symbols is told once: after what is held back, if anything is.
        tapes = sorted([only] if only is not None else self._tapes.values(), key=lambda one: not one.holds)
        for tape in tapes:
            tape.missed(begins, now, mark)
            mark = None

    def _time_of(self, frame: Optional[bytes]) -> Optional[float]:
        """Return the exchange's time of the first trade of a frame that was not read."""
        try:
            return parse_time(self._decode(frame or b"")["data"][0]["timestamp"])
        except (MalformedFrame, LookupError, TypeError):
            return None

    def _overflow(self, lost: Lost) -> Any:
        self._lost = lost
        return super()._overflow(lost)

    # -- REST --------------------------------------------------------------------------------

    def _ask(self, tape: TradeTape, now: float) -> None:
        """Ask REST for what is missing in one symbol's trades, without waiting for the answer."""
        self._asking = True
        params = {**pair_params(tape.symbol), "since": tape.since}
        came = partial(_Answer, tape.symbol)
        try:
            self._rest.later(
                "/0/public/Trades", params, now + ASK_TIMEOUT, lambda got: self.put_mark(came(got))
            )
        except BaseException:
            self._asking = False
            raise

    def _take_over(self, answer: _Answer, now: float) -> None:
        self._asking = False
        tape = self._tapes[answer.symbol]
        try:
            if isinstance(answer.got, KrakenError):
                raise answer.got
            rows: List[Any] = next(rows for name, rows in answer.got.items() if name != "last")
            trades = rest_trades(tape.symbol, rows)
            # As the channel's frames are, so that numbers have the type that the client was made with.
            decoded = self._decode(encode({"data": trades}))["data"]
            whole = len(trades) == len(rows)
            page = int(answer.got["last"]) if whole and len(rows) >= PAGE else None
        except KrakenError as error:
            log.warning("%s: trades cannot be filled in yet: %s", tape.symbol, error)
            tape.again(now, patience(error))
        except (StopIteration, AttributeError, LookupError, TypeError, ValueError) as error:
            log.warning("%s: REST's answer is not as documented (%r)", tape.symbol, error)
            tape.again(now)
        else:
            tape.answered(decoded, now, page)

    def _give_up(self, tape: TradeTape) -> None:
        """Tell trades that were held back for so long, and before them that some are missing."""
        log.warning("%s: trades are missing, which REST does not have either", tape.symbol)
        began = time_text(tape.missing_since, 6)
        lost = gap_frame("trade", tape.symbol, "REST does not have all trades", began, tape.until())
        self._gaps.extend(lost["data"])
        tape.give_up(lost if self._with_gaps else None)


class _Answer:
    """REST's answer about one symbol, or the error in its place."""

    def __init__(self, symbol: str, got: Any) -> None:
        self.symbol = symbol
        self.got = got
