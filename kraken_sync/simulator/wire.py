"""How the exchange writes things: fixed-point numbers, times, replies with their keys in order."""

from __future__ import annotations

import json
import zlib
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any, Dict, Iterable, Mapping, Optional, Sequence, Tuple

Level = Tuple[int, int]


def number(value: int, digits: int) -> str:
    """An integer count of ``10 ** -digits`` as the exchange writes it."""
    sign, value = ("-", -value) if value < 0 else ("", value)
    if digits == 0:
        return f"{sign}{value}"
    whole, rest = divmod(value, 10**digits)
    return f"{sign}{whole}.{rest:0{digits}d}"


def timestamp(moment: float, digits: int = 6) -> str:
    """Seconds since the epoch as RFC 3339 in UTC."""
    nanoseconds = round(moment * 1e9)
    seconds, fraction = divmod(nanoseconds, 10**9)
    text = datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{str(fraction).rjust(9, '0')[:digits]}Z"


def book_checksum(asks: Iterable[Level], bids: Iterable[Level], price_digits: int, qty_digits: int) -> int:
    """CRC32 of up to ten asks from low to high, then ten bids from high to low, over their text."""
    text = ""
    for side in (list(asks)[:10], list(bids)[:10]):
        for price, qty in side:
            for value, digits in ((price, price_digits), (qty, qty_digits)):
                text += number(value, digits).replace(".", "").lstrip("0")
    return zlib.crc32(text.encode("ascii"))


def levels(side: Sequence[Level], price_digits: int, qty_digits: int) -> str:
    """Levels as a JSON array."""
    return ",".join(
        f'{{"price":{number(price, price_digits)},"qty":{number(qty, qty_digits)}}}' for price, qty in side
    ).join("[]")


def reply(
    method: str,
    req_id: Optional[int],
    moment: float,
    *,
    result: Any = None,
    error: Optional[str] = None,
    symbol: Optional[str] = None,
    extra: Optional[Mapping[str, Any]] = None,
) -> str:
    """A method reply; keys come out in alphabetical order, as recorded."""
    message: Dict[str, Any] = {
        "method": method,
        "success": error is None,
        "time_in": timestamp(moment),
        "time_out": timestamp(moment + 0.00004),
    }
    if req_id is not None:
        message["req_id"] = req_id
    if error is None:
        message["result"] = result if isinstance(result, list) else dict(result or {})
    else:
        message["error"] = error
    if symbol is not None:
        message["symbol"] = symbol
    message.update(extra or {})
    return dump(message)


def damaged(text: str) -> str:
    """A message with another checksum."""
    return text.replace('"checksum":', '"checksum":1', 1)


def dump(message: Mapping[str, Any]) -> str:
    """JSON without spaces, keys in alphabetical order."""
    return json.dumps(message, separators=(",", ":"), sort_keys=True, default=str)


def data(value: Any) -> str:
    """JSON without spaces, keys as they stand, decimals in fixed-point digits."""
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, Mapping):
        return ",".join(f"{json.dumps(key)}:{data(item)}" for key, item in value.items()).join("{}")
    if isinstance(value, (list, tuple)):
        return ",".join(map(data, value)).join("[]")
    return json.dumps(value)


def moment(text: str) -> float:
    """RFC 3339 as seconds since the epoch. Raises ValueError."""
    if not text.endswith("Z"):
        return datetime.fromisoformat(text).timestamp()
    whole, _, fraction = text[:-1].partition(".")
    seconds = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=timezone.utc).timestamp()
    return seconds + (float(f"0.{fraction}") if fraction else 0.0)
