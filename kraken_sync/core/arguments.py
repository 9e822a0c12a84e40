"""Errors about the arguments of a call, in words that help, where Python would use its own."""

from __future__ import annotations

import functools
import inspect
from typing import Any, Callable, Mapping, Sequence, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

MEANT: Mapping[str, str] = {
    "price": "limit_price",
    "qty": "order_qty",
    "quantity": "order_qty",
    "amount": "order_qty",
    "size": "order_qty",
    "volume": "order_qty",
    "pair": "symbol",
    "ticker": "symbol",
    "symbols": "symbol",
    "type": "order_type",
    "ordertype": "order_type",
    "userref": "order_userref",
    "client_order_id": "cl_ord_id",
    "txid": "order_id",
    "id": "order_id",
    "tif": "time_in_force",
    "timeinforce": "time_in_force",
    "oflags": "post_only",
    "postonly": "post_only",
    "levels": "depth",
}
"""What other libraries, and Kraken's REST API, call a parameter."""


def speaking(function: Function) -> Function:
    """Decorate a method so that wrong names and too many arguments raise a TypeError that helps.

    >>> class Client:
    ...     @speaking
    ...     def add_order(self, *, symbol, limit_price=None): ...
    ...     @speaking
    ...     def trades(self, symbol, *, snapshot=False): ...
    >>> Client().add_order(symbol="BTC/USD", price=1)
    Traceback (most recent call last):
    TypeError: add_order() has no argument 'price'. Did you mean 'limit_price'?
    >>> Client().trades("BTC/USD", "ETH/USD")
    Traceback (most recent call last):
    TypeError: trades() takes several symbols as a list: trades(['BTC/USD', 'ETH/USD'])
    """
    parameters = list(inspect.signature(function).parameters.values())[1:]
    names = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
    known, anything = frozenset(names), len(names) < len(parameters)
    places = [one.name for one in parameters if one.kind is one.POSITIONAL_OR_KEYWORD]

    @functools.wraps(function)
    def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
        if len(args) > len(places) or (len(args) > 1 and _symbols(args)):
            raise TypeError(_too_many(function.__name__, args, places, names))
        if not anything and not kwargs.keys() <= known:
            raise TypeError(
                _unknown(function.__name__, next(one for one in kwargs if one not in names), names)
            )
        return function(self, *args, **kwargs)

    return cast(Function, checked)


def _symbols(args: Sequence[Any]) -> bool:
    return all(isinstance(one, str) and "/" in one for one in args)


def _too_many(name: str, args: Sequence[Any], places: Sequence[str], names: Sequence[str]) -> str:
    if places and places[0] in ("symbol", "pair") and all(isinstance(one, str) for one in args):
        if places[0] == "pair":
            return f"{name}() takes one pair; call it once for each of {', '.join(map(repr, args))}"
        return f"{name}() takes several symbols as a list: {name}({list(args)!r:.80})"
    if not places:
        return f"{name}() takes its arguments by name, such as {name}({names[0]}=...)"
    return f"{name}() takes {', '.join(places)} by place, and everything else by name"


def _unknown(function: str, name: str, names: Sequence[str]) -> str:
    from difflib import get_close_matches

    meant = MEANT.get(name.lower())
    close = [meant] if meant in names else get_close_matches(name, names, 1)
    hint = f"Did you mean {close[0]!r}?" if close else f"It takes: {', '.join(names)}."
    return f"{function}() has no argument {name!r}. {hint}"
