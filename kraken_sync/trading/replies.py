"""What the replies to a trading request say."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from ..core.session.requests import Reply, Request
from ..core.wire.credentials import permission_for
from ..core.wire.error_texts import PERMISSION_DENIED
from ..core.wire.messages import error_text
from ..errors import OrderRejected


def rejected(
    method: str, error: str, params: Mapping[str, Any], req_id: Optional[int] = None
) -> OrderRejected:
    """The error for a refusal in the exchange's words."""
    hint = ""
    if error.startswith(PERMISSION_DENIED):
        hint = f"The API key needs the permission {permission_for(method)!r}"
    name = params.get("cl_ord_id")
    cl_ord_id = name if isinstance(name, str) else None
    return OrderRejected(method, error, req_id=req_id, cl_ord_id=cl_ord_id, hint=hint)


def refusal(request: Request) -> Optional[str]:
    """Why the request as a whole was refused, if it was."""
    if len(request.replies) != 1 or request.expected != 1:
        return error_of(request.replies[0]) if request.refused else None
    return error_of(request.replies[0])


def error_of(reply: Reply) -> Optional[str]:
    """The error of a reply; None if it says that all is well."""
    if reply.envelope.error is not None:
        return error_text(reply.envelope.error)
    return "no reason given" if reply.envelope.success is False else None
