"""First checks of what callers pass, with the texts of python-kraken-sdk where a user may match them."""

from __future__ import annotations

from typing import Any, Mapping

INSTRUMENT_OPTIONS = ("include_tokenized_assets", "execution_venue")


def check_params(params: Any) -> None:
    """``params`` alone are asked for; say so to those who bring something else."""
    if not isinstance(params, Mapping) or "params" in params:
        raise TypeError(
            "The message must contain the ``params`` key with a value as type dict! (Pass the params alone, "
            f"such as {{'channel': 'ticker', 'symbol': ['BTC/USD']}}, not {params!r:.80})"
        )


def method_of(message: Any) -> str:
    """The message's ``method``. Raises TypeError for what is no message."""
    if not isinstance(message, Mapping):
        raise TypeError("The ``message`` must be type dict!")
    method = message.get("method")
    if not isinstance(method, str):
        raise TypeError("The message must contain the ``method`` key with a valid string!")
    return method
