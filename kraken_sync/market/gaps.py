"""What ``client.gaps()`` returns."""

from __future__ import annotations

from typing import Any, Dict, List

from ..core.frames import frame
from ..core.html import counted, table

COLUMNS = ("channel", "symbol", "reason", "since", "until", "dropped")


class Gaps(List[Dict[str, Any]]):
    """What was missing, as a list of dicts, oldest first."""

    def to_frame(self) -> Any:
        """Return a pandas DataFrame; ``since`` and ``until`` are UTC. Raises ImportError without pandas."""
        return frame(self, COLUMNS, decimal=False, times=("since", "until"))

    def _repr_html_(self) -> str:
        rows = [[gap.get(name) for name in COLUMNS] for gap in self[-10:]]
        note = f"the last {len(rows)} of {len(self)}" if len(self) > len(rows) else ""
        return table((counted(len(self), "gap"),), COLUMNS, rows, note)
