"""The private REST endpoints of the simulated exchange: signed POST requests.

Source: Kraken's REST reference: the envelope, permissions, shapes of orders, trades and balances.
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from decimal import Decimal
from typing import Any, Callable, Dict, List, Mapping, Tuple, Union
from urllib.parse import parse_qsl

from . import wire
from .account import AccountOrder, Trade
from .credentials import Key, require
from .exchange import Exchange
from .refusal import Refusal
from .rest import OLD, rest_id
from .rest_orders import RestOrders

Params = Mapping[str, Any]
PAGE = 50
_ASSETS = {"BTC": "XXBT", "ETH": "XETH", "DOGE": "XXDG", "XRP": "XXRP", "LTC": "XLTC", "XMR": "XXMR",
           "USD": "ZUSD", "EUR": "ZEUR", "GBP": "ZGBP"}  # fmt: skip
_STATUS = {
    "pending_new": "pending",
    "new": "open",
    "partially_filled": "open",
    "filled": "closed",
    "canceled": "canceled",
    "expired": "expired",
}


class PrivateRest:
    """Answers signed requests from the state of an exchange."""

    def __init__(self, exchange: Exchange, clock: Callable[[], float] = time.time) -> None:
        self._exchange = exchange
        self._clock = clock
        orders = RestOrders(exchange, clock)
        self._endpoints: Dict[str, Tuple[Tuple[str, ...], Callable[[Key, Params], Any]]] = {
            "GetWebSocketsToken": (("websockets",), self._token),
            "OpenOrders": (("query_orders",), self._open_orders),
            "ClosedOrders": (("query_orders",), self._closed_orders),
            "QueryOrders": (("query_orders",), self._query_orders),
            "TradesHistory": (("query_orders",), self._trades_history),
            "Balance": (("query_funds",), self._balance),
            "BalanceEx": (("query_funds",), self._balance_ex),
            "RetrieveExport": (("query_funds",), self._export),
            "AddOrder": (("modify_orders",), lambda key, params: orders.add(params)),
            "AddOrderBatch": (("modify_orders",), lambda key, params: orders.batch(params)),
            "AmendOrder": (("modify_orders",), lambda key, params: orders.amend(params)),
            "EditOrder": (("modify_orders",), lambda key, params: orders.edit(params)),
            "CancelOrder": (("modify_orders", "cancel_orders"), self._cancel),
            "CancelOrderBatch": (("modify_orders", "cancel_orders"), self._cancel_batch),
            "CancelAll": (("modify_orders", "cancel_orders"), self._cancel_all),
            "CancelAllOrdersAfter": (("modify_orders", "cancel_orders"), self._cancel_after),
        }

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Union[Dict[str, Any], bytes]:
        """The JSON envelope for a request, or the bytes of a file."""
        errors = self._exchange.faults.rest_errors
        try:
            params = _parsed(headers.get("Content-Type") or "", body)
            key = self._exchange.credentials.check(
                headers.get("API-Key") or "",
                headers.get("API-Sign") or "",
                path,
                str(params.get("nonce", "")),
                body,
            )
            if errors:
                raise Refusal(errors.pop(0))
            endpoint = self._endpoints.get(path[len("/0/private/") :])
            if endpoint is None:
                raise Refusal("EGeneral:Unknown method")
            require(key, *endpoint[0])
            if "modify_orders" in endpoint[0] and self._exchange.faults.rejections:
                raise Refusal(self._exchange.faults.rejections.pop(0))
            result = endpoint[1](key, params)
            if "modify_orders" in endpoint[0] and self._exchange.faults.use_up("internal_errors"):
                raise Refusal("EGeneral:Internal error")  # it was carried out all the same
        except Refusal as refusal:
            return {"error": [str(refusal)]}
        except (ValueError, TypeError, ArithmeticError, RecursionError):
            return {"error": ["EGeneral:Invalid arguments"]}
        return result if isinstance(result, bytes) else {"error": [], "result": result}

    def _token(self, key: Key, params: Params) -> Any:
        token = self._exchange.credentials.issue(key, self._clock())
        return {"token": token.text, "expires": 900}

    @property
    def _as_of(self) -> float:
        """The moment whose state is told: now, unless REST lags behind."""
        return self._clock() - self._exchange.faults.rest_lag

    def _orders(self, as_of: float) -> List[AccountOrder]:
        return [one for one in self._exchange.trading.account.orders.values() if one.moment <= as_of]

    def _open_orders(self, key: Key, params: Params) -> Any:
        as_of = self._as_of
        orders = [one for one in self._orders(as_of) if _open(one, as_of) and _matches(one, params)]
        return {"open": {order.order_id: _order(order, params, as_of) for order in orders}}

    def _closed_orders(self, key: Key, params: Params) -> Any:
        start, offset = float(params.get("start") or 0), int(params.get("ofs") or 0)
        as_of = self._as_of
        orders = [
            order
            for order in self._orders(as_of)
            if not _open(order, as_of) and order.closed > start and _matches(order, params)
        ]
        orders.sort(key=lambda order: -order.closed)
        page = orders[offset : offset + PAGE]
        return {
            "closed": {order.order_id: _order(order, params, as_of) for order in page},
            "count": len(orders),
        }

    def _query_orders(self, key: Key, params: Params) -> Any:
        wanted = [name for name in str(params.get("txid", "")).split(",") if name]
        if not wanted:
            raise Refusal("EGeneral:Invalid arguments:txid")
        as_of = self._as_of
        known = {order.order_id: order for order in self._orders(as_of)}
        if not set(wanted) <= set(known):
            raise Refusal("EOrder:Invalid order")
        return {
            name: _order(known[name], params, as_of)
            for name in wanted
            if _matches(known[name], {**params, "txid": ""})
        }

    def _trades_history(self, key: Key, params: Params) -> Any:
        start, offset = float(params.get("start") or 0), int(params.get("ofs") or 0)
        as_of = self._as_of
        found = [
            (trade, order)
            for order in self._orders(as_of)
            for trade in order.trades
            if start < trade.moment <= as_of
        ]
        found.sort(key=lambda one: -one[0].moment)
        page = found[offset : offset + PAGE]
        return {
            "trades": {trade.exec_id: _trade(trade, order) for trade, order in page},
            "count": len(found),
        }

    def _cancel(self, key: Key, params: Params) -> Any:
        trading, now = self._exchange.trading, self._clock()
        name, own = str(params.get("txid") or ""), params.get("cl_ord_id")
        targets: List[Params] = [{"cl_ord_id": own}] if own else [{"order_id": name}]
        if name.lstrip("-").isdigit():
            targets = trading.cancel_targets({"order_userref": [int(name)]})
        try:
            for target in targets:
                trading.cancel(target, now)
        except Refusal as refusal:
            # WebSocket's word for it is another one.
            raise Refusal(
                "EOrder:Unknown order" if "Invalid order" in str(refusal) else str(refusal)
            ) from None
        self._exchange.desk.flush(now)
        return {"count": len(targets), "pending": False}

    def _cancel_batch(self, key: Key, params: Params) -> Any:
        orders, own = params.get("orders") or [], params.get("cl_ord_ids") or []
        result = self._exchange.trading.batch_cancel({"orders": orders, "cl_ord_id": own}, self._clock())
        self._exchange.desk.flush(self._clock())
        return result

    def _cancel_all(self, key: Key, params: Params) -> Any:
        result = self._exchange.trading.cancel_all({}, self._clock())
        self._exchange.desk.flush(self._clock())
        return result

    def _cancel_after(self, key: Key, params: Params) -> Any:
        now = self._clock()
        fires = self._exchange.trading.cancel_after({"timeout": int(params.get("timeout", -1))}, now)
        times = {"currentTime": wire.timestamp(now, 0)[:19] + "Z"}
        return {**times, "triggerTime": "0" if fires is None else wire.timestamp(fires, 0)[:19] + "Z"}

    def _balance(self, key: Key, params: Params) -> Any:
        balances = self._exchange.trading.account.balances
        return {_ASSETS.get(asset, asset): format(amount, "f") for asset, amount in balances.items()}

    def _balance_ex(self, key: Key, params: Params) -> Any:
        account = self._exchange.trading.account
        return {
            _ASSETS.get(asset, asset): {
                "balance": format(amount, "f"),
                "hold_trade": format(account.held(asset), "f"),
            }
            for asset, amount in account.balances.items()
        }

    def _export(self, key: Key, params: Params) -> bytes:
        lines = ["txid,asset,amount,fee,balance"]
        for entry in self._exchange.trading.account.entries:
            lines.append(f"{entry.ledger_id},{entry.asset},{entry.amount},{entry.fee},{entry.balance}")
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("ledgers.csv", "\n".join(lines) + "\n")
        return file.getvalue()


def _parsed(content_type: str, body: bytes) -> Dict[str, Any]:
    text = body.decode("utf-8", "replace")
    if "json" not in content_type:
        return dict(parse_qsl(text))
    try:
        params = json.loads(text)
    except ValueError:
        params = None
    if not isinstance(params, dict):
        raise Refusal("EGeneral:Invalid arguments")
    return params


def _matches(order: AccountOrder, params: Params) -> bool:
    userref, cl_ord_id = params.get("userref"), params.get("cl_ord_id")
    if userref not in (None, "") and str(order.userref) != str(userref):
        return False
    return cl_ord_id in (None, "", order.cl_ord_id)


def _open(order: AccountOrder, as_of: float) -> bool:
    return order.open or order.closed > as_of


def _order(order: AccountOrder, params: Params, as_of: float) -> Dict[str, Any]:
    pair, trades = order.pair, [trade for trade in order.trades if trade.moment <= as_of]
    filled, cost = sum(trade.qty for trade in trades), sum((trade.cost for trade in trades), Decimal(0))
    status = "open" if not order.open and _open(order, as_of) else _STATUS[order.status]
    average = cost / order.amount(filled) if filled else Decimal(0)
    name = f"{OLD.get(pair.base, pair.base)}{OLD.get(pair.quote, pair.quote)}"
    limit, trigger = (format(order.price(value or 0), "f") for value in (order.limit, order.trigger))
    triggered = order.trigger is not None
    found: Dict[str, Any] = {
        "refid": order.parent or None,
        "userref": order.userref,
        "status": status,
        "opentm": order.moment,
        "starttm": order.effective or 0,
        "expiretm": order.expires or 0,
        "descr": {
            "pair": name,
            "type": order.side,
            "ordertype": order.kind,
            "price": trigger if triggered else limit,
            "price2": limit if triggered and order.limit is not None else "0",
            "leverage": "none",
            "order": f"{order.side} {order.amount(order.qty)} {name} @ {order.kind} {limit}",
            "close": "",
        },
        "vol": format(order.amount(order.qty), "f"),
        "vol_exec": format(order.amount(filled), "f"),
        "cost": format(cost, "f"),
        "fee": format(sum((trade.fee for trade in trades), Decimal(0)), "f"),
        "price": format(order.average if len(trades) == len(order.trades) else average, "f"),
        "stopprice": format(order.price(order.trigger or 0), "f"),
        "limitprice": "0.00000",
        "misc": "",
        "oflags": "post,fciq" if order.params.get("post_only") else "fciq",
    }
    if order.cl_ord_id is not None:
        found["cl_ord_id"] = order.cl_ord_id
    if not _open(order, as_of):
        found.update(closetm=order.closed, reason=order.reason or None)
    if str(params.get("trades", "")).lower() == "true":
        found["trades"] = [trade.exec_id for trade in trades]
    return found


def _trade(trade: Trade, order: AccountOrder) -> Dict[str, Any]:
    return {
        "ordertxid": order.order_id,
        "postxid": order.order_id,
        "pair": rest_id(order.pair),
        "time": trade.moment,
        "type": order.side,
        "ordertype": order.kind,
        "price": format(order.price(trade.price), "f"),
        "cost": format(trade.cost, "f"),
        "fee": format(trade.fee, "f"),
        "vol": format(order.amount(trade.qty), "f"),
        "margin": "0.00000",
        "leverage": "0",
        "misc": "",
        "trade_id": trade.trade_id,
        "maker": trade.maker,
    }
