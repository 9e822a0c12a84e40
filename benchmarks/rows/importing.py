"""How long the import takes, in a fresh interpreter, without the interpreter's own start."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, List

from ..measure import Line, compared, interleaved
from ..stage import ROOT, Stage

OURS, BASE = "import kraken_sync", "import websocket, msgspec, sortedcontainers"
TIMED = "import time; at = time.perf_counter(); {}; print(time.perf_counter() - at)"
RUNS = 15


def importing(stage: Stage) -> List[Line]:
    """The library with everything that it imports, beside the packages that it is built on."""

    # Compiled modules go to a folder of ours, also where the environment says that none are to be written.
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(stage.path("compiled"))}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def timed(statement: str) -> Any:
        command = [sys.executable, "-c", TIMED.format(statement)]
        return lambda: float(subprocess.check_output(command, cwd=ROOT, env=environment)) * 1e3

    for statement in (OURS, BASE):
        timed(statement)()
    rounds = RUNS if not stage.smoke else 3
    runs = interleaved({OURS: timed(OURS), BASE: timed(BASE)}, rounds)
    return [compared(OURS, "ms", runs, OURS, BASE, (1.5, 2.0))]
