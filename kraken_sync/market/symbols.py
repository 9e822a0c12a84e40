"""Finds the exchange's name of a symbol from what a user typed.

The table of symbols is the snapshot of the ``instrument`` channel, taken on the same connection. It is
fetched only when a spelling needs it, and then kept. Orders, which may be sent without a public connection,
take the table from REST.

Source: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/instrument.
"""

from __future__ import annotations

import math
import queue
import time
from decimal import Decimal
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import msgspec

from ..core.orders.pair_rules import PairRules, of_asset_pair, of_instrument
from ..core.wire.asset_names import code_of
from ..core.wire.channels import channel_params
from ..core.wire.error_texts import NO_SUCH_PAIR
from ..core.wire.symbols import SymbolTable, modern_pair, spelled
from ..errors import ClientClosed, KrakenError, SubscriptionRefused, UnknownSymbol, did_you_mean
from ..io.connection.connection import Connection
from ..io.connection.subscriptions import LOOKUP
from ..io.logs import log
from ..io.streams import Stream
from ..io.waiting import Turn, sooner, time_left

TABLE_TIMEOUT = 5.0
"""Seconds to wait for the table; without it a symbol is sent to the exchange as it was typed."""
TABLE_LIFETIME = 3600.0
"""Seconds after which a table is fetched again before an order of a symbol in it is judged by it."""
RECENT = 2.0
"""Seconds after which a table is fetched again before a symbol is said to be in none: pairs are listed at any
time."""

AskPairs = Callable[[Optional[float]], Mapping[str, Mapping[str, Any]]]
"""Asks REST for all pairs, within a number of seconds."""


class _Pair(msgspec.Struct):
    symbol: str
    status: Any = None
    price_increment: Any = None
    tick_size: Any = None
    qty_increment: Any = None
    qty_min: Any = None
    cost_min: Any = None


class _Pairs(msgspec.Struct):
    pairs: List[_Pair] = []


class _Instruments(msgspec.Struct):
    data: _Pairs


_decode = msgspec.json.Decoder(_Instruments, float_hook=Decimal).decode


class SymbolLookup:
    """The table of symbols of one client. Any thread."""

    def __init__(self) -> None:
        self._table: Optional[SymbolTable] = None
        self._rules: Dict[str, PairRules] = {}
        self._fetched = 0.0
        self._fetching = Turn()
        self._known: Dict[str, str] = {}
        """The symbols found for earlier spellings; cleared with every new table."""

    def spell(
        self, connection: Connection, symbols: Sequence[str], deadline: Optional[float]
    ) -> Tuple[str, ...]:
        """Return the exchange's names for ``symbols``, without repetitions. May block for the table.

        What is not in the table is returned as it is: the exchange may know more than it lists.
        """
        found = []
        for text in symbols:
            if text in self._known:
                found.append(self._known[text])
                continue
            found.append(self._spell(connection, text, deadline))
        return tuple(dict.fromkeys(found))

    def _spell(self, connection: Connection, text: str, deadline: Optional[float]) -> str:
        known = self._table
        symbol = known.find(text) if known is not None else spelled(text)
        if symbol is None:
            # The symbol may have been listed since the table was fetched.
            table = self.table(connection, deadline, max_age=RECENT)
            symbol = table.find(text) if table is not None else None
            if symbol is None:
                return text
        self._known[text] = symbol
        if symbol != text:
            log.info("%r is called %r in WebSocket API v2; using %s", text, symbol, symbol)
        return symbol

    def explained(
        self, connection: Connection, error: SubscriptionRefused, deadline: Optional[float]
    ) -> KrakenError:
        """Return what to raise for a refusal: with the names that may have been meant. May block.

        It is UnknownSymbol if all that was refused is in no table either, so that it is a typing error.
        """
        unknown = [
            symbol
            for symbol, words in error.refused.items()
            if symbol is not None and words.startswith(NO_SUCH_PAIR)
        ]
        table = self.table(connection, deadline) if unknown else None
        if table is None:
            return error
        if len(unknown) == len(error.refused) and not any(map(table.find, unknown)):
            errors = [_unknown(symbol, table) for symbol in unknown]
            text = " ".join(map(str, errors))
            return UnknownSymbol(unknown[0], errors[0].suggestions, text=text)
        hints = []
        for symbol in unknown:
            close = [name for name in table.suggest(symbol) if name != symbol]
            hints.append(f"{symbol}: {did_you_mean(close)}" if close else _search(symbol))
        return SubscriptionRefused(error.channel, error.refused, req_id=error.req_id, hints=hints)

    def table(
        self, connection: Connection, deadline: Optional[float], *, max_age: float = math.inf
    ) -> Optional[SymbolTable]:
        """Return the table, which is fetched if there is none, or if it is older than ``max_age`` seconds.

        Blocks up to ``deadline`` (monotonic seconds); None if the table could not be fetched.
        """
        # One thread fetches; the others wait for their turn and then find the table.
        return self._fetching.run(deadline, lambda: self._table_now(connection, deadline, max_age))

    def _table_now(
        self, connection: Connection, deadline: Optional[float], max_age: float
    ) -> Optional[SymbolTable]:
        if self.age > max_age or self._table is None:
            pairs = _fetch(connection, sooner(deadline, TABLE_TIMEOUT))
            if pairs:
                self.learn({pair.symbol: of_instrument(pair) for pair in pairs})
        return self._table if self.age <= max_age else None

    def refresh(
        self,
        public: Optional[Connection],
        asset_pairs: AskPairs,
        deadline: float,
        max_age: float = TABLE_LIFETIME,
    ) -> None:
        """Have a table that is not older than ``max_age`` seconds: from the public connection if that is
        up, else from ``asset_pairs``.

        Raises:
            KrakenError: neither could be asked.
        """
        if public is not None and public.open:
            # Half of the time: its loss may not be known yet.
            self.table(public, time.monotonic() + (deadline - time.monotonic()) / 2, max_age=max_age)
        self._fetching.run(deadline, lambda: self._ask_pairs(asset_pairs, deadline, max_age))

    def _ask_pairs(self, asset_pairs: AskPairs, deadline: float, max_age: float) -> None:
        if self.age <= max_age:
            return  # by now: the public connection, or another thread, has fetched it
        found: Dict[str, PairRules] = {}
        # One entry that cannot be read must not keep the orders of all other pairs from being checked.
        for entry in asset_pairs(time_left(deadline)).values():
            try:
                symbol = modern_pair(str(entry.get("wsname") or ""))
                if not symbol:
                    continue  # a pair that the WebSocket API does not have
                found[symbol] = of_asset_pair(symbol, entry)
            except (AttributeError, TypeError, ValueError, ArithmeticError) as error:
                log.warning("a pair that cannot be understood is left out: %.200r (%r)", entry, error)
        self.learn(found)

    def known(self, text: str) -> Optional[str]:
        """Return the exchange's name for ``text`` if the current table has it. Does not block."""
        return self._table.find(text) if self._table is not None else None

    def has_rules(self, symbol: str) -> bool:
        """Whether the current table has exactly this symbol. Does not block."""
        return symbol in self._rules

    def learn(self, rules: Dict[str, PairRules]) -> None:
        """Replace the table by these pairs."""
        self._rules, self._table, self._fetched = rules, SymbolTable(rules), time.monotonic()
        self._known.clear()

    def rules(self, symbol: str) -> Optional[PairRules]:
        """Return the rules for orders of exactly this symbol; None if they are not known.

        Raises:
            UnknownSymbol: it is another spelling of a symbol, which is not accepted for orders.
        """
        if symbol not in self._rules and self._table is not None and self._table.find(symbol):
            raise _unknown(symbol, self._table)
        return self._rules.get(symbol)

    def suggestion(self, symbol: str) -> str:
        """Return a sentence with the names that may have been meant, or an empty text. Does not block."""
        return did_you_mean(self._table.suggest(symbol)) if self._table is not None else ""

    @property
    def age(self) -> float:
        """Seconds since the table was fetched; infinite if there is none."""
        return time.monotonic() - self._fetched if self._table is not None else float("inf")


def _fetch(connection: Connection, deadline: float) -> List[_Pair]:
    wanted = channel_params({"channel": "instrument", "include_tokenized_assets": True})
    stream = Stream("the table of symbols", bytes, 1000, "drop_oldest", wanted.keys())
    try:
        connection.subscriptions.subscribe(wanted, deadline, stream=stream, kind=LOOKUP)
    except ClientClosed:
        raise
    except KrakenError as error:
        log.warning("no table of symbols: %s", error)
        return []
    pairs: List[_Pair] = []
    try:
        while not pairs:
            frame = stream.get(max(0.0, deadline - time.monotonic()))
            if isinstance(frame, bytes):
                pairs = _decode(frame).data.pairs
    except ClientClosed:
        raise
    except (queue.Empty, KrakenError, msgspec.MsgspecError) as error:
        log.warning("no table of symbols: %r", error)
        return []
    finally:
        connection.subscriptions.release(wanted.keys(), stream, None)
    return pairs


def _unknown(text: str, table: SymbolTable) -> UnknownSymbol:
    close = table.suggest(text)
    if close:
        return UnknownSymbol(
            text,
            close,
            text=f"{text!r:.60} is not traded on Kraken spot. {did_you_mean(close)} {_search(text)}",
        )
    return UnknownSymbol(
        text,
        text=f"{text!r:.60} is not traded on Kraken spot, and nothing is close to it. "
        f"Symbols look like 'BTC/USD'. {_search(text)}",
    )


def _search(text: str) -> str:
    first = text.strip().strip("/").split("/")[0]
    word = code_of(first) if code_of(first) != first else first[:3].upper()
    return f"Search: client.symbols({word!r})"
