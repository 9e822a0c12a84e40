"""The pairs of a recording, as the ``instrument`` channel and REST have them."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any, Dict, List, Optional

from ..core.wire.channels import Key
from ..core.wire.messages import encode
from ..simulator.rest import OLD, asset_entry, pair_entry
from .contents import Contents

DIGITS = (10, 5)
"""The decimal places of an asset, and those that are shown, where nothing has told them."""


class Instruments:
    """What is known of each pair: what the ``instrument`` channel has told, or else what its messages show.

    Args:
        contents: of the recording.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        recorded = contents.first.get(Key("instrument"))
        self._data: Dict[str, Any] = _data(recorded) if recorded is not None else {}
        self.pairs: Dict[str, Dict[str, Any]] = {
            pair["symbol"]: pair for pair in self._data.get("pairs", ()) if pair.get("symbol")
        }
        for symbol in contents.symbols:
            self.pairs.setdefault(symbol, self._guessed(symbol))

    def _guessed(self, symbol: str) -> Dict[str, Any]:
        base, _, quote = symbol.partition("/")
        price, qty = self._contents.digits[symbol]
        increment = Decimal(1).scaleb(-price)
        return {
            "symbol": symbol,
            "base": base,
            "quote": quote,
            "status": "online",
            "qty_precision": qty,
            "qty_increment": Decimal(1).scaleb(-qty),
            "price_precision": price,
            "cost_precision": price,
            "marginable": False,
            "has_index": False,
            "cost_min": increment,
            "tick_size": increment,
            "price_increment": increment,
            "qty_min": Decimal(1).scaleb(-qty),
        }

    def snapshot(self) -> bytes:
        """Return the snapshot of the ``instrument`` channel."""
        names = sorted({pair[side] for pair in self.pairs.values() for side in ("base", "quote")})
        assets = self._data.get("assets") or [
            {
                "id": name,
                "status": "enabled",
                "precision": DIGITS[0],
                "precision_display": DIGITS[1],
                "borrowable": False,
                "collateral_value": Decimal("1.00"),
            }
            for name in names
        ]
        data = {"assets": assets, "pairs": list(self.pairs.values())}
        return bytes(encode({"channel": "instrument", "type": "snapshot", "data": data}))

    def asset_pairs(self, wanted: str = "") -> Optional[Dict[str, Any]]:
        """Return REST's answer about all pairs, or those that are named; None if one of them is unknown."""
        names = {name: symbol for symbol in self.pairs for name in (symbol, *_names(symbol))}
        if not wanted:
            return {_names(symbol)[0]: self._entry(symbol) for symbol in self.pairs}
        asked = wanted.split(",")
        if not set(asked) <= set(names):
            return None
        return {name: self._entry(names[name]) for name in asked}

    def find(self, name: str) -> Optional[str]:
        """Return the symbol of a pair by any of its names."""
        return next((symbol for symbol in self.pairs if name in (symbol, *_names(symbol))), None)

    def assets(self) -> Dict[str, Any]:
        """Return REST's answer about all assets."""
        names = sorted({pair[side] for pair in self.pairs.values() for side in ("base", "quote")})
        return {OLD.get(name, name): asset_entry(name, *DIGITS) for name in names}

    def _entry(self, symbol: str) -> Dict[str, Any]:
        pair = self.pairs[symbol]
        base, quote = (OLD.get(str(pair[side]), str(pair[side])) for side in ("base", "quote"))
        return {
            **pair_entry(base, quote),
            "cost_decimals": pair.get("cost_precision", 5),
            "pair_decimals": pair.get("price_precision", 8),
            "lot_decimals": pair.get("qty_precision", 8),
            "ordermin": _text(pair.get("qty_min", 0)),
            "costmin": _text(pair.get("cost_min", 0)),
            "tick_size": _text(pair.get("price_increment", 0)),
            "status": pair.get("status", "online"),
        }


def _names(symbol: str) -> List[str]:
    base, _, quote = symbol.partition("/")
    return [f"{OLD.get(base, base)}{OLD.get(quote, quote)}", f"{base}{quote}"]


def _data(frame: bytes) -> Dict[str, Any]:
    message = json.loads(frame, parse_float=Decimal)
    data = message.get("data")
    return data if isinstance(data, dict) else {}


def _text(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value)
