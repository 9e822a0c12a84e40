"""The English names of the best-known assets, for those who search by name.

Source: the names of https://support.kraken.com/articles/360001206766-cryptocurrencies-available-on-kraken.
"""

from __future__ import annotations

from typing import Mapping

_KNOWN = """
    algorand ALGO, aptos APT, arbitrum ARB, avalanche AVAX, bitcoin BTC, bittensor TAO, cardano ADA,
    celestia TIA, chainlink LINK, cosmos ATOM, dogecoin DOGE, dollar USD, ether ETH, ethereum ETH, euro
    EUR, filecoin FIL, franc CHF, hedera HBAR, injective INJ, internetcomputer ICP, jupiter JUP, kaspa
    KAS, kusama KSM, lido LDO, litecoin LTC, maker MKR, monero XMR, optimism OP, polkadot DOT, polygon
    POL, pound GBP, quant QNT, ripple XRP, sandbox SAND, shibainu SHIB, shiba SHIB, solana SOL, stellar
    XLM, tether USDT, tezos XTZ, thegraph GRT, toncoin TON, tron TRX, uniswap UNI, usdcoin USDC,
    worldcoin WLD, yen JPY, zcash ZEC
"""

ASSET_NAMES: Mapping[str, str] = dict(entry.split() for entry in _KNOWN.split(","))
"""Codes by name, in lower case and without blanks."""


def code_of(text: str) -> str:
    """Return the code of a name, or ``text`` itself if it is not one.

    >>> code_of("Bitcoin"), code_of("shiba inu"), code_of("BTC")
    ('BTC', 'SHIB', 'BTC')
    """
    return ASSET_NAMES.get("".join(text.lower().split()), text)
