"""The spellings of symbols: ``XBT/USD``, ``BTCUSD`` and ``btc-usd`` all mean ``BTC/USD``.

Source: https://docs.kraken.com/exchange/guides/websockets/introduction and REST ``AssetPairs``. The v2 name
of a pair follows from its older ``wsname`` by two substitutions, XBT to BTC and XDG to DOGE; the
``instrument`` channel has the authoritative names. Orders accept exact symbols only: this is for market data.
"""

from __future__ import annotations

import re
from typing import Dict, Iterable, List, Optional, Set, Tuple

from .asset_names import code_of

WALLET_SUFFIXES = ("B", "F", "HOLD", "M", "P", "S", "T")
"""What REST appends to an asset's name, after a point, for funds that earn rewards, are staked, tokenized or
on hold. Source: https://docs.kraken.com/api/docs/rest-api/get-extended-balance."""
_LOCKED_DAYS = re.compile(r"(?<=[A-Z])\d\d$")  # DOT28.S: staked for at least 28 days
_RENAMED = {"XBT": "BTC", "XDG": "DOGE"}
_REST_ASSETS = {
    "XXBT": "BTC", "XXDG": "DOGE", "XETH": "ETH", "XLTC": "LTC", "XXRP": "XRP", "XXLM": "XLM",
    "XXMR": "XMR", "XZEC": "ZEC", "XETC": "ETC", "XREP": "REP", "XMLN": "MLN", "ZUSD": "USD",
    "ZEUR": "EUR", "ZGBP": "GBP", "ZCAD": "CAD", "ZJPY": "JPY", "ZAUD": "AUD", "ZCHF": "CHF",
}  # fmt: skip
# Codes that are accepted without the exchange's table of symbols, so that most subscriptions need no table.
_COMMON = frozenset(
    [
        "USD",
        "EUR",
        "GBP",
        "CAD",
        "JPY",
        "AUD",
        "CHF",
        "USDT",
        "USDC",
        "DAI",
        "PYUSD",
        "EURT",
        "BTC",
        "ETH",
        "SOL",
        "XRP",
        "ADA",
        "DOGE",
        "DOT",
        "LTC",
        "LINK",
        "BCH",
        "XLM",
        "XMR",
        "ATOM",
        "AVAX",
        "UNI",
        "TRX",
        "ETC",
        "ZEC",
        "ALGO",
        "FIL",
        "NEAR",
        "APT",
        "ARB",
        "OP",
        "SUI",
        "TON",
        "SHIB",
        "PEPE",
        "BONK",
        "WIF",
        "MATIC",
        "POL",
        "AAVE",
        "MKR",
        "CRV",
        "SNX",
        "COMP",
        "GRT",
        "SAND",
        "MANA",
        "FLOW",
        "MINA",
        "KSM",
        "WAVES",
        "TAO",
        "HYPE",
        "INJ",
        "TIA",
        "SEI",
        "RENDER",
    ]
)
_CLOSE = 0.75  # the least similarity for a suggestion
_SEPARATED = re.compile(r"([A-Za-z0-9.]+)\s*[/\-_: ]\s*([A-Za-z0-9.]+)")


def spelled(text: str) -> Optional[str]:
    """Return the v2 symbol that ``text`` means if both codes are well known; None if the table must tell.

    >>> [spelled(text) for text in ("XBT/USD", "btc-usd", "BTC/USD", "BTCUSD", "BTC/USDD")]
    ['BTC/USD', 'BTC/USD', 'BTC/USD', None, None]
    """
    match = _SEPARATED.fullmatch(text.strip())
    if not match:
        return None
    base, quote = (_modern(code) for code in match.groups())
    return f"{base}/{quote}" if base in _COMMON and quote in _COMMON else None


class SymbolTable:
    """All symbols of the exchange, found by any common spelling. Immutable, so any thread may read it."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.symbols: List[str] = sorted(set(symbols))
        self._spellings: Dict[str, Set[str]] = {}
        for symbol in self.symbols:
            base, _, quote = symbol.partition("/")
            for spelling in {symbol, *_older(base, quote)}:
                self._spellings.setdefault(_bare(spelling), set()).add(symbol)

    def find(self, text: str) -> Optional[str]:
        """Return the one symbol that ``text`` spells; None if there is none or more than one."""
        if text in self.symbols:
            return text
        match = _SEPARATED.fullmatch(text.strip())
        if match:
            exact = "/".join(_modern(code) for code in match.groups())
            found = [symbol for symbol in self.symbols if symbol.upper() == exact]
            if found:
                return found[0]
        meant = self._spellings.get(_bare(text), set())
        return next(iter(meant)) if len(meant) == 1 else None

    def suggest(self, text: str, count: int = 2) -> List[str]:
        """Return the symbols most similar to ``text``, best first; none if nothing is similar."""
        text = _codes(text)
        found = self.find(text)
        if found:
            return [found]
        match = _SEPARATED.fullmatch(text.strip())
        of_base = [
            symbol for symbol in self.symbols if symbol.upper().startswith(_modern(text.strip()) + "/")
        ]
        if of_base:
            return sorted(of_base, key=_order)[:count]
        if match:
            base, quote = (_modern(code) for code in match.groups())
            scored = [
                (_pair_likeness((base, quote), (left, right)), symbol)
                for symbol in self.symbols
                for left, _, right in [symbol.upper().partition("/")]
            ]
        else:
            scored = [(_likeness(_bare(text), _bare(symbol)), symbol) for symbol in self.symbols]
        scored = [(score, symbol) for score, symbol in scored if score >= _CLOSE]
        scored.sort(key=lambda one: (-one[0], _order(one[1])))
        return [symbol for _, symbol in scored[:count]]

    def search(self, text: str) -> List[str]:
        """Return the symbols that contain ``text``, in any case; older codes such as XBT, and names such as
        bitcoin, are translated.
        """
        text = _codes(text)
        wanted = "/".join(_modern(modern_asset(code.strip().upper())) for code in text.split("/"))
        found = self.find(text)
        return [one for one in self.symbols if wanted in one.upper() or one == found]


def _order(symbol: str) -> Tuple[bool, bool, str]:
    """The order of suggestions that are equally similar: common codes first, and of these the dollar."""
    return not _COMMON.issuperset(symbol.split("/")), not symbol.endswith("/USD"), symbol


def _codes(text: str) -> str:
    """Return ``text`` with the codes of assets that are spelled out."""
    return "/".join(map(code_of, text.split("/")))


def _modern(code: str) -> str:
    code = code.upper()
    return _RENAMED.get(code, code)


def _pair_likeness(one: Tuple[str, str], other: Tuple[str, str]) -> float:
    """Return the mean of both codes; the same base in another quote currency always counts as close."""
    score = (_likeness(one[0], other[0]) + _likeness(one[1], other[1])) / 2
    return max(score, _CLOSE) if one[0] == other[0] else score


def _likeness(one: str, other: str) -> float:
    """Return the similarity from 0 to 1, and 0.05 more for the same first letter, which typos
    seldom change.
    """
    from difflib import SequenceMatcher  # only for the text of an error

    ratio = SequenceMatcher(None, one, other).ratio()
    return ratio + 0.05 if one[:1] == other[:1] else ratio


def _bare(text: str) -> str:
    return re.sub(r"[^A-Z0-9.]", "", text.upper())


def _older(base: str, quote: str) -> List[str]:
    """Return the other names of a pair, such as XBTUSD and XXBTZUSD."""
    older = {new: old for old, new in _RENAMED.items()}
    rest = {new: old for old, new in _REST_ASSETS.items()}
    names = []
    for left in {base, older.get(base, base), rest.get(base, base)}:
        for right in {quote, older.get(quote, quote), rest.get(quote, quote)}:
            names.append(f"{left}{right}")
    return names


def modern_asset(name: str) -> str:
    """Return the v2 code of an asset from its REST name; a suffix such as ``.S`` stays.

    >>> modern_asset("XXBT"), modern_asset("ZUSD"), modern_asset("XBT.M"), modern_asset("SOL")
    ('BTC', 'USD', 'BTC.M', 'SOL')
    """
    code, point, suffix = name.partition(".")
    return _REST_ASSETS.get(code, _RENAMED.get(code, code)) + point + suffix


def asset_of(name: str) -> str:
    """Return the v2 code of the asset that a REST name stands for, without the wallet that a suffix names.

    >>> asset_of("XBT.F"), asset_of("SOL.B"), asset_of("ZUSD"), asset_of("DOT28.S")
    ('BTC', 'SOL', 'USD', 'DOT')
    """
    code, _, suffix = modern_asset(name).partition(".")
    if suffix not in WALLET_SUFFIXES:
        return modern_asset(name)
    return _LOCKED_DAYS.sub("", code) if suffix == "S" else code


def modern_pair(name: str) -> str:
    """Return the v2 symbol of a pair from REST's ``wsname``.

    >>> modern_pair("XBT/USD")
    'BTC/USD'
    """
    return "/".join(_RENAMED.get(code, code) for code in name.split("/"))
