"""A level-3 book: every order of the visible levels, in queue order, verified by the exchange's checksum.

Each side is a SortedDict of prices, from the best to the worst, and each price has its queue: a dict of
orders in the order in which they will trade. Prices and quantities are integers, as in :mod:`.book`. The
checksum covers price and quantity of every order of the ten best levels in queue order. It has no ids, and
does not tell two orders of one price and one quantity apart. What it cannot show may show otherwise: an event
that contradicts the book, such as a ``delete`` of an order that is not there, is a mismatch at any level.

Where an order stands in its queue follows from the rules of the matching engine: a new order and one whose
quantity grows go to the end, one that was filled in part or made smaller keeps its place. It is not
documented that the channel shows every case like this. If the checksum contradicts, those queues of the
message's orders that it covers are tried in the order of their times before the book counts as wrong.

Source: https://docs.kraken.com/exchange/guides/websockets/l3-checksum-v2 and
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/level3; for the places in the queue,
https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/amend_order.
"""

from __future__ import annotations

import json
import zlib
from itertools import islice
from operator import neg
from typing import Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

from sortedcontainers import SortedDict

from ..wire.messages import Level3Data, WireOrder
from ..wire.numbers import decimals_of, fixed, scaled
from .book import Rows
from .checksum import LEVELS

Queued = Tuple[int, str, str]
"""An order in its queue: its quantity, its time (RFC 3339) and its text in the checksum."""
Queue = Dict[str, Queued]
"""The orders of one price by ``order_id``, the first to trade first."""
Orders = Tuple[Tuple[int, Tuple[Tuple[str, Queued], ...]], ...]
"""Levels as (price, orders), best first."""


class Place(NamedTuple):
    """Where an order stands."""

    side: str
    """``buy`` or ``sell``."""
    price: int
    level: int
    """The number of better prices."""
    queue: Tuple[Tuple[str, Queued], ...]
    """The orders of its price up to and including itself."""


class Side:
    """The queues of one side."""

    __slots__ = ("depth", "falling", "levels", "prices", "texts")

    def __init__(self, falling: bool, depth: int) -> None:
        self.falling = falling
        self.levels: SortedDict[int, Queue] = SortedDict(neg) if falling else SortedDict()
        self.depth = depth
        self.prices: Dict[str, int] = {}
        """The price of each order."""
        self.texts: Dict[int, str] = {}
        """The checksum text of levels that have not changed since it was made."""

    def clear(self) -> None:
        """Remove everything."""
        self.levels.clear()
        self.prices.clear()
        self.texts.clear()

    def put(self, order_id: str, price: int, queued: Queued) -> None:
        """Replace an order of this price, or put it at the end of the queue."""
        queue = self.levels.get(price)
        if queue is None:
            queue = self.levels[price] = {}
        queue[order_id] = queued
        self.prices[order_id] = price
        self.texts.pop(price, None)

    def remove(self, order_id: str) -> None:
        """Remove an order, if it is there."""
        price = self.prices.pop(order_id, None)
        if price is not None:
            queue = self.levels[price]
            del queue[order_id]
            if not queue:
                del self.levels[price]
            self.texts.pop(price, None)

    def shows(self, price: int) -> bool:
        """Return whether every order of this price must be known here."""
        if len(self.levels) < self.depth:
            return True
        worst = self.levels.peekitem()[0]
        return price > worst if self.falling else price < worst

    def cut(self) -> None:
        """Remove the levels beyond the depth; the exchange sends nothing for them."""
        while len(self.levels) > self.depth:
            price, queue = self.levels.popitem()  # the last item is the worst price on both sides
            for order_id in queue:
                del self.prices[order_id]
            self.texts.pop(price, None)

    def text(self) -> str:
        """Return the checksum text of the best levels."""
        texts, levels, found = self.texts, self.levels, []
        for price in islice(levels, LEVELS):
            text = texts.get(price)
            if text is None:
                text = texts[price] = "".join([queued[2] for queued in levels[price].values()])
            found.append(text)
        return "".join(found)

    def sort(self, price: int) -> None:
        """Order a queue by the times of its orders."""
        # Without the Z, or a time without a fraction would come after one with it.
        by_time = sorted(self.levels[price].items(), key=lambda item: item[1][1].rstrip("Z"))
        self.levels[price] = dict(by_time)
        self.texts.pop(price, None)

    def rows(self, levels: int) -> Orders:
        """Return the best levels with their orders."""
        return tuple((price, tuple(self.levels[price].items())) for price in islice(self.levels, levels))


class Level3:
    """The orders of one symbol in at most ``depth`` levels a side. Not thread-safe: the owner serialises.

    Args:
        symbol: the exchange's name of the pair.
        depth: the largest number of levels a side.
        decimals: the digits after the point of price and quantity, for texts that may have lost their
            trailing zeros; None to take them from the texts.
        version: the number of messages applied so far.
    """

    __slots__ = (
        "_ask_side",
        "_asks_crc",
        "_bid_side",
        "_bids_text",
        "_decimals",
        "checksum",
        "computed",
        "depth",
        "price_decimals",
        "qty_decimals",
        "symbol",
        "timestamp",
        "version",
    )

    def __init__(
        self, symbol: str, depth: int, decimals: Optional[Tuple[int, int]] = None, version: int = 0
    ) -> None:
        self.symbol = symbol
        self.depth = depth
        self.price_decimals, self.qty_decimals = decimals or (0, 0)
        self.checksum: Optional[int] = None
        """The exchange's checksum in the last message."""
        self.computed = 0
        """The checksum computed from the orders after the last message."""
        self.timestamp = ""
        """The exchange's time of the last message (RFC 3339, UTC); empty if it had none."""
        self.version = version
        """The number of messages applied."""
        self._decimals = decimals
        self._ask_side = Side(False, depth)
        self._bid_side = Side(True, depth)
        self._asks_crc = 0
        self._bids_text = b""

    @property
    def asks(self) -> SortedDict[int, Queue]:
        """The queues of the asks by price, from low to high."""
        return self._ask_side.levels

    @property
    def bids(self) -> SortedDict[int, Queue]:
        """The queues of the bids by price, from high to low."""
        return self._bid_side.levels

    def apply(self, data: Level3Data, snapshot: bool) -> bool:
        """Apply one message, and return whether the result is verified.

        It is verified if the exchange's checksum matches and the book is not :attr:`crossed`. After False and
        after an exception the orders are undefined until the next snapshot.

        Raises:
            ValueError: an order of the message has no number where it needs one, an update has an order
                without an event, or an event contradicts the book.
        """
        if snapshot:
            self._clear(data)
        if data.asks:
            self._change(self._ask_side, data.asks, snapshot)
            self._asks_crc = zlib.crc32(self._ask_side.text().encode())
        if data.bids:
            self._change(self._bid_side, data.bids, snapshot)
            self._bids_text = self._bid_side.text().encode()
        self.version += 1
        self.timestamp = data.timestamp
        self.checksum = data.checksum
        self.computed = zlib.crc32(self._bids_text, self._asks_crc)
        if self.computed != data.checksum:
            self._by_time(data)
        return self.computed == data.checksum and not self.crossed

    @property
    def crossed(self) -> bool:
        """Whether the best bid is at or above the best ask, which no matching engine allows."""
        asks, bids = self._ask_side.levels, self._bid_side.levels
        return bool(asks and bids) and next(iter(bids)) >= next(iter(asks))

    def _by_time(self, data: Level3Data) -> None:
        """Put the queues of a message's orders into the order of their times."""
        for side, orders in ((self._ask_side, data.asks), (self._bid_side, data.bids)):
            touched = {side.prices.get(order.order_id) for order in orders}
            for price in touched.intersection(islice(side.levels, LEVELS)):
                assert price is not None
                side.sort(price)
        self._read()

    def _read(self) -> None:
        self._asks_crc = zlib.crc32(self._ask_side.text().encode())
        self._bids_text = self._bid_side.text().encode()
        self.computed = zlib.crc32(self._bids_text, self._asks_crc)

    def _clear(self, data: Level3Data) -> None:
        for side in (self._ask_side, self._bid_side):
            side.clear()
        self._asks_crc, self._bids_text = 0, b""
        # As in Book: precisions change, and recordings may have lost trailing zeros.
        orders = data.asks + data.bids
        price, qty = self._decimals or (0, 0)
        self.price_decimals = max([price, *(decimals_of(order.limit_price) for order in orders)])
        self.qty_decimals = max([qty, *(decimals_of(order.order_qty) for order in orders)])

    def _change(self, side: Side, orders: Sequence[WireOrder], snapshot: bool) -> None:
        """Apply the events of one side in their order, then cut the side to the depth."""
        for order in orders:
            event, order_id = order.event, order.order_id
            if event == "delete":
                self._check_known(side, order)
                side.remove(order_id)
                continue
            if not event and not snapshot:
                raise ValueError(f"an order of an update has no event: {order}")
            if event == "modify" and order_id not in side.prices:
                self._check_known(side, order)
            price, qty = self._numbers(order)
            if not qty:
                side.remove(order_id)
                continue
            keeps_place = (
                event == "modify"
                and side.prices.get(order_id) == price
                and qty <= side.levels[price][order_id][0]
            )
            if not keeps_place:
                side.remove(order_id)
            side.put(order_id, price, (qty, order.timestamp, f"{price}{qty}"))
        side.cut()

    def _check_known(self, side: Side, order: WireOrder) -> None:
        """Raise ValueError if an order is to be changed that is elsewhere, or missing where it must be."""
        known, text = side.prices.get(order.order_id), order.limit_price
        if text is None:
            return  # the exchange is documented to give the price, but need not
        price, decimals = scaled(text, self.price_decimals)
        if decimals > self.price_decimals or (known is None and not side.shows(price)):
            return  # its level was cut off before
        if price != known:
            where = "it is not in the book" if known is None else "it has another price"
            raise ValueError(f"{order.event} of {order.order_id} at {text}, but {where}")

    def _numbers(self, order: WireOrder) -> Tuple[int, int]:
        """Return price and quantity of an order as integers."""
        price_text, qty_text = order.limit_price, order.order_qty
        # The fast way, as in Book: nearly every number has exactly the known digits.
        try:
            if price_text[-self.price_decimals - 1] == "." and qty_text[-self.qty_decimals - 1] == ".":
                price, qty = int(price_text.replace(".", "")), int(qty_text.replace(".", ""))
                if price >= 0 and qty >= 0:
                    return price, qty
        except (TypeError, ValueError, LookupError, AttributeError):
            pass
        price, price_decimals = scaled(price_text, self.price_decimals)
        qty, qty_decimals = scaled(qty_text, self.qty_decimals)
        if price_decimals > self.price_decimals or qty_decimals > self.qty_decimals:
            self._rescale(price_decimals, qty_decimals)
        return price, qty

    def _rescale(self, price_decimals: int, qty_decimals: int) -> None:
        """Count in smaller units, because the exchange has begun to write more digits."""
        price_factor = 10 ** (price_decimals - self.price_decimals)
        qty_factor = 10 ** (qty_decimals - self.qty_decimals)
        for side in (self._ask_side, self._bid_side):
            there = [(price, list(queue.items())) for price, queue in side.levels.items()]
            side.clear()
            for price, orders in there:
                for order_id, (qty, time, _) in orders:
                    text = f"{price * price_factor}{qty * qty_factor}"
                    side.put(order_id, price * price_factor, (qty * qty_factor, time, text))
        self.price_decimals, self.qty_decimals = price_decimals, qty_decimals
        self._read()

    # -- reading -----------------------------------------------------------------------------

    def rows(self, levels: int) -> Tuple[Orders, Orders]:
        """Return the best ``levels`` asks and bids with their orders, best first."""
        return self._ask_side.rows(levels), self._bid_side.rows(levels)

    def place(self, order_id: str) -> Optional[Place]:
        """Return where an order stands; None if it is not among the visible ones."""
        for name, side in (("buy", self._bid_side), ("sell", self._ask_side)):
            price = side.prices.get(order_id)
            if price is not None:
                return Place(name, price, side.levels.index(price), _up_to(side.levels[price], order_id))
        return None

    def snapshot_frame(self) -> bytes:
        """Return the book as a snapshot frame in the exchange's own form."""
        bids, asks = (",".join(self._texts(side)) for side in (self._bid_side, self._ask_side))
        return (
            f'{{"channel":"level3","type":"snapshot","data":[{{"symbol":"{self.symbol}",'
            f'"bids":[{bids}],"asks":[{asks}],"checksum":{self.computed},'
            f'"timestamp":"{self.timestamp}"}}]}}'
        ).encode()

    def _texts(self, side: Side) -> Iterator[str]:
        for price, queue in side.levels.items():
            for order_id, (qty, time, _) in queue.items():
                yield (
                    f'{{"order_id":{json.dumps(order_id)},"limit_price":{fixed(price, self.price_decimals)},'
                    f'"order_qty":{fixed(qty, self.qty_decimals)},"timestamp":"{time}"}}'
                )

    def _check(self) -> None:
        """Assert every invariant, for tests."""
        for side in (self._ask_side, self._bid_side):
            assert len(side.levels) <= self.depth
            assert all(queue for queue in side.levels.values())
            assert side.prices == {name: price for price, queue in side.levels.items() for name in queue}
            assert all(
                text == f"{price}{qty}" and price >= 0 and qty > 0
                for price, queue in side.levels.items()
                for qty, _, text in queue.values()
            )
            side.texts.clear()
        assert list(self.asks) == sorted(self.asks)
        assert list(self.bids) == sorted(self.bids, reverse=True)
        text = self._ask_side.text() + self._bid_side.text()
        assert zlib.crc32(self._bids_text, self._asks_crc) == zlib.crc32(text.encode())


def totals(levels: Orders) -> Rows:
    """Return levels with their total quantities, as a level-2 book has them.

    >>> totals(((645250, (("OA", (3, "", "")), ("OB", (4, "", "")))),))
    ((645250, '6452507'),)
    """
    return tuple((price, f"{price}{sum(queued[0] for _, queued in orders)}") for price, orders in levels)


def _up_to(queue: Queue, order_id: str) -> Tuple[Tuple[str, Queued], ...]:
    found: List[Tuple[str, Queued]] = []
    for item in queue.items():
        found.append(item)
        if item[0] == order_id:
            break
    return tuple(found)
