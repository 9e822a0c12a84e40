"""REST requests and answers as texts: what is sent, and what an answer means.

Source: Kraken, "Spot REST API": errors are ``severity category:text`` in ``error``, also with status 200.
"""

from __future__ import annotations

import json
from typing import Any, Dict, List, Mapping, NamedTuple, Optional
from urllib.parse import urlencode, urlsplit

from ...errors import (
    ConnectionLost,
    CredentialsInvalid,
    KrakenError,
    PermissionRefused,
    RateLimited,
    RestRefused,
)
from . import error_texts as refusals
from .credentials import permission_for

Params = Mapping[str, Any]


def check_url(url: str) -> str:
    """``url`` without a slash at its end. Raises ValueError if no key should go there."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "localhost", "::1")
    if not parts.hostname or parts.scheme not in ("https", "http"):
        raise ValueError(f"{url!r} is not a URL such as 'https://api.kraken.com'")
    if parts.scheme == "http" and not local:
        raise ValueError(f"{url!r} would send signed requests in clear; use https://")
    return url.rstrip("/")


class RestRequest(NamedTuple):
    """One request, without its nonce."""

    method: str
    uri: str
    params: Params
    do_json: bool = False
    query_str: Optional[str] = None

    @property
    def in_url(self) -> bool:
        """Whether the parameters go into the URL, and the body is empty."""
        return self.method in ("GET", "DELETE")

    @property
    def query(self) -> str:
        """What follows the ``?``."""
        own = urlencode(_given(self.params), doseq=True) if self.in_url else ""
        return "&".join(filter(None, (own, self.query_str)))

    def body(self, nonce: Optional[str] = None) -> bytes:
        """A form, or JSON: what is signed, and what is sent unless ``in_url``."""
        given = _given(self.params if nonce is None else {**self.params, "nonce": nonce})
        if self.do_json:
            return json.dumps(given).encode()
        words = {
            name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()
        }
        return urlencode(words, doseq=True).encode()


def _given(params: Params) -> Dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def result_of(uri: str, status: int, text: bytes) -> Any:
    """The ``result`` of an answer; raises what the exchange refused, as our errors."""
    if 300 <= status < 400:
        raise RestRefused(uri, [f"HTTP {status}: a redirect, which is not followed"], status=status)
    try:
        envelope = json.loads(text)
        errors = envelope.get("error") or []
        errors = [str(one) for one in (errors if isinstance(errors, list) else [errors])]
    except (ValueError, AttributeError, RecursionError):
        errors = None
    if errors is None:  # nothing of the text is repeated unless it is a web page: it may hold a token
        words = text[:120].decode("utf-8", "replace").strip() if text.lstrip().startswith(b"<") else ""
        if status < 400 and not words:
            raise ConnectionLost(f"{uri} was sent, but what came back is no whole answer ({len(text)} bytes)")
        raise RestRefused(
            uri,
            [f"HTTP {status}"],
            status=status,
            text=f"{uri}: HTTP {status}, no answer of the exchange {words}",
        )
    failures = [one for one in errors if not one.startswith("W")]
    if not failures and status < 400:
        return envelope.get("result")
    raise _refused(uri, failures or [f"HTTP {status}"], status)


def _refused(uri: str, errors: List[str], status: int) -> KrakenError:
    first = errors[0]
    if first.startswith(refusals.INVALID_KEY):
        hint = {
            "EAPI:Invalid key": "the exchange does not know this API key",
            "EAPI:Invalid signature": "the secret does not belong to this API key",
        }.get(first, "the account cannot be used")
        return CredentialsInvalid(f"{uri}: {first}: {hint}")
    if first.startswith(refusals.PERMISSION_DENIED):
        return PermissionRefused(uri, first, permission_for(uri))
    if first.startswith(refusals.LIMITED):
        return RateLimited(uri, first)
    return RestRefused(uri, errors, status=status, text=f"{uri} was refused: {'; '.join(errors)}")
