"""First checks of what callers pass, with the texts of python-kraken-sdk where a user may match them."""

from __future__ import annotations

from typing import Any, Mapping


def check_params(params: Any) -> Mapping[str, Any]:
    """The parameters of a subscription, on their own; says so to those who bring something else."""
    if not isinstance(params, Mapping) or "params" in params:
        raise TypeError(
            "The message must contain the ``params`` key with a value as type dict! (Pass the params alone, "
            f"such as {{'channel': 'ticker', 'symbol': ['BTC/USD']}}, not {params!r:.80})"
        )
    return check_channel(params)


def check_channel(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parameters that name a channel."""
    if not isinstance(params.get("channel"), str) or not params["channel"]:
        raise TypeError(
            "The message must contain the ``params`` key that points to a dictionary "
            "containing the ``channel`` key with a valid string!"
        )
    return params


def method_of(message: Any) -> str:
    """The message's ``method``. Raises TypeError for what is no message."""
    if not isinstance(message, Mapping):
        raise TypeError("The ``message`` must be type dict!")
    method = message.get("method")
    if not isinstance(method, str) or not method:
        raise TypeError("The message must contain the ``method`` key with a valid string!")
    return method


def params_of(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """The ``params`` of a message that subscribes or unsubscribes."""
    params = message.get("params")
    if not isinstance(params, Mapping) or not params:
        raise TypeError("The message must contain the ``params`` key with a value as type dict!")
    return check_channel(params)
