"""Orders over REST: the same engine as over WebSocket, with REST's names, texts and relative prices.

Source: https://docs.kraken.com/api-reference/trading/add-order (the others end in ``add-order-batch``,
``amend-order`` and ``edit-order``).
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Callable, Dict, List, Mapping

from . import wire
from .exchange import Exchange
from .instruments import Instrument
from .intake import LIMITS, TRIGGERED, arguments
from .refusal import Refusal
from .rest import OLD

Params = Mapping[str, Any]
_FLAGS = {"post": ("post_only", True), "nompp": ("no_mpp", True), "fcib": ("fee_preference", "base"),
          "fciq": ("fee_preference", "quote")}  # fmt: skip
_KNOWN = frozenset(
    "nonce otp pair asset_class txid ordertype type volume displayvol price price2 trigger leverage stptype "
    "reduce_only oflags timeinforce starttm expiretm deadline validate userref cl_ord_id close "
    "close[ordertype] close[price] close[price2]".split()
)


class RestOrders:
    """Places and changes orders. ``clock`` tells the time in seconds since the epoch."""

    def __init__(self, exchange: Exchange, clock: Callable[[], float]) -> None:
        self._exchange = exchange
        self._clock = clock

    def add(self, params: Params) -> Any:
        """``AddOrder``."""
        pair = self._pair(params)
        close = {name: params[f"close[{name}]"] for name in ("ordertype", "price", "price2")
                 if f"close[{name}]" in params}  # fmt: skip
        order = self._order({**params, **({"close": close} if close else {})}, pair)
        for name in ("deadline",):
            if params.get(name) is not None:
                order[name] = params[name]
        order["validate"] = _flag(params, "validate")
        result = self._done(self._exchange.trading.add({**order, "symbol": pair.symbol}, self._clock()))
        description = {
            "order": f"{order['side']} {order.get('order_qty')} {pair.symbol} @ {order['order_type']}"
        }
        return {"descr": description, **({} if order["validate"] else {"txid": [result["order_id"]]})}

    def batch(self, params: Params) -> Any:
        """``AddOrderBatch``."""
        pair, orders = self._pair(params), params.get("orders")
        if not isinstance(orders, list) or not all(isinstance(one, Mapping) for one in orders):
            raise arguments("orders")
        batch: Dict[str, Any] = {"symbol": pair.symbol, "orders": [self._order(one, pair) for one in orders]}
        if params.get("deadline") is not None:
            batch["deadline"] = params["deadline"]
        batch["validate"] = _flag(params, "validate")
        results = self._done(self._exchange.trading.batch_add(batch, self._clock()))
        return {"orders": [_batched(result) for result in results]}

    def amend(self, params: Params) -> Any:
        """``AmendOrder``."""
        changes: Dict[str, Any] = {}
        for rest, name in (("txid", "order_id"), ("cl_ord_id", "cl_ord_id"), ("deadline", "deadline")):
            if params.get(rest):
                changes[name] = params[rest]
        for name in ("order_qty", "display_qty"):
            if params.get(name) is not None:
                changes[name] = _number(params[name])
        for name in ("limit_price", "trigger_price"):
            if params.get(name) is not None:
                changes[name], price_type = _relative(params[name])
                if price_type != "static":
                    changes[f"{name}_type"] = price_type
        if _flag(params, "post_only"):
            changes["post_only"] = True
        return {"amend_id": self._gone(self._exchange.trading.amend, changes)["amend_id"]}

    def edit(self, params: Params) -> Any:
        """``EditOrder``."""
        pair, old = self._pair(params), self._exchange.trading.account.orders.get(str(params.get("txid")))
        kind = old.kind if old is not None else "limit"
        changes = self._order({"ordertype": kind, "type": "buy", **params}, pair)
        for name in ("order_type", "side", "time_in_force"):
            changes.pop(name, None)
        if params.get("deadline") is not None:
            changes["deadline"] = params["deadline"]
        changes.update(symbol=pair.symbol, order_id=params.get("txid"), validate=_flag(params, "validate"))
        result = self._gone(self._exchange.trading.edit, changes)
        return {
            "status": "ok",
            "originaltxid": result["original_order_id"],
            "txid": result.get("order_id"),
            "orders_cancelled": 1,
        }

    def _done(self, result: Any) -> Any:
        self._exchange.desk.flush(self._clock())
        return result

    def _gone(self, act: Callable[[Params, float], Any], params: Params) -> Any:
        try:
            return self._done(act(params, self._clock()))
        except Refusal as refusal:
            if "Invalid order" in str(refusal):  # WebSocket's word for an order that is not open
                raise Refusal("EOrder:Unknown order") from None
            raise

    def _pair(self, params: Params) -> Instrument:
        name = str(params.get("pair") or "").upper()
        for market in self._exchange.markets.values():
            pair = market.pair
            base, quote = OLD.get(pair.base, pair.base), OLD.get(pair.quote, pair.quote)
            if name in (pair.symbol, f"{base}/{quote}", f"{base}{quote}", f"X{base}Z{quote}"):
                return pair
        raise Refusal("EQuery:Unknown asset pair")

    def _order(self, given: Params, pair: Instrument) -> Dict[str, Any]:
        unknown = [name for name in given if name not in _KNOWN]
        if unknown:
            raise arguments(unknown[0])
        kind = str(given.get("ordertype"))
        order: Dict[str, Any] = {"order_type": kind, "side": given.get("type")}
        for rest, name in (("volume", "order_qty"), ("displayvol", "display_qty")):
            if given.get(rest) is not None:
                order[name] = _number(given[rest])
        flags = [flag for flag in str(given.get("oflags") or "").split(",") if flag]
        for flag in flags:
            if flag == "viqc":
                order["cash_order_qty"] = order.pop("order_qty", None)
            elif flag in _FLAGS:
                name, value = _FLAGS[flag]
                order[name] = value
            else:
                raise arguments("oflags")
        _set_prices(order, kind, given)
        if given.get("trigger") is not None:
            order.setdefault("triggers", {})["reference"] = given["trigger"]
        if given.get("leverage") not in (None, "", "none"):
            _number(str(given["leverage"]).partition(":")[0])
            order["margin"] = True
        if _flag(given, "reduce_only"):
            order["reduce_only"] = True
        if given.get("stptype") is not None:
            order["stp_type"] = str(given["stptype"]).replace("-", "_")
        if given.get("timeinforce") is not None:
            order["time_in_force"] = str(given["timeinforce"]).lower()
        for rest, name in (("starttm", "effective_time"), ("expiretm", "expire_time")):
            if given.get(rest) is not None:
                order[name] = self._moment(str(given[rest]))
        if given.get("cl_ord_id"):
            order["cl_ord_id"] = given["cl_ord_id"]
        if given.get("userref") not in (None, ""):
            order["order_userref"] = int(given["userref"])
        if given.get("close"):
            order["conditional"] = self._close(given["close"], order, pair)
        return order

    def _moment(self, text: str) -> str:
        if text.startswith("+"):
            return wire.timestamp(self._clock() + float(text))
        return wire.timestamp(float(text)) if text.replace(".", "").isdigit() else text

    def _close(self, close: Params, order: Params, pair: Instrument) -> Dict[str, Any]:
        """A closing order; its relative prices are relative to the price of its order."""
        last = self._exchange.markets[pair.symbol].tape.last
        base = order.get("limit_price") or Decimal(last).scaleb(-pair.price_digits)
        kind, prices = str(close.get("ordertype")), []
        for name in ("price", "price2"):
            text = str(close.get(name) or "")
            sign, percent = text[:1] in ("+", "-"), text.endswith("%")
            value = _number(text.rstrip("%")) if text else None
            if value is not None and (sign or percent):
                value = base + (base * value / 100 if percent else value)
                value = value.quantize(Decimal(1).scaleb(-pair.price_digits))
            prices.append(value)
        found: Dict[str, Any] = {"order_type": kind}
        if kind in TRIGGERED:
            found["trigger_price"] = prices[0]
        limit = prices[1] if kind in TRIGGERED else prices[0]
        if kind in LIMITS:
            found["limit_price"] = limit
        return {name: value for name, value in found.items() if value is not None}


def _set_prices(order: Dict[str, Any], kind: str, given: Params) -> None:
    names: List[str] = ["price", "price2"]
    if kind in TRIGGERED:
        if given.get("price") is not None:
            value, price_type = _relative(given["price"])
            order["triggers"] = {"price": value, "price_type": price_type}
        names = ["price2"]
    if kind in LIMITS and given.get(names[0]) is not None:
        value, price_type = _relative(given[names[0]])
        order["limit_price"] = value
        if price_type != "static":
            order["limit_price_type"] = price_type


def _relative(text: Any) -> Any:
    """A price and what it is: ``static``, ``quote`` or ``pct``."""
    text = str(text)
    if text.endswith("%"):
        return _number(text[:-1]), "pct"
    return _number(text), "quote" if text[:1] in ("+", "-") else "static"


def _number(text: Any) -> Decimal:
    try:
        value = Decimal(str(text))
    except InvalidOperation:
        raise arguments("price") from None
    if not value.is_finite():
        raise arguments("price")
    return value


def _flag(params: Params, name: str) -> bool:
    return str(params.get(name, "false")).lower() == "true"


def _batched(result: Params) -> Dict[str, Any]:
    if "error" in result:
        return {"error": result["error"]}
    return {"descr": {"order": ""}, **({"txid": result["order_id"]} if result["order_id"] else {})}
