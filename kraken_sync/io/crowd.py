"""All clients of the process that are started: closing them all, and noticing that a notebook has several.

A cell that makes a client and is run again makes a second one, and the first goes on in the background.
"""

from __future__ import annotations

import os
import sys
import warnings
import weakref
from types import FrameType
from typing import Any, List, Optional, Protocol, Tuple


class Client(Protocol):
    """What is known of a client here."""

    @property
    def url(self) -> str:
        """The exchange that it uses; empty without a public connection."""

    @property
    def running(self) -> bool:
        """Whether it is started, in this process."""

    def close(self, timeout: float) -> None:
        """Close it. Blocks up to ``timeout`` seconds."""


class Crowd:
    """The started clients. Any thread."""

    def __init__(self) -> None:
        self._clients: weakref.WeakSet[Any] = weakref.WeakSet()
        self._cells: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._warned = False

    def joined(self, client: Client) -> None:
        """Take in a client that is being started; warn once if a notebook has another one already."""
        others = [one for one in self.running() if one is not client and one.url and one.url == client.url]
        self._clients.add(client)
        cell = _cell()
        if cell is None:
            return
        self._cells[client] = cell
        cells = sorted({self._cells[one] for one in [*others, client] if one in self._cells})
        if others and not self._warned:
            self._warned = True
            where = ", ".join(f"[{one}]" for one in cells)
            warnings.warn(
                f"{len(others) + 1} live clients to {client.url} (cells {where}). kraken_sync.close_all() "
                "closes the older ones, too; make the client in a cell of its own",
                UserWarning,
                stacklevel=_outside()[1],
            )

    def running(self) -> List[Any]:
        """Return the clients that are started in this process."""
        return [client for client in list(self._clients) if client.running]

    def close_all(self, timeout: float) -> int:
        """Close them all, and return how many there were. Blocks up to ``timeout`` seconds for each."""
        found = self.running()
        for client in found:
            client.close(timeout)
        return len(found)


def _cell() -> Optional[int]:
    """Return the number of the notebook's cell that runs, or None outside of IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    # Not execution_count, which newer versions of IPython increase before the cell runs.
    return None if shell is None else len(shell.user_ns.get("In", ())) - 1


def caller() -> str:
    """Return where this package was called from, as ``file:line``: the first frame outside of it."""
    frame, _ = _outside()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _outside() -> Tuple[FrameType, int]:
    """Return the first frame outside of this package, and its level for :func:`warnings.warn`."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    return frame, level


crowd = Crowd()
"""The only instance."""


def close_all(timeout: float = 2.0) -> int:
    """Close all clients of this process that are started, and return how many there were.

    For notebooks, where a cell that is run again leaves the client of the time before running. Blocks up to
    ``timeout`` seconds for each. May be called from any thread.
    """
    return crowd.close_all(timeout)
