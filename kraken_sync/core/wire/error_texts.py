"""The exchange's error texts that decide something in this library. All of them are prefixes.

Source: https://docs.kraken.com/exchange/guides/general/errors, the pages of the channels and methods, and
recorded traffic.
"""

from __future__ import annotations

TOO_FAST = "Exceeded msg rate"
TEMPORARY = (TOO_FAST, "EService", "EGeneral:Internal", "EAPI:Rate limit")
"""A subscription that was refused with one of these is requested again."""
TOKEN_REFUSED = ("ESession:Invalid session", "Token(s) not found", "EAPI:Invalid token")
"""The token is not, or no longer, accepted. Recorded texts differ between channels and methods."""
PERMISSION_DENIED = ("EGeneral:Permission denied", "EAccount:Invalid permissions")
AMBIGUOUS = ("EGeneral:Internal error", "EService:Timeout")
"""The exchange itself does not know whether the request was carried out."""
NOT_OPEN = ("EOrder:Invalid order", "EOrder:Unknown order")
"""Nothing open has this id: the order has ended, or never was. WebSocket says the first, REST the second."""
RATE_EXCEEDED, DOMAIN_RATE_EXCEEDED = "EOrder:Rate limit exceeded", "EOrder:Domain rate limit exceeded"
"""The trading counter of a pair, or of the account, is full."""
ABOUT_ONE_ORDER = "EOrder:"
"""In a request for several orders, a failure of one of them."""
ABOUT_THE_ORDER = ("EOrder:", "EQuery:", "EGeneral:Invalid arguments")
"""Answers that are about the request itself, and not about how or when it was sent."""
NO_SUCH_PAIR = "Currency pair not supported"
UNKNOWN_PAIR = ("EQuery:Unknown asset pair", NO_SUCH_PAIR)
ALREADY_SUBSCRIBED = "Already subscribed"

# REST
INVALID_NONCE = "EAPI:Invalid nonce"
INVALID_KEY = ("EAPI:Invalid key", "EAPI:Invalid signature", "EAuth:Account")
LIMITED = (
    "EAPI:Rate limit",
    "EAuth:Rate limit",
    "EAuth:Too many",
    "EService: Throttled",  # with and without the space, as Kraken's own command line tool matches it
    "EService:Throttled",
    "EGeneral:Temporary lockout",
)
