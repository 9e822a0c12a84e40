"""The signature of private REST requests.

Source: Kraken's guide "Spot REST Authentication": ``API-Sign`` is the base64 of HMAC-SHA512, keyed with the
decoded secret, over the path and the SHA256 of nonce and body.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from ...errors import CredentialsInvalid
from .secret import Secret


def sign(path: str, nonce: str, body: bytes, secret: Secret) -> str:
    """Return the ``API-Sign`` header of a request.

    Args:
        path: the path, such as ``/0/private/Balance``.
        nonce: the nonce as it is in the body.
        body: the exact bytes that are sent.
        secret: the API key's secret, in base64 as Kraken shows it.

    Raises:
        CredentialsInvalid: the secret is not base64.
    """
    message = path.encode() + hashlib.sha256(nonce.encode() + body).digest()
    return base64.b64encode(hmac.new(_decoded(secret), message, hashlib.sha512).digest()).decode()


def check_secret(secret: Secret) -> None:
    """Raise CredentialsInvalid if ``secret`` cannot be valid."""
    _decoded(secret)


def _decoded(secret: Secret) -> bytes:
    try:
        return base64.b64decode(secret.reveal(), validate=True)
    except (binascii.Error, ValueError):
        pass
    # Raised outside of the except block, so that no exception with the secret in it is its __context__.
    raise CredentialsInvalid(
        "the API secret is not what Kraken gave you: it is base64 text of 88 characters. Copy all of it, "
        "and see that key and secret are not swapped"
    )
