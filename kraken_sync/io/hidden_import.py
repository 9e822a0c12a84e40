"""Whether something else is imported in the place of websocket-client."""

from __future__ import annotations

import importlib.util
import os


def check_import(name: str = "websocket") -> None:
    """Find websocket-client without importing it, which would take long.

    Raises:
        ImportError: a file of the user, or the other package called ``websocket``, is found in its place.
    """
    try:
        found = importlib.util.find_spec(name)
    except ValueError:  # a test has put something of its own in its place
        return
    origin = found.origin if found is not None else None
    if origin is None or not os.path.exists(origin):
        return  # an installation error, which Python explains, or a frozen program
    if not os.path.exists(os.path.join(os.path.dirname(origin), "_handshake.py")):
        raise ImportError(
            f"{origin} hides websocket-client, which is imported as {name!r}. Rename the file; or, "
            "if it is the package 'websocket', run: pip uninstall websocket; pip install websocket-client"
        )
