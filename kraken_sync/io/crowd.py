"""All clients of the process that are started: closing them all, and noticing that a notebook has several.

A cell that makes a client and is run again makes a second one, and the first goes on in the background.
"""

from __future__ import annotations

import os
import sys
import warnings
import weakref
from types import FrameType
from typing import Any, Dict, List, Optional, Protocol, Tuple


class Member(Protocol):
    """What is known of a started client here."""

    @property
    def place(self) -> str:
        """The exchange that it uses, without any login; empty without a public connection."""

    @property
    def running(self) -> bool:
        """Whether it is started, in this process."""

    def leave(self, timeout: float) -> None:
        """Close the client. Blocks up to ``timeout`` seconds."""


class Crowd:
    """The started clients. Any thread."""

    def __init__(self) -> None:
        # No WeakSet: iterating over one fails while another thread adds to it. Copying the values of a dict
        # is one step for other threads.
        self._members: Dict[int, weakref.ref[Any]] = {}
        self._cells: Dict[int, int] = {}
        self._warned = False

    def joined(self, member: Member) -> None:
        """Take in a client that was started; warn once if a notebook has another one already.

        Without a lock of ours, since a warning may run code of the user's.
        """
        name = id(member)
        self._members[name] = weakref.ref(member, lambda _: self._forget(name))
        cell = _cell()
        if cell is None:
            return
        self._cells[name] = cell
        others = [
            one for one in self.running() if one is not member and one.place and one.place == member.place
        ]
        if others and not self._warned:
            self._warned = True
            cells = sorted({self._cells[id(one)] for one in [*others, member] if id(one) in self._cells})
            warnings.warn(
                f"{len(others) + 1} live clients to {member.place} (cells "
                f"{', '.join(f'[{one}]' for one in cells)}). kraken_sync.close_all() "
                "closes the older ones, too; make the client in a cell of its own",
                UserWarning,
                stacklevel=_outside()[1],
            )

    def running(self) -> List[Any]:
        """Return the clients that are started in this process."""
        members = [reference() for reference in list(self._members.values())]
        return [one for one in members if one is not None and one.running]

    def close_all(self, timeout: float) -> int:
        """Close them all, and return how many there were. Blocks up to ``timeout`` seconds for each."""
        found = self.running()
        failure: Optional[Exception] = None
        for member in found:
            try:
                member.leave(timeout)
            except Exception as error:  # of a close() that a user has written: the others are closed, too
                failure = error
        if failure is not None:
            raise failure
        return len(found)

    def _forget(self, name: int) -> None:
        self._members.pop(name, None)
        self._cells.pop(name, None)


def _cell() -> Optional[int]:
    """Return the number of the notebook's cell that runs, or None outside of IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
    # Not execution_count, which newer versions of IPython increase before the cell runs.
    cells = getattr(shell, "user_ns", {}).get("In")
    return len(cells) - 1 if isinstance(cells, list) else None


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
