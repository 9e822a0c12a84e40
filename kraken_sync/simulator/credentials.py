"""API keys, signatures, nonces and WebSocket tokens of the simulated exchange.

Source: Kraken, "Spot REST Authentication" and "Spot Websockets Authentication": HMAC-SHA512 over the path
and the SHA256 of nonce and body; a nonce that only rises; a token that must be used within 15 minutes of its
creation and does not expire while a subscription made with it is kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import random
import string
from dataclasses import dataclass, field
from typing import Dict, FrozenSet, Iterable

from .refusal import Refusal

PERMISSIONS = ("query_funds", "query_orders", "modify_orders", "cancel_orders", "websockets")
TOKEN_LIFETIME = 900.0


@dataclass
class Key:
    """An API key."""

    name: str
    secret: str
    permissions: FrozenSet[str] = frozenset(PERMISSIONS)
    nonce: int = 0
    """The highest nonce seen."""


@dataclass
class Token:
    """A WebSocket token."""

    text: str
    key: Key
    until: float
    """Worth nothing after this, unless a subscription keeps it alive."""
    pins: int = 0
    """Subscriptions that keep it alive."""
    revoked: bool = False


@dataclass
class Credentials:
    """All keys and tokens."""

    seed: int
    keys: Dict[str, Key] = field(default_factory=dict)
    tokens: Dict[str, Token] = field(default_factory=dict)
    prefix: str = ""
    """What every token begins with, for tests that look for leaks."""

    def __post_init__(self) -> None:
        self._rng = random.Random(f"tokens/{self.seed}")

    def add(self, name: str, secret: str, permissions: Iterable[str] = PERMISSIONS) -> None:
        """Know a key."""
        unknown = set(permissions) - set(PERMISSIONS)
        if unknown:
            raise ValueError(f"no such permissions: {', '.join(sorted(unknown))}")
        self.keys[name] = Key(name, secret, frozenset(permissions))

    def check(self, name: str, signature: str, path: str, nonce: str, body: bytes) -> Key:
        """The key of a signed request. Raises Refusal."""
        key = self.keys.get(name)
        if key is None:
            raise Refusal("EAPI:Invalid key")
        inner = hashlib.sha256(nonce.encode() + body).digest()
        try:
            secret = base64.b64decode(key.secret, validate=True)
        except binascii.Error:
            raise Refusal("EAPI:Invalid key") from None
        expected = base64.b64encode(hmac.new(secret, path.encode() + inner, hashlib.sha512).digest())
        if not hmac.compare_digest(expected, signature.encode()):
            raise Refusal("EAPI:Invalid signature")
        number = nonce.isascii() and nonce.isdigit() and len(nonce) <= 20
        if not number or not key.nonce < int(nonce) < 2**64:
            raise Refusal("EAPI:Invalid nonce")
        key.nonce = int(nonce)
        return key

    def issue(self, key: Key, now: float) -> Token:
        """A new token."""
        if "websockets" not in key.permissions:
            raise Refusal("EGeneral:Permission denied")
        letters = string.ascii_letters + string.digits + "+/"
        text = self.prefix + "".join(self._rng.choice(letters) for _ in range(43 - len(self.prefix)))
        token = self.tokens[text] = Token(text, key, now + TOKEN_LIFETIME)
        return token

    def token(self, text: object, now: float) -> Token:
        """The token that a request carries. Raises Refusal."""
        token = self.tokens.get(text) if isinstance(text, str) else None
        if token is None or token.revoked or not (token.pins or now <= token.until):
            raise Refusal("ESession:Invalid session")
        return token

    def revoke(self) -> None:
        """All tokens die, as after an upgrade of the gateway."""
        for token in self.tokens.values():
            token.revoked = True


def require(key: Key, *permissions: str) -> None:
    """Raise Refusal unless the key has one of these."""
    if not key.permissions & set(permissions):
        raise Refusal("EGeneral:Permission denied")
