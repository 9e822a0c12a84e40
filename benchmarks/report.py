"""The table, and what is to be known about the run."""

from __future__ import annotations

import csv
import io
import os
import platform
import ssl
import textwrap
from importlib import metadata
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from .measure import Line

PACKAGES = (
    "kraken-sync msgspec sortedcontainers websocket-client python-kraken-sdk websockets ccxt aiohttp orjson "
    "order-book yapic.json trustme redis hiredis"
).split()
HEAD = ("what", "ours", "", "beside", "theirs", "ratio", "goal", "least", "kept")
GENERAL = (
    "Figures are medians of the rounds, in which all sides take turns; the ratio is the median of the ratios "
    "of the rounds. Only ratios of one run mean anything: other programs on the machine change the figures, "
    "and the ratios a little. kept: which of goal and least is kept."
)


def table(lines: Sequence[Line]) -> str:
    """All lines, one a row."""
    rows = [HEAD, *map(_cells, lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    texts = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in (0, 2, 3, 8) else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ]
        texts.append("  ".join(cells).rstrip())
    texts.insert(1, "-" * max(map(len, texts)))
    return "\n".join(texts)


def _cells(line: Line) -> Sequence[str]:
    sign = ">=" if line.faster else "<="
    theirs = line.absent or _number(line.theirs)
    limits = ["" if limit is None else f"{sign} {limit:g}" for limit in (line.goal, line.least)]
    return (
        line.name,
        _number(line.ours),
        line.unit,
        line.base,
        theirs,
        _number(line.ratio),
        *limits,
        line.verdict,
    )


def narrow(lines: Sequence[Line]) -> str:
    """The same as CSV with fewer columns, for the docs."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("what", "ours", "beside", "ratio", "goal", "least"))
    for line in lines:
        name, ours, unit, base, theirs, ratio, goal, least, _ = _cells(line)
        beside = f"{base}: {theirs}" if base else ""
        writer.writerow((name, f"{ours} {unit}", beside, ratio, goal, least))
    return out.getvalue()


def _number(value: Optional[float]) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def about() -> Dict[str, str]:
    """The machine."""
    return {
        "cpu": _cpu(),
        "cores": str(os.cpu_count()),
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()) if hasattr(os, "getloadavg") else "",
        "os": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "openssl": ssl.OPENSSL_VERSION,
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions() -> Dict[str, str]:
    """The packages that took part, or could have."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def text(lines: Sequence[Line], caveats: Sequence[str], rounds: int, scale: float) -> str:
    """Everything."""
    machine = "; ".join(f"{name} {value}" for name, value in about().items() if value)
    packages = ", ".join(f"{name} {version}" for name, version in versions().items())
    parts: List[str] = [
        f"machine: {machine}",
        f"packages: {packages}",
        f"rounds: {rounds}, scale: {scale:g}",
        GENERAL,
        *caveats,
    ]
    return "\n".join(
        [table(lines), "", *(textwrap.fill(part, 110, subsequent_indent="  ") for part in parts)]
    )
